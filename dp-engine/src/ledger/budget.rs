use dp_core::accounting::{AccountingError, Bounds, Event};
use dp_core::ledger::Charge;

use crate::accountant;
use crate::plan::PrivacyTarget;

/// The most that a ledger lets be spent: an upper bound on epsilon at a delta.
pub type Budget = PrivacyTarget;

/// Answers whether another charge fits the budget, and remembers how many more like it do.
///
/// Epsilon grows with every event added, so when n more events fit, every number below n fits too: one answer
/// serves many steps, and the accountant is asked a few times for each doubling, not once a step.
#[derive(Debug)]
pub(super) struct Cap {
    budget: Budget,
    accountant: Accountant,
    known: Option<(Event, u64)>,
}

/// Gives bounds on epsilon of events at a delta.
type Accountant = fn(&[(Event, u64)], f64) -> Result<Bounds, AccountingError>;

/// Where the search for room starts and where it ends, in doublings of the charge.
const MANY: u32 = 10;
const MOST: u32 = 30;

/// Why a charge was not admitted.
#[derive(Debug)]
pub(super) enum Refusal {
    OverBudget { with_step: f64 },
    Accounting(AccountingError),
}

impl Cap {
    pub(super) fn new(budget: Budget) -> Self {
        Self {
            budget,
            accountant: accountant::of_spent,
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

    /// How many of the charge's event fit, at least `charge.count`: not the most, but a number that was answered for.
    ///
    /// Many are asked about before few. Where many fit, few need no question, and for few at a small rate the
    /// accountant is at its slowest or has no figure at all.
    fn room(&self, spent: &[(Event, u64)], charge: &Charge) -> Result<u64, Refusal> {
        let mut room = None;
        for doublings in MANY..=MOST {
            let Some(count) = charge.count.checked_mul(1 << doublings) else {
                break;
            };
            match self.epsilon_with(spent, charge.event, count) {
                Ok(epsilon) if self.fits(epsilon) => room = Some(count),
                Err(_) if room.is_none() => {}
                _ => break,
            }
        }
        if let Some(room) = room {
            return Ok(room);
        }
        for doublings in (1..MANY).rev() {
            let Some(count) = charge.count.checked_mul(1 << doublings) else {
                continue;
            };
            match self.epsilon_with(spent, charge.event, count) {
                Ok(epsilon) if self.fits(epsilon) => return Ok(count),
                _ => {}
            }
        }
        match self.epsilon_with(spent, charge.event, charge.count) {
            Ok(epsilon) if self.fits(epsilon) => Ok(charge.count),
            Ok(with_step) => Err(Refusal::OverBudget { with_step }),
            Err(error) => Err(Refusal::Accounting(error)),
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
        (self.accountant)(&events, self.budget.delta).map(|bounds| bounds.upper)
    }

    /// False for NaN.
    fn fits(&self, epsilon: f64) -> bool {
        epsilon <= self.budget.epsilon
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const CHARGE: Charge = Charge {
        event: Event::Gaussian { sigma: 1.0 },
        clip: 1.0,
        eta: 0.0,
        count: 1,
        counts: None,
    };

    thread_local! {
        static ASKED: Cell<u64> = const { Cell::new(0) };
    }

    /// Epsilon 1 for each step, and no figure below 64 steps, as near a discrete privacy loss.
    fn fails_on_few(events: &[(Event, u64)], _: f64) -> Result<Bounds, AccountingError> {
        ASKED.set(ASKED.get() + 1);
        let count = events.iter().map(|event| event.1).sum::<u64>();
        if count < 64 {
            return Err(AccountingError::NotConverged {
                epsilon: 0.0,
                relative_error: 1.0,
            });
        }
        let epsilon = count as f64;
        Ok(Bounds {
            lower: epsilon,
            estimate: epsilon,
            upper: epsilon,
        })
    }

    fn cap(epsilon: f64) -> Cap {
        let budget = Budget {
            epsilon,
            delta: 1e-5,
        };
        Cap {
            accountant: fails_on_few,
            ..Cap::new(budget)
        }
    }

    /// Steps that are let through one by one.
    fn admitted(mut cap: Cap) -> (u64, Refusal) {
        for spent in 0..50_000 {
            if let Err(refusal) = cap.admit(&[(CHARGE.event, spent)], &CHARGE) {
                return (spent, refusal);
            }
            cap.count(&CHARGE);
        }
        panic!("the budget never ends")
    }

    #[test]
    fn many_steps_that_fit_bound_few_without_a_figure() {
        for budget in [64, 100, 1000, 1025, 30_000] {
            ASKED.set(0);
            let (steps, refusal) = admitted(cap(budget as f64));
            assert_eq!(steps, budget);
            assert!(
                matches!(refusal, Refusal::OverBudget { with_step } if with_step == (budget + 1) as f64)
            );
            // Far fewer questions than steps.
            assert!(
                ASKED.get() < 40 + 12 * u64::from(budget.ilog2()),
                "{}",
                ASKED.get()
            );
        }
    }

    #[test]
    fn no_figure_and_none_above_is_a_refusal() {
        let (steps, refusal) = admitted(cap(63.0));
        assert_eq!(steps, 0);
        assert!(matches!(refusal, Refusal::Accounting(_)));
    }

    #[test]
    fn a_charge_of_many_is_one_question_of_many() {
        let charge = Charge {
            count: 300,
            ..CHARGE
        };
        assert!(cap(299.0).admit(&[], &charge).is_err());
        assert!(cap(300.0).admit(&[], &charge).is_ok());
        let huge = Charge {
            count: u64::MAX,
            ..CHARGE
        };
        assert!(cap(1e9).admit(&[(CHARGE.event, 5)], &huge).is_err());
    }

    #[test]
    fn nothing_fits_without_a_number() {
        let no_number: Accountant = |_, _| {
            Ok(Bounds {
                lower: 0.0,
                estimate: 0.0,
                upper: f64::NAN,
            })
        };
        let mut cap = Cap {
            accountant: no_number,
            ..cap(8.0)
        };
        assert!(cap.admit(&[], &CHARGE).is_err());
    }
}
