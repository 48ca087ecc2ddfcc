//! What the accountant answers instead of a number it can't stand behind.

use core::fmt;

/// Why a query has no answer. Every variant carries the value that caused it.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum AccountingError {
    /// The noise multiplier is not a finite number in the supported range.
    InvalidSigma {
        /// The noise multiplier that was given.
        sigma: f64,
        /// Smallest noise multiplier that the engine takes for this event.
        min: f64,
        /// Largest noise multiplier that the engine takes for this event.
        max: f64,
    },
    /// The sampling rate is not in (0, 1].
    InvalidRate {
        /// The sampling rate that was given.
        rate: f64,
    },
    /// The group size is zero or larger than [`MAX_GROUP`](super::MAX_GROUP).
    InvalidGroup {
        /// The group size that was given.
        group: u32,
        /// Largest group that the engine takes.
        max: u32,
    },
    /// The mixture's parts don't make a law; see [`GaussianMixture::new`](super::GaussianMixture::new).
    InvalidMixture {
        /// Number of shifts that were given.
        shifts: usize,
        /// Number of probabilities that were given.
        probabilities: usize,
        /// Sum of the probabilities.
        sum: f64,
    },
    /// The sensitivity is not positive, or too large.
    InvalidSensitivity {
        /// The sensitivity, after doubling for a replacement.
        sensitivity: f64,
    },
    /// The batch is empty, or larger than the population, or the population larger than 2^53.
    InvalidBatch {
        /// Batch size that was given.
        batch: u64,
        /// Population that was given.
        population: u64,
    },
    /// No bins or no epochs.
    InvalidBins {
        /// Bins that were given.
        bins: u32,
        /// Epochs that were given.
        epochs: u32,
    },
    /// Fewer than two answers.
    InvalidBuckets {
        /// Number of answers that was given.
        buckets: u32,
    },
    /// The zCDP parameter is negative, infinite or not a number.
    InvalidRho {
        /// The parameter that was given.
        rho: f64,
    },
    /// The event has no proven pair under this neighbouring relation.
    UndefinedAdjacency {
        /// The relation of the run.
        adjacency: super::Adjacency,
    },
    /// The lent memory is too small for this run.
    WorkspaceTooSmall {
        /// Nodes that one event's law was given.
        nodes: usize,
    },
    /// A loss without bound is likelier than delta: no epsilon is large enough.
    InfiniteLoss {
        /// The delta that was asked for.
        delta: f64,
        /// Probability of a loss without bound.
        probability: f64,
    },
    /// The workspace is too short for the smallest grid.
    InvalidWorkspace {
        /// Length that was given, in numbers.
        length: usize,
        /// Shortest length.
        needed: usize,
    },
    /// The engine doesn't know one of the events.
    UndefinedEngine,
    /// An event occurs more often than 2^53 times.
    CountTooLarge {
        /// The count that was given.
        count: u64,
    },
    /// Epsilon is negative, infinite or not a number (calibration: or zero).
    InvalidEpsilon {
        /// The epsilon that was given.
        epsilon: f64,
    },
    /// Delta is not in the open interval (0, 1).
    InvalidDelta {
        /// The delta that was given.
        delta: f64,
    },
    /// A rate, error probability or prior is outside of its range within [0, 1].
    InvalidProbability {
        /// The probability that was given.
        value: f64,
    },
    /// The order of a Rényi divergence is not a finite number above 1.
    InvalidOrder {
        /// The order that was given.
        alpha: f64,
    },
    /// A shift mu is negative, infinite or not a number.
    InvalidMu {
        /// The shift that was given.
        mu: f64,
    },
    /// The range of a calibration is empty, or its ends are not positive finite numbers.
    InvalidRange {
        /// Lower end that was given.
        min: f64,
        /// Upper end that was given.
        max: f64,
    },
    /// A slice is too short for what goes into it, or not as long as its partner.
    WrongLength {
        /// Length that it must have.
        expected: usize,
        /// Length that it has.
        given: usize,
    },
    /// The least that may be chosen (the smallest rate, or no step at all) costs more than the target.
    BudgetExceeded {
        /// The epsilon that was asked for.
        epsilon: f64,
        /// The epsilon that it costs.
        reached: f64,
    },
    /// No noise multiplier up to `max_sigma` reaches the target.
    Unreachable {
        /// The epsilon that was asked for.
        epsilon: f64,
        /// The epsilon that `max_sigma` still costs.
        reached: f64,
        /// The largest noise multiplier that was tried.
        max_sigma: f64,
    },
    /// The contour integral's own error bound stayed too wide for a number worth giving: the law of
    /// the privacy loss is nearly discrete at this query.
    NotConverged {
        /// Epsilon of the query, or where the search for it stood.
        epsilon: f64,
        /// Relative error bound on delta that was reached.
        relative_error: f64,
    },
    /// An intermediate quantity left the range of `f64`.
    OutOfRange {
        /// The quantity.
        value: f64,
    },
}

impl fmt::Display for AccountingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::InvalidSigma { sigma, min, max } => {
                write!(f, "noise multiplier {sigma} is not in [{min}, {max}]")
            }
            Self::InvalidRate { rate } => write!(f, "sampling rate {rate} is not in (0, 1]"),
            Self::InvalidGroup { group, max } => {
                write!(f, "group size {group} is not in 1..={max}")
            }
            Self::InvalidMixture {
                shifts,
                probabilities,
                sum,
            } => write!(
                f,
                "{shifts} shifts with {probabilities} probabilities of sum {sum} are not a law of at most 8 parts"
            ),
            Self::InvalidSensitivity { sensitivity } => {
                write!(f, "sensitivity {sensitivity} is not in the supported range")
            }
            Self::InvalidBatch { batch, population } => {
                write!(
                    f,
                    "batch size {batch} does not fit a population of {population}"
                )
            }
            Self::InvalidBins { bins, epochs } => {
                write!(
                    f,
                    "{bins} bins and {epochs} epochs: both must be at least 1"
                )
            }
            Self::InvalidBuckets { buckets } => {
                write!(f, "{buckets} answers are fewer than two")
            }
            Self::InvalidRho { rho } => write!(f, "rho {rho} is not in [0, 1e12]"),
            Self::UndefinedAdjacency { adjacency } => {
                write!(
                    f,
                    "an event has no proven pair under {adjacency:?} adjacency"
                )
            }
            Self::WorkspaceTooSmall { nodes } => {
                write!(f, "a law of the run does not fit into {nodes} nodes")
            }
            Self::InfiniteLoss { delta, probability } => write!(
                f,
                "no epsilon reaches delta {delta}: with probability {probability} the loss is without bound"
            ),
            Self::InvalidWorkspace { length, needed } => {
                write!(
                    f,
                    "a workspace of {length} numbers is shorter than {needed}"
                )
            }
            Self::UndefinedEngine => write!(f, "the engine does not know an event of the run"),
            Self::CountTooLarge { count } => write!(f, "count {count} is above 2^53"),
            Self::InvalidEpsilon { epsilon } => {
                write!(f, "epsilon {epsilon} is not a positive finite number")
            }
            Self::InvalidDelta { delta } => write!(f, "delta {delta} is not in (0, 1)"),
            Self::InvalidProbability { value } => {
                write!(f, "probability {value} is outside of its range")
            }
            Self::InvalidOrder { alpha } => {
                write!(f, "order {alpha} is not a finite number above 1")
            }
            Self::InvalidMu { mu } => write!(f, "mu {mu} is not a finite number of at least 0"),
            Self::InvalidRange { min, max } => {
                write!(f, "[{min}, {max}] is not a range of positive numbers")
            }
            Self::WrongLength { expected, given } => {
                write!(f, "a slice of {given} entries should have {expected}")
            }
            Self::BudgetExceeded { epsilon, reached } => write!(
                f,
                "epsilon {epsilon} is spent: without more, epsilon {reached} is reached"
            ),
            Self::Unreachable {
                epsilon,
                reached,
                max_sigma,
            } => write!(
                f,
                "epsilon {epsilon} is out of reach: noise multiplier {max_sigma} still costs epsilon {reached}"
            ),
            Self::NotConverged {
                epsilon,
                relative_error,
            } => write!(
                f,
                "the error bound at epsilon {epsilon} stayed at {relative_error} of delta"
            ),
            Self::OutOfRange { value } => {
                write!(f, "an intermediate value left the range of f64 ({value})")
            }
        }
    }
}

impl core::error::Error for AccountingError {}
