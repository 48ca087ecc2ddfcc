//! Gaussian noise by coordinates: element of a tensor at a step, under a key.

// The modules that `#[cube]` generates beside the functions carry no documentation.
#![cfg_attr(feature = "cube", allow(missing_docs))]

#[cfg(feature = "cube")]
use cubecl::prelude::*;

use super::chacha::{Words4, chacha20_block};
use super::normal::{is_short, normal_pair};
use super::philox::philox4x32x10;
use super::{
    BLOCKS_OF_GROUP, FURTHER, Generator, Key, MAX_STD, MOST_NORMALS, NoiseError, RESERVED_TENSOR,
};

/// Two normals from two words: `r cos` and `r sin`.
pub type NormalPair = (f32, f32);

/// The eight pairs of standard normals of one ChaCha20 block.
pub type EightPairs = (
    NormalPair,
    NormalPair,
    NormalPair,
    NormalPair,
    NormalPair,
    NormalPair,
    NormalPair,
    NormalPair,
);

/// The sixteen standard normals of one ChaCha20 block, by pairs.
///
/// `input` is `(block, tensor, step low, step high)`, the block below 2^31; the key is two quarters as in
/// [`chacha20_block()`]. Which elements they are: the layout of [`crate::noise`].
#[cfg_attr(feature = "cube", cube)]
pub fn chacha20_normals(key_low: Words4, key_high: Words4, input: Words4) -> EightPairs {
    let (a, b, c, d) = chacha20_block(key_low, key_high, input);
    let (w0, w1, w2, w3) = a;
    let (w4, w5, w6, w7) = b;
    let (w8, w9, w10, w11) = c;
    let (w12, w13, w14, w15) = d;
    let mut f0 = 0u32;
    let mut f1 = 0u32;
    let mut f2 = 0u32;
    let mut f3 = 0u32;
    let mut f4 = 0u32;
    let mut f5 = 0u32;
    let mut f6 = 0u32;
    let mut f7 = 0u32;
    let low_half = is_short(w0) || is_short(w2) || is_short(w4) || is_short(w6);
    let high_half = is_short(w8) || is_short(w10) || is_short(w12) || is_short(w14);
    if low_half || high_half {
        let (block, tensor, step_low, step_high) = input;
        let further = (block | FURTHER, tensor, step_low, step_high);
        let (a, b, _c, _d) = chacha20_block(key_low, key_high, further);
        let (a0, a1, a2, a3) = a;
        let (b0, b1, b2, b3) = b;
        f0 = a0;
        f1 = a1;
        f2 = a2;
        f3 = a3;
        f4 = b0;
        f5 = b1;
        f6 = b2;
        f7 = b3;
    }
    (
        normal_pair(w0, f0, w1),
        normal_pair(w2, f1, w3),
        normal_pair(w4, f2, w5),
        normal_pair(w6, f3, w7),
        normal_pair(w8, f4, w9),
        normal_pair(w10, f5, w11),
        normal_pair(w12, f6, w13),
        normal_pair(w14, f7, w15),
    )
}

/// The two pairs of standard normals of one Philox block.
///
/// `input` is `(block, tensor, step low, step high)`, the block below 2^31; the key is the first two words of a [`Key`].
#[cfg_attr(feature = "cube", cube)]
pub fn philox4x32x10_normals(
    input: Words4,
    key_low: u32,
    key_high: u32,
) -> (NormalPair, NormalPair) {
    let (w0, w1, w2, w3) = philox4x32x10(input, key_low, key_high);
    let mut f0 = 0u32;
    let mut f1 = 0u32;
    if is_short(w0) || is_short(w2) {
        let (block, tensor, step_low, step_high) = input;
        let further = (block | FURTHER, tensor, step_low, step_high);
        let (a0, a1, _a2, _a3) = philox4x32x10(further, key_low, key_high);
        f0 = a0;
        f1 = a1;
    }
    (normal_pair(w0, f0, w1), normal_pair(w2, f1, w3))
}

/// Overwrites `out` with Gaussian noise of standard deviation `std`: element `i` of `out` is element
/// `first_element + i` of the tensor.
///
/// Each value is a function of (key, generator, step, tensor, element) alone, however the
/// tensor is cut into calls, threads or devices.
///
/// # Errors
/// [`NoiseError::ElementRange`] when the last element is beyond [`Generator::max_elements`],
/// [`NoiseError::StandardDeviation`] when `std` is not in `0..=MAX_STD` and
/// [`NoiseError::ReservedTensor`] for that tensor. `out` is then as it was.
///
/// # Privacy
/// Added to a sum of sensitivity `D`, `std = sigma D` makes a release one Gaussian mechanism of
/// noise multiplier `sigma`, if no (key, step, tensor, element) is ever used twice and the key is
/// secret. Values are f32: the attacks of Mironov (2012) on the low bits are out of scope here.
///
/// # Precision
/// A normal is within 4.5 units in the last place of the exact function of its bits, then comes one
/// rounding for `std`. The largest magnitude is `9.49 std`.
pub fn fill_gaussian(
    out: &mut [f32],
    first_element: u64,
    std: f32,
    key: &Key,
    generator: Generator,
    step: u64,
    tensor: u32,
) -> Result<(), NoiseError> {
    check_request(first_element, out.len() as u64, std, generator, tensor)?;

    let group = generator.elements_per_group();
    let end = first_element + out.len() as u64;
    for start in (first_element / group * group..end).step_by(group as usize) {
        let block = start / group * BLOCKS_OF_GROUP;
        let wanted = first_element.max(start)..end.min(start + group);
        for lane in 0..BLOCKS_OF_GROUP {
            // The elements of this block: every 16th, from the first that is wanted.
            let skipped = wanted.start.saturating_sub(start + lane);
            let first = start + lane + skipped.next_multiple_of(BLOCKS_OF_GROUP);
            if first >= wanted.end {
                continue;
            }
            let input = (
                (block + lane) as u32,
                tensor,
                step as u32,
                (step >> 32) as u32,
            );
            let normals = block_of_normals(key, generator, input);
            for element in (first..wanted.end).step_by(BLOCKS_OF_GROUP as usize) {
                let normal = normals[((element - start) / BLOCKS_OF_GROUP) as usize];
                out[(element - first_element) as usize] = std * normal;
            }
        }
    }
    Ok(())
}

/// One draw of Gaussian noise, as [`fill_gaussian`] takes it: which elements, how large, and from which coordinates.
///
/// # Privacy
/// It can't be copied, and what noises a release takes it by value: to noise a second release with it, one must write its
/// coordinates down again. So does a caller whose tensor is in shards, once for each with its own `first_element`.
///
/// ```compile_fail,E0382
/// # use dp_core::noise::GaussianDraw;
/// fn twice<'a>(noise: impl Fn(GaussianDraw<'a>), draw: GaussianDraw<'a>) {
///     noise(draw);
///     noise(draw); // moved by the first
/// }
/// ```
#[derive(Debug)]
#[must_use = "a draw that nothing is noised with leaves a release bare"]
pub struct GaussianDraw<'a> {
    /// The tensor's element that the first value belongs to.
    pub first_element: u64,
    /// Standard deviation.
    pub std: f32,
    /// The key.
    pub key: &'a Key,
    /// Where the bits come from.
    pub generator: Generator,
    /// The step.
    pub step: u64,
    /// The tensor's number.
    pub tensor: u32,
}

impl GaussianDraw<'_> {
    /// Refuses what [`fill_gaussian`] refuses for `len` elements.
    ///
    /// # Errors
    /// As [`fill_gaussian`].
    pub fn check(&self, len: u64) -> Result<(), NoiseError> {
        check_request(
            self.first_element,
            len,
            self.std,
            self.generator,
            self.tensor,
        )
    }
}

/// Refuses what [`fill_gaussian`] refuses; kernels that draw the same noise ask here first.
///
/// # Errors
/// As [`fill_gaussian`].
pub fn check_request(
    first_element: u64,
    len: u64,
    std: f32,
    generator: Generator,
    tensor: u32,
) -> Result<(), NoiseError> {
    if !(0.0..=MAX_STD).contains(&std) {
        return Err(NoiseError::StandardDeviation { std });
    }
    if tensor == RESERVED_TENSOR {
        return Err(NoiseError::ReservedTensor);
    }
    match first_element.checked_add(len) {
        Some(end) if end <= generator.max_elements() => Ok(()),
        _ => Err(NoiseError::ElementRange {
            first_element,
            len,
            generator,
        }),
    }
}

/// The normals of one block, in order; those beyond [`Generator::normals_per_block`] are zero.
fn block_of_normals(key: &Key, generator: Generator, input: Words4) -> [f32; MOST_NORMALS] {
    let [k0, k1, k2, k3, k4, k5, k6, k7] = *key.words();
    match generator {
        Generator::ChaCha20 => {
            let (a, b, c, d, e, f, g, h) =
                chacha20_normals((k0, k1, k2, k3), (k4, k5, k6, k7), input);
            [
                a.0, a.1, b.0, b.1, c.0, c.1, d.0, d.1, e.0, e.1, f.0, f.1, g.0, g.1, h.0, h.1,
            ]
        }
        Generator::Philox4x32x10NotSecure => {
            let (a, b) = philox4x32x10_normals(input, k0, k1);
            let mut normals = [0.0; MOST_NORMALS];
            normals[..4].copy_from_slice(&[a.0, a.1, b.0, b.1]);
            normals
        }
    }
}
