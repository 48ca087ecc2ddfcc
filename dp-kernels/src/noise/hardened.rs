//! The hardened release on the device: [`dp_core::noise::discrete`] and [`dp_core::noise::hardened`], run by it.

use super::blocks::{KeyWords, key_words, words_of};
use super::wide;
use crate::check::Arg;
use crate::reduce::row_of;
use crate::{KernelError, Launch};
use cubecl::{prelude::*, std::tensor::TensorHandle};
use dp_core::noise::HardenedDraw;
use dp_core::noise::discrete::{DISCRETE_STATE, discrete_attempt, discrete_gaussian};
use dp_core::noise::hardened::{from_grid, to_grid};

/// Elements that a unit of a processor draws, as many at a time as a vector has lanes.
const RUN: usize = 256;

/// Replaces each element of the clipped sum `target` by `grid (round(element / grid) + noise)`, with the discrete Gaussian noise of `draw`, in place:
/// the hardened mode's release.
///
/// `target` (f32 or f64, any shape) holds elements `first_element..` of the draw's tensor. Integers only between the sum and the
/// noised step, and the very functions that the host runs, so device and host agree to the bit, and shards with the whole.
/// An element takes two or three attempts, each with a ChaCha20 block of its own and a dozen coin tosses, where
/// [`add_gaussian_noise`](crate::add_gaussian_noise) takes a sixteenth of a block.
///
/// An f64 element is rounded to f32 first, as in [`add_gaussian_noise`](crate::add_gaussian_noise), and what is written is what an f32 target of
/// that number would get: the rounding to the grid is proven for f32.
///
/// # Errors
/// A [`KernelError`] when type or layout is wrong, or [`HardenedDraw::check`] refuses the draw; nothing is launched then.
///
/// # Privacy
/// With examples clipped to the plan's [`clip`](dp_core::noise::Hardened::clip), a discrete Gaussian mechanism (add/remove adjacency) of the plan's
/// [`noise_multiplier`](dp_core::noise::Hardened::noise_multiplier), under the conditions of [`add_gaussian_noise`](crate::add_gaussian_noise); the draw
/// is used up. The released float tells of the sum through a noised integer alone: docs/proofs/discrete-noise.md. The plan's eta covers the
/// rounding of an f64 sum to f32 (docs/proofs/sensitivity.md).
///
/// # Precision
/// Exact, but for values beyond 64 sigma, which are drawn again (total variation below 2^-2900 an element).
pub fn release_hardened(
    launch: &Launch<'_>,
    target: &TensorHandle,
    draw: HardenedDraw<'_>,
) -> Result<(), KernelError> {
    let Launch { client, tuning, .. } = *launch;
    let op = "release_hardened";
    let target = Arg::new(op, "target", target)?.is_sum(client)?;
    let len = target.len();
    draw.check(len as u64)
        .map_err(|source| KernelError::Noise { op, source })?;
    if len == 0 {
        return Ok(());
    }
    let key = draw.tensor_key();
    let plan = draw.plan;
    let lanes = tuning.lanes();
    if tuning.is_cpu && lanes > 1 {
        let (count, dim) = tuning.grid(len.div_ceil(RUN), 1);
        release_runs::launch(
            client,
            count,
            dim,
            lanes,
            target.buffer(1),
            len as u32,
            draw.first_element as u32,
            plan.sigma(),
            plan.grid(),
            1.0 / plan.grid(),
            key_words(&key),
            target.dtype(),
        );
    } else {
        let (count, dim) = tuning.grid(len, 1);
        release_elements::launch(
            client,
            count,
            dim,
            target.buffer(1),
            len as u32,
            draw.first_element as u32,
            plan.sigma(),
            plan.grid(),
            1.0 / plan.grid(),
            key_words(&key),
            target.dtype(),
        );
    }
    Ok(())
}

/// One unit makes one element: how many attempts it takes is its own affair.
#[cube(launch)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn release_elements<E: Float>(
    target: &mut [E],
    len: u32,
    first_element: u32,
    sigma: u32,
    grid: f32,
    inverse_grid: f32,
    key: KeyWords,
    #[define(E)] _dtype: ElemType,
) {
    let i = row_of(1u32);
    if i < len as usize {
        let mut state = state_of(&words_of(&key));
        let noise = discrete_gaussian(state.as_mut_slice(), first_element + i as u32, sigma);
        let exact = f32::cast_from(target[i]);
        target[i] = E::cast_from(from_grid(to_grid(exact, inverse_grid), noise, grid));
    }
}

/// One unit makes a run of elements, an attempt at one in each lane: the blocks of all lanes' attempts are made at once, and a lane whose attempt is
/// accepted goes on with the next element of the run.
///
/// A value is a function of its element and its attempts alone, so that these are the bits of [`release_elements`].
#[cube(launch)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn release_runs<E: Float, N: Size>(
    target: &mut [E],
    len: u32,
    first_element: u32,
    sigma: u32,
    grid: f32,
    inverse_grid: f32,
    key: KeyWords,
    #[define(E)] _dtype: ElemType,
) {
    let lanes = N::value();
    let start = row_of(1u32) as u32 * comptime!(RUN as u32);
    if start < len {
        let end = select(
            len - start < comptime!(RUN as u32),
            len,
            start + comptime!(RUN as u32),
        );
        let key = words_of(&key);
        let mut state = state_of(&key);
        let mut elements = Array::<u32>::new(lanes);
        let mut attempts = Array::<u32>::new(lanes);
        for lane in 0..lanes {
            elements[lane] = start + lane as u32;
            attempts[lane] = 0u32;
        }
        let mut next = start + comptime!(lanes as u32);
        let mut left = end - start;
        while left > 0u32 {
            let blocks = first_blocks::<N>(&key, first_element, &elements, &attempts);
            for lane in 0..lanes {
                let element = elements[lane];
                if element < end {
                    #[unroll]
                    for word in 0..16usize {
                        state[word] = blocks[lane * 16usize + word];
                    }
                    state[24] = first_element + element;
                    state[25] = attempts[lane];
                    state[26] = 1u32;
                    state[27] = 0u32;
                    let (accepted, noise) = discrete_attempt(state.as_mut_slice(), sigma);
                    attempts[lane] += 1u32;
                    if accepted {
                        let i = element as usize;
                        let exact = f32::cast_from(target[i]);
                        target[i] =
                            E::cast_from(from_grid(to_grid(exact, inverse_grid), noise, grid));
                        elements[lane] = next;
                        attempts[lane] = 0u32;
                        next += 1u32;
                        left -= 1u32;
                    }
                }
            }
        }
    }
}

/// A state that holds the key and no words.
#[cube]
fn state_of(key: &Array<u32>) -> Array<u32> {
    let mut state = Array::<u32>::new(DISCRETE_STATE);
    #[unroll]
    for word in 0..8usize {
        state[16 + word] = key[word];
    }
    state
}

/// The first block of each lane's attempt, sixteen words after sixteen.
#[cube]
fn first_blocks<N: Size>(
    key: &Array<u32>,
    first_element: u32,
    elements: &Array<u32>,
    attempts: &Array<u32>,
) -> Array<u32> {
    let lanes = N::value();
    let mut element = Vector::<u32, N>::new(0u32);
    let mut attempt = Vector::<u32, N>::new(0u32);
    #[unroll]
    for lane in 0..lanes {
        element.insert(lane, first_element + elements[lane]);
        attempt.insert(lane, attempts[lane]);
    }
    let mut input = Array::<Vector<u32, N>>::new(4usize);
    input[0] = element;
    input[1] = attempt;
    input[2] = Vector::<u32, N>::new(0u32);
    input[3] = Vector::<u32, N>::new(0u32);
    let words = wide::chacha20_blocks::<N>(key, &input);
    let mut blocks = Array::<u32>::new(comptime!(16 * lanes));
    #[unroll]
    for word in 0..16usize {
        #[unroll]
        for lane in 0..lanes {
            blocks[comptime!(16 * lane + word)] = words[word].extract(lane);
        }
    }
    blocks
}
