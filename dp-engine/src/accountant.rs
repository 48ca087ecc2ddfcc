//! Epsilon of what was spent, also where the exact accountant has no figure.

use dp_core::accounting::{self, AccountingError, Bounds, Event};

/// Bounds on epsilon of `events` at `delta`.
///
/// The contour integral can fail to converge for few steps at a small rate, where the law of the privacy loss is
/// nearly discrete. Epsilon grows with every event, so a multiple of the same events bounds it then, from above;
/// `lower` is 0 and `estimate` the upper bound.
///
/// # Errors
/// What the accountant says of the events themselves, where no multiple up to 2^20 has a figure either.
pub(crate) fn epsilon(events: &[(Event, u64)], delta: f64) -> Result<Bounds, AccountingError> {
    bounded(events, |events| accounting::epsilon(events, delta))
}

fn bounded(
    events: &[(Event, u64)],
    exact: impl Fn(&[(Event, u64)]) -> Result<Bounds, AccountingError>,
) -> Result<Bounds, AccountingError> {
    if events.iter().all(|&(_, count)| count == 0) {
        return Ok(Bounds {
            lower: 0.0,
            estimate: 0.0,
            upper: 0.0,
        });
    }
    let answer = exact(events);
    if !matches!(answer, Err(AccountingError::NotConverged { .. })) {
        return answer;
    }
    let mut more = events.to_vec();
    for _ in 0..20 {
        for (_, count) in &mut more {
            // An overflowing count is refused by the accountant.
            *count = count.saturating_mul(2);
        }
        match exact(&more) {
            Ok(Bounds { upper, .. }) => {
                return Ok(Bounds {
                    lower: 0.0,
                    estimate: upper,
                    upper,
                });
            }
            Err(AccountingError::NotConverged { .. }) => {}
            Err(_) => break,
        }
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: Event = Event::Gaussian { sigma: 1.0 };

    fn fails_below(least: u64) -> impl Fn(&[(Event, u64)]) -> Result<Bounds, AccountingError> {
        move |events| {
            let count = events.iter().map(|event| event.1).sum::<u64>();
            if count < least {
                return Err(AccountingError::NotConverged {
                    epsilon: 0.0,
                    relative_error: 1.0,
                });
            }
            let epsilon = count as f64;
            Ok(Bounds {
                lower: epsilon - 0.5,
                estimate: epsilon,
                upper: epsilon + 0.5,
            })
        }
    }

    #[test]
    fn a_figure_is_passed_on() {
        let bounds = bounded(&[(EVENT, 9)], fails_below(9)).unwrap();
        assert_eq!(
            (bounds.lower, bounds.estimate, bounds.upper),
            (8.5, 9.0, 9.5)
        );
        let nothing = bounded(&[(EVENT, 0)], fails_below(9)).unwrap();
        assert_eq!((nothing.lower, nothing.upper), (0.0, 0.0));
    }

    #[test]
    fn more_of_the_same_bounds_from_above() {
        let bounds = bounded(&[(EVENT, 2), (EVENT, 1)], fails_below(9)).unwrap();
        assert_eq!(
            (bounds.lower, bounds.estimate, bounds.upper),
            (0.0, 12.5, 12.5)
        );
    }

    #[test]
    fn no_figure_at_all_is_an_error() {
        let none = bounded(&[(EVENT, 1)], fails_below(u64::MAX)).unwrap_err();
        assert!(matches!(none, AccountingError::NotConverged { .. }));
        let bad = Err(AccountingError::InvalidDelta { delta: 2.0 });
        assert_eq!(bounded(&[(EVENT, 1)], |_| bad), bad);
    }
}
