//! `cargo xtask miri`: all of dp-core's tests under Miri, which finds undefined behaviour in what it depends on; dp-core itself forbids unsafe code.

use std::process::Command;

use crate::test::{SEED, seed};
use crate::{Result, process, workspace};

/// Its bytes are the other way round, so that errors of byte order show too. On x86-64 `libm` takes roots by inline assembly, which Miri can't run,
/// unless its feature `force-soft-floats` is on.
const TARGET: &str = "s390x-unknown-linux-gnu";

/// The fuzz targets' seeds are read from the disk. Miri errs at random by some ulps where the standard library promises no precision (`powi`,
/// `ln`), which is not what the tests' own arithmetic is for.
const FLAGS: &str = "-Zmiri-disable-isolation -Zmiri-deterministic-floats";

/// Runs all its tests, smaller where they say so by `cfg(miri)`, and says what to install where Miri is missing.
pub(crate) fn run() -> Result<()> {
    if !process::succeeds(rustup().args(["cargo", "miri", "--version"])) {
        let how = "rustup toolchain install nightly --component miri --component rust-src";
        return Err(format!("there is no nightly compiler with Miri here: {how}").into());
    }
    let tests = process::run(&mut miri(&["--lib", "--tests", "--no-fail-fast"])?);
    // The accountant's examples ask contours by the dozen, which take Miri many minutes each; its tests have them.
    let examples = process::run(&mut miri(&["--doc", "--", "--skip", "accounting::"])?);
    tests.and(examples)
}

/// `cargo miri test` of dp-core; `what` to run ends it.
fn miri(what: &[&str]) -> Result<Command> {
    let mut miri = rustup();
    miri.args(["cargo", "miri", "test", "--locked", "--package", "dp-core"])
        .args(["--target", TARGET, "--target-dir"])
        .arg(workspace::scratch()?.join("miri"))
        .args(what)
        .env("MIRIFLAGS", FLAGS)
        // The cases of the tests that name no number of their own; those that do name a second one for Miri.
        .env("PROPTEST_CASES", "4")
        .env(SEED, seed())
        // A case that fails is printed, and leaves no file in the tree.
        .env("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "1");
    Ok(miri)
}

/// Another toolchain than the one that runs this.
fn rustup() -> Command {
    let mut command = Command::new("rustup");
    command
        .current_dir(workspace::root())
        .args(["run", "nightly"]);
    command
}
