//! Random bits to standard normals: Box-Muller with polynomials of our own.
//!
//! The device's `log`, `sin`, `cos` and `sqrt` differ from driver to driver by more than a result
//! may; here only add, subtract, multiply and integer operations are used, so a kernel computes what
//! the host computes.
//!
//! The angle is reduced to an octant in integers, so `sin` and `cos` keep their relative accuracy
//! near their zeros. A uniform above one half is used through its complement, so small radii keep theirs.
//!
//! # Bits of the radius
//! The uniform of the radius has 32 bits, and 64 where it is [`short`](is_short()): where fewer than 18 bits of the 32 are
//! significant, which happens to one in 8192. So the tails reach sqrt(-2 ln 2^-65) = 9.49, and what 32 more bits would change
//! elsewhere is below the last place of an `f32` for radii from 1 on and below a millionth of smaller ones, while a normal takes a
//! word of the generator and not one and a half.
//!
//! # Precision
//! Assumed of a device: 32-bit add, subtract and multiply round to nearest; `u32 as f32` is exact
//! up to 2^24; `a * b + c` may be contracted to one rounding (CubeCL writes it as a fused
//! multiply-add, which a device may split again) and a common factor may be taken out of a sum.
//! Subnormals never arise in a result.
//!
//! Error against the exact function of the same bits, in units in the last place, asserted by
//! `tests/normal_precision.rs`: `-ln u` 1.7, square root 0.51, sine and cosine 2.4, a normal 4.5.
//! Host and kernel differ by at most 1 unit in each part and 3 in a normal; measured over 2^20
//! normals, 1% differ where multiply-adds are fused or the root is the processor's own, and 1 in 10,000 where neither.
//!
//! # References
//! Box and Muller, "A note on the generation of random normal deviates", 1958.

// The modules that `#[cube]` generates beside the functions carry no documentation.
#![cfg_attr(feature = "cube", allow(missing_docs))]

#[cfg(feature = "cube")]
use cubecl::prelude::*;

use super::words::select;

/// No normal is larger than sqrt(-2 ln 2^-65) = 9.4926 in magnitude: what lies beyond this is not drawn as often as a normal distribution has it.
pub const LARGEST_NORMAL: f64 = 9.49;

/// A word nearer than this to 0 or to 2^32 is [`short`](is_short()).
pub const SHORT: u32 = 1 << 18;

/// Whether the uniform of the radius takes more bits than those of its word `high`: one word in 8192.
#[cfg_attr(feature = "cube", cube)]
pub fn is_short(high: u32) -> bool {
    (high ^ complement(high)) < SHORT
}

/// All ones for the words of uniforms above one half, else zeros.
#[cfg_attr(feature = "cube", cube)]
fn complement(high: u32) -> u32 {
    select(high >= 0x8000_0000u32, 0xffff_ffffu32, 0u32)
}

/// Two independent standard normals `(r cos, r sin)` from 64 uniform bits, or 96.
///
/// `high` gives the radius, with `further` where it [`is_short()`], and `angle` the angle: `u = (high + 1/2) / 2^32` or
/// `(2^32 high + further + 1/2) / 2^64`, `r = sqrt(-2 ln u)`, and `2 pi (angle + 1/2) / 2^32`. Never zero, infinite or NaN.
#[cfg_attr(feature = "cube", cube)]
pub fn normal_pair(high: u32, further: u32, angle: u32) -> (f32, f32) {
    let r = square_root(2.0f32 * minus_ln_uniform(high, further));
    let (cosine, sine) = cos_sin_turn(angle);
    (r * cosine, r * sine)
}

/// `-ln u` of the `u` of [`normal_pair()`]: exponentially distributed, in (2.7e-20, 45.1).
#[cfg_attr(feature = "cube", cube)]
pub fn minus_ln_uniform(high: u32, further: u32) -> f32 {
    // u above one half is replaced by 1 - u, which complements the bits: then t <= 1/2 either way,
    // and its leading bits are all there.
    let upper = high >= 0x8000_0000u32;
    let mask = complement(high);
    let h = high ^ mask;
    // One half of the last place, where nothing more is known.
    let l = select(is_short(high), further ^ mask, 0x8000_0000u32);

    // t = n / 2^65 with n = 2 (2^32 h + l) + 1; shift out its leading zeros.
    let n_high = (h << 1u32) | (l >> 31u32);
    let n_low = (l << 1u32) | 1u32;
    let short = n_high == 0u32;
    let first = select(short, n_low, n_high);
    let second = select(short, 0u32, n_low);
    let zeros = first.leading_zeros();
    let leading = (first << zeros) | ((second >> 1u32) >> (31u32 - zeros));
    let shift = zeros + select(short, 33u32, 1u32);

    // t = fraction / 2^shift, fraction in [1/2, 1]. The two halves convert exactly: one rounding.
    let fraction = ((leading >> 16u32) as f32 * 65536.0f32 + (leading & 0xffffu32) as f32)
        * 2.328_306_4e-10f32;
    let t = fraction * f32::from_bits((127u32 - shift) << 23u32);

    // u = (1 + f) / 2^e with 1 + f in [sqrt(1/2), sqrt 2].
    let small = fraction < 0.707_106_77f32;
    let f_of_u = select(small, 2.0f32 * fraction - 1.0f32, fraction - 1.0f32);
    let e_of_u = select(small, shift + 1u32, shift);
    let near_one = t < 0.292_893_23f32;
    let f_of_complement = select(near_one, -t, 1.0f32 - 2.0f32 * t);
    let e_of_complement = select(near_one, 0u32, 1u32);
    let f = select(upper, f_of_complement, f_of_u);
    let e = select(upper, e_of_complement, e_of_u) as f32;

    // ln(1 + f) = f - f^2 / 2 + f^3 P(f); ln 2 in two parts, the first exact when multiplied by e.
    let p = 0.067_466_48f32;
    let p = p * f - 0.116_756_55f32;
    let p = p * f + 0.118_881_606f32;
    let p = p * f - 0.124_055_885f32;
    let p = p * f + 0.142_195_52f32;
    let p = p * f - 0.166_679_96f32;
    let p = p * f + 0.200_021_19f32;
    let p = p * f - 0.250_000_1f32;
    let p = p * f + 0.333_333_13f32;
    let square = f * f;
    let tail = (f * square) * p - 0.5f32 * square - e * -2.121_944_4e-4f32;
    e * 0.693_359_4f32 - (f + tail)
}

/// `(cos, sin)` of the angle `2 pi (w + 1/2) / 2^32`.
#[cfg_attr(feature = "cube", cube)]
pub fn cos_sin_turn(w: u32) -> (f32, f32) {
    // Octant, and the distance x to the nearest multiple of a right angle: odd octants look back.
    // n = x 2^30 / (pi/4) is an odd integer, so x is never 0; its two halves convert exactly.
    let octant = w >> 29u32;
    let forward = ((w & 0x1fff_ffffu32) << 1u32) | 1u32;
    let odd = (octant & 1u32) == 1u32;
    let n = select(odd, 0x4000_0000u32 - forward, forward);
    let x = ((n >> 15u32) as f32 * 32768.0f32 + (n & 0x7fffu32) as f32) * 7.314_590_6e-10f32;

    // sin x and cos x on [0, pi/4]. The last sums are such that neither contracting them nor
    // factoring x out of them changes more than the last bit.
    let s = x * x;
    let p = -1.951_528_4e-4f32;
    let p = p * s + 0.008_332_16f32;
    let p = p * s - 0.166_666_55f32;
    let small = x + (x * s) * p;
    let q = 2.443_315_9e-5f32;
    let q = q * s - 0.001_388_731_6f32;
    let q = q * s + 0.041_666_646f32;
    let large = (1.0f32 - 0.5f32 * s) + (s * s) * q;

    let swap = (((octant + 1u32) >> 1u32) & 1u32) == 1u32;
    let cosine = select(swap, small, large);
    let sine = select(swap, large, small);
    let cosine_negative = ((octant + 2u32) & 4u32) != 0u32;
    let sine_negative = octant >= 4u32;
    (
        select(cosine_negative, -cosine, cosine),
        select(sine_negative, -sine, sine),
    )
}

/// The square root of a normal positive `x` within 0.51 units in the last place,
/// for `x` in 2^-64 .. 2^64; zero gives zero.
#[cfg_attr(feature = "cube", cube)]
pub fn square_root(x: f32) -> f32 {
    let inverse = inverse_square_root(x);
    let s = x * inverse;
    // Heron's correction with the exact remainder x - s * s: s in two halves of 12 bits, so that no
    // product rounds, contracted or not.
    let high = f32::from_bits(s.to_bits() & 0xffff_f000u32);
    let low = s - high;
    let remainder = ((x - high * high) - 2.0f32 * high * low) - low * low;
    s + 0.5f32 * inverse * remainder
}

/// `1 / sqrt(x)` to a few units in the last place; finite for 0.
#[cfg_attr(feature = "cube", cube)]
fn inverse_square_root(x: f32) -> f32 {
    // Halving the exponent in the bits gives 3.5%; each Newton step squares that.
    let half = 0.5f32 * x;
    let y = f32::from_bits(0x5f37_59dfu32 - ((x.to_bits() & 0x7fff_ffffu32) >> 1u32));
    let y = y * (1.5f32 - (half * y) * y);
    let y = y * (1.5f32 - (half * y) * y);
    y * (1.5f32 - (half * y) * y)
}
