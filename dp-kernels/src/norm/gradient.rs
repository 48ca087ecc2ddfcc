//! Any parameter whose per-example gradients the caller has formed: `[B, P]`.

use super::columns::add_norms;
use crate::check::Arg;
use crate::launch::Room;
use crate::reduce::{lane_of, launch_add_row_sums, row_of, sum_terms, sum_units};
use crate::{KernelError, Launch, Tuning};
use cubecl::{prelude::*, std::tensor::TensorHandle};

/// Adds the squared norm of each example's gradient, `|g_b|^2`, into `norms_sq`: for a parameter of any
/// kind whose per-example gradients lie in memory.
///
/// `g [B, ..]` (f32, f16, bf16 or f64; the axes after the first are the parameter's), `norms_sq [B]` f32 (f64 beside f64),
/// ADDED into. One pass over `g`; it loads whole vectors where the parameter's size is a multiple of the vector's.
///
/// # Errors
/// A [`KernelError`] when shapes, types or layouts don't agree, [`KernelError::TooLarge`] for more elements than the
/// kernels index with 32 bits: cut the parameter into parts then, each a call of its own, since norms add up.
/// Nothing is launched then.
///
/// # Privacy
/// Squares only add, so nothing cancels: the norm is too small by no more than its rounding.
///
/// # Precision
/// f32, f64 for f64 inputs, in spans whose length grows with the root of `P`: an element goes through about `2 sqrt(P)`
/// additions at most. The order doesn't depend on `B`: an example's norm has the same bits in every microbatch.
pub fn gradient_norm_sq(
    launch: &Launch<'_>,
    g: &TensorHandle,
    norms_sq: &TensorHandle,
) -> Result<(), KernelError> {
    let client = launch.client;
    let op = "gradient_norm_sq";
    let shape = g.shape().to_vec();
    let g = Arg::new(op, "g", g)?.is_float(client)?;
    let Some((&b, rest)) = shape.split_first() else {
        return Err(KernelError::Rank {
            op,
            argument: "g",
            expected: 1,
            actual: 0,
        });
    };
    launch_norms(launch, op, &g, b, rest.iter().product(), norms_sq)
}

/// The norms of `rows` rows of `row` elements, added into `norms_sq`.
pub(super) fn launch_norms(
    launch: &Launch<'_>,
    op: &'static str,
    g: &Arg<'_>,
    rows: usize,
    row: usize,
    norms_sq: &TensorHandle,
) -> Result<(), KernelError> {
    let tuning = launch.tuning;
    let norms_sq = Arg::new(op, "norms_sq", norms_sq)?
        .has_shape(&[rows])?
        .sums_of(g)?;
    if rows * row == 0 {
        return Ok(());
    }
    let spans = spans(g, row, tuning);
    if spans == 1 {
        return add_norms(launch, op, None, *g, &norms_sq, [rows, 1, row], &[]);
    }
    let [partials] = launch.scratch(op, [Room::of(&[rows, spans], norms_sq.dtype())])?;
    let partials = Arg::new(op, "workspace", &partials)?;
    launch_squares(launch, g, &partials, rows, row);
    launch_add_row_sums(launch, &partials, &norms_sq, rows, spans);
    Ok(())
}

/// How many vectors a partial sum takes.
fn span(columns: usize, tuning: &Tuning) -> usize {
    // On a GPU a span is a cube's, and should be worth its tree.
    let least = if tuning.is_cpu { 512 } else { 4096 };
    columns.isqrt().next_power_of_two().max(least)
}

/// How many partial sums a row of `row` elements is cut into.
pub(super) fn spans(g: &Arg<'_>, row: usize, tuning: &Tuning) -> usize {
    let columns = row / g.vector(row, tuning.lanes_of(g.accumulator()));
    columns.div_ceil(span(columns, tuning))
}

/// Launches [`row_squares`] of `g [rows, row]` into `partials [rows, spans]`.
pub(super) fn launch_squares(
    launch: &Launch<'_>,
    g: &Arg<'_>,
    partials: &Arg<'_>,
    rows: usize,
    row: usize,
) {
    let Launch { client, tuning, .. } = *launch;
    let vector = g.vector(row, tuning.lanes_of(g.accumulator()));
    let columns = row / vector;
    let span = span(columns, tuning);
    let spans = columns.div_ceil(span);
    let width = tuning.width(columns.min(span));
    let (count, dim) = tuning.grid(rows * spans, width);
    row_squares::launch(
        client,
        count,
        dim,
        vector,
        g.buffer(vector),
        partials.buffer(1),
        (rows * spans) as u32,
        columns as u32,
        span as u32,
        width,
        dim.num_elems(),
        g.dtype(),
        partials.dtype(),
    );
}

/// `partials[row, s] = |span s of g[row]|^2`.
#[cube(launch)]
pub(crate) fn row_squares<F: Float, E: Float, N: Size>(
    g: &[Vector<F, N>],
    partials: &mut [E],
    parts: u32,
    columns: u32,
    span: u32,
    #[comptime] width: u32,
    #[comptime] units: u32,
    #[define(F)] _dtype: ElemType,
    #[define(E)] _accumulator: ElemType,
) {
    let part = row_of(width);
    let lane = lane_of(width);
    let mut sum = E::new(0.0);
    if part < parts as usize {
        let (columns, span) = (columns as usize, span as usize);
        let spans = (columns + span - 1) / span;
        let start = part / spans * columns;
        let first = part % spans * span;
        let last = select(first + span < columns, first + span, columns);
        sum = sum_terms::<F, E, N>(g, g, start + first, start + last, lane, true, width);
    }
    let total = sum_units::<E>(sum, width, units);
    if part < parts as usize && lane == 0 {
        partials[part] = total;
    }
}
