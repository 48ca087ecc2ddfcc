use std::path::Path;

use dp_core::accounting::Event;
use dp_core::ledger::{Entry, Head, LedgerError, Reader, Record, Spent, State, Summary};

use super::dataset::add;
use super::error::LedgerFileError;

/// A ledger read without writing to it.
#[derive(Clone, Debug)]
pub struct LedgerContents {
    /// Header, state after the last record, torn tail.
    pub summary: Summary,
    /// All records, in order.
    pub records: Vec<Record>,
    /// What was spent, confirmed or not, by event.
    pub spent: Vec<(Event, u64)>,
}

/// Reads and checks a whole ledger file, without its lock and without changing it.
///
/// While a run is writing, the last record may be seen half-written; it is then reported as a torn tail.
///
/// # Errors
/// [`LedgerFileError::Io`], or [`LedgerFileError::Corrupt`] with the byte.
pub fn inspect(path: &Path) -> Result<LedgerContents, LedgerFileError> {
    let bytes = std::fs::read(path).map_err(|source| LedgerFileError::Io {
        action: "read the ledger",
        path: path.to_path_buf(),
        source,
    })?;
    parse(&bytes).map_err(|source| LedgerFileError::Corrupt {
        path: path.to_path_buf(),
        source,
    })
}

pub(super) fn parse(bytes: &[u8]) -> Result<LedgerContents, LedgerError> {
    let mut reader = Reader::new(bytes)?;
    let records = reader.by_ref().collect::<Result<Vec<_>, _>>()?;
    // No more kinds of event than reservations, so the slice cannot be too short.
    let mut slots = vec![(Event::Gaussian { sigma: 1.0 }, 0); reservations(&records)];
    let Spent { summary, events } = dp_core::ledger::spent(bytes, &mut slots)?;
    let spent = events.to_vec();
    Ok(LedgerContents {
        summary,
        records,
        spent,
    })
}

impl LedgerContents {
    /// Whether the ledger contains what it contained when `head` was taken: the same first records.
    #[must_use]
    pub fn contains(&self, head: &Head) -> bool {
        let mut state = State::new(&self.summary.header);
        for record in &self.records {
            if state.head().records >= head.records {
                break;
            }
            // These records were read from a valid ledger, so they append again.
            match state.append(record.entry) {
                Ok((_, after)) => state = after,
                Err(_) => return false,
            }
        }
        state.head() == *head
    }

    /// What was spent when `head` was taken, or `None` where the ledger does not contain what it contained then.
    #[must_use]
    pub fn spent_until(&self, head: &Head) -> Option<Vec<(Event, u64)>> {
        if !self.contains(head) {
            return None;
        }
        let mut spent = Vec::new();
        for record in &self.records {
            if let Entry::Reserve { charge, .. } = record.entry
                && record.sequence < head.records
            {
                add(&mut spent, &[(charge.event, charge.count)]);
            }
        }
        Some(spent)
    }
}

fn reservations(records: &[Record]) -> usize {
    records
        .iter()
        .filter(|record| matches!(record.entry, Entry::Reserve { .. }))
        .count()
}
