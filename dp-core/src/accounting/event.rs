//! What a training run does with a record's data, as the accountant sees it.

use super::AccountingError;

/// Largest group of [`Event::GroupPoissonGaussian`].
pub const MAX_GROUP: u32 = 256;
/// Smallest noise multiplier that the contour engine takes.
pub const MIN_SIGMA: f64 = 0.05;
/// Largest noise multiplier that any engine takes.
pub const MAX_SIGMA: f64 = 1e9;
/// Smallest noise multiplier of a full-batch Gaussian event.
pub const MIN_GAUSSIAN_SIGMA: f64 = 1e-9;

/// One use of a record's data; a run is a list of events with counts.
///
/// `sigma` is the noise multiplier: standard deviation of the noise divided by the clipping norm
/// (no unit). `rate` is the probability with which a record is in a batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event {
    /// Sum over the whole data set, plus Gaussian noise.
    ///
    /// # Privacy
    /// Add/remove adjacency, one record. Dominating pair `N(1, sigma^2)`, `N(0, sigma^2)`.
    Gaussian {
        /// Noise multiplier.
        sigma: f64,
    },
    /// Sum over a Poisson sample (each record in with probability `rate`, independently), plus
    /// Gaussian noise.
    ///
    /// # Privacy
    /// Add/remove adjacency, one record. Dominating pair
    /// `(1 - rate) N(0, sigma^2) + rate N(1, sigma^2)`, `N(0, sigma^2)`, in both orders. A shuffled
    /// or fixed-size sampler does NOT have this pair.
    PoissonGaussian {
        /// Sampling rate, in (0, 1].
        rate: f64,
        /// Noise multiplier.
        sigma: f64,
    },
    /// As [`Event::PoissonGaussian`], with a person who owns `group` records: the records are
    /// sampled independently, and all of the person's records are added or removed together.
    ///
    /// # Privacy
    /// Add/remove adjacency, `group` records. Dominating pair
    /// `sum_j Binomial(group, rate)(j) N(j, sigma^2)`, `N(0, sigma^2)`, in both orders.
    ///
    /// # References
    /// Ganesh, "Tight group-level DP guarantees for DP-SGD with sampling via mixture of Gaussians
    /// mechanisms", arXiv:2401.10294.
    GroupPoissonGaussian {
        /// Sampling rate of each record, in (0, 1].
        rate: f64,
        /// Noise multiplier, relative to one record's clipping norm.
        sigma: f64,
        /// Number of records, 1 to [`MAX_GROUP`].
        group: u32,
    },
}

/// An event reduced to its dominating pair.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Reduced {
    /// `N(mu, 1)` against `N(0, 1)`.
    Shift { mu: f64 },
    /// A binomial mixture of Gaussians against one.
    Mixture { rate: f64, sigma: f64, group: u32 },
}

impl Event {
    /// Checks the parameters and names the dominating pair.
    pub(super) fn reduce(&self) -> Result<Reduced, AccountingError> {
        let (rate, sigma, group) = match *self {
            Self::Gaussian { sigma } => (1.0, sigma, 1),
            Self::PoissonGaussian { rate, sigma } => (rate, sigma, 1),
            Self::GroupPoissonGaussian { rate, sigma, group } => (rate, sigma, group),
        };
        if !(rate > 0.0 && rate <= 1.0) {
            return Err(AccountingError::InvalidRate { rate });
        }
        if group == 0 || group > MAX_GROUP {
            return Err(AccountingError::InvalidGroup {
                group,
                max: MAX_GROUP,
            });
        }
        // A rate of one leaves nothing to mix: every record of the group is in every batch.
        let min = if rate == 1.0 {
            MIN_GAUSSIAN_SIGMA
        } else {
            MIN_SIGMA
        };
        if !(sigma >= min && sigma <= MAX_SIGMA) {
            return Err(AccountingError::InvalidSigma {
                sigma,
                min,
                max: MAX_SIGMA,
            });
        }
        if rate == 1.0 {
            let mu = f64::from(group) / sigma;
            return Ok(Reduced::Shift { mu });
        }
        Ok(Reduced::Mixture { rate, sigma, group })
    }
}

/// Largest count: every integer up to here is an `f64`.
pub(super) const MAX_COUNT: u64 = 1 << 53;

/// What an event list comes to, before any integral is taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Summary {
    /// Nothing was released.
    Nothing,
    /// All events are Gaussian: together `N(mu, 1)` against `N(0, 1)`.
    Gaussian { mu: f64 },
    /// One sampled event, once.
    Single { rate: f64, sigma: f64, group: u32 },
    /// Anything else; `mu_sq` gathers the Gaussian events.
    Mixed { mu_sq: f64 },
}

/// Checks every event and count, and sums up what has a closed form.
pub(super) fn summarise(events: &[(Event, u64)]) -> Result<Summary, AccountingError> {
    let mut mu_sq = 0.0;
    let mut sampled = 0u64;
    let mut single = None;
    for &(event, count) in events {
        if count > MAX_COUNT {
            return Err(AccountingError::CountTooLarge { count });
        }
        let reduced = event.reduce()?;
        if count == 0 {
            continue;
        }
        match reduced {
            Reduced::Shift { mu } => mu_sq += mu * mu * count as f64,
            Reduced::Mixture { rate, sigma, group } => {
                sampled = sampled.saturating_add(count);
                single = Some((rate, sigma, group));
            }
        }
    }
    if !mu_sq.is_finite() {
        return Err(AccountingError::OutOfRange { value: mu_sq });
    }
    Ok(match single {
        None if mu_sq == 0.0 => Summary::Nothing,
        None => Summary::Gaussian {
            mu: libm::sqrt(mu_sq),
        },
        Some((rate, sigma, group)) if sampled == 1 && mu_sq == 0.0 => {
            Summary::Single { rate, sigma, group }
        }
        Some(_) => Summary::Mixed { mu_sq },
    })
}
