//! Likelihood ratio of a mixture of Gaussians against one Gaussian.

use super::event::MAX_GROUP;
use super::gaussian_mixture::MAX_COMPONENTS;

const LEN: usize = MAX_GROUP as usize + 1;
const _: () = assert!(MAX_COMPONENTS < LEN);

/// The pair `sum_j p_j N(mu_j, 1)` against `N(0, 1)`, all `mu_j >= 0` and rising.
#[derive(Clone, Debug)]
pub(super) struct Mixture {
    len: usize,
    mu: [f64; LEN],
    p: [f64; LEN],
    ln_p: [f64; LEN],
}

/// Beyond this exponent the ratio itself is not formed any more, only its logarithm.
const LARGE: f64 = 600.0;

impl Mixture {
    /// `Binomial(group, rate)` records of shift `1 / sigma` each; rate in (0, 1), group in 1..=MAX_GROUP.
    pub fn binomial(rate: f64, sigma: f64, group: u32) -> Self {
        let mut mixture = Self {
            len: group as usize + 1,
            mu: [0.0; LEN],
            p: [0.0; LEN],
            ln_p: [f64::NEG_INFINITY; LEN],
        };
        let (ln_rate, ln_out) = (libm::log(rate), libm::log1p(-rate));
        let mut ln_choose = 0.0;
        for j in 0..=group {
            if j > 0 {
                ln_choose += libm::log(f64::from(group - j + 1) / f64::from(j));
            }
            let ln_p = ln_choose + f64::from(j) * ln_rate + f64::from(group - j) * ln_out;
            let at = j as usize;
            mixture.mu[at] = f64::from(j) / sigma;
            mixture.ln_p[at] = ln_p;
            mixture.p[at] = libm::exp(ln_p);
        }
        if group == 1 {
            (mixture.p[0], mixture.p[1]) = (1.0 - rate, rate);
        }
        mixture
    }

    /// One record of shift `mu` that is in with probability `rate`, in (0, 1).
    pub fn record(rate: f64, mu: f64) -> Self {
        Self::binomial(rate, 1.0 / mu, 1)
    }

    /// Given shifts with probabilities that sum to one, at most [`MAX_COMPONENTS`] of each.
    ///
    /// Equal shifts are put together; a component without shift is always there, with probability 0 if need be.
    pub fn new(shifts: &[f64], probabilities: &[f64], sigma: f64) -> Self {
        let mut mixture = Self {
            len: 1,
            mu: [0.0; LEN],
            p: [0.0; LEN],
            ln_p: [f64::NEG_INFINITY; LEN],
        };
        let mut last = 0.0;
        let total: f64 = probabilities.iter().sum();
        loop {
            // The sum over equal shifts, then the next larger shift.
            let mut next = f64::INFINITY;
            let mut p = 0.0;
            for (&shift, &probability) in shifts.iter().zip(probabilities) {
                if shift == last {
                    p += probability / total;
                } else if shift > last {
                    next = next.min(shift);
                }
            }
            let at = mixture.len - 1;
            mixture.mu[at] = last / sigma;
            mixture.p[at] = p;
            mixture.ln_p[at] = libm::log(p);
            if next.is_infinite() {
                return mixture;
            }
            last = next;
            mixture.len += 1;
        }
    }

    /// Number of components, the one without shift included.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Probability of component `j` and its logarithm.
    pub fn weight(&self, j: usize) -> (f64, f64) {
        (self.p[j], self.ln_p[j])
    }

    /// Shift of component `j`.
    pub fn shift(&self, j: usize) -> f64 {
        self.mu[j]
    }

    /// The rate, if this is one record that is in or out.
    pub fn one_record(&self) -> Option<f64> {
        (self.len == 2 && self.p[0] > 0.0).then_some(self.p[1])
    }

    /// Log likelihood ratio of component `j` alone at `y`.
    pub fn shift_ratio(&self, j: usize, y: f64) -> f64 {
        let mu = self.mu[j];
        mu * (y - 0.5 * mu)
    }

    /// Infimum of the log likelihood ratio, where nothing is sampled.
    pub fn ln_floor(&self) -> f64 {
        if self.len == 2 {
            libm::log1p(-self.p[1])
        } else {
            self.ln_p[0]
        }
    }

    /// Supremum of the derivative of the log likelihood ratio by `y`.
    pub fn slope(&self) -> f64 {
        self.mu[self.len - 1]
    }

    /// Derivative of the log likelihood ratio at `y`: the mean of the shifts, tilted.
    pub fn mean_shift(&self, y: f64) -> f64 {
        let (ln_ratio, _) = self.log_ratio(y);
        (1..self.len)
            .map(|j| self.mu[j] * libm::exp(self.ln_p[j] + self.shift_ratio(j, y) - ln_ratio))
            .sum::<f64>()
            .min(self.slope())
    }

    /// `(log r(y), r(y) - 1)`; the second is infinite where it leaves the range.
    ///
    /// Both keep their relative precision where r is near 1.
    pub fn log_ratio(&self, y: f64) -> (f64, f64) {
        if let Some(rate) = self.one_record() {
            return log_ratio_of_one(rate, self.ln_p[1], self.shift_ratio(1, y));
        }
        let top = self.shift_ratio(self.len - 1, y);
        if top > LARGE {
            return (self.log_sum_exp(y), f64::INFINITY);
        }
        let mut excess = 0.0;
        let mut ratio = self.p[0];
        for j in 1..self.len {
            let v = self.shift_ratio(j, y);
            let (p, ln_p) = self.weight(j);
            let shifted = libm::exp(ln_p + v);
            ratio += shifted;
            excess += if v < 1.0 {
                p * libm::expm1(v)
            } else {
                shifted - p
            };
        }
        if excess < -0.5 {
            let ratio = if ratio > 0.0 {
                libm::log(ratio)
            } else {
                self.log_sum_exp(y)
            };
            (ratio, excess)
        } else {
            (libm::log1p(excess), excess)
        }
    }

    /// Logarithm of the modulus and angle of the likelihood ratio at `y + i eta`.
    pub fn turned_ratio(&self, y: f64, eta: f64) -> (f64, f64) {
        if let Some(rate) = self.one_record() {
            return turned_ratio_of_one(rate, self.shift_ratio(1, y), eta * self.mu[1]);
        }
        let exponent = |j: usize| self.ln_p[j] + self.shift_ratio(j, y);
        let top = (0..self.len)
            .map(exponent)
            .fold(f64::NEG_INFINITY, f64::max);
        let (mut re, mut im) = (0.0, 0.0);
        for j in 0..self.len {
            let size = libm::exp(exponent(j) - top);
            let (sin, cos) = libm::sincos(eta * self.mu[j]);
            re += size * cos;
            im += size * sin;
        }
        (top + libm::log(libm::hypot(re, im)), libm::atan2(im, re))
    }

    fn log_sum_exp(&self, y: f64) -> f64 {
        let mut top = f64::NEG_INFINITY;
        for j in 0..self.len {
            top = top.max(self.ln_p[j] + self.shift_ratio(j, y));
        }
        let mut sum = 0.0;
        for j in 0..self.len {
            sum += libm::exp(self.ln_p[j] + self.shift_ratio(j, y) - top);
        }
        top + libm::log(sum)
    }
}

/// Logarithm of the modulus and angle of `1 - rate + rate e^{v + i turn}`.
pub(super) fn turned_ratio_of_one(rate: f64, v: f64, turn: f64) -> (f64, f64) {
    let (sin, cos) = libm::sincos(turn);
    // In units of the larger of 1 and e^v.
    let unit = v.max(0.0);
    let (out, hit) = ((1.0 - rate) * libm::exp(-unit), rate * libm::exp(v - unit));
    let (re, im) = (out + hit * cos, hit * sin);
    (unit + libm::log(libm::hypot(re, im)), libm::atan2(im, re))
}

/// `(log r, r - 1)` for `r = 1 - rate + rate e^v`.
pub(super) fn log_ratio_of_one(rate: f64, ln_rate: f64, v: f64) -> (f64, f64) {
    if rate == 1.0 {
        return (
            v,
            if v > LARGE {
                f64::INFINITY
            } else {
                libm::expm1(v)
            },
        );
    }
    if v > LARGE {
        let rest = (1.0 - rate) / rate * libm::exp(-v);
        return (v + ln_rate + rest, f64::INFINITY);
    }
    let excess = rate * libm::expm1(v);
    if excess < -0.5 {
        // 1 - rate is exact here.
        (libm::log((1.0 - rate) + rate * libm::exp(v)), excess)
    } else {
        (libm::log1p(excess), excess)
    }
}
