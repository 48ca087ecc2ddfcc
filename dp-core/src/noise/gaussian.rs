//! Gaussian noise by coordinates: element of a tensor at a step, under a key.

// The modules that `#[cube]` generates beside the functions carry no documentation.
#![cfg_attr(feature = "cube", allow(missing_docs))]

#[cfg(feature = "cube")]
use cubecl::prelude::*;

use super::chacha::{Words4, chacha20_block};
use super::normal::normal_pair;
use super::philox::philox4x32x10;
use super::{BLOCKS_OF_GROUP, Generator, Key, MAX_STD, NoiseError, RESERVED_TENSOR};

/// Two normals from three words: `r cos` and `r sin`.
pub type NormalPair = (f32, f32);

/// The ten standard normals of one ChaCha20 block, by pairs.
///
/// `input` is `(block, tensor, step low, step high)`; the key is two quarters as in
/// [`chacha20_block()`]. Which elements they are: the layout of [`crate::noise`].
#[cfg_attr(feature = "cube", cube)]
pub fn chacha20_normals(
    key_low: Words4,
    key_high: Words4,
    input: Words4,
) -> (NormalPair, NormalPair, NormalPair, NormalPair, NormalPair) {
    let (a, b, c, d) = chacha20_block(key_low, key_high, input);
    let (w0, w1, w2, w3) = a;
    let (w4, w5, w6, w7) = b;
    let (w8, w9, w10, w11) = c;
    let (w12, w13, w14, _unused) = d;
    (
        normal_pair(w0, w1, w2),
        normal_pair(w3, w4, w5),
        normal_pair(w6, w7, w8),
        normal_pair(w9, w10, w11),
        normal_pair(w12, w13, w14),
    )
}

/// The two standard normals of one Philox block.
///
/// `input` is `(block, tensor, step low, step high)`; the key is the first two words of a [`Key`].
#[cfg_attr(feature = "cube", cube)]
pub fn philox4x32x10_normals(input: Words4, key_low: u32, key_high: u32) -> NormalPair {
    let (w0, w1, w2, _unused) = philox4x32x10(input, key_low, key_high);
    normal_pair(w0, w1, w2)
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
fn block_of_normals(key: &Key, generator: Generator, input: Words4) -> [f32; 10] {
    let [k0, k1, k2, k3, k4, k5, k6, k7] = *key.words();
    match generator {
        Generator::ChaCha20 => {
            let (a, b, c, d, e) = chacha20_normals((k0, k1, k2, k3), (k4, k5, k6, k7), input);
            [a.0, a.1, b.0, b.1, c.0, c.1, d.0, d.1, e.0, e.1]
        }
        Generator::Philox4x32x10NotSecure => {
            let (a, b) = philox4x32x10_normals(input, k0, k1);
            [a, b, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
        }
    }
}
