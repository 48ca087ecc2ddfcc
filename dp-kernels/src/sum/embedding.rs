//! Embedding: rows of the table, picked by id. No float atomics: every element has one owner.

use crate::check::Arg;
use crate::live::is_live;
use crate::norm::columns::chunk;
use crate::outer::zeros;
use crate::reduce::{lane_of, row_of};
use crate::{KernelError, Launch};
use cubecl::{prelude::*, std::tensor::TensorHandle};

/// Adds `sum_b c_b sum_t g_t` into row `id_t` of `out`.
///
/// `ids [B, T]` (i32 or u32), `g [B, T, p]` (f32, f16, bf16 or f64), `factors [B]` and `out [V, p]` f32 (f64 beside f64),
/// ADDED into. A token whose id is not in `0..V` adds nothing.
///
/// # Errors
/// A [`KernelError`] when shapes, types or layouts don't agree; nothing is launched then.
///
/// # Privacy
/// As [`weighted_sum_bias`](crate::weighted_sum_bias).
///
/// # Precision
/// f32, f64 for f64 inputs; rows `(b, t)` in order.
pub fn weighted_sum_embedding(
    launch: &Launch<'_>,
    ids: &TensorHandle,
    g: &TensorHandle,
    factors: &TensorHandle,
    out: &TensorHandle,
) -> Result<(), KernelError> {
    let Launch { client, tuning, .. } = *launch;
    let op = "weighted_sum_embedding";
    let g = Arg::new(op, "g", g)?.is_float(client)?;
    let [b, t, p] = g.dims()?;
    let ids = Arg::new(op, "ids", ids)?.has_shape(&[b, t])?.is_index()?;
    let factors = Arg::new(op, "factors", factors)?
        .has_shape(&[b])?
        .sums_of(&g)?;
    let out = Arg::new(op, "out", out)?.sums_of(&g)?;
    let [v, _] = out.dims()?;
    let out = out.has_shape(&[v, p])?;
    if b * t * p * v == 0 {
        return Ok(());
    }
    let most = tuning.lanes_of(out.dtype());
    let vector = g.vector(p, most).min(out.vector(p, most));
    let columns = p / vector;
    if tuning.is_cpu {
        let chunk = chunk(columns, tuning);
        let (count, dim) = tuning.grid_in_turn(columns / chunk);
        scatter_columns::launch(
            client,
            count,
            dim,
            vector,
            ids.buffer(1),
            g.buffer(vector),
            factors.buffer(1),
            out.buffer(vector),
            (b * t) as u32,
            t as u32,
            columns as u32,
            v as u32,
            chunk,
            ids.dtype(),
            g.dtype(),
            out.dtype(),
        );
    } else {
        let width = tuning.width(columns);
        let (count, dim) = tuning.grid(b * t, width);
        scatter_rows::launch(
            client,
            count,
            dim,
            vector,
            ids.buffer(1),
            g.buffer(vector),
            factors.buffer(1),
            out.buffer(vector),
            (b * t) as u32,
            t as u32,
            columns as u32,
            v as u32,
            width,
            ids.dtype(),
            g.dtype(),
            out.dtype(),
        );
    }
    Ok(())
}

/// One unit owns `chunk` columns of the table and walks all examples.
#[cube(launch)]
pub(crate) fn scatter_columns<I: Int, F: Float, E: Float, N: Size>(
    ids: &[I],
    g: &[Vector<F, N>],
    factors: &[E],
    out: &mut [Vector<E, N>],
    rows: u32,
    tokens: u32,
    columns: u32,
    vocabulary: u32,
    #[comptime] chunk: usize,
    #[define(I)] _id_type: ElemType,
    #[define(F)] _dtype: ElemType,
    #[define(E)] _accumulator: ElemType,
) {
    let column = row_of(1u32) * chunk;
    if column < columns as usize {
        for row in 0..rows as usize {
            let example = row / tokens as usize;
            let factor = factors[example];
            let raw = ids[row];
            let id = u32::cast_from(raw);
            let mut earlier = example * tokens as usize;
            while earlier < row && ids[earlier] != raw {
                earlier += 1;
            }
            // The first of an example's tokens with this id adds all of them up: a number then goes through
            // one addition a token of its own example and one an example.
            if is_live::<E>(factor) && earlier == row && id < vocabulary {
                let mut sums = zeros::<E, N>(chunk);
                for other in row..(example + 1) * tokens as usize {
                    if ids[other] == raw {
                        let at = other * columns as usize + column;
                        #[unroll]
                        for i in 0..chunk {
                            sums[i] += Vector::<E, N>::cast_from(g[at + i]);
                        }
                    }
                }
                let at = id as usize * columns as usize + column;
                #[unroll]
                for i in 0..chunk {
                    out[at + i] += sums[i] * Vector::<E, N>::new(factor);
                }
            }
        }
    }
}

/// `width` units own the table's row of the first token with its id, and add up all its tokens.
#[cube(launch)]
pub(crate) fn scatter_rows<I: Int, F: Float, E: Float, N: Size>(
    ids: &[I],
    g: &[Vector<F, N>],
    factors: &[E],
    out: &mut [Vector<E, N>],
    rows: u32,
    tokens: u32,
    columns: u32,
    vocabulary: u32,
    #[comptime] width: u32,
    #[define(I)] _id_type: ElemType,
    #[define(F)] _dtype: ElemType,
    #[define(E)] _accumulator: ElemType,
) {
    let row = row_of(width);
    if row < rows as usize {
        let raw = ids[row];
        let id = u32::cast_from(raw);
        let mut earlier = 0usize;
        while earlier < row && ids[earlier] != raw {
            earlier += 1;
        }
        if earlier == row && id < vocabulary {
            let mut column = lane_of(width);
            while column < columns as usize {
                let mut sum = Vector::<E, N>::new(E::new(0.0));
                for other in row..rows as usize {
                    if ids[other] == raw {
                        let factor = factors[other / tokens as usize];
                        if is_live::<E>(factor) {
                            let value =
                                Vector::<E, N>::cast_from(g[other * columns as usize + column]);
                            sum += value * Vector::<E, N>::new(factor);
                        }
                    }
                }
                out[id as usize * columns as usize + column] += sum;
                column += comptime!(width as usize);
            }
        }
    }
}
