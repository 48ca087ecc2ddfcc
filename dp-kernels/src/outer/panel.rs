//! A stretch of the right factor side by side, and the tiles that are multiplied with it.

use super::Tile;
use crate::unchecked::read;
use cubecl::prelude::*;

/// A vector of the row that begins at `start`, from its vector `column` of `columns` on; zeros past the last where it is `padded`.
#[cube]
pub(crate) fn load<F: Float, E: Float, NM: Size, N: Size>(
    from: &[Vector<F, NM>],
    start: usize,
    column: usize,
    columns: usize,
    #[comptime] padded: bool,
) -> Vector<E, N> {
    let (native, lanes) = (NM::value(), N::value());
    if comptime!(native == lanes && !padded) {
        Vector::<E, N>::cast_from(read::<Vector<F, NM>>(from, start + column))
    } else {
        joined::<F, E, NM, N>(from, start, column, columns, padded)
    }
}

/// Likewise of several vectors in memory: a processor's compiler makes one load of them.
#[cube]
fn joined<F: Float, E: Float, NM: Size, N: Size>(
    from: &[Vector<F, NM>],
    start: usize,
    column: usize,
    columns: usize,
    #[comptime] padded: bool,
) -> Vector<E, N> {
    let (native, lanes) = (NM::value(), N::value());
    let parts = comptime!(lanes / native);
    let mut joined = Vector::<F, N>::new(F::new(0.0));
    if comptime!(!padded).runtime() || column + parts <= columns {
        #[unroll]
        for part in 0..parts {
            let small = read::<Vector<F, NM>>(from, start + column + part);
            #[unroll]
            for lane in 0..native {
                joined.insert(comptime!(part * native + lane), small.extract(lane));
            }
        }
    } else {
        #[unroll]
        for part in 0..parts {
            if column + part < columns {
                let small = read::<Vector<F, NM>>(from, start + column + part);
                #[unroll]
                for lane in 0..native {
                    joined.insert(comptime!(part * native + lane), small.extract(lane));
                }
            }
        }
    }
    Vector::<E, N>::cast_from(joined)
}

/// The part of `vector` that is vector `part` in memory.
#[cube]
pub(crate) fn part_of<E: Float, NM: Size, N: Size>(
    vector: Vector<E, N>,
    #[comptime] part: usize,
) -> Vector<E, NM> {
    let native = NM::value();
    let mut small = Vector::<E, NM>::new(E::new(0.0));
    #[unroll]
    for lane in 0..native {
        small.insert(lane, vector.extract(comptime!(part * native + lane)));
    }
    small
}

/// Row `row` of the panel: what `from` has from `column` on in the row that begins at `start`.
#[cube]
#[allow(clippy::too_many_arguments)]
pub(crate) fn load_row<F: Float, E: Float, NM: Size, N: Size>(
    from: &[Vector<F, NM>],
    panel: &mut Array<Vector<E, N>>,
    row: usize,
    start: usize,
    column: usize,
    columns: usize,
    #[comptime] tile: Tile,
) {
    let (native, lanes) = (NM::value(), N::value());
    let across = comptime!(lanes / native);
    #[unroll]
    for v in 0..tile.columns {
        panel[row * tile.columns + v] = load::<F, E, NM, N>(
            from,
            start,
            column + comptime!(v * across),
            columns,
            tile.padded,
        );
    }
}

/// `sums[u, v] += sum over the panel's first `depth` rows k of a[starts[k] + first + u * step] * panel[k, v]`.
#[cube]
#[allow(clippy::too_many_arguments)]
pub(crate) fn add_products<F: Float, E: Float, N: Size>(
    a: &[F],
    starts: &Array<usize>,
    panel: &Array<Vector<E, N>>,
    sums: &mut Array<Vector<E, N>>,
    depth: usize,
    first: usize,
    step: usize,
    #[comptime] rows: usize,
    #[comptime] columns: usize,
) {
    for k in 0..depth {
        let at = starts[k] + first;
        let mut right = Array::<Vector<E, N>>::new(columns);
        #[unroll]
        for v in 0..columns {
            right[v] = panel[k * columns + v];
        }
        #[unroll]
        for u in 0..rows {
            let left = Vector::<E, N>::new(E::cast_from(read::<F>(a, at + u * step)));
            #[unroll]
            for v in 0..columns {
                sums[u * columns + v] = fma(left, right[v], sums[u * columns + v]);
            }
        }
    }
}

/// Adds the products over a panel to `totals`, for the rows `first_row..last_row`.
#[cube]
#[allow(clippy::too_many_arguments)]
pub(crate) fn add_panel<F: Float, E: Float, N: Size>(
    a: &[F],
    starts: &Array<usize>,
    panel: &Array<Vector<E, N>>,
    totals: &mut Array<Vector<E, N>>,
    depth: usize,
    first_row: usize,
    last_row: usize,
    #[comptime] tile: Tile,
) {
    let mut i = first_row;
    // Whole tiles, then what is left, in code of its own.
    #[unroll]
    for part in 0..2usize {
        let height = comptime!(if part == 0 { tile.rows } else { tile.tail });
        if comptime!(height > 0) {
            while i + height <= last_row {
                let at = (i - first_row) * tile.columns;
                add_tile::<F, E, N>(a, starts, panel, totals, at, depth, i, height, tile.columns);
                i += height;
            }
        }
    }
}

/// Adds a tile's products over a panel to what is at `at` of `totals`.
#[cube]
#[allow(clippy::too_many_arguments)]
fn add_tile<F: Float, E: Float, N: Size>(
    a: &[F],
    starts: &Array<usize>,
    panel: &Array<Vector<E, N>>,
    totals: &mut Array<Vector<E, N>>,
    at: usize,
    depth: usize,
    row: usize,
    #[comptime] rows: usize,
    #[comptime] columns: usize,
) {
    let mut sums = Array::<Vector<E, N>>::new(comptime!(rows * columns));
    #[unroll]
    for s in 0..rows * columns {
        sums[s] = totals[at + s];
    }
    add_products::<F, E, N>(
        a, starts, panel, &mut sums, depth, row, 1usize, rows, columns,
    );
    #[unroll]
    for s in 0..rows * columns {
        totals[at + s] = sums[s];
    }
}
