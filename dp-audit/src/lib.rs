//! Lower bounds on what a mechanism or a model leaks, from what an attacker saw: the mathematics of an audit, for scores and
//! releases of any framework.
//!
//! An accountant proves an upper bound for the mechanism as it should be. An audit attacks the mechanism as it is built, and what its
//! attack achieves is a lower bound: above the claimed epsilon it proves, with the stated confidence, that the claim is false. Below,
//! it proves nothing: a better attack may exist.
//!
//! - [`gdp_lower_bound`], [`epsilon_lower_bound`]: many releases with a canary and without it, scored; the threshold is chosen on one half
//!   and judged on the other.
//! - [`OneRun`]: one training run with many canaries, each in or out by a fair [coin](coins).
//! - [`Roc`]: membership inference, its area with an interval, and its true positive rate at a small false positive rate.
//! - [`Exposure`]: how far a planted secret stands out among others that were not planted.
//! - [`clopper_pearson`]: the exact interval of a rate that the bounds are made of.
//!
//! Everything that is counted here is of records or canaries themselves, without noise: the result of an audit is not covered by the
//! guarantee that it audits.
//!
//! ```
//! use dp_audit::gdp_lower_bound;
//!
//! // Your mechanism, released often: a score of each release, higher where it looks as if the canary was in.
//! let noise = |i: u32| f64::from(i.wrapping_mul(2_654_435_769) >> 8) / f64::from(1 << 24);
//! let without: Vec<f64> = (0..4000).map(noise).collect();
//! let with: Vec<f64> = (4000..8000).map(|i| noise(i) + 0.5).collect();
//! let found = gdp_lower_bound(&without, &with, 0.95)?;
//! assert!(found.mu > 0.5);
//! # Ok::<(), dp_audit::AuditError>(())
//! ```

mod binomial;
mod coins;
mod error;
mod exposure;
mod normal;
mod one_run;
mod roc;
mod two_sample;

pub use binomial::{Interval, clopper_pearson, rate_at_least, rate_at_most};
pub use coins::coins;
pub use error::AuditError;
pub use exposure::{Exposure, mean_exposure_of_ignorance};
pub use one_run::OneRun;
pub use roc::Roc;
pub use two_sample::{
    EpsilonBound, ErrorRates, GdpBound, epsilon_lower_bound, gaussian_true_positive_rate,
    gdp_lower_bound, mu_of_errors,
};
