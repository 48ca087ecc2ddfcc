//! The noise, or the sampling rate, for a target.
//!
//! The argument is in `docs/proofs/accounting-calibrate.md`.

use core::ops::RangeInclusive;

use super::gdp::gdp_epsilon;
use super::root::{Found, Range, meet};
use super::{
    Accountant, AccountingError, Adjacency, Event, MAX_SIGMA, MIN_GAUSSIAN_SIGMA, MIN_SIGMA, Run,
    epsilon,
};

/// What a run may cost.
///
/// ```
/// use dp_core::accounting::Target;
/// assert!(Target { epsilon: 2.0, delta: 1e-6 }.check().is_ok());
/// assert!(Target { epsilon: f64::NAN, delta: 1e-6 }.check().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Target {
    /// Largest epsilon, above 0.
    pub epsilon: f64,
    /// Its delta, in (0, 1).
    pub delta: f64,
}

impl Target {
    /// Whether both are in their ranges.
    ///
    /// # Errors
    /// [`AccountingError::InvalidEpsilon`] unless epsilon is positive and finite, [`AccountingError::InvalidDelta`] unless delta
    /// is in (0, 1).
    pub fn check(&self) -> Result<(), AccountingError> {
        if !(self.epsilon > 0.0 && self.epsilon.is_finite()) {
            return Err(AccountingError::InvalidEpsilon {
                epsilon: self.epsilon,
            });
        }
        if !(self.delta > 0.0 && self.delta < 1.0) {
            return Err(AccountingError::InvalidDelta { delta: self.delta });
        }
        Ok(())
    }
}

/// The smallest noise multiplier, rounded up, at which `steps` Poisson-subsampled Gaussian steps
/// are (`target`, `delta`)-differentially private; `rate` 1 is the full batch.
///
/// # Privacy
/// Add/remove adjacency. `epsilon` of the result, taken by the exact engine, has an `upper` of at
/// most `target`. Zero steps, or a delta that any noise meets, give the smallest supported
/// multiplier.
///
/// # Errors
/// A value outside its domain; [`AccountingError::Unreachable`] if even [`MAX_SIGMA`] costs more.
///
/// ```
/// use dp_core::accounting::{Event, calibrate_sigma, epsilon};
/// let sigma = calibrate_sigma(8.0, 1e-5, 0.004, 5000)?;
/// let event = Event::PoissonGaussian { rate: 0.004, sigma };
/// assert!(epsilon(&[(event, 5000)], 1e-5)?.upper <= 8.0);
/// # Ok::<(), dp_core::accounting::AccountingError>(())
/// ```
pub fn calibrate_sigma(
    target: f64,
    delta: f64,
    rate: f64,
    steps: u64,
) -> Result<f64, AccountingError> {
    let target = Target {
        epsilon: target,
        delta,
    };
    target.check()?;
    let cost = |sigma: f64| {
        let event = Event::PoissonGaussian { rate, sigma };
        epsilon(&[(event, steps)], delta).map(|bounds| bounds.upper)
    };
    let dear = if rate == 1.0 {
        MIN_GAUSSIAN_SIGMA
    } else {
        MIN_SIGMA
    };
    let range = Range {
        cheap: MAX_SIGMA,
        dear,
        guess: guess(target, rate, steps).unwrap_or(1.0),
    };
    noise(cost, target, range)
}

/// The multiplier that the Gaussian limit of many steps would need: `rate^2 steps (e^{1/sigma^2} - 1) = mu^2`. Only a guess.
fn guess(target: Target, rate: f64, steps: u64) -> Option<f64> {
    // mu at the target, by the secant on logarithms; the epsilon of mu is nearly a power of it.
    let (mut mu, mut power) = (1.0f64, 1.0);
    let mut before: Option<(f64, f64)> = None;
    for _ in 0..4 {
        let ratio = libm::log(target.epsilon / gdp_epsilon(mu, target.delta).ok()?.estimate);
        if !ratio.is_finite() || ratio.abs() < 1e-3 {
            break;
        }
        if let Some((ln_mu, old)) = before {
            power = ((ratio - old) / (ln_mu - libm::log(mu))).clamp(0.5, 3.0);
        }
        before = Some((libm::log(mu), ratio));
        mu *= libm::exp((ratio / power).clamp(-5.0, 5.0));
    }
    let share = mu / rate;
    let variance = if rate == 1.0 {
        steps as f64 / (mu * mu)
    } else {
        1.0 / libm::log1p(share * share / steps as f64)
    };
    let sigma = libm::sqrt(variance);
    (sigma.is_finite() && sigma > 0.0).then_some(sigma)
}

/// The smallest noise in `range`, rounded up, at which the events that `events` gives for it meet the target.
///
/// The noise may be a multiplier, a scale, or any number of which more means a smaller cost; the engine is asked about 8 times.
///
/// # Privacy
/// The accountant's `epsilon(..).upper` was at most the target's for the events of exactly the value returned, under `adjacency`.
/// That alone carries the promise; how near the value is to the smallest rests on the cost falling with the noise.
///
/// # Errors
/// A target or range outside its domain; [`AccountingError::Unreachable`] if even the range's upper end costs more; and what
/// the accountant answers.
///
/// ```
/// use dp_core::accounting::{Adjacency, Event, Gdp, Target, calibrate_noise};
/// let target = Target { epsilon: 1.0, delta: 1e-6 };
/// let sigma = calibrate_noise(&mut Gdp, Adjacency::AddRemove, target, 1e-3..=1e6, |sigma| {
///     [(Event::Gaussian { sigma }, 10_000)]
/// })?;
/// assert!((sigma / 422.46788893268354 - 1.0).abs() < 1e-9);
/// # Ok::<(), dp_core::accounting::AccountingError>(())
/// ```
pub fn calibrate_noise<A: Accountant, const N: usize>(
    accountant: &mut A,
    adjacency: Adjacency,
    target: Target,
    range: RangeInclusive<f64>,
    events: impl FnMut(f64) -> [(Event, u64); N],
) -> Result<f64, AccountingError> {
    target.check()?;
    let (min, max) = ends(&range)?;
    let cost = cost(accountant, adjacency, target.delta, events);
    let range = Range {
        cheap: max,
        dear: min,
        guess: 1.0,
    };
    noise(cost, target, range)
}

/// What the events cost, by the parameter that they are given for.
fn cost<A: Accountant, const N: usize>(
    accountant: &mut A,
    adjacency: Adjacency,
    delta: f64,
    mut events: impl FnMut(f64) -> [(Event, u64); N],
) -> impl FnMut(f64) -> Result<f64, AccountingError> {
    move |x| {
        let events = events(x);
        let run = Run {
            adjacency,
            events: &events,
        };
        Ok(accountant.epsilon(run, delta)?.upper)
    }
}

fn noise(
    cost: impl FnMut(f64) -> Result<f64, AccountingError>,
    target: Target,
    range: Range,
) -> Result<f64, AccountingError> {
    match meet(cost, target.epsilon, range)? {
        Found::Value(noise) => Ok(noise),
        Found::TooDear(reached) => Err(AccountingError::Unreachable {
            epsilon: target.epsilon,
            reached,
            max_sigma: range.cheap,
        }),
    }
}

/// The largest sampling rate in `range`, rounded down, at which the events that `events` gives for it meet the target.
///
/// # Privacy
/// As [`calibrate_noise`]: the value returned was checked itself.
///
/// # Errors
/// A target or range outside its domain; [`AccountingError::BudgetExceeded`] if even the range's lower end costs more; and what
/// the accountant answers.
///
/// ```
/// use dp_core::accounting::{Accountant, Adjacency, Event, Rdp, Run, Target, calibrate_rate};
/// let target = Target { epsilon: 2.0, delta: 1e-6 };
/// let events = |rate| [(Event::PoissonGaussian { rate, sigma: 1.0 }, 1000)];
/// let rate = calibrate_rate(&mut Rdp, Adjacency::AddRemove, target, 1e-6..=1.0, events)?;
/// assert!(Rdp.epsilon(Run::add_remove(&events(rate)), 1e-6)?.upper <= 2.0);
/// # Ok::<(), dp_core::accounting::AccountingError>(())
/// ```
pub fn calibrate_rate<A: Accountant, const N: usize>(
    accountant: &mut A,
    adjacency: Adjacency,
    target: Target,
    range: RangeInclusive<f64>,
    events: impl FnMut(f64) -> [(Event, u64); N],
) -> Result<f64, AccountingError> {
    target.check()?;
    let (min, max) = ends(&range)?;
    let cost = cost(accountant, adjacency, target.delta, events);
    let range = Range {
        cheap: min,
        dear: max,
        guess: 0.01,
    };
    match meet(cost, target.epsilon, range)? {
        Found::Value(rate) => Ok(rate),
        Found::TooDear(reached) => Err(AccountingError::BudgetExceeded {
            epsilon: target.epsilon,
            reached,
        }),
    }
}

fn ends(range: &RangeInclusive<f64>) -> Result<(f64, f64), AccountingError> {
    let (min, max) = (*range.start(), *range.end());
    if min > 0.0 && min <= max && max.is_finite() {
        Ok((min, max))
    } else {
        Err(AccountingError::InvalidRange { min, max })
    }
}
