use std::path::Path;

use dp_core::accounting::{AccountingError, Bounds, Event};
use dp_core::ledger::{
    Charge, Entry, Fault, HEADER_LEN, Head, Header, OpenReservation, ProcessId, SpentEvents, State,
    Torn,
};

use super::budget::{Budget, Cap, Refusal};
use super::dataset::add;
use super::error::LedgerFileError;
use super::inspect::{LedgerContents, parse};
use super::prior::PriorSpend;
use super::reservation::{Receipt, Reservation};
use super::storage::{Durability, Storage};
use crate::accountant;
use crate::keys::ProcessStart;

/// What opening a ledger found and mended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// An incomplete last record, cut off; it had paid for nothing.
    pub torn: Option<Torn>,
    /// Reservations without a commit, in all starts so far; they count as spent.
    pub unconfirmed: u64,
    /// Reservations in all starts so far.
    pub reservations: u64,
    /// The reservation that the last process left open.
    pub left_open: Option<OpenReservation>,
}

/// A ledger file open for writing, under a lock that no other writer can take.
#[derive(Debug)]
pub struct LedgerFile {
    storage: Storage,
    header: Header,
    state: State,
    spent: Vec<(Event, u64)>,
    prior: PriorSpend,
    cap: Cap,
    process: ProcessId,
}

impl LedgerFile {
    /// Creates a ledger and notes the process start. The file must not exist yet.
    ///
    /// # Errors
    /// [`LedgerFileError::Exists`], [`LedgerFileError::Locked`] or [`LedgerFileError::Io`]; no file of this call's
    /// making is left then.
    pub fn create(
        path: &Path,
        header: &Header,
        budget: Budget,
        process: ProcessStart,
    ) -> Result<Self, LedgerFileError> {
        Self::create_after(path, header, budget, process, PriorSpend::default())
    }

    /// As [`LedgerFile::create`], for a run that comes after others on its data set: the budget is for all of them together, so what
    /// they spent counts in the cap and in [`LedgerFile::epsilon`].
    ///
    /// # Errors
    /// As [`LedgerFile::create`].
    pub fn create_after(
        path: &Path,
        header: &Header,
        budget: Budget,
        process: ProcessStart,
        prior: PriorSpend,
    ) -> Result<Self, LedgerFileError> {
        let mut ledger = Self::new(Storage::create(path)?, header, budget, process, prior);
        let begun = ledger.storage.begin(&header.encode());
        match begun.and_then(|()| ledger.start()) {
            Ok(()) => Ok(ledger),
            Err(error) => {
                // Nothing was reserved in it, so removing it forgets nothing.
                let _ = std::fs::remove_file(path);
                Err(error)
            }
        }
    }

    /// Opens a ledger to go on with it: takes the lock, checks every record, compares data set, unit and configuration,
    /// cuts off a torn tail, brings the file's name to the disk, and notes the process start.
    ///
    /// # Errors
    /// [`LedgerFileError::Locked`], [`LedgerFileError::Io`], [`LedgerFileError::Corrupt`],
    /// [`LedgerFileError::OtherDataset`], [`LedgerFileError::OtherUnit`] or [`LedgerFileError::OtherConfig`]; the file is unchanged
    /// then, but for a torn tail that may have been cut off.
    pub fn open(
        path: &Path,
        header: &Header,
        budget: Budget,
        process: ProcessStart,
    ) -> Result<(Self, Recovery), LedgerFileError> {
        Self::open_after(path, header, budget, process, PriorSpend::default())
    }

    /// As [`LedgerFile::open`], for a run that comes after others on its data set ([`LedgerFile::create_after`]).
    ///
    /// # Errors
    /// As [`LedgerFile::open`], and [`LedgerFileError::OwnLedger`] where this ledger or a copy of it is among those of the others.
    pub fn open_after(
        path: &Path,
        header: &Header,
        budget: Budget,
        process: ProcessStart,
        prior: PriorSpend,
    ) -> Result<(Self, Recovery), LedgerFileError> {
        Self::go_on(path, header, budget, process, prior, None)
    }

    /// As [`LedgerFile::open_after`], for a run whose checkpoint names the ledger's `head` of its time ([`LedgerFile::durable_head`]).
    ///
    /// # Errors
    /// As there, and [`LedgerFileError::RolledBack`] where this ledger doesn't contain what it contained then, before a process start is noted.
    pub fn resume(
        path: &Path,
        header: &Header,
        budget: Budget,
        process: ProcessStart,
        prior: PriorSpend,
        head: &Head,
    ) -> Result<(Self, Recovery), LedgerFileError> {
        Self::go_on(path, header, budget, process, prior, Some(head))
    }

    fn go_on(
        path: &Path,
        header: &Header,
        budget: Budget,
        process: ProcessStart,
        prior: PriorSpend,
        head: Option<&Head>,
    ) -> Result<(Self, Recovery), LedgerFileError> {
        prior.refuse_file(path)?;
        let mut ledger = Self::new(Storage::open(path)?, header, budget, process, prior);
        let bytes = ledger.storage.read()?;
        let is_begun = bytes.len() >= HEADER_LEN || !header.encode().starts_with(&bytes);
        let recovery = if is_begun {
            let recovery = ledger.adopt(&bytes)?;
            // The crash may have come after the header and before its directory entry was on the disk, or the file was moved here since.
            ledger.storage.sync_name()?;
            recovery
        } else if let Some(head) = head {
            return Err(ledger.rolled_back(head));
        } else {
            // The crash came while the ledger was being created, before anything could be reserved.
            ledger.storage.begin(&header.encode())?;
            Recovery::default()
        };
        if let Some(head) = head {
            ledger.require(head)?;
        }
        ledger.start()?;
        Ok((ledger, recovery))
    }

    /// Reserves `step`: checks that its charge fits the budget, appends it, and returns once it is on the disk.
    ///
    /// # Errors
    /// [`LedgerFileError::OverBudget`] or [`LedgerFileError::Accounting`] before anything is written;
    /// [`LedgerFileError::Protocol`] for a step that is not after the last one of this start or a charge out of
    /// range; [`LedgerFileError::Io`], [`LedgerFileError::ChangedOutside`] or [`LedgerFileError::Poisoned`].
    ///
    /// # Privacy
    /// Nothing computed from private records may leave before this returns `Ok`, and nothing at all if it does
    /// not.
    pub fn reserve(&mut self, step: u64, charge: Charge) -> Result<Reservation, LedgerFileError> {
        charge.check().map_err(|fault| self.protocol(fault))?;
        self.cap
            .admit(&self.total(), &charge)
            .map_err(|refusal| match refusal {
                Refusal::OverBudget { with_step } => {
                    let Budget {
                        epsilon: target,
                        delta,
                    } = self.cap.budget();
                    LedgerFileError::OverBudget {
                        step,
                        with_step,
                        target,
                        delta,
                    }
                }
                Refusal::Accounting(source) => LedgerFileError::Accounting { step, source },
            })?;
        let spent = self.spent_with(&charge)?;
        let sequence = self.state.head().records;
        self.append(Entry::Reserve { step, charge }, Durability::Synced)?;
        self.spent = spent;
        self.cap.count(&charge);
        let receipt = Receipt {
            sequence,
            step,
            process: self.process,
        };
        Ok(Reservation { charge, receipt })
    }

    /// Notes that the reserved step was released.
    ///
    /// Does not wait for the disk: a lost commit leaves its reservation unconfirmed, which counts the same, and the
    /// next reservation takes the commit to the disk with it.
    ///
    /// # Errors
    /// [`LedgerFileError::ForeignReservation`], [`LedgerFileError::Protocol`] for a reservation that a later one
    /// has superseded, [`LedgerFileError::Io`], [`LedgerFileError::ChangedOutside`] or
    /// [`LedgerFileError::Poisoned`].
    pub fn commit(&mut self, paid: impl Into<Receipt>) -> Result<(), LedgerFileError> {
        let Receipt {
            sequence,
            step,
            process,
        } = paid.into();
        // A process start has one ledger.
        if process != self.process {
            let path = self.path().to_path_buf();
            return Err(LedgerFileError::ForeignReservation { path, step });
        }
        self.append(
            Entry::Commit {
                step,
                reservation: sequence,
            },
            Durability::Buffered,
        )
    }

    /// How far this ledger goes, once that is on the disk, the last commit included: what a checkpoint may name. Of a head that is named before it is there,
    /// a power cut makes a ledger that seems to have been cut.
    ///
    /// # Errors
    /// [`LedgerFileError::Io`].
    pub fn durable_head(&mut self) -> Result<Head, LedgerFileError> {
        self.sync()?;
        Ok(self.head())
    }

    /// Waits until everything written so far is on the disk, commits included.
    ///
    /// # Errors
    /// [`LedgerFileError::Io`].
    pub fn sync(&mut self) -> Result<(), LedgerFileError> {
        self.storage.sync()
    }

    /// Checks that this ledger contains what it contained when `head` was taken, so that an older copy of it, put
    /// in its place, is found out.
    ///
    /// # Errors
    /// [`LedgerFileError::RolledBack`], [`LedgerFileError::Io`] or [`LedgerFileError::Corrupt`].
    pub fn require(&mut self, head: &Head) -> Result<(), LedgerFileError> {
        let bytes = self.storage.read()?;
        if self.parse(&bytes)?.contains(head) {
            return Ok(());
        }
        Err(self.rolled_back(head))
    }

    fn rolled_back(&self, head: &Head) -> LedgerFileError {
        LedgerFileError::RolledBack {
            path: self.path().to_path_buf(),
            recorded: head.records,
            found: self.state.head().records,
        }
    }

    /// What this ledger's run spent, confirmed or not, by event: what the accountant takes.
    #[must_use]
    pub fn spent(&self) -> &[(Event, u64)] {
        &self.spent
    }

    /// What earlier runs spent on the data set.
    #[must_use]
    pub fn prior(&self) -> &PriorSpend {
        &self.prior
    }

    /// What was spent by this run and by those before it, by event.
    #[must_use]
    pub fn total(&self) -> Vec<(Event, u64)> {
        let mut total = self.prior.events().to_vec();
        add(&mut total, &self.spent);
        total
    }

    /// Epsilon of everything spent, by this run and by those before it, at `delta`.
    ///
    /// # Errors
    /// Where the accountant gives no answer.
    pub fn epsilon(&self, delta: f64) -> Result<Bounds, AccountingError> {
        accountant::of_spent(&self.total(), delta)
    }

    /// The most that may be spent.
    #[must_use]
    pub fn budget(&self) -> Budget {
        self.cap.budget()
    }

    /// The state after the last record: head, counts, open reservation.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Number of records and chain value, for a checkpoint or a report to keep.
    #[must_use]
    pub fn head(&self) -> Head {
        self.state.head()
    }

    /// Data set, configuration and unit.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.storage.path()
    }

    fn new(
        storage: Storage,
        header: &Header,
        budget: Budget,
        process: ProcessStart,
        prior: PriorSpend,
    ) -> Self {
        let (state, cap) = (State::new(header), Cap::new(budget));
        Self {
            storage,
            header: *header,
            state,
            spent: Vec::new(),
            prior,
            cap,
            process: *process.id(),
        }
    }

    /// Takes over what the file holds.
    fn adopt(&mut self, bytes: &[u8]) -> Result<Recovery, LedgerFileError> {
        let contents = self.parse(bytes)?;
        self.check_header(&contents.summary.header)?;
        self.prior.refuse_copy(&contents)?;
        let LedgerContents { summary, spent, .. } = contents;
        if let Some(torn) = summary.torn {
            self.storage.cut(torn.offset)?;
        }
        self.state = summary.state;
        self.spent = spent;
        Ok(Recovery {
            torn: summary.torn,
            unconfirmed: self.state.reservations() - self.state.commits(),
            reservations: self.state.reservations(),
            left_open: self.state.open(),
        })
    }

    fn parse(&self, bytes: &[u8]) -> Result<LedgerContents, LedgerFileError> {
        let corrupt = |source| LedgerFileError::Corrupt {
            path: self.path().to_path_buf(),
            source,
        };
        parse(bytes).map_err(corrupt)
    }

    fn check_header(&self, recorded: &Header) -> Result<(), LedgerFileError> {
        let path = || self.path().to_path_buf();
        if recorded.dataset != self.header.dataset {
            let (recorded, given) = (recorded.dataset, self.header.dataset);
            return Err(LedgerFileError::OtherDataset {
                path: path(),
                recorded,
                given,
            });
        }
        if recorded.unit != self.header.unit {
            let (recorded, given) = (recorded.unit, self.header.unit);
            return Err(LedgerFileError::OtherUnit {
                path: path(),
                recorded,
                given,
            });
        }
        if recorded.config != self.header.config {
            let (recorded, given) = (recorded.config, self.header.config);
            return Err(LedgerFileError::OtherConfig {
                path: path(),
                recorded,
                given,
            });
        }
        Ok(())
    }

    fn start(&mut self) -> Result<(), LedgerFileError> {
        self.append(
            Entry::Start {
                process: self.process,
            },
            Durability::Synced,
        )
    }

    fn append(&mut self, entry: Entry, durability: Durability) -> Result<(), LedgerFileError> {
        let (bytes, after) = self
            .state
            .append(entry)
            .map_err(|fault| self.protocol(fault))?;
        self.storage.append(&bytes, durability)?;
        self.state = after;
        Ok(())
    }

    fn spent_with(&self, charge: &Charge) -> Result<Vec<(Event, u64)>, LedgerFileError> {
        let used = self.spent.len();
        let mut slots = self.spent.clone();
        slots.push((charge.event, 0));
        let mut events = SpentEvents::resume(&mut slots, used);
        events.add(charge).map_err(|fault| self.protocol(fault))?;
        Ok(events.events().to_vec())
    }

    fn protocol(&self, fault: Fault) -> LedgerFileError {
        LedgerFileError::Protocol {
            path: self.path().to_path_buf(),
            fault,
        }
    }
}
