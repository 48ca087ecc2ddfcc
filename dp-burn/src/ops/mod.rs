//! The differentiable operations that layers are built of, on CubeCL tensors.
//!
//! Each works on an autodiff device (training) and on a plain one (inference). A private operation
//! takes a *tap*: a leaf tensor of one element on which the backward pass registers the gradient of
//! the loss with respect to the operation's output. With a tap, no weight gradient is formed.

mod attention;
mod cross_entropy;
mod embedding;
mod gelu;
mod gemm;
mod layer_norm;
mod linear;
mod ordinary;
mod position;

pub use attention::causal_attention;
pub use cross_entropy::cross_entropy;
pub use embedding::embedding;
pub use gelu::gelu;
pub use layer_norm::layer_norm;
pub use linear::linear;
pub use position::position;

use burn::backend::Autodiff;
use burn::tensor::{DType, Tensor};

use burn_cubecl::{CubeBackend, kernel::into_contiguous, tensor::CubeTensor};

/// The backend that records a graph over CubeCL tensors.
pub(crate) type Graph = Autodiff<CubeBackend>;
/// A float tensor of that backend.
pub(crate) type GraphTensor = burn::backend::tensor::FloatTensor<Graph>;

/// A float argument as the two kinds of device have it.
pub(crate) enum Arg {
    Graph(GraphTensor),
    Plain(CubeTensor),
}

/// Unwraps `tensor`.
///
/// # Panics
/// Panics when the tensor lives on a backend that is not CubeCL, or is not of f32: a layer on such a tensor can't run at all.
pub(crate) fn arg<const D: usize>(tensor: Tensor<D>) -> Arg {
    check_dtype(tensor.dtype(), DType::F32);
    match tensor.clone().try_into_primitive::<Graph>() {
        Ok(t) => Arg::Graph(t),
        Err(_) => Arg::Plain(plain(tensor)),
    }
}

/// Unwraps a tensor of a plain device.
///
/// # Panics
/// As [`arg`], or when the tensor records a graph.
pub(crate) fn plain<const D: usize>(tensor: Tensor<D>) -> CubeTensor {
    check_dtype(tensor.dtype(), DType::F32);
    match tensor.try_into_primitive::<CubeBackend>() {
        Ok(t) => into_contiguous(t),
        Err(e) => panic!("dp-burn runs on CubeCL devices (cpu, wgpu, cuda): {e:?}"),
    }
}

/// Unwraps a tensor of integers, on either kind of device.
///
/// # Panics
/// As [`arg`], or when they are not of i32.
pub(crate) fn integers<const D: usize>(tensor: Tensor<D, burn::tensor::Int>) -> CubeTensor {
    check_dtype(tensor.dtype(), DType::I32);
    let t = match tensor.clone().try_into_primitive::<Graph>() {
        Ok(t) => Ok(t),
        Err(_) => tensor.try_into_primitive::<CubeBackend>(),
    };
    match t {
        Ok(t) => into_contiguous(t),
        Err(e) => panic!("dp-burn runs on CubeCL devices (cpu, wgpu, cuda): {e:?}"),
    }
}

/// Kernels read a buffer as numbers of 32 bits: of another type, a row's numbers would be those of two or of half a row, and so of other examples.
fn check_dtype(found: DType, wanted: DType) {
    assert_eq!(
        found, wanted,
        "dp-burn computes in {wanted:?} and this tensor is of {found:?}: cast it, or keep the device's default types (Device::configure)"
    );
}

/// Wraps a plain tensor.
pub(crate) fn wrap<const D: usize>(tensor: CubeTensor) -> Tensor<D> {
    Tensor::from_primitive::<CubeBackend>(tensor)
}

/// Wraps a tensor of the graph.
pub(crate) fn wrap_graph<const D: usize>(tensor: GraphTensor) -> Tensor<D> {
    Tensor::from_primitive::<Graph>(tensor)
}
