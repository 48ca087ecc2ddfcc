//! The one function of a compiler's runtime that kernels on bf16 call where a processor has no instruction for it. `build.rs` makes a library of this
//! file, and `src/bfloat.rs` loads it.

#![no_std]

/// `x` as bf16, to the nearest, ties to even: bits 0 to 15 of what is returned, in the register in which both a bf16 and an f32 are returned.
///
/// LLVM's name and meaning (compiler-rt, `truncsfbf2.c`); a NaN stays one, made quiet.
// SAFETY: no other function of this name is in a library that holds nothing else.
#[unsafe(no_mangle)]
pub extern "C" fn __truncsfbf2(x: f32) -> f32 {
    let bits = x.to_bits();
    let upper = bits >> 16;
    let nearest = bits.wrapping_add(0x7fff + (upper & 1)) >> 16;
    f32::from_bits(if x.is_nan() { upper | 0x40 } else { nearest })
}

#[panic_handler]
fn never(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
