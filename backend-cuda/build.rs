//! Finds out whether the LLVM that gets linked has the NVPTX target.
//!
//! cubecl-cuda reaches it even where kernels go through NVRTC, so a bundle built without that target
//! doesn't link; the crate then brings stand-ins for the four functions, which are never called.

use tracel_llvm_bundler::config::llvm_path;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(llvm_without_nvptx)");
    let Ok(bundle) = llvm_path() else {
        return;
    };
    let library = bundle.join("lib").join("libLLVMNVPTXCodeGen.a");
    println!("cargo::rerun-if-changed={}", library.display());
    println!("cargo::rerun-if-changed={}", bundle.display());
    // On Windows the libraries are called otherwise; only the Linux bundle is ever cut down.
    if cfg!(target_os = "linux") && bundle.exists() && !library.exists() {
        println!("cargo::rustc-cfg=llvm_without_nvptx");
    }
}
