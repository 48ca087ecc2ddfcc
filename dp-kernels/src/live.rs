//! Which examples reach the sum.

use cubecl::prelude::*;

/// Whether an example with this clip factor reaches the sum: a positive finite factor.
///
/// By the bits, because a shader compiler may assume that NaN and infinity don't occur.
#[cube]
pub(crate) fn is_live<E: Float>(factor: E) -> bool {
    let bytes = E::size().comptime();
    if comptime!(bytes == 8) {
        let bits = u64::reinterpret(factor);
        bits > 0u64 && bits < 0x7ff0_0000_0000_0000u64
    } else {
        let bits = u32::reinterpret(factor);
        bits > 0u32 && bits < 0x7f80_0000u32
    }
}
