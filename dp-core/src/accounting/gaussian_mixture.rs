//! A contribution of random size.

use super::AccountingError;

/// Most components of a [`GaussianMixture`].
pub const MAX_COMPONENTS: usize = 8;

/// `sum_j p_j N(s_j, sigma^2)` against `N(0, sigma^2)`: a contribution of norm `s_j` with probability `p_j`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GaussianMixture {
    sigma: f64,
    len: usize,
    shifts: [f64; MAX_COMPONENTS],
    probabilities: [f64; MAX_COMPONENTS],
}

impl GaussianMixture {
    /// A mixture of the given shifts (in clipping norms, at least 0) with their probabilities, which sum to 1.
    ///
    /// # Errors
    /// [`AccountingError::InvalidMixture`] unless there are 1 to [`MAX_COMPONENTS`] of each, as many shifts as
    /// probabilities, shifts in `[0, 1e6]`, probabilities in `(0, 1]` with a sum within 1e-12 of one.
    pub fn new(shifts: &[f64], probabilities: &[f64], sigma: f64) -> Result<Self, AccountingError> {
        let sum: f64 = probabilities.iter().sum();
        let len = shifts.len();
        let good = (1..=MAX_COMPONENTS).contains(&len)
            && probabilities.len() == len
            && shifts.iter().all(|s| (0.0..=1e6).contains(s))
            && probabilities.iter().all(|p| *p > 0.0 && *p <= 1.0)
            && (sum - 1.0).abs() <= 1e-12;
        if !good {
            return Err(AccountingError::InvalidMixture {
                shifts: len,
                probabilities: probabilities.len(),
                sum,
            });
        }
        let mut mixture = Self {
            sigma,
            len,
            shifts: [0.0; MAX_COMPONENTS],
            probabilities: [0.0; MAX_COMPONENTS],
        };
        mixture.shifts[..len].copy_from_slice(shifts);
        mixture.probabilities[..len].copy_from_slice(probabilities);
        Ok(mixture)
    }

    /// Shifts and probabilities, in the order given.
    #[must_use]
    pub fn components(&self) -> (&[f64], &[f64]) {
        (&self.shifts[..self.len], &self.probabilities[..self.len])
    }

    /// Noise multiplier.
    #[must_use]
    pub const fn sigma(&self) -> f64 {
        self.sigma
    }
}
