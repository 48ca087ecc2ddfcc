//! Gaussian differential privacy: runs that are no worse than one Gaussian of shift mu.

use super::{Accountant, AccountingError, Bounds, Run};

/// The GDP engine: exact for Gaussian events, an upper bound without amplification for sampled ones.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gdp;

impl Accountant for Gdp {
    fn delta(&mut self, _run: Run<'_>, _epsilon: f64) -> Result<Bounds, AccountingError> {
        Err(AccountingError::UndefinedEngine)
    }

    fn epsilon(&mut self, _run: Run<'_>, _delta: f64) -> Result<Bounds, AccountingError> {
        Err(AccountingError::UndefinedEngine)
    }
}

/// A mu for which the run is mu-Gaussian differentially private.
pub fn gdp_mu(_run: Run<'_>) -> Result<Bounds, AccountingError> {
    Err(AccountingError::UndefinedEngine)
}

/// Delta of mu-Gaussian differential privacy at `epsilon`.
pub fn gdp_delta(_mu: f64, _epsilon: f64) -> Result<Bounds, AccountingError> {
    Err(AccountingError::UndefinedEngine)
}

/// Epsilon of mu-Gaussian differential privacy at `delta`.
pub fn gdp_epsilon(_mu: f64, _delta: f64) -> Result<Bounds, AccountingError> {
    Err(AccountingError::UndefinedEngine)
}

/// The mu that many Poisson-sampled steps tend to; a limit and NOT a bound.
pub fn gdp_limit(_rate: f64, _sigma: f64, _steps: u64) -> Result<f64, AccountingError> {
    Err(AccountingError::UndefinedEngine)
}
