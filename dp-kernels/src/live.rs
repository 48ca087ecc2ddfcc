//! Which examples reach the sum.

use cubecl::prelude::*;

/// Whether an example with this clip factor reaches the sum: a positive finite factor.
///
/// By the bits, because a shader compiler may assume that NaN and infinity don't occur.
#[cube]
pub(crate) fn is_live(factor: f32) -> bool {
    let bits = factor.to_bits();
    bits > 0u32 && bits < 0x7f80_0000u32
}
