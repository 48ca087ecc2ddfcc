//! Debian packages, where xtask may install them.

use std::path::Path;
use std::process::Command;

use crate::{Result, process};

/// Installs packages with apt where this is Debian (or a derivative) and we are root; otherwise
/// says what a person can do.
pub(super) fn install(packages: &[&str]) -> Result<()> {
    let names = packages.join(" ");
    if !Path::new("/etc/debian_version").exists() || process::find("apt-get").is_none() {
        return Err(format!("install what your system calls {names}").into());
    }
    if !is_root() {
        return Err(format!("run: sudo apt-get update && sudo apt-get install -y {names}").into());
    }
    process::run(Command::new("apt-get").args(["update", "-qq"]))?;
    process::run(
        Command::new("apt-get")
            .args(["install", "-y", "-qq", "--no-install-recommends"])
            .args(packages)
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )
}

fn is_root() -> bool {
    process::output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}
