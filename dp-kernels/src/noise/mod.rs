//! Gaussian noise by coordinates: the functions of [`dp_core::noise`], run by the device.

mod blocks;
mod hardened;
mod wide;

pub(crate) use blocks::{
    Cut, GROUP, KeyWords, Place, first_of, key_words, per_block, unit_normals, vector_of,
};
pub use hardened::release_hardened;

use crate::check::Arg;
use crate::reduce::row_of;
use crate::{KernelError, Launch};
use cubecl::{prelude::*, std::tensor::TensorHandle};
use dp_core::noise::{GaussianDraw, Generator};

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
    let cut = Cut::new(&draw, len, tuning);
    let most = if tuning.is_cpu {
        tuning.lanes_of(target.dtype())
    } else {
        1
    };
    let vector = cut.vector(&[Some(target)], len, most);
    let (count, dim) = tuning.grid(cut.units(), 1);
    add_noise::launch(
        client,
        count,
        dim,
        cut.lanes,
        vector,
        target.buffer(vector),
        cut.place(&draw, len),
        key_words(draw.key),
        draw.std,
        draw.generator == Generator::ChaCha20,
        target.dtype(),
    );
    Ok(())
}

/// One unit makes as many blocks as `N` has lanes, and adds their elements by vectors of `V`.
///
/// `V` divides the length, where the tensor starts in its first group, and `N`: a vector is inside or outside
/// as a whole.
#[cube(launch)]
pub(crate) fn add_noise<E: Float, N: Size, V: Size>(
    target: &mut [Vector<E, V>],
    place: Place,
    key: KeyWords,
    std: f32,
    #[comptime] chacha: bool,
    #[define(E)] _dtype: ElemType,
) {
    let lanes = N::value();
    let width = V::value();
    let per_block = comptime!(per_block(chacha));
    let block = row_of(1u32) as u32 * comptime!(lanes as u32);
    if block < place.blocks {
        let normals = unit_normals::<N>(&place, &key, block, chacha);
        let first = first_of(block, chacha);
        // From the unit's first element to its last.
        let reach = comptime!((GROUP * (per_block - 1) + lanes) as u32);
        if first >= place.skip && first - place.skip + reach <= place.len {
            // No vector has to ask whether it is inside.
            let start = ((first - place.skip) / comptime!(width as u32)) as usize;
            if comptime!(lanes > 1) {
                for j in 0..per_block {
                    #[unroll]
                    for i in 0..comptime!(lanes / width) {
                        let at = start + j * comptime!(GROUP / width) + i;
                        let sum = target[at];
                        target[at] = noised::<E, V>(sum, vector_of::<N, V>(&normals, j, i), std);
                    }
                }
            } else {
                // All loads of a GPU's unit before its first store, which a compiler would not move them over.
                let mut sums = Array::<Vector<E, V>>::new(per_block);
                #[unroll]
                for j in 0..per_block {
                    sums[j] = target[start + comptime!(GROUP * j)];
                }
                #[unroll]
                for j in 0..per_block {
                    let normal = vector_of::<N, V>(&normals, j, 0usize);
                    target[start + comptime!(GROUP * j)] = noised::<E, V>(sums[j], normal, std);
                }
            }
        } else {
            #[unroll(lanes == 1)]
            for j in 0..per_block {
                #[unroll]
                for i in 0..comptime!(lanes / width) {
                    let element =
                        first + j as u32 * comptime!(GROUP as u32) + comptime!((width * i) as u32);
                    if element >= place.skip && element - place.skip < place.len {
                        let at = ((element - place.skip) / comptime!(width as u32)) as usize;
                        let sum = target[at];
                        target[at] = noised::<E, V>(sum, vector_of::<N, V>(&normals, j, i), std);
                    }
                }
            }
        }
    }
}

/// `sum + std normal` in f32, whatever the target holds.
///
/// By an explicit multiply-add, so that no compiler chooses whether the product is rounded: every kernel that draws
/// this noise adds the same bits.
#[cube]
fn noised<E: Float, V: Size>(sum: Vector<E, V>, normal: Vector<f32, V>, std: f32) -> Vector<E, V> {
    let exact = Vector::<f32, V>::cast_from(sum);
    Vector::<E, V>::cast_from(fma(normal, Vector::<f32, V>::new(std), exact))
}
