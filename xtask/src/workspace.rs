//! Where the workspace and its target folder are.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::{Result, process};

/// What run, test and check all select. Cargo unites the features of the packages that are selected, so one
/// selection means that the dependencies are built once for all three. All of them hold to the lockfile.
pub(crate) const MAIN: &[&str] = &[
    "--locked",
    "--release",
    "--workspace",
    "--exclude",
    "dp-backend-cuda",
    "--features",
    "xtask/tokenizer",
];

/// The CUDA backend by itself: selected with the others it would turn CubeCL's CUDA runtime on in every
/// program, and each would then have to link it.
pub(crate) const CUDA: &[&str] = &["--locked", "--release", "--package", "dp-backend-cuda"];

/// The root of the workspace: the folder above this package.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("."))
}

/// What `cargo metadata` says, with the dependency graph or without.
pub(crate) fn metadata() -> Result<Value> {
    let text =
        process::output(process::cargo().args(["metadata", "--format-version", "1", "--no-deps"]))?;
    Ok(serde_json::from_str(&text)?)
}

/// The target folder, wherever the environment or a configuration file puts it.
pub(crate) fn target_directory() -> Result<PathBuf> {
    let metadata = metadata()?;
    let path = metadata["target_directory"]
        .as_str()
        .ok_or("cargo metadata names no target_directory")?;
    Ok(PathBuf::from(path))
}

/// xtask's own corner of the target folder: downloads, reports, a run-time folder.
pub(crate) fn scratch() -> Result<PathBuf> {
    let path = target_directory()?.join("xtask");
    std::fs::create_dir_all(&path)
        .map_err(|error| format!("cannot create {}: {error}", path.display()))?;
    Ok(path)
}
