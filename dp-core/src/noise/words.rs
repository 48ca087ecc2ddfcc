//! The few 32-bit word operations whose plain spelling differs between a host and a kernel.
//!
//! `+` and `*` on `u32` wrap in a kernel and panic on a host with overflow checks, so both sides
//! name the wrapping form. Each function is one instruction on either side. Under the feature
//! `cube` a module of the same name holds the expansion that `#[cube]` would otherwise generate.

/// `a + b` modulo 2^32.
#[inline(always)]
pub fn wrapping_add(a: u32, b: u32) -> u32 {
    a.wrapping_add(b)
}

/// `a * b` modulo 2^32.
#[inline(always)]
pub fn wrapping_mul(a: u32, b: u32) -> u32 {
    a.wrapping_mul(b)
}

/// The high 32 bits of the 64-bit product `a * b`.
#[inline(always)]
pub fn mul_hi(a: u32, b: u32) -> u32 {
    ((u64::from(a) * u64::from(b)) >> 32) as u32
}

/// `if condition { then } else { otherwise }`, both evaluated; no branch in a kernel.
#[cfg(not(feature = "cube"))]
#[inline(always)]
pub fn select<T>(condition: bool, then: T, otherwise: T) -> T {
    if condition { then } else { otherwise }
}

#[cfg(feature = "cube")]
pub use cubecl::prelude::select;

/// Expansion of [`wrapping_add()`].
#[cfg(feature = "cube")]
pub mod wrapping_add {
    use cubecl::prelude::*;

    /// Emits the kernel's integer add, which wraps.
    pub fn expand(scope: &Scope, a: NativeExpand<u32>, b: NativeExpand<u32>) -> NativeExpand<u32> {
        a.__expand_add_method(scope, b)
    }
}

/// Expansion of [`wrapping_mul()`].
#[cfg(feature = "cube")]
pub mod wrapping_mul {
    use cubecl::prelude::*;

    /// Emits the kernel's integer multiply, which wraps.
    pub fn expand(scope: &Scope, a: NativeExpand<u32>, b: NativeExpand<u32>) -> NativeExpand<u32> {
        a.__expand_mul_method(scope, b)
    }
}

/// Expansion of [`mul_hi()`].
#[cfg(feature = "cube")]
pub mod mul_hi {
    use cubecl::prelude::*;

    /// Emits the kernel's high-half multiply: no 64-bit integers needed.
    pub fn expand(scope: &Scope, a: NativeExpand<u32>, b: NativeExpand<u32>) -> NativeExpand<u32> {
        a.__expand_mul_hi_method(scope, b)
    }
}
