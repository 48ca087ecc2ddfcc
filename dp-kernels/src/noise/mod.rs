//! Gaussian noise by coordinates: the functions of [`dp_core::noise`], run by the device.

mod hardened;
pub(crate) mod wide;

pub use hardened::release_hardened;

use crate::check::Arg;
use crate::reduce::row_of;
use crate::{KernelError, Launch};
use cubecl::{prelude::*, std::tensor::TensorHandle};
use dp_core::noise::{GaussianDraw, Generator, chacha20_normals, philox4x32x10_normals};

/// Adds the Gaussian noise of `draw` to every element of `target`.
///
/// `target` (f32 or f64, any shape) holds elements `first_element..` of the draw's tensor; its element
/// `i` gets `std * normal(key, generator, step, tensor, first_element + i)`. So shards of a tensor
/// get exactly the noise that the whole tensor would get.
///
/// An f64 element is rounded to f32 first, and what is written is the f32 that an f32 target of that number would get: the noise has
/// the granularity of f32, and what an f64 sum has below it would come through bare.
///
/// # Errors
/// A [`KernelError`] when type or layout is wrong, or [`GaussianDraw::check`] refuses the draw; nothing is launched then.
///
/// # Privacy
/// Added to a sum of L2 sensitivity `D`, `std = sigma D` makes its release a Gaussian mechanism of
/// noise multiplier `sigma` (add/remove adjacency), if no (key, step, tensor, element) is used
/// twice and the key stays secret; the draw is used up. The key travels to the device as launch arguments, and lives in
/// the runtime's argument buffers until they are reused.
///
/// # Precision
/// The bits are those of the host, exactly; the normals within 3 units in the last place of
/// [`dp_core::noise::fill_gaussian`] (what contracting multiply and add can change), then one f32 multiply-add. The rounding of an f64
/// sum to f32 is covered by the eta of f32 (docs/proofs/sensitivity.md).
pub fn add_gaussian_noise(
    launch: &Launch<'_>,
    target: &TensorHandle,
    draw: GaussianDraw<'_>,
) -> Result<(), KernelError> {
    let Launch { client, tuning, .. } = *launch;
    let op = "add_gaussian_noise";
    let target = Arg::new(op, "target", target)?.is_sum(client)?;
    let len = target.len();
    draw.check(len as u64)
        .map_err(|source| KernelError::Noise { op, source })?;
    if len == 0 {
        return Ok(());
    }
    let GaussianDraw {
        first_element,
        std,
        key,
        generator,
        step,
        tensor,
    } = draw;
    let per_block = generator.elements_per_block();
    let first_block = first_element / per_block;
    let skip = (first_element % per_block) as u32;
    let blocks = (skip as usize + len).div_ceil(per_block as usize);
    let [k0, k1, k2, k3, k4, k5, k6, k7] = *key.words();
    let (low, high) = (step as u32, (step >> 32) as u32);
    let lanes = if tuning.is_cpu { tuning.lanes() } else { 1 };
    let (count, dim) = tuning.grid(blocks.div_ceil(lanes), 1);
    match generator {
        Generator::ChaCha20 if lanes > 1 => add_chacha20_noise_wide::launch(
            client,
            count,
            dim,
            lanes,
            target.buffer(1),
            len as u32,
            blocks as u32,
            skip,
            first_block as u32,
            tensor,
            low,
            high,
            std,
            k0,
            k1,
            k2,
            k3,
            k4,
            k5,
            k6,
            k7,
            target.dtype(),
        ),
        Generator::ChaCha20 => add_chacha20_noise::launch(
            client,
            count,
            dim,
            target.buffer(1),
            len as u32,
            blocks as u32,
            skip,
            first_block as u32,
            tensor,
            low,
            high,
            std,
            k0,
            k1,
            k2,
            k3,
            k4,
            k5,
            k6,
            k7,
            target.dtype(),
        ),
        Generator::Philox4x32x10NotSecure => add_philox_noise::launch(
            client,
            count,
            dim,
            lanes,
            target.buffer(1),
            len as u32,
            blocks as u32,
            skip,
            first_block as u32,
            tensor,
            low,
            high,
            std,
            k0,
            k1,
            target.dtype(),
        ),
    }
    Ok(())
}

/// One unit makes one block: eight elements, of which the first `skip` of block 0 lie before the target.
#[cube(launch)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn add_chacha20_noise<E: Float>(
    target: &mut [E],
    len: u32,
    blocks: u32,
    skip: u32,
    first_block: u32,
    tensor: u32,
    step_low: u32,
    step_high: u32,
    std: f32,
    k0: u32,
    k1: u32,
    k2: u32,
    k3: u32,
    k4: u32,
    k5: u32,
    k6: u32,
    k7: u32,
    #[define(E)] _dtype: ElemType,
) {
    let block = row_of(1u32);
    if block < blocks as usize {
        let counter = first_block + block as u32;
        let input = (counter, tensor, step_low, step_high);
        let (low, high) = chacha20_normals((k0, k1, k2, k3), (k4, k5, k6, k7), input);
        let (n0, n1, n2, n3) = low;
        let (n4, n5, n6, n7) = high;
        let place = block as u32 * 8u32;
        add_element::<E>(target, place, 0u32, skip, len, n0, std);
        add_element::<E>(target, place, 1u32, skip, len, n1, std);
        add_element::<E>(target, place, 2u32, skip, len, n2, std);
        add_element::<E>(target, place, 3u32, skip, len, n3, std);
        add_element::<E>(target, place, 4u32, skip, len, n4, std);
        add_element::<E>(target, place, 5u32, skip, len, n5, std);
        add_element::<E>(target, place, 6u32, skip, len, n6, std);
        add_element::<E>(target, place, 7u32, skip, len, n7, std);
    }
}

/// One unit makes as many blocks as a vector has lanes.
#[cube(launch)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn add_chacha20_noise_wide<E: Float, N: Size>(
    target: &mut [E],
    len: u32,
    blocks: u32,
    skip: u32,
    first_block: u32,
    tensor: u32,
    step_low: u32,
    step_high: u32,
    std: f32,
    k0: u32,
    k1: u32,
    k2: u32,
    k3: u32,
    k4: u32,
    k5: u32,
    k6: u32,
    k7: u32,
    #[define(E)] _dtype: ElemType,
) {
    let lanes = N::value();
    let block = row_of(1u32) as u32 * comptime!(lanes as u32);
    if block < blocks {
        let mut key = Array::<u32>::new(8usize);
        key[0] = k0;
        key[1] = k1;
        key[2] = k2;
        key[3] = k3;
        key[4] = k4;
        key[5] = k5;
        key[6] = k6;
        key[7] = k7;
        let mut counters = Vector::<u32, N>::new(first_block + block);
        #[unroll]
        for lane in 0..lanes {
            counters.insert(lane, first_block + block + comptime!(lane as u32));
        }
        let words = wide::chacha20_blocks::<N>(counters, &key, tensor, step_low, step_high);
        let mut noise = Array::<Vector<f32, N>>::new(8usize);
        #[unroll]
        for pair in 0..4usize {
            let (even, odd) = wide::normals::<N>(&words, pair);
            noise[2 * pair] = even;
            noise[2 * pair + 1] = odd;
        }
        let place = block * 8u32;
        // The whole of it is inside: no element has to ask.
        if place >= skip && place - skip + comptime!(8 * lanes as u32) <= len {
            let start = (place - skip) as usize;
            #[unroll]
            for lane in 0..lanes {
                #[unroll]
                for i in 0..8usize {
                    let at = start + comptime!(8 * lane + i);
                    add_normal::<E>(target, at, noise[i].extract(lane), std);
                }
            }
        } else {
            #[unroll]
            for lane in 0..lanes {
                #[unroll]
                for i in 0..8usize {
                    let offset = comptime!((8 * lane + i) as u32);
                    add_element::<E>(
                        target,
                        place,
                        offset,
                        skip,
                        len,
                        noise[i].extract(lane),
                        std,
                    );
                }
            }
        }
    }
}

/// One unit makes as many blocks as a vector has lanes, of two elements each.
#[cube(launch)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn add_philox_noise<E: Float, N: Size>(
    target: &mut [E],
    len: u32,
    blocks: u32,
    skip: u32,
    first_block: u32,
    tensor: u32,
    step_low: u32,
    step_high: u32,
    std: f32,
    k0: u32,
    k1: u32,
    #[define(E)] _dtype: ElemType,
) {
    let lanes = N::value();
    let block = row_of(1u32) as u32 * comptime!(lanes as u32);
    if block < blocks {
        let counter = first_block + block;
        let (even, odd) = philox_normals::<N>(counter, tensor, step_low, step_high, k0, k1);
        let place = block * 2u32;
        // The whole of it is inside: no element has to ask.
        if place >= skip && place - skip + comptime!(2 * lanes as u32) <= len {
            let start = (place - skip) as usize;
            #[unroll]
            for lane in 0..lanes {
                let at = start + comptime!(2 * lane);
                add_normal::<E>(target, at, even.extract(lane), std);
                add_normal::<E>(target, at + 1, odd.extract(lane), std);
            }
        } else {
            #[unroll]
            for lane in 0..lanes {
                let offset = comptime!(2 * lane as u32);
                add_element::<E>(target, place, offset, skip, len, even.extract(lane), std);
                let offset = comptime!(2 * lane as u32 + 1);
                add_element::<E>(target, place, offset, skip, len, odd.extract(lane), std);
            }
        }
    }
}

/// Elements 0 and 1 of the Philox blocks from `counter` on, one in each lane. Not secure.
#[cube]
pub(crate) fn philox_normals<N: Size>(
    counter: u32,
    tensor: u32,
    step_low: u32,
    step_high: u32,
    k0: u32,
    k1: u32,
) -> (Vector<f32, N>, Vector<f32, N>) {
    let lanes = N::value();
    if comptime!(lanes > 1) {
        let mut counters = Vector::<u32, N>::new(counter);
        #[unroll]
        for lane in 0..lanes {
            counters.insert(lane, counter + comptime!(lane as u32));
        }
        wide::philox_normals::<N>(counters, tensor, step_low, step_high, k0, k1)
    } else {
        let (even, odd) = philox4x32x10_normals((counter, tensor, step_low, step_high), k0, k1);
        (Vector::<f32, N>::new(even), Vector::<f32, N>::new(odd))
    }
}

/// `target[place + lane - skip] += std normal`, where that is inside.
///
/// By an explicit multiply-add, so that no compiler chooses whether the product is rounded: every kernel that draws
/// this noise adds the same bits.
#[cube]
fn add_element<E: Float>(
    target: &mut [E],
    place: u32,
    lane: u32,
    skip: u32,
    len: u32,
    normal: f32,
    std: f32,
) {
    let element = place + lane;
    if element >= skip && element - skip < len {
        let at = (element - skip) as usize;
        add_normal::<E>(target, at, normal, std);
    }
}

/// `target[at] += std normal` in f32, whatever the target holds.
#[cube]
fn add_normal<E: Float>(target: &mut [E], at: usize, normal: f32, std: f32) {
    let sum = f32::cast_from(target[at]);
    target[at] = E::cast_from(fma(normal, std, sum));
}
