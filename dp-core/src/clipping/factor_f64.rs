//! The factors over f64: the lines of [`super::factor`] with the constants of f64, for whoever trains in it.
//!
//! Kernels and host take a policy's clipping norm as the f64 that its f32 is, so there is one policy for both types.

// The modules that `#[cube]` generates beside the functions carry no documentation.
#![cfg_attr(feature = "cube", allow(missing_docs))]

#[cfg(feature = "cube")]
use cubecl::prelude::*;

use crate::noise::words::select;

/// [`flat_factor()`](crate::clipping::flat_factor()) of a squared norm in f64: `min(1, clip / |g|)`.
///
/// Exactly 0 when `norm_sq` is NaN, infinite or negative (sign bit set), and when `clip` is not a positive finite number. A
/// squared norm overflows f64 at `|g| > 1.3e154`; such a gradient gets 0.
///
/// # Privacy
/// `sqrt(norm_sq) * factor <= clip (1 + 2^-49)` for every f64 `norm_sq`: below the [`CLIP_SLACK`](crate::clipping::CLIP_SLACK) that is
/// charged for either type. See docs/proofs/clipping.md.
///
/// # Precision
/// The root is within 0.51 units in the last place, the division is correctly rounded (as a CPU and CUDA have it).
#[cfg_attr(feature = "cube", cube)]
pub fn flat_factor_f64(norm_sq: f64, clip: f64) -> f64 {
    let norm = norm_of_square(norm_sq);
    let above = norm > clip;
    let clipped = select(above, clip / select(above, norm, 1.0f64), 1.0f64);
    let bounded = select(clipped < 1.0f64, clipped, 1.0f64);
    let norm_usable = is_finite_non_negative(norm_sq);
    let clip_usable = is_finite_positive(clip);
    select(norm_usable && clip_usable, bounded, 0.0f64)
}

/// [`automatic_factor()`](crate::clipping::automatic_factor()) of a squared norm in f64: `clip / (|g| + gamma)`.
///
/// Exactly 0 for a `norm_sq` that [`flat_factor_f64()`] refuses, when `clip` or `gamma` is not a positive finite number, and
/// when the factor would overflow.
///
/// # Privacy
/// `sqrt(norm_sq) * factor <= clip (1 + 2^-49)` for every f64 `norm_sq`.
///
/// # Precision
/// As [`flat_factor_f64()`], with one addition more.
///
/// # References
/// Bu, Wang, Zha and Karypis, "Automatic clipping", 2206.07136.
#[cfg_attr(feature = "cube", cube)]
pub fn automatic_factor_f64(norm_sq: f64, clip: f64, gamma: f64) -> f64 {
    let norm = norm_of_square(norm_sq);
    let factor = clip / (norm + gamma);
    let norm_usable = is_finite_non_negative(norm_sq);
    let clip_usable = is_finite_positive(clip);
    let gamma_usable = is_finite_positive(gamma);
    let factor_usable = is_finite_non_negative(factor);
    select(
        norm_usable && clip_usable && gamma_usable && factor_usable,
        factor,
        0.0f64,
    )
}

/// [`centred_indicator()`](crate::clipping::centred_indicator()) of a squared norm in f64; the halves are f32, in which they are counted.
///
/// # Privacy
/// At most 1/2 in magnitude, whatever the arguments.
#[cfg_attr(feature = "cube", cube)]
pub fn centred_indicator_f64(norm_sq: f64, clip: f64, live: bool) -> f32 {
    let within = norm_of_square(norm_sq) <= clip;
    let indicator = select(within, 0.5f32, -0.5f32);
    let usable = is_finite_non_negative(norm_sq);
    select(live && usable, indicator, 0.0f32)
}

/// `sqrt(x)` for every finite `x >= 0`, subnormals included: a tiny `x` is scaled by 2^512 first, a huge one by 2^-512.
#[cfg_attr(feature = "cube", cube)]
fn norm_of_square(x: f64) -> f64 {
    let tiny = x < 1.0e-150f64;
    let huge = x > 1.0e150f64;
    let up = 1.340_780_792_994_259_7e154f64;
    let down = 7.458_340_731_200_207e-155f64;
    let scale = select(tiny, up, select(huge, down, 1.0f64));
    let unscale = select(
        tiny,
        8.636_168_555_094_445e-78f64,
        select(huge, 1.157_920_892_373_162e77f64, 1.0f64),
    );
    square_root(x * scale) * unscale
}

/// The square root of a normal positive `x` within 0.51 units in the last place, for `x` in 2^-600 .. 2^600; zero gives zero.
#[cfg_attr(feature = "cube", cube)]
fn square_root(x: f64) -> f64 {
    // Halving the exponent in the bits gives 3.5%; each Newton step squares that.
    let half = 0.5f64 * x;
    let bits = x.to_bits() & 0x7fff_ffff_ffff_ffffu64;
    let y = f64::from_bits(0x5fe6_eb50_c7b5_37a9u64 - (bits >> 1u64));
    let y = y * (1.5f64 - (half * y) * y);
    let y = y * (1.5f64 - (half * y) * y);
    let inverse = y * (1.5f64 - (half * y) * y);
    let s = x * inverse;
    // Three steps leave 4e-11, and Heron's correction squares that once more. Its remainder x - s * s takes s in parts of 26
    // and 27 bits, so that no product rounds but the smallest, contracted or not.
    let high = f64::from_bits(s.to_bits() & 0xffff_ffff_f800_0000u64);
    let low = s - high;
    let remainder = ((x - high * high) - 2.0f64 * high * low) - low * low;
    s + 0.5f64 * inverse * remainder
}

/// By the bits, as for f32.
#[cfg_attr(feature = "cube", cube)]
fn is_finite_non_negative(x: f64) -> bool {
    x.to_bits() < 0x7ff0_0000_0000_0000u64
}

#[cfg_attr(feature = "cube", cube)]
fn is_finite_positive(x: f64) -> bool {
    let bits = x.to_bits();
    bits < 0x7ff0_0000_0000_0000u64 && bits > 0u64
}
