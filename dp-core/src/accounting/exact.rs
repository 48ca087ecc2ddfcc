//! The exact accountant: closed forms where there are any, the contour integral elsewhere.

use super::contour::Contour;
use super::event::{Summary, summarise};
use super::invert::{Point, invert};
use super::mixture::Mixture;
use super::moment::Run;
use super::normal::{ln_delta, ln_delta_error};
use super::saddle::Saddle;
use super::single::{Direction, single};
use super::{AccountingError, Bounds, Event};

const DIRECTIONS: [Direction; 2] = [Direction::Remove, Direction::Add];
/// Largest epsilon that is answered.
const MAX_EPSILON: f64 = 1e9;

/// The smallest delta for which the composed events are (`epsilon`, delta)-differentially private.
///
/// `events` lists each event with how often it happens; neither the order nor the split of the
/// counts matters, and the time does not grow with them.
///
/// # Privacy
/// Add/remove adjacency, the worse direction; events may be chosen adaptively, their parameters not.
///
/// # Precision
/// `upper` is never below the truth. Relative width near 1e-12 in the usual range; a result whose
/// bound stays above 1e-4 is refused.
///
/// # Errors
/// A value outside its domain, or [`AccountingError::NotConverged`] where the law of the loss is
/// too nearly discrete for the integral.
///
/// # References
/// Zhu, Dong, Wang, arXiv:2106.08567 (characteristic functions); Balle, Wang, arXiv:1805.06530
/// (analytic Gaussian).
///
/// ```
/// use dp_core::accounting::{Event, delta};
/// let step = Event::PoissonGaussian { rate: 0.01, sigma: 1.0 };
/// let spent = delta(&[(step, 10_000)], 5.0)?;
/// assert!(spent.lower <= 2.779296219814754e-4 && 2.779296219814754e-4 <= spent.upper);
/// # Ok::<(), dp_core::accounting::AccountingError>(())
/// ```
pub fn delta(events: &[(Event, u64)], epsilon: f64) -> Result<Bounds, AccountingError> {
    if !(0.0..=MAX_EPSILON).contains(&epsilon) {
        return Err(AccountingError::InvalidEpsilon { epsilon });
    }
    match summarise(events)? {
        Summary::Nothing => Ok(Bounds::ZERO),
        Summary::Gaussian { mu } => Ok(gaussian(epsilon, mu).bounds()),
        Summary::Single { rate, sigma, group } => {
            let pair = Mixture::new(rate, sigma, group);
            let [remove, add] = DIRECTIONS.map(|d| single(&pair, d, epsilon).bounds());
            Ok(remove.max(add))
        }
        Summary::Mixed { mu_sq } => {
            let [remove, add] = runs(events, mu_sq);
            let worse = mixed_delta(&remove, epsilon)?;
            if cannot_exceed(&add, epsilon, libm::log(worse.lower)) {
                return Ok(worse);
            }
            Ok(worse.max(mixed_delta(&add, epsilon)?))
        }
    }
}

/// The smallest epsilon for which the composed events are (epsilon, `delta`)-differentially private.
///
/// # Privacy
/// Add/remove adjacency, the worse direction, as [`delta`](fn@delta). Promise `upper`.
///
/// # Precision
/// `upper` is never below the truth; pure Gaussian runs to about 1e-13 relative, others usually to
/// 1e-11.
///
/// # Errors
/// As [`delta`](fn@delta); `delta` itself must be in (0, 1).
///
/// ```
/// use dp_core::accounting::{Event, epsilon};
/// let step = Event::Gaussian { sigma: 4.0 };
/// let spent = epsilon(&[(step, 100)], 1e-9)?;
/// assert!((spent.upper / 17.611019269381757 - 1.0).abs() < 1e-10);
/// # Ok::<(), dp_core::accounting::AccountingError>(())
/// ```
pub fn epsilon(events: &[(Event, u64)], delta: f64) -> Result<Bounds, AccountingError> {
    if !(delta > 0.0 && delta < 1.0) {
        return Err(AccountingError::InvalidDelta { delta });
    }
    let ln_target = libm::log(delta);
    match summarise(events)? {
        Summary::Nothing => Ok(Bounds::ZERO),
        Summary::Gaussian { mu } => {
            let depth = libm::sqrt(-2.0 * ln_target);
            invert(|e| Ok(gaussian(e, mu)), ln_target, 0.0, -(1.0 + depth) / mu)
        }
        Summary::Single { rate, sigma, group } => {
            let pair = Mixture::new(rate, sigma, group);
            let mut worst = Bounds::ZERO;
            for direction in DIRECTIONS {
                let curve = |e| Ok(single(&pair, direction, e));
                worst = worst.max(invert(curve, ln_target, 0.0, -1.0 / rate)?);
            }
            Ok(worst)
        }
        Summary::Mixed { mu_sq } => {
            let [remove, add] = runs(events, mu_sq);
            let worse = mixed_epsilon(&remove, ln_target)?;
            if cannot_exceed(&add, worse.lower, ln_target) {
                return Ok(worse);
            }
            Ok(worse.max(mixed_epsilon(&add, ln_target)?))
        }
    }
}

/// The run in both directions; removal first, which is the worse one nearly always.
fn runs(events: &[(Event, u64)], mu_sq: f64) -> [Run<'_>; 2] {
    DIRECTIONS.map(|direction| Run {
        events,
        direction,
        mu_sq,
    })
}

/// Whether a cheap bound proves this direction's delta at `epsilon` to be at most `e^ln_limit`.
fn cannot_exceed(run: &Run<'_>, epsilon: f64, ln_limit: f64) -> bool {
    if epsilon >= run.largest_loss() {
        return true;
    }
    Saddle::of_epsilon(run, epsilon).is_ok_and(|saddle| saddle.ln_chernoff(epsilon) <= ln_limit)
}

fn mixed_delta(run: &Run<'_>, epsilon: f64) -> Result<Bounds, AccountingError> {
    let saddle = Saddle::of_epsilon(run, epsilon)?;
    let contour = Contour::new(run, saddle, epsilon)?;
    Ok(contour.sharp(epsilon)?.bounds())
}

fn mixed_epsilon(run: &Run<'_>, ln_target: f64) -> Result<Bounds, AccountingError> {
    let mut saddle = Saddle::of_ln_delta(run, ln_target)?;
    let mut near = saddle.epsilon;
    if near <= 0.0 {
        // Delta is reached at or below epsilon zero, or close above it.
        saddle = Saddle::of_epsilon(run, 0.0)?;
        near = 0.0;
    }
    let contour = Contour::new(run, saddle, near)?;
    contour.invert(ln_target, near, saddle.t)
}

impl Contour {
    /// Epsilon at which this contour's delta meets the target.
    fn invert(&self, ln_target: f64, near: f64, t: f64) -> Result<Bounds, AccountingError> {
        let bounds = invert(|e| self.at(e), ln_target, near, -t)?;
        if bounds.upper > 0.0 {
            self.sharp(bounds.estimate)?;
        }
        Ok(bounds)
    }
}

fn gaussian(epsilon: f64, mu: f64) -> Point {
    Point {
        ln_delta: ln_delta(epsilon, mu),
        error: ln_delta_error(epsilon, mu),
    }
}
