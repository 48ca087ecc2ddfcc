use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::error::LedgerFileError;
use super::lock::Locked;
use crate::fs::{parent, sync_directory};

/// Whether an append waits until its bytes are on the disk.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Durability {
    Synced,
    Buffered,
}

/// A locked file that only ever grows by whole blocks, or is cut back to one.
#[derive(Debug)]
pub(super) struct Storage {
    file: Locked,
    path: PathBuf,
    /// Bytes that the file has when nobody else touched it.
    length: u64,
    /// Whether a failed write left the file in doubt.
    poisoned: bool,
}

impl Storage {
    /// Creates the file, which must not be there yet, and locks it.
    pub(super) fn create(path: &Path) -> Result<Self, LedgerFileError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(path);
        let file = file.map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => LedgerFileError::Exists {
                path: path.to_path_buf(),
            },
            _ => io_error("create the ledger", path, source),
        })?;
        Self::locked(file, path)
    }

    /// Opens the file and locks it.
    pub(super) fn open(path: &Path) -> Result<Self, LedgerFileError> {
        let file = OpenOptions::new().read(true).write(true).open(path);
        let file = file.map_err(|source| io_error("open the ledger", path, source))?;
        Self::locked(file, path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// All bytes of the file.
    pub(super) fn read(&mut self) -> Result<Vec<u8>, LedgerFileError> {
        let mut bytes = Vec::new();
        let read = self.file.seek(SeekFrom::Start(0));
        let read = read.and_then(|_| self.file.read_to_end(&mut bytes));
        read.map_err(|source| self.io("read the ledger", source))?;
        Ok(bytes)
    }

    /// Writes the first bytes of the file and makes them and the file's name durable.
    pub(super) fn begin(&mut self, header: &[u8]) -> Result<(), LedgerFileError> {
        self.length = 0;
        self.cut(0)?;
        self.append(header, Durability::Synced)?;
        self.sync_name()
    }

    /// Makes the file's name durable: without its directory entry on the disk the file itself could be gone after a power cut, with all that was durable in it.
    pub(super) fn sync_name(&self) -> Result<(), LedgerFileError> {
        let holder = parent(&self.path);
        sync_directory(holder)
            .map_err(|source| io_error("write the directory to the disk", holder, source))
    }

    /// Appends all of `bytes`, or nothing.
    pub(super) fn append(
        &mut self,
        bytes: &[u8],
        durability: Durability,
    ) -> Result<(), LedgerFileError> {
        if self.poisoned {
            return Err(LedgerFileError::Poisoned {
                path: self.path.clone(),
            });
        }
        self.check_untouched()?;
        let written = self.file.seek(SeekFrom::Start(self.length));
        if let Err(source) = written.and_then(|_| self.file.write_all(bytes)) {
            // A part of the record may be there. Without it the ledger is as before; if even that fails, the next
            // start finds a torn tail.
            self.poisoned = self.cut(self.length).is_err();
            return Err(self.io("append to the ledger", source));
        }
        if durability == Durability::Synced {
            self.sync()?;
        }
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Waits until everything written is on the disk.
    pub(super) fn sync(&mut self) -> Result<(), LedgerFileError> {
        self.file.sync_all().map_err(|source| {
            // After a failed fsync nobody knows what is on the disk, and a second one may wrongly succeed.
            self.poisoned = true;
            self.io("write the ledger to the disk", source)
        })
    }

    /// Cuts the file to `length` and makes that durable.
    pub(super) fn cut(&mut self, length: u64) -> Result<(), LedgerFileError> {
        let cut = self
            .file
            .set_len(length)
            .and_then(|()| self.file.sync_all());
        cut.map_err(|source| self.io("cut off an incomplete record", source))?;
        self.length = length;
        Ok(())
    }

    fn locked(file: File, path: &Path) -> Result<Self, LedgerFileError> {
        let file = Locked::exclusive(file).map_err(|error| match error {
            TryLockError::WouldBlock => LedgerFileError::Locked {
                path: path.to_path_buf(),
            },
            TryLockError::Error(source) => io_error("lock the ledger", path, source),
        })?;
        let metadata = file.metadata();
        let length = metadata
            .map_err(|source| io_error("look at the ledger", path, source))?
            .len();
        Ok(Self {
            file,
            path: path.to_path_buf(),
            length,
            poisoned: false,
        })
    }

    /// The lock only holds off those who ask for it.
    fn check_untouched(&self) -> Result<(), LedgerFileError> {
        let metadata = self
            .file
            .metadata()
            .map_err(|source| self.io("look at the ledger", source))?;
        if metadata.len() != self.length || is_unlinked(&metadata) {
            return Err(LedgerFileError::ChangedOutside {
                path: self.path.clone(),
            });
        }
        Ok(())
    }

    fn io(&self, action: &'static str, source: io::Error) -> LedgerFileError {
        io_error(action, &self.path, source)
    }
}

fn io_error(action: &'static str, path: &Path, source: io::Error) -> LedgerFileError {
    LedgerFileError::Io {
        action,
        path: path.to_path_buf(),
        source,
    }
}

#[cfg(unix)]
fn is_unlinked(metadata: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    metadata.nlink() == 0
}

#[cfg(not(unix))]
fn is_unlinked(_: &Metadata) -> bool {
    // Where a file in use cannot be removed there is nothing to look for.
    false
}
