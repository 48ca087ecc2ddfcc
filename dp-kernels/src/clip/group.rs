//! Clip factors where each group of parameters has a clipping norm of its own.

use super::factor_of;
use crate::check::Arg;
use crate::launch::Room;
use crate::live::is_live;
use crate::reduce::row_of;
use crate::words::launch_words;
use crate::{KernelError, Launch};
use cubecl::{client::Client, prelude::*, std::tensor::TensorHandle};
use dp_core::clipping::GroupClipping;

/// Writes each example's clip factors, one for each group: `factors[g, b]` from `norms_sq[g, b]`, exactly 0 in *all* groups where
/// `mask[b]` is not 1 or one of the example's norms is NaN, infinite or negative.
///
/// `norms_sq [G, P]` and `factors [G, P]` (both f32, or both f64), `mask [B]` f32 (1 for a real example, 0 for padding),
/// `B <= P`. `P` is the pitch, of which only the first `B` columns are read and written; [`group_pitch`] gives one with which
/// [`group_row`] can hand a row to the norms and to the weighted sums.
///
/// # Errors
/// A [`KernelError`] when shapes, types or layouts don't agree; nothing is launched then.
///
/// # Privacy
/// Under add/remove of one example the sum over all groups moves by at most
/// [`GroupClipping::sensitivity`]` (1 + 2^-20)`; see docs/proofs/clipping-groups.md.
///
/// # Precision
/// The very functions of [`dp_core::clipping`], compiled for the device.
pub fn group_clip_factors(
    launch: &Launch<'_>,
    norms_sq: &TensorHandle,
    mask: &TensorHandle,
    factors: &TensorHandle,
    clipping: GroupClipping<'_>,
) -> Result<(), KernelError> {
    let Launch { client, tuning, .. } = *launch;
    let op = "group_clip_factors";
    let groups = clipping.clips().len();
    let mask = Arg::new(op, "mask", mask)?.is_f32()?;
    let [b] = mask.dims()?;
    let (norms_sq, pitch) = matrix(client, op, "norms_sq", norms_sq, groups, b)?;
    let factors = Arg::new(op, "factors", factors)?
        .has_shape(&[groups, pitch])?
        .same_type(&norms_sq)?;
    if b == 0 {
        return Ok(());
    }
    let [clips] = launch.scratch(op, [Room::f32(&[groups])])?;
    let clips = Arg::new(op, "workspace", &clips)?;
    launch_clips(launch, clipping.clips(), &clips);
    let (count, dim) = tuning.grid(b, 1);
    factors_of_group_norms::launch(
        client,
        count,
        dim,
        norms_sq.buffer(1),
        mask.buffer(1),
        clips.buffer(1),
        factors.buffer(1),
        groups as u32,
        b as u32,
        pitch as u32,
        clipping.gamma().unwrap_or(0.0),
        clipping.gamma().is_some(),
        norms_sq.dtype(),
    );
    Ok(())
}

/// Row `group` of `matrix [G, P]`, its first `examples` columns, without copying: a group's norms, or its factors.
///
/// # Errors
/// [`KernelError::Rank`], [`KernelError::Shape`] when there is no such row, [`KernelError::Misaligned`] where the device cannot
/// bind a buffer at the row's start: take the pitch from [`group_pitch`].
pub fn group_row(
    client: &Client,
    matrix: &TensorHandle,
    group: usize,
    examples: usize,
) -> Result<TensorHandle, KernelError> {
    let (op, argument) = ("group_row", "matrix");
    let [groups, pitch] = Arg::new(op, argument, matrix)?.dims()?;
    if group >= groups || examples > pitch {
        return Err(KernelError::Shape {
            op,
            argument,
            expected: vec![group + 1, examples],
            actual: vec![groups, pitch],
        });
    }
    let offset = (group * pitch * matrix.dtype.size()) as u64;
    let start = matrix.handle.offset_start.unwrap_or(0) + offset;
    let alignment = client.properties().memory.alignment;
    if !start.is_multiple_of(alignment.max(1)) {
        return Err(KernelError::Misaligned {
            op,
            argument,
            row: group,
            offset: start,
            alignment,
        });
    }
    let handle = matrix.handle.clone().offset_start(offset);
    Ok(TensorHandle::new_contiguous(
        vec![examples],
        handle,
        matrix.dtype,
    ))
}

/// The least pitch, at least `examples`, with which the device can bind every row of a matrix `[G, pitch]` of f32 or f64.
#[must_use]
pub fn group_pitch(client: &Client, examples: usize) -> usize {
    let alignment = client.properties().memory.alignment as usize / size_of::<f32>();
    examples.max(1).next_multiple_of(alignment.max(1))
}

/// A matrix of f32 or f64, of `groups` rows and at least `examples` columns; the number of columns.
pub(super) fn matrix<'a>(
    client: &Client,
    op: &'static str,
    name: &'static str,
    tensor: &'a TensorHandle,
    groups: usize,
    examples: usize,
) -> Result<(Arg<'a>, usize), KernelError> {
    let arg = Arg::new(op, name, tensor)?.is_sum(client)?;
    let [_, pitch] = arg.dims()?;
    let arg = arg.has_shape(&[groups, pitch.max(examples)])?;
    Ok((arg, pitch))
}

/// Writes a step's clipping norms into `to`.
pub(super) fn launch_clips(launch: &Launch<'_>, clips: &[f32], to: &Arg<'_>) {
    let words: Vec<u32> = clips.iter().map(|clip| clip.to_bits()).collect();
    launch_words(launch, &words, to);
}

/// One unit takes one example: first whether it is live in every group, then its factors.
#[cube(launch)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn factors_of_group_norms<E: Float>(
    norms_sq: &[E],
    mask: &[f32],
    clips: &[f32],
    factors: &mut [E],
    groups: u32,
    examples: u32,
    pitch: u32,
    gamma: f32,
    #[comptime] automatic: bool,
    #[define(E)] _accumulator: ElemType,
) {
    let b = row_of(1u32);
    if b < examples as usize {
        let mut live = mask[b] == 1.0f32;
        for group in 0..groups as usize {
            let norm_sq = norms_sq[group * pitch as usize + b];
            let factor = factor_of::<E>(norm_sq, clips[group], gamma, automatic);
            live = live && is_live::<E>(factor);
        }
        for group in 0..groups as usize {
            let place = group * pitch as usize + b;
            let factor = factor_of::<E>(norms_sq[place], clips[group], gamma, automatic);
            factors[place] = select(live, factor, E::new(0.0));
        }
    }
}
