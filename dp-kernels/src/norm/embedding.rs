//! Embedding: tokens with one id share a row of the table, so their gradients add before they are squared.

use super::columns::chunk;
use crate::check::Arg;
use crate::launch::Room;
use crate::reduce::{lane_of, launch_add_row_sums, row_of, sum_lanes, sum_units};
use crate::{KernelError, Launch};
use cubecl::{prelude::*, std::tensor::TensorHandle};

/// Adds the squared norm of each example's embedding gradient,
/// `sum_{t,t'} [id_t = id_t'] <g_t, g_t'>`, into `norms_sq`.
///
/// `ids [B, T]` (i32 or u32), `g [B, T, p]` (f32, f16, bf16 or f64), `norms_sq [B]` f32 (f64 beside f64), ADDED into.
///
/// # Errors
/// A [`KernelError`] when shapes, types or layouts don't agree; nothing is launched then.
///
/// # Privacy
/// Part of the norm of the whole gradient (docs/proofs/layer-norms.md): tokens of one id are added before they are squared. Without that an
/// example of T equal tokens could count for a T-th of its square.
///
/// # Precision
/// Computed as `sum over distinct ids of |sum of their g|^2`, in f32 (f64 for f64 inputs) and in a fixed order: no
/// cancellation between squares, unlike the double sum above.
pub fn embedding_norm_sq(
    launch: &Launch<'_>,
    ids: &TensorHandle,
    g: &TensorHandle,
    norms_sq: &TensorHandle,
) -> Result<(), KernelError> {
    let client = launch.client;
    let op = "embedding_norm_sq";
    let g = Arg::new(op, "g", g)?.is_float(client)?;
    let [b, t, p] = g.dims()?;
    let ids = Arg::new(op, "ids", ids)?.has_shape(&[b, t])?.is_index()?;
    let norms_sq = Arg::new(op, "norms_sq", norms_sq)?
        .has_shape(&[b])?
        .sums_of(&g)?;
    if b * t * p == 0 {
        return Ok(());
    }
    let [partials] = launch.scratch(op, [Room::of(&[b, t], norms_sq.dtype())])?;
    let partials = Arg::new(op, "workspace", &partials)?;
    launch_rows(launch, &ids, &g, &partials, [b, t, p]);
    launch_add_row_sums(launch, &partials, &norms_sq, b, t);
    Ok(())
}

/// Launches [`embedding_rows`] into `partials [B, T]`.
pub(super) fn launch_rows(
    launch: &Launch<'_>,
    ids: &Arg<'_>,
    g: &Arg<'_>,
    partials: &Arg<'_>,
    [b, t, p]: [usize; 3],
) {
    let Launch { client, tuning, .. } = *launch;
    let vector = g.vector(p, tuning.lanes_of(g.accumulator()));
    let columns = p / vector;
    let width = tuning.width(columns);
    let (count, dim) = tuning.grid(b * t, width);
    embedding_rows::launch(
        client,
        count,
        dim,
        vector,
        ids.buffer(1),
        g.buffer(vector),
        partials.buffer(1),
        (b * t) as u32,
        t as u32,
        columns as u32,
        chunk(columns, tuning),
        width,
        dim.num_elems(),
        ids.dtype(),
        g.dtype(),
        partials.dtype(),
    );
}

/// `partials[b, t] = |sum of g[b, t'] over t' with t's id|^2` where t is the first with its id,
/// otherwise 0.
#[cube(launch)]
pub(crate) fn embedding_rows<I: Int, F: Float, E: Float, N: Size>(
    ids: &[I],
    g: &[Vector<F, N>],
    partials: &mut [E],
    rows: u32,
    tokens: u32,
    columns: u32,
    #[comptime] chunk: usize,
    #[comptime] width: u32,
    #[comptime] units: u32,
    #[define(I)] _id_type: ElemType,
    #[define(F)] _dtype: ElemType,
    #[define(E)] _accumulator: ElemType,
) {
    let row = row_of(width);
    let lane = lane_of(width);
    let mut squares = Vector::<E, N>::new(E::new(0.0));
    if row < rows as usize {
        let first = row - row % tokens as usize;
        let id = ids[row];
        let mut earlier = first;
        while earlier < row && ids[earlier] != id {
            earlier += 1;
        }
        if earlier == row {
            let end = first + tokens as usize;
            let mut column = lane * chunk;
            while column < columns as usize {
                let mut sums = Array::<Vector<E, N>>::new(chunk);
                #[unroll]
                for i in 0..chunk {
                    sums[i] = Vector::<E, N>::new(E::new(0.0));
                }
                for other in row..end {
                    if ids[other] == id {
                        #[unroll]
                        for i in 0..chunk {
                            sums[i] +=
                                Vector::<E, N>::cast_from(g[other * columns as usize + column + i]);
                        }
                    }
                }
                #[unroll]
                for i in 0..chunk {
                    squares += sums[i] * sums[i];
                }
                column += comptime!(width as usize * chunk);
            }
        }
    }
    let total = sum_units::<E>(sum_lanes::<E, N>(squares), width, units);
    if row < rows as usize && lane == 0 {
        partials[row] = total;
    }
}
