use std::io;
use std::path::PathBuf;

use dp_core::accounting::AccountingError;
use dp_core::ledger::{Fault, Fingerprint, LedgerError, Unit};

use crate::fingerprint::hex;
use crate::fs::way_out;

/// Why a ledger file refuses. Each message names the file or value and the way out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerFileError {
    /// A new ledger would replace one.
    #[error(
        "{}: a ledger is there already; resume that run, or choose another place: deleting a ledger forgets what was spent",
        path.display()
    )]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Another process writes this ledger.
    #[error("{}: another process is writing this ledger; wait for it to end, or stop it", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// The system refused an operation.
    #[error("{}: cannot {action}: {source}; {}", path.display(), way_out(source))]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The bytes are not a ledger that was written here.
    #[error(
        "{}: {source}; the ledger is damaged or was altered, and what was spent cannot be told from it: restore it \
         from a backup",
        path.display()
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong, and at which byte.
        source: LedgerError,
    },
    /// The ledger is about another data set.
    #[error(
        "{}: this ledger is about the data set {}, but the data set given is {}: give the original data, or start a \
         new run",
        path.display(), hex(recorded), hex(given)
    )]
    OtherDataset {
        /// The file.
        path: PathBuf,
        /// Fingerprint in the ledger.
        recorded: Fingerprint,
        /// Fingerprint of what was given.
        given: Fingerprint,
    },
    /// The ledger hides another unit.
    #[error(
        "{}: this ledger is for {}, but the run is for {}: restore that setting, or start a new run",
        path.display(), unit(recorded), unit(given)
    )]
    OtherUnit {
        /// The file.
        path: PathBuf,
        /// Unit in the ledger.
        recorded: Unit,
        /// Unit of the run.
        given: Unit,
    },
    /// The ledger belongs to another configuration.
    #[error(
        "{}: this ledger belongs to the configuration {}, but the one given is {}: restore the settings, or start a \
         new run",
        path.display(), hex(recorded), hex(given)
    )]
    OtherConfig {
        /// The file.
        path: PathBuf,
        /// Fingerprint in the ledger.
        recorded: Fingerprint,
        /// Fingerprint of what was given.
        given: Fingerprint,
    },
    /// The ledger no longer contains what it contained when a checkpoint or report was written.
    #[error(
        "{}: the ledger has {found} records and does not contain the {recorded} that were there when the checkpoint \
         was written: it was cut or replaced; restore the ledger that belongs to the checkpoint",
        path.display()
    )]
    RolledBack {
        /// The file.
        path: PathBuf,
        /// Number of records then.
        recorded: u64,
        /// Number of records now.
        found: u64,
    },
    /// A ledger of an earlier run is being written.
    #[error(
        "{}: another process is writing this ledger, and what it spends from now on would not be counted: wait for it to end",
        path.display()
    )]
    PriorBusy {
        /// The file.
        path: PathBuf,
    },
    /// A ledger of an earlier run is about another data set.
    #[error(
        "{}: this ledger is about the data set {}, but the run that would count it trains on {}: name ledgers of the same \
         records, split and planted alike (the same --seed and --canaries). What a person who is in both data sets loses is the sum of both epsilons and deltas, \
         which is for you to add",
        path.display(), hex(recorded), hex(given)
    )]
    PriorOtherDataset {
        /// The file.
        path: PathBuf,
        /// Fingerprint in the ledger.
        recorded: Fingerprint,
        /// Fingerprint of the run's data set.
        given: Fingerprint,
    },
    /// A ledger of an earlier run hides another unit.
    #[error(
        "{}: this ledger is for {}, but the run that would count it is for {}: what was spent for one says nothing of the other, so \
         they do not add up; train for the same unit, or leave it out and state it beside",
        path.display(), unit(recorded), unit(given)
    )]
    PriorOtherUnit {
        /// The file.
        path: PathBuf,
        /// Unit in the ledger.
        recorded: Unit,
        /// Unit of the run.
        given: Unit,
    },
    /// A ledger that the run was planned after is not given again.
    #[error(
        "{}: this run was planned after this ledger, and no ledger given contains the {records} records that it had then: \
         name it again, wherever it is now, or restore it if it was cut or replaced",
        path.display()
    )]
    PriorMissing {
        /// Where it was.
        path: PathBuf,
        /// Number of its records then.
        records: u64,
    },
    /// A ledger that the run was not planned after.
    #[error(
        "{}: this run was not planned after this ledger: leave it out, or start a new run that counts it",
        path.display()
    )]
    PriorAdded {
        /// The file.
        path: PathBuf,
    },
    /// The run's own ledger, or a copy of it, among those of earlier runs.
    #[error(
        "{}: this is the run's own ledger or a copy of it, and counts anyway: leave it out of the earlier ones",
        path.display()
    )]
    OwnLedger {
        /// The file.
        path: PathBuf,
    },
    /// The step would pass the target.
    #[error(
        "step {step} is refused: with it, and all that was spent before, epsilon would be {with_step:.6} at delta {delta:?}, above the \
         target {target:?}; the model so far is what the budget buys. A larger target is another run"
    )]
    OverBudget {
        /// Step asked for.
        step: u64,
        /// Upper bound on epsilon with this step.
        with_step: f64,
        /// Target epsilon.
        target: f64,
        /// Target delta.
        delta: f64,
    },
    /// The accountant gave no figure, so no step can be allowed.
    #[error("step {step} is refused: the accountant cannot tell what it would cost ({source})")]
    Accounting {
        /// Step asked for.
        step: u64,
        /// What the accountant said.
        source: AccountingError,
    },
    /// The call breaks the ledger's rules.
    #[error("{}: {fault}", path.display())]
    Protocol {
        /// The file.
        path: PathBuf,
        /// The rule.
        fault: Fault,
    },
    /// The reservation was made by another ledger.
    #[error("{}: the reservation of step {step} was made by another ledger", path.display())]
    ForeignReservation {
        /// The file.
        path: PathBuf,
        /// Step of the reservation.
        step: u64,
    },
    /// The file was altered, cut or removed while it was open.
    #[error(
        "{}: the ledger was changed or removed by somebody else while this run wrote it; nothing more is released: \
         stop whoever does that, restore the file and resume",
        path.display()
    )]
    ChangedOutside {
        /// The file.
        path: PathBuf,
    },
    /// An earlier write failed and left the file in doubt.
    #[error(
        "{}: an earlier write to this ledger failed, so nothing more is released: resume the run, which checks the \
         file anew",
        path.display()
    )]
    Poisoned {
        /// The file.
        path: PathBuf,
    },
}

/// A unit in words, with whose records are whose: users of two assignments are two units.
fn unit(unit: &Unit) -> String {
    match unit {
        Unit::Record => "one record".into(),
        Unit::User {
            most_records,
            owners,
        } => {
            let owners = hex(owners);
            format!("one user, at most {most_records} records of each in a step (users {owners})")
        }
    }
}
