//! The normals of one unit: as many of the generator's blocks as a vector has lanes, and where they go.

use super::wide;
use crate::Tuning;
use crate::check::Arg;
use cubecl::prelude::*;
use dp_core::noise::{GaussianDraw, Generator, chacha20_normals, philox4x32x10_normals};

/// Which elements, and where their noise sits in the generator's counter.
#[derive(CubeType, CubeLaunch, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) len: u32,
    pub(crate) blocks: u32,
    pub(crate) skip: u32,
    first_block: u32,
    tensor: u32,
    step_low: u32,
    step_high: u32,
}

/// The noise key.
#[derive(CubeType, CubeLaunch, Clone, Copy)]
pub(crate) struct KeyWords {
    k0: u32,
    k1: u32,
    k2: u32,
    k3: u32,
    k4: u32,
    k5: u32,
    k6: u32,
    k7: u32,
}

/// How the noise of a draw is cut: units of [`lanes`](Self::lanes) blocks, of which the first `skip` elements lie
/// before the tensor's first.
#[derive(Clone, Copy)]
pub(crate) struct Cut {
    /// Blocks of a unit.
    pub(crate) lanes: usize,
    /// Where in its block the first element is.
    skip: usize,
    /// Elements of a block.
    per_block: usize,
    blocks: usize,
}

impl Cut {
    pub(crate) fn new(draw: &GaussianDraw<'_>, len: usize, tuning: &Tuning) -> Self {
        let per_block = draw.generator.elements_per_block();
        let skip = (draw.first_element % per_block) as usize;
        let per_block = per_block as usize;
        let lanes = match draw.generator {
            _ if !tuning.is_cpu => 1,
            Generator::ChaCha20 => tuning.lanes(),
            // A pair of vectors, two chains of multiplications side by side. ChaCha20's state of 16 vectors has no room for that.
            Generator::Philox4x32x10NotSecure => 2 * tuning.lanes(),
        };
        Self {
            lanes,
            skip,
            per_block,
            blocks: (skip + len).div_ceil(per_block),
        }
    }

    pub(crate) fn units(&self) -> usize {
        self.blocks.div_ceil(self.lanes)
    }

    /// The widest vector, no wider than `most` elements, that all of `args`, tensors of `len` elements, can be moved by: it divides their
    /// length, the place in the first block where they start, and the elements of a unit.
    pub(crate) fn vector(&self, args: &[Option<Arg<'_>>], len: usize, most: usize) -> usize {
        let most = most.min(self.lanes * self.per_block);
        let mut width = args
            .iter()
            .flatten()
            .fold(most, |width, arg| arg.vector(len, width));
        while !self.skip.is_multiple_of(width) {
            width /= 2;
        }
        width
    }

    pub(crate) fn place(&self, draw: &GaussianDraw<'_>, len: usize) -> PlaceLaunch {
        let (low, high) = (draw.step as u32, (draw.step >> 32) as u32);
        PlaceLaunch::new(
            len as u32,
            self.blocks as u32,
            self.skip as u32,
            (draw.first_element / self.per_block as u64) as u32,
            draw.tensor,
            low,
            high,
        )
    }
}

/// The kernel's argument of the draw's key.
pub(crate) fn key_words(draw: &GaussianDraw<'_>) -> KeyWordsLaunch {
    let [k0, k1, k2, k3, k4, k5, k6, k7] = *draw.key.words();
    KeyWordsLaunch::new(k0, k1, k2, k3, k4, k5, k6, k7)
}

/// Elements of a block.
pub(crate) const fn per_block(chacha: bool) -> usize {
    if chacha {
        Generator::ChaCha20.elements_per_block() as usize
    } else {
        Generator::Philox4x32x10NotSecure.elements_per_block() as usize
    }
}

/// The standard normals of the blocks from `block` on, as many as there are lanes; [`vector_of`] knows their order.
#[cube]
pub(crate) fn unit_normals<N: Size>(
    place: &Place,
    key: &KeyWords,
    block: u32,
    #[comptime] chacha: bool,
) -> Array<Vector<f32, N>> {
    let lanes = N::value();
    let counter = place.first_block + block;
    if comptime!(lanes > 1) {
        lane_normals::<N>(place, key, counter, chacha)
    } else {
        block_normals::<N>(place, key, counter, chacha)
    }
}

/// Those of one block, a vector each.
#[cube]
fn block_normals<N: Size>(
    place: &Place,
    key: &KeyWords,
    counter: u32,
    #[comptime] chacha: bool,
) -> Array<Vector<f32, N>> {
    let input = (counter, place.tensor, place.step_low, place.step_high);
    let mut normals = Array::<Vector<f32, N>>::new(comptime!(per_block(chacha)));
    if comptime!(chacha) {
        let low_key = (key.k0, key.k1, key.k2, key.k3);
        let high_key = (key.k4, key.k5, key.k6, key.k7);
        let (low, high) = chacha20_normals(low_key, high_key, input);
        let (n0, n1, n2, n3) = low;
        let (n4, n5, n6, n7) = high;
        normals[0] = Vector::<f32, N>::new(n0);
        normals[1] = Vector::<f32, N>::new(n1);
        normals[2] = Vector::<f32, N>::new(n2);
        normals[3] = Vector::<f32, N>::new(n3);
        normals[4] = Vector::<f32, N>::new(n4);
        normals[5] = Vector::<f32, N>::new(n5);
        normals[6] = Vector::<f32, N>::new(n6);
        normals[7] = Vector::<f32, N>::new(n7);
    } else {
        let (even, odd) = philox4x32x10_normals(input, key.k0, key.k1);
        normals[0] = Vector::<f32, N>::new(even);
        normals[1] = Vector::<f32, N>::new(odd);
    }
    normals
}

/// Those of a block in each lane, pairs side by side: elements `2 i` and `2 i + 1` of all blocks in vectors `2 i` and `2 i + 1`.
#[cube]
fn lane_normals<N: Size>(
    place: &Place,
    key: &KeyWords,
    counter: u32,
    #[comptime] chacha: bool,
) -> Array<Vector<f32, N>> {
    let lanes = N::value();
    let mut counters = Vector::<u32, N>::new(counter);
    #[unroll]
    for lane in 0..lanes {
        counters.insert(lane, counter + comptime!(lane as u32));
    }
    if comptime!(chacha) {
        let mut words = Array::<u32>::new(8usize);
        words[0] = key.k0;
        words[1] = key.k1;
        words[2] = key.k2;
        words[3] = key.k3;
        words[4] = key.k4;
        words[5] = key.k5;
        words[6] = key.k6;
        words[7] = key.k7;
        wide::chacha20_normals::<N>(
            counters,
            &words,
            place.tensor,
            place.step_low,
            place.step_high,
        )
    } else {
        let (low, high) = wide::philox_normals::<N>(
            counters,
            place.tensor,
            place.step_low,
            place.step_high,
            key.k0,
            key.k1,
        );
        let mut normals = Array::<Vector<f32, N>>::new(2usize);
        normals[0] = low;
        normals[1] = high;
        normals
    }
}

/// Elements `V i .. V (i + 1)` of the unit, from what [`unit_normals`] gives.
#[cube]
pub(crate) fn vector_of<N: Size, V: Size>(
    normals: &Array<Vector<f32, N>>,
    #[comptime] i: usize,
    #[comptime] chacha: bool,
) -> Vector<f32, V> {
    let lanes = N::value();
    let width = V::value();
    let mut vector = Vector::<f32, V>::new(0.0f32);
    #[unroll]
    for lane in 0..width {
        let (from, at) = comptime!(whereabouts(width * i + lane, lanes, per_block(chacha)));
        vector.insert(lane, normals[from].extract(at));
    }
    vector
}

/// In which of a unit's vectors, and which of its lanes, [`unit_normals`] puts an element.
const fn whereabouts(element: usize, lanes: usize, per_block: usize) -> (usize, usize) {
    if lanes == 1 {
        return (element, 0);
    }
    let (block, place) = (element / per_block, element % per_block);
    let of_pairs = 2 * block + place % 2;
    (place / 2 * 2 + of_pairs / lanes, of_pairs % lanes)
}
