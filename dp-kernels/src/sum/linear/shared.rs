//! By a GPU's ordinary units.

use super::LinearSum;
use crate::Launch;
use crate::check::Arg;
use crate::live::is_live;
use crate::sum::columns::launch_add_columns;
use crate::tile::{self, Deep, REGISTERS, TILE, offset};
use cubecl::prelude::*;

/// A GPU takes the rows of several examples in one product where an example has fewer tokens than this: two stages of a tile.
const SHORT: usize = 2 * tile::DEPTH;

pub(super) fn launch(launch: &Launch<'_>, sum: &LinearSum<'_>, partials: &Arg<'_>) {
    let Launch { client, tuning, .. } = *launch;
    let LinearSum {
        a,
        g,
        factors,
        out,
        b,
        t,
        d,
        p,
        ..
    } = sum;
    let slices = sum.slices(tuning);
    let vector = tile::vector(a, *d, g, *p, tuning);
    let (count, dim) = tile::grid(sum.tiles([TILE, TILE]) * slices, tuning);
    weighted_outer_shared::launch(
        client,
        count,
        dim,
        vector,
        a.buffer(vector),
        g.buffer(vector),
        factors.buffer(1),
        partials.buffer(1),
        *b as u32,
        *t as u32,
        *d as u32,
        *p as u32,
        slices as u32,
        *t < SHORT,
        a.dtype(),
        partials.dtype(),
    );
    launch_add_columns(launch, partials, out, slices, d * p);
}

/// One cube takes one tile of the weight and one slice of the examples.
#[cube(launch)]
pub(crate) fn weighted_outer_shared<F: Float, E: Float, N: Size>(
    a: &[Vector<F, N>],
    g: &[Vector<F, N>],
    factors: &[E],
    partials: &mut [E],
    examples: u32,
    tokens: u32,
    a_columns: u32,
    g_columns: u32,
    slices: u32,
    #[comptime] flat: bool,
    #[define(F)] _dtype: ElemType,
    #[define(E)] _accumulator: ElemType,
) {
    let across = (g_columns as usize + comptime!(TILE - 1)) / comptime!(TILE);
    let down = (a_columns as usize + comptime!(TILE - 1)) / comptime!(TILE);
    let place = CUBE_POS as usize;
    let slice = place / (across * down);
    if slice < slices as usize {
        let tile = place % (across * down);
        let first_row = tile / across * TILE;
        let first_column = tile % across * TILE;
        let per_slice = (examples as usize + slices as usize - 1) / slices as usize;
        let mut sums = tile::no_sums::<E>();
        if comptime!(flat) {
            let from = min(slice * per_slice, examples as usize);
            let to = min(from + per_slice, examples as usize);
            sums = tile::weighted_product::<F, E, N>(
                a,
                g,
                factors,
                from * tokens as usize,
                (to - from) * tokens as usize,
                tokens as usize,
                first_row,
                first_column,
                a_columns as usize,
                g_columns as usize,
            );
        } else {
            for k in 0..per_slice {
                let b = slice * per_slice + k;
                // Uniform over the cube: all its units meet the same barriers.
                if b < examples as usize {
                    let factor = factors[b];
                    if is_live::<E>(factor) {
                        let part = tile::product::<F, E, N>(
                            a,
                            g,
                            b * tokens as usize * a_columns as usize,
                            b * tokens as usize * g_columns as usize,
                            first_row,
                            first_column,
                            a_columns as usize,
                            g_columns as usize,
                            tokens as usize,
                            1usize,
                            1usize,
                            a_columns as usize,
                            g_columns as usize,
                            Deep::NONE,
                        );
                        #[unroll]
                        for s in 0..REGISTERS * REGISTERS {
                            sums[s] = fma(part[s], factor, sums[s]);
                        }
                    }
                }
            }
        }
        let (u0, v0) = tile::origin();
        let start = slice * a_columns as usize * g_columns as usize;
        #[unroll]
        for u in 0..REGISTERS {
            #[unroll]
            for v in 0..REGISTERS {
                let row = first_row + u0 + comptime!(offset(u));
                let column = first_column + v0 + comptime!(offset(v));
                if row < a_columns as usize && column < g_columns as usize {
                    partials[start + row * g_columns as usize + column] = sums[u * REGISTERS + v];
                }
            }
        }
    }
}
