//! `cargo xtask check`: format, clippy, docs, layering, proof notes.

use crate::{Result, layering, notes, process, setup};

/// Runs every check, the quick ones first.
pub(crate) fn check() -> Result<()> {
    process::run(process::cargo().args(["fmt", "--all", "--check"])).map_err(|error| {
        format!("{error}\nrun `cargo fmt --all` (or `rustup component add rustfmt clippy`)")
    })?;
    layering::check()?;
    notes::check()?;

    let environment = setup::for_building()?;
    // In the release profile, as everything else: one profile, so one set of build scripts and
    // macros, and clippy's metadata of the dependencies is rustdoc's too.
    process::run(environment.apply(process::cargo().args([
        "clippy",
        "--release",
        "--workspace",
        "--all-targets",
        "--features",
        "xtask/tokenizer",
        "--",
        "-D",
        "warnings",
    ])))?;
    process::run(
        environment.apply(
            process::cargo()
                .args(["doc", "--release", "--workspace", "--no-deps"])
                .args(["--features", "xtask/tokenizer"])
                .env("RUSTDOCFLAGS", "-D warnings"),
        ),
    )
}
