//! `cargo xtask test`: every test, on every backend that this machine has.

mod bare_metal;

use crate::report::Reports;
use crate::{Result, layering, process, setup, workspace};

/// What property tests draw their cases from, unless the caller names another.
pub(crate) const SEED: &str = "PROPTEST_RNG_SEED";

/// The same cases in every run: a change is judged by what it changed, and a failure repeats. Whoever looks for more takes other seeds.
pub(crate) fn seed() -> String {
    std::env::var(SEED).unwrap_or_else(|_| "1".to_owned())
}

/// Runs the tests; `arguments` go to `cargo test` as they are.
pub(crate) fn test(arguments: &[String]) -> Result<()> {
    let environment = setup::everything()?;
    let seed = seed();
    println!("property tests: seed {seed} ({SEED}=N takes other cases)");
    layering::check()?;
    bare_metal::build()?;
    let reports = Reports::new()?;

    // In the workspace dp-core always has its feature `cube`, because dp-kernels asks for it.
    let mut alone = process::cargo();
    alone
        .env(SEED, &seed)
        .args([
            "test",
            "--locked",
            "--release",
            "--package",
            "dp-core",
            "--no-fail-fast",
        ])
        .args(arguments);
    let alone = process::run(environment.apply(&mut alone));

    let suites = [workspace::MAIN, workspace::CUDA].map(|packages| {
        let mut suite = process::cargo();
        suite
            .env(SEED, &seed)
            .arg("test")
            .args(packages)
            .arg("--no-fail-fast")
            .args(arguments);
        process::run(reports.apply(environment.apply(&mut suite)))
    });

    for line in reports.lines() {
        println!("{line}");
    }
    alone?;
    for suite in suites {
        suite?;
    }
    // A filter may leave out a backend's tests, and whoever filters knows it.
    if arguments.is_empty() {
        reports.enforce()
    } else {
        Ok(())
    }
}
