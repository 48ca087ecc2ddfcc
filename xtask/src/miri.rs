//! `cargo xtask miri`: dp-core under Miri, which finds undefined behaviour in what it depends on; dp-core itself forbids unsafe code.

use std::process::Command;

use crate::{Result, process, workspace};

/// The tests that take seconds there and not days.
const TESTS: [&str; 2] = ["update", "lora"];

/// On x86-64 `libm` takes roots by inline assembly, which Miri can't run. This target has its bytes the other way round besides.
const TARGET: &str = "s390x-unknown-linux-gnu";

/// Runs them, and says what to install where Miri is missing.
pub(crate) fn run() -> Result<()> {
    if !process::succeeds(rustup().args(["cargo", "miri", "--version"])) {
        let how = "rustup toolchain install nightly --component miri --component rust-src";
        return Err(format!("there is no nightly compiler with Miri here: {how}").into());
    }
    let mut miri = rustup();
    miri.args(["cargo", "miri", "test", "--locked", "--package", "dp-core"])
        .args(["--target", TARGET])
        .args(TESTS.iter().flat_map(|test| ["--test", test]))
        .arg("--target-dir")
        .arg(workspace::scratch()?.join("miri"))
        // A property test reads its seeds from the disk, and asks fewer cases.
        .env("MIRIFLAGS", "-Zmiri-disable-isolation")
        .env("PROPTEST_CASES", "4");
    process::run(&mut miri)
}

/// Another toolchain than the one that runs this.
fn rustup() -> Command {
    let mut command = Command::new("rustup");
    command
        .current_dir(workspace::root())
        .args(["run", "nightly"]);
    command
}
