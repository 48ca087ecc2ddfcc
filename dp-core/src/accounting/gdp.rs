//! Gaussian differential privacy: runs that are no worse than one Gaussian of shift mu.
//!
//! The argument is in `docs/proofs/accounting-gdp.md`.

use super::invert::{Point, invert};
use super::law::Law;
use super::normal::{LN_SQRT_2PI, ln_delta, ln_delta_error, mills};
use super::rdp::largest_laplace_loss;
use super::reduce::MAX_COUNT;
use super::{Accountant, AccountingError, Bounds, MAX_SIGMA, MIN_SIGMA, Run};

/// The GDP engine: exact for Gaussian events, and a proven mu for most others.
///
/// A sampled event gets the mu of the same event without sampling, a pure epsilon-DP one the least mu that
/// covers every such mechanism. For amplification by sampling there is [`gdp_limit`], which is no bound.
///
/// # Privacy
/// `upper` may be promised. `lower` is what the run's Gaussian events cost alone.
///
/// # Errors
/// [`AccountingError::UndefinedEngine`] for a discrete Gaussian, for zCDP and for a delta above 0: no mu is known to hold.
///
/// # References
/// Dong, Roth, Su, arXiv:1905.02383.
///
/// ```
/// use dp_core::accounting::{Accountant, Event, Gdp, Run};
/// let events = [(Event::Gaussian { sigma: 10.0 }, 100)];
/// let spent = Gdp.epsilon(Run::add_remove(&events), 1e-9)?;
/// assert!((spent.upper / 6.173935046670908 - 1.0).abs() < 1e-10);
/// # Ok::<(), dp_core::accounting::AccountingError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Gdp;

/// Largest mu that is answered.
const MAX_MU: f64 = 1e30;
/// Largest epsilon that is answered.
const MAX_EPSILON: f64 = 1e9;

impl Accountant for Gdp {
    fn delta(&mut self, run: Run<'_>, epsilon: f64) -> Result<Bounds, AccountingError> {
        between(gdp_mu(run)?, |mu| gdp_delta(mu, epsilon))
    }

    fn epsilon(&mut self, run: Run<'_>, delta: f64) -> Result<Bounds, AccountingError> {
        between(gdp_mu(run)?, |mu| gdp_epsilon(mu, delta))
    }
}

/// A quantity that rises with mu.
fn between(
    mu: Bounds,
    quantity: impl Fn(f64) -> Result<Bounds, AccountingError>,
) -> Result<Bounds, AccountingError> {
    let bounds = Bounds {
        lower: quantity(mu.lower)?.lower,
        estimate: quantity(mu.estimate)?.estimate,
        upper: quantity(mu.upper)?.upper,
    };
    bounds.checked()
}

/// The mu for which the run is mu-Gaussian differentially private: as hard to tell apart as `N(mu, 1)` from `N(0, 1)`.
///
/// # Privacy
/// The run is `upper`-GDP under its adjacency. `lower` is the mu of its Gaussian events alone.
///
/// # Errors
/// A value outside its domain, or [`AccountingError::UndefinedEngine`] where no mu is known; see [`Gdp`].
///
/// # Precision
/// A few units in the last place for Gaussian events.
///
/// # References
/// Dong, Roth, Su, arXiv:1905.02383.
///
/// ```
/// use dp_core::accounting::{Event, Run, gdp_mu};
/// let events = [(Event::Gaussian { sigma: 4.0 }, 64)];
/// assert!((gdp_mu(Run::add_remove(&events))?.upper - 2.0).abs() < 1e-14);
/// # Ok::<(), dp_core::accounting::AccountingError>(())
/// ```
pub fn gdp_mu(run: Run<'_>) -> Result<Bounds, AccountingError> {
    let (mut exact, mut all) = (0.0, 0.0);
    for (event, count) in run.events {
        let law = event.law(run.adjacency)?;
        if *count > MAX_COUNT {
            return Err(AccountingError::CountTooLarge { count: *count });
        }
        if *count == 0 {
            continue;
        }
        let count = *count as f64;
        if let Law::Shift { mu } = law {
            exact += count * mu * mu;
            all += count * mu * mu;
        } else {
            let mu = covering(&law)?;
            all += count * mu * mu;
        }
    }
    let room = f64::EPSILON * (4.0 + run.events.len() as f64);
    Ok(Bounds {
        lower: libm::sqrt(exact) * (1.0 - room),
        estimate: libm::sqrt(all),
        upper: libm::sqrt(all) * (1.0 + room),
    })
}

/// A mu that is proven for a law that is not Gaussian.
///
/// Divergences are jointly convex, so a mixture, its parts taken pair by pair, is no worse than its worst part.
fn covering(law: &Law) -> Result<f64, AccountingError> {
    match law {
        Law::Shift { mu } | Law::Replaced { mu, .. } | Law::Bins { mu, .. } => Ok(*mu),
        Law::Mixture(pair) => Ok(pair.slope()),
        Law::TwoSided { mu, .. } => Ok(2.0 * mu),
        // Of the two cases the replacement by `TwoSided { .., 2 mu }` is the worse one.
        Law::Truncated { mu, .. } => Ok(4.0 * mu),
        Law::Laplace { rate, mu } => Ok(of_pure(largest_laplace_loss(*rate, *mu))),
        Law::Lattice(lattice) if lattice.infinite == 0.0 => Ok(of_pure(lattice.top)),
        Law::Lattice(_) | Law::DiscreteGaussian { .. } | Law::ZeroConcentrated { .. } => {
            Err(AccountingError::UndefinedEngine)
        }
    }
}

/// The least mu that covers every `epsilon`-DP mechanism, rounded up.
///
/// Such a mechanism's trade-off is at least the two chords through (0, 1), (a, a), (1, 0) with `a = 1 / (1 + e^epsilon)`. The
/// Gaussian one with `Phi(-mu/2) = a` goes through these points, is convex, and so is below the chords.
fn of_pure(epsilon: f64) -> f64 {
    let small = 0.25 * libm::sqrt(2.0 * core::f64::consts::PI) * epsilon;
    if epsilon < 1e-3 {
        // Phi(x) - 1/2 >= x phi(x), and tanh(epsilon/2)/2 <= epsilon/4.
        return 2.0 * small * (1.0 + epsilon * epsilon + 4.0 * f64::EPSILON);
    }
    // Newton's steps on log Phi(-x) = -log(1 + e^epsilon), concave in x.
    let target = epsilon + libm::log1p(libm::exp(-epsilon));
    let mut x = small.min(libm::sqrt(2.0 * epsilon));
    for _ in 0..60 {
        let ratio = mills(x);
        let ln_tail = -0.5 * x * x - LN_SQRT_2PI + libm::log(ratio);
        let step = (ln_tail + target) * ratio;
        x += step;
        if step.abs() <= 1e-15 * x {
            break;
        }
    }
    // The logarithm is off by a few ulp of its terms, which the slope 1 / mills(x) turns into x.
    2.0 * (x + 16.0 * f64::EPSILON * (1.0 + target) * mills(x) + 4.0 * f64::EPSILON * x)
}

fn check_mu(mu: f64) -> Result<(), AccountingError> {
    if (0.0..=MAX_MU).contains(&mu) {
        Ok(())
    } else {
        Err(AccountingError::InvalidMu { mu })
    }
}

fn point(epsilon: f64, mu: f64) -> Point {
    Point {
        ln_delta: ln_delta(epsilon, mu),
        error: ln_delta_error(epsilon, mu),
    }
}

/// The delta at which mu-Gaussian differential privacy is (`epsilon`, delta)-differential privacy.
///
/// # Errors
/// [`AccountingError::InvalidMu`] unless `mu` is in [0, 1e30], [`AccountingError::InvalidEpsilon`] unless `epsilon` is in
/// [0, 1e9].
///
/// # References
/// Balle, Wang, arXiv:1805.06530; Dong, Roth, Su, arXiv:1905.02383.
pub fn gdp_delta(mu: f64, epsilon: f64) -> Result<Bounds, AccountingError> {
    check_mu(mu)?;
    if !(0.0..=MAX_EPSILON).contains(&epsilon) {
        return Err(AccountingError::InvalidEpsilon { epsilon });
    }
    if mu == 0.0 {
        return Ok(Bounds::ZERO);
    }
    Ok(point(epsilon, mu).bounds())
}

/// The epsilon at which mu-Gaussian differential privacy is (epsilon, `delta`)-differential privacy.
///
/// # Errors
/// [`AccountingError::InvalidMu`] unless `mu` is in [0, 1e30], [`AccountingError::InvalidDelta`] unless `delta` is in (0, 1).
///
/// # References
/// As [`gdp_delta`].
///
/// ```
/// use dp_core::accounting::gdp_epsilon;
/// assert!((gdp_epsilon(1.0, 1e-9)?.upper / 6.173935046670908 - 1.0).abs() < 1e-10);
/// # Ok::<(), dp_core::accounting::AccountingError>(())
/// ```
pub fn gdp_epsilon(mu: f64, delta: f64) -> Result<Bounds, AccountingError> {
    check_mu(mu)?;
    if !(delta > 0.0 && delta < 1.0) {
        return Err(AccountingError::InvalidDelta { delta });
    }
    if mu == 0.0 {
        return Ok(Bounds::ZERO);
    }
    let ln_target = libm::log(delta);
    let depth = libm::sqrt(-2.0 * ln_target);
    invert(|e| Ok(point(e, mu)), ln_target, 0.0, -(1.0 + depth) / mu)
}

/// The mu that `steps` Poisson-sampled Gaussian steps tend to as the rate falls like `1 / sqrt(steps)`:
/// `rate sqrt(steps (e^{1/sigma^2} - 1))`.
///
/// # Privacy
/// NONE. This is a limit and not a bound: a run may cost more than it says, and a promise made with it is false. It is here
/// to compare with reports that use it, and as a first guess. For a bound take an [`Accountant`].
///
/// # Errors
/// A rate outside (0, 1], a multiplier outside its range, a count above 2^53, or a result beyond `f64`.
///
/// # References
/// Bu, Dong, Long, Su, arXiv:1911.11607.
///
/// ```
/// use dp_core::accounting::gdp_limit;
/// assert!((gdp_limit(0.01, 1.0, 10_000)? - 1.3108324944320862).abs() < 1e-14);
/// # Ok::<(), dp_core::accounting::AccountingError>(())
/// ```
pub fn gdp_limit(rate: f64, sigma: f64, steps: u64) -> Result<f64, AccountingError> {
    if !(rate > 0.0 && rate <= 1.0) {
        return Err(AccountingError::InvalidRate { rate });
    }
    if !(MIN_SIGMA..=MAX_SIGMA).contains(&sigma) {
        return Err(AccountingError::InvalidSigma {
            sigma,
            min: MIN_SIGMA,
            max: MAX_SIGMA,
        });
    }
    if steps > MAX_COUNT {
        return Err(AccountingError::CountTooLarge { count: steps });
    }
    let mu = rate * libm::sqrt(steps as f64) * libm::sqrt(libm::expm1(1.0 / (sigma * sigma)));
    if mu.is_finite() {
        Ok(mu)
    } else {
        Err(AccountingError::OutOfRange { value: mu })
    }
}
