//! CubeCL kernels for private training: per-example gradient norms, clip factors, weighted sums
//! and noise. One source for CUDA, wgpu and CPU; no runtime is named here.
//!
//! Every launcher takes a [`Launch`], with the caller's own [`Client`](cubecl::client::Client), and the caller's buffers
//! ([`TensorHandle`](cubecl::std::tensor::TensorHandle)), checks shapes, types and layout at the boundary
//! ([`KernelError`]), enqueues, and returns: nothing is read back and nothing waits. [`Tuning`] says how
//! to cut the work for a device, and a [`Workspace`] holds intermediate results, so that no launch allocates.
//!
//! One layer's part in one step:
//! 1. a norm ([`norm`]) adds the squared norm of each example's gradient into `norms_sq [B]`;
//! 2. after the last layer [`clip_factors`] (or [`group_clip_factors`]) turns them into factors;
//! 3. a weighted sum ([`sum`]) adds `sum_b c_b (gradient of b)` into the accumulator of the logical batch;
//! 4. after the last microbatch [`noised_update`] noises the accumulator and moves the parameter, in one pass; or
//!    [`add_gaussian_noise`] or, in integers, [`release_hardened`] noises it for another optimizer.
//!
//! Inputs may be f32, f16, bf16 or f64 where the device has them ([`Capabilities`] says it beforehand). f64 is summed in f64, with norms,
//! factors and sums in f64; everything else is summed in f32.
//! [`Planner`] chooses how a Linear's norm is taken, by ceilings measured on the device.

// Kernels are read by CubeCL too: it expands casts that the host's types make idle, plain divisions and indexed
// loops, and neither `div_ceil` nor `is_multiple_of` nor iterators nor chained conditions.
#![allow(
    clippy::unnecessary_cast,
    clippy::manual_div_ceil,
    clippy::needless_range_loop,
    clippy::manual_is_multiple_of,
    clippy::collapsible_if
)]

mod backend;
mod caps;
mod check;
mod clip;
pub mod conformance;
mod error;
mod lanes;
mod launch;
mod live;
mod matmul;
mod noise;
pub mod norm;
mod outer;
mod planner;
mod reduce;
pub mod sum;
mod tile;
mod tuning;
mod unchecked;
mod unfold;
mod update;
mod words;
mod workspace;

pub use backend::{Backend, BackendError, Description};
pub use caps::Capabilities;
pub use clip::{
    QuantileCounts, clip_factors, group_clip_factors, group_pitch, group_row, zero_dead_rows,
};
pub use error::KernelError;
pub use launch::{Launch, ReadError};
pub use matmul::{Routine, Transposes, matmul};
pub use noise::{add_gaussian_noise, release_hardened};
pub use norm::{
    GRAM_FLOOR, GRAM_FLOOR_F64, LinearNorm, Lora, bias_gradients, bias_norm_sq,
    channel_bias_norm_sq, channel_scale_norm_sq, conv_norm_sq, embedding_norm_sq, gradient_norm_sq,
    keep_linear_gradients, linear_and_bias_norm_sq, linear_norm_sq, lora_norm_sq, position_norm_sq,
    scale_and_bias_gradients, scale_and_bias_norm_sq, scale_norm_sq, tied_norm_sq,
};
pub use planner::{CeilingError, Ceilings, Kept, LayerPlan, LayerShape, Planner, Rates, Reason};
pub use sum::{
    weighted_sum_bias, weighted_sum_channel_bias, weighted_sum_channel_scale, weighted_sum_conv,
    weighted_sum_embedding, weighted_sum_gradient, weighted_sum_linear, weighted_sum_lora,
    weighted_sum_position, weighted_sum_scale, weighted_sum_tied,
};
pub use tile::tensor::MatrixUnits;
pub use tuning::{STRETCH_ROUNDINGS, Tuning};
pub use update::{Updated, noised_update, noised_updates};
pub use workspace::Workspace;

pub use dp_core::reference::{ConvError, ConvLayout, ConvShape};
