//! The folder that is written and read, in memory where the system has a place for it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use tempfile::TempDir;

thread_local! {
    static PLACE: &'static Path = {
        static FOLDERS: LazyLock<TempDir> = LazyLock::new(|| {
            let memory = Path::new("/dev/shm");
            let made = match memory.is_dir() {
                true => tempfile::tempdir_in(memory),
                false => tempfile::tempdir(),
            };
            made.expect("a temporary folder")
        });
        let thread = format!("{:?}", std::thread::current().id());
        let name: String = thread.chars().filter(char::is_ascii_digit).collect();
        let place = FOLDERS.path().join(format!("checkpoint{name}"));
        Box::leak(place.into_boxed_path())
    };
}

/// Where this thread's checkpoint is.
pub(super) fn place() -> &'static Path {
    PLACE.with(|place| *place)
}

/// The places beside it that a crash can leave.
pub(super) fn beside(place: &Path, suffix: &str) -> PathBuf {
    let mut name = place.file_name().expect("a name").to_os_string();
    name.push(suffix);
    place.with_file_name(name)
}

/// Makes `folder` anew with these files.
pub(super) fn write(folder: &Path, files: &[(String, Vec<u8>)]) {
    remove(folder);
    fs::create_dir(folder).expect("a folder");
    for (name, bytes) in files {
        fs::write(folder.join(name), bytes).expect("a file");
    }
}

pub(super) fn remove(folder: &Path) {
    // It may not be there, or be a file.
    let _ = fs::remove_dir_all(folder);
    let _ = fs::remove_file(folder);
}
