//! A parameter of its own for every token's place: the positional embedding.

use crate::check::Arg;
use crate::reduce::{lane_of, row_of, sum_lanes, sum_units};
use crate::{KernelError, Tuning};
use cubecl::{client::Client, prelude::*, std::tensor::TensorHandle};

/// Adds the squared norm of each example's positional-embedding gradient, `sum_t |g_t|^2`, into
/// `norms_sq`.
///
/// `g [B, T, p]` (f32, f16 or bf16), `norms_sq [B]` f32, ADDED into.
///
/// # Errors
/// A [`KernelError`] when shapes, types or layouts don't agree; nothing is launched then.
///
/// # Precision
/// f32, summed in a fixed order that doesn't depend on `B`.
pub fn position_norm_sq(
    client: &Client,
    g: &TensorHandle,
    norms_sq: &TensorHandle,
    tuning: &Tuning,
) -> Result<(), KernelError> {
    let op = "position_norm_sq";
    let g = Arg::new(op, "g", g)?.is_float(client)?;
    let [b, t, p] = g.dims()?;
    let norms_sq = Arg::new(op, "norms_sq", norms_sq)?
        .has_shape(&[b])?
        .is_f32()?;
    if b * t * p == 0 {
        return Ok(());
    }
    let vector = g.vector(t * p, tuning.lanes());
    let columns = t * p / vector;
    let width = tuning.width(columns);
    let (count, dim) = tuning.grid(b, width);
    row_norms::launch(
        client,
        count,
        dim,
        vector,
        g.buffer(vector),
        norms_sq.buffer(1),
        b as u32,
        columns as u32,
        width,
        dim.num_elems(),
        g.dtype(),
    );
    Ok(())
}

/// `norms_sq[row] += |g[row]|^2`.
#[cube(launch)]
pub(crate) fn row_norms<F: Float, N: Size>(
    g: &[Vector<F, N>],
    norms_sq: &mut [f32],
    rows: u32,
    columns: u32,
    #[comptime] width: u32,
    #[comptime] units: u32,
    #[define(F)] _dtype: ElemType,
) {
    let row = row_of(width);
    let lane = lane_of(width);
    let mut sum = 0.0f32;
    if row < rows as usize {
        sum = row_square::<F, N>(g, row, columns, lane, width);
    }
    let total = sum_units(sum, width, units);
    if row < rows as usize && lane == 0 {
        norms_sq[row] += total;
    }
}

/// The share of `lane` in `|x[row]|^2`.
#[cube]
pub(crate) fn row_square<F: Float, N: Size>(
    x: &[Vector<F, N>],
    row: usize,
    columns: u32,
    lane: usize,
    #[comptime] width: u32,
) -> f32 {
    let start = row * columns as usize;
    let mut squares = Vector::<f32, N>::new(0.0f32);
    let mut column = lane;
    while column < columns as usize {
        let v = Vector::<f32, N>::cast_from(x[start + column]);
        squares += v * v;
        column += comptime!(width as usize);
    }
    sum_lanes::<N>(squares)
}
