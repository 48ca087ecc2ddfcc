//! The counts that adaptive clipping learns from: made on the device, and gone from there only with noise.

use super::group::{launch_clips, matrix};
use crate::check::{Arg, check_elements};
use crate::launch::Room;
use crate::live::is_live;
use crate::reduce::{lane_of, row_of, sum_units};
use crate::{KernelError, Launch, add_gaussian_noise};
use cubecl::{
    ir::{ElemType, FloatKind},
    prelude::*,
    std::tensor::TensorHandle,
};
use dp_core::clipping::{
    AdaptiveQuantile, MAX_COUNTED, QuantileError, centred_indicator, centred_indicator_f64,
};
use dp_core::noise::GaussianDraw;

/// How many examples of one logical batch lie within their clipping norms, centred, for each group, and how many were
/// refused: a buffer on the device that can be added to and released with noise, and nothing else.
///
/// # Privacy
/// An example that is there and finite adds 1/2 or -1/2 to each group's count, a refused one 1/2 to the last: under
/// add/remove of one example the whole moves by at most `sqrt(G) / 2` in L2 norm. [`release`](Self::release) is the only way
/// out and adds the policy's noise first; see [`AdaptiveQuantile`] for what that costs together with the clipped
/// sum of the same batch, and docs/proofs/clipping-quantile.md for why. To release the count of refused examples costs
/// nothing beyond it.
pub struct QuantileCounts {
    counts: TensorHandle,
    policy: AdaptiveQuantile,
    counted: u64,
}

impl QuantileCounts {
    /// Zero counts of a new logical batch.
    ///
    /// # Errors
    /// A [`KernelError`] when the policy has more groups than a buffer can hold.
    pub fn new(launch: &Launch<'_>, policy: AdaptiveQuantile) -> Result<Self, KernelError> {
        let shape = [policy.groups() + 1];
        let elements = check_elements("quantile_counts", "counts", &shape)?;
        let handle = launch.client.empty(elements * size_of::<f32>());
        let dtype = ElemType::Float(FloatKind::F32);
        Self::in_buffer(
            launch,
            policy,
            TensorHandle::new_contiguous(shape, handle, dtype),
        )
    }

    /// Zero counts of a new logical batch in a buffer of the caller's, `counts [G + 1]` f32, which is overwritten: with the
    /// buffer that [`release`](Self::release) gave away no step allocates one. Whoever keeps a copy of the handle can read the
    /// counts without noise: that is not private.
    ///
    /// # Errors
    /// A [`KernelError`] when shape, type or layout is another; nothing is launched then.
    pub fn in_buffer(
        launch: &Launch<'_>,
        policy: AdaptiveQuantile,
        counts: TensorHandle,
    ) -> Result<Self, KernelError> {
        let Launch { client, tuning, .. } = *launch;
        let len = policy.groups() + 1;
        let buffer = Arg::new("quantile_counts", "counts", &counts)?
            .has_shape(&[len])?
            .is_f32()?
            .buffer(1);
        let (count, dim) = tuning.grid(len, 1);
        zero_counts::launch(client, count, dim, buffer, len as u32);
        Ok(Self {
            counts,
            policy,
            counted: 0,
        })
    }

    /// Adds a microbatch.
    ///
    /// `norms_sq [G, P]`, `mask [B]` and `factors [G, P]` as [`group_clip_factors`](crate::group_clip_factors) took and left them
    /// (`[1, P]` with the buffers of [`clip_factors`](crate::clip_factors)), `clips` the `G` clipping norms of this step.
    ///
    /// # Errors
    /// [`KernelError::Quantile`] past [`MAX_COUNTED`] examples, where a sum of halves would round; another [`KernelError`] when
    /// shapes, types or layouts don't agree. Nothing is launched then.
    pub fn add(
        &mut self,
        launch: &Launch<'_>,
        norms_sq: &TensorHandle,
        mask: &TensorHandle,
        factors: &TensorHandle,
        clips: &[f32],
    ) -> Result<(), KernelError> {
        let Launch { client, tuning, .. } = *launch;
        let op = "quantile_counts";
        let groups = self.policy.groups();
        if clips.len() != groups {
            return Err(KernelError::Shape {
                op,
                argument: "clips",
                expected: vec![groups],
                actual: vec![clips.len()],
            });
        }
        let mask = Arg::new(op, "mask", mask)?.is_f32()?;
        let [b] = mask.dims()?;
        let (norms_sq, pitch) = matrix(client, op, "norms_sq", norms_sq, groups, b)?;
        let factors = Arg::new(op, "factors", factors)?
            .has_shape(&[groups, pitch])?
            .same_type(&norms_sq)?;
        let examples = self.counted + b as u64;
        if examples > MAX_COUNTED {
            let source = QuantileError::Counted { examples };
            return Err(KernelError::Quantile { op, source });
        }
        if b == 0 {
            return Ok(());
        }
        let [uploaded] = launch.scratch(op, [Room::f32(&[groups])])?;
        let uploaded = Arg::new(op, "workspace", &uploaded)?;
        self.counted = examples;
        launch_clips(launch, clips, &uploaded);
        let width = tuning.width(b.div_ceil(4));
        let (count, dim) = tuning.grid(groups + 1, width);
        count_within::launch(
            client,
            count,
            dim,
            norms_sq.buffer(1),
            mask.buffer(1),
            factors.buffer(1),
            uploaded.buffer(1),
            Arg::new(op, "counts", &self.counts)?.buffer(1),
            groups as u32,
            b as u32,
            pitch as u32,
            width,
            dim.num_elems(),
            norms_sq.dtype(),
        );
        Ok(())
    }

    /// Adds the policy's noise to the counts and gives them away, `[G + 1]` f32: the groups' centred counts, for
    /// [`AdaptiveQuantile::next_clip`], and half the number of refused examples.
    ///
    /// Call it once the step is reserved. The noise is of `draw`'s coordinates from element 0 on, with the policy's standard deviation in
    /// place of the draw's.
    ///
    /// # Errors
    /// As [`add_gaussian_noise`]; nothing is released then.
    ///
    /// # Privacy
    /// A Gaussian mechanism of noise multiplier `2 sigma_b / sqrt(G)`, to be charged together with the clipped sum by
    /// [`AdaptiveQuantile::event`], under the conditions of [`add_gaussian_noise`].
    pub fn release(
        self,
        launch: &Launch<'_>,
        draw: GaussianDraw<'_>,
    ) -> Result<TensorHandle, KernelError> {
        let draw = GaussianDraw {
            first_element: 0,
            std: self.policy.count_std(),
            ..draw
        };
        add_gaussian_noise(launch, &self.counts, draw)?;
        Ok(self.counts)
    }
}

/// Which group's count, and nothing of it: it is private.
impl core::fmt::Debug for QuantileCounts {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("QuantileCounts")
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

#[cube(launch)]
pub(crate) fn zero_counts(counts: &mut [f32], len: u32) {
    let i = row_of(1u32);
    if i < len as usize {
        counts[i] = 0.0f32;
    }
}

/// Row `g` counts group `g`, row `groups` the refused. Sums of halves are exact, so their order does not matter.
#[cube(launch)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn count_within<E: Float>(
    norms_sq: &[E],
    mask: &[f32],
    factors: &[E],
    clips: &[f32],
    counts: &mut [f32],
    groups: u32,
    examples: u32,
    pitch: u32,
    #[comptime] width: u32,
    #[comptime] units: u32,
    #[define(E)] _accumulator: ElemType,
) {
    let row = row_of(width);
    let lane = lane_of(width);
    let mut sum = 0.0f32;
    if row <= groups as usize {
        let mut b = lane;
        while b < examples as usize {
            let there = mask[b] == 1.0f32;
            let live = there && is_live::<E>(factors[b]);
            if row < groups as usize {
                let norm_sq = norms_sq[row * pitch as usize + b];
                sum += indicator_of::<E>(norm_sq, clips[row], live);
            } else {
                sum += select(there && !live, 0.5f32, 0.0f32);
            }
            b += comptime!(width as usize);
        }
    }
    let total = sum_units::<f32>(sum, width, units);
    if row <= groups as usize && lane == 0 {
        counts[row] += total;
    }
}

/// What an example adds to its group's count, by the function for its norm's type.
#[cube]
fn indicator_of<E: Float>(norm_sq: E, clip: f32, live: bool) -> f32 {
    let bytes = E::size().comptime();
    if comptime!(bytes == 8) {
        centred_indicator_f64(f64::cast_from(norm_sq), f64::cast_from(clip), live)
    } else {
        centred_indicator(f32::cast_from(norm_sq), clip, live)
    }
}
