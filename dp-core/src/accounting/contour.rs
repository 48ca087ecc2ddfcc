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
pub(super) const MAX_ERROR: f64 = 1e-4;
/// Relative size of a node that no longer counts.
const NEGLIGIBLE: f64 = 1e-17;
/// How many of them in a row end the sum.
const QUIET: u32 = 6;
/// Relative agreement of two windows at which the sum is taken as converged.
const WINDOW_AGREEMENT: f64 = 1e-10;

/// The cumulants on a contour; answers every epsilon near the one that it was made for.
pub(super) struct Contour {
    spacing: Spacing,
    count: usize,
    /// The tail is cut by a smooth window, not by its own decay.
    windowed: bool,
    values: [Complex; MAX_NODES],
    errors: [f64; MAX_NODES],
}

impl Contour {
    /// A contour for `epsilon`, through (about) its saddle point.
    ///
    /// `ln_delta` is what delta is expected to be there; the bounds hold whatever it is.
    pub fn new(
        run: &Run<'_>,
        saddle: Saddle,
        epsilon: f64,
        ln_delta: f64,
    ) -> Result<Self, AccountingError> {
        let spacing = Spacing::new(run, &saddle, epsilon, ln_delta)?;
        let mut contour = Self {
            spacing,
            count: 0,
            windowed: false,
            values: [Complex::ZERO; MAX_NODES],
            errors: [0.0; MAX_NODES],
        };
        let mut quiet = 0;
        let mut sum = 0.0;
        while contour.count < MAX_NODES {
            let (values, errors) = run.block(spacing.t, spacing.h, contour.count)?;
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
                if quiet >= QUIET {
                    return Ok(contour);
                }
            }
            let nodes = contour.count;
            if nodes >= 2 * BLOCK && nodes.is_power_of_two() {
                contour.windowed = true;
                if contour.window_error(epsilon)
                    < WINDOW_AGREEMENT * contour.windowed_sum(epsilon, 1.0)
                {
                    return Ok(contour);
                }
                contour.windowed = false;
            }
        }
        contour.windowed = true;
        Ok(contour)
    }

    /// Real part of the line.
    pub fn crossing(&self) -> f64 {
        self.spacing.t
    }

    fn z(&self, k: usize) -> Complex {
        Complex::new(self.spacing.t, self.spacing.h * (k as f64 + 0.5))
    }

    /// `e^{K(z) - z eps} / (z (z + 1))` at node k, divided by `e^{K(t) - t eps}`.
    fn term(&self, k: usize, epsilon: f64) -> Complex {
        let z = self.z(k);
        let value = self.values[k];
        let exponent = Complex::new(value.re - self.spacing.k0, value.im - z.im * epsilon);
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

    /// Disagreement of a full and a shorter window.
    fn window_error(&self, epsilon: f64) -> f64 {
        let full = self.windowed_sum(epsilon, 1.0);
        let shorter = self.windowed_sum(epsilon, 0.75);
        let half = self.windowed_sum(epsilon, 0.5);
        // The half window only has to be in the picture: a coincidence of two is not enough.
        (full - shorter).abs().max(1e-3 * (full - half).abs())
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
                4.0 * f64::EPSILON * (4.0 + phase + (self.values[k].re - self.spacing.k0).abs());
            sum += weight * term.re;
            error += size * (libm::expm1(self.errors[k]) + rounding);
            last = size;
        }
        // What lies beyond the last node: the terms fall at least like 1 / k^2 from here.
        error += if self.windowed {
            4.0 * self.window_error(epsilon)
        } else {
            2.0 * last * self.count as f64
        };
        let scale = self.spacing.h / core::f64::consts::PI;
        let base = self.spacing.k0 - self.spacing.t * epsilon + libm::log(scale);
        let period = 2.0 * core::f64::consts::PI / self.spacing.h;
        for guard in [self.spacing.left, self.spacing.right] {
            error += libm::exp(guard.ln_alias(self.spacing.t, epsilon, period) - base);
        }
        error += 8.0
            * f64::EPSILON
            * (1.0 + self.spacing.k0.abs() + self.spacing.t * epsilon)
            * sum.abs();
        if !(sum.is_finite() && error.is_finite()) {
            return Err(AccountingError::NotConverged {
                epsilon,
                relative_error: f64::INFINITY,
            });
        }
        Ok(Point::scaled(sum, error, base))
    }

    /// Derivative of log delta by epsilon, without a bound.
    pub fn slope(&self, epsilon: f64) -> f64 {
        let (mut sum, mut derivative) = (0.0, 0.0);
        for k in 0..self.count {
            let weight = if self.windowed {
                self.window(k, 1.0)
            } else {
                1.0
            };
            let (z, term) = (self.z(k), self.term(k, epsilon));
            sum += weight * term.re;
            derivative -= weight * z.mul(term).re;
        }
        derivative / sum
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
