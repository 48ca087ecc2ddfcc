//! A register tile of `A^T G`: the inner loop that the CPU's materialised norm and weighted sum share.

use crate::Tuning;
use crate::check::Arg;
use cubecl::prelude::*;

/// The register tile that fits a problem: `rows` scalars of A against `columns` vectors of G.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outer {
    pub vector: usize,
    pub rows: usize,
    pub columns: usize,
}

impl Outer {
    /// The largest tile of at most 8 x 2 vectors that divides `[d, p]`; a divisor, because a ragged
    /// tile would cost a branch in every step.
    pub(crate) fn new(_a: &Arg<'_>, g: &Arg<'_>, d: usize, p: usize, tuning: &Tuning) -> Self {
        let vector = g.vector(p, tuning.lanes_of(g.accumulator()));
        let columns = if (p / vector).is_multiple_of(2) { 2 } else { 1 };
        let rows = [8, 4, 2]
            .into_iter()
            .find(|r| d.is_multiple_of(*r))
            .unwrap_or(1);
        Self {
            vector,
            rows,
            columns,
        }
    }
}

/// Rows and columns of the result that one unit of a processor takes, in whole tiles; there are `batch` such results.
///
/// A block is read and written once for each stretch of the depth, and both operands' share of the stretch once for each
/// block: 128 by 256 floats stay in the second cache, with the operands. Smaller where units would idle.
pub(crate) fn block(
    [rows, columns]: [usize; 2],
    tile: [usize; 2],
    batch: usize,
    tuning: &Tuning,
) -> [usize; 2] {
    let (mut down, mut across) = (rows.min(128), columns.min(256));
    let blocks =
        |down: usize, across: usize| batch * rows.div_ceil(down) * columns.div_ceil(across);
    let can_shrink = |down: usize, across: usize| down > tile[0] || across > tile[1];
    while blocks(down, across) < 4 * tuning.units as usize && can_shrink(down, across) {
        if down <= tile[0] || across > tile[1] && across >= 2 * down {
            across = across.div_ceil(2);
        } else {
            down = down.div_ceil(2);
        }
    }
    [
        down.next_multiple_of(tile[0]),
        across.next_multiple_of(tile[1]),
    ]
}

/// `count` zero vectors.
#[cube]
pub(crate) fn zeros<E: Float, N: Size>(#[comptime] count: usize) -> Array<Vector<E, N>> {
    let mut sums = Array::<Vector<E, N>>::new(count);
    #[unroll]
    for s in 0..count {
        sums[s] = Vector::<E, N>::new(E::new(0.0));
    }
    sums
}

/// `sums[u, v] += sum over `tokens` rows of a[t, row + u] * g[t, column + v]`.
#[cube]
#[allow(clippy::too_many_arguments)]
pub(crate) fn outer_tile<F: Float, E: Float, N: Size>(
    a: &[F],
    g: &[Vector<F, N>],
    sums: &mut Array<Vector<E, N>>,
    first_token: usize,
    tokens: usize,
    a_columns: usize,
    g_columns: usize,
    row: usize,
    column: usize,
    #[comptime] tile_rows: usize,
    #[comptime] tile_columns: usize,
) {
    for t in 0..tokens {
        let a_at = (first_token + t) * a_columns + row;
        let g_at = (first_token + t) * g_columns + column;
        let mut right = Array::<Vector<E, N>>::new(tile_columns);
        #[unroll]
        for v in 0..tile_columns {
            right[v] = Vector::<E, N>::cast_from(g[g_at + v]);
        }
        #[unroll]
        for u in 0..tile_rows {
            let left = Vector::<E, N>::new(E::cast_from(a[a_at + u]));
            #[unroll]
            for v in 0..tile_columns {
                sums[u * tile_columns + v] = fma(left, right[v], sums[u * tile_columns + v]);
            }
        }
    }
}
