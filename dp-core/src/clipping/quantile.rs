//! A clipping norm that follows a quantile of the norms, privately.

use core::fmt;

use super::{MAX_CLIP, MAX_GROUPS, MIN_CLIP};
use crate::accounting::Event;

/// The most examples that one count may see, 2^22: until there a sum of halves is exact in f32.
pub const MAX_COUNTED: u64 = 1 << 22;

/// The noised counts that are released together with a clipped sum of the same batch: of how many groups, and with how much noise.
///
/// # Privacy
/// Under add/remove of one example all counts together move by at most `sqrt(groups) / 2` in L2 norm, exactly: sums of halves do not
/// round below [`MAX_COUNTED`] examples, so that no allowance is due as it is for the sum. Sum and counts are one Gaussian mechanism of the
/// multiplier [`combined_multiplier`](Self::combined_multiplier), of which each has its own, larger one. See
/// docs/proofs/clipping-quantile.md.
///
/// # References
/// Andrew, Thakkar, McMahan and Ramaswamy, 1905.03871, theorem 1 (one group).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NoisedCounts {
    groups: u32,
    std: f32,
}

impl NoisedCounts {
    /// The counts of so many `groups`, 1 for flat clipping, each with noise of the standard deviation `std`, in examples.
    ///
    /// # Errors
    /// [`QuantileError::Groups`] or [`QuantileError::CountStd`] for a number out of range.
    pub fn new(groups: usize, std: f32) -> Result<Self, QuantileError> {
        if !(1..=MAX_GROUPS).contains(&groups) {
            return Err(QuantileError::Groups { groups });
        }
        if !(MIN_COUNT_STD..=MAX_COUNT_STD).contains(&std) {
            return Err(QuantileError::CountStd { count_std: std });
        }
        // MAX_GROUPS is below 2^32.
        let groups = groups as u32;
        Ok(Self { groups, std })
    }

    /// How many groups are counted.
    pub const fn groups(&self) -> u32 {
        self.groups
    }

    /// The standard deviation sigma_b of the noise on each count, in examples.
    pub const fn std(&self) -> f32 {
        self.std
    }

    /// The counts' own noise multiplier, `2 sigma_b / sqrt(groups)`: sigma_b over their sensitivity.
    ///
    /// # Precision
    /// Rounded down.
    pub fn multiplier(&self) -> f64 {
        2.0 * f64::from(self.std) / libm::sqrt(f64::from(self.groups)) * (1.0 - ROUNDING)
    }

    /// The noise multiplier of the clipped sum and the counts together, where the sum's alone is `gradient`:
    /// `z = (z_delta^-2 + groups (2 sigma_b)^-2)^(-1/2)`.
    ///
    /// # Errors
    /// [`QuantileError::Multiplier`] unless `gradient` is positive and finite.
    ///
    /// # Precision
    /// Rounded down.
    pub fn combined_multiplier(&self, gradient: f64) -> Result<f64, QuantileError> {
        if !(gradient > 0.0 && gradient.is_finite()) {
            return Err(self.refuse(gradient));
        }
        let ratio = gradient / self.multiplier();
        Ok(gradient / libm::sqrt(1.0 + ratio * ratio) * (1.0 - ROUNDING))
    }

    /// The noise multiplier that the clipped sum needs, so that with the counts it has `combined`:
    /// `z_delta = (z^-2 - groups (2 sigma_b)^-2)^(-1/2)`, theorem 1 of the paper.
    ///
    /// # Errors
    /// [`QuantileError::Multiplier`] unless `combined` is positive and below the counts' own [`multiplier`](Self::multiplier): raise their
    /// noise or lower `combined`.
    ///
    /// # Precision
    /// Rounded up.
    pub fn gradient_multiplier(&self, combined: f64) -> Result<f64, QuantileError> {
        let counts = self.multiplier();
        if !(combined > 0.0 && combined < counts * (1.0 - 1e-9)) {
            return Err(self.refuse(combined));
        }
        let ratio = combined / counts;
        // Near 1 the difference loses digits: (1 - r)(1 + r) loses only those that r itself lacks.
        let left = (1.0 - ratio) * (1.0 + ratio);
        Ok(combined / libm::sqrt(left) * (1.0 + ROUNDING + ROUNDING / (1.0 - ratio)))
    }

    fn refuse(&self, multiplier: f64) -> QuantileError {
        QuantileError::Multiplier {
            multiplier,
            counts: self.multiplier(),
        }
    }
}

/// Adaptive quantile clipping (Andrew et al.): after each step the clipping norm moves geometrically towards the
/// `quantile`-th quantile of the examples' norms, of which it learns by a noised count.
///
/// The count is centred: an example within the clipping norm adds 1/2, one above it -1/2, one that is masked or not finite
/// nothing ([`super::centred_indicator()`]). With several groups each has its count.
///
/// # Privacy
/// Under add/remove adjacency of one example the counts of all groups together move by at most `sqrt(groups) / 2` in L2
/// norm, the clipped sum by at most its sensitivity. Both are of the same sample, so they are *one* Gaussian mechanism of
/// the noise multiplier [`combined_multiplier`](Self::combined_multiplier), sampled once, and each step is charged as
/// [`event`](Self::event). The clipping norms of later steps depend on noised values alone. The proof is in
/// docs/proofs/clipping-quantile.md.
///
/// # References
/// Andrew, Thakkar, McMahan and Ramaswamy, "Differentially private learning with adaptive clipping", 1905.03871, theorem 1
/// and algorithm 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdaptiveQuantile {
    quantile: f64,
    rate: f64,
    counts: NoisedCounts,
    expected_batch: f64,
}

impl AdaptiveQuantile {
    /// A policy: the `quantile` of the norms to follow, in (0, 1); the learning `rate` eta_C of the logarithm, in (0, 10]
    /// (the paper has 0.2); the standard deviation `count_std` sigma_b of the noise on a count, in examples (the paper has a
    /// twentieth of the batch); the `expected_batch` size q N; the number of `groups`, 1 for flat clipping.
    ///
    /// # Errors
    /// [`QuantileError`] for a number out of range.
    pub fn new(
        quantile: f64,
        rate: f64,
        count_std: f32,
        expected_batch: f64,
        groups: usize,
    ) -> Result<Self, QuantileError> {
        if !(quantile > 0.0 && quantile < 1.0) {
            return Err(QuantileError::Quantile { quantile });
        }
        if !(rate > 0.0 && rate <= 10.0) {
            return Err(QuantileError::Rate { rate });
        }
        if !(expected_batch > 0.0 && expected_batch.is_finite()) {
            return Err(QuantileError::ExpectedBatch { expected_batch });
        }
        Ok(Self {
            quantile,
            rate,
            counts: NoisedCounts::new(groups, count_std)?,
            expected_batch,
        })
    }

    /// The quantile of the norms that is followed.
    pub const fn quantile(&self) -> f64 {
        self.quantile
    }

    /// The learning rate eta_C of the clipping norm's logarithm.
    pub const fn rate(&self) -> f64 {
        self.rate
    }

    /// The batch size q N that a fraction is of.
    pub const fn expected_batch(&self) -> f64 {
        self.expected_batch
    }

    /// The counts that a step releases with its sum: what its charge says beside the event.
    pub const fn counts(&self) -> NoisedCounts {
        self.counts
    }

    /// The standard deviation sigma_b of the noise on each count, in examples.
    pub const fn count_std(&self) -> f32 {
        self.counts.std
    }

    /// How many groups are counted.
    pub const fn groups(&self) -> usize {
        self.counts.groups as usize
    }

    /// The fraction of examples within the clipping norm, as the noised centred count says: `1/2 + noised / (q N)`.
    ///
    /// Unbiased where the batch has its expected size; noise can carry it out of 0..1.
    pub fn fraction(&self, noised: f32) -> f64 {
        0.5 + f64::from(noised) / self.expected_batch
    }

    /// The next clipping norm: `clip exp(-rate (fraction - quantile))`, kept between [`MIN_CLIP`] and [`MAX_CLIP`].
    ///
    /// A count that is not a number changes nothing.
    ///
    /// # Privacy
    /// `noised` must be a noised count; what is computed of it costs nothing more.
    pub fn next_clip(&self, clip: f32, noised: f32) -> f32 {
        let fraction = self.fraction(noised);
        let next = f64::from(clip) * libm::exp(-self.rate * (fraction - self.quantile));
        if next.is_nan() {
            return clip;
        }
        next.clamp(f64::from(MIN_CLIP), f64::from(MAX_CLIP)) as f32
    }

    /// [`NoisedCounts::combined_multiplier`] of the policy's counts.
    ///
    /// # Errors
    /// As there.
    pub fn combined_multiplier(&self, gradient: f64) -> Result<f64, QuantileError> {
        self.counts.combined_multiplier(gradient)
    }

    /// [`NoisedCounts::gradient_multiplier`] of the policy's counts.
    ///
    /// # Errors
    /// As there.
    pub fn gradient_multiplier(&self, combined: f64) -> Result<f64, QuantileError> {
        self.counts.gradient_multiplier(combined)
    }

    /// What one step costs, where each record is in the batch with probability `rate`, by itself: the sum noised with the
    /// multiplier `gradient`, and the counts.
    ///
    /// # Errors
    /// As [`combined_multiplier`](Self::combined_multiplier). The accountant refuses a `rate` out of range.
    ///
    /// # Privacy
    /// One Poisson-subsampled Gaussian, less than the two apart: they share the sample.
    pub fn event(&self, rate: f64, gradient: f64) -> Result<Event, QuantileError> {
        let sigma = self.combined_multiplier(gradient)?;
        Ok(if rate == 1.0 {
            Event::Gaussian { sigma }
        } else {
            Event::PoissonGaussian { rate, sigma }
        })
    }
}

/// Four f64 roundings and a little.
const ROUNDING: f64 = 1e-15;

/// The least noise on a count: with less the accountants would refuse the step anyway.
const MIN_COUNT_STD: f32 = 0.05;
/// The most: beyond the largest count.
const MAX_COUNT_STD: f32 = 1e9;

/// An adaptive clipping policy with a number out of range.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum QuantileError {
    /// The quantile is not in (0, 1).
    Quantile {
        /// The value given.
        quantile: f64,
    },
    /// The learning rate is not in (0, 10].
    Rate {
        /// The value given.
        rate: f64,
    },
    /// The noise on the counts is too small, too large, or not a number.
    CountStd {
        /// The value given.
        count_std: f32,
    },
    /// The expected batch size is not positive and finite.
    ExpectedBatch {
        /// The value given.
        expected_batch: f64,
    },
    /// No groups, or too many.
    Groups {
        /// How many.
        groups: usize,
    },
    /// The noise multiplier is not one that the counts leave room for.
    Multiplier {
        /// The value given.
        multiplier: f64,
        /// The counts' own noise multiplier.
        counts: f64,
    },
    /// More examples than a count is exact for.
    Counted {
        /// How many.
        examples: u64,
    },
}

impl fmt::Display for QuantileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Quantile { quantile } => write!(f, "quantile {quantile} is not between 0 and 1"),
            Self::Rate { rate } => write!(f, "learning rate {rate} is not between 0 and 10"),
            Self::CountStd { count_std } => write!(
                f,
                "noise of standard deviation {count_std} on a count is not between {MIN_COUNT_STD} and {MAX_COUNT_STD}"
            ),
            Self::ExpectedBatch { expected_batch } => {
                write!(
                    f,
                    "expected batch size {expected_batch} is not positive and finite"
                )
            }
            Self::Groups { groups } => write!(f, "{groups} groups, not between 1 and {MAX_GROUPS}"),
            Self::Multiplier { multiplier, counts } => write!(
                f,
                "noise multiplier {multiplier} is not positive, finite and below that of the counts, {counts}"
            ),
            Self::Counted { examples } => {
                write!(
                    f,
                    "{examples} examples in one count, more than {MAX_COUNTED}"
                )
            }
        }
    }
}

impl core::error::Error for QuantileError {}
