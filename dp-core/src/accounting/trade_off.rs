//! The trade-off function (f-DP) of a run, from any engine.

use super::{Accountant, AccountingError, Bounds, Run};

/// The smallest type-II error of a test whose type-I error is at most `false_positive_rate`.
pub fn trade_off(
    _accountant: &mut impl Accountant,
    _run: Run<'_>,
    _false_positive_rate: f64,
) -> Result<Bounds, AccountingError> {
    Err(AccountingError::UndefinedEngine)
}

/// [`trade_off`] at each of `alphas`, into `betas` of the same length.
pub fn trade_off_curve(
    _accountant: &mut impl Accountant,
    _run: Run<'_>,
    _alphas: &[f64],
    _betas: &mut [Bounds],
) -> Result<(), AccountingError> {
    Err(AccountingError::UndefinedEngine)
}
