//! Plain-Rust twins of the kernels: the oracle that every backend is tested against.
//!
//! Same names as the kernels, same meaning, f32 in and out (or f64, see [`Real`]), sums in f64, no allocation.
//! Written to be read, not to be fast. Shapes: `B` examples, `T` positions (tokens), `d` inputs, `p`
//! outputs; `a` is a layer's input `[B, T, d]` and `g` the gradient of the sum of the per-example
//! losses by its output `[B, T, p]`, row-major.

mod channels;
mod clip;
mod conv;
mod error;
mod gradient;
mod group;
mod hardened;
mod lora;
mod norm;
mod product;
mod tensor;
mod tied;
mod update;
mod weighted_sum;

pub use crate::real::Real;
pub use channels::{
    channel_bias_norm_sq, channel_scale_norm_sq, weighted_sum_channel_bias,
    weighted_sum_channel_scale,
};
pub use clip::{add_gaussian_noise, clip_factors, zero_dead_rows};
pub use conv::{ConvError, ConvLayout, ConvShape, conv_norm_sq, weighted_sum_conv};
pub use error::{Operand, ReferenceError};
pub use gradient::{gradient_norm_sq, weighted_sum_gradient};
pub use group::{add_quantile_counts, group_clip_factors};
pub use hardened::release_hardened;
pub use lora::{lora_norm_sq, weighted_sum_lora};
pub use norm::{
    LinearNorm, bias_norm_sq, embedding_norm_sq, linear_norm_sq, position_norm_sq, scale_norm_sq,
};
pub use product::{Transposes, matmul};
pub use tensor::Tensor3;
pub use tied::{tied_norm_sq, weighted_sum_tied};
pub use update::{Updated, noised_update};
pub use weighted_sum::{
    weighted_sum_bias, weighted_sum_embedding, weighted_sum_linear, weighted_sum_position,
    weighted_sum_scale,
};
