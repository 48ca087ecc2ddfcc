//! Delta of a composed run by an integral on a vertical line of the complex plane.
//!
//! `delta(eps) = (1 / 2 pi i) integral over Re z = t > 0 of e^{K(z) - z eps} / (z (z + 1)) dz`, by
//! the midpoint rule. docs/accounting.md derives it and every error term that [`Contour::at`] adds.

use super::AccountingError;
use super::complex::Complex;
use super::invert::Point;
use super::moment::{BLOCK, Run};
use super::saddle::{Saddle, Spacing};

/// Most nodes on the upper half of the line.
const MAX_NODES: usize = 2048;
/// A delta whose relative error bound is above this is not given.
const MAX_ERROR: f64 = 1e-4;
/// Relative size of a node that no longer counts.
const NEGLIGIBLE: f64 = 1e-17;
/// Relative agreement of two windows at which the sum is taken as converged.
const WINDOW_AGREEMENT: f64 = 1e-10;

/// The cumulants on a contour; answers every epsilon near the one that it was made for.
pub(super) struct Contour {
    saddle: Saddle,
    spacing: Spacing,
    count: usize,
    /// The tail is cut by a smooth window, not by its own decay.
    windowed: bool,
    values: [Complex; MAX_NODES],
    errors: [f64; MAX_NODES],
}

impl Contour {
    /// A contour for `epsilon`, through (about) its saddle point.
    pub fn new(run: &Run<'_>, saddle: Saddle, epsilon: f64) -> Result<Self, AccountingError> {
        let spacing = Spacing::new(run, &saddle, epsilon)?;
        let mut contour = Self {
            saddle,
            spacing,
            count: 0,
            windowed: false,
            values: [Complex::ZERO; MAX_NODES],
            errors: [0.0; MAX_NODES],
        };
        let mut quiet = 0;
        let mut sum = 0.0;
        while contour.count < MAX_NODES {
            let (values, errors) = run.block(saddle.t, spacing.h, contour.count)?;
            for (value, error) in values.into_iter().zip(errors) {
                let k = contour.count;
                contour.values[k] = value;
                contour.errors[k] = error;
                contour.count += 1;
                let term = contour.term(k, epsilon);
                sum += term.re;
                quiet = if term.abs() < NEGLIGIBLE * sum.abs() {
                    quiet + 1
                } else {
                    0
                };
            }
            if quiet >= 6 {
                return Ok(contour);
            }
            let nodes = contour.count;
            if nodes >= 2 * BLOCK && nodes.is_power_of_two() {
                contour.windowed = true;
                if contour.window_error(epsilon) < WINDOW_AGREEMENT {
                    return Ok(contour);
                }
                contour.windowed = false;
            }
        }
        contour.windowed = true;
        Ok(contour)
    }

    fn z(&self, k: usize) -> Complex {
        Complex::new(self.saddle.t, self.spacing.h * (k as f64 + 0.5))
    }

    /// `e^{K(z) - z eps} / (z (z + 1))` at node k, divided by `e^{K(t) - t eps}`.
    fn term(&self, k: usize, epsilon: f64) -> Complex {
        let z = self.z(k);
        let value = self.values[k];
        let exponent = Complex::new(value.re - self.saddle.at.k0, value.im - z.im * epsilon);
        exponent.exp().div(z.mul(z).add(z))
    }

    /// 1 up to half of the nodes used, falling smoothly to nothing at their end.
    fn window(&self, k: usize, share: f64) -> f64 {
        let position = (k as f64 + 0.5) / (self.count as f64 * share);
        0.5 * libm::erfc(12.0 * (position - 0.5))
    }

    fn windowed_sum(&self, epsilon: f64, share: f64) -> f64 {
        (0..self.count)
            .map(|k| self.window(k, share) * self.term(k, epsilon).re)
            .sum()
    }

    /// Disagreement of a full and a shorter window, relative to the sum.
    fn window_error(&self, epsilon: f64) -> f64 {
        let full = self.windowed_sum(epsilon, 1.0);
        let shorter = self.windowed_sum(epsilon, 0.75);
        let half = self.windowed_sum(epsilon, 0.5);
        // The half window only has to be in the picture: a coincidence of two is not enough.
        let coarse = 1e-3 * (full - half).abs();
        let error = ((full - shorter).abs().max(coarse)) / full.abs();
        if error.is_nan() { f64::INFINITY } else { error }
    }

    /// `log delta(epsilon)` with a bound on the relative error of delta.
    pub fn at(&self, epsilon: f64) -> Result<Point, AccountingError> {
        let (mut sum, mut error, mut last) = (0.0, 0.0, 0.0);
        for k in 0..self.count {
            let weight = if self.windowed {
                self.window(k, 1.0)
            } else {
                1.0
            };
            let term = self.term(k, epsilon);
            let size = weight * term.abs();
            let phase = self.values[k].im.abs() + self.z(k).im * epsilon;
            let rounding =
                4.0 * f64::EPSILON * (4.0 + phase + (self.values[k].re - self.saddle.at.k0).abs());
            sum += weight * term.re;
            error += size * (libm::expm1(self.errors[k]) + rounding);
            last = size;
        }
        // What lies beyond the last node: the terms fall at least like 1 / k^2 from here.
        error += if self.windowed {
            4.0 * self.window_error(epsilon) * sum.abs()
        } else {
            2.0 * last * self.count as f64
        };
        let base = self.saddle.at.k0 - self.saddle.t * epsilon;
        let ln_delta = base + libm::log(sum * self.spacing.h / core::f64::consts::PI);
        let period = 2.0 * core::f64::consts::PI / self.spacing.h;
        let alias = [self.spacing.left, self.spacing.right]
            .map(|guard| libm::exp(guard.ln_alias(self.saddle.t, epsilon, period) - ln_delta));
        let ulp = 8.0 * f64::EPSILON * (1.0 + self.saddle.at.k0.abs() + self.saddle.t * epsilon);
        let error = error / sum + alias[0] + alias[1] + ulp;
        if !(sum > 0.0 && error.is_finite()) {
            return Err(AccountingError::NotConverged {
                epsilon,
                relative_error: f64::INFINITY,
            });
        }
        Ok(Point { ln_delta, error })
    }

    /// As [`at`](Self::at), refusing a bound too wide to be of use.
    pub fn sharp(&self, epsilon: f64) -> Result<Point, AccountingError> {
        let point = self.at(epsilon)?;
        if point.error > MAX_ERROR {
            return Err(AccountingError::NotConverged {
                epsilon,
                relative_error: point.error,
            });
        }
        Ok(point)
    }
}
