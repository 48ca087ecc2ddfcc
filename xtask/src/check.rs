//! `cargo xtask check`: format, clippy, docs, layering, proof notes and what has none, the threat model's tests, the texts of the mutants.

use crate::{
    Result, layering, mutants, notes, process, proofs, setup, supply, threats, unsafe_code,
    workspace,
};

/// Runs every check, the quick ones first.
pub(crate) fn check() -> Result<()> {
    process::run(process::cargo().args(["fmt", "--all", "--check"])).map_err(|error| {
        format!("{error}\nrun `cargo fmt --all` (or `rustup component add rustfmt clippy`)")
    })?;
    layering::check()?;
    notes::check()?;
    proofs::check()?;
    threats::check()?;
    mutants::check()?;
    unsafe_code::check()?;
    supply::check()?;

    let environment = setup::for_building()?;
    // In the release profile, as everything else: one profile, so one set of build scripts and
    // macros, and clippy's metadata of the dependencies is rustdoc's too.
    for packages in [workspace::MAIN, workspace::CUDA] {
        let mut clippy = process::cargo();
        clippy
            .arg("clippy")
            .args(packages)
            .args(["--all-targets", "--", "-D", "warnings"]);
        process::run(environment.apply(&mut clippy))?;
        let mut doc = process::cargo();
        doc.arg("doc")
            .args(packages)
            .arg("--no-deps")
            .env("RUSTDOCFLAGS", "-D warnings");
        process::run(environment.apply(&mut doc))?;
    }
    Ok(())
}
