//! On a processor: register tiles of matrix products, whose right factor lies in a panel.
//!
//! A tile of rows times a few vectors of columns stays in registers while the depth runs: the left factor is read one broadcast element at a
//! time, the right one in vectors. Rows of the right factor are as far apart as they are long, and where that is a multiple of 4 KiB they share a few
//! places of the nearest cache. So a stretch of them is first copied side by side, and serves all rows of a block.

mod example;
mod panel;

pub(crate) use example::{example_block, flat_panels};
pub(crate) use panel::{add_panel, add_products, load, load_row, part_of};

use crate::Tuning;
use crate::check::Arg;
use cubecl::prelude::*;

/// Rows of a panel: with two vectors of 64 bytes each 32 KiB, which stay in the nearest cache.
pub(crate) const DEPTH: usize = 256;
/// Rows of a block at most, a multiple of [`LONG`].
pub(crate) const BLOCK_ROWS: usize = 132;
/// Columns likewise.
pub(crate) const BLOCK_COLUMNS: usize = 256;
/// Panels that a unit takes together at most: a quarter of a page.
const MOST_FLAT: usize = 8;
/// Rows of a tile whose elements of the left factor lie side by side: with two vectors of columns 24 of the 32 registers, and three of the loads for
/// every five products.
pub(crate) const LONG: usize = 12;
/// Rows of a tile whose elements each have an address of their own, which are kept in registers too.
pub(crate) const SHORT: usize = 8;

/// Rows of any tile where there are 16 registers.
const FEW: usize = 6;

/// `tile_rows`, or fewer where they don't fit the registers: AVX-512 and NEON have 32, AVX2 has 16.
pub(crate) fn that_fit(tile_rows: usize, tuning: &Tuning) -> usize {
    if tuning.vector_bytes == 64 || cfg!(target_arch = "aarch64") {
        tile_rows
    } else {
        tile_rows.min(FEW)
    }
}

/// How a product is cut into register tiles.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outer {
    /// Elements of a vector in memory: divides the rows of all that is read and written in vectors.
    pub native: usize,
    /// Elements of a vector in registers.
    pub lanes: usize,
    pub tile: Tile,
}

/// A register tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Tile {
    pub rows: usize,
    /// Rows that are left where they are no multiple of that.
    pub tail: usize,
    /// Vectors.
    pub columns: usize,
    /// Whether the last panel reaches past the last column; zeros stand there.
    pub padded: bool,
}

impl Outer {
    /// Tiles of at most `tile_rows` for a result `[rows, columns]`; `vectored` are the right factor and what is written, all of rows as long as the
    /// result's.
    pub(crate) fn new(
        vectored: &[&Arg<'_>],
        [rows, columns]: [usize; 2],
        tile_rows: usize,
        tuning: &Tuning,
    ) -> Self {
        let most = tuning.lanes_of(vectored[0].accumulator());
        let native = vectored
            .iter()
            .map(|arg| arg.vector(columns, most))
            .min()
            .unwrap_or(1);
        Self::cut([rows, columns], [native, most], that_fit(tile_rows, tuning))
    }

    /// Likewise, where vectors of `native` elements divide the rows in memory and registers hold `most`.
    pub(crate) fn cut(
        [rows, columns]: [usize; 2],
        [native, most]: [usize; 2],
        tile_rows: usize,
    ) -> Self {
        let lanes = most.min(columns.next_power_of_two());
        let tile_columns = columns.div_ceil(lanes).min(2);
        // A tail costs more than shorter tiles where there are few of them.
        let tile_rows = match tile_rows {
            LONG if rows < 4 * LONG && !rows.is_multiple_of(LONG) => SHORT,
            tile_rows => tile_rows,
        };
        let tile_rows = [tile_rows, 8, 4, 2, 1]
            .into_iter()
            .find(|r| *r <= rows)
            .unwrap_or(1);
        Self {
            native,
            lanes,
            tile: Tile {
                rows: tile_rows,
                tail: rows % tile_rows,
                columns: tile_columns,
                padded: !columns.is_multiple_of(lanes * tile_columns),
            },
        }
    }

    /// Whether register tiles can read the right factor where it lies: whole vectors, of few enough tokens for the caches.
    pub(crate) fn reads_in_place(&self, depth: usize) -> bool {
        depth <= DEPTH && self.native == self.lanes && !self.tile.padded
    }

    /// Panels of a flat result of `rows` rows that a unit takes together, by [`flat_panels`]; 1 where they are too many, or no whole vectors.
    pub(crate) fn flat(&self, rows: usize) -> usize {
        if self.native == self.lanes && !self.tile.padded {
            (BLOCK_ROWS / rows).clamp(1, MOST_FLAT)
        } else {
            1
        }
    }

    /// Elements of a panel's row.
    pub(crate) fn panel(&self) -> usize {
        self.lanes * self.tile.columns
    }

    /// Rows and columns of the result that one unit of a processor takes, in whole tiles; there are `batch` such results.
    ///
    /// A block is read and written once for each stretch of the depth, and both operands' share of the stretch once for each
    /// block: 132 by 256 floats stay in the second cache, with the operands. Smaller where units would idle.
    pub(crate) fn block(
        &self,
        [rows, columns]: [usize; 2],
        batch: usize,
        tuning: &Tuning,
    ) -> [usize; 2] {
        let tile = [self.tile.rows, self.panel()];
        let (mut down, mut across) = (
            rows.min(BLOCK_ROWS / tile[0] * tile[0]),
            columns.min(BLOCK_COLUMNS),
        );
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever the shape, whole tiles and the tail are all rows, panels are all columns, and a tile's sums and factors fit the registers.
    #[test]
    fn tiles_cover_the_result_and_fit_the_registers() {
        for (most, tile_rows, registers) in
            [(16, LONG, 32), (16, SHORT, 32), (8, FEW, 16), (4, 1, 16)]
        {
            for rows in 1..300 {
                for columns in [1, 2, 7, 10, 16, 31, 32, 48, 50_257] {
                    let outer = Outer::cut([rows, columns], [1, most], tile_rows);
                    let Outer { lanes, tile, .. } = outer;
                    let name = format!("[{rows}, {columns}] in {tile:?}");
                    assert!(tile.rows <= rows && tile.tail < tile.rows, "{name}");
                    assert_eq!((rows - tile.tail) % tile.rows, 0, "{name}");
                    assert!(lanes <= most && lanes.is_power_of_two(), "{name}");
                    let panel = lanes * tile.columns;
                    assert_eq!(tile.padded, columns % panel != 0, "{name}");
                    let flat = Outer {
                        native: lanes,
                        ..outer
                    };
                    let panels = flat.flat(rows);
                    assert!(panels == 1 || panels * rows <= BLOCK_ROWS, "{name}");
                    // No lane of the first panel is idle but for what rounds a row up to a vector.
                    assert!(panel < 2 * columns.next_multiple_of(lanes), "{name}");
                    assert!(
                        tile.rows * tile.columns + tile.columns < registers,
                        "{name}"
                    );
                    assert!(
                        BLOCK_ROWS / tile.rows * tile.rows >= rows.min(BLOCK_ROWS - tile.rows),
                        "{name}"
                    );
                }
            }
        }
    }
}
