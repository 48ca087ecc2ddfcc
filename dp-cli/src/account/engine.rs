//! The calls into the accountant, all of them.

use dp_core::accounting::{self, AccountingError, Adjacency, Bounds, Event, Run};

/// Bounds on epsilon at `delta`.
pub fn epsilon(run: Run<'_>, delta: f64) -> Result<Bounds, AccountingError> {
    accounting::epsilon(known(run)?, delta)
}

/// Bounds on delta at `epsilon`.
pub fn delta(run: Run<'_>, epsilon: f64) -> Result<Bounds, AccountingError> {
    accounting::delta(known(run)?, epsilon)
}

fn known(run: Run<'_>) -> Result<&[(Event, u64)], AccountingError> {
    let known = |event: &Event| {
        matches!(
            event,
            Event::Gaussian { .. }
                | Event::PoissonGaussian { .. }
                | Event::GroupPoissonGaussian { .. }
        )
    };
    if run.adjacency == Adjacency::ReplaceOne || !run.events.iter().all(|(event, _)| known(event)) {
        return Err(AccountingError::UndefinedEngine);
    }
    Ok(run.events)
}

/// An engine by name, for a comparison.
pub struct Engine {
    pub name: &'static str,
    /// What its numbers are worth.
    pub worth: &'static str,
    pub epsilon: fn(Run<'_>, f64) -> Result<Bounds, AccountingError>,
}

/// All engines, the one that answers every query first.
pub const ENGINES: [Engine; 1] = [Engine {
    name: "exact",
    worth: "bounds on the truth",
    epsilon,
}];
