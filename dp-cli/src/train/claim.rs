//! One run at a time writes into an --out.

use std::fs::{File, TryLockError};
use std::path::Path;

use crate::error::Failure;

/// The file inside --out that a run locks; it has no content, and stays.
const LOCK: &str = "run.lock";

/// An --out that no other run writes into for as long as this lives: another one's weights beside this one's ledger would be taken for private.
#[derive(Debug)]
pub struct Claim(File);

impl Claim {
    /// Of a folder that is there.
    ///
    /// # Errors
    /// A folder that another run writes into, or that can't be written.
    pub fn of(out: &Path) -> Result<Self, Failure> {
        let path = out.join(LOCK);
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|error| {
                Failure::new(format!(
                    "{path:?} cannot be written: {error}; choose another --out"
                ))
            })?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(Failure::new(format!(
                "--out {out:?} is in use: another run writes into it; wait for it, or choose another folder"
            ))),
            Err(TryLockError::Error(error)) => Err(Failure::new(format!(
                "{path:?} cannot be locked: {error}; choose an --out on another file system"
            ))),
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // By name, since a forked process may have the file open still.
        let _ = self.0.unlock();
    }
}

/// Whether a name inside --out is the lock's.
pub fn is_lock(name: &std::ffi::OsStr) -> bool {
    name == LOCK
}
