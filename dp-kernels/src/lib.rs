//! CubeCL kernels for private training: per-example gradient norms, clip factors, weighted sums
//! and noise. One source for CUDA, wgpu and CPU; no runtime is named here.
//!
//! Every launcher takes the caller's own [`Client`](cubecl::client::Client) and buffers
//! ([`TensorHandle`](cubecl::std::tensor::TensorHandle)), checks shapes, types and layout at the boundary
//! ([`KernelError`]), enqueues, and returns: nothing is read back and nothing waits. [`Tuning`] says how
//! to cut the work for a device.
//!
//! One layer's part in one step:
//! 1. a norm ([`norm`]) adds the squared norm of each example's gradient into `norms_sq [B]`;
//! 2. after the last layer [`clip_factors`] turns them into factors;
//! 3. a weighted sum ([`sum`]) adds `sum_b c_b (gradient of b)` into the f32 accumulator of the logical batch;
//! 4. after the last microbatch [`add_gaussian_noise`] noises the accumulator.
//!
//! Inputs may be f32, f16 or bf16 where the device has them ([`Capabilities`] says it beforehand); every sum is taken in f32.

// Kernels are read by CubeCL too: it expands casts that the host's types make idle, plain divisions and indexed
// loops, and neither `div_ceil` nor iterators nor chained conditions.
#![allow(
    clippy::unnecessary_cast,
    clippy::manual_div_ceil,
    clippy::needless_range_loop,
    clippy::collapsible_if
)]

mod backend;
mod caps;
mod check;
mod clip;
pub mod conformance;
mod error;
mod gemm;
mod live;
mod matmul;
mod noise;
pub mod norm;
mod outer;
mod reduce;
pub mod sum;
mod tile;
mod tuning;

pub use backend::{Backend, BackendError, Description};
pub use caps::Capabilities;
pub use clip::{clip_factors, zero_dead_rows};
pub use error::KernelError;
pub use matmul::{Routine, Transposes, matmul};
pub use noise::add_gaussian_noise;
pub use norm::{
    GRAM_FLOOR, LinearNorm, bias_norm_sq, embedding_norm_sq, linear_norm_sq, position_norm_sq,
    scale_norm_sq,
};
pub use sum::{
    weighted_sum_bias, weighted_sum_embedding, weighted_sum_linear, weighted_sum_position,
    weighted_sum_scale,
};
pub use tuning::Tuning;
