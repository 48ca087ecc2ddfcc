//! Runs the exercise as a process that has no libc: its exit status is the exercise's answer.
#![no_std]
#![no_main]

use dp_core_freestanding::dp_core_exercise;

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod linux {
    use core::arch::{asm, naked_asm};

    /// The entry point: aligns the stack as the calling convention wants it.
    #[unsafe(naked)]
    #[unsafe(no_mangle)]
    extern "C" fn _start() -> ! {
        naked_asm!("xor ebp, ebp", "and rsp, -16", "call {main}", "ud2", main = sym main)
    }

    extern "C" fn main() -> ! {
        let status = super::dp_core_exercise();
        // SAFETY: system call 60, exit, takes a status and does not return.
        unsafe { asm!("syscall", in("rax") 60, in("rdi") status, options(noreturn)) }
    }

    // The compiler calls these four whatever the crate does; a bare-metal target's
    // compiler-builtins has them, this target's leaves them to libc.

    /// # Safety
    /// As C's.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, n: usize) -> *mut u8 {
        // SAFETY: the caller's ranges are valid and do not overlap.
        unsafe {
            asm!("rep movsb", inout("rcx") n => _, inout("rdi") to => _, inout("rsi") from => _);
        }
        to
    }

    /// # Safety
    /// As C's.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, n: usize) -> *mut u8 {
        if (to as usize).wrapping_sub(from as usize) >= n {
            // SAFETY: going up never overwrites what is still to be read.
            return unsafe { memcpy(to, from, n) };
        }
        // SAFETY: as above, going down; the direction flag is put back.
        unsafe {
            asm!(
                "std", "rep movsb", "cld",
                inout("rcx") n => _,
                inout("rdi") to.wrapping_add(n).wrapping_sub(1) => _,
                inout("rsi") from.wrapping_add(n).wrapping_sub(1) => _,
            );
        }
        to
    }

    /// # Safety
    /// As C's.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn memset(to: *mut u8, value: i32, n: usize) -> *mut u8 {
        // SAFETY: the caller's range is valid.
        unsafe {
            asm!("rep stosb", inout("rcx") n => _, inout("rdi") to => _, in("al") value as u8);
        }
        to
    }

    /// # Safety
    /// As C's.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, n: usize) -> i32 {
        for i in 0..n {
            // SAFETY: the caller's ranges are valid. Volatile, or this loop becomes a call of memcmp.
            let (x, y) = unsafe { (a.add(i).read_volatile(), b.add(i).read_volatile()) };
            if x != y {
                return i32::from(x) - i32::from(y);
            }
        }
        0
    }
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    core::hint::black_box(dp_core_exercise());
    dp_core_freestanding::abort()
}
