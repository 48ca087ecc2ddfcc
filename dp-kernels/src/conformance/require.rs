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
        Ok(backend) => Some(backend),
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
    assert!(
        !required.split(',').any(|entry| entry.trim() == name),
        "DPCUBE_REQUIRE lists {name}, but: {why}"
    );
    println!("SKIPPED {name}: {why}");
}
