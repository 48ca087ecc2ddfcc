//! The excess of a moment where the integrand has ends: adaptive Gauss-Legendre panels with a proven error.

use super::density::{At, LN_PHI_0, Powers};
use super::line::Sum;
use super::moment::{Excess, ROUNDING, ln_gain};
use crate::accounting::AccountingError;
use crate::accounting::law::Direction;
use crate::accounting::mixture::log_ratio_of_one;
use crate::accounting::normal::GAUSS;

/// Parameters of the Bernstein ellipses that are tried.
const ELLIPSES: [f64; 7] = [3.5, 5.0, 8.0, 14.0, 50.0, 300.0, 5000.0];
/// Digits (natural) that are wanted of the sum.
const DIGITS: f64 = 34.0;
/// Deepest halving of the range.
const DEPTH: usize = 64;
/// Most intervals that one integral may take.
const MAX_INTERVALS: u32 = 20_000;

/// A positive integrand, its logarithm and a bound on it off the real line.
trait Integrand {
    /// Logarithm at a real point, and the number of roundings in it.
    fn ln(&self, y: f64) -> (f64, f64);
    /// Logarithm of a bound on the modulus where the real part is in the interval and the imaginary part at most `eta`.
    fn ln_bound(&self, low: f64, high: f64, eta: f64) -> f64;
    /// Imaginary part up to which it is analytic and the bound holds.
    fn strip(&self) -> f64;
}

/// Adds the integral from `from` to `to` to `sum`; the logarithm of a bound on what the rule errs by and leaves out.
///
/// The n-point rule errs by at most `64/15 half M rho^{-2n} / (1 - rho^{-2})`, M the bound on the Bernstein ellipse of
/// parameter rho (Trefethen, "Is Gauss quadrature better than Clenshaw-Curtis?", 2008, theorem 4.5).
fn integrate(
    f: &impl Integrand,
    from: f64,
    to: f64,
    level: f64,
    sum: &mut Sum,
) -> Result<f64, AccountingError> {
    let mut open = [(0.0, 0.0); DEPTH];
    let mut len = 1;
    open[0] = (from, to);
    let mut missed = Sum::new();
    let mut budget = MAX_INTERVALS;
    while len > 0 {
        len -= 1;
        let (a, b) = open.get(len).copied().unwrap_or((to, to));
        let half = 0.5 * (b - a);
        let ln_all = f.ln_bound(a, b, 0.0) + libm::log(b - a);
        if ln_all < level - DIGITS - 8.0 {
            missed.add(ln_all, 0.0);
            continue;
        }
        let ln_error = rule_error(f, a, b);
        let full = len + 2 > DEPTH || b - a <= 1e-12 * (b.abs() + 1e-3);
        budget = budget.saturating_sub(1);
        // A bound that is not a number bounds nothing.
        if budget == 0 || ln_error.is_nan() {
            return Err(AccountingError::OutOfRange { value: ln_error });
        }
        if ln_error > level - DIGITS && !full {
            for piece in [(a + half, b), (a, a + half)] {
                if let Some(slot) = open.get_mut(len) {
                    *slot = piece;
                    len += 1;
                }
            }
            continue;
        }
        missed.add(ln_error, 0.0);
        for (node, weight) in GAUSS {
            for sign in [-1.0, 1.0] {
                let (ln, roundings) = f.ln(a + half + sign * half * node);
                sum.add(ln + libm::log(half * weight), roundings);
            }
        }
    }
    Ok(missed.top + libm::log(missed.sum))
}

fn rule_error(f: &impl Integrand, a: f64, b: f64) -> f64 {
    let half = 0.5 * (b - a);
    let mut best = f64::INFINITY;
    for rho in ELLIPSES {
        let eta = 0.5 * half * (rho - 1.0 / rho);
        if eta >= f.strip() {
            continue;
        }
        let over = half * (0.5 * (rho + 1.0 / rho) - 1.0);
        let ln =
            f.ln_bound(a - over, b + over, eta) + libm::log(half) + 1.6 - 32.0 * libm::log(rho);
        best = best.min(ln);
    }
    best
}

fn excess(sum: &Sum, ln_missed: f64) -> Excess {
    let ln = sum.top + libm::log(sum.sum);
    if !ln.is_finite() {
        return Excess {
            ln: f64::NEG_INFINITY,
            error: 0.5,
        };
    }
    Excess {
        ln,
        error: libm::exp(ln_missed - ln) + ROUNDING * sum.size / sum.sum,
    }
}

/// The half-line above loss zero of a sampled Gaussian, with both data sets' losses on it.
struct HalfLine {
    rate: f64,
    ln_rate: f64,
    mu: f64,
    t: f64,
}

impl HalfLine {
    fn at(&self, y: f64) -> f64 {
        let v = self.mu * (y - 0.5 * self.mu);
        if self.rate == 1.0 {
            v
        } else {
            log_ratio_of_one(self.rate, self.ln_rate, v).0
        }
    }
}

impl Integrand for HalfLine {
    /// `phi (r^{1+t} - r + r^{-t} - 1) = phi (e^{tu} - 1) e^{-tu} (e^{(1+t)u} - 1)` with `u = log r >= 0`.
    fn ln(&self, y: f64) -> (f64, f64) {
        let u = self.at(y);
        let t = self.t;
        let roundings = 16.0
            + 0.5 * y * y
            + (1.0 + 2.0 * t) * u.abs()
            + (1.0 + t) * self.mu * (y.abs() + self.mu);
        if u <= 0.0 {
            return (f64::NEG_INFINITY, roundings);
        }
        let ln = libm::log(-libm::expm1(-t * u))
            + (1.0 + t) * u
            + libm::log(-libm::expm1(-(1.0 + t) * u));
        (LN_PHI_0 - 0.5 * y * y + ln, roundings)
    }

    fn ln_bound(&self, low: f64, high: f64, eta: f64) -> f64 {
        let closest = low.max(0.0) + high.min(0.0);
        let (a, b) = (self.at(low), self.at(high));
        let w = 1.0 + self.t;
        // log r is convex, so it is below its chord; the parabola with the chord has its top at w times the slope.
        let slope = (b - a) / (high - low);
        let top = (w * slope).clamp(low, high);
        let rise = if high > low {
            w * (a + slope * (top - low)) - 0.5 * top * top
        } else {
            w * b - 0.5 * closest * closest
        };
        // r, 1 and r^-t.
        let fall = self.t * ((-a).max(0.0) - libm::log(libm::cos(0.5 * eta * self.mu)));
        let rest = b.max(0.0) + fall - 0.5 * closest * closest;
        rise.max(rest) + LN_PHI_0 + 0.5 * eta * eta + 1.4
    }

    fn strip(&self) -> f64 {
        0.97 * core::f64::consts::PI / self.mu
    }
}

/// The symmetric pair of a fixed-size sample.
pub(super) fn replaced(rate: f64, mu: f64, t: f64) -> Result<Excess, AccountingError> {
    let f = HalfLine {
        rate,
        ln_rate: libm::log(rate),
        mu,
        t,
    };
    let (from, peak) = (0.5 * mu, (1.0 + t) * mu);
    let mut level = f64::NEG_INFINITY;
    for y in [from + 0.5, from + 1.5, from + 3.0, peak, 0.5 * peak] {
        level = level.max(f.ln(y.max(from + 0.1)).0);
    }
    level = level.max(-700.0);
    let mut reach = 6.0;
    for _ in 0..60 {
        let at = f.ln_bound(peak + reach, peak + reach, 0.0);
        if at < level - DIGITS - 2.0 {
            break;
        }
        reach *= 1.25;
    }
    let mut sum = Sum::new();
    let ln_missed = integrate(&f, from, peak + reach, level, &mut sum)?;
    // The tail beyond is below e^{level - DIGITS - 2} / reach.
    let tail = level - DIGITS - 2.0;
    let missed = ln_missed.max(tail) + core::f64::consts::LN_2;
    Ok(excess(&sum, missed))
}

/// Between the two centres of a sampled Laplace pair.
struct Between {
    rate: f64,
    ln_rate: f64,
    mu: f64,
    t: f64,
    direction: Direction,
    powers: Powers,
}

impl Between {
    /// `log p/q` where the plain mechanism's is `v`.
    fn ratio(&self, v: f64) -> f64 {
        if self.rate == 1.0 {
            v
        } else {
            log_ratio_of_one(self.rate, self.ln_rate, v).0
        }
    }

    /// What an output of density (or mass) `e^ln_base` under q adds.
    fn ln_of(&self, v: f64, ln_base: f64) -> (f64, f64) {
        let u = self.ratio(v);
        let (loss, own) = match self.direction {
            Direction::Remove => (u, ln_base + u),
            Direction::Add => (-u, ln_base),
        };
        let roundings = 16.0 + ln_base.abs() + (1.0 + 2.0 * self.t) * (u.abs() + self.mu);
        (own + ln_gain(self.t, loss), roundings)
    }
}

impl Integrand for Between {
    fn ln(&self, y: f64) -> (f64, f64) {
        self.ln_of(2.0 * y - self.mu, -y - core::f64::consts::LN_2)
    }

    fn ln_bound(&self, low: f64, high: f64, eta: f64) -> f64 {
        let end = |y: f64| At {
            y: 0.0,
            p: self.ratio(2.0 * y - self.mu),
            q: 0.0,
        };
        // The ratio turns by at most twice eta.
        let fall = match self.direction {
            Direction::Remove => 0.0,
            Direction::Add => -self.t * libm::log(libm::cos(eta)),
        };
        // The density's factor is 1/2 where `ln_bound` has that of the normal law, which is smaller by less than e^0.3.
        self.powers.ln_bound(&end(low), &end(high)) + 0.3 - low + fall
    }

    fn strip(&self) -> f64 {
        0.97 * core::f64::consts::FRAC_PI_2
    }
}

/// `(1 - rate) Lap(0) + rate Lap(mu)` against `Lap(0)`: two atoms and what is between them.
pub(super) fn laplace(
    rate: f64,
    mu: f64,
    direction: Direction,
    t: f64,
) -> Result<Excess, AccountingError> {
    let f = Between {
        rate,
        ln_rate: libm::log(rate),
        mu,
        t,
        direction,
        powers: Powers::new(direction, t),
    };
    let mut sum = Sum::new();
    let ln_half = -core::f64::consts::LN_2;
    for (v, ln_mass) in [(-mu, ln_half), (mu, ln_half - mu)] {
        let (ln, roundings) = f.ln_of(v, ln_mass);
        sum.add(ln, roundings);
    }
    let level = (sum.top + libm::log(sum.sum)).max(-700.0);
    let ln_missed = integrate(&f, 0.0, mu, level, &mut sum)?;
    Ok(excess(&sum, ln_missed))
}
