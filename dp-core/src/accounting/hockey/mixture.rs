//! One Poisson-subsampled Gaussian event in closed form.
//!
//! The likelihood ratio rises with the output, so the worst set is a half-line, and each component
//! of the mixture contributes a Gaussian hockey-stick divergence of its own.

use super::{NOTHING, at_most, known, shift, steepness};
use crate::accounting::invert::Point;
use crate::accounting::law::Direction;
use crate::accounting::mixture::Mixture;
use crate::accounting::normal::{ln_delta, ln_delta_error, ln_tail};

/// Below this threshold the base law has no mass that could be seen: the tail is `e^-804.6`.
const FAR: f64 = -40.0;
const LN_FAR_TAIL: f64 = -804.0;

/// `log delta(epsilon)` of one event, `epsilon >= 0`.
///
/// Remove: with the threshold y where `r(y) = e^eps`, delta is `sum_j p_j H_j(v_j)`, H_j the
/// divergence of `N(j/sigma, 1)` from `N(0, 1)` at its own log ratio `v_j` there. Add: likewise
/// `e^eps sum_j p_j e^{v_j} H_j(-v_j)` where `r(y) = e^-eps`, and zero where r never falls so low.
pub(in crate::accounting) fn single(pair: &Mixture, direction: Direction, epsilon: f64) -> Point {
    if pair.one_record().is_some() {
        return one_record(pair.weight(1).0, pair.shift(1), direction, epsilon);
    }
    match direction {
        Direction::Remove => components(pair, direction, epsilon),
        Direction::Add => {
            let room = 1e-14 * (1.0 + epsilon);
            let above = -epsilon - pair.ln_floor();
            if above < -room {
                NOTHING
            } else if above > room {
                components(pair, direction, epsilon)
            } else {
                // The floor is not known better than this; delta falls with epsilon.
                let Some(before) = positive(epsilon - 4.0 * room) else {
                    return at_most(0.0);
                };
                at_most(components(pair, direction, before).ln_upper())
            }
        }
    }
}

fn positive(x: f64) -> Option<f64> {
    (x > 0.0).then_some(x)
}

fn components(pair: &Mixture, direction: Direction, epsilon: f64) -> Point {
    let target = match direction {
        Direction::Remove => epsilon,
        Direction::Add => -epsilon,
    };
    if target <= pair.ln_floor() {
        return NOTHING;
    }
    let y = match threshold(pair, target) {
        Threshold::At(y) => y,
        Threshold::Far => return at_most(LN_FAR_TAIL),
        Threshold::Never => return NOTHING,
    };
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
    let mut top = f64::NEG_INFINITY;
    for j in 1..pair.len() {
        top = top.max(term(j).0);
    }
    if top == f64::NEG_INFINITY {
        return NOTHING;
    }
    let (mut sum, mut error) = (0.0, 0.0);
    for j in 1..pair.len() {
        let (ln, slack) = term(j);
        let part = libm::exp(ln - top);
        sum += part;
        error += part * slack;
    }
    let ln = top + libm::log(sum);
    // The probabilities of a binomial law come from as many products.
    let relative = 1e-15 * (8.0 + pair.len() as f64);
    // What is summed is delta at the epsilon of the threshold that was found, whose log ratio is known up to
    // this; delta falls with epsilon by e^epsilon Q(y > threshold), or by Q(y < threshold) on the other side.
    let reach = pair.slope() * (y.abs() + pair.slope());
    let apart = relative * reach.min(1.0) + 1e-15 * epsilon;
    let ln_fall = match direction {
        Direction::Remove => epsilon + ln_tail(y),
        Direction::Add => ln_tail(-y),
    };
    known(
        ln,
        8.0 * error / sum + relative + apart * libm::exp((ln_fall - ln).min(700.0)),
    )
}

/// `q H(log1p(expm1(eps)/q))` and `(1 - e^eps (1 - q)) H(-log1p(expm1(-eps)/q))`, q the rate and H the divergence
/// of `N(mu, 1)` from `N(0, 1)`.
pub(super) fn one_record(rate: f64, mu: f64, direction: Direction, epsilon: f64) -> Point {
    if rate == 1.0 {
        return shift(mu, epsilon);
    }
    let ln_rate = libm::log(rate);
    match direction {
        Direction::Remove => {
            let v = amplified(rate, ln_rate, epsilon);
            known(
                ln_rate + ln_delta(v, mu),
                4.0 * ln_delta_error(v, mu)
                    + 4e-16 * (ln_rate.abs() + v.min(1.0) * steepness(v, mu)),
            )
        }
        Direction::Add => added(rate, ln_rate, mu, epsilon),
    }
}

/// `log(1 + (e^epsilon - 1) / rate)`.
pub(super) fn amplified(rate: f64, ln_rate: f64, epsilon: f64) -> f64 {
    // Beyond the range of e^eps the one in expm1 doesn't count, and beyond e^80 not that of log1p.
    if epsilon < 500.0 {
        let excess = libm::expm1(epsilon);
        if excess < 1e34 * rate {
            libm::log1p(excess / rate)
        } else {
            libm::log(excess) - ln_rate
        }
    } else {
        epsilon - ln_rate
    }
}

fn added(rate: f64, ln_rate: f64, mu: f64, epsilon: f64) -> Point {
    let share = libm::expm1(-epsilon) / rate;
    let room = 6e-16 * share.abs();
    let left = 1.0 + share;
    if left < -room {
        return NOTHING;
    }
    let ln = |v: f64| epsilon + ln_rate - v + ln_delta(v, mu);
    if left <= 64.0 * room {
        // `left` is not known; delta rises with it.
        let v = -libm::log(left + room);
        return at_most(ln(v) + 4.0 * ln_delta_error(v, mu) + 1e-14 * (1.0 + v));
    }
    let v = -libm::log1p(share);
    known(
        ln(v),
        4.0 * ln_delta_error(v, mu)
            + (room / left + 4e-16 * v) * (1.0 + steepness(v, mu))
            + 4e-16 * (epsilon + ln_rate.abs()),
    )
}

enum Threshold {
    At(f64),
    /// So far down that the base law has no mass there.
    Far,
    Never,
}

/// y with `log r(y) = target`, by bisection; r rises from its floor to infinity.
fn threshold(pair: &Mixture, target: f64) -> Threshold {
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
    if !high.is_finite() {
        return Threshold::Never;
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
    if high <= FAR {
        Threshold::Far
    } else {
        Threshold::At(high)
    }
}
