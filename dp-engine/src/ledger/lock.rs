//! A ledger's file and its lock, held and let go of together.

use std::fs::{File, TryLockError};
use std::ops::{Deref, DerefMut};

/// A file that is locked for as long as this value lives.
///
/// Closing the file is not enough to let go: a lock belongs to the open file, and a process that another thread forked
/// has that open until its `exec`. A run that ends and one that begins would then be told, once in a while, that the
/// ledger is in use. So the lock is taken off by name.
#[derive(Debug)]
pub(super) struct Locked(File);

impl Locked {
    /// For the one who writes.
    pub(super) fn exclusive(file: File) -> Result<Self, TryLockError> {
        file.try_lock()?;
        Ok(Self(file))
    }

    /// For those who read, side by side.
    pub(super) fn shared(file: File) -> Result<Self, TryLockError> {
        file.try_lock_shared()?;
        Ok(Self(file))
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // Where this fails closing the file does the same, a moment later at worst.
        let _ = self.0.unlock();
    }
}

impl Deref for Locked {
    type Target = File;

    fn deref(&self) -> &File {
        &self.0
    }
}

impl DerefMut for Locked {
    fn deref_mut(&mut self) -> &mut File {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A copy of the descriptor stands for the one that a forked process holds until its `exec`.
    #[test]
    fn a_copy_of_the_open_file_does_not_keep_the_lock() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger.bin");
        let open = || File::options().read(true).write(true).open(&path).unwrap();
        File::create(&path).unwrap();

        for lock in [Locked::exclusive, Locked::shared] {
            let locked = lock(open()).unwrap();
            let _copy = locked.try_clone().unwrap();
            let busy = Locked::exclusive(open());
            assert!(matches!(busy, Err(TryLockError::WouldBlock)));
            drop(locked);
            drop(Locked::exclusive(open()).unwrap());
        }
    }
}
