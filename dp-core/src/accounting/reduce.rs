//! From an event to its dominating pair, with every parameter checked.

use super::event::{Event, MAX_GROUP, MAX_PURE_EPSILON, MAX_SIGMA, MIN_GAUSSIAN_SIGMA, MIN_SIGMA};
use super::law::{Lattice, Law};
use super::mixture::Mixture;
use super::{AccountingError, Adjacency};

/// Largest sensitivity on a grid.
const MAX_GRID_STEPS: u32 = 1 << 20;

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
                check_sigma(mixture.sigma(), MIN_SIGMA)?;
                let (shifts, probabilities) = mixture.components();
                Ok(Law::Mixture(Mixture::new(
                    shifts,
                    probabilities,
                    mixture.sigma(),
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
                if !(0.0..=1e12).contains(&rho) {
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

/// Least sampling rate: that of the sampler, which compares 64 bits.
const MIN_RATE: f64 = 1.0 / 18_446_744_073_709_551_616.0;

fn check_rate(rate: f64) -> Result<(), AccountingError> {
    if (MIN_RATE..=1.0).contains(&rate) {
        Ok(())
    } else if rate > 0.0 && rate < MIN_RATE {
        Err(AccountingError::OutOfRange { value: rate })
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
