//! Gaussian noise by coordinates: element of a tensor at a step, under a key.

// The modules that `#[cube]` generates beside the functions carry no documentation.
#![cfg_attr(feature = "cube", allow(missing_docs))]

#[cfg(feature = "cube")]
use cubecl::prelude::*;

use super::chacha::{Words4, chacha20_block};
use super::normal::normal_pair;
use super::philox::philox4x32x10;
use super::{Generator, Key, MAX_STD, NoiseError, RESERVED_TENSOR};

/// Elements `8 block .. 8 block + 8` of a tensor's standard normals, from one ChaCha20 block.
///
/// `input` is `(block, tensor, step low, step high)`; the key is two quarters as in
/// [`chacha20_block()`].
#[cfg_attr(feature = "cube", cube)]
pub fn chacha20_normals(key_low: Words4, key_high: Words4, input: Words4) -> (Normals4, Normals4) {
    let (w0, w1, w2, w3) = chacha20_block(key_low, key_high, input);
    let (n0, n1) = pair_of_words(w0);
    let (n2, n3) = pair_of_words(w1);
    let (n4, n5) = pair_of_words(w2);
    let (n6, n7) = pair_of_words(w3);
    ((n0, n1, n2, n3), (n4, n5, n6, n7))
}

/// Elements `2 block` and `2 block + 1` of a tensor's standard normals, from one Philox block.
///
/// `input` is `(block, tensor, step low, step high)`; the key is the first two words of a [`Key`].
#[cfg_attr(feature = "cube", cube)]
pub fn philox4x32x10_normals(input: Words4, key_low: u32, key_high: u32) -> (f32, f32) {
    pair_of_words(philox4x32x10(input, key_low, key_high))
}

/// Four consecutive normals.
pub type Normals4 = (f32, f32, f32, f32);

#[cfg_attr(feature = "cube", cube)]
fn pair_of_words(words: Words4) -> (f32, f32) {
    let (w0, w1, w2, _unused) = words;
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

    let per_block = generator.elements_per_block();
    let mut block = first_element / per_block;
    let mut skip = (first_element % per_block) as usize;
    let mut rest = out;
    while !rest.is_empty() {
        let input = (block as u32, tensor, step as u32, (step >> 32) as u32);
        let normals = block_of_normals(key, generator, input);
        let wanted = &normals[skip..per_block as usize];
        let count = wanted.len().min(rest.len());
        let (now, later) = rest.split_at_mut(count);
        for (value, normal) in now.iter_mut().zip(wanted) {
            *value = std * normal;
        }
        rest = later;
        block += 1;
        skip = 0;
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

/// The normals of one block, in order; those beyond [`Generator::elements_per_block`] are zero.
fn block_of_normals(key: &Key, generator: Generator, input: Words4) -> [f32; 8] {
    let [k0, k1, k2, k3, k4, k5, k6, k7] = *key.words();
    match generator {
        Generator::ChaCha20 => {
            let (a, b) = chacha20_normals((k0, k1, k2, k3), (k4, k5, k6, k7), input);
            [a.0, a.1, a.2, a.3, b.0, b.1, b.2, b.3]
        }
        Generator::Philox4x32x10NotSecure => {
            let (a, b) = philox4x32x10_normals(input, k0, k1);
            [a, b, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
        }
    }
}
