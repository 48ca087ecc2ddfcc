//! File operations that survive a power cut, and advice for when they fail.

use std::fs::File;
use std::io;
use std::path::Path;

/// Makes the entries of a directory durable (creations, renames).
pub(crate) fn sync_directory(directory: &Path) -> io::Result<()> {
    // Windows can't open a directory as a file; its renames are durable with the volume's journal.
    if cfg!(windows) {
        return Ok(());
    }
    File::open(directory)?.sync_all()
}

/// The directory that holds `path`.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// What a person can do about an I/O error.
pub(crate) fn way_out(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "free some space there, or choose another place"
        }
        io::ErrorKind::FileTooLarge => "raise the file-size limit, or choose another place",
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "check its permissions, or choose another place"
        }
        io::ErrorKind::NotFound => "check the path",
        _ => "check the path and the disk",
    }
}
