//! One Poisson-subsampled Gaussian event in closed form.
//!
//! The likelihood ratio rises with the output, so the worst set is a half-line, and each component
//! of the mixture contributes a Gaussian hockey-stick divergence of its own.

use super::invert::Point;
use super::law::Direction;
use super::mixture::Mixture;
use super::normal::{ln_delta, ln_delta_error};

/// `log delta(epsilon)` of one event, `epsilon >= 0`.
///
/// Remove: with the threshold y where `r(y) = e^eps`, delta is `sum_j p_j H_j(v_j)`, H_j the
/// divergence of `N(j/sigma, 1)` from `N(0, 1)` at its own log ratio `v_j` there. Add: likewise
/// `e^eps sum_j p_j e^{v_j} H_j(-v_j)` where `r(y) = e^-eps`, and zero where r never falls so low.
pub(super) fn single(pair: &Mixture, direction: Direction, epsilon: f64) -> Point {
    let nothing = Point {
        ln_delta: f64::NEG_INFINITY,
        error: 0.0,
    };
    let target = match direction {
        Direction::Remove => epsilon,
        Direction::Add => -epsilon,
    };
    if target <= pair.ln_floor() {
        return nothing;
    }
    if pair.one_record().is_some() {
        return single_record(pair, direction, epsilon);
    }
    let Some(y) = threshold(pair, target) else {
        return nothing;
    };
    let (mut top, mut error) = (f64::NEG_INFINITY, 0.0f64);
    let term = |j: usize| {
        let mu = pair.shift(j);
        let v = pair.shift_ratio(j, y);
        let ln_p = pair.weight(j).1;
        match direction {
            Direction::Remove => (ln_p + ln_delta(v, mu), ln_delta_error(v, mu)),
            Direction::Add => (
                epsilon + ln_p + v + ln_delta(-v, mu),
                ln_delta_error(-v, mu),
            ),
        }
    };
    for j in 1..pair.len() {
        top = top.max(term(j).0);
    }
    if top == f64::NEG_INFINITY {
        return nothing;
    }
    let mut sum = 0.0;
    for j in 1..pair.len() {
        let (ln, relative) = term(j);
        sum += libm::exp(ln - top);
        error = error.max(relative);
    }
    Point {
        ln_delta: top + libm::log(sum),
        // The threshold is known to a few ulp; its error enters like that of v_j.
        error: 8.0 * error + 1e-14 * (1.0 + y * y),
    }
}

/// `q H(log1p(expm1(eps)/q))` and `(1 - e^eps (1 - q)) H(-log1p(expm1(-eps)/q))`.
fn single_record(pair: &Mixture, direction: Direction, epsilon: f64) -> Point {
    let (rate, ln_rate) = pair.weight(1);
    match direction {
        Direction::Remove => {
            // Beyond the range of e^eps the one in expm1 doesn't count.
            let amplified = if epsilon < 500.0 {
                libm::log1p(libm::expm1(epsilon) / rate)
            } else {
                epsilon - ln_rate
            };
            Point {
                ln_delta: ln_rate + ln_delta(amplified, pair.shift(1)),
                error: 4.0 * ln_delta_error(amplified, pair.shift(1)),
            }
        }
        Direction::Add => {
            let share = libm::expm1(-epsilon) / rate;
            let v = libm::log1p(share);
            Point {
                ln_delta: epsilon + ln_rate + v + ln_delta(-v, pair.shift(1)),
                // log1p loses what cancels near -1.
                error: 4.0 * ln_delta_error(-v, pair.shift(1))
                    + 1e-15 / (1.0 + share) * (1.0 + v.abs() * (1.0 / pair.shift(1) + 1.0)),
            }
        }
    }
}

/// y with `log r(y) = target`, by bisection; r rises from its floor to infinity.
fn threshold(pair: &Mixture, target: f64) -> Option<f64> {
    let (mut low, mut high) = (-1.0, 1.0);
    for _ in 0..1100 {
        if pair.log_ratio(low).0 <= target {
            break;
        }
        low *= 2.0;
    }
    for _ in 0..1100 {
        if pair.log_ratio(high).0 > target {
            break;
        }
        high *= 2.0;
    }
    // Below -40 the base law has no mass that could be seen.
    if high <= -40.0 || !high.is_finite() {
        return None;
    }
    for _ in 0..2200 {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            break;
        }
        if pair.log_ratio(middle).0 > target {
            high = middle;
        } else {
            low = middle;
        }
    }
    Some(high)
}
