//! What earlier runs spent on a run's data set.

use std::fs::{File, TryLockError};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dp_core::accounting::Event;
use dp_core::ledger::{Fingerprint, Head, Unit};
use serde::{Deserialize, Serialize};

use super::dataset::{add, spent_by_dataset};
use super::error::LedgerFileError;
use super::inspect::{LedgerContents, parse};
use super::lock::Locked;
use crate::checkpoint::LedgerHead;

/// A ledger of an earlier run, and how far it went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PriorLedger {
    /// The file, as it was named.
    pub ledger: PathBuf,
    /// How far it went.
    pub head: LedgerHead,
}

/// What the runs before this one spent on its data set: it counts in the plan's noise, in the cap and in the report.
///
/// Each ledger is held under a shared lock for as long as a clone of this lives: no run can go on with it meanwhile, so what is counted
/// is what it holds. Once this run has ended they are free again, and what they spend then is for their own statements to
/// count; resumed after that, this run counts them as they are then.
///
/// # Privacy
/// Everything in the ledgers and everything that the run spends compose: the guarantee of a plan after this covers both. Runs that go
/// side by side after the same ledgers count these, and not each other: let one come after the other.
#[derive(Clone, Debug, Default)]
pub struct PriorSpend {
    planned: Vec<PriorLedger>,
    planned_events: Vec<(Event, u64)>,
    now: Vec<PriorLedger>,
    /// What each of `now` spent.
    each: Vec<Vec<(Event, u64)>>,
    events: Vec<(Event, u64)>,
    /// Held, not read.
    _locks: Arc<Vec<Locked>>,
}

impl PriorSpend {
    /// Reads the ledgers that a new run comes after. One that is given twice, or whose records another one of them begins with, counts
    /// once ([`spent_by_dataset`]).
    ///
    /// # Errors
    /// [`LedgerFileError::Io`], [`LedgerFileError::Corrupt`], [`LedgerFileError::PriorBusy`] while a run writes one,
    /// [`LedgerFileError::PriorOtherDataset`] and [`LedgerFileError::PriorOtherUnit`].
    pub fn read(
        paths: &[PathBuf],
        dataset: &Fingerprint,
        unit: &Unit,
    ) -> Result<Self, LedgerFileError> {
        let (counted, locks) = read_all(paths, dataset, unit)?;
        let now: Vec<_> = counted.iter().map(as_it_is).collect();
        let each = spent_by_each(&counted);
        let events = sum(&each);
        Ok(Self {
            planned: now.clone(),
            planned_events: events.clone(),
            now,
            each,
            events,
            _locks: Arc::new(locks),
        })
    }

    /// Reads them again for a run that goes on and was planned after `planned`. They may lie elsewhere now, and may have grown: the plan
    /// is as it was, since its noise can't change any more, and the cap counts them as they are now, so the run ends earlier.
    ///
    /// # Errors
    /// As [`PriorSpend::read`]; [`LedgerFileError::PriorMissing`] where no ledger given contains what one of them held, and
    /// [`LedgerFileError::PriorAdded`] for one that the plan didn't count.
    pub fn read_again(
        paths: &[PathBuf],
        dataset: &Fingerprint,
        unit: &Unit,
        planned: &[PriorLedger],
    ) -> Result<Self, LedgerFileError> {
        let (counted, locks) = read_all(paths, dataset, unit)?;
        let mut spent_then = Vec::new();
        let mut known = vec![false; counted.len()];
        for ledger in planned {
            let then = Head::from(ledger.head);
            let found = counted
                .iter()
                .zip(&mut known)
                .find_map(|((_, contents), known)| Some((contents.spent_until(&then)?, known)));
            let Some((events, known)) = found else {
                return Err(LedgerFileError::PriorMissing {
                    path: ledger.ledger.clone(),
                    records: then.records,
                });
            };
            *known = true;
            spent_then.push(events);
        }
        if let Some(at) = known.iter().position(|known| !known) {
            let path = counted[at].0.clone();
            return Err(LedgerFileError::PriorAdded { path });
        }
        let each = spent_by_each(&counted);
        Ok(Self {
            planned: planned.to_vec(),
            planned_events: sum(&spent_then),
            now: counted.iter().map(as_it_is).collect(),
            events: sum(&each),
            each,
            _locks: Arc::new(locks),
        })
    }

    /// Whether the run is the first on its data set, as far as was said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.now.is_empty()
    }

    /// The ledgers as they were when the run was planned: what a resumed run must be given again.
    #[must_use]
    pub fn planned(&self) -> &[PriorLedger] {
        &self.planned
    }

    /// What they had spent when the run was planned: what its noise was chosen for.
    #[must_use]
    pub fn planned_events(&self) -> &[(Event, u64)] {
        &self.planned_events
    }

    /// The ledgers as they are now.
    #[must_use]
    pub fn ledgers(&self) -> &[PriorLedger] {
        &self.now
    }

    /// What they have spent by now: what the cap and the report count.
    #[must_use]
    pub fn events(&self) -> &[(Event, u64)] {
        &self.events
    }

    /// The same, of each ledger by itself.
    #[must_use]
    pub fn events_by_ledger(&self) -> &[Vec<(Event, u64)>] {
        &self.each
    }

    /// Refuses `path` among them: a run is not its own past.
    pub(super) fn refuse_file(&self, path: &Path) -> Result<(), LedgerFileError> {
        let Ok(own) = path.canonicalize() else {
            return Ok(());
        };
        let is_own = |prior: &&PriorLedger| prior.ledger.canonicalize().is_ok_and(|p| p == own);
        self.own(self.now.iter().find(is_own))
    }

    /// Refuses a copy of `contents` among them, which are the run's own.
    pub(super) fn refuse_copy(&self, contents: &LedgerContents) -> Result<(), LedgerFileError> {
        let is_copy = |prior: &&PriorLedger| contents.contains(&prior.head.into());
        self.own(self.now.iter().find(is_copy))
    }

    fn own(&self, found: Option<&PriorLedger>) -> Result<(), LedgerFileError> {
        found.map_or(Ok(()), |prior| {
            let path = prior.ledger.clone();
            Err(LedgerFileError::OwnLedger { path })
        })
    }
}

/// The locks say nothing of what was spent.
impl PartialEq for PriorSpend {
    fn eq(&self, other: &Self) -> bool {
        self.planned == other.planned
            && self.planned_events == other.planned_events
            && self.now == other.now
            && self.events == other.events
    }
}

/// The ledgers that count, under their locks.
type Counted = (Vec<(PathBuf, LedgerContents)>, Vec<Locked>);

fn read_all(
    paths: &[PathBuf],
    dataset: &Fingerprint,
    unit: &Unit,
) -> Result<Counted, LedgerFileError> {
    let mut ledgers = Vec::new();
    let mut locks = Vec::new();
    for path in paths {
        let (contents, lock) = read(path)?;
        let recorded = contents.summary.header.dataset;
        if recorded != *dataset {
            return Err(LedgerFileError::PriorOtherDataset {
                path: path.clone(),
                recorded,
                given: *dataset,
            });
        }
        let recorded = contents.summary.header.unit;
        if !recorded.adds_up_with(unit) {
            return Err(LedgerFileError::PriorOtherUnit {
                path: path.clone(),
                recorded,
                given: *unit,
            });
        }
        ledgers.push((path.clone(), contents));
        locks.push(lock);
    }
    let spends = spent_by_dataset(&ledgers);
    let counts = |path: &PathBuf| spends.iter().any(|spend| spend.counted.contains(path));
    let mut counted: Vec<(PathBuf, LedgerContents)> = Vec::new();
    for (path, contents) in ledgers {
        // Named twice by one path, a ledger is its own copy.
        if counts(&path) && !counted.iter().any(|(known, _)| *known == path) {
            counted.push((path, contents));
        }
    }
    Ok((counted, locks))
}

fn read(path: &Path) -> Result<(LedgerContents, Locked), LedgerFileError> {
    let io = |action| {
        move |source| LedgerFileError::Io {
            action,
            path: path.to_path_buf(),
            source,
        }
    };
    let file = File::open(path).map_err(io("open the ledger"))?;
    let mut file = Locked::shared(file).map_err(|error| match error {
        TryLockError::WouldBlock => LedgerFileError::PriorBusy {
            path: path.to_path_buf(),
        },
        TryLockError::Error(source) => io("lock the ledger")(source),
    })?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)
        .map_err(io("read the ledger"))?;
    let contents = parse(&bytes).map_err(|source| LedgerFileError::Corrupt {
        path: path.to_path_buf(),
        source,
    })?;
    Ok((contents, file))
}

fn as_it_is((path, contents): &(PathBuf, LedgerContents)) -> PriorLedger {
    PriorLedger {
        ledger: path.clone(),
        head: contents.summary.state.head().into(),
    }
}

fn spent_by_each(counted: &[(PathBuf, LedgerContents)]) -> Vec<Vec<(Event, u64)>> {
    let each = counted.iter();
    each.map(|(_, contents)| contents.spent.clone()).collect()
}

fn sum<'a>(ledgers: impl IntoIterator<Item = &'a Vec<(Event, u64)>>) -> Vec<(Event, u64)> {
    let mut all = Vec::new();
    for events in ledgers {
        add(&mut all, events);
    }
    all
}
