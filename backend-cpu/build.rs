//! Makes a shared library of `bfloat/lib.rs`, where `src/bfloat.rs` has use for it.

use std::env::var;
use std::path::Path;
use std::process::Command;

const SOURCE: &str = "bfloat/lib.rs";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed={SOURCE}");
    let target = |what: &str| var(format!("CARGO_CFG_TARGET_{what}")).unwrap_or_default();
    if target("OS") != "linux" || target("ARCH") != "x86_64" {
        return;
    }
    let told = |name: &str| var(name).unwrap_or_else(|_| panic!("cargo sets {name}"));
    let library = Path::new(&told("OUT_DIR")).join("bfloat.so");
    let mut rustc = Command::new(told("RUSTC"));
    rustc
        .args(["--edition", "2024", "--crate-type", "cdylib"])
        .args(["--crate-name", "bfloat", "--target", &told("TARGET")])
        .args([
            "-C",
            "panic=abort",
            "-C",
            "opt-level=2",
            "-C",
            "strip=symbols",
        ])
        .args(["-C", "link-arg=-nostdlib", "-o"])
        .arg(&library)
        .arg(SOURCE);
    if let Ok(linker) = var("RUSTC_LINKER") {
        rustc.arg(format!("-Clinker={linker}"));
    }
    let made = rustc.status();
    assert!(
        made.as_ref().is_ok_and(|status| status.success()),
        "{rustc:?}: {made:?}"
    );
}
