use crate::accounting::Event;

use super::charge::Charge;
use super::error::{Fault, LedgerError};
use super::reader::{Reader, Summary};
use super::record::{Entry, RECORD_LEN, Record};

/// Reservations folded by event, in a slice that the caller lends: what the accountant takes.
#[derive(Debug)]
pub struct SpentEvents<'a> {
    slots: &'a mut [(Event, u64)],
    used: usize,
}

impl<'a> SpentEvents<'a> {
    /// Starts with nothing spent; `slots` bounds how many different events fit.
    pub fn new(slots: &'a mut [(Event, u64)]) -> Self {
        Self { slots, used: 0 }
    }

    /// Goes on with the first `used` slots as they are.
    pub fn resume(slots: &'a mut [(Event, u64)], used: usize) -> Self {
        let used = used.min(slots.len());
        Self { slots, used }
    }

    /// Adds a charge. Events are one when their parameters are equal bit by bit.
    ///
    /// # Errors
    /// [`Fault::TooManyEvents`] or [`Fault::Overflow`]; nothing was added then.
    pub fn add(&mut self, charge: &Charge) -> Result<(), Fault> {
        let known = &mut self.slots[..self.used];
        if let Some((_, count)) = known
            .iter_mut()
            .find(|(event, _)| same(event, &charge.event))
        {
            *count = count.checked_add(charge.count).ok_or(Fault::Overflow)?;
            return Ok(());
        }
        let capacity = self.slots.len();
        let slot = self
            .slots
            .get_mut(self.used)
            .ok_or(Fault::TooManyEvents { capacity })?;
        *slot = (charge.event, charge.count);
        self.used += 1;
        Ok(())
    }

    /// The events and how often each was spent, in order of first appearance.
    #[must_use]
    pub fn events(&self) -> &[(Event, u64)] {
        &self.slots[..self.used]
    }

    /// As [`SpentEvents::events`], for as long as the slice was lent.
    #[must_use]
    pub fn into_events(self) -> &'a [(Event, u64)] {
        &self.slots[..self.used]
    }
}

/// What a whole ledger spent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spent<'a> {
    /// Header, state after the last record, torn tail.
    pub summary: Summary,
    /// The events and how often each was spent.
    pub events: &'a [(Event, u64)],
}

/// Walks a whole ledger and folds all its reservations, confirmed or not.
///
/// # Errors
/// The first fault of the ledger, or [`Fault::TooManyEvents`] at the record that found no room.
///
/// # Privacy
/// The result is an upper bound on what was released: every release has its reservation before it. A torn tail
/// is left out; it was not durable, so it paid for nothing.
pub fn spent<'a>(ledger: &[u8], slots: &'a mut [(Event, u64)]) -> Result<Spent<'a>, LedgerError> {
    let mut reader = Reader::new(ledger)?;
    let mut events = SpentEvents::new(slots);
    for record in reader.by_ref() {
        let Record { sequence, entry } = record?;
        if let Entry::Reserve { charge, .. } = entry {
            let offset = (sequence + 1) * RECORD_LEN as u64;
            events
                .add(&charge)
                .map_err(|fault| LedgerError { offset, fault })?;
        }
    }
    Ok(Spent {
        summary: reader.summary()?,
        events: events.into_events(),
    })
}

fn same(a: &Event, b: &Event) -> bool {
    let bits = |event: &Event| match *event {
        Event::Gaussian { sigma } => (0, 0, sigma.to_bits(), 0),
        Event::PoissonGaussian { rate, sigma } => (1, rate.to_bits(), sigma.to_bits(), 0),
        Event::GroupPoissonGaussian { rate, sigma, group } => {
            (2, rate.to_bits(), sigma.to_bits(), group)
        }
        // No charge holds one.
        _ => (3, 0, 0, 0),
    };
    bits(a) == bits(b)
}
