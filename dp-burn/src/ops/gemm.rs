//! Matrix products, by the routines that dp-kernels chooses for the device.

use crate::kernels::{empty, settle_of};
use burn::backend::TensorMetadata;
use burn_cubecl::{kernel::into_contiguous, tensor::CubeTensor};
use dp_kernels::{Launch, Transposes, Tuning, matmul};

/// `A B`, both contiguous: `A [m, k]`, `B [k, n]`; a profile knows it by `name`.
///
/// # Panics
/// Panics when their shapes don't fit, which the layers rule out, or the device can't run its routine.
pub(crate) fn product(name: &'static str, a: &CubeTensor, b: &CubeTensor) -> CubeTensor {
    launched(name, a, b, Transposes::NONE)
}

/// `G W^T`, `G [m, p]`, `W [d, p]`: the gradient with respect to a layer's input.
///
/// # Panics
/// As [`product`].
pub(crate) fn times_transposed(g: &CubeTensor, w: CubeTensor) -> CubeTensor {
    launched("linear backward", g, &into_contiguous(w), Transposes::RHS)
}

fn launched(
    name: &'static str,
    a: &CubeTensor,
    b: &CubeTensor,
    transposes: Transposes,
) -> CubeTensor {
    let ([m, k], [rows, columns]) = (a.shape().dims(), b.shape().dims());
    let n = if transposes.rhs { rows } else { columns };
    let out = empty(a, [m, n]);
    let tuning = Tuning::for_client(&a.client);
    let done = matmul(
        &Launch::new(&a.client, &tuning),
        &a.clone().into(),
        &b.clone().into(),
        &out.clone().into(),
        transposes,
        tuning.routine,
    );
    if let Err(error) = done {
        panic!(
            "matrix product of {:?} and {:?}: {error}",
            a.shape(),
            b.shape()
        );
    }
    settle_of(name, &out, &[m, k, n]);
    out
}
