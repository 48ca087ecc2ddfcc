//! What the dependencies may be: their licences, where they come from, which versions.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Result, process, setup, workspace};

/// Where a package may come from, as a lockfile writes it.
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Workspaces beside the main one.
const BESIDE: [&str; 4] = [
    "dp-core/freestanding",
    "dp-core/fuzz",
    "dp-engine/fuzz",
    "dp-text/fuzz",
];

/// Fails where `deny.toml` forbids a dependency, a lockfile is out of step, or a package comes from elsewhere than crates.io.
///
/// Advisories are left out: their database is on GitHub, and what is asked there today has another answer tomorrow.
pub(crate) fn check() -> Result<()> {
    for folder in BESIDE {
        let lockfile = workspace::root().join(folder).join("Cargo.lock");
        sources(&lockfile)?;
    }
    match setup::deny::install() {
        Ok(program) => process::run(&mut deny(&program)),
        // What lacks may be left out, but not on CI, where nobody reads that it was.
        Err(why) if std::env::var_os("CI").is_none() => {
            println!("cargo-deny: not asked: {why}");
            Ok(())
        }
        Err(why) => Err(format!("cargo-deny: {why}").into()),
    }
}

fn deny(program: &PathBuf) -> Command {
    let mut command = Command::new(program);
    command
        .current_dir(workspace::root())
        .args(["--locked", "--workspace", "check", "--hide-inclusion-graph"])
        .args(["licenses", "sources", "bans"]);
    command
}

fn sources(lockfile: &Path) -> Result<()> {
    let text = fs::read_to_string(lockfile)
        .map_err(|error| format!("cannot read {}: {error}", lockfile.display()))?;
    match foreign(&text) {
        Some(source) => {
            Err(format!("{}: a package comes from {source}", lockfile.display()).into())
        }
        None => Ok(()),
    }
}

/// The first source in a lockfile that isn't crates.io.
fn foreign(lockfile: &str) -> Option<&str> {
    let sources = lockfile
        .lines()
        .filter_map(|line| line.strip_prefix("source = \""));
    sources
        .map(|source| source.trim_end_matches('"'))
        .find(|source| *source != CRATES_IO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_sources_are_found() {
        let good = format!("name = \"a\"\nsource = \"{CRATES_IO}\"\n");
        assert_eq!(foreign(&good), None);
        let git = format!("{good}source = \"git+https://example.org/b\"\n");
        assert_eq!(foreign(&git), Some("git+https://example.org/b"));
    }
}
