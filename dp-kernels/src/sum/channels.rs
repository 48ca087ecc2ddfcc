//! One parameter a channel, channels first: the gain and bias of a GroupNorm, the bias of a convolution.

use crate::check::Arg;
use crate::launch::Room;
use crate::live::is_live;
use crate::norm::channels::ChannelMaps;
use crate::reduce::{lane_of, row_of, sum_terms, sum_units};
use crate::sum::columns::launch_add_columns;
use crate::{KernelError, Launch};
use cubecl::{prelude::*, std::tensor::TensorHandle};

/// Adds `sum_b c_b sum_s g_bcs` into `out`: the bias of a GroupNorm, an InstanceNorm or a convolution.
///
/// `g [B, C, ..]` (f32, f16 or bf16; the axes after the second are spatial), `factors [B]` f32, `out [C]` f32,
/// ADDED into.
///
/// # Errors
/// A [`KernelError`] when shapes, types or layouts don't agree; nothing is launched then.
///
/// # Privacy
/// As [`weighted_sum_bias`](crate::weighted_sum_bias), and as
/// [`channel_bias_norm_sq`](crate::channel_bias_norm_sq) says: not for a BatchNorm.
///
/// # Precision
/// f32, in a fixed order: positions, then examples.
pub fn weighted_sum_channel_bias(
    launch: &Launch<'_>,
    g: &TensorHandle,
    factors: &TensorHandle,
    out: &TensorHandle,
) -> Result<(), KernelError> {
    let op = "weighted_sum_channel_bias";
    launch_sums(launch, op, None, g, factors, out)
}

/// Adds `sum_b c_b sum_s g_bcs xhat_bcs` into `out`: the gain of a GroupNorm or InstanceNorm.
///
/// `xhat [B, C, ..]`, `g [B, C, ..]` (one shape and type: f32, f16 or bf16), `factors [B]` f32, `out [C]` f32,
/// ADDED into.
///
/// # Errors
/// A [`KernelError`] when shapes, types or layouts don't agree; nothing is launched then.
///
/// # Privacy
/// As [`weighted_sum_channel_bias`].
///
/// # Precision
/// As [`weighted_sum_channel_bias`].
pub fn weighted_sum_channel_scale(
    launch: &Launch<'_>,
    xhat: &TensorHandle,
    g: &TensorHandle,
    factors: &TensorHandle,
    out: &TensorHandle,
) -> Result<(), KernelError> {
    let op = "weighted_sum_channel_scale";
    launch_sums(launch, op, Some(xhat), g, factors, out)
}

fn launch_sums(
    launch: &Launch<'_>,
    op: &'static str,
    xhat: Option<&TensorHandle>,
    g: &TensorHandle,
    factors: &TensorHandle,
    out: &TensorHandle,
) -> Result<(), KernelError> {
    let Launch { client, tuning, .. } = *launch;
    let maps = ChannelMaps::new(launch, op, xhat, g)?;
    let ChannelMaps { b, c, s, .. } = maps;
    let factors = Arg::new(op, "factors", factors)?
        .has_shape(&[b])?
        .is_f32()?;
    let out = Arg::new(op, "out", out)?.has_shape(&[c])?.is_f32()?;
    if b * c * s == 0 {
        return Ok(());
    }
    let [partials] = launch.scratch(op, [Room::f32(&[b, c])])?;
    let partials = Arg::new(op, "workspace", &partials)?;
    let width = tuning.width(s / maps.vector);
    let (count, dim) = tuning.grid(b * c, width);
    weighted_channels::launch(
        client,
        count,
        dim,
        maps.vector,
        maps.x.buffer(maps.vector),
        maps.g.buffer(maps.vector),
        factors.buffer(1),
        partials.buffer(1),
        (b * c) as u32,
        c as u32,
        (s / maps.vector) as u32,
        maps.scaled,
        width,
        dim.num_elems(),
        maps.g.dtype(),
    );
    launch_add_columns(launch, &partials, &out, b, c);
    Ok(())
}

/// `partials[b, c] = c_b sum_s g[b, c, s] (* x[b, c, s])`, zeros for a dead example.
#[cube(launch)]
pub(crate) fn weighted_channels<F: Float, N: Size>(
    x: &[Vector<F, N>],
    g: &[Vector<F, N>],
    factors: &[f32],
    partials: &mut [f32],
    rows: u32,
    channels: u32,
    columns: u32,
    #[comptime] scaled: bool,
    #[comptime] width: u32,
    #[comptime] units: u32,
    #[define(F)] _dtype: ElemType,
) {
    let row = row_of(width);
    let lane = lane_of(width);
    let mut sum = 0.0f32;
    if row < rows as usize {
        let factor = factors[row / channels as usize];
        if is_live(factor) {
            let first = row * columns as usize;
            let last = first + columns as usize;
            sum = factor * sum_terms::<F, N>(x, g, first, last, lane, scaled, width);
        }
    }
    let total = sum_units(sum, width, units);
    if row < rows as usize && lane == 0 {
        partials[row] = total;
    }
}
