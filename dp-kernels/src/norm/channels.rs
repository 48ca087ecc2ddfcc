//! One parameter a channel, channels first: the gain and bias of a GroupNorm, the bias of a convolution.

use crate::check::Arg;
use crate::launch::Room;
use crate::reduce::{lane_of, launch_add_row_sums, row_of, sum_terms, sum_units};
use crate::{KernelError, Launch};
use cubecl::{prelude::*, std::tensor::TensorHandle};

/// Adds the squared norm of each example's bias gradient, `sum_c (sum_s g_cs)^2`, into `norms_sq`: the bias of
/// a GroupNorm, an InstanceNorm or a convolution.
///
/// `g [B, C, ..]` (f32, f16 or bf16; the axes after the second are spatial), `norms_sq [B]` f32, ADDED into.
///
/// # Errors
/// A [`KernelError`] when shapes, types or layouts don't agree; nothing is launched then.
///
/// # Privacy
/// For layers in which an example's output depends on that example alone: a GroupNorm, a LayerNorm, an InstanceNorm.
/// A BatchNorm mixes examples, and no clipping of per-example gradients bounds what one of them does there.
///
/// # Precision
/// f32, over the positions and then the channels, in a fixed order that depends on the shape and the device but not
/// on `B`: an example's norm has the same bits in every microbatch.
pub fn channel_bias_norm_sq(
    launch: &Launch<'_>,
    g: &TensorHandle,
    norms_sq: &TensorHandle,
) -> Result<(), KernelError> {
    let op = "channel_bias_norm_sq";
    launch_norms(launch, op, None, g, norms_sq)
}

/// Adds the squared norm of each example's gain gradient, `sum_c (sum_s g_cs xhat_cs)^2`, into `norms_sq`: the gain
/// of a GroupNorm or InstanceNorm whose normalised input is `xhat`.
///
/// `xhat [B, C, ..]`, `g [B, C, ..]` (one shape and type: f32, f16 or bf16), `norms_sq [B]` f32, ADDED into.
///
/// # Errors
/// A [`KernelError`] when shapes, types or layouts don't agree; nothing is launched then.
///
/// # Privacy
/// As [`channel_bias_norm_sq`].
///
/// # Precision
/// As [`channel_bias_norm_sq`].
pub fn channel_scale_norm_sq(
    launch: &Launch<'_>,
    xhat: &TensorHandle,
    g: &TensorHandle,
    norms_sq: &TensorHandle,
) -> Result<(), KernelError> {
    let op = "channel_scale_norm_sq";
    launch_norms(launch, op, Some(xhat), g, norms_sq)
}

fn launch_norms(
    launch: &Launch<'_>,
    op: &'static str,
    xhat: Option<&TensorHandle>,
    g: &TensorHandle,
    norms_sq: &TensorHandle,
) -> Result<(), KernelError> {
    let Launch { client, tuning, .. } = *launch;
    let maps = ChannelMaps::new(launch, op, xhat, g)?;
    let ChannelMaps { b, c, s, .. } = maps;
    let norms_sq = Arg::new(op, "norms_sq", norms_sq)?
        .has_shape(&[b])?
        .is_f32()?;
    if b * c * s == 0 {
        return Ok(());
    }
    let [partials] = launch.scratch(op, [Room::f32(&[b, c])])?;
    let partials = Arg::new(op, "workspace", &partials)?;
    let width = tuning.width(s / maps.vector);
    let (count, dim) = tuning.grid(b * c, width);
    channel_norms::launch(
        client,
        count,
        dim,
        maps.vector,
        maps.x.buffer(maps.vector),
        maps.g.buffer(maps.vector),
        partials.buffer(1),
        (b * c) as u32,
        (s / maps.vector) as u32,
        maps.scaled,
        width,
        dim.num_elems(),
        maps.g.dtype(),
    );
    launch_add_row_sums(launch, &partials, &norms_sq, b, c);
    Ok(())
}

/// The checked inputs: `[B, C, S]`.
pub(crate) struct ChannelMaps<'a> {
    pub x: Arg<'a>,
    pub g: Arg<'a>,
    pub scaled: bool,
    pub b: usize,
    pub c: usize,
    pub s: usize,
    pub vector: usize,
}

impl<'a> ChannelMaps<'a> {
    pub(crate) fn new(
        launch: &Launch<'_>,
        op: &'static str,
        xhat: Option<&'a TensorHandle>,
        g: &'a TensorHandle,
    ) -> Result<Self, KernelError> {
        let Launch { client, tuning, .. } = *launch;
        let shape: &[usize] = g.shape();
        let g = Arg::new(op, "g", g)?.is_float(client)?;
        let &[b, c, ref spatial @ ..] = shape else {
            return Err(KernelError::Rank {
                op,
                argument: "g",
                expected: 3,
                actual: shape.len(),
            });
        };
        let scaled = xhat.is_some();
        let x = match xhat {
            Some(xhat) => Arg::new(op, "xhat", xhat)?
                .has_shape(shape)?
                .same_type(&g)?,
            None => g,
        };
        let s = spatial.iter().product();
        let most = tuning.lanes();
        Ok(Self {
            x,
            g,
            scaled,
            b,
            c,
            s,
            vector: g.vector(s, most).min(x.vector(s, most)),
        })
    }
}

/// `partials[b, c] = (sum_s g[b, c, s] (* x[b, c, s]))^2`.
#[cube(launch)]
pub(crate) fn channel_norms<F: Float, N: Size>(
    x: &[Vector<F, N>],
    g: &[Vector<F, N>],
    partials: &mut [f32],
    rows: u32,
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
        let first = row * columns as usize;
        let last = first + columns as usize;
        sum = sum_terms::<F, N>(x, g, first, last, lane, scaled, width);
    }
    let total = sum_units(sum, width, units);
    if row < rows as usize && lane == 0 {
        partials[row] = total * total;
    }
}
