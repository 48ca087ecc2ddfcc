//! The excess of a moment by the trapezoid rule on the whole line.

use super::density::{At, Density, LN_PHI_0, Powers};
use super::moment::{Excess, ROUNDING, ln_gain};
use crate::accounting::AccountingError;
use crate::accounting::law::Direction;

/// Digits (natural) to which the excess is wanted.
const DIGITS: f64 = 36.0;
/// Most nodes that one sum may take.
const MAX_NODES: u32 = 60_000;
/// Passes, each with more digits, until the proven error is small.
const PASSES: u32 = 3;

/// `E[e^{tL}] - 1`, with everything that the rule leaves out in its error.
pub(super) fn line(
    density: &Density<'_>,
    direction: Direction,
    t: f64,
) -> Result<Excess, AccountingError> {
    let mut level = ln_floor(density, direction, t);
    let (mut found, mut missed) = Pass::new(density, direction, t, level).sum()?;
    for _ in 1..PASSES {
        if missed <= 1e-13 || found.ln == f64::NEG_INFINITY {
            break;
        }
        // The guess of its size was too large; now it is known.
        level = found.ln.min(level - 3.0);
        (found, missed) = Pass::new(density, direction, t, level).sum()?;
    }
    Ok(found)
}

/// A rough size of the integral: the integrand where it may be largest. No proof rests on it.
fn ln_floor(density: &Density<'_>, direction: Direction, t: f64) -> f64 {
    let ln_integrand = |y: f64| {
        let (loss, ln_own) = density.at(y).loss(direction);
        LN_PHI_0 + ln_own + ln_gain(t, loss)
    };
    let (mut best, mut place) = (f64::NEG_INFINITY, 0.0);
    for i in 0..Density::CANDIDATES {
        let y = density.candidate(t, i);
        let ln = ln_integrand(y);
        if ln > best {
            (best, place) = (ln, y);
        }
    }
    // Climb, where the candidates may be far from the top.
    let mut stride = 0.125 * place.abs();
    while stride > 0.7 {
        let (left, right) = (ln_integrand(place - stride), ln_integrand(place + stride));
        if left > best {
            (best, place) = (left, place - stride);
        } else if right > best {
            (best, place) = (right, place + stride);
        } else {
            stride *= 0.5;
        }
    }
    best.max(-700.0)
}

struct Pass<'a> {
    density: &'a Density<'a>,
    direction: Direction,
    t: f64,
    powers: Powers,
    step: f64,
    /// Digits of the rule's own error, relative to `moment + 1 + 2 t`.
    digits: f64,
    /// Logarithm below which the sum of all that is skipped stays.
    ln_skipped: f64,
    first: f64,
    last: f64,
}

impl<'a> Pass<'a> {
    fn new(density: &'a Density<'a>, direction: Direction, t: f64, level: f64) -> Self {
        let powers = Powers::new(direction, t);
        let digits = DIGITS + libm::log(2.0 + 2.0 * t) - level.min(0.0);
        let fall = match (density, direction) {
            (Density::Mixture(_), Direction::Remove) => 0.0,
            _ => t,
        };
        let ln_skipped = level - DIGITS;
        let (right, left) = powers.slopes(density);
        let end = |slope: f64, sign: f64| {
            let mut reach = 6.0;
            for _ in 0..60 {
                let at = density.at(sign * (slope + reach));
                // Beyond, the integrand falls at least like e^{-reach x}.
                if powers.ln_bound(&at, &at) <= ln_skipped - 2.0 {
                    break;
                }
                reach *= 1.25;
            }
            sign * (slope + reach)
        };
        Self {
            density,
            direction,
            t,
            powers,
            step: step(density.slope(), digits, fall),
            digits,
            ln_skipped,
            first: end(left, -1.0),
            last: end(right, 1.0),
        }
    }

    /// The excess, and the part of its error that more digits would lessen.
    fn sum(&self) -> Result<(Excess, f64), AccountingError> {
        let h = self.step;
        let (mut at, last) = (libm::floor(self.first / h), libm::ceil(self.last / h));
        // All skipped nodes together are below e^ln_skipped.
        let limit = self.ln_skipped - libm::log(self.last - self.first + 1.0);
        let cell = libm::rint(0.5 / h).max(1.0);
        let mut sum = Sum::new();
        let mut stride = cell;
        let mut low = self.density.at(at * h);
        let mut budget = MAX_NODES;
        while at <= last {
            let high = self.density.at((at + stride) * h);
            if self.powers.ln_bound(&low, &high) < limit {
                at += stride;
                low = high;
                stride *= 2.0;
                budget = budget.saturating_sub(1);
            } else if stride > cell {
                stride = libm::floor(0.5 * stride).max(cell);
                budget = budget.saturating_sub(1);
            } else {
                for _ in 0..cell as u32 {
                    self.node(&self.density.at(at * h), &mut sum);
                    at += 1.0;
                }
                low = high;
                budget = budget.saturating_sub(cell as u32);
            }
            if budget == 0 {
                return Err(AccountingError::OutOfRange { value: self.t });
            }
        }
        Ok(self.result(&sum))
    }

    fn node(&self, at: &At, sum: &mut Sum) {
        let (loss, ln_own) = at.loss(self.direction);
        let ln = ln_own + ln_gain(self.t, loss);
        // The exponent's terms, each of which is rounded.
        let slope = self.density.slope();
        let terms = 0.5 * at.y * at.y
            + (1.0 + 2.0 * self.t) * (at.p.abs() + at.q.abs())
            + (1.0 + self.t) * (slope * (at.y.abs() + slope) + self.density.weight_roundings());
        sum.add(ln, 16.0 + terms);
    }

    fn result(&self, sum: &Sum) -> (Excess, f64) {
        let ln = sum.top + libm::log(sum.sum) + LN_PHI_0 + libm::log(self.step);
        if !ln.is_finite() {
            let none = Excess {
                ln: f64::NEG_INFINITY,
                error: 0.5,
            };
            return (none, 0.5);
        }
        // The rule errs by 2.1 e^-digits (moment + 1 + 2t); skipped nodes and both tails by 3 e^ln_skipped.
        let rule = 2.1 * libm::exp(-self.digits) * (1.0 + (2.0 + 2.0 * self.t) * libm::exp(-ln));
        let skipped = 3.0 * libm::exp(self.ln_skipped - ln);
        let missed = rule + skipped;
        let error = missed + ROUNDING * sum.size / sum.sum;
        (Excess { ln, error }, missed)
    }
}

/// A sum of positive numbers that are known by their logarithms.
pub(super) struct Sum {
    pub top: f64,
    pub sum: f64,
    /// The same, each times the number of roundings in it.
    pub size: f64,
}

impl Sum {
    pub fn new() -> Self {
        Self {
            top: f64::NEG_INFINITY,
            sum: 0.0,
            size: 0.0,
        }
    }

    pub fn add(&mut self, ln: f64, roundings: f64) {
        // Also leaves out minus infinity and NaN.
        if ln > self.top + 500.0 {
            let shrink = libm::exp(self.top - ln);
            self.sum *= shrink;
            self.size *= shrink;
            self.top = ln;
        }
        if ln > f64::NEG_INFINITY {
            let term = libm::exp(ln - self.top);
            self.sum += term;
            self.size += term * roundings;
        }
    }
}

/// Step at which the trapezoid rule errs by at most `e^-digits` of the absolute integrals on the real line.
///
/// On the line `Im y = eta` the integrand grows by at most `e^{eta^2/2} sec(eta slope / 2)^fall`, as long as `eta slope < pi`.
fn step(slope: f64, digits: f64, fall: f64) -> f64 {
    let highest = libm::sqrt(2.0 * digits).min(0.97 * core::f64::consts::PI / slope);
    let mut best = 0.0f64;
    let mut eta = highest;
    for _ in 0..14 {
        let growth = 0.5 * eta * eta - fall * libm::log(libm::cos(0.5 * eta * slope));
        best = best.max(2.0 * core::f64::consts::PI * eta / (digits + growth));
        eta *= 0.75;
    }
    best
}
