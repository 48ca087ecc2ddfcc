//! Skipping a device that isn't there, loudly, and failing where it has to be.

use crate::{Backend, BackendError};

/// Opens the backend `name`, or prints `SKIPPED name: why` and gives `None`.
///
/// # Panics
/// When the device can't be opened and the environment variable `DPCUBE_REQUIRE`, a comma list of
/// backends, has `name` in it.
pub fn open_or_skip(
    name: &str,
    open: impl FnOnce() -> Result<Backend, BackendError>,
) -> Option<Backend> {
    match open() {
        Ok(backend) => {
            report_run(name, &backend.describe().device);
            Some(backend)
        }
        Err(error) => {
            skip_unless_required(name, &error.to_string());
            None
        }
    }
}

/// Prints `SKIPPED name: why`.
///
/// # Panics
/// When `DPCUBE_REQUIRE` has `name` in it.
pub fn skip_unless_required(name: &str, why: &str) {
    let required = std::env::var("DPCUBE_REQUIRE").unwrap_or_default();
    let why = why.lines().next().unwrap_or_default();
    assert!(
        !required.split(',').any(|entry| entry.trim() == name),
        "DPCUBE_REQUIRE lists {name}, but: {why}"
    );
    println!("SKIPPED {name}: {why}");
    write_report(name, &format!("SKIPPED: {why}"));
}

/// Notes that the tests of `name` ran, on what.
///
/// One line in a file of the backend's name in the folder that the environment variable
/// `DPCUBE_BACKEND_REPORTS` names, where it is set: a skip can't hide in captured output.
pub fn report_run(name: &str, device: &str) {
    write_report(name, &format!("ran ({device})"));
}

fn write_report(name: &str, line: &str) {
    let Some(folder) = std::env::var_os("DPCUBE_BACKEND_REPORTS") else {
        return;
    };
    let path = std::path::Path::new(&folder).join(name);
    // A report that can't be written is missed by whoever set the folder, who then fails.
    let _ = std::fs::write(path, format!("{line}\n"));
}
