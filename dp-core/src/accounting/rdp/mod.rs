//! Rényi accounting: an upper bound that composes by adding.

mod moment;

use super::{Accountant, AccountingError, Bounds, Run};

/// The Rényi engine: every order, and the best known conversion. Its lower bounds are 0.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rdp;

impl Accountant for Rdp {
    fn delta(&mut self, _run: Run<'_>, _epsilon: f64) -> Result<Bounds, AccountingError> {
        Err(AccountingError::UndefinedEngine)
    }

    fn epsilon(&mut self, _run: Run<'_>, _delta: f64) -> Result<Bounds, AccountingError> {
        Err(AccountingError::UndefinedEngine)
    }
}

/// Rényi divergence of order `alpha` (above 1) of a run, the worse direction, in nats.
pub fn renyi(_run: Run<'_>, _alpha: f64) -> Result<Bounds, AccountingError> {
    Err(AccountingError::UndefinedEngine)
}
