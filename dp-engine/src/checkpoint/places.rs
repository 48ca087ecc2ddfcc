use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::error::CheckpointError;
use crate::fs::{parent, sync_directory};

pub(super) const MANIFEST: &str = "manifest.json";

/// A checkpoint's place and the two beside it that a crash can leave.
pub(super) struct Places {
    pub(super) current: PathBuf,
    pub(super) new: PathBuf,
    pub(super) former: PathBuf,
}

impl Places {
    pub(super) fn of(directory: &Path) -> Result<Self, CheckpointError> {
        let Some(name) = directory.file_name() else {
            let source = io::Error::from(io::ErrorKind::InvalidInput);
            return Err(io_error(
                "use this as the name of a checkpoint",
                directory,
                source,
            ));
        };
        let beside = |suffix: &str| {
            let mut name = name.to_os_string();
            name.push(suffix);
            directory.with_file_name(name)
        };
        let current = directory.to_path_buf();
        Ok(Self {
            current,
            new: beside(".new"),
            former: beside(".former"),
        })
    }

    /// Refuses to touch a directory that holds anything else than a checkpoint: replacing it would delete that.
    pub(super) fn check_ours(&self) -> Result<(), CheckpointError> {
        for directory in [&self.current, &self.new, &self.former] {
            if let Some(stranger) = first_stranger(directory)
                .map_err(|source| io_error("look into the checkpoint", directory, source))?
            {
                return Err(CheckpointError::Stranger { path: stranger });
            }
        }
        Ok(())
    }

    /// Clears what a crash left: a half-written new one is dropped, a former one without successor goes back.
    pub(super) fn settle(&self) -> Result<(), CheckpointError> {
        remove_if_there(&self.new)?;
        if !self.former.exists() {
            return Ok(());
        }
        if self.current.exists() {
            remove_if_there(&self.former)
        } else {
            rename(&self.former, &self.current)
        }
    }

    /// Puts the new one in the place of the current one.
    pub(super) fn swap(&self) -> Result<(), CheckpointError> {
        let holder = parent(&self.current);
        let sync = || {
            sync_directory(holder)
                .map_err(|source| io_error("write the directory to the disk", holder, source))
        };
        if self.current.exists() {
            rename(&self.current, &self.former)?;
        }
        rename(&self.new, &self.current)?;
        // The new one must be in place on the disk before the former goes.
        sync()?;
        remove_if_there(&self.former)
    }
}

/// Something in a directory that no checkpoint holds, or the path itself if it is no directory.
fn first_stranger(directory: &Path) -> io::Result<Option<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Ok(Some(directory.to_path_buf()));
        }
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        // Files under way have a temporary name that begins like this.
        let ours = name == MANIFEST || name.ends_with(".safetensors") || name.starts_with(".tmp");
        if !(ours && entry.file_type()?.is_file()) {
            return Ok(Some(entry.path()));
        }
    }
    Ok(None)
}

fn remove_if_there(directory: &Path) -> Result<(), CheckpointError> {
    match fs::remove_dir_all(directory) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(io_error("remove the former checkpoint", directory, source))
        }
        _ => Ok(()),
    }
}

fn rename(from: &Path, to: &Path) -> Result<(), CheckpointError> {
    fs::rename(from, to).map_err(|source| io_error("put the checkpoint here", to, source))
}

pub(super) fn io_error(action: &'static str, path: &Path, source: io::Error) -> CheckpointError {
    CheckpointError::Io {
        action,
        path: path.to_path_buf(),
        source,
    }
}
