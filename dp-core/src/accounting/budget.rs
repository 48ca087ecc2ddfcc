//! How many steps a target allows, and what is left of it.
//!
//! The argument is in `docs/proofs/accounting-calibrate.md`.

use super::reduce::MAX_COUNT;
use super::{Accountant, AccountingError, Adjacency, Event, Run, Target};

/// The largest number of steps, 0 to `most` (and at most 2^53), at which the events that `events` gives for it meet the target.
///
/// # Privacy
/// The accountant's `epsilon(..).upper` was at most the target's for the events of exactly the number returned, under
/// `adjacency`; one step more was found to cost more, or is beyond `most`. (From 10^12 steps on, where one step is less than
/// what an engine can tell, the number may be short by a share of 1e-12.)
///
/// # Errors
/// A target outside its domain; [`AccountingError::BudgetExceeded`] if no step at all costs more; and what the accountant
/// answers.
///
/// ```
/// use dp_core::accounting::{Adjacency, Event, Gdp, Target, calibrate_steps};
/// let target = Target { epsilon: 1.0, delta: 1e-6 };
/// let events = |steps| [(Event::Gaussian { sigma: 422.5 }, steps)];
/// assert_eq!(calibrate_steps(&mut Gdp, Adjacency::AddRemove, target, 1 << 40, events)?, 10_001);
/// # Ok::<(), dp_core::accounting::AccountingError>(())
/// ```
pub fn calibrate_steps<A: Accountant, const N: usize>(
    accountant: &mut A,
    adjacency: Adjacency,
    target: Target,
    most: u64,
    mut events: impl FnMut(u64) -> [(Event, u64); N],
) -> Result<u64, AccountingError> {
    target.check()?;
    let cost = |steps: u64| {
        let events = events(steps);
        let run = Run {
            adjacency,
            events: &events,
        };
        Ok(accountant.epsilon(run, target.delta)?.upper)
    };
    largest(cost, target.epsilon, most)
}

/// How many more of `event` fit into the target after `spent`, at most 2^53.
///
/// `scratch` is overwritten; it needs one place more than `spent` has events.
///
/// # Privacy
/// `spent` and so many more of `event`, together, were found to cost at most the target. The events of the whole run must be fixed
/// beforehand or chosen from what was released, as anywhere in accounting; the number is no promise about other events.
///
/// # Errors
/// [`AccountingError::WrongLength`] if `scratch` is too short; [`AccountingError::BudgetExceeded`] if `spent` alone costs more
/// than the target; and what the accountant answers.
///
/// ```
/// use dp_core::accounting::{Event, Gdp, Run, Target, remaining_steps};
/// let step = Event::Gaussian { sigma: 422.5 };
/// let target = Target { epsilon: 1.0, delta: 1e-6 };
/// let mut scratch = [(step, 0); 2];
/// let left = remaining_steps(&mut Gdp, Run::add_remove(&[(step, 9_000)]), target, step, &mut scratch)?;
/// assert_eq!(left, 1_001);
/// # Ok::<(), dp_core::accounting::AccountingError>(())
/// ```
pub fn remaining_steps<A: Accountant>(
    accountant: &mut A,
    spent: Run<'_>,
    target: Target,
    event: Event,
    scratch: &mut [(Event, u64)],
) -> Result<u64, AccountingError> {
    target.check()?;
    let known = spent.events.len();
    let given = scratch.len();
    let Some((list, last)) = scratch.get_mut(..=known).and_then(|all| {
        let (last, list) = all.split_last_mut()?;
        list.copy_from_slice(spent.events);
        *last = (event, 0);
        Some((all, known))
    }) else {
        return Err(AccountingError::WrongLength {
            expected: known + 1,
            given,
        });
    };
    let cost = |steps: u64| {
        if let Some(slot) = list.get_mut(last) {
            slot.1 = steps;
        }
        let run = Run {
            adjacency: spent.adjacency,
            events: list,
        };
        Ok(accountant.epsilon(run, target.delta)?.upper)
    };
    largest(cost, target.epsilon, MAX_COUNT)
}

/// The epsilon that is left of the target after `spent`, rounded down.
///
/// # Privacy
/// Any further mechanism that is pure epsilon-DP with at most this epsilon may follow, and the whole meets the target (basic
/// composition). Composed exactly, more may fit: ask [`remaining_steps`].
///
/// # Errors
/// [`AccountingError::BudgetExceeded`] if `spent` costs more than the target; and what the accountant answers.
pub fn remaining_epsilon<A: Accountant>(
    accountant: &mut A,
    spent: Run<'_>,
    target: Target,
) -> Result<f64, AccountingError> {
    target.check()?;
    let reached = accountant.epsilon(spent, target.delta)?.upper;
    if reached > target.epsilon {
        return Err(AccountingError::BudgetExceeded {
            epsilon: target.epsilon,
            reached,
        });
    }
    Ok((target.epsilon - reached) * (1.0 - 2.0 * f64::EPSILON))
}

/// Most evaluations; the bracket is halved at least at every third.
const MAX_CALLS: u32 = 200;

/// The largest count up to `most` that costs at most the target, the cost rising with the count.
fn largest(
    mut cost: impl FnMut(u64) -> Result<f64, AccountingError>,
    target: f64,
    most: u64,
) -> Result<u64, AccountingError> {
    let most = most.min(MAX_COUNT);
    let mut known = |steps: u64| -> Result<(u64, f64), AccountingError> {
        match cost(steps) {
            Ok(cost) => Ok((steps, cost)),
            Err(
                AccountingError::NotConverged { .. }
                | AccountingError::OutOfRange { .. }
                | AccountingError::InfiniteLoss { .. },
            ) if steps > 0 => Ok((steps, f64::INFINITY)),
            Err(error) => Err(error),
        }
    };
    let base = known(0)?;
    if base.1 > target {
        return Err(AccountingError::BudgetExceeded {
            epsilon: target,
            reached: base.1,
        });
    }
    let room = target - base.1;
    // Upwards from one until something costs too much, by the power of the count that the cost was last seen to rise like.
    let (mut fits, mut at, mut power) = (base, 1.min(most), 1.0);
    let over = loop {
        let tried = known(at)?;
        if tried.1 > target {
            break tried;
        }
        let (spent, before) = (tried.1 - base.1, fits.1 - base.1);
        if before > 0.0 && spent > before {
            let rise = libm::log(spent / before) / libm::log(at as f64 / fits.0 as f64);
            power = rise.clamp(0.5, 2.0);
        }
        fits = tried;
        if at == most {
            return Ok(most);
        }
        // Far below what one can see of the cost nothing is known but that it's far.
        let ahead = if spent > 1e-6 * room {
            libm::pow(room / spent, 1.0 / power)
        } else {
            1e3
        };
        let next = at as f64 * (1.01 * ahead).clamp(1.05, 1e7) + 1.0;
        at = if next < most as f64 {
            next as u64
        } else {
            most
        };
    };
    let mut over = over;
    for call in 0..MAX_CALLS {
        let gap = over.0 - fits.0;
        if gap as f64 <= (1e-12 * fits.0 as f64).max(1.0) {
            break;
        }
        let at = between(fits, over, base.1, target, call % 3 == 2);
        let tried = known(at)?;
        if tried.1 > target {
            over = tried;
        } else {
            fits = tried;
        }
    }
    Ok(fits.0)
}

/// A count strictly between the two: where the line through the logarithms meets the target, or the middle.
fn between(fits: (u64, f64), over: (u64, f64), base: f64, target: f64, halve: bool) -> u64 {
    let gap = over.0 - fits.0;
    let spent = fits.1 - base;
    let share = libm::log((target - base) / spent) / libm::log((over.1 - base) / spent);
    let inside = share > 0.0 && share < 1.0;
    if halve || !inside {
        return fits.0 + gap / 2;
    }
    let ln_ratio = libm::log(over.0 as f64 / fits.0 as f64);
    let offset = fits.0 as f64 * libm::expm1(share * ln_ratio);
    // The largest that fits is rounded down; then one more, to see it fail.
    fits.0 + (offset as u64).clamp(1, gap - 1)
}
