//! A block of one example's gradient, over all of its tokens.

use super::{DEPTH, Tile, add_panel, load_row, zeros};
use crate::unchecked::read;
use cubecl::prelude::*;

/// `totals[i, v] = sum over an example's tokens of a[t, first_row + i] * g[t, column + v]`, for the rows `first_row..last_row`; each number in the
/// order of the tokens.
///
/// `in_place` where [`Outer::reads_in_place`], else stretch by stretch of the tokens in a panel.
#[cube]
#[allow(clippy::too_many_arguments)]
pub(crate) fn example_block<F: Float, E: Float, NM: Size, N: Size>(
    a: &[F],
    g: &[Vector<F, NM>],
    totals: &mut Array<Vector<E, N>>,
    first_token: usize,
    tokens: usize,
    a_columns: usize,
    g_columns: usize,
    first_row: usize,
    last_row: usize,
    column: usize,
    #[comptime] in_place: bool,
    #[comptime] tile: Tile,
) {
    if comptime!(in_place) {
        outer_tiles::<F, E, NM, N>(
            a,
            g,
            totals,
            0usize,
            first_token,
            tokens,
            a_columns,
            g_columns,
            first_row,
            last_row,
            column,
            false,
            tile,
        );
    } else {
        let mut panel = Array::<Vector<E, N>>::new(comptime!(DEPTH * tile.columns));
        let mut starts = Array::<usize>::new(DEPTH);
        for s in 0..(last_row - first_row) * tile.columns {
            totals[s] = Vector::<E, N>::new(E::new(0.0));
        }
        let mut begin = 0usize;
        while begin < tokens {
            let depth = min(comptime!(DEPTH), tokens - begin);
            for k in 0..depth {
                let token = first_token + begin + k;
                starts[k] = token * a_columns;
                load_row::<F, E, NM, N>(
                    g,
                    &mut panel,
                    k,
                    token * g_columns,
                    column,
                    g_columns,
                    tile,
                );
            }
            add_panel::<F, E, N>(a, &starts, &panel, totals, depth, first_row, last_row, tile);
            begin += comptime!(DEPTH);
        }
    }
}

/// Tokens of which [`flat_panels`] takes all panels before the next: a core fetches ahead of itself along so many rows at once.
const STRETCH: usize = 16;

/// `totals[panel, i, v] = sum over an example's tokens of a[t, i] * g[t, column + v]`, for all of A's rows, which are few, and the neighbouring
/// panels `first_panel..last_panel` of `panel_columns` vectors; each number in the order of the tokens. By whole vectors of G where they lie.
///
/// A panel at a time would read 128 bytes of every token, pages apart, and wait for each.
#[cube]
#[allow(clippy::too_many_arguments)]
pub(crate) fn flat_panels<F: Float, E: Float, NM: Size, N: Size>(
    a: &[F],
    g: &[Vector<F, NM>],
    totals: &mut Array<Vector<E, N>>,
    first_token: usize,
    tokens: usize,
    a_columns: usize,
    g_columns: usize,
    first_panel: usize,
    last_panel: usize,
    panel_columns: usize,
    #[comptime] tile: Tile,
) {
    let of_panel = a_columns * tile.columns;
    for s in 0..(last_panel - first_panel) * of_panel {
        totals[s] = Vector::<E, N>::new(E::new(0.0));
    }
    let mut begin = 0usize;
    while begin < tokens {
        let depth = min(comptime!(STRETCH), tokens - begin);
        for panel in first_panel..last_panel {
            outer_tiles::<F, E, NM, N>(
                a,
                g,
                totals,
                (panel - first_panel) * of_panel,
                first_token + begin,
                depth,
                a_columns,
                g_columns,
                0usize,
                a_columns,
                panel * panel_columns,
                true,
                tile,
            );
        }
        begin += comptime!(STRETCH);
    }
}

/// The tiles of rows `first_row..last_row` over `tokens` tokens, by whole vectors of G where they lie, to what is at `start` of `totals`, or
/// where it `adds` on top of it.
#[cube]
#[allow(clippy::too_many_arguments)]
fn outer_tiles<F: Float, E: Float, NM: Size, N: Size>(
    a: &[F],
    g: &[Vector<F, NM>],
    totals: &mut Array<Vector<E, N>>,
    start: usize,
    first_token: usize,
    tokens: usize,
    a_columns: usize,
    g_columns: usize,
    first_row: usize,
    last_row: usize,
    column: usize,
    #[comptime] adds: bool,
    #[comptime] tile: Tile,
) {
    let mut i = first_row;
    // Whole tiles, then what is left, in code of its own.
    #[unroll]
    for part in 0..2usize {
        let height = comptime!(if part == 0 { tile.rows } else { tile.tail });
        if comptime!(height > 0) {
            while i + height <= last_row {
                let at = start + (i - first_row) * tile.columns;
                outer_tile::<F, E, NM, N>(
                    a,
                    g,
                    totals,
                    at,
                    first_token,
                    tokens,
                    a_columns,
                    g_columns,
                    i,
                    column,
                    height,
                    tile.columns,
                    adds,
                );
                i += height;
            }
        }
    }
}

/// A tile's products over `tokens` tokens, by whole vectors of G where they lie.
#[cube]
#[allow(clippy::too_many_arguments)]
fn outer_tile<F: Float, E: Float, NM: Size, N: Size>(
    a: &[F],
    g: &[Vector<F, NM>],
    totals: &mut Array<Vector<E, N>>,
    at: usize,
    first_token: usize,
    tokens: usize,
    a_columns: usize,
    g_columns: usize,
    row: usize,
    column: usize,
    #[comptime] rows: usize,
    #[comptime] columns: usize,
    #[comptime] adds: bool,
) {
    let mut sums = zeros::<E, N>(comptime!(rows * columns));
    if comptime!(adds) {
        #[unroll]
        for s in 0..rows * columns {
            sums[s] = totals[at + s];
        }
    }
    for t in 0..tokens {
        let a_at = (first_token + t) * a_columns + row;
        let g_at = (first_token + t) * g_columns + column;
        let mut right = Array::<Vector<E, N>>::new(columns);
        #[unroll]
        for v in 0..columns {
            right[v] = Vector::<E, N>::cast_from(read::<Vector<F, NM>>(g, g_at + v));
        }
        #[unroll]
        for u in 0..rows {
            let left = Vector::<E, N>::new(E::cast_from(read::<F>(a, a_at + u)));
            #[unroll]
            for v in 0..columns {
                sums[u * columns + v] = fma(left, right[v], sums[u * columns + v]);
            }
        }
    }
    #[unroll]
    for s in 0..rows * columns {
        totals[at + s] = sums[s];
    }
}
