//! What is answered where the contour has a wide bound or none.

use super::cumulants::{Parts, Run};
use super::search::FAIR_ERROR;
use crate::accounting::law::Law;
use crate::accounting::{AccountingError, Bounds};

/// Size of the Gaussian event, relative to epsilon, that first smooths a nearly discrete loss.
const SMOOTHING: f64 = 0.03;
/// Sizes that are tried, each three times the last.
const SMOOTHINGS: u32 = 4;

/// Largest lower bound that one event alone gives: a run leaks at least what its parts do.
pub(super) fn largest_alone(
    parts: &Parts<'_>,
    query: impl Fn(&Law) -> Result<Bounds, AccountingError>,
) -> Result<f64, AccountingError> {
    let mut largest = 0.0f64;
    for (law, _) in parts.others() {
        largest = largest.max(query(&law)?.lower);
    }
    Ok(largest)
}

/// Runs a query; where its integral does not converge, answers it for the run with a little
/// Gaussian event added, which can only leak more, and says so by a wide bound.
///
/// The lower end is then what one event alone leaks, `apart`.
pub(super) fn smoothed(
    run: &mut Run<'_, '_>,
    apart: impl Fn() -> Result<f64, AccountingError>,
    mut query: impl FnMut(&mut Run<'_, '_>) -> Result<Bounds, AccountingError>,
) -> Result<Bounds, AccountingError> {
    let answer = query(run);
    let (epsilon, apart) = match answer {
        Err(AccountingError::NotConverged { epsilon, .. }) => (epsilon, apart()?),
        Err(AccountingError::WorkspaceTooSmall { .. }) => {
            let apart = apart()?;
            (apart, apart)
        }
        _ => return answer,
    };
    let given = run.parts;
    let mut extra = SMOOTHING * epsilon.max(1e-6);
    for _ in 0..SMOOTHINGS {
        run.parts.mu_sq = given.mu_sq + extra * extra;
        let answer = query(run);
        run.parts = given;
        if let Ok(bounds) = answer {
            return Ok(Bounds {
                lower: apart.min(bounds.upper),
                estimate: bounds.upper,
                ..bounds
            });
        }
        extra *= 3.0;
    }
    answer
}

/// Where the contour gives a wide bound or none: no more than the moments alone prove, no less than one event alone leaks.
pub(super) fn completed(
    run: &mut Run<'_, '_>,
    answer: Result<Bounds, AccountingError>,
    apart: impl Fn() -> Result<f64, AccountingError>,
    proven: impl Fn(&mut Run<'_, '_>) -> f64,
) -> Result<Bounds, AccountingError> {
    match answer {
        Ok(bounds) if bounds.relative_width() <= FAIR_ERROR => Ok(bounds),
        Ok(bounds) => Ok(bounds.at_most(proven(run))),
        Err(
            AccountingError::NotConverged { .. }
            | AccountingError::WorkspaceTooSmall { .. }
            | AccountingError::OutOfRange { .. },
        ) => {
            let upper = proven(run);
            if !upper.is_finite() {
                return answer;
            }
            let alone = Bounds {
                lower: apart()?,
                estimate: upper,
                upper,
            };
            Ok(alone.at_most(upper))
        }
        refused => refused,
    }
}
