//! Writes a finished tile: its sums as they are, or rounded.

use super::{LANES, Pair, SIDE, Tiling, UNITS, place};
use cubecl::prelude::*;

/// Writes a tile's sums to `out`, rows of `columns` from element `start` on, its own part from row `first_row` and column `first_column` on; what
/// lies past `rows` and `columns` is left out.
#[cube]
#[allow(clippy::too_many_arguments)]
pub(crate) fn write_sums<M: Size>(
    sums: &Array<Pair>,
    out: &mut [Vector<f32, M>],
    start: usize,
    first_row: usize,
    first_column: usize,
    rows: usize,
    columns: usize,
    #[comptime] tiling: Tiling,
) {
    #[unroll]
    for s in 0..comptime!(tiling.pairs()) {
        let (u, v) = place(s, comptime!(tiling.units));
        let (row, column) = (first_row + u, first_column + v);
        // Both columns are inside or neither: rows are whole loads.
        if row < rows && column < columns {
            let mut pair = Vector::<f32, M>::new(0.0f32);
            pair.insert(0usize, sums[s].extract(0usize));
            pair.insert(1usize, sums[s].extract(1usize));
            out[(start + row * columns + column) / 2usize] = pair;
        }
    }
}

/// Columns of a tile that are written at once. Wide tiles' stages leave room for 64, which are in the same pairs of all units of a warpgroup.
const fn strip(tiling: Tiling) -> usize {
    if tiling.columns > SIDE {
        64
    } else {
        tiling.columns
    }
}

/// Row length of such a strip in shared memory, in pairs: four more than it has, so that eight rows start in different banks.
const fn pitch(tiling: Tiling) -> usize {
    strip(tiling) / 2 + 4
}

/// Writes the tile to `out`, rows of `columns` elements from element `start` on, its own part from row `first_row` and column `first_column` on,
/// rounded to `F`; what lies past `rows` and `columns` is left out. Gives this unit's sum of squares of what was written.
///
/// By way of shared memory, so that neighbouring units write neighbouring vectors. Every unit of the cube must call it.
#[cube]
#[allow(clippy::too_many_arguments)]
pub(crate) fn write_tile<F: Float, N: Size>(
    tile: &Array<Pair>,
    out: &mut [Vector<F, N>],
    start: usize,
    first_row: usize,
    first_column: usize,
    rows: usize,
    columns: usize,
    #[comptime] tiling: Tiling,
) -> f32 {
    let strip = comptime!(strip(tiling));
    let pitch = comptime!(pitch(tiling));
    let strips = comptime!(tiling.columns / strip);
    let pairs = comptime!(tiling.pairs() / strips);
    let mut staged =
        Shared::<[Vector<F, Const<2>>]>::new_aligned_slice(comptime!(SIDE * pitch), 16usize);
    let mut squares = 0.0f32;
    #[unroll]
    for number in 0..strips {
        let left = comptime!(number * strip);
        #[unroll]
        for s in comptime!(number * pairs)..comptime!((number + 1) * pairs) {
            let (u, v) = place(s, comptime!(tiling.units));
            let rounded = Vector::<F, Const<2>>::cast_from(tile[s]);
            staged[u * pitch + (v - left) / 2usize] = rounded;
            // Past the ends these are zeros.
            let back = Pair::cast_from(rounded);
            squares = fma(back.extract(0usize), back.extract(0usize), squares);
            squares = fma(back.extract(1usize), back.extract(1usize), squares);
        }
        sync_cube();
        let vectors = staged.with_vector_size::<N>();
        let across = comptime!(strip / LANES);
        #[unroll]
        for turn in 0..comptime!(SIDE * strip / (LANES * UNITS as usize)) {
            let at = comptime!(turn * UNITS as usize) + UNIT_POS as usize;
            let (u, v) = (at / across, at % across);
            let (row, column) = (first_row + u, first_column + left + v * comptime!(LANES));
            if row < rows && column < columns {
                let to = (start + row * columns + column) / comptime!(LANES);
                out[to] = vectors[u * comptime!(pitch * 2 / LANES) + v];
            }
        }
        sync_cube();
    }
    squares
}
