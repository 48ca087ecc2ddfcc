//! The accountant of a program that has a heap: the first engine that has bounds for a run answers.
//!
//! The exact engine in half a megabyte of memory; where its bounds are wide or missing, the loss distribution on a grid as well
//! ([`Exact::with_pld`]); and Rényi divergences where nothing else is known of an event. The plan, the ledger's cap and
//! the report all ask here, so that none of them refuses what another allowed.

use std::cell::RefCell;

use dp_core::accounting::{
    Accountant, AccountingError, Bounds, ContourMark, Event, Exact, LawNode, Pld, Rdp, Run,
    pld_workspace_len,
};

/// Memory of the exact engine.
pub(crate) const NODES: usize = 8192;
pub(crate) const MARKS: usize = 4096;
/// Buckets of the grid: a twentieth of a second, where a search may ask a hundred times.
const BUCKETS: usize = 1 << 14;

/// What the engines work in, on the heap: a thread's stack may be small.
struct Memory {
    nodes: Vec<LawNode>,
    marks: Vec<ContourMark>,
    grid: Vec<f64>,
}

impl Memory {
    fn new() -> Self {
        Self {
            nodes: vec![LawNode::EMPTY; NODES],
            marks: vec![ContourMark::EMPTY; MARKS],
            grid: vec![0.0; pld_workspace_len(BUCKETS)],
        }
    }
}

thread_local! {
    /// Made once for each thread.
    static MEMORY: RefCell<Memory> = RefCell::new(Memory::new());
}

/// Bounds on the smallest epsilon for which `run` is (epsilon, `delta`)-differentially private, under the run's relation.
///
/// # Privacy
/// Promise `upper`: it is never below the truth.
///
/// # Errors
/// What the accountant says of the events or of `delta`; where no engine has a figure, why the first one has none.
pub fn epsilon(run: Run<'_>, delta: f64) -> Result<Bounds, AccountingError> {
    ask(run, |engine| engine.epsilon(run, delta))
}

/// Bounds on the smallest delta for which `run` is (`epsilon`, delta)-differentially private, under the run's relation.
///
/// # Privacy
/// Promise `upper`: it is never below the truth.
///
/// # Errors
/// As [`epsilon`](fn@epsilon).
pub fn delta(run: Run<'_>, epsilon: f64) -> Result<Bounds, AccountingError> {
    ask(run, |engine| engine.delta(run, epsilon))
}

fn ask(
    run: Run<'_>,
    query: impl FnOnce(&mut dyn Accountant) -> Result<Bounds, AccountingError>,
) -> Result<Bounds, AccountingError> {
    let renyi_only = |event: &Event| matches!(event, Event::ZeroConcentratedDp { .. });
    if run.events.iter().any(|(event, _)| renyi_only(event)) {
        return query(&mut Rdp);
    }
    MEMORY.with_borrow_mut(|memory| {
        let grid = Pld::new(&mut memory.grid)?;
        query(&mut Exact::in_slices(&mut memory.nodes, &mut memory.marks).with_pld(grid))
    })
}

/// The same as [`epsilon`](fn@epsilon) for a ledger's events: one unit, a record or a user, more or less.
pub(crate) fn of_spent(spent: &[(Event, u64)], delta: f64) -> Result<Bounds, AccountingError> {
    epsilon(Run::add_remove(spent), delta)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEW: [(Event, u64); 1] = [(
        Event::PoissonGaussian {
            rate: 1e-9,
            sigma: 1.0,
        },
        3,
    )];

    #[test]
    fn the_exact_engines_answer_is_passed_on() {
        let step = Event::PoissonGaussian {
            rate: 0.01,
            sigma: 1.0,
        };
        let events = [(step, 10_000)];
        let bounds = of_spent(&events, 1e-6).unwrap();
        assert!(bounds.lower <= 6.907_384_495_057 && 6.907_384_495_056 <= bounds.upper);
        let back = delta(Run::add_remove(&events), bounds.upper).unwrap();
        assert!(back.lower <= 1e-6);
    }

    #[test]
    fn a_handful_of_steps_has_a_figure_too() {
        let mut memory = Memory::new();
        let alone = Exact::in_slices(&mut memory.nodes, &mut memory.marks)
            .epsilon(Run::add_remove(&FEW), 1e-12);
        assert!(alone.is_err() || alone.unwrap().relative_width() > 1e-3);
        let bounds = of_spent(&FEW, 1e-12).unwrap();
        // Each step's total variation is at most its rate, and group privacy of three such steps no more.
        assert!(bounds.upper > 0.0 && bounds.upper < 10.0, "{bounds:?}");
    }

    #[test]
    fn what_only_renyi_divergences_know_is_answered() {
        let events = [(Event::ZeroConcentratedDp { rho: 0.1 }, 2)];
        let bounds = of_spent(&events, 1e-6).unwrap();
        assert!(bounds.upper > 0.2 && bounds.upper < 10.0, "{bounds:?}");
    }

    #[test]
    fn bad_values_are_refused() {
        let bad = AccountingError::InvalidDelta { delta: 2.0 };
        assert_eq!(of_spent(&FEW, 2.0), Err(bad));
        let nothing = of_spent(&[], 1e-6).unwrap();
        assert_eq!((nothing.lower, nothing.upper), (0.0, 0.0));
    }
}
