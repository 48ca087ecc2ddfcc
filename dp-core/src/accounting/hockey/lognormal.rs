//! The Laplace transform of a log-normal law of mean one.

use crate::accounting::complex::Complex;

/// Most nodes of the quadrature.
const MAX_NODES: usize = 1024;
/// Unit of rounding, with room for the few operations of a term.
const ROUNDING: f64 = 16.0 * f64::EPSILON;
/// Below this modulus the transform is summed without its first two terms.
const SMALL: f64 = 0.3;
const SQRT_2PI: f64 = 2.506_628_274_631_000_5;

/// `phi(s) = E e^{-s X}`, `X = e^{mu y - mu^2/2}`, y standard normal, for `arg s` from 0 to pi/2.
///
/// The trapezoid rule runs along `Im y = -w`, where `z = s X` has an argument between `-mu w` and `pi/2 - mu w`. In the strip of half-width
/// w around it, `Re z >= 0` as `2 mu w < pi/2`, so `|e^{-z}| <= 1`, and the rule errs by at most
/// `2 e^{2 w^2} / (e^{2 pi w / step} - 1)` times a bound on the integrand's modulus.
pub(super) struct Transform {
    len: usize,
    /// `e^{mu x - mu^2/2}`.
    growth: [f64; MAX_NODES],
    weight: [Complex; MAX_NODES],
    /// `e^{-i mu w}`.
    turn: Complex,
    /// Bound on the rule's error, relative to that on the integrand.
    cut: f64,
    /// Bound on what lies beyond its ends.
    ends: f64,
    second_moment: f64,
    mu: f64,
}

impl Transform {
    /// For transforms down to `e^-depth` that stay above the strip's bound times `e^-extra`; none if that takes too many nodes.
    pub fn new(mu: f64, depth: f64, extra: f64) -> Option<Self> {
        let w = half_width(mu);
        let level = 41.0 + 2.0 * w * w;
        let step = 2.0 * core::f64::consts::PI * w / (level + extra);
        // Beyond these ends, under X^2 times the normal law too, e^-(level + depth) is left.
        let reach = libm::sqrt(2.0 * (level + depth));
        let first = -libm::ceil(reach / step);
        let last = libm::ceil((reach + 2.0 * mu) / step);
        let count = last - first + 1.0;
        if count.is_nan() || count > MAX_NODES as f64 {
            return None;
        }
        let mut transform = Self {
            len: count as usize,
            growth: [0.0; MAX_NODES],
            weight: [Complex::ZERO; MAX_NODES],
            turn: Complex::new(0.0, -mu * w).exp(),
            mu,
            cut: 4.0 * libm::exp(-40.0 - extra),
            ends: libm::exp(-40.0 - depth),
            second_moment: libm::exp((mu * mu).min(700.0)),
        };
        let nodes = transform.growth.iter_mut().zip(&mut transform.weight);
        for (i, (growth, weight)) in nodes.take(count as usize).enumerate() {
            let x = (first + i as f64) * step;
            *growth = libm::exp(mu * (x - 0.5 * mu));
            *weight = Complex::new(0.5 * (w * w - x * x), x * w)
                .exp()
                .scale(step / SQRT_2PI);
        }
        Some(transform)
    }

    /// `log phi(s) + s` and `log(1 + e / |phi(s)|)`, e a bound on the error of phi.
    pub fn excess(&self, s: Complex) -> (Complex, f64) {
        let z = s.mul(self.turn);
        let nodes = || self.growth.iter().zip(&self.weight).take(self.len);
        let size = s.abs();
        let (mut sum, mut absolute) = (Complex::ZERO, 0.0);
        if size <= SMALL {
            // phi = 1 - s + R, R = E[e^{-z} - 1 + z].
            for (&growth, &weight) in nodes() {
                let (term, modulus) = remainder(z.scale(growth));
                sum = sum.add(weight.mul(term));
                absolute += weight.abs() * modulus;
            }
            let bound = (2.0 + size).min(0.5 * size * size * self.second_moment);
            let d = sum.add(s.scale(-1.0));
            let error = ROUNDING * (absolute + size * size) + (self.cut + self.ends) * bound;
            let modulus = Complex::new(1.0 + d.re, d.im).abs();
            (sum.add(ln_1p_rest(d)), libm::log1p(error / modulus))
        } else {
            for (&growth, &weight) in nodes() {
                let at = z.scale(growth);
                let term = weight.mul(at.scale(-1.0).exp());
                sum = sum.add(term);
                absolute += term.abs() * (1.0 + at.abs());
            }
            let error = ROUNDING * absolute
                + self.cut * libm::exp(ln_strip_bound(self.mu, s.re))
                + self.ends;
            let modulus = sum.abs().max(f64::MIN_POSITIVE);
            let log = Complex::new(libm::log(modulus), libm::atan2(sum.im, sum.re));
            let gap = libm::log1p(error / modulus) + 4e-16 * (log.abs() + size);
            (log.add(s), gap)
        }
    }

    /// An upper bound on `log phi(u)`, u real.
    pub fn ln_upper(&self, u: f64) -> f64 {
        let (excess, gap) = self.excess(Complex::new(u, 0.0));
        excess.re - u + gap
    }
}

/// Half the strip's width; twice it turns X by less than a right angle.
fn half_width(mu: f64) -> f64 {
    (0.75 / mu).min(2.0)
}

/// Bound on `log E |e^{-z}|` on the strip for a point of real part `re`, without its factor `e^{2 w^2}`.
///
/// There `Re z >= k X`, `k = re cos(2 mu w)`, and `X >= 1 + mu y - mu^2/2`.
pub(super) fn ln_strip_bound(mu: f64, re: f64) -> f64 {
    let k = re * libm::cos(2.0 * mu * half_width(mu));
    let square = mu * mu;
    (0.5 * k * k * square - k * (1.0 - 0.5 * square)).min(0.0)
}

/// `e^{-z} - 1 + z`, and the modulus of what was summed for it.
fn remainder(z: Complex) -> (Complex, f64) {
    if z.abs() > 0.5 {
        let power = z.scale(-1.0).exp();
        let term = Complex::new(power.re - 1.0 + z.re, power.im + z.im);
        // A phase of |z| is off by as many ulp.
        return (term, 2.0 + 2.0 * z.abs());
    }
    // z^2/2 - z^3/6 + ... - z^17/17!, which is exact to the last bit.
    let mut series = Complex::new(1.0 / 17.0, 0.0);
    for n in (2..17).rev() {
        let next = z.mul(series).scale(-1.0);
        series = Complex::new(1.0 + next.re, next.im).scale(1.0 / f64::from(n));
    }
    let term = z.mul(z).mul(series);
    (term, term.abs())
}

/// `log(1 + d) - d`.
fn ln_1p_rest(d: Complex) -> Complex {
    if d.abs() > 0.2 {
        return d.ln_1p().add(d.scale(-1.0));
    }
    // -d^2 (1/2 - d/3 + d^2/4 - ...), 24 terms.
    let mut series = Complex::new(1.0 / 25.0, 0.0);
    for n in (2..25).rev() {
        let next = d.mul(series).scale(-1.0);
        series = Complex::new(1.0 / f64::from(n) + next.re, next.im);
    }
    d.mul(d).mul(series).scale(-1.0)
}
