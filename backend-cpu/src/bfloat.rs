//! What kernels on bf16 call on a processor without instructions for it.
//!
//! LLVM makes a call to `__truncsfbf2` of the compiler's runtime of every rounding to bf16 then, and of many a move of bf16 numbers too, and the JIT looks
//! for it among the symbols of the process. GCC's runtime has it since version 13, Rust's has not. Where nobody brings it, a kernel would not link.

use std::io::Write;
use std::mem::forget;
use std::os::fd::AsRawFd;
use std::sync::OnceLock;

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
use rustix::fs::{MemfdFlags, memfd_create};

/// `bfloat/lib.rs`, as the loader takes it.
const LIBRARY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/bfloat.so"));
const SYMBOL: &[u8] = b"__truncsfbf2\0";

/// Sees that the process has the function, once; why it hasn't, where the system loads no library from memory.
pub(crate) fn provide() -> &'static Result<(), String> {
    static DONE: OnceLock<Result<(), String>> = OnceLock::new();
    DONE.get_or_init(|| if is_there() { Ok(()) } else { load() })
}

/// Whether the JIT finds it: among the symbols of the program and of its libraries.
fn is_there() -> bool {
    let process = Library::this();
    // SAFETY: nothing is called or read at the address.
    unsafe { process.get::<*const ()>(SYMBOL) }.is_ok()
}

fn load() -> Result<(), String> {
    // No file: a folder for temporary ones may be one that nothing is run from.
    let memory = memfd_create("bfloat", MemfdFlags::CLOEXEC).map_err(|error| error.to_string())?;
    let mut file = std::fs::File::from(memory);
    file.write_all(LIBRARY).map_err(|error| error.to_string())?;
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    // SAFETY: the library is this crate's own, and runs nothing when it is loaded.
    let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_GLOBAL) };
    // Kernels call it for as long as the process lives.
    forget(library.map_err(|error| error.to_string())?);
    if is_there() {
        Ok(())
    } else {
        Err("the library was loaded, and its symbol is not to be found".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `half`, which rounds in software too: numbers of both signs and all exponents, around every tie, and what is no number.
    #[test]
    fn numbers_are_rounded_to_the_nearest_even() {
        load().expect("loaded from memory");
        let process = Library::this();
        // SAFETY: every runtime's function of this name takes an f32 and returns a bf16, which is returned as the lower half of an f32.
        let function = unsafe { process.get::<extern "C" fn(f32) -> f32>(SYMBOL) }.expect("there");
        let of = |bits: u32| function(f32::from_bits(bits)).to_bits() as u16;
        for upper in 0..=u16::MAX {
            for lower in [0, 1, 0x7fff, 0x8000, 0x8001, 0xffff] {
                let bits = u32::from(upper) << 16 | lower;
                let expected = half::bf16::from_f32(f32::from_bits(bits)).to_bits();
                assert_eq!(of(bits), expected, "{bits:#010x}");
            }
        }
    }
}
