//! The hockey-stick divergence of one event: its delta as a function of epsilon.

use super::AccountingError;
use super::invert::Point;
use super::law::{Direction, Law};
use super::normal::{ln_delta, ln_delta_error};
use super::single::single;

/// `log E[(1 - e^{epsilon - L})_+]` of one event, `epsilon >= 0`, with a bound on delta's relative error.
///
/// Negative epsilons follow from `H(-e) = 1 - e^{-e} + e^{-e} H'(e)`, H' the other direction's.
pub(super) fn hockey(
    law: &Law,
    direction: Direction,
    epsilon: f64,
) -> Result<Point, AccountingError> {
    match law {
        Law::Shift { mu } => Ok(Point {
            ln_delta: ln_delta(epsilon, *mu),
            error: ln_delta_error(epsilon, *mu),
        }),
        Law::Mixture(pair) => Ok(single(pair, direction, epsilon)),
        _ => Err(AccountingError::UndefinedEngine),
    }
}
