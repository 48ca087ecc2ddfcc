//! Per-example gradients of parameters of one row, a bias and the gain of a LayerNorm, written to memory: `[B, p]` where a norm and a sum without them
//! read `[B, T, p]` twice.

use super::columns::{chunk, launch_token_parts, rooms, slices, sum_tokens};
use crate::check::Arg;
use crate::outer::zeros;
use crate::reduce::{lane_of, row_of};
use crate::{KernelError, Launch, Tuning};
use cubecl::{prelude::*, std::tensor::TensorHandle};

/// Writes each example's gradients of gain and bias, `sum_t g_t * xhat_t` (elementwise product) and `sum_t g_t`, of a LayerNorm.
///
/// `xhat [B, T, p]`, `g [B, T, p]` (one type: f32, f16, bf16 or f64), `scale_gradients [B, p]` and `bias_gradients [B, p]` f32 (f64 beside
/// f64), OVERWRITTEN.
///
/// Their norms are [`gradient_norm_sq`](crate::gradient_norm_sq)'s and their sums [`weighted_sum_gradient`](crate::weighted_sum_gradient)'s: `2 B p` numbers
/// are kept from norm to sum where [`scale_and_bias_norm_sq`](crate::scale_and_bias_norm_sq) and [`weighted_sum_scale`](crate::weighted_sum_scale) read `2 B T p` each, so that a backward pass can let go
/// of both tensors.
///
/// # Errors
/// A [`KernelError`] when shapes, types or layouts don't agree; nothing is launched then.
///
/// # Privacy
/// They are what a privacy mechanism exists to hide: they leave the device through a clipped and noised sum only.
///
/// # Precision
/// f32, f64 for f64 inputs, over the tokens in order; an example's have the same bits in every microbatch.
pub fn scale_and_bias_gradients(
    launch: &Launch<'_>,
    xhat: &TensorHandle,
    g: &TensorHandle,
    scale_gradients: &TensorHandle,
    bias_gradients: &TensorHandle,
) -> Result<(), KernelError> {
    let Launch { client, tuning, .. } = *launch;
    let op = "scale_and_bias_gradients";
    let g = Arg::new(op, "g", g)?.is_float(client)?;
    let [b, t, p] = g.dims()?;
    let xhat = Arg::new(op, "xhat", xhat)?
        .has_shape(&[b, t, p])?
        .same_type(&g)?;
    let scale = Arg::new(op, "scale_gradients", scale_gradients)?
        .has_shape(&[b, p])?
        .sums_of(&g)?;
    let bias = Arg::new(op, "bias_gradients", bias_gradients)?
        .has_shape(&[b, p])?
        .sums_of(&g)?;
    let scratch = launch.scratches(op, rooms(&g, [b, t, p], tuning))?;
    if b * p == 0 {
        return Ok(());
    }
    if scratch.is_empty() {
        launch_two_gradients(launch, xhat, g, [&scale, &bias], [b, t, p]);
        return Ok(());
    }
    write_gradients(launch, op, Some(xhat), g, &scale, [b, t, p], &scratch)?;
    write_gradients(launch, op, None, g, &bias, [b, t, p], &scratch)
}

/// Writes each example's gradients of a bias, `sum_t g_t`.
///
/// `g [B, T, p]` (f32, f16, bf16 or f64), `bias_gradients [B, p]` f32 (f64 beside f64), OVERWRITTEN.
///
/// # Errors
/// As [`scale_and_bias_gradients`].
///
/// # Privacy
/// As [`scale_and_bias_gradients`].
///
/// # Precision
/// As [`scale_and_bias_gradients`].
pub fn bias_gradients(
    launch: &Launch<'_>,
    g: &TensorHandle,
    bias_gradients: &TensorHandle,
) -> Result<(), KernelError> {
    let op = "bias_gradients";
    let g = Arg::new(op, "g", g)?.is_float(launch.client)?;
    let [b, t, p] = g.dims()?;
    let out = Arg::new(op, "bias_gradients", bias_gradients)?
        .has_shape(&[b, p])?
        .sums_of(&g)?;
    let scratch = launch.scratches(op, rooms(&g, [b, t, p], launch.tuning))?;
    write_gradients(launch, op, None, g, &out, [b, t, p], &scratch)
}

/// Writes the sums of `g [b, t, p]` over the tokens, scaled where there is `xhat`, by way of the buffers of [`rooms`].
pub(super) fn write_gradients(
    launch: &Launch<'_>,
    op: &'static str,
    xhat: Option<Arg<'_>>,
    g: Arg<'_>,
    out: &Arg<'_>,
    [b, t, p]: [usize; 3],
    scratch: &[TensorHandle],
) -> Result<(), KernelError> {
    if b * p == 0 {
        return Ok(());
    }
    let Some(slices) = slices(t, launch.tuning) else {
        launch_gradients(launch, xhat, g, out, [b, t, p]);
        return Ok(());
    };
    let parts = Arg::new(op, "workspace", &scratch[0])?;
    launch_token_parts(launch, xhat, g, (out, false), &parts, [b, t, p]);
    launch_gradients(launch, None, parts, out, [b, slices, p]);
    Ok(())
}

/// The widest vector that the rows of `p` elements of all of `args` can be moved by, sums like `out` among them. Without a token it is a single element: a
/// device may refuse to bind a buffer that holds no whole vector.
fn vector(args: &[Arg<'_>], out: &Arg<'_>, [t, p]: [usize; 2], tuning: &Tuning) -> usize {
    let most = if t == 0 {
        1
    } else {
        tuning.lanes_of(out.dtype())
    };
    args.iter().fold(most, |most, arg| arg.vector(p, most))
}

/// Launches [`column_gradients`] of `g [b, t, p]`, scaled where there is `xhat`.
fn launch_gradients(
    launch: &Launch<'_>,
    xhat: Option<Arg<'_>>,
    g: Arg<'_>,
    out: &Arg<'_>,
    [b, t, p]: [usize; 3],
) {
    let Launch { client, tuning, .. } = *launch;
    let scaled = xhat.is_some();
    let x = xhat.unwrap_or(g);
    let vector = vector(&[x, g, *out], out, [t, p], tuning);
    let columns = p / vector;
    let width = tuning.width(columns);
    let (count, dim) = tuning.grid(b, width);
    column_gradients::launch(
        client,
        count,
        dim,
        vector,
        x.buffer(vector),
        g.buffer(vector),
        out.buffer(vector),
        b as u32,
        t as u32,
        columns as u32,
        scaled,
        chunk(columns, tuning),
        width,
        g.dtype(),
        out.dtype(),
    );
}

/// Launches [`two_column_gradients`] of `g [b, t, p]`.
fn launch_two_gradients(
    launch: &Launch<'_>,
    x: Arg<'_>,
    g: Arg<'_>,
    [scale, bias]: [&Arg<'_>; 2],
    [b, t, p]: [usize; 3],
) {
    let Launch { client, tuning, .. } = *launch;
    let vector = vector(&[x, g, *scale, *bias], bias, [t, p], tuning);
    let columns = p / vector;
    let width = tuning.width(columns);
    let (count, dim) = tuning.grid(b, width);
    two_column_gradients::launch(
        client,
        count,
        dim,
        vector,
        x.buffer(vector),
        g.buffer(vector),
        scale.buffer(vector),
        bias.buffer(vector),
        b as u32,
        t as u32,
        columns as u32,
        // Two sums for each vector of a chunk are in registers at once.
        chunk(columns, tuning).min(4),
        width,
        g.dtype(),
        bias.dtype(),
    );
}

/// `out[b] = sum_t g[b, t] (* x[b, t])`; a unit takes every `width`-th chunk of columns.
#[cube(launch)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn column_gradients<F: Float, E: Float, N: Size>(
    x: &[Vector<F, N>],
    g: &[Vector<F, N>],
    out: &mut [Vector<E, N>],
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
        let start = b * columns as usize;
        let mut column = lane_of(width) * chunk;
        while column < columns as usize {
            let sums = sum_tokens::<F, E, N>(x, g, b, tokens, columns, column, scaled, chunk);
            #[unroll]
            for i in 0..chunk {
                out[start + column + i] = sums[i];
            }
            column += comptime!(width as usize * chunk);
        }
    }
}

/// `scale[b] = sum_t g[b, t] * x[b, t]` and `bias[b] = sum_t g[b, t]`, in one walk down the tokens; a unit takes every `width`-th chunk of columns.
#[cube(launch)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn two_column_gradients<F: Float, E: Float, N: Size>(
    x: &[Vector<F, N>],
    g: &[Vector<F, N>],
    scale: &mut [Vector<E, N>],
    bias: &mut [Vector<E, N>],
    examples: u32,
    tokens: u32,
    columns: u32,
    #[comptime] chunk: usize,
    #[comptime] width: u32,
    #[define(F)] _dtype: ElemType,
    #[define(E)] _accumulator: ElemType,
) {
    let b = row_of(width);
    if b < examples as usize {
        let columns = columns as usize;
        let mut column = lane_of(width) * chunk;
        while column < columns {
            let mut scaled = zeros::<E, N>(chunk);
            let mut plain = zeros::<E, N>(chunk);
            for t in 0..tokens as usize {
                let at = (b * tokens as usize + t) * columns + column;
                #[unroll]
                for i in 0..chunk {
                    let term = Vector::<E, N>::cast_from(g[at + i]);
                    scaled[i] += term * Vector::<E, N>::cast_from(x[at + i]);
                    plain[i] += term;
                }
            }
            #[unroll]
            for i in 0..chunk {
                scale[b * columns + column + i] = scaled[i];
                bias[b * columns + column + i] = plain[i];
            }
            column += comptime!(width as usize * chunk);
        }
    }
}
