//! Matrix products, by the routines that dp-kernels chooses for the device.

use crate::kernels::{empty, settle_of};
use burn::backend::TensorMetadata;
use burn::backend::ops::FloatTensorOps;
use burn_cubecl::{CubeBackend, kernel::into_contiguous, tensor::CubeTensor};
use dp_kernels::{Launch, Transposes, Tuning, matmul};

/// `A B`, both contiguous: `A [m, k]`, `B [k, n]`; a profile knows it by `name`.
///
/// # Panics
/// Panics when their shapes don't fit, which the layers rule out, or the device can't run its routine.
pub(crate) fn product(name: &'static str, a: &CubeTensor, b: &CubeTensor) -> CubeTensor {
    let ([m, k], [_, n]) = (a.shape().dims(), b.shape().dims());
    let out = empty(a, [m, n]);
    let tuning = Tuning::for_client(&a.client);
    let (lhs, rhs) = (a.clone().into(), b.clone().into());
    let done = matmul(
        &Launch::new(&a.client, &tuning),
        &lhs,
        &rhs,
        &out.clone().into(),
        Transposes::NONE,
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

/// `G W^T`, `G [m, p]`, `W [d, p]`: the gradient with respect to a layer's input.
///
/// W is transposed by a copy. It is small beside G, and the CPU's routine takes twenty times as long
/// for a factor that it reads by columns.
pub(crate) fn times_transposed(g: &CubeTensor, w: CubeTensor) -> CubeTensor {
    product(
        "linear backward",
        g,
        &into_contiguous(CubeBackend::float_transpose(w)),
    )
}
