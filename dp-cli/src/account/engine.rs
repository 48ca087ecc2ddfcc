//! The calls into the accountant, all of them.

use std::cell::RefCell;

use dp_core::accounting::{
    Accountant, AccountingError, Bounds, Event, Exact, Gdp, Pld, Rdp, Run, Workspace,
    pld_workspace_len,
};

use super::events::History;

/// Bounds on epsilon at `delta`, by the first engine that knows the run.
pub fn epsilon(run: Run<'_>, delta: f64) -> Result<Bounds, AccountingError> {
    // What is known by its Rényi divergences only has no other engine.
    if renyi_only(run) {
        return Rdp.epsilon(run, delta);
    }
    second_opinion(exact_epsilon(run, delta), || {
        with_pld(COARSE, |pld| pld.epsilon(run, delta))
    })
}

/// Bounds on delta at `epsilon`, by the first engine that knows the run.
pub fn delta(run: Run<'_>, epsilon: f64) -> Result<Bounds, AccountingError> {
    if renyi_only(run) {
        return Rdp.delta(run, epsilon);
    }
    second_opinion(exact_delta(run, epsilon), || {
        with_pld(COARSE, |pld| pld.delta(run, epsilon))
    })
}

/// Where the exact engine has no answer worth giving, the distribution on a grid may have one.
fn second_opinion(
    first: Result<Bounds, AccountingError>,
    second: impl FnOnce() -> Result<Bounds, AccountingError>,
) -> Result<Bounds, AccountingError> {
    match first {
        Err(
            error @ (AccountingError::NotConverged { .. }
            | AccountingError::WorkspaceTooSmall { .. }
            | AccountingError::UndefinedEngine),
        ) => {
            // If not, the first engine's reason is the one to tell.
            second().map_err(|_| error)
        }
        other => other,
    }
}

thread_local! {
    /// Made once: half a megabyte, on the heap.
    static WORKSPACE: RefCell<Box<Workspace>> = RefCell::new(Box::default());
}

fn exact_epsilon(run: Run<'_>, delta: f64) -> Result<Bounds, AccountingError> {
    WORKSPACE.with_borrow_mut(|memory| Exact::new(memory).epsilon(run, delta))
}

fn exact_delta(run: Run<'_>, epsilon: f64) -> Result<Bounds, AccountingError> {
    WORKSPACE.with_borrow_mut(|memory| Exact::new(memory).delta(run, epsilon))
}

/// Buckets of the grid for a comparison: 3 MB of workspace, a tenth of a second.
const FINE: usize = 1 << 16;
/// Buckets of the grid where a search may ask a hundred times.
const COARSE: usize = 1 << 14;

fn with_pld(
    buckets: usize,
    ask: impl FnOnce(&mut Pld<'_>) -> Result<Bounds, AccountingError>,
) -> Result<Bounds, AccountingError> {
    let mut workspace = vec![0.0; pld_workspace_len(buckets)];
    ask(&mut Pld::new(&mut workspace)?)
}

fn pld_epsilon(run: Run<'_>, delta: f64) -> Result<Bounds, AccountingError> {
    with_pld(FINE, |pld| pld.epsilon(run, delta))
}

/// The accountant for what comes after a history.
pub struct After<'a>(pub &'a History);

impl After<'_> {
    /// Everything up to the end of `run`, under the run's relation.
    fn all(&self, run: Run<'_>) -> Vec<(Event, u64)> {
        [&self.0.events, run.events].concat()
    }
}

impl Accountant for After<'_> {
    fn delta(&mut self, run: Run<'_>, at: f64) -> Result<Bounds, AccountingError> {
        let events = &self.all(run);
        delta(Run { events, ..run }, at)
    }

    fn epsilon(&mut self, run: Run<'_>, at: f64) -> Result<Bounds, AccountingError> {
        let events = &self.all(run);
        epsilon(Run { events, ..run }, at)
    }
}

fn renyi_only(run: Run<'_>) -> bool {
    let renyi = |event: &Event| matches!(event, Event::ZeroConcentratedDp { .. });
    run.events.iter().any(|(event, _)| renyi(event))
}

/// An engine by name, for a comparison.
pub struct Engine {
    pub name: &'static str,
    /// What its numbers are worth.
    pub worth: &'static str,
    pub epsilon: fn(Run<'_>, f64) -> Result<Bounds, AccountingError>,
}

/// All engines, the one that answers nearly every query first.
pub const ENGINES: [Engine; 4] = [
    Engine {
        name: "exact",
        worth: "contour integral, bounds on both sides",
        epsilon: exact_epsilon,
    },
    Engine {
        name: "pld",
        worth: "loss distribution on a grid, bounds on both sides",
        epsilon: pld_epsilon,
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
