//! What a training run does with a record's data, as the accountant sees it.

use super::law::{Lattice, Law};
use super::mixture::Mixture;
use super::{AccountingError, Adjacency};

/// Largest group of [`Event::GroupPoissonGaussian`].
pub const MAX_GROUP: u32 = 256;
/// Most components of a [`GaussianMixture`].
pub const MAX_COMPONENTS: usize = 8;
/// Smallest noise multiplier of a sampled Gaussian event.
pub const MIN_SIGMA: f64 = 0.05;
/// Largest noise multiplier that any engine takes.
pub const MAX_SIGMA: f64 = 1e9;
/// Smallest noise multiplier of a full-batch Gaussian event.
pub const MIN_GAUSSIAN_SIGMA: f64 = 1e-9;
/// Largest epsilon of one [`Event::ApproximateDp`], [`Event::RandomizedResponse`] or Laplace step.
pub const MAX_PURE_EPSILON: f64 = 1e4;

/// One use of a record's data; a run is a list of events with counts.
///
/// `sigma` is the noise multiplier: standard deviation of the noise divided by the clipping norm
/// (no unit). `rate` is the probability with which a record is in a batch. What an event costs depends on the
/// [`Adjacency`]; where an event has no proven pair under one, the accountants refuse it.
///
/// There is no event that gives a shuffled sampler the amplification of Poisson sampling:
/// [`Event::ShuffledGaussian`] has no rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event {
    /// Sum over the whole data set, plus Gaussian noise.
    ///
    /// # Privacy
    /// Dominating pair `N(1, sigma^2)`, `N(0, sigma^2)`; replace-one: `N(2, sigma^2)`, `N(0, sigma^2)`.
    Gaussian {
        /// Noise multiplier.
        sigma: f64,
    },
    /// Sum over a Poisson sample (each record in with probability `rate`, independently), plus
    /// Gaussian noise.
    ///
    /// # Privacy
    /// Add/remove and zero-out: dominating pair `(1 - rate) N(0, sigma^2) + rate N(1, sigma^2)`, `N(0, sigma^2)`, in
    /// both orders. Replace-one: `(1 - rate) N(0, sigma^2) + rate N(1, sigma^2)` against the same with `N(-1, sigma^2)`.
    /// A shuffled or fixed-size sampler does NOT have these pairs.
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
    /// Add/remove and zero-out of `group` records. Dominating pair
    /// `sum_j Binomial(group, rate)(j) N(j, sigma^2)`, `N(0, sigma^2)`, in both orders. Not defined for replace-one.
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
    /// A record's contribution is of a random size with a known law; see [`GaussianMixture`].
    ///
    /// # Privacy
    /// Add/remove and zero-out. Dominating pair `sum_j p_j N(s_j, sigma^2)`, `N(0, sigma^2)`, in both orders.
    ///
    /// # References
    /// Choquette-Choo et al., "Privacy amplification for matrix mechanisms", arXiv:2310.15526; Ganesh, arXiv:2401.10294.
    MixtureGaussian(GaussianMixture),
    /// Sum over a batch of exactly `batch` records, drawn from `population` without replacement and
    /// independently in every step, plus Gaussian noise.
    ///
    /// # Privacy
    /// Replace-one only, since the batch size would otherwise depend on who is in the data. With rate
    /// `batch / population`, the symmetric pair whose divergences are the larger ones of
    /// `(1 - rate) N(0, sigma^2) + rate N(2, sigma^2)` against `N(0, sigma^2)` and of the reverse.
    ///
    /// # References
    /// Balle, Barthe, Gaboardi, arXiv:1807.01647 (theorem 9); Zhu, Dong, Wang, arXiv:2106.08567 (theorem 11).
    FixedSizeGaussian {
        /// Number of records in the data set.
        population: u64,
        /// Number of records in a batch, 1 to `population`.
        batch: u64,
        /// Noise multiplier, relative to the clipping norm of one record.
        sigma: f64,
    },
    /// A Poisson sample of which a random `max_batch` records are kept where it is larger.
    ///
    /// # Privacy
    /// Add/remove and zero-out. With the probability that `population - 1` other records fill the batch, which may be
    /// public, the pair of a replacement at the rate with which the record is then kept; else the pair of
    /// [`Event::PoissonGaussian`].
    ///
    /// # References
    /// Chua et al., "Scalable DP-SGD: shuffling vs. Poisson subsampling", arXiv:2411.04205; the accounting of VaultGemma
    /// (arXiv:2510.15001).
    TruncatedPoissonGaussian {
        /// Number of records in the larger data set.
        population: u64,
        /// Sampling rate, in (0, 1].
        rate: f64,
        /// Largest batch, at least 1.
        max_batch: u64,
        /// Noise multiplier.
        sigma: f64,
    },
    /// Every record is put into one of `bins` batches at random and stays there; each epoch goes
    /// through all batches once. One event is the whole training of `epochs` epochs.
    ///
    /// # Privacy
    /// Add/remove and zero-out. Dominating pair `1/bins sum_i N(epochs^(1/2) e_i, sigma^2)`, `N(0, sigma^2)` in `bins`
    /// dimensions, in both orders. A shuffle into batches of equal size is another mechanism.
    ///
    /// # References
    /// Chua et al., "Balls-and-bins sampling for DP-SGD", arXiv:2412.16802.
    BallsInBinsGaussian {
        /// Number of batches in an epoch, 1 to 2^32 - 1.
        bins: u32,
        /// Number of epochs, at least 1.
        epochs: u32,
        /// Noise multiplier of each step.
        sigma: f64,
    },
    /// One epoch over shuffled batches: every record is in exactly one batch.
    ///
    /// # Privacy
    /// The pair of [`Event::Gaussian`]: no amplification is known to hold that a fixed order would not have. Zero-out and
    /// replace-one; not defined for add/remove, where another record would move into another batch.
    ///
    /// # References
    /// Chua et al., "How private are DP-SGD implementations?", arXiv:2403.17673.
    ShuffledGaussian {
        /// Noise multiplier of each step.
        sigma: f64,
    },
    /// A matrix (correlated-noise) mechanism `C x + noise`: the whole run is one event.
    ///
    /// # Privacy
    /// `sensitivity` is the largest L2 norm by which `C x` moves when one record with contributions of norm at most one, in
    /// all steps that it may take part in, is added or removed; dominating pair `N(sensitivity, sigma^2)`, `N(0, sigma^2)`.
    /// Replace-one doubles it.
    ///
    /// # References
    /// Denisov et al., arXiv:2202.08312; Choquette-Choo et al., arXiv:2211.06530.
    MatrixGaussian {
        /// Sensitivity of the encoded stream, in clipping norms.
        sensitivity: f64,
        /// Standard deviation of the noise, in clipping norms.
        sigma: f64,
    },
    /// A sum of L1 sensitivity 1 plus Laplace noise.
    ///
    /// # Privacy
    /// Dominating pair `Lap(1, scale)`, `Lap(0, scale)`; replace-one: `Lap(2, scale)`. Pure `1 / scale`-DP.
    Laplace {
        /// Scale of the noise divided by the L1 sensitivity.
        scale: f64,
    },
    /// As [`Event::Laplace`], over a Poisson sample.
    ///
    /// # Privacy
    /// Add/remove and zero-out: `(1 - rate) Lap(0, scale) + rate Lap(1, scale)` against `Lap(0, scale)`, in both orders.
    PoissonLaplace {
        /// Sampling rate, in (0, 1].
        rate: f64,
        /// Scale of the noise divided by the L1 sensitivity.
        scale: f64,
    },
    /// An integer-valued sum plus discrete Gaussian noise on the integers.
    ///
    /// # Privacy
    /// One coordinate that moves by at most `sensitivity`: dominating pair the discrete Gaussian of parameter
    /// `sigma` around `sensitivity` and around 0. Replace-one doubles the sensitivity.
    ///
    /// # References
    /// Canonne, Kamath, Steinke, arXiv:2004.00010.
    DiscreteGaussian {
        /// Parameter of the discrete Gaussian, about its standard deviation (absolute, in grid steps).
        sigma: f64,
        /// How far one record moves the sum, in grid steps, at least 1.
        sensitivity: u32,
    },
    /// An integer-valued sum plus discrete Laplace (two-sided geometric) noise, `Pr[x] ~ e^(-decay |x|)`.
    ///
    /// # Privacy
    /// Pure `decay * sensitivity`-DP. Replace-one doubles the sensitivity.
    DiscreteLaplace {
        /// Decay of the noise's logarithm per step.
        decay: f64,
        /// How far one record moves the sum, in steps, at least 1.
        sensitivity: u32,
    },
    /// With probability `noise` a uniformly drawn answer out of `buckets`, else the true one.
    ///
    /// # Privacy
    /// Replace-one only.
    RandomizedResponse {
        /// Probability of a random answer, in (0, 1].
        noise: f64,
        /// Number of answers, at least 2.
        buckets: u32,
    },
    /// Any mechanism that is (`epsilon`, `delta`)-differentially private under the run's adjacency.
    ///
    /// # Privacy
    /// The worst such mechanism: loss infinite with probability `delta`, else plus or minus `epsilon`.
    ///
    /// # References
    /// Kairouz, Oh, Viswanath, arXiv:1311.0776; Murtagh, Vadhan, arXiv:1507.03113.
    ApproximateDp {
        /// Epsilon of the mechanism, 0 to [`MAX_PURE_EPSILON`].
        epsilon: f64,
        /// Delta of the mechanism, in [0, 1).
        delta: f64,
    },
    /// Any mechanism that is `rho`-zCDP under the run's adjacency.
    ///
    /// # Privacy
    /// Known by its Rényi divergences only, so only the [`Rdp`](super::Rdp) engine takes it.
    ///
    /// # References
    /// Bun, Steinke, arXiv:1605.02658.
    ZeroConcentratedDp {
        /// The parameter: Rényi divergence of order alpha at most `alpha rho`.
        rho: f64,
    },
}

/// `sum_j p_j N(s_j, sigma^2)` against `N(0, sigma^2)`: a contribution of norm `s_j` with probability `p_j`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GaussianMixture {
    sigma: f64,
    len: usize,
    shifts: [f64; MAX_COMPONENTS],
    probabilities: [f64; MAX_COMPONENTS],
}

impl GaussianMixture {
    /// A mixture of the given shifts (in clipping norms, at least 0) with their probabilities, which sum to 1.
    ///
    /// # Errors
    /// [`AccountingError::InvalidMixture`] unless there are 1 to [`MAX_COMPONENTS`] of each, as many shifts as
    /// probabilities, shifts in `[0, 1e6]`, probabilities in `(0, 1]` with a sum within 1e-12 of one.
    pub fn new(shifts: &[f64], probabilities: &[f64], sigma: f64) -> Result<Self, AccountingError> {
        let sum: f64 = probabilities.iter().sum();
        let len = shifts.len();
        let good = (1..=MAX_COMPONENTS).contains(&len)
            && probabilities.len() == len
            && shifts.iter().all(|s| (0.0..=1e6).contains(s))
            && probabilities.iter().all(|p| *p > 0.0 && *p <= 1.0)
            && (sum - 1.0).abs() <= 1e-12;
        if !good {
            return Err(AccountingError::InvalidMixture {
                shifts: len,
                probabilities: probabilities.len(),
                sum,
            });
        }
        let mut mixture = Self {
            sigma,
            len,
            shifts: [0.0; MAX_COMPONENTS],
            probabilities: [0.0; MAX_COMPONENTS],
        };
        mixture.shifts[..len].copy_from_slice(shifts);
        mixture.probabilities[..len].copy_from_slice(probabilities);
        Ok(mixture)
    }

    /// Shifts and probabilities, in the order given.
    #[must_use]
    pub fn components(&self) -> (&[f64], &[f64]) {
        (&self.shifts[..self.len], &self.probabilities[..self.len])
    }

    /// Noise multiplier.
    #[must_use]
    pub const fn sigma(&self) -> f64 {
        self.sigma
    }
}

/// Largest count: every integer up to here is an `f64`.
pub(super) const MAX_COUNT: u64 = 1 << 53;

impl Event {
    /// Checks the parameters and gives the dominating pair.
    pub(super) fn law(&self, adjacency: Adjacency) -> Result<Law, AccountingError> {
        // Two clipped records are up to twice as far apart as one is from nothing.
        let reach = match adjacency {
            Adjacency::AddRemove | Adjacency::ZeroOut => 1.0,
            Adjacency::ReplaceOne => 2.0,
        };
        let replaced = adjacency == Adjacency::ReplaceOne;
        let only = |allowed: bool| {
            if allowed {
                Ok(())
            } else {
                Err(AccountingError::UndefinedAdjacency { adjacency })
            }
        };
        match *self {
            Self::Gaussian { sigma } => shift(reach, sigma),
            Self::ShuffledGaussian { sigma } => {
                only(adjacency != Adjacency::AddRemove)?;
                shift(reach, sigma)
            }
            Self::MatrixGaussian { sensitivity, sigma } => {
                if !(sensitivity > 0.0 && sensitivity <= 1e12) {
                    return Err(AccountingError::InvalidSensitivity { sensitivity });
                }
                shift(reach * sensitivity, sigma)
            }
            Self::PoissonGaussian { rate, sigma } => {
                check_rate(rate)?;
                if rate == 1.0 {
                    return shift(reach, sigma);
                }
                check_sigma(sigma, MIN_SIGMA)?;
                let mu = 1.0 / sigma;
                Ok(if replaced {
                    Law::TwoSided { rate, mu }
                } else {
                    Law::Mixture(Mixture::binomial(rate, sigma, 1))
                })
            }
            Self::GroupPoissonGaussian { rate, sigma, group } => {
                only(!replaced)?;
                check_rate(rate)?;
                if group == 0 || group > MAX_GROUP {
                    return Err(AccountingError::InvalidGroup {
                        group,
                        max: MAX_GROUP,
                    });
                }
                if rate == 1.0 {
                    return shift(f64::from(group), sigma);
                }
                check_sigma(sigma, MIN_SIGMA)?;
                Ok(Law::Mixture(Mixture::binomial(rate, sigma, group)))
            }
            Self::MixtureGaussian(mixture) => {
                only(!replaced)?;
                check_sigma(mixture.sigma, MIN_SIGMA)?;
                let (shifts, probabilities) = mixture.components();
                Ok(Law::Mixture(Mixture::new(
                    shifts,
                    probabilities,
                    mixture.sigma,
                )))
            }
            Self::FixedSizeGaussian {
                population,
                batch,
                sigma,
            } => {
                only(replaced)?;
                if batch == 0 || batch > population || population > MAX_COUNT {
                    return Err(AccountingError::InvalidBatch { batch, population });
                }
                if batch == population {
                    return shift(2.0, sigma);
                }
                check_sigma(sigma, MIN_SIGMA)?;
                Ok(Law::Replaced {
                    rate: batch as f64 / population as f64,
                    mu: 2.0 / sigma,
                })
            }
            Self::TruncatedPoissonGaussian {
                population,
                rate,
                max_batch,
                sigma,
            } => {
                only(!replaced)?;
                check_rate(rate)?;
                check_sigma(sigma, MIN_SIGMA)?;
                if max_batch == 0 || population == 0 || population > MAX_COUNT {
                    return Err(AccountingError::InvalidBatch {
                        batch: max_batch,
                        population,
                    });
                }
                if rate == 1.0 && max_batch >= population {
                    return shift(1.0, sigma);
                }
                Ok(Law::truncated(population, rate, max_batch, sigma))
            }
            Self::BallsInBinsGaussian {
                bins,
                epochs,
                sigma,
            } => {
                only(!replaced)?;
                if bins == 0 || epochs == 0 {
                    return Err(AccountingError::InvalidBins { bins, epochs });
                }
                let mu = libm::sqrt(f64::from(epochs)) / sigma;
                if bins == 1 {
                    check_sigma(sigma, MIN_GAUSSIAN_SIGMA)?;
                    return Ok(Law::Shift { mu });
                }
                check_sigma(sigma, MIN_SIGMA)?;
                Ok(Law::Bins { bins, mu })
            }
            Self::Laplace { scale } => laplace(1.0, scale, reach),
            Self::PoissonLaplace { rate, scale } => {
                check_rate(rate)?;
                only(!replaced || rate == 1.0)?;
                laplace(rate, scale, reach)
            }
            Self::DiscreteGaussian { sigma, sensitivity } => {
                check_sigma(sigma, MIN_SIGMA)?;
                let steps = check_steps(sensitivity, reach)?;
                Ok(Law::DiscreteGaussian {
                    sigma,
                    sensitivity: steps,
                })
            }
            Self::DiscreteLaplace { decay, sensitivity } => {
                let steps = check_steps(sensitivity, reach)?;
                if !(decay > 0.0 && decay * f64::from(steps) <= MAX_PURE_EPSILON) {
                    return Err(AccountingError::InvalidEpsilon {
                        epsilon: decay * f64::from(steps),
                    });
                }
                Ok(Law::Lattice(Lattice::discrete_laplace(decay, steps)))
            }
            Self::RandomizedResponse { noise, buckets } => {
                only(replaced)?;
                check_rate(noise)?;
                if buckets < 2 {
                    return Err(AccountingError::InvalidBuckets { buckets });
                }
                Ok(Law::Lattice(Lattice::randomized_response(noise, buckets)))
            }
            Self::ApproximateDp { epsilon, delta } => {
                if !(0.0..=MAX_PURE_EPSILON).contains(&epsilon) {
                    return Err(AccountingError::InvalidEpsilon { epsilon });
                }
                if !(0.0..1.0).contains(&delta) {
                    return Err(AccountingError::InvalidDelta { delta });
                }
                Ok(Law::Lattice(Lattice::approximate(epsilon, delta)))
            }
            Self::ZeroConcentratedDp { rho } => {
                if !(rho >= 0.0 && rho <= 1e12) {
                    return Err(AccountingError::InvalidRho { rho });
                }
                Ok(Law::ZeroConcentrated { rho })
            }
        }
    }
}

fn shift(reach: f64, sigma: f64) -> Result<Law, AccountingError> {
    check_sigma(sigma, MIN_GAUSSIAN_SIGMA)?;
    Ok(Law::Shift { mu: reach / sigma })
}

fn laplace(rate: f64, scale: f64, reach: f64) -> Result<Law, AccountingError> {
    check_sigma(scale, reach / MAX_PURE_EPSILON)?;
    Ok(Law::Laplace {
        rate,
        mu: reach / scale,
    })
}

fn check_rate(rate: f64) -> Result<(), AccountingError> {
    if rate > 0.0 && rate <= 1.0 {
        Ok(())
    } else {
        Err(AccountingError::InvalidRate { rate })
    }
}

fn check_sigma(sigma: f64, min: f64) -> Result<(), AccountingError> {
    if sigma >= min && sigma <= MAX_SIGMA {
        Ok(())
    } else {
        Err(AccountingError::InvalidSigma {
            sigma,
            min,
            max: MAX_SIGMA,
        })
    }
}

/// The sensitivity on a grid, doubled for a replacement.
fn check_steps(sensitivity: u32, reach: f64) -> Result<u32, AccountingError> {
    let steps = f64::from(sensitivity) * reach;
    if sensitivity >= 1 && steps <= f64::from(MAX_GRID_STEPS) {
        Ok(steps as u32)
    } else {
        Err(AccountingError::InvalidSensitivity { sensitivity: steps })
    }
}

/// Largest sensitivity on a grid.
const MAX_GRID_STEPS: u32 = 1 << 20;
