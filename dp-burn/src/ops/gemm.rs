//! Matrix products, by the routines that dp-kernels chooses for the device.

use crate::kernels::{empty, settle_of};
use burn::backend::TensorMetadata;
use burn::backend::ops::FloatTensorOps;
use burn::tensor::{DType, Shape};
use burn_cubecl::{CubeBackend, kernel::into_contiguous, tensor::CubeTensor};
use dp_kernels::{Launch, Transposes, Tuning, matmul, weighted_sum_linear};

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

/// `sum_b A_b^T G_b`, `A [B, T, d]`, `G [B, T, p]`: the ordinary gradient of a layer's weight, by the kernel
/// that the private sum takes too, with factors of one.
///
/// # Panics
/// As [`product`].
pub(crate) fn weight_gradient(a: &CubeTensor, g: &CubeTensor) -> CubeTensor {
    let ([b, t, d], [_, _, p]) = (a.shape().dims(), g.shape().dims());
    let filled = |shape: Shape, value: f32| {
        let bytes: Vec<u8> = std::iter::repeat_n(value.to_le_bytes(), shape.num_elements())
            .flatten()
            .collect();
        let buffer = a.client.create_from_slice(&bytes);
        CubeTensor::new_contiguous(
            a.client.clone(),
            a.device.clone(),
            shape,
            buffer,
            DType::F32,
        )
    };
    let (factors, out) = (
        filled(Shape::from([b]), 1.0),
        filled(Shape::from([d, p]), 0.0),
    );
    let tuning = Tuning::for_client(&a.client);
    let done = weighted_sum_linear(
        &Launch::new(&a.client, &tuning),
        &a.clone().into(),
        &g.clone().into(),
        &factors.into(),
        &out.clone().into(),
    );
    if let Err(error) = done {
        panic!(
            "weight gradient of {:?} and {:?}: {error}",
            a.shape(),
            g.shape()
        );
    }
    settle_of("weight gradient", &out, &[b, t, d, p]);
    out
}
