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
mod gdp;
mod group;
mod hockey;
mod invert;
mod law;
mod mixture;
mod normal;
mod pld;
mod rdp;
mod root;
mod single;
mod trade_off;

pub use accountant::Accountant;
pub use adjacency::{Adjacency, Run};
pub use adversary::{
    belief, membership_advantage, positive_predictive_value, posterior_belief, true_positive_rate,
};
pub use budget::{calibrate_steps, remaining_epsilon, remaining_steps};
pub use calibrate::{Target, calibrate_noise, calibrate_rate, calibrate_sigma};
pub use error::AccountingError;
pub use event::{
    Event, GaussianMixture, MAX_COMPONENTS, MAX_GROUP, MAX_PURE_EPSILON, MAX_SIGMA,
    MIN_GAUSSIAN_SIGMA, MIN_SIGMA,
};
pub use exact::{Exact, Workspace, delta, epsilon};
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

    /// Bounds of the larger of two numbers.
    pub(crate) fn max(self, other: Self) -> Self {
        Self {
            lower: self.lower.max(other.lower),
            estimate: self.estimate.max(other.estimate),
            upper: self.upper.max(other.upper),
        }
    }
}
