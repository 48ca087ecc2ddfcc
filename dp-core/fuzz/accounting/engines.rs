//! The engines that are asked. A new one gets a line in [`all`].

use dp_core::accounting::{
    Accountant, AccountingError, Bounds, Event, Exact, Gdp, Pld, Rdp, Run, Workspace,
    pld_workspace_len,
};

/// Every engine, by the name that a finding gives it.
pub(super) fn all() -> Vec<(&'static str, Box<dyn Accountant>)> {
    vec![
        ("exact", Box::new(OwnExact::<8192, 4096>(Box::default()))),
        (
            "exact in little memory",
            Box::new(OwnExact::<256, 128>(Box::default())),
        ),
        // Few buckets: wide bounds are true bounds too, and are there sooner.
        (
            "pld",
            Box::new(OwnPld(vec![0.0; pld_workspace_len(1 << 9)])),
        ),
        ("rdp", Box::new(Rdp)),
        ("gdp", Box::new(Gdp)),
    ]
}

/// The exact engine with its memory.
struct OwnExact<const NODES: usize, const POINTS: usize>(Box<Workspace<NODES, POINTS>>);

impl<const NODES: usize, const POINTS: usize> Accountant for OwnExact<NODES, POINTS> {
    fn delta(&mut self, run: Run<'_>, epsilon: f64) -> Result<Bounds, AccountingError> {
        Exact::new(&mut *self.0).delta(run, epsilon)
    }

    fn epsilon(&mut self, run: Run<'_>, delta: f64) -> Result<Bounds, AccountingError> {
        Exact::new(&mut *self.0).epsilon(run, delta)
    }
}

/// The loss-distribution engine with its memory, but for balls-in-bins: a point of that curve takes too long for a grid of them.
struct OwnPld(Vec<f64>);

fn slow(run: &Run<'_>) -> bool {
    let bins = |event| matches!(event, Event::BallsInBinsGaussian { bins, .. } if bins > 1);
    run.events.iter().any(|(event, _)| bins(*event))
}

impl Accountant for OwnPld {
    fn delta(&mut self, run: Run<'_>, epsilon: f64) -> Result<Bounds, AccountingError> {
        if slow(&run) {
            return Err(AccountingError::UndefinedEngine);
        }
        Pld::new(&mut self.0)?.delta(run, epsilon)
    }

    fn epsilon(&mut self, run: Run<'_>, delta: f64) -> Result<Bounds, AccountingError> {
        if slow(&run) {
            return Err(AccountingError::UndefinedEngine);
        }
        Pld::new(&mut self.0)?.epsilon(run, delta)
    }
}

/// For functions that want to know an engine's size.
pub(super) struct Lent<'a>(pub &'a mut dyn Accountant);

impl Accountant for Lent<'_> {
    fn delta(&mut self, run: Run<'_>, epsilon: f64) -> Result<Bounds, AccountingError> {
        self.0.delta(run, epsilon)
    }

    fn epsilon(&mut self, run: Run<'_>, delta: f64) -> Result<Bounds, AccountingError> {
        self.0.epsilon(run, delta)
    }
}
