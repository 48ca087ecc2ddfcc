//! Queries of runs that need the contour.

use super::chernoff;
use super::contour::{Contour, Mark, Plan};
use super::cumulants::{Parts, Run, Tables};
use super::fallback::{completed, largest_alone, smoothed};
use super::kernel::Kernel;
use super::nodes::Node;
use super::saddle::{SPLIT_OFF, Saddle};
use crate::accounting::hockey::{hockey, one_epsilon};
use crate::accounting::invert::{Point, invert};
use crate::accounting::law::{DIRECTIONS, Direction};
use crate::accounting::{AccountingError, Bounds};

/// Contours that a search may draw.
const MAX_CONTOURS: u32 = 4;
/// The same where each is drawn with care.
const MAX_STEPS: u32 = 16;
/// Difference of log delta at which such a contour serves.
const CLOSE: f64 = 0.25;
/// A contour serves the epsilons at which log delta is within this of its own.
const NEAR_ENOUGH: f64 = 1.0;
/// Relative error of delta at which a contour drawn for another epsilon is good enough.
const GOOD_ERROR: f64 = 1e-9;
/// Relative error of delta that a contour of its own should have.
pub(super) const FAIR_ERROR: f64 = 1e-4;
/// Relative width of an epsilon that needs no second look.
const NARROW: f64 = 1e-8;
/// A delta whose relative error bound is above this is not given.
const MAX_ERROR: f64 = 0.5;

/// What the caller lent.
pub(super) struct Memory<'w> {
    pub nodes: &'w mut [Node],
    pub marks: &'w mut [Mark],
}

impl Memory<'_> {
    pub fn delta(
        &mut self,
        parts: Parts<'_>,
        kernel: Kernel,
        epsilon: f64,
    ) -> Result<Bounds, AccountingError> {
        let tables = &mut Tables::new(self.nodes, parts.others);
        let mut worst = Bounds::ZERO;
        for direction in directions(&parts) {
            let run = &mut Run {
                parts,
                direction,
                tables,
            };
            let ln_worst = libm::log(worst.lower.max(f64::MIN_POSITIVE));
            if direction == Direction::Add && cannot_exceed(run, epsilon, ln_worst) {
                continue;
            }
            let apart = || {
                largest_alone(&parts, |law| {
                    hockey(law, direction, epsilon).map(|point| point.bounds())
                })
            };
            let marks = &mut *self.marks;
            let answer = smoothed(run, apart, |run| delta_one_way(run, kernel, epsilon, marks));
            let proven = |run: &mut Run<'_, '_>| libm::exp(chernoff::ln_delta(run, epsilon));
            worst = worst.max(completed(run, answer, apart, proven)?);
        }
        Ok(worst)
    }

    pub fn epsilon(
        &mut self,
        parts: Parts<'_>,
        kernel: Kernel,
        ln_target: f64,
    ) -> Result<Bounds, AccountingError> {
        if parts.mu_sq == 0.0 && ln_total_variation(&parts)? <= ln_target {
            return Ok(Bounds::ZERO);
        }
        let tables = &mut Tables::new(self.nodes, parts.others);
        let mut worst = Bounds::ZERO;
        for direction in directions(&parts) {
            let run = &mut Run {
                parts,
                direction,
                tables,
            };
            if direction == Direction::Add && cannot_exceed(run, worst.lower, ln_target) {
                continue;
            }
            let apart = || largest_alone(&parts, |law| one_epsilon(law, direction, ln_target));
            let marks = &mut *self.marks;
            let answer = smoothed(run, apart, |run| {
                epsilon_one_way(run, kernel, ln_target, marks)
            });
            let proven = |run: &mut Run<'_, '_>| chernoff::epsilon(run, ln_target);
            worst = worst.max(completed(run, answer, apart, proven)?);
        }
        Ok(worst)
    }
}

/// Both directions, or one where they are the same.
fn directions(parts: &Parts<'_>) -> impl Iterator<Item = Direction> + use<> {
    let symmetric = parts.others().all(|(law, _)| law.is_symmetric());
    DIRECTIONS.into_iter().take(if symmetric { 1 } else { 2 })
}

/// Whether a cheap bound proves this direction's delta at `epsilon` to be at most `e^ln_limit`.
fn cannot_exceed(run: &mut Run<'_, '_>, epsilon: f64, ln_limit: f64) -> bool {
    if epsilon >= run.largest_loss() {
        return true;
    }
    if let Ok(saddle) = Saddle::of_epsilon(run, epsilon) {
        return saddle.ln_chernoff(epsilon) <= ln_limit;
    }
    // Any crossing proves it; the best one is out of the quadrature's reach.
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

/// A bound on `log delta(0)`: total variation distances add up at most.
fn ln_total_variation(parts: &Parts<'_>) -> Result<f64, AccountingError> {
    let mut sum = 0.0;
    for (law, count) in parts.others() {
        // A law without a curve of its own may differ in everything.
        let most = hockey(&law, Direction::Remove, 0.0).map_or(0.0, |point| point.ln_upper());
        sum += count * libm::exp(most);
    }
    Ok(libm::log(sum * (1.0 + 1e-12)))
}

fn delta_one_way(
    run: &mut Run<'_, '_>,
    kernel: Kernel,
    epsilon: f64,
    marks: &mut [Mark],
) -> Result<Bounds, AccountingError> {
    let saddle = Saddle::of_epsilon(run, epsilon)?;
    let mut expected = saddle.ln_delta(epsilon).min(0.0);
    let mut best: Option<Point> = None;
    let mut try_nearer = true;
    for _ in 0..MAX_CONTOURS {
        let plan = Plan {
            kernel,
            epsilon,
            ln_delta: expected,
            split_off: Some(SPLIT_OFF),
        };
        let point = split_contour(run, plan, saddle, &mut try_nearer, marks)?.at(epsilon)?;
        if best.is_none_or(|b| point.error < b.error) {
            best = Some(point);
        }
        // Where rare losses spoil the saddle's guess, the step was chosen for the wrong delta.
        if point.error <= FAIR_ERROR
            || point.ln_delta.is_nan()
            || point.ln_delta > expected - NEAR_ENOUGH
        {
            break;
        }
        expected = point.ln_delta;
    }
    match best {
        Some(point) => Ok(useful(point, epsilon)?.bounds()),
        None => Err(AccountingError::OutOfRange { value: epsilon }),
    }
}

/// A contour with the small losses split off; nearer to the saddle, where that serves better. `try_nearer` says whether to try, and
/// becomes false where it was tried in vain.
///
/// Far left what was split off is all but alone on the line: what is left needs many nodes and points.
fn split_contour<'m>(
    run: &mut Run<'_, '_>,
    plan: Plan,
    saddle: Saddle,
    try_nearer: &mut bool,
    marks: &'m mut [Mark],
) -> Result<Contour<'m>, AccountingError> {
    let first = Contour::new(run, plan, saddle, marks)?;
    let error = first.at(plan.epsilon)?.error;
    if error <= FAIR_ERROR || !*try_nearer {
        return Ok(first);
    }
    let (crossing, marks) = (first.crossing(), first.into_marks());
    let nearer = Plan {
        split_off: plan.split_off.map(|digits| 0.5 * digits),
        ..plan
    };
    let better = |run: &mut Run<'_, '_>, marks: &mut [Mark]| {
        let second = Contour::new(run, nearer, saddle, marks)?;
        Ok::<_, AccountingError>(
            second.crossing() != crossing && second.at(plan.epsilon)?.error < error,
        )
    };
    *try_nearer = matches!(better(run, &mut *marks), Ok(true));
    let best = if *try_nearer { nearer } else { plan };
    Contour::new(run, best, saddle, marks)
}

/// Refuses a bound too wide to be of use.
fn useful(point: Point, epsilon: f64) -> Result<Point, AccountingError> {
    // A NaN is no bound either.
    if point.error.is_nan() || point.error > MAX_ERROR {
        return Err(AccountingError::NotConverged {
            epsilon,
            relative_error: point.error,
        });
    }
    Ok(point)
}

fn epsilon_one_way(
    run: &mut Run<'_, '_>,
    kernel: Kernel,
    ln_target: f64,
    marks: &mut [Mark],
) -> Result<Bounds, AccountingError> {
    let first = match by_saddle(run, kernel, ln_target, marks) {
        Err(AccountingError::WorkspaceTooSmall { .. }) => None,
        first => first?,
    };
    match first {
        Some(bounds) if bounds.relative_width() <= NARROW || bounds.upper == 0.0 => Ok(bounds),
        // Cancellation ate its digits: a contour with the small losses split off has none.
        Some(bounds) => Ok(
            match step_by_step(run, kernel, ln_target, bounds.estimate, marks) {
                Ok(other) => bounds.and(other),
                Err(_) => bounds,
            },
        ),
        None => {
            // Many events that matter a little each, or few that rarely do.
            let saddle = Saddle::of_ln_delta(run, ln_target)?;
            let many = step_by_step(run, kernel, ln_target, saddle.epsilon.max(0.0), marks);
            match many {
                Ok(bounds) if bounds.relative_width() < FAIR_ERROR => Ok(bounds),
                _ => {
                    let start = sum_of_deltas(&run.parts, run.direction, ln_target)?;
                    let few = step_by_step(run, kernel, ln_target, start, marks);
                    match (many, few) {
                        (Ok(a), Ok(b)) => Ok(a.and(b)),
                        (Ok(a), Err(_)) => Ok(a),
                        (Err(_), b) => b,
                    }
                }
            }
        }
    }
}

/// Draws a contour where the answer is thought to be, looks up the answer on it, and draws the next
/// one there, until a contour serves the answer that it gives; none where the integrands don't die down.
fn by_saddle(
    run: &mut Run<'_, '_>,
    kernel: Kernel,
    ln_target: f64,
    marks: &mut [Mark],
) -> Result<Option<Bounds>, AccountingError> {
    let mut saddle = Saddle::of_ln_delta(run, ln_target)?;
    let mut near = saddle.epsilon;
    for _ in 0..MAX_CONTOURS {
        if near <= 0.0 {
            // Delta is reached at or below epsilon zero, or close above it.
            near = 0.0;
            saddle = Saddle::of_epsilon(run, 0.0)?;
        }
        let plan = Plan {
            kernel,
            epsilon: near,
            ln_delta: ln_target,
            split_off: None,
        };
        let contour = Contour::new(run, plan, saddle, marks)?;
        if !contour.is_whole() {
            return Ok(None);
        }
        let point = contour.at(near)?;
        let miss = point.ln_delta - ln_target;
        let served = miss.abs() < NEAR_ENOUGH && point.error < FAIR_ERROR;
        if served || (near == 0.0 && point.ln_upper() <= ln_target) {
            return on_contour(&contour, ln_target, near).map(Some);
        }
        let next = rough(&contour, ln_target, near)?;
        if contour.at(next)?.error < GOOD_ERROR {
            return on_contour(&contour, ln_target, next).map(Some);
        }
        if (next - near).abs() <= 1e-6 * next {
            return Ok(None);
        }
        near = next;
        saddle = Saddle::of_epsilon(run, near)?;
    }
    Ok(None)
}

/// As above for losses that are nearly discrete, where the saddle's guess says little: from a given epsilon,
/// by secant steps in a bracket.
fn step_by_step(
    run: &mut Run<'_, '_>,
    kernel: Kernel,
    ln_target: f64,
    start: f64,
    marks: &mut [Mark],
) -> Result<Bounds, AccountingError> {
    let mut near = start;
    let (mut low, mut high) = (0.0f64, f64::INFINITY);
    let mut last: Option<(f64, f64)> = None;
    let mut error = f64::INFINITY;
    let mut try_nearer = true;
    for _ in 0..MAX_STEPS {
        let saddle = Saddle::of_epsilon(run, near)?;
        let plan = Plan {
            kernel,
            epsilon: near,
            ln_delta: ln_target,
            split_off: Some(SPLIT_OFF),
        };
        let contour = match split_contour(run, plan, saddle, &mut try_nearer, marks) {
            Err(AccountingError::WorkspaceTooSmall { .. }) => break,
            contour => contour?,
        };
        let point = contour.at(near)?;
        error = point.error;
        // Where only an upper bound is known, it may yet say that this epsilon is too large.
        let blind = point.error.is_nan() || point.error >= 1.0;
        let miss = if blind {
            point.ln_upper() - ln_target
        } else {
            point.ln_delta - ln_target
        };
        if blind && miss > 0.0 {
            break;
        }
        if miss.abs() < CLOSE && point.error < MAX_ERROR {
            return on_contour(&contour, ln_target, near);
        }
        if miss > 0.0 {
            low = low.max(near);
        } else {
            high = high.min(near);
        }
        let slope = match last {
            Some((x, y)) if (miss - y) / (near - x) < 0.0 => (miss - y) / (near - x),
            _ => -saddle.t,
        };
        last = (!blind).then_some((near, miss));
        let next = near - miss / slope;
        near = if next > low && !blind && next < high {
            next
        } else if high.is_finite() {
            // The two may be orders of magnitude apart.
            libm::sqrt(low.max(1e-3 * high) * high)
        } else {
            2.0 * low
        };
    }
    Err(AccountingError::NotConverged {
        epsilon: near,
        relative_error: error,
    })
}

/// Where the events' deltas add up to the target: about the answer, if two events rarely matter together.
fn sum_of_deltas(
    parts: &Parts<'_>,
    direction: Direction,
    ln_target: f64,
) -> Result<f64, AccountingError> {
    let above = |epsilon: f64| -> Result<bool, AccountingError> {
        let mut sum = 0.0;
        for (law, count) in parts.others() {
            sum += count * libm::exp(hockey(&law, direction, epsilon)?.ln_delta - ln_target);
        }
        Ok(sum > 1.0)
    };
    let (mut low, mut high) = (0.0, 1e-6);
    for _ in 0..60 {
        if !above(high)? {
            break;
        }
        (low, high) = (high, 2.0 * high);
    }
    for _ in 0..20 {
        let middle = 0.5 * (low + high);
        if above(middle)? {
            low = middle;
        } else {
            high = middle;
        }
    }
    Ok(high)
}

fn on_contour(contour: &Contour<'_>, ln_target: f64, near: f64) -> Result<Bounds, AccountingError> {
    let bounds = invert(|e| contour.at(e), ln_target, near, contour.slope(near))?;
    if bounds.upper > 0.0 {
        useful(contour.at(bounds.estimate)?, bounds.estimate)?;
    }
    Ok(bounds)
}

/// Where a contour's delta, good or bad, crosses the target: bisection, to a few parts in a thousand.
fn rough(contour: &Contour<'_>, ln_target: f64, near: f64) -> Result<f64, AccountingError> {
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
