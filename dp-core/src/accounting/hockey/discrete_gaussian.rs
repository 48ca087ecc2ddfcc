//! Discrete Gaussian noise on the integers.
//!
//! P is centred at d, Q at 0, and the loss at x is `(d / sigma^2)(x - t) + epsilon` with the threshold
//! `t = epsilon sigma^2 / d + d / 2`. So `delta = sum over x > t of P(x) (1 - e^{-(d / sigma^2)(x - t)})`, all terms positive.
//! The map x to d - x swaps the pair, so both directions agree.
//!
//! For a narrow law, or far out, the sum has few terms. For a wide one the Euler-Maclaurin formula replaces it by its integral,
//! a Gaussian divergence, with corrections and a remainder that is bounded.

use super::at_most;
use crate::accounting::invert::Point;
use crate::accounting::normal::{ln_delta, ln_delta_error, mills};
use core::f64::consts::PI;

/// A parameter from which on the sum may be replaced by an integral.
const WIDE: f64 = 500.0;
/// Largest logarithmic slope of a term where it is.
const FLAT: f64 = 0.01;
/// Number of standard deviations beyond which there is nothing left.
const FAR: f64 = 60.0;
const SQRT_2PI: f64 = 2.506_628_274_631_000_5;

struct Pair {
    sigma: f64,
    d: f64,
    /// Threshold, as the distance from d.
    t: f64,
    /// Bound on its error.
    room: f64,
}

/// `log delta` of discrete Gaussians of parameter `sigma` around `d`, an integer, and around 0.
pub(super) fn discrete_gaussian(sigma: f64, d: f64, epsilon: f64) -> Point {
    let shift = epsilon * (sigma * sigma / d);
    let pair = Pair {
        sigma,
        d,
        t: shift - 0.5 * d,
        room: 6e-16 * (shift + d),
    };
    let a = (pair.t - pair.room) / sigma;
    if a > FAR {
        // P(x - d >= m) <= e^{-m^2 / 2 sigma^2}, as the sum over all integers is at least one.
        return at_most(-0.5 * a * a * (1.0 - 1e-14));
    }
    // The first integer above the threshold, as the distance from d.
    let first = libm::floor(pair.t) + 1.0;
    let steep = a.max((first + d) / sigma);
    if sigma >= WIDE && steep <= FLAT * sigma {
        pair.integral(first)
    } else {
        pair.sum(first)
    }
}

impl Pair {
    /// Logarithm of P at d.
    fn ln_peak(&self) -> f64 {
        -libm::log(theta(self.sigma))
    }

    fn sum(&self, first: f64) -> Point {
        let slope = self.d / (self.sigma * self.sigma);
        // What is left of 9.5 standard deviations below d has a probability below 3e-20, where delta is near one.
        let start = first.max(libm::ceil(-9.5 * self.sigma - 1.0));
        let peak = start.max(0.0) / self.sigma;
        let ln_peak = -0.5 * peak * peak;
        let mut value = Kahan::default();
        // How fast delta changes with the threshold, the term before the first one included.
        let mut change = 0.0;
        let mut k = start;
        let scaled = |k: f64| {
            let z = k / self.sigma;
            libm::exp(-0.5 * z * z - ln_peak)
        };
        if start == first {
            change += scaled(first - 1.0);
        }
        // Twelve standard deviations from the start would be too many already; the loop ends on its own.
        let end = start.max(0.0) + 12.0 * self.sigma + 50.0;
        let mut rest = 0.0;
        while k <= end {
            let p = scaled(k);
            let gain = -libm::expm1(-slope * (k - self.t));
            value.add(p * gain.max(0.0));
            change += p * (1.0 - gain).min(1.0);
            k += 1.0;
            if k > 0.0 {
                // Terms fall at least as fast as a geometric series from here on.
                let ratio = libm::exp(-(k - 0.5) / (self.sigma * self.sigma));
                rest = p * ratio / (1.0 - ratio);
                if rest < 1e-18 * value.sum {
                    break;
                }
            }
        }
        let error = rest + 3e-20 * f64::from(u8::from(start > first)) + slope * self.room * change;
        // Rounding of the exponent, of the compensated sum, of the normaliser.
        let z = peak + 1.0 / self.sigma;
        let relative = 1e-15 * (8.0 + z * z + slope * self.sigma);
        Point::scaled(
            value.sum,
            error + relative * value.sum,
            ln_peak + self.ln_peak(),
        )
    }

    /// `integral from first + g/2 - g'/12 + g'''/720 -+ (|g^(5)| + integral of |g^(6)|) / 30240`, where
    /// `g(x) = P(x) - e^epsilon Q(x)`, everything relative to P(first).
    fn integral(&self, first: f64) -> Point {
        let (sigma, d) = (self.sigma, self.d);
        let mu = d / sigma;
        // Twenty standard deviations below d nothing is left, and delta is near one.
        let first = first.max(libm::ceil(-20.0 * sigma));
        let (a, b) = (first / sigma, (first + d) / sigma);
        // e^epsilon Q / P at `first`.
        let over = mu / sigma * (first - self.t).max(0.0);
        let gain = -libm::expm1(-over);
        let q = 1.0 - gain;
        let ln_phi = -0.5 * a * a;
        // The integral is a divergence at the loss of `first`, and what Q is overweighted by there.
        let v = mu * (a + 0.5 * mu);
        let ln_h = ln_delta(v, mu);
        let main = sigma * (libm::exp(ln_h - ln_phi) * SQRT_2PI + mills(b) * gain);
        let slope = (q * mu - a * gain) / sigma;
        let third = (q * (b * b * b - 3.0 * b) - (a * a * a - 3.0 * a)) / (sigma * sigma * sigma);
        let value = main + 0.5 * gain - slope / 12.0 + third / 720.0;
        let fifth = (hermite(a).abs() + q * hermite(b).abs()) / 30240.0;
        let sixth = (variation(a) + q * variation(b)) / 30240.0;
        let remainder = (fifth + sixth) / (sigma * sigma * sigma * sigma * sigma);
        let rounding = 4e-16 * (gain + (a.abs() + b) / sigma);
        // An error of the threshold, over all that lies beyond it.
        let moved = mu / sigma * self.room * (3.0 * q * (1.0 + sigma * mills(b)));
        let relative = 4.0 * ln_delta_error(v, mu)
            + 1e-15 * (8.0 + a.abs() * (a.abs() + mu + self.t.abs() / sigma));
        let error = remainder + rounding + moved + relative * value;
        Point::scaled(value, error, ln_phi + self.ln_peak())
    }
}

/// `x^5 - 10 x^3 + 15 x`.
fn hermite(x: f64) -> f64 {
    let s = x * x;
    x * (s * (s - 10.0) + 15.0)
}

/// Integral of `|(e^{-s^2/2})^(6)|` from x up, over `e^{-x^2/2}`: the fifth derivative is monotone beyond the sixth's last zero
/// at 3.32; before it, Cauchy and Schwarz give `(2 pi 6!)^(1/2) < 67.3` for the whole line.
fn variation(x: f64) -> f64 {
    if x >= 3.4 {
        hermite(x).abs()
    } else {
        67.3 * libm::exp((0.5 * x * x).min(700.0))
    }
}

/// `sum over all integers of e^{-k^2 / 2 sigma^2}`.
fn theta(sigma: f64) -> f64 {
    let (mut sum, mut k) = (0.0, 1.0);
    // Poisson's summation formula makes the sum short on either side of one.
    let (decay, scale) = if sigma < 0.4 {
        (0.5 / (sigma * sigma), 1.0)
    } else {
        (2.0 * PI * PI * sigma * sigma, sigma * SQRT_2PI)
    };
    while k < 40.0 {
        let term = libm::exp(-decay * k * k);
        sum += term;
        if term < 1e-18 {
            break;
        }
        k += 1.0;
    }
    scale * (1.0 + 2.0 * sum)
}

/// A sum with its own rounding carried along.
#[derive(Default)]
struct Kahan {
    sum: f64,
    lost: f64,
}

impl Kahan {
    fn add(&mut self, x: f64) {
        let y = x - self.lost;
        let next = self.sum + y;
        self.lost = (next - self.sum) - y;
        self.sum = next;
    }
}
