//! The calls into the accountant, all of them.

use dp_core::accounting::{
    Accountant, AccountingError, Bounds, Event, Exact, Gdp, Pld, Rdp, Run, Workspace,
    pld_workspace_len,
};
pub use dp_engine::accountant::{delta, epsilon};

use super::events::History;

fn exact_epsilon(run: Run<'_>, delta: f64) -> Result<Bounds, AccountingError> {
    Exact::new(&mut Box::<Workspace>::default()).epsilon(run, delta)
}

/// Buckets of the grid for a comparison: 3 MB of workspace, a tenth of a second.
const FINE: usize = 1 << 16;

fn pld_epsilon(run: Run<'_>, delta: f64) -> Result<Bounds, AccountingError> {
    let mut workspace = vec![0.0; pld_workspace_len(FINE)];
    Pld::new(&mut workspace)?.epsilon(run, delta)
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
