//! Clip factors of a microbatch, and what removes a dead example from its buffers.

mod group;
mod quantile;

pub use group::{group_clip_factors, group_pitch, group_row};
pub use quantile::QuantileCounts;

use crate::check::Arg;
use crate::live::is_live;
use crate::reduce::row_of;
use crate::{KernelError, Launch};
use cubecl::{prelude::*, std::tensor::TensorHandle};
use dp_core::clipping::{Clipping, automatic_factor, flat_factor};

/// Writes each example's clip factor: `factors[b]` from `norms_sq[b]`, exactly 0 where `mask[b]` is not 1.
///
/// `norms_sq [B]`, `mask [B]` (1 for a real example, 0 for padding), `factors [B]`: f32.
///
/// # Errors
/// A [`KernelError`] when shapes, types or layouts don't agree, or `clipping` is not valid; nothing
/// is launched then.
///
/// # Privacy
/// The factor bounds the example's contribution to the sum by the clipping norm, under add/remove
/// of one example. An example whose norm is NaN or infinite gets exactly 0 (see
/// [`dp_core::clipping`]), which [`zero_dead_rows`] and the weighted sums take as "not there".
///
/// # Precision
/// The very functions of [`dp_core::clipping`], compiled for the device.
pub fn clip_factors(
    launch: &Launch<'_>,
    norms_sq: &TensorHandle,
    mask: &TensorHandle,
    factors: &TensorHandle,
    clipping: Clipping,
) -> Result<(), KernelError> {
    let Launch { client, tuning, .. } = *launch;
    let op = "clip_factors";
    clipping
        .validate()
        .map_err(|source| KernelError::Clipping { op, source })?;
    let norms_sq = Arg::new(op, "norms_sq", norms_sq)?.is_f32()?;
    let [b] = norms_sq.dims()?;
    let mask = Arg::new(op, "mask", mask)?.has_shape(&[b])?.is_f32()?;
    let factors = Arg::new(op, "factors", factors)?
        .has_shape(&[b])?
        .is_f32()?;
    if b == 0 {
        return Ok(());
    }
    let (clip, gamma, automatic) = match clipping {
        Clipping::Flat { clip } => (clip, 0.0, false),
        Clipping::Automatic { clip, gamma } => (clip, gamma, true),
    };
    let (count, dim) = tuning.grid(b, 1);
    factors_of_norms::launch(
        client,
        count,
        dim,
        norms_sq.buffer(1),
        mask.buffer(1),
        factors.buffer(1),
        b as u32,
        clip,
        gamma,
        automatic,
    );
    Ok(())
}

/// `factors[b] = mask[b] == 1 ? factor(norms_sq[b]) : 0`.
#[cube(launch)]
pub(crate) fn factors_of_norms(
    norms_sq: &[f32],
    mask: &[f32],
    factors: &mut [f32],
    examples: u32,
    clip: f32,
    gamma: f32,
    #[comptime] automatic: bool,
) {
    let b = row_of(1u32);
    if b < examples as usize {
        let factor = if comptime!(automatic) {
            automatic_factor(norms_sq[b], clip, gamma)
        } else {
            flat_factor(norms_sq[b], clip)
        };
        factors[b] = select(mask[b] == 1.0f32, factor, 0.0f32);
    }
}

/// Overwrites the rows of dead examples with zeros, in place: those whose factor is 0 (or not a
/// positive finite number), so that `0 * NaN` never reaches the sum. No other row is touched.
///
/// `x [B, ..]` (f32, f16 or bf16, one axis or more), `factors [B]` f32.
///
/// # Errors
/// A [`KernelError`] when shapes, types or layouts don't agree; nothing is launched then.
pub fn zero_dead_rows(
    launch: &Launch<'_>,
    x: &TensorHandle,
    factors: &TensorHandle,
) -> Result<(), KernelError> {
    let Launch { client, tuning, .. } = *launch;
    let op = "zero_dead_rows";
    let x_shape = x.shape().to_vec();
    let x = Arg::new(op, "x", x)?.is_float(client)?;
    let Some((&b, rest)) = x_shape.split_first() else {
        return Err(KernelError::Rank {
            op,
            argument: "x",
            expected: 1,
            actual: 0,
        });
    };
    let factors = Arg::new(op, "factors", factors)?
        .has_shape(&[b])?
        .is_f32()?;
    let row: usize = rest.iter().product();
    if b * row == 0 {
        return Ok(());
    }
    let vector = x.vector(row, tuning.lanes());
    let columns = row / vector;
    let width = tuning.width(columns);
    let (count, dim) = tuning.grid(b, width);
    zero_rows::launch(
        client,
        count,
        dim,
        vector,
        x.buffer(vector),
        factors.buffer(1),
        b as u32,
        columns as u32,
        width,
        x.dtype(),
    );
    Ok(())
}

/// `x[b] = 0` where `factors[b]` is dead.
#[cube(launch)]
pub(crate) fn zero_rows<F: Float, N: Size>(
    x: &mut [Vector<F, N>],
    factors: &[f32],
    rows: u32,
    columns: u32,
    #[comptime] width: u32,
    #[define(F)] _dtype: ElemType,
) {
    let row = row_of(width);
    if row < rows as usize {
        if !is_live(factors[row]) {
            let start = row * columns as usize;
            let mut column = crate::reduce::lane_of(width);
            while column < columns as usize {
                x[start + column] = Vector::<F, N>::cast_from(0.0f32);
                column += comptime!(width as usize);
            }
        }
    }
}
