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
    if events.iter().all(|&(_, count)| count == 0) {
        return Ok(Bounds {
            lower: 0.0,
            estimate: 0.0,
            upper: 0.0,
        });
    }
    let exact = accounting::epsilon(events, delta);
    if !matches!(exact, Err(AccountingError::NotConverged { .. })) {
        return exact;
    }
    let mut more = events.to_vec();
    for _ in 0..20 {
        for (_, count) in &mut more {
            // An overflowing count is refused by the accountant.
            *count = count.saturating_mul(2);
        }
        match accounting::epsilon(&more, delta) {
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
    exact
}
