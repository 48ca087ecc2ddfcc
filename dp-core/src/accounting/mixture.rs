//! Likelihood ratio of a binomial mixture of Gaussians against one Gaussian.

use super::MAX_GROUP;

const LEN: usize = MAX_GROUP as usize + 1;

/// The pair `sum_j p_j N(j, sigma^2)` against `N(0, sigma^2)` with `p = Binomial(group, rate)`, in
/// the variable `y = x / sigma`.
#[derive(Clone, Debug)]
pub(super) struct Mixture {
    /// 1 / sigma.
    pub inv: f64,
    /// Number of records.
    pub group: u32,
    rate: f64,
    ln_rate: f64,
    /// `ln_p[j]` and `p[j]`, j = 0..=group.
    ln_p: [f64; LEN],
    p: [f64; LEN],
}

/// Beyond this exponent the ratio itself is not formed any more, only its logarithm.
const LARGE: f64 = 600.0;

impl Mixture {
    /// The pair of a checked event: rate in (0, 1), group in 1..=MAX_GROUP.
    pub fn new(rate: f64, sigma: f64, group: u32) -> Self {
        let mut mixture = Self {
            inv: 1.0 / sigma,
            group,
            rate,
            ln_rate: libm::log(rate),
            ln_p: [f64::NEG_INFINITY; LEN],
            p: [0.0; LEN],
        };
        let ln_out = libm::log1p(-rate);
        let mut ln_choose = 0.0;
        for j in 0..=group {
            if j > 0 {
                ln_choose += libm::log(f64::from(group - j + 1) / f64::from(j));
            }
            let ln_p = ln_choose + f64::from(j) * mixture.ln_rate + f64::from(group - j) * ln_out;
            mixture.ln_p[j as usize] = ln_p;
            mixture.p[j as usize] = libm::exp(ln_p);
        }
        mixture
    }

    /// Probability of `j` records and its logarithm.
    pub fn weight(&self, j: u32) -> (f64, f64) {
        (self.p[j as usize], self.ln_p[j as usize])
    }

    /// Log likelihood ratio of `N(j, sigma^2)` alone at `y`.
    pub fn shift_ratio(&self, j: u32, y: f64) -> f64 {
        let mu = f64::from(j) * self.inv;
        mu * (y - 0.5 * mu)
    }

    /// Infimum of the log likelihood ratio, where no record is sampled.
    pub fn ln_floor(&self) -> f64 {
        f64::from(self.group) * libm::log1p(-self.rate)
    }

    /// Supremum of the derivative of the log likelihood ratio by `y`.
    pub fn slope(&self) -> f64 {
        f64::from(self.group) * self.inv
    }

    /// `(log r(y), r(y) - 1)`; the second is infinite where it leaves the range.
    ///
    /// Both keep their relative precision where r is near 1.
    pub fn log_ratio(&self, y: f64) -> (f64, f64) {
        if self.group == 1 {
            return self.log_ratio_of_one(y);
        }
        let top = self.shift_ratio(self.group, y);
        if top > LARGE {
            return (self.log_sum_exp(y), f64::INFINITY);
        }
        let mut excess = 0.0;
        let mut ratio = self.p[0];
        for j in 1..=self.group {
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
            (libm::log(ratio), excess)
        } else {
            (libm::log1p(excess), excess)
        }
    }

    fn log_ratio_of_one(&self, y: f64) -> (f64, f64) {
        let v = self.shift_ratio(1, y);
        if v > LARGE {
            let rest = (1.0 - self.rate) / self.rate * libm::exp(-v);
            return (v + self.ln_rate + rest, f64::INFINITY);
        }
        let excess = self.rate * libm::expm1(v);
        if excess < -0.5 {
            // 1 - rate is exact here.
            (
                libm::log((1.0 - self.rate) + self.rate * libm::exp(v)),
                excess,
            )
        } else {
            (libm::log1p(excess), excess)
        }
    }

    fn log_sum_exp(&self, y: f64) -> f64 {
        let mut top = self.ln_p[0];
        for j in 1..=self.group {
            top = top.max(self.ln_p[j as usize] + self.shift_ratio(j, y));
        }
        let mut sum = 0.0;
        for j in 0..=self.group {
            sum += libm::exp(self.ln_p[j as usize] + self.shift_ratio(j, y) - top);
        }
        top + libm::log(sum)
    }
}
