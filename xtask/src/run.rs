//! `cargo xtask run`: the demonstration.

use std::process::Command;

use crate::{Result, process, setup, workspace};

/// Builds `dpcube` and runs `dpcube demo` with `arguments`.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let environment = setup::for_running()?;
    // The whole workspace is selected, though one program is built: cargo unites the features of
    // what is selected, so this build and that of `cargo xtask test` share their dependencies.
    process::run(environment.apply(process::cargo().args([
        "build",
        "--release",
        "--workspace",
        "--features",
        "xtask/tokenizer",
        "--bin",
        "dpcube",
    ])))?;
    let program = workspace::target_directory()?
        .join("release")
        .join(format!("dpcube{}", std::env::consts::EXE_SUFFIX));
    let mut demo = Command::new(program);
    demo.arg("demo")
        .args(arguments)
        .current_dir(workspace::root());
    process::run(environment.apply(&mut demo))
}
