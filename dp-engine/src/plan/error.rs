use std::fmt;

use dp_core::accounting::AccountingError;
use dp_core::clipping::{MAX_CLIP, MAX_COUNTED, MIN_CLIP};

use super::Unit;

/// Why a private run cannot be planned. Each message names the value and the way out.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// Epsilon is not a finite number above 0.
    #[error("epsilon is {epsilon:?}: it must be a finite number above 0, for example 8")]
    Epsilon {
        /// The value given.
        epsilon: f64,
    },
    /// Delta is outside (0, 1).
    #[error(
        "delta is {delta:?}: it must be above 0 and below 1, and should be below 1/N = {:e}",
        one_over(units)
    )]
    Delta {
        /// The value given.
        delta: f64,
        /// Number of units.
        units: u64,
    },
    /// Delta is less than what the ends of the noise leave bare, in this run and in those before it.
    #[error(
        "delta is {delta:?}: the noise ends at 9.49 standard deviations, and a unit may move a value past that with a probability of up to {beyond:e} in this \
         run and those before it: choose a smaller epsilon, which takes more noise, a larger delta, or fewer steps"
    )]
    BeyondTheNoise {
        /// The value given.
        delta: f64,
        /// The probability, of all runs together.
        beyond: f64,
    },
    /// Fewer than two units.
    #[error(
        "the data set has {units} {unit}(s): private training needs at least 2, and thousands to learn anything"
    )]
    TooFewUnits {
        /// What is counted.
        unit: Unit,
        /// Number of units.
        units: u64,
    },
    /// Expected batch size 0.
    #[error("the expected batch size is 0: choose one from 1 to the {units} {}", unit.plural())]
    EmptyBatch {
        /// What is counted.
        unit: Unit,
        /// Number of units.
        units: u64,
    },
    /// Expected batch size above the number of units.
    #[error(
        "the expected batch size {batch} is above the {units} {}: choose at most {units}", unit.plural()
    )]
    BatchAboveUnits {
        /// What is counted.
        unit: Unit,
        /// The value given.
        batch: u64,
        /// Number of units.
        units: u64,
    },
    /// No steps.
    #[error("the number of steps is 0: train for at least 1")]
    NoSteps,
    /// Clipping norm out of the range that can be clipped to.
    #[error(
        "the clipping norm is {clip:?}: it must be from {MIN_CLIP:?} to {MAX_CLIP:?}, for example 1"
    )]
    Clip {
        /// The value given.
        clip: f64,
    },
    /// Allowance for rounding not a finite number of at least 0.
    #[error("eta is {eta}: it must be a finite number of at least 0, for example 0.001")]
    Eta {
        /// The value given.
        eta: f64,
    },
    /// The counts of an adaptive clipping norm have too little noise.
    #[error(
        "noise of standard deviation {count_std} on the counts that the clipping norm follows leaves no room for the sum's, as both together \
         have noise multiplier {sigma:.4} and the counts alone {counts:.4}: give them a standard deviation above {:.4}, better twice that",
        count_std_for(*sigma, *count_std, *counts)
    )]
    CountStd {
        /// Standard deviation of the noise on each count.
        count_std: f32,
        /// The counts' own noise multiplier.
        counts: f64,
        /// The noise multiplier of a whole step.
        sigma: f64,
    },
    /// Batches so large that their counts could round.
    #[error(
        "the expected batch size {batch} is above {}, and the counts that the clipping norm follows are exact up to twice that: choose a smaller \
         batch, or a fixed clipping norm",
        MAX_COUNTED / 2
    )]
    Counted {
        /// The value given.
        batch: u64,
    },
    /// Earlier runs left nothing of the target.
    #[error(
        "earlier runs on this data set spent epsilon {spent:.6} at delta {delta:?} already, and the target for all of them together is \
         {epsilon:?}: nothing is left for this run; set a larger target, and say so to whoever relies on the smaller one"
    )]
    SpentBefore {
        /// Target epsilon.
        epsilon: f64,
        /// Target delta.
        delta: f64,
        /// Upper bound on the epsilon spent before.
        spent: f64,
    },
    /// The accountant has no figure for what earlier runs spent.
    #[error(
        "what earlier runs on this data set spent has no figure at delta {delta:?} ({source}): choose another delta"
    )]
    BeforeUnknown {
        /// Target delta.
        delta: f64,
        /// What the accountant said.
        source: AccountingError,
    },
    /// No noise multiplier meets the target.
    #[error(
        "epsilon {epsilon:?} at delta {delta:?} cannot be reached in {steps} steps at sampling rate {rate:?} ({source}): \
         raise epsilon or delta, take fewer steps, or lower the batch size"
    )]
    Unreachable {
        /// Target epsilon.
        epsilon: f64,
        /// Target delta.
        delta: f64,
        /// Sampling rate.
        rate: f64,
        /// Number of steps.
        steps: u64,
        /// What the accountant said.
        source: AccountingError,
    },
}

/// The standard deviation at which counts have `sigma` by themselves, where they have the multiplier `counts` at `count_std`.
fn count_std_for(sigma: f64, count_std: f32, counts: f64) -> f64 {
    f64::from(count_std) * sigma / counts
}

fn one_over(units: &u64) -> f64 {
    1.0 / (*units).max(1) as f64
}

/// What is unwise in a plan, but allowed.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum PlanWarning {
    /// Delta is at least 1/N: publishing one random unit in full would satisfy such a guarantee.
    DeltaNotBelowOneOverN {
        /// The value given.
        delta: f64,
        /// What is counted.
        unit: Unit,
        /// Number of units.
        units: u64,
    },
}

impl fmt::Display for PlanWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DeltaNotBelowOneOverN { delta, unit, units } => write!(
                f,
                "delta {delta:?} is not below 1/N = {:e} for {units} {}: such a guarantee would allow \
                 publishing all of a {unit} in full; choose a smaller delta",
                one_over(units),
                unit.plural()
            ),
        }
    }
}
