//! Proof that dp-core needs neither std nor an allocator.

use std::path::Path;
use std::process::Command;

use crate::{Result, process, workspace};

const TARGET: &str = "thumbv7em-none-eabihf";

/// A static library of dp-core with its own panic handler: it links only while nothing below it
/// asks for std or for a global allocator.
const FREESTANDING: &str = "dp-core/freestanding/Cargo.toml";

/// Builds dp-core for a bare-metal target where it is installed, and freestanding everywhere.
pub(super) fn build() -> Result<()> {
    let manifest = workspace::root().join(FREESTANDING);
    let folder = workspace::target_directory()?.join("freestanding");
    process::run(
        process::cargo()
            .args(["build", "--release", "--manifest-path"])
            .arg(&manifest)
            .arg("--target-dir")
            .arg(folder),
    )?;
    println!("dp-core: builds freestanding, with no std and no allocator");
    if !installed() {
        println!(
            "dp-core: not built for {TARGET}, which is not installed (rustup target add {TARGET})"
        );
        return Ok(());
    }
    process::run(process::cargo().args([
        "build",
        "--release",
        "--package",
        "dp-core",
        "--target",
        TARGET,
    ]))?;
    println!("dp-core: builds for {TARGET}");
    Ok(())
}

fn installed() -> bool {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    process::output(Command::new(rustc).args(["--print", "target-libdir", "--target", TARGET]))
        .is_ok_and(|folder| Path::new(folder.trim()).exists())
}
