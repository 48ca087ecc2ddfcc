//! Composed Laplace mechanisms of one scale: atoms, so the contour doesn't die down, but a finite sum.
//!
//! With mu the sensitivity in scales, `E e^{zL} = ((z + 1) e^{z mu} + z e^{-(z + 1) mu}) / (2z + 1)`. In the n-th power
//! the term with j negative losses has the exponential `e^{z (n - 2j) mu}`; where its exponent `a_j = (n - 2j) mu - eps` is
//! not positive the contour closes to the right around nothing, where it is, to the left around the poles at
//! 0, -1/2 and -1. So delta is a sum over few j of integrals over a circle around -1/2, on which the trapezoid rule
//! converges geometrically.

use crate::accounting::complex::Complex;
use crate::accounting::invert::Point;

/// Most steps that are summed this way; more behave like a normal law, and the contour does them.
pub(super) const MAX_COUNT: f64 = 1e5;
/// Natural digits below delta at which what the rule aliases is left.
const DIGITS: f64 = 32.0;
/// Most points on half of the circle.
const MAX_POINTS: f64 = 1e5;
/// Sums above this are scaled down.
const LARGE: f64 = 1e200;

/// `n` Laplace mechanisms.
#[derive(Clone, Copy, Debug)]
pub(super) struct Steps {
    pub n: f64,
    pub mu: f64,
}

impl Steps {
    /// `log delta(epsilon)` with a bound on delta's relative error.
    pub fn at(&self, epsilon: f64) -> Point {
        let terms = libm::ceil(0.5 * (self.n - epsilon / self.mu));
        if terms <= 0.0 {
            return Point {
                ln_delta: f64::NEG_INFINITY,
                error: 0.0,
            };
        }
        let t = self.saddle(epsilon, terms);
        let radius = t + 0.5;
        let base = self.ln_real(t, epsilon, terms);
        let points = self.points(radius, base, epsilon, terms);
        let (mut sum, mut size) = (0.0, 0.0);
        let mut k = 0.0;
        while k < points {
            let angle = core::f64::consts::PI * (k + 0.5) / points;
            let (sin, cos) = libm::sincos(angle);
            let turn = Complex::new(cos, sin);
            let z = turn.scale(radius).add(Complex::new(-0.5, 0.0));
            let (value, absolute) = self.term(z, turn, radius, epsilon, terms, base);
            sum += value.re;
            size += absolute;
            k += 1.0;
        }
        let (value, size) = (sum / points, size / points);
        // Phases and logarithms grow with n and with the exponents.
        let scale = 16.0 + 4.0 * self.n + 4.0 * (radius + 1.0) * self.n * self.mu;
        let error = size * scale * f64::EPSILON + libm::exp(-DIGITS) * value.abs();
        Point::scaled(value, error, base)
    }

    /// `e^-base z' sum_j C(n, j) e^{-j mu} (z + 1)^(n-j-1) z^(j-1) (2z + 1)^-n e^{z a_j}`, z' the radius with its turn, and the sum
    /// of the terms' moduli.
    fn term(
        &self,
        z: Complex,
        turn: Complex,
        radius: f64,
        epsilon: f64,
        terms: f64,
        base: f64,
    ) -> (Complex, f64) {
        let Self { n, mu } = *self;
        let one = z.add(Complex::ONE);
        // (2z + 1) = 2 radius turn
        let ln_first = one
            .ln()
            .scale(n - 1.0)
            .add(z.ln().scale(-1.0))
            .add(turn.ln().scale(1.0 - n))
            .add(Complex::new(
                libm::log(radius) - n * libm::log(2.0 * radius) - base,
                0.0,
            ))
            .add(z.scale(n * mu - epsilon));
        let step = z
            .div(one)
            .mul(z.scale(-2.0 * mu).exp())
            .scale(libm::exp(-mu));
        let mut factor = Complex::ONE;
        let (mut sum, mut size) = (Complex::ONE, 1.0);
        let (mut j, mut shift) = (0.0, 0.0);
        while j + 1.0 < terms {
            factor = factor.mul(step).scale((n - j) / (j + 1.0));
            sum = sum.add(factor);
            let modulus = factor.abs();
            size += modulus;
            if size > LARGE {
                // On the left of the circle the first term is tiny and those that follow are huge.
                factor = factor.scale(1.0 / LARGE);
                sum = sum.scale(1.0 / LARGE);
                size /= LARGE;
                shift += libm::log(LARGE);
            }
            if modulus < 1e-20 * size && step.abs() * (n - j) < j {
                break;
            }
            j += 1.0;
        }
        let first = ln_first.add(Complex::new(shift, 0.0)).exp();
        (first.mul(sum), first.abs() * size)
    }

    /// The logarithm of the integrand times the radius at real t > 0.
    fn ln_real(&self, t: f64, epsilon: f64, terms: f64) -> f64 {
        let z = Complex::new(t, 0.0);
        let (value, _) = self.term(
            z,
            Complex::ONE,
            t + 0.5,
            epsilon,
            terms,
            self.scale(t, epsilon),
        );
        libm::log(value.re) + self.scale(t, epsilon)
    }

    /// About the size of the first term, so that none overflows.
    fn scale(&self, t: f64, epsilon: f64) -> f64 {
        (self.n - 1.0) * libm::log1p(t) - self.n * libm::log(2.0 * t + 1.0)
            + t * (self.n * self.mu - epsilon)
    }

    /// About the least point of the integrand on the positive line, by ternary search in log t.
    fn saddle(&self, epsilon: f64, terms: f64) -> f64 {
        let (mut low, mut high) = (-14.0, 40.0);
        for _ in 0..40 {
            let (a, b) = (low + (high - low) / 3.0, high - (high - low) / 3.0);
            let [left, right] = [a, b].map(|u| self.ln_real(libm::exp(u), epsilon, terms));
            // What overflows is far right.
            if left < right || right.is_nan() {
                high = b;
            } else {
                low = a;
            }
        }
        libm::exp(0.5 * (low + high))
    }

    /// Points on half of the circle, so that the Laurent coefficients that the rule aliases are small.
    ///
    /// On `|z + 1/2| = R > 1/2` the integrand is at most its bound at `z = R - 1/2` with |z| and |z + 1| replaced by
    /// `R + 1/2` (in the one denominator: by `R - 1/2`), so the coefficients beyond N fall like `(radius / R)^N`.
    fn points(&self, radius: f64, base: f64, epsilon: f64, terms: f64) -> f64 {
        // The integrand at its least point is about delta times the points' bell: a few digits of room.
        let wanted = DIGITS + 8.0;
        let mut fewest = [MAX_POINTS; 2];
        for share in [0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.9] {
            let inner = 0.5 + (radius - 0.5) * (1.0 - share);
            let outer = radius + (radius - 0.5).max(0.5) * share * 2.0;
            for (side, r) in [inner, outer].into_iter().enumerate() {
                let growth = self.ln_bound(r, epsilon, terms) - base + wanted;
                let needed = growth.max(wanted) / libm::log(r / radius).abs();
                fewest[side] = fewest[side].min(needed);
            }
        }
        // The whole circle has twice as many.
        libm::ceil(0.5 * fewest[0].max(fewest[1])).clamp(8.0, MAX_POINTS)
    }

    /// A bound on the logarithm of the integrand times the radius on the circle of radius r.
    fn ln_bound(&self, r: f64, epsilon: f64, terms: f64) -> f64 {
        let Self { n, mu } = *self;
        let (large, small) = (r + 0.5, r - 0.5);
        let first = (n - 1.0) * libm::log(large) - libm::log(small) - n * libm::log(2.0 * r)
            + libm::log(r)
            + small * (n * mu - epsilon);
        let step = libm::exp(-mu - 2.0 * mu * small);
        // From the first to the second term the denominator becomes a factor of at most one.
        let (mut factor, mut sum, mut j, mut shift) = (1.0, 1.0, 0.0, 0.0);
        while j + 1.0 < terms {
            factor *= step * (n - j) / (j + 1.0);
            sum += factor;
            if sum > LARGE {
                factor /= LARGE;
                sum /= LARGE;
                shift += libm::log(LARGE);
            }
            if factor < 1e-20 * sum && step * (n - j) < j {
                break;
            }
            j += 1.0;
        }
        first + shift + libm::log(sum)
    }
}
