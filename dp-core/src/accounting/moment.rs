//! `K(z) = sum_i n_i log E[e^{z L_i}]`, the cumulants of the whole run, on and off the real line.

use super::complex::{Complex, expi_m1};
use super::event::Event;
use super::grid::{Exponent, for_each_node, step};
use super::law::{Direction, Law};
use super::mixture::Mixture;
use super::{AccountingError, Adjacency};

/// Nodes that one pass of the inner quadrature serves.
pub(super) const BLOCK: usize = 32;
/// Below this `log E r^w` the moment is summed as its excess over one.
const NEAR_ONE: f64 = 0.7;
/// Rounding of one inner sum, in units of its absolute sum: pairwise errors of exp, log and the
/// rotation over a block.
const SUM_ROUNDING: f64 = 64.0 * f64::EPSILON;

/// The events of a run in one direction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run<'a> {
    pub events: &'a [(Event, u64)],
    pub direction: Direction,
    /// Sum of n / sigma^2 of the Gaussian events.
    pub mu_sq: f64,
}

/// K, K' and K'' at a real point.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cumulants {
    pub k0: f64,
    pub k1: f64,
    pub k2: f64,
}

impl Run<'_> {
    /// `w` of `E_Q[r^w] = E[e^{t L}]`, and `dw/dt`.
    fn exponent(&self, t: f64) -> (f64, f64) {
        match self.direction {
            Direction::Remove => (1.0 + t, 1.0),
            Direction::Add => (-t, -1.0),
        }
    }

    /// A number that the privacy loss never exceeds; infinite where there is none.
    pub fn largest_loss(&self) -> f64 {
        if self.direction == Direction::Remove || self.mu_sq > 0.0 {
            return f64::INFINITY;
        }
        let sum: f64 = self
            .mixtures()
            .map(|(pair, count)| -count * pair.ln_floor())
            .sum();
        sum * (1.0 + 1e-12)
    }

    /// Each sampled event with its count.
    pub fn mixtures(&self) -> impl Iterator<Item = (Mixture, f64)> + '_ {
        self.events.iter().filter_map(|&(event, count)| {
            match event.law(Adjacency::AddRemove) {
                Ok(Law::Mixture(pair)) if count > 0 => Some((pair, count as f64)),
                // Gaussian events are in mu_sq; bad ones were refused before.
                _ => None,
            }
        })
    }

    /// Cumulants at real `t > 0`.
    pub fn real(&self, t: f64) -> Result<Cumulants, AccountingError> {
        let mut total = Cumulants {
            k0: 0.5 * (t * t + t) * self.mu_sq,
            k1: (t + 0.5) * self.mu_sq,
            k2: self.mu_sq,
        };
        let (w, sign) = self.exponent(t);
        for (pair, count) in self.mixtures() {
            let one = real_moment(&pair, w, digits(count))?;
            total.k0 += count * one.k0;
            total.k1 += count * sign * one.k1;
            total.k2 += count * one.k2;
        }
        if total.k0.is_finite() && total.k1.is_finite() && total.k2.is_finite() {
            Ok(total)
        } else {
            Err(AccountingError::OutOfRange { value: t })
        }
    }

    /// K at `t + i h (k + 1/2)`, k = first..first + BLOCK, with an error bound for each: K is off by
    /// at most that much.
    pub fn block(
        &self,
        t: f64,
        h: f64,
        first: usize,
    ) -> Result<([Complex; BLOCK], [f64; BLOCK]), AccountingError> {
        let mut values = [Complex::ZERO; BLOCK];
        let mut errors = [0.0; BLOCK];
        for (k, value) in values.iter_mut().enumerate() {
            let z = Complex::new(t, h * ((first + k) as f64 + 0.5));
            *value = z.mul(z).add(z).scale(0.5 * self.mu_sq);
        }
        let (w, sign) = self.exponent(t);
        for (pair, count) in self.mixtures() {
            let at = Line {
                w,
                h: sign * h,
                first,
            };
            at.add(&pair, count, &mut values, &mut errors)?;
        }
        Ok((values, errors))
    }
}

/// Digits (natural) that one inner sum must keep so that `count` of them together lose nothing.
fn digits(count: f64) -> f64 {
    38.0 + libm::log(count)
}

/// log E r^w and its first two derivatives by w, for real `w` outside (0, 1).
fn real_moment(pair: &Mixture, w: f64, digits: f64) -> Result<Cumulants, AccountingError> {
    let step = step(pair.slope(), digits, 0.0, (-w).max(0.0));
    // E r^w >= 1 there; the level follows the sum as it grows.
    let mut exponents = [Exponent { w, level: 0.0 }];
    let (mut top, mut s0, mut s1, mut s2) = (f64::NEG_INFINITY, 0.0, 0.0, 0.0);
    for_each_node(
        pair,
        step,
        digits,
        &mut exponents,
        |_, ln_weight, ratio, _, e| {
            let ln = ln_weight + w * ratio;
            if ln > top {
                let shrink = libm::exp(top - ln);
                (s0, s1, s2) = (s0 * shrink, s1 * shrink, s2 * shrink);
                top = ln;
            }
            let term = libm::exp(ln - top);
            s0 += term;
            s1 += term * ratio;
            s2 += term * ratio * ratio;
            if top > e[0].level {
                e[0].level = top;
            }
        },
    )?;
    let (mean, square) = (s1 / s0, s2 / s0);
    Ok(Cumulants {
        k0: top + libm::log(s0),
        k1: mean,
        k2: (square - mean * mean).max(0.0),
    })
}

/// Equally spaced exponents `w + i h (k + 1/2)` on a vertical line.
#[derive(Clone, Copy, Debug)]
struct Line {
    w: f64,
    h: f64,
    first: usize,
}

impl Line {
    /// Adds `count * log E r^w` of one pair to a block's values, and its error to the errors.
    fn add(
        &self,
        pair: &Mixture,
        count: f64,
        values: &mut [Complex; BLOCK],
        errors: &mut [f64; BLOCK],
    ) -> Result<(), AccountingError> {
        let digits = digits(count);
        let frequency = self.h.abs() * (self.first + BLOCK) as f64;
        let step = step(pair.slope(), digits, frequency, (-self.w).max(0.0));
        let level = real_moment(pair, self.w, digits)?.k0;
        let (sums, size) = if level < NEAR_ONE {
            self.excess(pair, step, digits, frequency)?
        } else {
            self.scaled(pair, step, digits, frequency, level)?
        };
        // Size bounds the absolute sum, so rounding and quadrature error are relative to it.
        let sum_error = size * (SUM_ROUNDING + 4.0 * libm::exp(-digits));
        for ((value, error), sum) in values.iter_mut().zip(errors.iter_mut()).zip(sums) {
            let (ln, modulus) = if level < NEAR_ONE {
                (sum.ln_1p(), libm::hypot(1.0 + sum.re, sum.im))
            } else {
                (sum.ln().add(Complex::new(level, 0.0)), sum.abs())
            };
            *value = value.add(ln.scale(count));
            // |m'^n - m^n| <= (|m| + e)^n - |m|^n for any m' within e of m.
            *error += count * (libm::log1p(sum_error / modulus) + 4.0 * f64::EPSILON * ln.abs());
        }
        Ok(())
    }

    /// `E[r^w - 1 - w (r - 1)] = E r^w - 1`: what cancels in the mean is taken out of every term.
    fn excess(
        &self,
        pair: &Mixture,
        step: f64,
        digits: f64,
        frequency: f64,
    ) -> Result<([Complex; BLOCK], f64), AccountingError> {
        let ln_size = libm::log1p(self.w.abs() + frequency);
        let mut exponents = [
            Exponent {
                w: self.w,
                level: 0.0,
            },
            Exponent { w: 0.0, level: 0.0 },
            Exponent {
                w: 1.0,
                level: -ln_size,
            },
        ];
        let half = self.first as f64 + 0.5;
        let mut sums = [Complex::ZERO; BLOCK];
        let mut size = 0.0;
        for_each_node(
            pair,
            step,
            digits,
            &mut exponents,
            |_, ln_weight, ratio, excess, _| {
                let weight = libm::exp(ln_weight);
                // weight (r^w - 1) and weight (r - 1); far out a factor alone leaves the range.
                let gain = times_expm1(weight, ln_weight, self.w * ratio);
                let linear = if excess.is_finite() {
                    weight * excess
                } else {
                    libm::exp(ln_weight + ratio)
                };
                let turn = expi_m1(self.h * ratio);
                let mut angle = expi_m1(self.h * half * ratio);
                let whole = weight + gain;
                size += gain.abs()
                    + whole * frequency * ratio.abs()
                    + (self.w.abs() + frequency) * linear.abs();
                let real = gain - self.w * linear;
                for (k, sum) in sums.iter_mut().enumerate() {
                    // e^{u} - 1 = growth + (1 + growth)(e^{i angle} - 1)
                    sum.re += real + whole * angle.re;
                    sum.im += whole * angle.im - self.h * (half + k as f64) * linear;
                    angle = angle.add(turn).add(angle.mul(turn));
                }
            },
        )?;
        Ok((sums, size))
    }

    /// `e^-level E r^w`.
    fn scaled(
        &self,
        pair: &Mixture,
        step: f64,
        digits: f64,
        frequency: f64,
        level: f64,
    ) -> Result<([Complex; BLOCK], f64), AccountingError> {
        let mut exponents = [Exponent { w: self.w, level }];
        let half = self.first as f64 + 0.5;
        let mut sums = [Complex::ZERO; BLOCK];
        let mut size = 0.0;
        for_each_node(
            pair,
            step,
            digits,
            &mut exponents,
            |_, ln_weight, ratio, _, _| {
                let ln = ln_weight + self.w * ratio - level;
                let weight = libm::exp(ln);
                // The exponent's own rounding grows with its terms.
                let argument = (self.w.abs() + frequency) * ratio.abs() + ln_weight.abs();
                size += weight * (1.0 + 0.03 * argument);
                let turn = Complex::new(1.0, 0.0).add(expi_m1(self.h * ratio));
                let mut term = Complex::new(1.0, 0.0)
                    .add(expi_m1(self.h * half * ratio))
                    .scale(weight);
                for sum in sums.iter_mut() {
                    *sum = sum.add(term);
                    term = term.mul(turn);
                }
            },
        )?;
        Ok((sums, size))
    }
}

/// `weight (e^x - 1)` with `weight = e^ln_weight`.
fn times_expm1(weight: f64, ln_weight: f64, x: f64) -> f64 {
    if x < 1.0 {
        weight * libm::expm1(x)
    } else {
        libm::exp(ln_weight + x) - weight
    }
}
