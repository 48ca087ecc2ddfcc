//! Where a cost that rises or falls with a parameter meets its target, in few evaluations.

use super::AccountingError;

/// `log(cost / target)` at which a value that meets the target is good enough: below the noise of any engine's answers.
const CLOSE: f64 = 1e-11;
/// Where the search aims, so that what it finds meets the target.
const AIM: f64 = -3e-12;
/// Width of the bracket in the parameter's logarithm at which the search ends.
const NARROW: f64 = 1e-12;
/// Costs below this share of the target count as it, so that a cost of zero has a logarithm.
const LEAST: f64 = 1e-4;
/// Most evaluations.
const MAX_CALLS: u32 = 80;

/// Where to look, and from where.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    /// End at which the cost is least.
    pub cheap: f64,
    /// End at which the cost is most.
    pub dear: f64,
    /// First value to try.
    pub guess: f64,
}

/// What was found.
#[derive(Clone, Copy, Debug)]
pub(super) enum Found {
    /// The value nearest to the dear end that was found to meet the target, by evaluating the cost at exactly it.
    Value(f64),
    /// Even the cheap end costs more: this much.
    TooDear(f64),
}

/// A tried value: its logarithm and that of its cost over the target.
#[derive(Clone, Copy, Debug)]
struct Tried {
    x: f64,
    u: f64,
    f: f64,
}

/// Secant steps on logarithms, kept inside a bracket. A value at which the cost can't be told counts as too dear.
pub(super) fn meet(
    mut cost: impl FnMut(f64) -> Result<f64, AccountingError>,
    target: f64,
    range: Range,
) -> Result<Found, AccountingError> {
    let mut failure = None;
    let mut reached = f64::INFINITY;
    let mut at = |x: f64| -> Result<Tried, AccountingError> {
        let f = match cost(x) {
            Ok(cost) => {
                reached = cost;
                // The comparison itself is made without a rounding.
                let f = libm::log((cost / target).max(LEAST));
                if cost <= target {
                    f.min(0.0)
                } else {
                    f.max(f64::MIN_POSITIVE)
                }
            }
            Err(
                error @ (AccountingError::NotConverged { .. }
                | AccountingError::OutOfRange { .. }
                | AccountingError::InfiniteLoss { .. }),
            ) => {
                failure.get_or_insert(error);
                reached = f64::INFINITY;
                f64::INFINITY
            }
            Err(error) => return Err(error),
        };
        Ok(Tried {
            x,
            u: libm::log(x),
            f,
        })
    };
    let (low, high) = (range.cheap.min(range.dear), range.cheap.max(range.dear));
    let first = at(range.guess.clamp(low, high))?;
    // The side that the first value is on, then strides towards the other end until the sides differ.
    let (mut cheap, mut dear) = (None, None);
    let end = if first.f <= 0.0 {
        cheap = Some(first);
        range.dear
    } else {
        dear = Some(first);
        range.cheap
    };
    let mut last = first;
    let mut stride = if first.f.is_finite() {
        (1.1 * first.f.abs()).max(1e-3)
    } else {
        1.0
    };
    let mut strides = 0u32;
    while cheap.is_none() || dear.is_none() {
        strides += 1;
        let to_go = libm::log(end) - last.u;
        let x = if to_go.abs() <= stride {
            end
        } else {
            libm::exp(last.u + stride.copysign(to_go))
        };
        if last.x == end {
            break;
        }
        let next = at(x)?;
        if next.f <= 0.0 {
            cheap = Some(next);
        } else {
            dear = Some(next);
        }
        // The slope so far says how far the root is; but no farther than six strides.
        let slope = (next.f - last.f).abs() / (next.u - last.u).abs();
        let ahead = 1.2 * next.f.abs() / slope;
        // Short strides only as long as they are few, so that the search ends.
        stride = if ahead.is_finite() && strides < 12 {
            ahead.clamp(0.3 * stride, 6.0 * stride)
        } else {
            2.0 * stride
        };
        last = next;
    }
    match (cheap, dear) {
        (Some(cheap), Some(dear)) => Ok(Found::Value(close_in(&mut at, cheap, dear)?.x)),
        (Some(cheap), None) => Ok(Found::Value(cheap.x)),
        (None, _) => match failure {
            Some(error) if reached.is_infinite() => Err(error),
            _ => Ok(Found::TooDear(reached)),
        },
    }
}

fn close_in(
    at: &mut impl FnMut(f64) -> Result<Tried, AccountingError>,
    mut cheap: Tried,
    mut dear: Tried,
) -> Result<Tried, AccountingError> {
    // The two latest, for the secant; `stuck` counts the steps in which the same end moved.
    let (mut old, mut new) = (cheap, dear);
    let mut stuck = 0u32;
    for _ in 0..MAX_CALLS {
        let width = (cheap.u - dear.u).abs();
        if width <= NARROW || cheap.f >= -CLOSE {
            break;
        }
        let slope = (new.f - old.f) / (new.u - old.u);
        let secant = new.u + (AIM - new.f) / slope;
        let inside = (secant - cheap.u) * (secant - dear.u) < 0.0;
        let u = if inside && stuck < 3 {
            secant
        } else {
            stuck = 0;
            0.5 * (cheap.u + dear.u)
        };
        let x = libm::exp(u);
        if x == cheap.x || x == dear.x {
            break;
        }
        let tried = at(x)?;
        let side = if tried.f <= 0.0 {
            &mut cheap
        } else {
            &mut dear
        };
        *side = tried;
        let after = (cheap.u - dear.u).abs();
        // A side that keeps moving by little: halve the bracket.
        stuck = if after > 0.5 * width { stuck + 1 } else { 0 };
        (old, new) = (new, tried);
    }
    Ok(cheap)
}
