//! The noise multiplier for a target.

use core::ops::RangeInclusive;

use super::{
    Accountant, AccountingError, Adjacency, Event, MAX_SIGMA, MIN_GAUSSIAN_SIGMA, MIN_SIGMA, Run,
    epsilon,
};

/// Relative step by which a multiplier is raised until the exact engine confirms it.
const NUDGE: f64 = 1e-12;

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
    if !(target > 0.0 && target.is_finite()) {
        return Err(AccountingError::InvalidEpsilon { epsilon: target });
    }
    let cost = |sigma: f64| {
        let event = Event::PoissonGaussian { rate, sigma };
        epsilon(&[(event, steps)], delta).map(|bounds| bounds.upper)
    };
    let min = if rate == 1.0 {
        MIN_GAUSSIAN_SIGMA
    } else {
        MIN_SIGMA
    };
    let mut sigma = search(&cost, target, min)?;
    // The search stops near the root; only a checked value is returned.
    let mut nudge = NUDGE;
    for _ in 0..60 {
        if cost(sigma)? <= target {
            return Ok(sigma);
        }
        sigma *= 1.0 + nudge;
        nudge *= 2.0;
    }
    Err(AccountingError::Unreachable {
        epsilon: target,
        reached: cost(sigma)?,
        max_sigma: sigma,
    })
}

/// Root of `log cost(sigma) - log target` in `log sigma`, from a bracket around 1.
fn search(
    cost: &impl Fn(f64) -> Result<f64, AccountingError>,
    target: f64,
    min: f64,
) -> Result<f64, AccountingError> {
    let value = |sigma: f64| {
        // A cost of zero would be minus infinity; the floor keeps the secant finite.
        cost(sigma).map(|c| libm::log((c / target).max(1e-3)))
    };
    let (mut low, mut high) = (1.0f64, 1.0f64);
    let at_one = value(1.0)?;
    let (mut f_low, mut f_high) = (at_one, at_one);
    while f_high > 0.0 {
        if high >= MAX_SIGMA {
            return Err(AccountingError::Unreachable {
                epsilon: target,
                reached: cost(MAX_SIGMA)?,
                max_sigma: MAX_SIGMA,
            });
        }
        (low, f_low) = (high, f_high);
        high = (high * 4.0).min(MAX_SIGMA);
        f_high = value(high)?;
    }
    while f_low <= 0.0 {
        if low <= min {
            return Ok(min);
        }
        (high, f_high) = (low, f_low);
        low = (low * 0.6).max(min);
        f_low = value(low)?;
    }
    // Illinois' rule: an end that stays twice has its value halved, so both ends move.
    let mut stayed = 0i32;
    for _ in 0..100 {
        let (a, b) = (libm::log(low), libm::log(high));
        if b - a <= NUDGE {
            break;
        }
        let next = libm::exp((a * f_high - b * f_low) / (f_high - f_low));
        let middle = if next > low && next < high {
            next
        } else {
            libm::sqrt(low * high)
        };
        let f = value(middle)?;
        if f.abs() <= 1e-13 {
            return Ok(middle);
        }
        if f > 0.0 {
            (low, f_low) = (middle, f);
            if stayed > 0 {
                f_high *= 0.5;
            }
            stayed = 1;
        } else {
            (high, f_high) = (middle, f);
            if stayed < 0 {
                f_low *= 0.5;
            }
            stayed = -1;
        }
    }
    Ok(high)
}

/// What a run may cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Target {
    /// Largest epsilon, above 0.
    pub epsilon: f64,
    /// Its delta, in (0, 1).
    pub delta: f64,
}

/// The smallest noise in `range`, rounded up, at which `events(noise)` meets the target.
pub fn calibrate_noise<A: Accountant, const N: usize>(
    _accountant: &mut A,
    _adjacency: Adjacency,
    _target: Target,
    _range: RangeInclusive<f64>,
    _events: impl FnMut(f64) -> [(Event, u64); N],
) -> Result<f64, AccountingError> {
    Err(AccountingError::UndefinedEngine)
}

/// The largest rate in `range`, rounded down, at which `events(rate)` meets the target.
pub fn calibrate_rate<A: Accountant, const N: usize>(
    _accountant: &mut A,
    _adjacency: Adjacency,
    _target: Target,
    _range: RangeInclusive<f64>,
    _events: impl FnMut(f64) -> [(Event, u64); N],
) -> Result<f64, AccountingError> {
    Err(AccountingError::UndefinedEngine)
}

/// The largest number of steps, 0 to `most`, at which `events(steps)` meets the target.
pub fn calibrate_steps<A: Accountant, const N: usize>(
    _accountant: &mut A,
    _adjacency: Adjacency,
    _target: Target,
    _most: u64,
    _events: impl FnMut(u64) -> [(Event, u64); N],
) -> Result<u64, AccountingError> {
    Err(AccountingError::UndefinedEngine)
}

/// How many more of `event` fit after `spent`; `scratch` has at least one place more than `spent` has events.
pub fn remaining_steps<A: Accountant>(
    _accountant: &mut A,
    _spent: Run<'_>,
    _target: Target,
    _event: Event,
    _scratch: &mut [(Event, u64)],
) -> Result<u64, AccountingError> {
    Err(AccountingError::UndefinedEngine)
}

/// Epsilon that is left of the target after `spent`, rounded down.
pub fn remaining_epsilon<A: Accountant>(
    _accountant: &mut A,
    _spent: Run<'_>,
    _target: Target,
) -> Result<f64, AccountingError> {
    Err(AccountingError::UndefinedEngine)
}
