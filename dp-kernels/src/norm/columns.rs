//! Parameters of one row, summed over the tokens: a bias and the gain of a LayerNorm or RMSNorm.

use crate::check::Arg;
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

fn launch_norms(
    launch: &Launch<'_>,
    op: &'static str,
    xhat: Option<Arg<'_>>,
    g: Arg<'_>,
    norms_sq: &TensorHandle,
) -> Result<(), KernelError> {
    let Launch { client, tuning, .. } = *launch;
    let [b, t, p] = g.dims()?;
    let norms_sq = Arg::new(op, "norms_sq", norms_sq)?
        .has_shape(&[b])?
        .sums_of(&g)?;
    if b * t * p == 0 {
        return Ok(());
    }
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
        chunk,
        width,
        dim.num_elems(),
        g.dtype(),
        norms_sq.dtype(),
    );
    Ok(())
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

/// `norms_sq[b] += |sum_t g[b, t] (* x[b, t])|^2`; a unit takes every `width`-th chunk of columns.
#[cube(launch)]
pub(crate) fn column_norms<F: Float, E: Float, N: Size>(
    x: &[Vector<F, N>],
    g: &[Vector<F, N>],
    norms_sq: &mut [E],
    examples: u32,
    tokens: u32,
    columns: u32,
    #[comptime] scaled: bool,
    #[comptime] chunk: usize,
    #[comptime] width: u32,
    #[comptime] units: u32,
    #[define(F)] _dtype: ElemType,
    #[define(E)] _accumulator: ElemType,
) {
    let b = row_of(width);
    let lane = lane_of(width);
    let mut squares = Vector::<E, N>::new(E::new(0.0));
    if b < examples as usize {
        let mut column = lane * chunk;
        while column < columns as usize {
            let sums = sum_tokens::<F, E, N>(x, g, b, tokens, columns, column, scaled, chunk);
            #[unroll]
            for i in 0..chunk {
                squares += sums[i] * sums[i];
            }
            column += comptime!(width as usize * chunk);
        }
    }
    let total = sum_units::<E>(sum_lanes::<E, N>(squares), width, units);
    if b < examples as usize && lane == 0 {
        norms_sq[b] += total;
    }
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
