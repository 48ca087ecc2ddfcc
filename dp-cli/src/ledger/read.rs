//! From what a person names to ledgers.

use std::fs;
use std::path::{Path, PathBuf};

use dp_engine::checkpoint::{self, Checkpoint};
use dp_engine::ledger::{LedgerContents, inspect};

use crate::error::Failure;
use crate::report::RunSummary;
use crate::train::{CHECKPOINT, LEDGER, SUMMARY};

/// The ledger file that `named` means: itself, or the one in a run's folder.
pub fn place(named: &Path) -> PathBuf {
    if named.is_dir() {
        named.join(LEDGER)
    } else {
        named.to_owned()
    }
}

/// The ledger file that `named` means, where nothing says that there is none.
///
/// # Errors
/// The folder of a run that has no ledger: it never had one, or lost it. A checkpoint in it that cannot be read.
pub fn found(named: &Path) -> Result<PathBuf, Failure> {
    let path = place(named);
    if !named.is_dir() || !matches!(path.try_exists(), Ok(false)) {
        return Ok(path);
    }
    match was_private(named)? {
        None => Ok(path),
        Some(false) => Err(Failure::new(format!(
            "{named:?}: this run has no ledger: it was trained with --non-private, so there is no guarantee to account for; leave it out"
        ))),
        Some(true) => Err(Failure::new(format!(
            "{path:?} is missing, though the run in this folder was private: what it spent stands there alone, so restore it from a backup"
        ))),
    }
}

/// Reads and checks one ledger.
pub fn one(named: &Path) -> Result<(PathBuf, LedgerContents), Failure> {
    let path = found(named)?;
    let contents = inspect(&path)?;
    Ok((path, contents))
}

/// Whether the run in this folder was private, by its checkpoint or else by what it said at its end; nothing where neither is there.
fn was_private(folder: &Path) -> Result<Option<bool>, Failure> {
    let place = folder.join(CHECKPOINT);
    if checkpoint::exists(&place) {
        let checkpoint = Checkpoint::load(&place)?;
        return Ok(Some(checkpoint.manifest().ledger.is_some()));
    }
    let summary = fs::read_to_string(folder.join(SUMMARY)).ok();
    let summary = summary.and_then(|text| serde_json::from_str::<RunSummary>(&text).ok());
    Ok(summary.map(|summary| summary.privacy.is_some()))
}
