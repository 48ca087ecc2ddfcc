//! Balls in bins: the mean S of b log-normal variables of mean one.
//!
//! The likelihood ratio of the pair is `S = 1/b sum_i X_i` under Q, so with `f(c) = E (c - S)_+` delta is `e^epsilon f(e^-epsilon)`
//! for an added record, and `E (S - e^epsilon)_+ = f(e^epsilon) + 1 - e^epsilon` for a removed one. From the transform phi of one X,
//!
//! `f(c) = (1 / 2 pi i) integral over Re s = t > 0 of e^{s c} phi(s / b)^b / s^2 ds`,
//!
//! taken by the midpoint rule with step h. Poisson's formula leaves, with `Y = 2 pi / h`, the error
//! `sum over m != 0 of (-1)^m f(c + m Y) e^{-t m Y}`. For m > 0, `f(x) <= x`. For m < 0 f is zero at arguments below zero, and else
//! `f(x) <= e^{u x} phi(u / b)^b / (e u)` for any u > t. The nodes end where turning the path of y by an angle bounds
//! what is left: `|phi(s)| <= e^{a^2 / 2 mu^2} phi(Im s sin a)` for s in the right half-plane and any a in [0, pi/2].
//!
//! For a removal f's own rounding limits delta to about 1e-13. Where nothing better is known, the bound is that of one bin: by convexity
//! the mixture over the bins is not further from Q than any of its components.

use super::lognormal::{Transform, ln_strip_bound};
use super::{NOTHING, at_most, shift};
use crate::accounting::complex::Complex;
use crate::accounting::invert::Point;
use crate::accounting::law::Direction;
use crate::accounting::normal::ln_tail;
use core::f64::consts::PI;

/// Most nodes on the line.
const MAX_NODES: f64 = 8192.0;
/// Epsilons that are tried where one fails.
const TRIES: u32 = 60;
/// How many of them are computed.
const MAX_LINES: u32 = 4;
/// Factors by which the line goes further right, where the steps are longer and more cancels, until the nodes suffice, with the
/// logarithm of the error that truncation and aliasing may each add, relative to the integrand's peak.
const WAYS: [(f64, f64); 4] = [(1.0, -39.0), (2.0, -39.0), (2.0, -32.0), (2.0, -28.0)];

/// `log delta` of `1/bins sum_i N(mu e_i, 1)` against `N(0, 1)`.
///
/// Where the line gives no digits, delta at a smaller epsilon is a bound too, and keeps the curve from rising.
pub(super) fn bins(bins: u32, mu: f64, direction: Direction, epsilon: f64) -> Point {
    let count = f64::from(bins);
    let coarse = coarse(count, mu, direction, epsilon);
    if coarse.ln_delta == f64::NEG_INFINITY {
        return coarse;
    }
    let limit = match direction {
        Direction::Remove => 30.0,
        Direction::Add => 500.0,
    };
    let mut ln_upper = coarse.ln_upper();
    // Smaller than any delta that matters.
    if ln_upper < -745.0 {
        return coarse;
    }
    let mut at = epsilon.min(limit);
    let mut lines = 0;
    for _ in 0..TRIES {
        if lines == MAX_LINES {
            break;
        }
        if direction == Direction::Remove && !removal_is_seen(count, mu, at) {
            at *= 0.85;
            continue;
        }
        lines += 1;
        if let Some(point) = by_line(count, mu, direction, at) {
            if point.error < 1.0 && at == epsilon {
                return point;
            }
            ln_upper = ln_upper.min(point.ln_upper());
            if point.error < 1.0 {
                break;
            }
        }
        at *= 0.6;
    }
    at_most(ln_upper)
}

/// Whether a removal's delta is likely above the rounding of f: a guess that saves time and decides nothing else.
fn removal_is_seen(bins: f64, mu: f64, epsilon: f64) -> bool {
    likely(bins, mu, epsilon) > libm::log(libm::expm1(epsilon)) - 38.0
}

/// Roughly log delta: that of many small variables, or of a single large one.
fn likely(bins: f64, mu: f64, epsilon: f64) -> f64 {
    let over = libm::expm1(epsilon);
    let many = -0.5 * over * over * bins / libm::expm1((mu * mu).min(700.0));
    let one = shift(mu, libm::log1p(bins * over)).ln_delta;
    many.max(one)
}

/// Where to start a search for the epsilon of `ln_delta`, and the slope there.
pub(super) fn guess(bins: u32, mu: f64, ln_delta: f64) -> (f64, f64) {
    let count = f64::from(bins);
    let (mut low, mut high) = (-40.0, 10.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if likely(count, mu, libm::exp(middle)) > ln_delta {
            low = middle;
        } else {
            high = middle;
        }
    }
    let start = libm::exp(low);
    let rise = likely(count, mu, 1.01 * start) - likely(count, mu, start);
    (start, (rise / (0.01 * start)).min(-1e-3))
}

fn by_line(bins: f64, mu: f64, direction: Direction, epsilon: f64) -> Option<Point> {
    // c - 1.
    let over = libm::expm1(match direction {
        Direction::Remove => epsilon,
        Direction::Add => -epsilon,
    });
    let mut line = Line::new(bins, mu, over)?;
    let mut known = None;
    for (factor, ln_precision) in WAYS {
        line.move_to(factor * line.t);
        known = line.sum(ln_precision);
        if known.is_some() {
            break;
        }
    }
    let (value, error) = known?;
    Some(match direction {
        Direction::Add => Point::scaled(
            value,
            error + 4e-16 * (4.0 + epsilon + line.peak.abs()) * value,
            line.peak + epsilon,
        ),
        Direction::Remove => {
            let scale = libm::exp(line.peak);
            let f = value * scale;
            let rounding = 4e-16 * (over + (2.0 + line.peak.abs()) * f);
            Point::scaled(f - over, error * scale + rounding, 0.0)
        }
    })
}

/// An upper bound in closed form.
fn coarse(bins: f64, mu: f64, direction: Direction, epsilon: f64) -> Point {
    let one = shift(mu, epsilon).ln_upper();
    match direction {
        Direction::Remove => at_most(one),
        Direction::Add => {
            // P(S < c): all X_i are below b c, and S is that far below its mean (Bernstein, for positive variables).
            let y = (libm::log(bins) - epsilon) / mu + 0.5 * mu;
            let all = bins * (ln_tail(-y) * (1.0 - 1e-14)).min(0.0);
            if all == f64::NEG_INFINITY {
                NOTHING
            } else {
                let under = libm::expm1(-epsilon);
                let apart = -0.5 * under * under * bins * libm::exp(-mu * mu) * (1.0 - 1e-14);
                at_most(one.min(all + 4e-16 * bins + 1e-12).min(apart))
            }
        }
    }
}

/// The line of integration.
struct Line {
    transform: Transform,
    bins: f64,
    mu: f64,
    /// c - 1.
    over: f64,
    /// Real part of its points.
    t: f64,
    /// Logarithm of the integrand at t.
    peak: f64,
}

impl Line {
    fn new(bins: f64, mu: f64, over: f64) -> Option<Self> {
        let (mut depth, mut extra) = (0.0, 0.0);
        for _ in 0..6 {
            let transform = Transform::new(mu, depth, extra)?;
            let mut line = Self {
                transform,
                bins,
                mu,
                over,
                t: 1.0,
                peak: 0.0,
            };
            line.move_to(line.saddle());
            let ln_phi = line.transform.ln_upper(line.t / bins);
            let below = ln_strip_bound(mu, line.t / bins) - ln_phi;
            if -ln_phi <= depth + 2.0 && below <= extra + 2.0 {
                return Some(line);
            }
            depth = depth.max(3.0 - ln_phi);
            extra = extra.max(below + 1.0);
        }
        None
    }

    fn move_to(&mut self, t: f64) {
        self.t = t;
        self.peak = self.log(Complex::new(t, 0.0)).0.re;
    }

    /// Logarithm of the integrand, and of the factor by which it may be larger.
    fn log(&self, s: Complex) -> (Complex, f64) {
        let (excess, gap) = self.transform.excess(s.scale(1.0 / self.bins));
        let ln = s.ln().scale(-2.0);
        let bent = excess.scale(self.bins);
        let line = s.scale(self.over);
        let rounding = 4e-16 * (4.0 + line.abs() + bent.abs() + ln.abs());
        (line.add(bent).add(ln), self.bins * gap + rounding)
    }

    /// The least value of the integrand on the real axis, by golden sections in log t.
    fn saddle(&self) -> f64 {
        const GOLDEN: f64 = 0.618_033_988_749_894_9;
        let value = |u: f64| self.log(Complex::new(libm::exp(u), 0.0)).0.re;
        let (mut low, mut high) = (-10.0, 600.0 * f64::from(u8::from(self.over < 0.0)) + 80.0);
        let (mut a, mut b) = (high - GOLDEN * (high - low), low + GOLDEN * (high - low));
        let (mut f, mut g) = (value(a), value(b));
        for _ in 0..60 {
            if high - low < 0.03 {
                break;
            }
            // Far right phi underflows, and what is no number is as bad as a large one.
            if f < g || g.is_nan() || g == f64::INFINITY {
                high = b;
                (b, g) = (a, f);
                a = high - GOLDEN * (high - low);
                f = value(a);
            } else {
                low = a;
                (a, f) = (b, g);
                b = low + GOLDEN * (high - low);
                g = value(b);
            }
        }
        libm::exp(0.5 * (low + high))
    }

    /// f over `e^peak` and its error.
    fn sum(&self, ln_precision: f64) -> Option<(f64, f64)> {
        let (t, peak) = (self.t, self.peak);
        let c = 1.0 + self.over;
        // Aliasing below e^ln_precision: (c + Y) e^{-t Y}.
        let mut period = 1.0 / t;
        for _ in 0..40 {
            period = (libm::log(c + period) - peak - ln_precision + 1.0).max(1.0) / t;
        }
        let period = 1.02 * period;
        let ratio = libm::exp(-t * period);
        // sum of (c + m Y) r^m.
        let alias = ratio * (c + period / (1.0 - ratio)) / (1.0 - ratio) * libm::exp(-peak);
        let step = 2.0 * PI / period;
        let (end, truncation) = self.end(step, ln_precision)?;
        let (mut sum, mut error) = (0.0, 0.0);
        let mut k = 0.5;
        while k < end {
            let (ln, slack) = self.log(Complex::new(t, step * k));
            let modulus = libm::exp(ln.re - peak);
            sum += modulus * libm::cos(ln.im);
            error += modulus * (libm::expm1(slack.min(700.0)) + 4e-16 * end.min(64.0));
            k += 1.0;
        }
        let scale = step / PI;
        Some((
            scale * sum,
            scale * error + truncation + alias + self.behind(period),
        ))
    }

    /// Bound on what f below c adds, relative to `e^peak`.
    fn behind(&self, period: f64) -> f64 {
        if period >= 1.0 + self.over {
            return 0.0;
        }
        let mut least = f64::INFINITY;
        for factor in [1.5, 2.0, 3.0, 5.0, 9.0] {
            let u = factor * self.t;
            let (ln, slack) = self.log(Complex::new(u, 0.0));
            let fall = (u - self.t) * period;
            // The integrand without its 1/u^2, over e u.
            let first = ln.re + slack + libm::log(u) - 1.0 - fall - self.peak;
            least = least.min(libm::exp(first.min(700.0)) / -libm::expm1(-fall));
        }
        least
    }

    /// Number of nodes, and a bound on what the rest would add.
    fn end(&self, step: f64, ln_precision: f64) -> Option<(f64, f64)> {
        // Half a step less: a falling function's midpoint sum is below its integral from there.
        let beyond = |count: f64| self.ln_beyond(step * (count - 0.5)) - self.peak;
        let (mut low, mut high) = (8.0, MAX_NODES);
        if beyond(high) >= ln_precision {
            return None;
        }
        while high > 1.1 * low {
            let middle = libm::ceil(libm::sqrt(low * high));
            if middle >= high {
                break;
            }
            if beyond(middle) < ln_precision {
                high = middle;
            } else {
                low = middle;
            }
        }
        Some((high, libm::exp(beyond(high))))
    }

    /// Logarithm of a bound on `1/pi` times the integral of the integrand's modulus above `Im s = from`.
    fn ln_beyond(&self, from: f64) -> f64 {
        let mut angle = 0.5 * PI;
        let mut least = 0.0f64;
        for _ in 0..24 {
            let reach = self.transform.ln_upper(from / self.bins * libm::sin(angle));
            let turned = 0.5 * (angle / self.mu) * (angle / self.mu);
            least = least.min(self.bins * (turned + reach));
            angle *= 0.75;
        }
        self.t * (1.0 + self.over) + least - libm::log(PI * from) + 1e-9
    }
}
