//! From what a person names to ledgers.

use std::path::{Path, PathBuf};

use dp_engine::ledger::{LedgerContents, inspect};

use crate::error::Failure;
use crate::train::LEDGER;

/// The ledger file that `named` means: itself, or the one in a run's folder.
pub fn place(named: &Path) -> PathBuf {
    if named.is_dir() {
        named.join(LEDGER)
    } else {
        named.to_owned()
    }
}

/// Reads and checks one ledger.
pub fn one(named: &Path) -> Result<(PathBuf, LedgerContents), Failure> {
    let path = place(named);
    let contents = inspect(&path)?;
    Ok((path, contents))
}
