//! The normals of one unit: as many of the generator's blocks as a vector has lanes, and where they go. The layout is that of [`dp_core::noise`].

use super::wide;
use crate::Tuning;
use crate::check::Arg;
use cubecl::prelude::*;
use dp_core::noise::{
    BLOCKS_OF_GROUP, GaussianDraw, Generator, Key, NormalPair, chacha20_normals,
    philox4x32x10_normals,
};

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

/// How the noise of a draw is cut: units of [`lanes`](Self::lanes) blocks of one group, of whose first group the first `skip` elements lie before the
/// tensor's first.
#[derive(Clone, Copy)]
pub(crate) struct Cut {
    /// Blocks of a unit: they divide those of a group.
    pub(crate) lanes: usize,
    /// Where in its group the first element is.
    skip: usize,
    /// The group's number among all.
    first_group: u64,
    blocks: usize,
}

impl Cut {
    pub(crate) fn new(draw: &GaussianDraw<'_>, len: usize, tuning: &Tuning) -> Self {
        let group = draw.generator.elements_per_group();
        let skip = (draw.first_element % group) as usize;
        let lanes = if tuning.is_cpu { tuning.lanes() } else { 1 };
        Self {
            lanes: lanes.min(GROUP),
            skip,
            first_group: draw.first_element / group,
            blocks: (skip + len).div_ceil(group as usize) * GROUP,
        }
    }

    pub(crate) fn units(&self) -> usize {
        self.blocks / self.lanes
    }

    /// The widest vector, no wider than `most` elements, that all of `args`, tensors of `len` elements, can be moved by: it divides their
    /// length, the place in the first group where they start, and the lanes of a unit.
    pub(crate) fn vector(&self, args: &[Option<Arg<'_>>], len: usize, most: usize) -> usize {
        let mut width = args
            .iter()
            .flatten()
            .fold(most.min(self.lanes), |width, arg| arg.vector(len, width));
        while !self.skip.is_multiple_of(width) {
            width /= 2;
        }
        width
    }

    pub(crate) fn place(&self, draw: &GaussianDraw<'_>, len: usize) -> PlaceLaunch {
        let (low, high) = (draw.step as u32, (draw.step >> 32) as u32);
        let first_block = self.first_group as u32 * GROUP as u32;
        PlaceLaunch::new(
            len as u32,
            self.blocks as u32,
            self.skip as u32,
            first_block,
            draw.tensor,
            low,
            high,
        )
    }
}

/// The kernel's argument of a key.
pub(crate) fn key_words(key: &Key) -> KeyWordsLaunch {
    let [k0, k1, k2, k3, k4, k5, k6, k7] = *key.words();
    KeyWordsLaunch::new(k0, k1, k2, k3, k4, k5, k6, k7)
}

/// The key's words in their order.
#[cube]
pub(super) fn words_of(key: &KeyWords) -> Array<u32> {
    let mut words = Array::<u32>::new(8usize);
    words[0] = key.k0;
    words[1] = key.k1;
    words[2] = key.k2;
    words[3] = key.k3;
    words[4] = key.k4;
    words[5] = key.k5;
    words[6] = key.k6;
    words[7] = key.k7;
    words
}

/// Blocks of a group.
pub(crate) const GROUP: usize = BLOCKS_OF_GROUP as usize;

/// Normals of a block.
pub(crate) const fn per_block(chacha: bool) -> usize {
    if chacha {
        Generator::ChaCha20.normals_per_block() as usize
    } else {
        Generator::Philox4x32x10NotSecure.normals_per_block() as usize
    }
}

/// The first element of `block`, counted as it is from the first group of the tensor. Its normal `j` is that of the element `16 j` further on.
#[cube]
pub(crate) fn first_of(block: u32, #[comptime] chacha: bool) -> u32 {
    let blocks = comptime!(GROUP as u32);
    block / blocks * comptime!((GROUP * per_block(chacha)) as u32) + block % blocks
}

/// The standard normals of the blocks from `block` on, as many as there are lanes: normal `j` of each in vector `j`.
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
        let (a, b, c, d, e, f, g, h) = chacha20_normals(low_key, high_key, input);
        put_pair::<N>(&mut normals, 0usize, a);
        put_pair::<N>(&mut normals, 1usize, b);
        put_pair::<N>(&mut normals, 2usize, c);
        put_pair::<N>(&mut normals, 3usize, d);
        put_pair::<N>(&mut normals, 4usize, e);
        put_pair::<N>(&mut normals, 5usize, f);
        put_pair::<N>(&mut normals, 6usize, g);
        put_pair::<N>(&mut normals, 7usize, h);
    } else {
        let (a, b) = philox4x32x10_normals(input, key.k0, key.k1);
        put_pair::<N>(&mut normals, 0usize, a);
        put_pair::<N>(&mut normals, 1usize, b);
    }
    normals
}

#[cube]
fn put_pair<N: Size>(
    normals: &mut Array<Vector<f32, N>>,
    #[comptime] pair: usize,
    of_pair: NormalPair,
) {
    let (even, odd) = of_pair;
    normals[2 * pair] = Vector::<f32, N>::new(even);
    normals[2 * pair + 1] = Vector::<f32, N>::new(odd);
}

/// Those of a block in each lane.
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
        wide::chacha20_normals::<N>(
            counters,
            &words_of(key),
            place.tensor,
            place.step_low,
            place.step_high,
        )
    } else {
        wide::philox_normals::<N>(
            counters,
            place.tensor,
            place.step_low,
            place.step_high,
            key.k0,
            key.k1,
        )
    }
}

/// Lanes `V i .. V (i + 1)` of normal `j` of the unit's blocks.
#[cube]
pub(crate) fn vector_of<N: Size, V: Size>(
    normals: &Array<Vector<f32, N>>,
    j: usize,
    #[comptime] i: usize,
) -> Vector<f32, V> {
    let width = V::value();
    let mut vector = Vector::<f32, V>::new(0.0f32);
    #[unroll]
    for lane in 0..width {
        vector.insert(lane, normals[j].extract(comptime!(width * i + lane)));
    }
    vector
}
