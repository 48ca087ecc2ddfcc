//! Clip factors by groups, and the counts that adaptive clipping learns from.

use super::{Operand, Real, ReferenceError};
use crate::clipping::GroupClipping;

/// Writes each example's clip factors, one for each group: `factors [G, P]` from `norms_sq [G, P]`, columns `..B` of it.
///
/// `mask [B]`, `B <= P`. An example gets 0 in all groups where its mask is not exactly 1 or one of its norms is NaN, infinite or
/// negative. Columns past `B` stay as they are.
///
/// # Errors
/// [`ReferenceError::Length`] when the lengths disagree.
pub fn group_clip_factors<R: Real>(
    norms_sq: &[R],
    mask: &[f32],
    factors: &mut [R],
    clipping: GroupClipping<'_>,
) -> Result<(), ReferenceError> {
    let groups = clipping.clips().len();
    let pitch = pitch(norms_sq, mask, groups)?;
    ReferenceError::check_length(Operand::Factors, factors.len(), norms_sq.len())?;
    for (b, mask) in mask.iter().enumerate() {
        let factor = |group: usize| clipping.group(group).factor(norms_sq[group * pitch + b]);
        let live = *mask == 1.0 && (0..groups).all(|group| factor(group).widen() > 0.0);
        for group in 0..groups {
            factors[group * pitch + b] = if live { factor(group) } else { R::round(0.0) };
        }
    }
    Ok(())
}

/// Adds a microbatch to the counts: `counts[g] += 1/2` for each live example whose norm in group `g` is within `clips[g]`, `-1/2`
/// for each above it, and `counts[G] += 1/2` for each refused one: mask 1, factor 0.
///
/// `norms_sq [G, P]` and `factors [G, P]` (as [`group_clip_factors`] left them), `mask [B]`, `clips [G]`, `counts [G + 1]`.
///
/// # Errors
/// [`ReferenceError::Length`] when the lengths disagree.
pub fn add_quantile_counts<R: Real>(
    norms_sq: &[R],
    mask: &[f32],
    factors: &[R],
    clips: &[f32],
    counts: &mut [f32],
) -> Result<(), ReferenceError> {
    let groups = clips.len();
    let pitch = pitch(norms_sq, mask, groups)?;
    ReferenceError::check_length(Operand::Factors, factors.len(), norms_sq.len())?;
    ReferenceError::check_length(Operand::Out, counts.len(), groups + 1)?;
    for (b, mask) in mask.iter().enumerate() {
        if *mask != 1.0 {
            continue;
        }
        let live = factors[b].widen() > 0.0;
        for (group, clip) in clips.iter().enumerate() {
            counts[group] += norms_sq[group * pitch + b].centred_indicator(*clip, live);
        }
        if !live {
            counts[groups] += 0.5;
        }
    }
    Ok(())
}

/// Columns of `norms_sq`, at least as many as there are examples.
fn pitch<R: Real>(norms_sq: &[R], mask: &[f32], groups: usize) -> Result<usize, ReferenceError> {
    let pitch = norms_sq.len().checked_div(groups).unwrap_or(0);
    ReferenceError::check_length(Operand::Norms, norms_sq.len(), pitch * groups)?;
    if mask.len() > pitch {
        let (actual, expected) = (mask.len(), pitch);
        ReferenceError::check_length(Operand::Mask, actual, expected)?;
    }
    Ok(pitch)
}
