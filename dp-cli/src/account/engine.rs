//! The calls into the accountant, all of them.

use dp_core::accounting::{
    self, Accountant, AccountingError, Adjacency, Bounds, Event, Gdp, Rdp, Run,
};

/// Bounds on epsilon at `delta`, by the engine that knows the run.
pub fn epsilon(run: Run<'_>, delta: f64) -> Result<Bounds, AccountingError> {
    // What is known by its Rényi divergences only has no other engine.
    if renyi_only(run) {
        return Rdp.epsilon(run, delta);
    }
    accounting::epsilon(known(run)?, delta)
}

/// Bounds on delta at `epsilon`, by the engine that knows the run.
pub fn delta(run: Run<'_>, epsilon: f64) -> Result<Bounds, AccountingError> {
    if renyi_only(run) {
        return Rdp.delta(run, epsilon);
    }
    accounting::delta(known(run)?, epsilon)
}

fn renyi_only(run: Run<'_>) -> bool {
    let renyi = |event: &Event| matches!(event, Event::ZeroConcentratedDp { .. });
    run.events.iter().any(|(event, _)| renyi(event))
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

/// All engines, the one that answers nearly every query first.
pub const ENGINES: [Engine; 3] = [
    Engine {
        name: "exact",
        worth: "contour integral, bounds on both sides",
        epsilon: |run, delta| accounting::epsilon(known(run)?, delta),
    },
    Engine {
        name: "rdp",
        worth: "Rényi divergences, an upper bound",
        epsilon: |run, delta| Rdp.epsilon(run, delta),
    },
    Engine {
        name: "gdp",
        worth: "one Gaussian that is no better, an upper bound without amplification by sampling",
        epsilon: |run, delta| Gdp.epsilon(run, delta),
    },
];
