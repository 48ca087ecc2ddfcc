//! How many cubes, how wide their tiles are, and how a sum is cut among them.

use super::{MatrixUnits, SIDE, Tiling, UNITS};
use crate::Tuning;
use crate::tile;
use crate::tuning::BUSY_CUBES;
use cubecl::prelude::*;

/// One cube for each of `tiles` tiles; a kernel must ignore cubes past the last.
pub(crate) fn grid(tiles: usize, tuning: &Tuning) -> (CubeCount, CubeDim) {
    let (count, _) = tile::grid(tiles, tuning);
    (count, CubeDim::new_1d(UNITS))
}

/// As many cubes as run at once, at most one for each of `tiles` tiles: a kernel takes every so many-th of them, and begins to load the next
/// tile before it writes what it has.
pub(crate) fn walking_grid(tiles: usize, tuning: &Tuning) -> (CubeCount, CubeDim) {
    grid(tiles.min(at_once(tuning)), tuning)
}

/// Cubes that run at once: their registers and stages take a whole multiprocessor each.
fn at_once(tuning: &Tuning) -> usize {
    (tuning.busy_cubes / BUSY_CUBES).max(1)
}

/// What memory takes to write `tiles` square tiles' partial results and read them again, in the depth of a tile that is multiplied meanwhile: on an
/// H200, and by their data sheets on an A100 too.
pub(crate) const fn part_depth(tiles: usize) -> usize {
    4 * tiles
}

/// How a product is cut into tiles, and the sum of each into slices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cut {
    pub tiling: Tiling,
    pub slices: usize,
}

impl Cut {
    /// Of `SIDE` by `columns` each has `tiles(columns)`, whose sums are of `terms` terms, each `depth` deep. So that the last cubes don't
    /// run beside idle ones, and load little: a round takes as long as the rows and columns of its tiles take to load. `parts` says what the
    /// partial results of so many slices, which make up so many square tiles, cost, in the depth of one such tile.
    pub(crate) fn of(
        units: MatrixUnits,
        stretches: bool,
        tiles: impl Fn(usize) -> usize,
        [terms, depth]: [usize; 2],
        parts: impl Fn(usize, usize) -> usize,
        tuning: &Tuning,
    ) -> Self {
        let cost = |cut: &Self| {
            let Self { tiling, slices } = *cut;
            let Tiling { columns, .. } = tiling;
            let tiles = tiles(columns) * slices;
            let rounds = tiles.div_ceil(at_once(tuning));
            let loaded = rounds * terms.div_ceil(slices) * depth * (SIDE + columns);
            loaded.saturating_add(parts(slices, tiles * columns / SIDE).saturating_mul(2 * SIDE))
        };
        let wide = |columns: &usize| {
            let tiling = Tiling {
                units,
                columns: *columns,
                stretches,
            };
            (1..=terms).map(move |slices| Self { tiling, slices })
        };
        let cuts = units.widths().iter().flat_map(wide);
        cuts.min_by_key(cost).unwrap_or(Self {
            tiling: Tiling::square(units),
            slices: 1,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Routine;

    fn h200(units: MatrixUnits) -> Tuning {
        Tuning {
            is_cpu: false,
            units: 256,
            vector_bytes: 16,
            max_cubes: 1 << 16,
            busy_cubes: 132 * BUSY_CUBES,
            matrix_units: Some(units),
            routine: Routine::Tiles,
        }
    }

    fn tiles(rows: usize, columns: usize) -> impl Fn(usize) -> usize {
        move |width| rows.div_ceil(SIDE) * columns.div_ceil(width)
    }

    /// The examples of some weights on an H200: no round of its 132 multiprocessors is mostly idle, and no more partial results than that takes.
    #[test]
    fn sums_are_cut_into_as_many_slices_as_fill_the_rounds() {
        let units = MatrixUnits::Planes;
        let tuning = h200(units);
        for ([rows, columns], expected) in [
            ([768, 2304], 1),
            ([768, 3072], 4),
            ([768, 768], 3),
            ([128, 128], 8),
            ([1280, 12_800], 1),
        ] {
            let cut = Cut::of(
                units,
                true,
                tiles(rows, columns),
                [8, 1024],
                |_, squares| part_depth(squares),
                &tuning,
            );
            assert_eq!(cut.slices, expected, "[{rows}, {columns}]");
            assert_eq!(cut.tiling, Tiling::square(units));
        }
    }

    /// 8192 tokens by some numbers of columns: wide tiles load less, unless there is one round either way, or they are wider than the product.
    #[test]
    fn tiles_are_wide_where_that_loads_less() {
        let units = MatrixUnits::Warpgroups;
        let tuning = h200(units);
        for (rows, columns, expected) in [
            (8192, 768, 192),
            (8192, 3072, 192),
            (22 * 128, 768, 128),
            (8192, 64, 128),
        ] {
            let tiles = tiles(rows, columns);
            let cut = Cut::of(units, false, tiles, [1, 1024], |_, _| 0, &tuning);
            assert_eq!(cut.tiling.columns, expected, "[{rows}, {columns}]");
        }
        for (columns, expected) in [(768, 192), (64, 128), (136, 192), (256, 128), (520, 192)] {
            let tiling = Tiling::of_columns(units, columns, true);
            assert_eq!(tiling.columns, expected, "{columns}");
        }
    }
}
