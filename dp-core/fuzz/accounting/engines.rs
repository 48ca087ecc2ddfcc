//! The engines that are asked. A new one gets a line in [`all`].

use dp_core::accounting::{Accountant, AccountingError, Adjacency, Bounds, Run, delta, epsilon};

/// Every engine, by the name that a finding gives it.
pub(super) fn all() -> Vec<(&'static str, Box<dyn Accountant>)> {
    vec![("exact", Box::new(Functions))]
}

/// The free functions, which know add/remove only.
struct Functions;

impl Accountant for Functions {
    fn delta(&mut self, run: Run<'_>, at: f64) -> Result<Bounds, AccountingError> {
        only_add_remove(run)?;
        delta(run.events, at)
    }

    fn epsilon(&mut self, run: Run<'_>, at: f64) -> Result<Bounds, AccountingError> {
        only_add_remove(run)?;
        epsilon(run.events, at)
    }
}

fn only_add_remove(run: Run<'_>) -> Result<(), AccountingError> {
    match run.adjacency {
        Adjacency::AddRemove => Ok(()),
        adjacency => Err(AccountingError::UndefinedAdjacency { adjacency }),
    }
}
