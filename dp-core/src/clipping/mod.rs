//! Clip factors: what a per-example gradient is multiplied by to bound its norm.
//!
//! One factor per example, from the squared norm of its whole gradient (every layer's squared
//! norm added up), or one per example and group of parameters ([`GroupClipping`]). The functions are
//! the ones that kernels call (feature `cube`). [`AdaptiveQuantile`] moves the clipping norm itself, for a charge.
//!
//! A factor of exactly 0 means that the example must not reach the sum at all: multiplying is not
//! enough, because `0 * NaN` is NaN. Select, or zero the example's rows first.

mod error;
mod factor;
mod factor_f64;
mod group;
mod policy;
mod quantile;

pub use error::ClippingError;
pub use factor::{automatic_factor, centred_indicator, flat_factor};
pub use factor_f64::{automatic_factor_f64, centred_indicator_f64, flat_factor_f64};
pub use group::{GroupClipping, MAX_GROUPS, split_clip};
pub use policy::{Clipping, MAX_CLIP, MIN_CLIP};
pub use quantile::{AdaptiveQuantile, MAX_COUNTED, NoisedCounts, QuantileError};

/// By how much a clipped norm may exceed the clipping norm, relatively: 2^-20.
pub const CLIP_SLACK: f64 = 1.0 / 1_048_576.0;
