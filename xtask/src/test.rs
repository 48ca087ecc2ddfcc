//! `cargo xtask test`: every test, on every backend that this machine has.

mod bare_metal;

use crate::report::Reports;
use crate::{Result, layering, process, setup};

/// Runs the tests; `arguments` go to `cargo test` as they are.
pub(crate) fn test(arguments: &[String]) -> Result<()> {
    let environment = setup::everything()?;
    layering::check()?;
    bare_metal::build()?;
    let reports = Reports::new()?;

    // In the workspace dp-core always has its feature `cube`, because dp-kernels asks for it.
    let mut alone = process::cargo();
    alone
        .args([
            "test",
            "--release",
            "--package",
            "dp-core",
            "--no-fail-fast",
        ])
        .args(arguments);
    let alone = process::run(environment.apply(&mut alone));

    let mut all = process::cargo();
    all.args([
        "test",
        "--release",
        "--workspace",
        "--features",
        "xtask/tokenizer",
    ])
    .arg("--no-fail-fast")
    .args(arguments);
    let all = process::run(reports.apply(environment.apply(&mut all)));

    for line in reports.lines() {
        println!("{line}");
    }
    alone?;
    all?;
    // A filter may leave out a backend's tests, and whoever filters knows it.
    if arguments.is_empty() {
        reports.enforce()
    } else {
        Ok(())
    }
}
