//! What several tests of the engine share.
#![allow(dead_code, reason = "each test takes its own part")]

use std::path::{Path, PathBuf};

use dp_core::accounting::Event;
use dp_core::ledger::{Charge, Header, Unit};
use dp_engine::keys::{NoiseKey, ProcessStart, RunKeys};
use dp_engine::ledger::{LedgerFile, LedgerFileError, Recovery};
use dp_engine::plan::PrivacyTarget;
use tempfile::TempDir;

pub const HEADER: Header = Header {
    dataset: [0xD5; 32],
    config: [0xC0; 32],
    unit: Unit::Record,
};

pub const BUDGET: PrivacyTarget = PrivacyTarget {
    epsilon: 8.0,
    delta: 1e-5,
};

/// Cheap enough for millions of steps within [`BUDGET`], and accounted for in closed form.
pub const CHARGE: Charge = Charge {
    event: Event::Gaussian { sigma: 1e4 },
    clip: 1.0,
    eta: 1e-3,
    count: 1,
    counts: None,
};

/// A new process start; nobody has its keys.
pub fn start() -> ProcessStart {
    RunKeys::generate().unwrap().process
}

/// A directory and a path in it for a ledger.
pub fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger.bin");
    (directory, path)
}

pub fn create(path: &Path) -> (LedgerFile, NoiseKey) {
    let keys = RunKeys::generate().unwrap();
    (
        LedgerFile::create(path, &HEADER, BUDGET, keys.process).unwrap(),
        keys.noise,
    )
}

pub fn try_open(path: &Path) -> Result<(LedgerFile, Recovery), LedgerFileError> {
    LedgerFile::open(path, &HEADER, BUDGET, start())
}

pub fn open(path: &Path) -> (LedgerFile, Recovery) {
    try_open(path).unwrap()
}

/// Runs a test of the calling test program in a process of its own.
pub fn child(test: &str, variables: &[(&str, &str)]) -> std::process::Command {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads", "1"]);
    command.envs(variables.iter().copied());
    command.stdout(std::process::Stdio::null());
    command
}
