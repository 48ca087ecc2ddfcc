//! What a run's privacy means to an adversary: advantage, detection rate, belief.

use super::{Accountant, AccountingError, Bounds, Run};

/// Largest difference of true and false positive rate of any membership test.
pub fn membership_advantage(
    _accountant: &mut impl Accountant,
    _run: Run<'_>,
) -> Result<Bounds, AccountingError> {
    Err(AccountingError::UndefinedEngine)
}

/// Largest true positive rate of a membership test at a false positive rate, in [0, 1].
pub fn true_positive_rate(
    _accountant: &mut impl Accountant,
    _run: Run<'_>,
    _false_positive_rate: f64,
) -> Result<Bounds, AccountingError> {
    Err(AccountingError::UndefinedEngine)
}

/// Largest probability that a positive answer is right, given the `prior` that the record is in.
pub fn positive_predictive_value(
    _accountant: &mut impl Accountant,
    _run: Run<'_>,
    _prior: f64,
    _false_positive_rate: f64,
) -> Result<Bounds, AccountingError> {
    Err(AccountingError::UndefinedEngine)
}

/// What an adversary of prior belief `prior` in the truth believes after seeing the output, except with
/// probability `delta`.
pub fn posterior_belief(
    _accountant: &mut impl Accountant,
    _run: Run<'_>,
    _prior: f64,
    _delta: f64,
) -> Result<Bounds, AccountingError> {
    Err(AccountingError::UndefinedEngine)
}

/// Largest belief that pure `epsilon`-differential privacy allows: `1 / (1 + (1 - prior) / prior e^-epsilon)`.
pub fn belief(_prior: f64, _epsilon: f64) -> Result<f64, AccountingError> {
    Err(AccountingError::UndefinedEngine)
}
