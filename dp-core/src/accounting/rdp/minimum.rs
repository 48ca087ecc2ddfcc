//! The least value of a function with one valley, over orders on a logarithmic scale.

use crate::accounting::AccountingError;

/// Evaluations after the valley is bracketed.
const MAX_STEPS: u32 = 40;
/// Where the bracket is this short (in log t) the value, flat at its bottom, is exact to about the square of it.
const CLOSE: f64 = 1e-6;

/// One point that was tried.
#[derive(Clone, Copy, Debug)]
struct Tried {
    u: f64,
    value: f64,
}

/// Where a function of the order is looked for, and when it is low enough.
#[derive(Clone, Copy, Debug)]
pub(super) struct Search {
    /// Least and largest t.
    pub ends: (f64, f64),
    /// First t.
    pub start: f64,
    /// A value at which the search may stop.
    pub enough: f64,
}

/// A `t` with the least value of `f` that was found; every value is a valid bound, so the search can't make it wrong.
///
/// A `t` at which `f` is out of range counts as infinitely bad. If all are, the first error is given back.
pub(super) fn minimum(
    mut f: impl FnMut(f64) -> Result<f64, AccountingError>,
    search: Search,
) -> Result<(f64, f64), AccountingError> {
    let (low_end, high_end) = (libm::log(search.ends.0), libm::log(search.ends.1));
    let mut failure = None;
    let mut at = |u: f64| {
        let value = match f(libm::exp(u)) {
            Ok(value) if !value.is_nan() => value,
            Ok(value) => {
                failure.get_or_insert(AccountingError::OutOfRange { value });
                f64::INFINITY
            }
            Err(error) => {
                failure.get_or_insert(error);
                f64::INFINITY
            }
        };
        Tried { u, value }
    };
    let mut middle = at(libm::log(search.start).clamp(low_end, high_end));
    // Out of range: smaller orders are easier.
    while middle.value == f64::INFINITY && middle.u > low_end {
        middle = at((middle.u - 2.0).max(low_end));
    }
    let mut stride = 1.0;
    let mut best = middle;
    if middle.value > search.enough {
        let mut left = at((middle.u - stride).max(low_end));
        let mut right = at((middle.u + stride).min(high_end));
        while left.value < middle.value && left.u > low_end && left.value > search.enough {
            stride *= 1.6;
            (right, middle) = (middle, left);
            left = at((middle.u - stride).max(low_end));
        }
        while right.value < middle.value && right.u < high_end && right.value > search.enough {
            stride *= 1.6;
            (left, middle) = (middle, right);
            right = at((middle.u + stride).min(high_end));
        }
        best = middle;
        if left.value.min(right.value) > search.enough {
            best = valley(&mut at, left, middle, right);
        }
        for end in [left, right] {
            if end.value < best.value {
                best = end;
            }
        }
    }
    if best.value < f64::INFINITY {
        Ok((libm::exp(best.u), best.value))
    } else {
        Err(failure.unwrap_or(AccountingError::OutOfRange { value: best.value }))
    }
}

/// Brent's way: parabolas through the three best, golden sections where they don't help.
fn valley(at: &mut impl FnMut(f64) -> Tried, left: Tried, middle: Tried, right: Tried) -> Tried {
    const GOLDEN: f64 = 0.381_966_011_250_105_1;
    let (mut a, mut b) = (left.u, right.u);
    let (mut x, mut w, mut v) = if left.value < right.value {
        (middle, left, right)
    } else {
        (middle, right, left)
    };
    let mut last_step = b - a;
    let mut step_before = b - a;
    for _ in 0..MAX_STEPS {
        if b - a <= 2.0 * CLOSE || last_step.abs() <= CLOSE {
            break;
        }
        // Vertex of the parabola, as a step from x.
        let r = (x.u - w.u) * (x.value - v.value);
        let q = (x.u - v.u) * (x.value - w.value);
        let p = (x.u - v.u) * q - (x.u - w.u) * r;
        let step = -0.5 * p / (q - r);
        let inside = x.u + step > a && x.u + step < b;
        let mut next = if step.is_finite() && inside && step.abs() < 0.5 * step_before.abs() {
            step
        } else {
            step_before = if x.u < 0.5 * (a + b) {
                b - x.u
            } else {
                a - x.u
            };
            GOLDEN * step_before
        };
        // A step too short to tell anything is lengthened, so that the bracket closes.
        if next.abs() < CLOSE {
            next = if next < 0.0 { -CLOSE } else { CLOSE };
        }
        (step_before, last_step) = (last_step, next);
        let tried = at(x.u + next);
        if tried.value <= x.value {
            if next >= 0.0 {
                a = x.u;
            } else {
                b = x.u;
            }
            (v, w, x) = (w, x, tried);
        } else {
            if next < 0.0 {
                a = tried.u;
            } else {
                b = tried.u;
            }
            if tried.value <= w.value {
                (v, w) = (w, tried);
            } else if tried.value <= v.value {
                v = tried;
            }
        }
    }
    x
}
