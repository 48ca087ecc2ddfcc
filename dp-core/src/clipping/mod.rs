//! Clip factors: what a per-example gradient is multiplied by to bound its norm.
//!
//! One factor per example, from the squared norm of its whole gradient (every layer's squared
//! norm added up). The functions are the ones that kernels call (feature `cube`).
//!
//! A factor of exactly 0 means that the example must not reach the sum at all: multiplying is not
//! enough, because `0 * NaN` is NaN. Select, or zero the example's rows first.

mod factor;
mod policy;

pub use factor::{automatic_factor, flat_factor};
pub use policy::{Clipping, ClippingError, MAX_CLIP, MIN_CLIP};

/// By how much a clipped norm may exceed the clipping norm, relatively: 2^-20.
pub const CLIP_SLACK: f64 = 1.0 / 1_048_576.0;
