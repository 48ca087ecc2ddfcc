//! Stand-ins for LLVM's NVPTX target, for a bundle built without it.
//!
//! cubecl-cuda links its LLVM code path even where kernels are compiled by NVRTC (feature `cuda-cpp`).
//! That path is never taken, so these are never called; they only satisfy the linker.

macro_rules! stand_in {
    ($($name:ident),*) => {
        $(
            // SAFETY: no other definition of the symbol is linked, the build script saw that the bundle
            // lacks it; the signature is LLVM's, `void (void)`.
            #[unsafe(no_mangle)]
            extern "C" fn $name() {}
        )*
    };
}

stand_in!(
    LLVMInitializeNVPTXTargetInfo,
    LLVMInitializeNVPTXTarget,
    LLVMInitializeNVPTXTargetMC,
    LLVMInitializeNVPTXAsmPrinter
);
