//! A bias and the gain of a LayerNorm or RMSNorm.

use super::gradient::add_weighted_rows;
use crate::check::Arg;
use crate::launch::Room;
use crate::live::is_live;
use crate::norm::columns::{chunk, launch_token_parts, slices, sum_tokens};
use crate::reduce::{lane_of, row_of};
use crate::{KernelError, Launch};
use cubecl::{prelude::*, std::tensor::TensorHandle};

/// Adds `sum_b c_b sum_t g_t` into `out`.
///
/// `g [B, T, p]` (f32, f16, bf16 or f64), `factors [B]` and `out [p]` f32 (f64 beside f64), ADDED into.
///
/// # Errors
/// A [`KernelError`] when shapes, types or layouts don't agree; nothing is launched then.
///
/// # Privacy
/// With factors from [`clip_factors`](crate::clip_factors) over the norm of the WHOLE gradient, each
/// example moves the sums of all layers together by at most the clipping norm, to the rounding of the sums.
///
/// # Precision
/// f32, f64 for f64 inputs, in a fixed order: tokens, then examples.
pub fn weighted_sum_bias(
    launch: &Launch<'_>,
    g: &TensorHandle,
    factors: &TensorHandle,
    out: &TensorHandle,
) -> Result<(), KernelError> {
    let client = launch.client;
    let op = "weighted_sum_bias";
    let g = Arg::new(op, "g", g)?.is_float(client)?;
    launch_sums(launch, op, None, g, factors, out)
}

/// Adds `sum_b c_b sum_t g_t * xhat_t` (elementwise product) into `out`.
///
/// `xhat [B, T, p]`, `g [B, T, p]` (one type: f32, f16, bf16 or f64), `factors [B]` and `out [p]` f32 (f64 beside f64),
/// ADDED into.
///
/// # Errors
/// A [`KernelError`] when shapes, types or layouts don't agree; nothing is launched then.
///
/// # Privacy
/// As [`weighted_sum_bias`].
///
/// # Precision
/// As [`weighted_sum_bias`].
pub fn weighted_sum_scale(
    launch: &Launch<'_>,
    xhat: &TensorHandle,
    g: &TensorHandle,
    factors: &TensorHandle,
    out: &TensorHandle,
) -> Result<(), KernelError> {
    let client = launch.client;
    let op = "weighted_sum_scale";
    let g = Arg::new(op, "g", g)?.is_float(client)?;
    let [b, t, p] = g.dims()?;
    let xhat = Arg::new(op, "xhat", xhat)?
        .has_shape(&[b, t, p])?
        .same_type(&g)?;
    launch_sums(launch, op, Some(xhat), g, factors, out)
}

fn launch_sums(
    launch: &Launch<'_>,
    op: &'static str,
    xhat: Option<Arg<'_>>,
    g: Arg<'_>,
    factors: &TensorHandle,
    out: &TensorHandle,
) -> Result<(), KernelError> {
    let Launch { client, tuning, .. } = *launch;
    let [b, t, p] = g.dims()?;
    let factors = Arg::new(op, "factors", factors)?
        .has_shape(&[b])?
        .sums_of(&g)?;
    let out = Arg::new(op, "out", out)?.has_shape(&[p])?.sums_of(&g)?;
    if b * t * p == 0 {
        return Ok(());
    }
    if t == 1 && xhat.is_none() {
        // Its G are the examples' gradients.
        add_weighted_rows(launch, &g, &factors, &out, [b, p]);
        return Ok(());
    }
    let slices = slices(t, tuning);
    let rooms = [
        Room::of(&[b, p], out.dtype()),
        Room::of(&[b, slices.unwrap_or(0), p], out.dtype()),
    ];
    let [partials, parts] = launch.scratch(op, rooms)?;
    let partials = Arg::new(op, "workspace", &partials)?;
    let parts = Arg::new(op, "workspace", &parts)?;
    let (xhat, g, t) = match slices {
        None => (xhat, g, t),
        Some(slices) => {
            launch_token_parts(launch, xhat, g, (&factors, true), &parts, [b, t, p]);
            (None, parts, slices)
        }
    };
    let scaled = xhat.is_some();
    let x = xhat.unwrap_or(g);
    let most = tuning.lanes_of(out.dtype());
    let vector = g.vector(p, most).min(x.vector(p, most));
    let columns = p / vector;
    let width = tuning.width(columns);
    let (count, dim) = tuning.grid(b, width);
    weighted_columns::launch(
        client,
        count,
        dim,
        vector,
        x.buffer(vector),
        g.buffer(vector),
        factors.buffer(1),
        partials.buffer(vector),
        b as u32,
        t as u32,
        columns as u32,
        scaled,
        chunk(columns, tuning),
        width,
        g.dtype(),
        partials.dtype(),
    );
    launch_add_columns(launch, &partials, &out, b, p);
    Ok(())
}

/// `partials[b] = c_b sum_t g[b, t] (* x[b, t])`, zeros for a dead example.
#[cube(launch)]
pub(crate) fn weighted_columns<F: Float, E: Float, N: Size>(
    x: &[Vector<F, N>],
    g: &[Vector<F, N>],
    factors: &[E],
    partials: &mut [Vector<E, N>],
    examples: u32,
    tokens: u32,
    columns: u32,
    #[comptime] scaled: bool,
    #[comptime] chunk: usize,
    #[comptime] width: u32,
    #[define(F)] _dtype: ElemType,
    #[define(E)] _accumulator: ElemType,
) {
    let b = row_of(width);
    if b < examples as usize {
        let factor = factors[b];
        let live = is_live::<E>(factor);
        let start = b * columns as usize;
        let mut column = lane_of(width) * chunk;
        while column < columns as usize {
            if live {
                let sums = sum_tokens::<F, E, N>(x, g, b, tokens, columns, column, scaled, chunk);
                #[unroll]
                for i in 0..chunk {
                    partials[start + column + i] = sums[i] * Vector::<E, N>::new(factor);
                }
            } else {
                #[unroll]
                for i in 0..chunk {
                    partials[start + column + i] = Vector::<E, N>::new(E::new(0.0));
                }
            }
            column += comptime!(width as usize * chunk);
        }
    }
}

/// Launches [`add_columns`] of `partials [rows, len]` into `out [len]`.
pub(crate) fn launch_add_columns(
    launch: &Launch<'_>,
    partials: &Arg<'_>,
    out: &Arg<'_>,
    rows: usize,
    len: usize,
) {
    let Launch { client, tuning, .. } = *launch;
    let most = tuning.lanes_of(out.dtype());
    let vector = out.vector(len, most);
    let (count, dim) = tuning.grid(len / vector, 1);
    add_columns::launch(
        client,
        count,
        dim,
        vector,
        partials.buffer(vector),
        out.buffer(vector),
        rows as u32,
        (len / vector) as u32,
        out.dtype(),
    );
}

/// `out[i] += sum over rows of partials[row, i]`, rows in order.
#[cube(launch)]
pub(crate) fn add_columns<E: Float, N: Size>(
    partials: &[Vector<E, N>],
    out: &mut [Vector<E, N>],
    rows: u32,
    columns: u32,
    #[define(E)] _accumulator: ElemType,
) {
    let i = row_of(1u32);
    if i < columns as usize {
        let mut sum = Vector::<E, N>::new(E::new(0.0));
        for row in 0..rows as usize {
            sum += partials[row * columns as usize + i];
        }
        out[i] += sum;
    }
}
