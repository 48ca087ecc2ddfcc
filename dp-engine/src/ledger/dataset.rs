use std::path::PathBuf;

use dp_core::accounting::Event;
use dp_core::ledger::{Fingerprint, Header, Unit};

use super::inspect::LedgerContents;

/// What the runs on one data set spent together, of one unit of privacy.
#[derive(Clone, Debug, PartialEq)]
pub struct DatasetSpend {
    /// The data set.
    pub dataset: Fingerprint,
    /// Whose presence they hide; of ledgers that use different numbers of a user's records, the first one's.
    pub unit: Unit,
    /// The ledgers that were counted.
    pub counted: Vec<PathBuf>,
    /// Ledgers that another one of these contains whole: older copies of it, not counted again.
    pub copies: Vec<PathBuf>,
    /// Everything spent, confirmed or not, by event: what the accountant takes.
    pub events: Vec<(Event, u64)>,
}

/// Adds up ledgers by data set: training, tuning, and the evaluations that were charged.
///
/// # Privacy
/// Runs on one data set compose: who sees the results of all learns what all released. A data set is known by its
/// fingerprint, of its records in order; one that differs in a record counts as another, though most people are in both. Ledgers of
/// different units ([`Unit::adds_up_with`]) are summed apart: neither says what the other's spent.
/// Counts that would pass `u64` stay at its end, at which no accountant gives an answer.
#[must_use]
pub fn spent_by_dataset(ledgers: &[(PathBuf, LedgerContents)]) -> Vec<DatasetSpend> {
    let mut all: Vec<DatasetSpend> = Vec::new();
    for (index, (path, contents)) in ledgers.iter().enumerate() {
        let Header { dataset, unit, .. } = contents.summary.header;
        let at = all
            .iter()
            .position(|spend| spend.dataset == dataset && spend.unit.adds_up_with(&unit));
        let at = at.unwrap_or_else(|| {
            all.push(DatasetSpend {
                dataset,
                unit,
                counted: Vec::new(),
                copies: Vec::new(),
                events: Vec::new(),
            });
            all.len() - 1
        });
        let spend = &mut all[at];
        if is_copy(ledgers, index) {
            spend.copies.push(path.clone());
            continue;
        }
        spend.counted.push(path.clone());
        add(&mut spend.events, &contents.spent);
    }
    all
}

/// Adds events to `sum`, by event. Counts that would pass `u64` stay at its end.
pub(super) fn add(sum: &mut Vec<(Event, u64)>, events: &[(Event, u64)]) {
    for &(event, count) in events {
        match sum.iter_mut().find(|(known, _)| *known == event) {
            Some((_, sum)) => *sum = sum.saturating_add(count),
            None => sum.push((event, count)),
        }
    }
}

/// Whether another ledger contains all of this one; of two that are the same, the first counts.
fn is_copy(ledgers: &[(PathBuf, LedgerContents)], index: usize) -> bool {
    let head = ledgers[index].1.summary.state.head();
    ledgers.iter().enumerate().any(|(other, (_, contents))| {
        let theirs = contents.summary.state.head();
        other != index
            && contents.contains(&head)
            && (theirs.records > head.records || other < index)
    })
}
