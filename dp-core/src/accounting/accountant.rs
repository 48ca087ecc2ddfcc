//! What every engine can be asked.

use super::{AccountingError, Bounds, Run};

/// An engine that answers what a run costs.
///
/// # Privacy
/// `upper` of every answer may be promised: the composed run is (epsilon, delta)-differentially private under
/// the run's [`Adjacency`](super::Adjacency) with either number replaced by its `upper`. `lower` is not above
/// the smallest number that could be promised for the events' dominating pairs; an engine that knows
/// nothing from below says 0.
pub trait Accountant {
    /// The smallest delta for which the run is (`epsilon`, delta)-differentially private.
    ///
    /// # Errors
    /// A value outside its domain, an event that the engine or the adjacency doesn't know, or no answer worth giving.
    fn delta(&mut self, run: Run<'_>, epsilon: f64) -> Result<Bounds, AccountingError>;

    /// The smallest epsilon for which the run is (epsilon, `delta`)-differentially private.
    ///
    /// # Errors
    /// As [`Accountant::delta`].
    fn epsilon(&mut self, run: Run<'_>, delta: f64) -> Result<Bounds, AccountingError>;
}
