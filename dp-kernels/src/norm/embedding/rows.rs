//! On a GPU: the units of a row look for the other tokens of its id, and take the norm where it is the first of them.

use crate::Launch;
use crate::check::Arg;
use crate::reduce::{lane_of, row_of, sum_lanes, sum_units};
use cubecl::prelude::*;

/// Launches [`embedding_rows`] into `partials [B, T]`.
pub(super) fn launch(
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
            let mut column = lane;
            while column < columns as usize {
                let mut sum = Vector::<E, N>::new(E::new(0.0));
                for other in row..end {
                    if ids[other] == id {
                        sum += Vector::<E, N>::cast_from(g[other * columns as usize + column]);
                    }
                }
                squares += sum * sum;
                column += comptime!(width as usize);
            }
        }
    }
    let total = sum_units::<E>(sum_lanes::<E, N>(squares), width, units);
    if row < rows as usize && lane == 0 {
        partials[row] = total;
    }
}
