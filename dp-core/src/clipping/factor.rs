//! The factors themselves, written once for host and kernel.

// The modules that `#[cube]` generates beside the functions carry no documentation.
#![cfg_attr(feature = "cube", allow(missing_docs))]

#[cfg(feature = "cube")]
use cubecl::prelude::*;

use crate::noise::normal::square_root;
use crate::noise::words::select;

/// `min(1, clip / |g|)` of the squared norm `norm_sq = |g|^2`.
///
/// Exactly 0 when `norm_sq` is NaN, infinite or negative (sign bit set), and when `clip` is not a
/// positive finite number. A squared norm overflows f32 at `|g| > 1.8e19`; such a gradient gets 0.
///
/// # Privacy
/// `sqrt(norm_sq) * factor <= clip (1 + 2^-20)`, evaluated in f64, for every f32 `norm_sq`. What it
/// bounds is the norm that was handed in: the error of `norm_sq` itself is the business of
/// [`crate::sensitivity`]. A device that flushes subnormals takes a squared norm below 2^-126 for
/// 0, so there `clip` must be at least [`MIN_CLIP`](crate::clipping::MIN_CLIP).
///
/// # Precision
/// The root is all but correctly rounded everywhere; one division, taken to be within 2.5 units in
/// the last place (what WGSL and Vulkan promise; a CPU and CUDA round it correctly).
#[cfg_attr(feature = "cube", cube)]
pub fn flat_factor(norm_sq: f32, clip: f32) -> f32 {
    let norm = norm_of_square(norm_sq);
    let above = norm > clip;
    let clipped = select(above, clip / select(above, norm, 1.0f32), 1.0f32);
    let bounded = select(clipped < 1.0f32, clipped, 1.0f32);
    let norm_usable = is_finite_non_negative(norm_sq);
    let clip_usable = is_finite_positive(clip);
    select(norm_usable && clip_usable, bounded, 0.0f32)
}

/// `clip / (|g| + gamma)` of the squared norm `norm_sq = |g|^2`: automatic clipping, AUTO-S.
///
/// Every gradient is scaled, small ones too; no norm reaches `clip`. Exactly 0 for a `norm_sq` that
/// [`flat_factor()`] refuses, when `clip` or `gamma` is not a positive finite number, and when the
/// factor would overflow.
///
/// # Privacy
/// `sqrt(norm_sq) * factor <= clip (1 + 2^-20)`, evaluated in f64, for every f32 `norm_sq`.
///
/// # Precision
/// As [`flat_factor()`], with one addition more.
///
/// # References
/// Bu, Wang, Zha and Karypis, "Automatic clipping", 2206.07136.
#[cfg_attr(feature = "cube", cube)]
pub fn automatic_factor(norm_sq: f32, clip: f32, gamma: f32) -> f32 {
    let norm = norm_of_square(norm_sq);
    let factor = clip / (norm + gamma);
    let norm_usable = is_finite_non_negative(norm_sq);
    let clip_usable = is_finite_positive(clip);
    let gamma_usable = is_finite_positive(gamma);
    let factor_usable = is_finite_non_negative(factor);
    select(
        norm_usable && clip_usable && gamma_usable && factor_usable,
        factor,
        0.0f32,
    )
}

/// What an example adds to the count of norms within `clip`, centred: `1/2` where `|g| <= clip`, else `-1/2`.
///
/// Exactly 0 where `live` is false (no example is there, or it was refused) or the squared norm `norm_sq`
/// is one that [`flat_factor()`] refuses.
///
/// # Privacy
/// At most 1/2 in magnitude, whatever the arguments: adding or removing one example moves the sum by at most 1/2,
/// where a plain count would move by 1.
///
/// # References
/// Andrew, Thakkar, McMahan and Ramaswamy, "Differentially private learning with adaptive clipping", 1905.03871.
#[cfg_attr(feature = "cube", cube)]
pub fn centred_indicator(norm_sq: f32, clip: f32, live: bool) -> f32 {
    let within = norm_of_square(norm_sq) <= clip;
    let indicator = select(within, 0.5f32, -0.5f32);
    let usable = is_finite_non_negative(norm_sq);
    select(live && usable, indicator, 0.0f32)
}

/// `sqrt(x)` for every finite `x >= 0`, subnormals included.
///
/// A tiny `x` is scaled by 2^64 first, a huge one by 2^-64: the iteration stays among normal numbers,
/// and its squares don't overflow.
#[cfg_attr(feature = "cube", cube)]
fn norm_of_square(x: f32) -> f32 {
    let tiny = x < 1.0e-18f32;
    let huge = x > 1.0e18f32;
    let up = 18_446_744_073_709_551_616.0f32;
    let down = 5.421_011e-20f32;
    let scale = select(tiny, up, select(huge, down, 1.0f32));
    let unscale = select(
        tiny,
        2.328_306_4e-10f32,
        select(huge, 4_294_967_296.0f32, 1.0f32),
    );
    square_root(x * scale) * unscale
}

/// By the bits, because a shader compiler may assume that NaN and infinity don't occur.
#[cfg_attr(feature = "cube", cube)]
fn is_finite_non_negative(x: f32) -> bool {
    x.to_bits() < 0x7f80_0000u32
}

#[cfg_attr(feature = "cube", cube)]
fn is_finite_positive(x: f32) -> bool {
    let bits = x.to_bits();
    bits < 0x7f80_0000u32 && bits > 0u32
}
