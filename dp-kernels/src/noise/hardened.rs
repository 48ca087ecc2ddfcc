//! The hardened release on the device: [`dp_core::noise::discrete`] and [`dp_core::noise::hardened`], run by it.

use crate::check::Arg;
use crate::reduce::row_of;
use crate::{KernelError, Launch};
use cubecl::{prelude::*, std::tensor::TensorHandle};
use dp_core::noise::HardenedDraw;
use dp_core::noise::discrete::{DISCRETE_STATE, discrete_gaussian};
use dp_core::noise::hardened::{from_grid, to_grid};

/// Replaces each element of the clipped sum `target` by `grid (round(element / grid) + noise)`, with the discrete Gaussian noise of `draw`, in place:
/// the hardened mode's release.
///
/// `target` (f32 or f64, any shape) holds elements `first_element..` of the draw's tensor. Integers only between the sum and the
/// noised step, and the very functions that the host runs, so device and host agree to the bit, and shards with the whole.
/// An element takes some tens of ChaCha20 blocks' worth of work where [`add_gaussian_noise`](crate::add_gaussian_noise) takes an eighth
/// of one.
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
    let [k0, k1, k2, k3, k4, k5, k6, k7] = *key.words();
    let plan = draw.plan;
    let (count, dim) = tuning.grid(len, 1);
    release_on_grid::launch(
        client,
        count,
        dim,
        target.buffer(1),
        len as u32,
        draw.first_element as u32,
        plan.sigma(),
        plan.grid(),
        1.0 / plan.grid(),
        k0,
        k1,
        k2,
        k3,
        k4,
        k5,
        k6,
        k7,
        target.dtype(),
    );
    Ok(())
}

/// One unit makes one element: how many attempts it takes is its own affair.
#[cube(launch)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn release_on_grid<E: Float>(
    target: &mut [E],
    len: u32,
    first_element: u32,
    sigma: u32,
    grid: f32,
    inverse_grid: f32,
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
    let i = row_of(1u32);
    if i < len as usize {
        let mut state = Array::<u32>::new(DISCRETE_STATE);
        state[16] = k0;
        state[17] = k1;
        state[18] = k2;
        state[19] = k3;
        state[20] = k4;
        state[21] = k5;
        state[22] = k6;
        state[23] = k7;
        let noise = discrete_gaussian(state.as_mut_slice(), first_element + i as u32, sigma);
        let exact = f32::cast_from(target[i]);
        target[i] = E::cast_from(from_grid(to_grid(exact, inverse_grid), noise, grid));
    }
}
