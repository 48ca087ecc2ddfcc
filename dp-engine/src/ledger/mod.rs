//! The privacy ledger as a file: one writer, durable reservations, a budget cap, recovery after a crash.
//!
//! The format and its rules are [`dp_core::ledger`]; this module adds the file around it. The order of a step:
//!
//! 1. [`LedgerFile::reserve`] checks the budget, appends the reservation and waits until it is on the disk.
//! 2. The [`Reservation`] that it returns opens the noise key; the noised sum comes into being and is used.
//! 3. [`LedgerFile::commit`] takes the reservation back and notes that it was used.
//!
//! A crash before 1 is done has released nothing. A crash between 1 and 3 leaves a reservation without a commit,
//! which counts as spent. So the ledger never counts less than was released, and at most one step more for
//! each crash.

mod budget;
mod dataset;
mod error;
mod file;
mod inspect;
mod lock;
mod prior;
mod reservation;
mod storage;

pub use budget::Budget;
pub use dataset::{DatasetSpend, spent_by_dataset};
pub use error::LedgerFileError;
pub use file::{LedgerFile, Recovery};
pub use inspect::{LedgerContents, inspect};
pub use prior::{PriorLedger, PriorSpend};
pub use reservation::{Receipt, Reservation};
