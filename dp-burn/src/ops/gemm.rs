//! Matrix products, by the routine that dp-kernels chooses for the device.

use burn::backend::TensorMetadata;
use crate::kernels::empty;
use burn_cubecl::tensor::CubeTensor;
use dp_kernels::{Routine, Transposes, matmul};

/// Which of the two factors is read transposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Product {
    /// `A B`, `A [m, k]`, `B [k, n]`.
    AB,
    /// `A B^T`, `A [m, k]`, `B [n, k]`.
    ABt,
    /// `A^T B`, `A [k, m]`, `B [k, n]`.
    AtB,
}

impl Product {
    /// The transposes, and the rows and columns of the result.
    fn plan(self, a: [usize; 2], b: [usize; 2]) -> (Transposes, [usize; 2]) {
        match self {
            Self::AB => (Transposes::NONE, [a[0], b[1]]),
            Self::ABt => (Transposes::RHS, [a[0], b[0]]),
            Self::AtB => (Transposes::LHS, [a[1], b[1]]),
        }
    }
}

/// The product of two contiguous matrices.
///
/// # Panics
/// Panics when their shapes don't fit, which the layers rule out, or the device can't run its routine.
pub(crate) fn gemm(product: Product, a: &CubeTensor, b: &CubeTensor) -> CubeTensor {
    let (transposes, shape) = product.plan(a.shape().dims(), b.shape().dims());
    let out = empty(a, shape);
    let routine = Routine::for_client(&a.client);
    let (lhs, rhs) = (a.clone().into(), b.clone().into());
    if let Err(error) = matmul(&a.client, &lhs, &rhs, &out.clone().into(), transposes, routine) {
        panic!("matrix product {product:?} of {:?} and {:?}: {error}", a.shape(), b.shape());
    }
    out
}
