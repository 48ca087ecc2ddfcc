//! Privacy accounting: what a list of events costs, exactly, with bounds.
//!
//! All of it is for add/remove adjacency: neighbouring data sets differ by one record (or one
//! person's group of records) that is in one and not in the other; both directions are computed and
//! the worse one is given. Results are [`Bounds`]: the truth lies between `lower` and `upper`, and
//! `upper` is the number to promise. The derivation is in `docs/accounting.md`.

mod accountant;
mod adjacency;
mod adversary;
mod binomial;
mod budget;
mod calibrate;
mod complex;
mod error;
mod event;
mod exact;
mod gaussian_mixture;
mod gdp;
mod group;
mod hockey;
mod invert;
mod law;
mod mixture;
mod normal;
mod pld;
mod rdp;
mod reduce;
mod root;
mod trade_off;

pub use accountant::Accountant;
pub use adjacency::{Adjacency, Run};
pub use adversary::{
    belief, membership_advantage, positive_predictive_value, posterior_belief, true_positive_rate,
};
pub use budget::{calibrate_steps, remaining_epsilon, remaining_steps};
pub use calibrate::{Target, calibrate_noise, calibrate_rate, calibrate_sigma};
pub use error::AccountingError;
pub use event::{Event, MAX_GROUP, MAX_PURE_EPSILON, MAX_SIGMA, MIN_GAUSSIAN_SIGMA, MIN_SIGMA};
pub use exact::{Exact, Mark as ContourMark, Node as LawNode, Source, Workspace, delta, epsilon};
pub use gaussian_mixture::{GaussianMixture, MAX_COMPONENTS};
pub use gdp::{Gdp, gdp_delta, gdp_epsilon, gdp_limit, gdp_mu};
pub use group::group_privacy;
pub use pld::{Pld, pld_workspace_len};
pub use rdp::{Rdp, renyi};
pub use trade_off::{trade_off, trade_off_curve};

/// A number with what is proven about it: `lower <= truth <= upper`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// Not above the truth.
    pub lower: f64,
    /// Nearest to the truth.
    pub estimate: f64,
    /// Not below the truth: the number to promise.
    pub upper: f64,
}

impl Bounds {
    pub(crate) const ZERO: Self = Self {
        lower: 0.0,
        estimate: 0.0,
        upper: 0.0,
    };

    /// `upper / lower - 1`; infinite where `lower` is zero and `upper` is not.
    #[must_use]
    pub fn relative_width(&self) -> f64 {
        if self.upper == self.lower {
            0.0
        } else {
            self.upper / self.lower - 1.0
        }
    }

    /// The same where the number is known to be at most `most`.
    pub(crate) fn at_most(self, most: f64) -> Self {
        Self {
            lower: self.lower.min(most),
            estimate: self.estimate.min(most),
            upper: self.upper.min(most),
        }
    }

    /// What two bounds of the same number say together.
    pub(crate) fn and(self, other: Self) -> Self {
        let lower = self.lower.max(other.lower);
        let upper = self.upper.min(other.upper);
        if lower > upper {
            // They contradict each other by rounding at most; the wider claim is kept.
            return Self {
                lower: self.lower.min(other.lower),
                estimate: self.estimate,
                upper: self.upper.max(other.upper),
            };
        }
        let narrower = if self.upper - self.lower <= other.upper - other.lower {
            self
        } else {
            other
        };
        Self {
            lower,
            estimate: narrower.estimate.clamp(lower, upper),
            upper,
        }
    }

    /// Bounds of the larger of two numbers. A NaN stays: `f64::max` would drop it, and so promise the other number.
    pub(crate) fn max(self, other: Self) -> Self {
        let larger = |a: f64, b: f64| if a >= b || a.is_nan() { a } else { b };
        Self {
            lower: larger(self.lower, other.lower),
            estimate: larger(self.estimate, other.estimate),
            upper: larger(self.upper, other.upper),
        }
    }

    /// Refuses bounds that prove nothing, such as a NaN.
    pub(crate) fn checked(self) -> Result<Self, AccountingError> {
        let proven = 0.0 <= self.lower && self.lower <= self.upper && self.upper.is_finite();
        if !proven || self.estimate.is_nan() {
            return Err(AccountingError::OutOfRange { value: self.upper });
        }
        let estimate = self.estimate.clamp(self.lower, self.upper);
        Ok(Self { estimate, ..self })
    }
}

#[cfg(test)]
mod tests {
    use super::Bounds;

    fn all(value: f64) -> Bounds {
        Bounds {
            lower: value,
            estimate: value,
            upper: value,
        }
    }

    #[test]
    fn a_direction_without_a_number_is_not_dropped() {
        for (a, b) in [(f64::NAN, 0.5), (0.5, f64::NAN)] {
            let worse = all(a).max(all(b));
            assert!(worse.lower.is_nan() && worse.estimate.is_nan() && worse.upper.is_nan());
        }
        assert_eq!(all(0.25).max(all(0.5)), all(0.5));
        assert_eq!(all(0.5).max(all(0.25)), all(0.5));
    }

    #[test]
    fn what_proves_nothing_is_refused() {
        let good = all(0.5);
        for lower in [f64::NAN, 0.6, -0.1] {
            assert!(Bounds { lower, ..good }.checked().is_err());
        }
        for upper in [f64::NAN, 0.4, f64::INFINITY] {
            assert!(Bounds { upper, ..good }.checked().is_err());
        }
        let estimate = f64::NAN;
        assert!(Bounds { estimate, ..good }.checked().is_err());
        // An estimate beside its bounds is no reason.
        let estimate = 0.7;
        assert_eq!(Bounds { estimate, ..good }.checked(), Ok(good));
    }
}
