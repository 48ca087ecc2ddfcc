use dp_core::accounting::{self, AccountingError, Event};
use dp_core::ledger::Charge;

use crate::plan::PrivacyTarget;

/// The most that a ledger lets be spent: an upper bound on epsilon at a delta.
pub type Budget = PrivacyTarget;

/// Answers whether another charge fits the budget, and remembers how many more like it do.
///
/// Epsilon grows with every event added, so when n more events fit, every number below n fits too: one answer
/// serves many steps, and the accountant is asked about log(steps) times, not once a step.
#[derive(Debug)]
pub(super) struct Cap {
    budget: Budget,
    known: Option<(Event, u64)>,
}

/// Why a charge was not admitted.
pub(super) enum Refusal {
    OverBudget { with_step: f64 },
    Accounting(AccountingError),
}

impl Cap {
    pub(super) fn new(budget: Budget) -> Self {
        Self {
            budget,
            known: None,
        }
    }

    pub(super) fn budget(&self) -> Budget {
        self.budget
    }

    /// Whether `charge` fits on top of `spent`. Nothing is counted until [`Cap::count`].
    pub(super) fn admit(&mut self, spent: &[(Event, u64)], charge: &Charge) -> Result<(), Refusal> {
        if self
            .known
            .is_some_and(|(event, room)| event == charge.event && room >= charge.count)
        {
            return Ok(());
        }
        let room = self.room(spent, charge)?;
        self.known = Some((charge.event, room));
        Ok(())
    }

    /// How many of the charge's event fit, at least `charge.count`, found by doubling.
    fn room(&self, spent: &[(Event, u64)], charge: &Charge) -> Result<u64, Refusal> {
        let mut room = None;
        let mut unanswered = None;
        let mut count = Some(charge.count);
        while let Some(n) = count {
            match self.epsilon_with(spent, charge.event, n) {
                Ok(epsilon) if self.fits(epsilon) => room = Some(n),
                Ok(with_step) if room.is_none() && unanswered.is_none() => {
                    return Err(Refusal::OverBudget { with_step });
                }
                Ok(_) => break,
                Err(_) if room.is_some() => break,
                // The accountant can fail on few steps where it answers for more, and more is what bounds few.
                Err(error) => unanswered = unanswered.or(Some(error)),
            }
            count = n.checked_mul(2);
        }
        match (room, unanswered) {
            (Some(room), _) => Ok(room),
            (None, Some(error)) => Err(Refusal::Accounting(error)),
            (None, None) => Err(Refusal::OverBudget {
                with_step: f64::INFINITY,
            }),
        }
    }

    /// Notes that `charge`, admitted before, was appended.
    pub(super) fn count(&mut self, charge: &Charge) {
        self.known = match self.known {
            Some((event, room)) if event == charge.event && room >= charge.count => {
                Some((event, room - charge.count))
            }
            // Something else was spent meanwhile: what is known about the rest no longer holds.
            _ => None,
        };
    }

    fn epsilon_with(
        &self,
        spent: &[(Event, u64)],
        event: Event,
        count: u64,
    ) -> Result<f64, AccountingError> {
        let mut events = spent.to_vec();
        match events.iter_mut().find(|(known, _)| *known == event) {
            // An overflowing count is above every budget.
            Some((_, n)) => *n = n.saturating_add(count),
            None => events.push((event, count)),
        }
        accounting::epsilon(&events, self.budget.delta).map(|bounds| bounds.upper)
    }

    /// False for NaN.
    fn fits(&self, epsilon: f64) -> bool {
        epsilon <= self.budget.epsilon
    }
}
