//! A record against another one, Poisson-sampled.
//!
//! With `u = mu y` at the threshold y, the ratio of the two mixtures is `e^epsilon` where
//! `rate e^{-mu^2/2} (e^u - e^{epsilon - u}) = (1 - rate)(e^epsilon - 1)`, so
//! `u = epsilon/2 + asinh((1 - rate)/rate e^{mu^2/2} sinh(epsilon/2))`, all terms positive. The constant part of the
//! difference is then replaced by this equation, which leaves two Gaussian divergences:
//! `delta = rate (H(u - mu^2/2) + e^{epsilon - u - mu^2/2} H(u + mu^2/2))`, H that of `N(mu, 1)` from `N(0, 1)`.

use super::{known, steepness};
use crate::accounting::invert::Point;
use crate::accounting::normal::{ln_delta, ln_delta_error};

/// Relative error of a rate that came from binomial tails.
pub(super) const TAIL_ERROR: f64 = 1e-12;

/// `log delta` of `(1 - rate) N(0, 1) + rate N(mu, 1)` against the same with `N(-mu, 1)`; the same in both directions.
///
/// `rate_error` is the relative error of `rate`.
pub(super) fn two_sided(rate: f64, mu: f64, epsilon: f64, rate_error: f64) -> Point {
    let half_square = 0.5 * mu * mu;
    let rest = ln_asinh_argument(rate, half_square, epsilon);
    // asinh(e^rest); beyond 20 the square root is the argument itself.
    let reach = if rest > 20.0 {
        rest + core::f64::consts::LN_2
    } else {
        libm::asinh(libm::exp(rest))
    };
    let u = 0.5 * epsilon + reach;
    let (near, far) = (u - half_square, u + half_square);
    let back = epsilon - far;
    let first = ln_delta(near, mu);
    let second = back + ln_delta(far, mu);
    let (top, low) = if first > second {
        (first, second)
    } else {
        (second, first)
    };
    let ln = top + libm::log1p(libm::exp(low - top)) + libm::log(rate);
    // Errors of u: those of its terms, and of the argument's logarithm where that matters.
    let shallow = libm::exp(rest.min(0.0));
    let exact = 4e-16 * (u + shallow * (4.0 + half_square + epsilon + libm::log(rate).abs()));
    // A smaller rate moves the argument by (1 - rate)^-1 of its own change.
    let moved = if rate < 1.0 {
        rate_error * (shallow / (1.0 - rate)).min(libm::exp((half_square + epsilon).min(700.0)))
    } else {
        rate_error
    };
    let slack = ln_delta_error(near.max(0.0), mu).max(ln_delta_error(far, mu))
        + (exact + moved) * (1.0 + steepness(near.max(0.0), mu))
        + 1e-15 * (4.0 + mu + back.abs())
        + rate_error;
    known(ln, slack)
}

/// `log((1 - rate)/rate e^{half_square} sinh(epsilon/2))`.
fn ln_asinh_argument(rate: f64, half_square: f64, epsilon: f64) -> f64 {
    // sinh(x) = e^x (1 - e^{-2x}) / 2, which neither overflows nor cancels.
    let sinh = 0.5 * epsilon + libm::log(-0.5 * libm::expm1(-epsilon));
    libm::log1p(-rate) - libm::log(rate) + half_square + sinh
}
