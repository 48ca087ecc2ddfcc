//! What floating-point arithmetic adds to the sensitivity of a sum of clipped gradients.
//!
//! On paper, adding or removing an example moves the sum by at most the clipping norm `C`. In floating point
//! the examples' norms are themselves rounded, the sum rounds after every addition, and one example
//! more changes how all the others round. The noise must be calibrated to `C (1 + eta)`, with the
//! `eta` of this module. The derivation is in `docs/proofs/sensitivity.md`.
//!
//! # References
//! Casacuberta, Shoemate, Vadhan and Wagaman, "Widespread underestimation of sensitivity in
//! differentially private libraries and how to fix it", 2207.10635. Higham, "Accuracy and stability
//! of numerical algorithms", 2nd edition, sections 3.1 and 4.2.

use core::fmt;

use crate::clipping::CLIP_SLACK;

/// Relative rounding error of one f32 operation, to nearest: 2^-24.
const UNIT_ROUNDOFF: f64 = 1.0 / 16_777_216.0;

/// A sum of clipped per-example gradients as a device computes it in f32, or in f64.
///
/// The bound is f32's. It covers f64 sums too, whose every rounding is smaller, the one rounding to f32 at their release included
/// where `sum_depth` is at least 2.
///
/// # Privacy
/// Assumes: f32 operations round to nearest, without overflow; contributions lost to underflow
/// are not counted (below `2^-126` each); the norm and the weighted sum read the same numbers; the
/// order of the additions depends on public shapes alone.
///
/// Does not cover: more examples than `terms`; an example whose cancellation is above the bound
/// given; forward and backward passes in which one example's numbers depend on another's; atomics
/// or anything else that makes the order vary.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClippedSum {
    /// The most examples that one sum may hold, a public number: not the drawn batch size.
    pub terms: u64,
    /// The most roundings between an example's number and the finished sum (see [`Order::depth`]):
    /// additions, and one for the product with the clip factor.
    pub sum_depth: u64,
    /// The most roundings between an input of the norm (a number of the gradient, or of `a` and `g`
    /// where the norm is taken of these) and its example's finished squared norm.
    pub norm_depth: u64,
    /// A bound on `c sum_t |a_t| |g_t| / C` over the examples, at least 1: how far an example's tokens
    /// cancel in its gradient. 1 where each example's gradient is one vector (`T = 1`); with
    /// sequences it is a property of the data, and this bound holds no further than it does.
    pub cancellation: f64,
}

impl ClippedSum {
    /// The relative increase of the sensitivity: noise of `sigma C (1 + eta)` has the noise
    /// multiplier `sigma`.
    ///
    /// With `u = 2^-24`, `gamma(k) = k u / (1 - k u)`, `e = gamma(norm_depth)`, `s = 2^-20` and `K` the
    /// cancellation, the norm of a clipped gradient is at most `C' = C max((1 + s) / sqrt(1 - e) + e K,
    /// sqrt(((1 + s)^2 + e K^2) / (1 - e)))`, the two for a norm by elements and by the Gram form.
    /// Two neighbouring sums, of at most `n` and `n - 1` examples, differ by at most
    /// `C' + (2 n - 1) gamma(sum_depth) K C'`.
    ///
    /// # Errors
    /// [`SensitivityError::Depth`] when a depth reaches 2^22 roundings (the bound is then of no
    /// use), [`SensitivityError::Terms`] for no terms, [`SensitivityError::Cancellation`] when that is
    /// below 1 or not finite.
    ///
    /// # Precision
    /// Rounded up.
    pub fn eta(&self) -> Result<f64, SensitivityError> {
        if self.terms == 0 {
            return Err(SensitivityError::Terms);
        }
        if !(self.cancellation >= 1.0 && self.cancellation.is_finite()) {
            return Err(SensitivityError::Cancellation {
                cancellation: self.cancellation,
            });
        }
        let norm = gamma(self.norm_depth)?;
        let sum = gamma(self.sum_depth)?;

        let slack = 1.0 + CLIP_SLACK;
        let by_elements = slack / libm::sqrt(1.0 - norm) + norm * self.cancellation;
        let cancelled = norm * self.cancellation * self.cancellation;
        let by_gram = libm::sqrt((slack * slack + cancelled) / (1.0 - norm));
        let clipped = by_elements.max(by_gram);
        let rounding = (2.0 * self.terms as f64 - 1.0) * sum * self.cancellation;
        let eta = clipped * (1.0 + rounding) - 1.0;
        // A dozen f64 roundings above, all below 2^-50 of 1 + eta.
        Ok(eta + (1.0 + eta) / (1u64 << 48) as f64)
    }
}

/// In which order `n` numbers are added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// One after the other.
    Sequential,
    /// In pairs, the pairs in pairs, and so on.
    Pairwise,
    /// Blocks of this many one after the other, then the blocks' sums one after the other.
    Blocked {
        /// Numbers in a block, at least 1.
        block: u64,
    },
}

impl Order {
    /// The most additions that one of `n` numbers goes through.
    pub const fn depth(self, n: u64) -> u64 {
        match self {
            Self::Sequential => n.saturating_sub(1),
            Self::Pairwise => match n {
                0 | 1 => 0,
                _ => (u64::BITS - (n - 1).leading_zeros()) as u64,
            },
            Self::Blocked { block } => {
                let block = if block == 0 { 1 } else { block };
                let block = if block > n { n } else { block };
                let blocks = if block == 0 { 0 } else { n.div_ceil(block) };
                block
                    .saturating_sub(1)
                    .saturating_add(blocks.saturating_sub(1))
            }
        }
    }
}

/// Higham's `gamma(k) = k u / (1 - k u)`: the relative error of `k` roundings.
fn gamma(depth: u64) -> Result<f64, SensitivityError> {
    if depth >= MAX_DEPTH {
        return Err(SensitivityError::Depth { depth });
    }
    let error = depth as f64 * UNIT_ROUNDOFF;
    Ok(error / (1.0 - error))
}

/// Roundings beyond which no bound is given: a quarter of `1 / u`.
const MAX_DEPTH: u64 = 1 << 22;

/// A sum whose sensitivity has no useful bound.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum SensitivityError {
    /// A sum of no terms has no sensitivity.
    Terms,
    /// Too many roundings in a row.
    Depth {
        /// The depth given.
        depth: u64,
    },
    /// The cancellation bound is below 1 or not finite.
    Cancellation {
        /// The value given.
        cancellation: f64,
    },
}

impl fmt::Display for SensitivityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Terms => write!(f, "a sum needs at least one term"),
            Self::Depth { depth } => {
                write!(f, "{depth} roundings in a row are not below {MAX_DEPTH}")
            }
            Self::Cancellation { cancellation } => {
                write!(
                    f,
                    "cancellation {cancellation} is not a finite number from 1"
                )
            }
        }
    }
}

impl core::error::Error for SensitivityError {}
