//! Which factor, with which clipping norm.

use super::ClippingError;
use crate::real::Real;

/// The smallest clipping norm a policy may have: 2^-20.
///
/// Squares below 2^-126 are lost where a device flushes subnormals. With this floor, what 2^40
/// lost coordinates can hide is below a tenth of a millionth of the clipping norm.
pub const MIN_CLIP: f32 = 1.0 / 1_048_576.0;

/// The largest clipping norm a policy may have: 2^40, so that sums of clipped gradients stay finite.
pub const MAX_CLIP: f32 = 1_099_511_627_776.0;

/// How a per-example gradient is scaled to bound its norm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Clipping {
    /// `min(1, clip / |g|)`.
    Flat {
        /// The clipping norm.
        clip: f32,
    },
    /// `clip / (|g| + gamma)`, automatic clipping (AUTO-S): in exact arithmetic every scaled norm is strictly
    /// below `clip`.
    Automatic {
        /// The clipping norm.
        clip: f32,
        /// The stability constant, positive.
        gamma: f32,
    },
}

impl Clipping {
    /// The clipping norm: the most that one example's scaled gradient can measure, up to
    /// [`CLIP_SLACK`](super::CLIP_SLACK).
    pub const fn clip(self) -> f32 {
        match self {
            Self::Flat { clip } | Self::Automatic { clip, .. } => clip,
        }
    }

    /// The factor of an example with this squared norm, f32 or f64; 0 where the norm is unusable or the policy
    /// is not [valid](Self::validate).
    pub fn factor<R: Real>(self, norm_sq: R) -> R {
        norm_sq.clip_factor(self)
    }

    /// Checks the policy's numbers. Call it once, before the first step.
    ///
    /// # Errors
    /// [`ClippingError::Clip`] unless `MIN_CLIP <= clip <= MAX_CLIP`, [`ClippingError::Gamma`]
    /// unless `MIN_CLIP <= gamma <= MAX_CLIP`.
    pub fn validate(self) -> Result<(), ClippingError> {
        let range = MIN_CLIP..=MAX_CLIP;
        let clip = self.clip();
        if !range.contains(&clip) {
            return Err(ClippingError::Clip { clip });
        }
        match self {
            Self::Automatic { gamma, .. } if !range.contains(&gamma) => {
                Err(ClippingError::Gamma { gamma })
            }
            _ => Ok(()),
        }
    }
}
