//! The exact accountant: closed forms where there are any, the contour integral elsewhere.

use super::contour::{Contour, MAX_ERROR};
use super::event::MAX_COUNT;
use super::hockey::single;
use super::invert::{Point, invert};
use super::law::{DIRECTIONS, Law};
use super::mixture::Mixture;
use super::moment::Run;
use super::normal::{ln_delta, ln_delta_error};
use super::saddle::Saddle;
use super::{AccountingError, Adjacency, Bounds, Event};

/// Contours that a search for epsilon may draw.
const MAX_CONTOURS: u32 = 4;
/// A contour serves the epsilons at which log delta is within this of its own.
const NEAR_ENOUGH: f64 = 1.0;
/// Relative error of delta at which a contour drawn for another epsilon is good enough.
const GOOD_ERROR: f64 = 1e-9;
/// Size of the Gaussian event, relative to epsilon, that first smooths a nearly discrete loss.
const SMOOTHING: f64 = 0.03;
/// Sizes that are tried, each three times the last.
const SMOOTHINGS: u32 = 4;
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
        Summary::Single(pair) => {
            let [remove, add] = DIRECTIONS.map(|d| single(&pair, d, epsilon).bounds());
            Ok(remove.max(add))
        }
        Summary::Mixed { mu_sq } => {
            let [remove, add] = runs(events, mu_sq);
            let apart = largest_single(events, |e| delta(e, epsilon))?;
            let worse = smoothed(&remove, apart, |run| mixed_delta(run, epsilon))?;
            if cannot_exceed(&add, epsilon, libm::log(worse.lower.max(f64::MIN_POSITIVE))) {
                return Ok(worse);
            }
            let other = smoothed(&add, apart, |run| mixed_delta(run, epsilon))?;
            Ok(worse.max(other))
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
        Summary::Single(pair) => {
            let mut worst = Bounds::ZERO;
            for direction in DIRECTIONS {
                let curve = |e| Ok(single(&pair, direction, e));
                worst = worst.max(invert(
                    curve,
                    ln_target,
                    0.0,
                    -1.0 / (1.0 - pair.weight(0).0),
                )?);
            }
            Ok(worst)
        }
        Summary::Mixed { mu_sq } => {
            let [remove, add] = runs(events, mu_sq);
            let apart = largest_single(events, |e| epsilon(e, delta))?;
            if mu_sq == 0.0 && ln_total_variation(&remove) <= ln_target {
                return Ok(Bounds::ZERO);
            }
            let worse = smoothed(&remove, apart, |run| mixed_epsilon(run, ln_target))?;
            if cannot_exceed(&add, worse.lower, ln_target) {
                return Ok(worse);
            }
            let other = smoothed(&add, apart, |run| mixed_epsilon(run, ln_target))?;
            Ok(worse.max(other))
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
    if Saddle::of_epsilon(run, epsilon).is_ok_and(|saddle| saddle.ln_chernoff(epsilon) <= ln_limit)
    {
        return true;
    }
    // Any crossing proves it; the best one may be out of the quadrature's reach.
    let mut t = 1.0;
    for _ in 0..20 {
        match Saddle::new(run, t) {
            Ok(saddle) if saddle.ln_chernoff(epsilon) <= ln_limit => return true,
            Ok(_) => t *= 4.0,
            Err(_) => return false,
        }
    }
    false
}

/// Largest lower bound that one event alone gives: a run leaks at least what its parts do.
fn largest_single(
    events: &[(Event, u64)],
    query: impl Fn(&[(Event, u64)]) -> Result<Bounds, AccountingError>,
) -> Result<f64, AccountingError> {
    let mut largest = 0.0f64;
    for &(event, count) in events {
        if count > 0 {
            largest = largest.max(query(&[(event, 1)])?.lower);
        }
    }
    Ok(largest)
}

/// A bound on `log delta(0)` of sampled events: total variation distances add up at most.
fn ln_total_variation(run: &Run<'_>) -> f64 {
    let sum: f64 = run
        .mixtures()
        .map(|(pair, count)| count * libm::exp(single(&pair, run.direction, 0.0).ln_upper()))
        .sum();
    libm::log(sum * (1.0 + 1e-12))
}

/// Runs a query; where its integral does not converge, answers it for the run with a little
/// Gaussian event added, which can only leak more, and says so by a wide bound.
///
/// The lower end is then what one event alone leaks.
fn smoothed(
    run: &Run<'_>,
    apart: f64,
    query: impl Fn(&Run<'_>) -> Result<Bounds, AccountingError>,
) -> Result<Bounds, AccountingError> {
    let failure = match query(run) {
        Err(failure @ AccountingError::NotConverged { .. }) => failure,
        answer => return answer,
    };
    let AccountingError::NotConverged { epsilon, .. } = failure else {
        return Err(failure);
    };
    let mut extra = SMOOTHING * epsilon.max(1e-6);
    for _ in 0..SMOOTHINGS {
        let wider = Run {
            mu_sq: run.mu_sq + extra * extra,
            ..*run
        };
        if let Ok(bounds) = query(&wider) {
            return Ok(Bounds {
                lower: apart.min(bounds.upper),
                estimate: bounds.upper,
                upper: bounds.upper,
            });
        }
        extra *= 3.0;
    }
    Err(failure)
}

fn mixed_delta(run: &Run<'_>, epsilon: f64) -> Result<Bounds, AccountingError> {
    let saddle = Saddle::of_epsilon(run, epsilon)?;
    let mut expected = saddle.ln_delta(epsilon).min(0.0);
    let mut contour = Contour::new(run, saddle, epsilon, expected)?;
    for _ in 0..MAX_CONTOURS {
        let point = contour.at(epsilon)?;
        // Where rare losses spoil the saddle's guess, the step was chosen for the wrong delta.
        if point.error <= MAX_ERROR || point.ln_delta > expected - NEAR_ENOUGH {
            break;
        }
        expected = point.ln_delta;
        contour = Contour::new(run, saddle, epsilon, expected)?;
    }
    Ok(contour.sharp(epsilon)?.bounds())
}

/// Draws a contour where the answer is thought to be, looks up the answer on it, and draws the next
/// one there, until a contour serves the answer that it gives.
fn mixed_epsilon(run: &Run<'_>, ln_target: f64) -> Result<Bounds, AccountingError> {
    let mut saddle = Saddle::of_ln_delta(run, ln_target)?;
    let mut near = saddle.epsilon;
    for _ in 0..MAX_CONTOURS {
        if near <= 0.0 {
            // Delta is reached at or below epsilon zero, or close above it.
            near = 0.0;
            saddle = Saddle::of_epsilon(run, 0.0)?;
        }
        let contour = Contour::new(run, saddle, near, ln_target)?;
        let point = contour.at(near)?;
        let miss = point.ln_delta - ln_target;
        let served = miss.abs() < NEAR_ENOUGH && point.error < MAX_ERROR;
        if served || (near == 0.0 && point.ln_upper() <= ln_target) {
            return on_contour(&contour, ln_target, near);
        }
        let next = rough(&contour, ln_target, near)?;
        if contour.at(next)?.error < GOOD_ERROR {
            return on_contour(&contour, ln_target, next);
        }
        if (next - near).abs() <= 1e-6 * next {
            return Err(AccountingError::NotConverged {
                epsilon: near,
                relative_error: point.error,
            });
        }
        near = next;
        saddle = Saddle::of_epsilon(run, near)?;
    }
    Err(AccountingError::NotConverged {
        epsilon: near,
        relative_error: f64::INFINITY,
    })
}

fn on_contour(contour: &Contour, ln_target: f64, near: f64) -> Result<Bounds, AccountingError> {
    let bounds = invert(|e| contour.at(e), ln_target, near, contour.slope(near))?;
    if bounds.upper > 0.0 {
        contour.sharp(bounds.estimate)?;
    }
    Ok(bounds)
}

/// Where a contour's delta, good or bad, crosses the target: bisection, to a few parts in a thousand.
fn rough(contour: &Contour, ln_target: f64, near: f64) -> Result<f64, AccountingError> {
    let above = |e: f64| contour.at(e).map(|p| p.ln_delta > ln_target);
    let (mut low, mut high) = (0.0, near);
    if !above(0.0)? {
        return Ok(0.0);
    }
    for _ in 0..40 {
        if high > 0.0 && !above(high)? {
            break;
        }
        (low, high) = (high, 2.0 * high.max(1e-3 / contour.crossing()));
    }
    for _ in 0..40 {
        if high - low <= 4e-3 * high {
            break;
        }
        let middle = 0.5 * (low + high);
        if above(middle)? {
            low = middle;
        } else {
            high = middle;
        }
    }
    Ok(0.5 * (low + high))
}

fn gaussian(epsilon: f64, mu: f64) -> Point {
    Point {
        ln_delta: ln_delta(epsilon, mu),
        error: ln_delta_error(epsilon, mu),
    }
}

/// What an event list comes to, before any integral is taken.
enum Summary {
    /// Nothing was released.
    Nothing,
    /// All events are Gaussian: together `N(mu, 1)` against `N(0, 1)`.
    Gaussian { mu: f64 },
    /// One sampled event, once.
    Single(Mixture),
    /// Anything else; `mu_sq` gathers the Gaussian events.
    Mixed { mu_sq: f64 },
}

/// Checks every event and count, and sums up what has a closed form.
fn summarise(events: &[(Event, u64)]) -> Result<Summary, AccountingError> {
    let mut mu_sq = 0.0;
    let mut sampled = 0u64;
    let mut single = None;
    for &(event, count) in events {
        if count > MAX_COUNT {
            return Err(AccountingError::CountTooLarge { count });
        }
        let law = event.law(Adjacency::AddRemove)?;
        if count == 0 {
            continue;
        }
        match law {
            Law::Shift { mu } => mu_sq += mu * mu * count as f64,
            Law::Mixture(pair) => {
                sampled = sampled.saturating_add(count);
                single = Some(pair);
            }
            _ => return Err(AccountingError::UndefinedEngine),
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
        Some(pair) if sampled == 1 && mu_sq == 0.0 => Summary::Single(pair),
        Some(_) => Summary::Mixed { mu_sq },
    })
}
