//! Rust targets without std, for which dp-core is built.

use std::path::Path;
use std::process::Command;

use crate::process;

/// A microcontroller, and the web without a browser's bindings.
pub(crate) const BARE: [&str; 2] = ["thumbv7em-none-eabihf", "wasm32-unknown-unknown"];

/// Adds the targets that the toolchain lacks; says in one line why not where it can't.
pub(super) fn install() {
    let missing: Vec<_> = BARE.into_iter().filter(|name| !installed(name)).collect();
    if missing.is_empty() {
        return;
    }
    let names = missing.join(" and ");
    if !has_rustup() {
        println!("targets: no rustup to add {names} with");
        return;
    }
    let added = process::output(
        Command::new("rustup")
            .args(["target", "add"])
            .args(&missing),
    );
    // rustup may serve another toolchain than the rustc that is used.
    match added {
        Ok(_) if missing.iter().all(|name| installed(name)) => println!("targets: added {names}"),
        Ok(_) => println!("targets: rustup added {names}, but not to the rustc in use"),
        Err(error) => {
            let error = error.to_string();
            let why = error.lines().last().unwrap_or_default();
            println!("targets: cannot add {names}: {why}");
        }
    }
}

/// Whether rustc has the target's libraries.
pub(crate) fn installed(target: &str) -> bool {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    process::output(Command::new(rustc).args(["--print", "target-libdir", "--target", target]))
        .is_ok_and(|folder| Path::new(folder.trim()).exists())
}

/// Whether targets can be had at all.
pub(crate) fn has_rustup() -> bool {
    process::find("rustup").is_some()
}
