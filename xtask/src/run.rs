//! `cargo xtask run`: the demonstration.

use std::process::Command;

use crate::{Result, process, setup, workspace};

/// Builds `dpcube` and runs `dpcube demo` with `arguments`.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let environment = setup::for_running()?;
    let mut build = process::cargo();
    build
        .arg("build")
        .args(workspace::MAIN)
        .args(["--bin", "dpcube"]);
    process::run(environment.apply(&mut build))?;
    let program = workspace::target_directory()?
        .join("release")
        .join(format!("dpcube{}", std::env::consts::EXE_SUFFIX));
    let mut demo = Command::new(program);
    demo.arg("demo")
        .args(arguments)
        .current_dir(workspace::root());
    process::run(environment.apply(&mut demo))
}
