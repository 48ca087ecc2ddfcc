//! Proof that dp-core needs neither std nor an allocator.

use crate::setup::targets::{BARE, has_rustup, installed};
use crate::{Result, process, workspace};

/// A static library of dp-core with its own panic handler: it links only while nothing below it
/// asks for std or for a global allocator.
const FREESTANDING: &str = "dp-core/freestanding/Cargo.toml";

/// Builds dp-core freestanding everywhere, and for the bare targets that are installed.
pub(super) fn build() -> Result<()> {
    let manifest = workspace::root().join(FREESTANDING);
    let folder = workspace::target_directory()?.join("freestanding");
    process::run(
        process::cargo()
            .args(["build", "--locked", "--release", "--manifest-path"])
            .arg(&manifest)
            .arg("--target-dir")
            .arg(folder),
    )?;
    println!("dp-core: builds freestanding, with no std and no allocator");
    for target in BARE {
        if installed(target) {
            process::run(process::cargo().args([
                "build",
                "--locked",
                "--release",
                "--package",
                "dp-core",
                "--target",
                target,
            ]))?;
            println!("dp-core: builds for {target}");
        } else {
            missing(target, std::env::var_os("CI").is_some(), has_rustup())?;
        }
    }
    Ok(())
}

/// What lacks may be left out, but not on CI, where nobody reads that it was.
fn missing(target: &str, on_ci: bool, obtainable: bool) -> Result<()> {
    let line = format!(
        "dp-core: not built for {target}, which is not installed (rustup target add {target})"
    );
    if on_ci && obtainable {
        return Err(line.into());
    }
    println!("{line}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_target_fails_on_ci_alone_and_only_where_rustup_could_add_it() {
        assert!(missing("t", true, true).is_err_and(|error| error.to_string().contains("add t")));
        assert!(missing("t", true, false).is_ok());
        assert!(missing("t", false, true).is_ok());
    }

    #[test]
    fn an_unknown_target_is_not_installed() {
        assert!(!installed("no-such-target"));
    }
}
