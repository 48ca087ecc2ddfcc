//! Parameters of one row, summed over the tokens: a bias and the gain of a LayerNorm or RMSNorm.

use crate::check::Arg;
use crate::launch::Room;
use crate::live::is_live;
use crate::reduce::{lane_of, row_of, sum_lanes, sum_units};
use crate::{KernelError, Launch, Tuning};
use cubecl::{prelude::*, std::tensor::TensorHandle};

/// Adds the squared norm of each example's bias gradient, `|sum_t g_t|^2`, into `norms_sq`.
///
/// `g [B, T, p]` (f32, f16, bf16 or f64), `norms_sq [B]` f32 (f64 beside f64), ADDED into.
///
/// # Errors
/// A [`KernelError`] when shapes, types or layouts don't agree; nothing is launched then.
///
/// # Privacy
/// Part of the norm of the whole gradient (docs/proofs/layer-norms.md): tokens are added before they are squared, as the gradient adds them.
///
/// # Precision
/// f32 sums (f64 for f64 inputs) over the tokens, then over the columns in a fixed order that depends on `T`, `p` and
/// the device but not on `B`: an example's norm has the same bits in every microbatch.
pub fn bias_norm_sq(
    launch: &Launch<'_>,
    g: &TensorHandle,
    norms_sq: &TensorHandle,
) -> Result<(), KernelError> {
    let client = launch.client;
    let op = "bias_norm_sq";
    let g = Arg::new(op, "g", g)?.is_float(client)?;
    launch_norms(launch, op, None, g, norms_sq)
}

/// Adds the squared norm of each example's gain gradient, `|sum_t g_t * xhat_t|^2` (elementwise
/// product), into `norms_sq`: the gain of a LayerNorm or RMSNorm whose normalised input is `xhat`.
///
/// `xhat [B, T, p]`, `g [B, T, p]` (one type: f32, f16, bf16 or f64), `norms_sq [B]` f32 (f64 beside f64), ADDED into.
///
/// # Errors
/// A [`KernelError`] when shapes, types or layouts don't agree; nothing is launched then.
///
/// # Privacy
/// As [`bias_norm_sq`].
///
/// # Precision
/// As [`bias_norm_sq`].
pub fn scale_norm_sq(
    launch: &Launch<'_>,
    xhat: &TensorHandle,
    g: &TensorHandle,
    norms_sq: &TensorHandle,
) -> Result<(), KernelError> {
    let client = launch.client;
    let op = "scale_norm_sq";
    let g = Arg::new(op, "g", g)?.is_float(client)?;
    let [b, t, p] = g.dims()?;
    let xhat = Arg::new(op, "xhat", xhat)?
        .has_shape(&[b, t, p])?
        .same_type(&g)?;
    launch_norms(launch, op, Some(xhat), g, norms_sq)
}

/// Adds the squared norm of each example's gradients of gain and bias, `|sum_t g_t * xhat_t|^2 + |sum_t g_t|^2`, into `norms_sq`:
/// [`scale_norm_sq`] and [`bias_norm_sq`] in one, of a LayerNorm, and on a processor in one launch that reads G once.
///
/// Shapes and types as [`scale_norm_sq`].
///
/// # Errors
/// As [`scale_norm_sq`].
///
/// # Privacy
/// As [`bias_norm_sq`].
///
/// # Precision
/// As [`bias_norm_sq`]; the bits of the two, one after the other.
pub fn scale_and_bias_norm_sq(
    launch: &Launch<'_>,
    xhat: &TensorHandle,
    g: &TensorHandle,
    norms_sq: &TensorHandle,
) -> Result<(), KernelError> {
    let Launch { client, tuning, .. } = *launch;
    let op = "scale_and_bias_norm_sq";
    let g = Arg::new(op, "g", g)?.is_float(client)?;
    let [b, t, p] = g.dims()?;
    let xhat = Arg::new(op, "xhat", xhat)?
        .has_shape(&[b, t, p])?
        .same_type(&g)?;
    let norms_sq = Arg::new(op, "norms_sq", norms_sq)?
        .has_shape(&[b])?
        .sums_of(&g)?;
    let scratch = launch.scratches(op, rooms(&g, [b, t, p], tuning))?;
    // By vectors of another width the bias's sums would be other ones than those of `bias_norm_sq`.
    let most = tuning.lanes_of(g.accumulator());
    if scratch.is_empty() && b * t * p > 0 && g.vector(p, most) == xhat.vector(p, most) {
        launch_column_norms(launch, Some(xhat), g, &norms_sq, [b, t, p], true);
        return Ok(());
    }
    add_norms(launch, op, Some(xhat), g, &norms_sq, [b, t, p], &scratch)?;
    add_norms(launch, op, None, g, &norms_sq, [b, t, p], &scratch)
}

fn launch_norms(
    launch: &Launch<'_>,
    op: &'static str,
    xhat: Option<Arg<'_>>,
    g: Arg<'_>,
    norms_sq: &TensorHandle,
) -> Result<(), KernelError> {
    let [b, t, p] = g.dims()?;
    let norms_sq = Arg::new(op, "norms_sq", norms_sq)?
        .has_shape(&[b])?
        .sums_of(&g)?;
    let scratch = launch.scratches(op, rooms(&g, [b, t, p], launch.tuning))?;
    add_norms(launch, op, xhat, g, &norms_sq, [b, t, p], &scratch)
}

/// What [`add_norms`] takes.
pub(super) fn rooms(g: &Arg<'_>, [b, t, p]: [usize; 3], tuning: &Tuning) -> Vec<Room> {
    match slices(t, tuning) {
        Some(slices) if b * p > 0 => vec![Room::of(&[b, slices, p], g.accumulator())],
        _ => Vec::new(),
    }
}

/// Adds the norms of the sums of `g [b, t, p]` over the tokens, scaled where there is `xhat`, by way of the buffers of [`rooms`].
pub(super) fn add_norms(
    launch: &Launch<'_>,
    op: &'static str,
    xhat: Option<Arg<'_>>,
    g: Arg<'_>,
    norms_sq: &Arg<'_>,
    [b, t, p]: [usize; 3],
    scratch: &[TensorHandle],
) -> Result<(), KernelError> {
    if b * t * p == 0 {
        return Ok(());
    }
    let Some(slices) = slices(t, launch.tuning) else {
        launch_column_norms(launch, xhat, g, norms_sq, [b, t, p], false);
        return Ok(());
    };
    let parts = Arg::new(op, "workspace", &scratch[0])?;
    launch_token_parts(launch, xhat, g, (norms_sq, false), &parts, [b, t, p]);
    launch_column_norms(launch, None, parts, norms_sq, [b, slices, p], false);
    Ok(())
}

/// Launches [`column_norms`] of `g [b, t, p]`, scaled where there is `xhat`, and with `both` not scaled too.
fn launch_column_norms(
    launch: &Launch<'_>,
    xhat: Option<Arg<'_>>,
    g: Arg<'_>,
    norms_sq: &Arg<'_>,
    [b, t, p]: [usize; 3],
    both: bool,
) {
    let Launch { client, tuning, .. } = *launch;
    let scaled = xhat.is_some();
    let x = xhat.unwrap_or(g);
    let most = tuning.lanes_of(g.accumulator());
    let vector = g.vector(p, most).min(x.vector(p, most));
    let columns = p / vector;
    let width = tuning.width(columns);
    let chunk = chunk(columns, tuning);
    let (count, dim) = tuning.grid(b, width);
    column_norms::launch(
        client,
        count,
        dim,
        vector,
        x.buffer(vector),
        g.buffer(vector),
        norms_sq.buffer(1),
        b as u32,
        t as u32,
        columns as u32,
        scaled,
        both,
        chunk,
        width,
        dim.num_elems(),
        g.dtype(),
        norms_sq.dtype(),
    );
}

/// Tokens of a slice that a GPU sums by itself: a unit that walked all of a long sequence would wait for memory at every step, and most of
/// the device for it.
const SLICE: usize = 32;

/// Into how many slices a GPU cuts `t` tokens, where that is worth a launch more. It does not depend on the examples: a norm has the same
/// bits in every microbatch.
pub(crate) fn slices(t: usize, tuning: &Tuning) -> Option<usize> {
    (!tuning.is_cpu && t > 2 * SLICE).then(|| t.div_ceil(SLICE))
}

/// Launches [`token_parts`] of `g [b, t, p]` into `parts [b, slices, p]`, scaled where there is `xhat`, zeros for the
/// dead where `factors` are to be looked at; else they are any buffer of the type that the launch doesn't write.
pub(crate) fn launch_token_parts(
    launch: &Launch<'_>,
    xhat: Option<Arg<'_>>,
    g: Arg<'_>,
    (factors, factored): (&Arg<'_>, bool),
    parts: &Arg<'_>,
    [b, t, p]: [usize; 3],
) {
    let Launch { client, tuning, .. } = *launch;
    let x = xhat.unwrap_or(g);
    let most = tuning.lanes_of(parts.dtype());
    let vector = g.vector(p, most).min(x.vector(p, most));
    let vector = parts.vector(p, vector);
    let columns = p / vector;
    let slices = t.div_ceil(SLICE);
    let width = tuning.width(columns);
    let (count, dim) = tuning.grid(b * slices, width);
    token_parts::launch(
        client,
        count,
        dim,
        vector,
        x.buffer(vector),
        g.buffer(vector),
        factors.buffer(1),
        parts.buffer(vector),
        (b * slices) as u32,
        slices as u32,
        t as u32,
        columns as u32,
        xhat.is_some(),
        factored,
        width,
        g.dtype(),
        parts.dtype(),
    );
}

/// `parts[b, s] = sum over slice s of g[b, t] (* x[b, t])`; with `factored` zeros for a dead example, which is not read.
#[cube(launch)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn token_parts<F: Float, E: Float, N: Size>(
    x: &[Vector<F, N>],
    g: &[Vector<F, N>],
    factors: &[E],
    parts: &mut [Vector<E, N>],
    rows: u32,
    slices: u32,
    tokens: u32,
    columns: u32,
    #[comptime] scaled: bool,
    #[comptime] factored: bool,
    #[comptime] width: u32,
    #[define(F)] _dtype: ElemType,
    #[define(E)] _accumulator: ElemType,
) {
    let row = row_of(width);
    if row < rows as usize {
        let (slices, tokens, columns) = (slices as usize, tokens as usize, columns as usize);
        let b = row / slices;
        let first = row % slices * SLICE;
        let last = min(first + comptime!(SLICE), tokens);
        let mut live = true;
        if comptime!(factored) {
            live = is_live::<E>(factors[b]);
        }
        let mut column = lane_of(width);
        while column < columns {
            let mut sum = Vector::<E, N>::new(E::new(0.0));
            if live {
                for t in first..last {
                    let at = (b * tokens + t) * columns + column;
                    let mut term = Vector::<E, N>::cast_from(g[at]);
                    if comptime!(scaled) {
                        term *= Vector::<E, N>::cast_from(x[at]);
                    }
                    sum += term;
                }
            }
            parts[row * columns + column] = sum;
            column += comptime!(width as usize);
        }
    }
}

/// How many neighbouring vectors one unit of a CPU sums at once: a whole page of a row, so that the
/// walk down the tokens isn't one cache line each.
pub(crate) fn chunk(columns: usize, tuning: &Tuning) -> usize {
    if !tuning.is_cpu {
        return 1;
    }
    [8, 4, 2]
        .into_iter()
        .find(|c| columns.is_multiple_of(*c))
        .unwrap_or(1)
}

/// `norms_sq[b] += |sum_t g[b, t] (* x[b, t])|^2`, and with `both` `|sum_t g[b, t]|^2` more; a unit takes every `width`-th chunk of columns.
#[cube(launch)]
pub(crate) fn column_norms<F: Float, E: Float, N: Size>(
    x: &[Vector<F, N>],
    g: &[Vector<F, N>],
    norms_sq: &mut [E],
    examples: u32,
    tokens: u32,
    columns: u32,
    #[comptime] scaled: bool,
    #[comptime] both: bool,
    #[comptime] chunk: usize,
    #[comptime] width: u32,
    #[comptime] units: u32,
    #[define(F)] _dtype: ElemType,
    #[define(E)] _accumulator: ElemType,
) {
    let b = row_of(width);
    let lane = lane_of(width);
    let mut sum = E::new(0.0);
    let mut plain = E::new(0.0);
    if b < examples as usize {
        let step = comptime!(width as usize * chunk);
        sum = column_norm::<F, E, N>(x, g, b, tokens, columns, lane * chunk, scaled, chunk, step);
        if comptime!(both) {
            plain =
                column_norm::<F, E, N>(x, g, b, tokens, columns, lane * chunk, false, chunk, step);
        }
    }
    let total = sum_units::<E>(sum, width, units);
    if b < examples as usize && lane == 0 {
        norms_sq[b] += total;
    }
    if comptime!(both) {
        let total = sum_units::<E>(plain, width, units);
        if b < examples as usize && lane == 0 {
            norms_sq[b] += total;
        }
    }
}

/// `|sum_t g[b, t] (* x[b, t])|^2` over every `step`-th chunk of columns from `first` on.
#[cube]
#[allow(clippy::too_many_arguments)]
pub(crate) fn column_norm<F: Float, E: Float, N: Size>(
    x: &[Vector<F, N>],
    g: &[Vector<F, N>],
    b: usize,
    tokens: u32,
    columns: u32,
    first: usize,
    #[comptime] scaled: bool,
    #[comptime] chunk: usize,
    #[comptime] step: usize,
) -> E {
    let mut squares = Vector::<E, N>::new(E::new(0.0));
    let mut column = first;
    while column < columns as usize {
        let sums = sum_tokens::<F, E, N>(x, g, b, tokens, columns, column, scaled, chunk);
        #[unroll]
        for i in 0..chunk {
            squares += sums[i] * sums[i];
        }
        column += step;
    }
    sum_lanes::<E, N>(squares)
}

/// `sum_t g[b, t] (* x[b, t])` of `chunk` vectors from `column` on.
#[cube]
#[allow(clippy::too_many_arguments)]
pub(crate) fn sum_tokens<F: Float, E: Float, N: Size>(
    x: &[Vector<F, N>],
    g: &[Vector<F, N>],
    b: usize,
    tokens: u32,
    columns: u32,
    column: usize,
    #[comptime] scaled: bool,
    #[comptime] chunk: usize,
) -> Array<Vector<E, N>> {
    let mut sums = Array::<Vector<E, N>>::new(chunk);
    #[unroll]
    for i in 0..chunk {
        sums[i] = Vector::<E, N>::new(E::new(0.0));
    }
    let start = b * tokens as usize * columns as usize + column;
    for t in 0..tokens as usize {
        let at = start + t * columns as usize;
        #[unroll]
        for i in 0..chunk {
            let mut term = Vector::<E, N>::cast_from(g[at + i]);
            if comptime!(scaled) {
                term *= Vector::<E, N>::cast_from(x[at + i]);
            }
            sums[i] += term;
        }
    }
    sums
}
