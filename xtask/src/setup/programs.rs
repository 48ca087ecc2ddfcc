//! Programs that the build calls: a C and C++ compiler, Python with pip.

use std::process::Command;

use super::debian;
use crate::{Result, process};

/// A C and a C++ compiler: the bindings to LLVM are C++, and Rust links with `cc`.
pub(super) fn compiler() -> Result<()> {
    if cfg!(windows) || (has("CC", "cc") && has("CXX", "c++")) {
        return Ok(());
    }
    debian::install(&["gcc", "g++"])
        .map_err(|error| format!("no C and C++ compiler (cc, c++): {error}").into())
}

fn has(variable: &str, name: &str) -> bool {
    std::env::var_os(variable).is_some() || process::find(name).is_some()
}

/// `python3 -m pip`, which downloads the wheels; `llvm-config` of the LLVM bundle is a Python
/// script too.
pub(super) fn pip() -> Result<Command> {
    let pip = || {
        let mut command = Command::new("python3");
        command.args(["-m", "pip", "--disable-pip-version-check"]);
        command
    };
    if !process::succeeds(pip().arg("--version")) {
        debian::install(&["python3", "python3-pip"])
            .map_err(|error| format!("no Python 3 with pip: {error}"))?;
    }
    Ok(pip())
}
