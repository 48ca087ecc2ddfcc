//! How many cubes, and how a sum is cut among them.

use super::UNITS;
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

/// What memory takes to write `tiles` tiles' partial results and read them again, in the depth of a tile that is multiplied meanwhile: on an
/// H200, and by their data sheets on an A100 too.
pub(crate) const fn part_depth(tiles: usize) -> usize {
    4 * tiles
}

/// Into how many slices to cut sums of `terms` terms, each `depth` deep, for each of `tiles` tiles, so that the last cubes don't run beside
/// idle ones. `parts` says what so many partial results cost, in the depth of one tile.
pub(crate) fn slices(
    tiles: usize,
    [terms, depth]: [usize; 2],
    parts: impl Fn(usize) -> usize,
    tuning: &Tuning,
) -> usize {
    let cost = |slices: usize| {
        let rounds = (tiles * slices).div_ceil(at_once(tuning));
        (rounds * terms.div_ceil(slices) * depth).saturating_add(parts(slices))
    };
    (1..=terms).min_by_key(|slices| cost(*slices)).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MatrixUnits, Routine};

    /// The examples of three weights on an H200: no round of its 132 multiprocessors is mostly idle, and no more partial results than that takes.
    #[test]
    fn sums_are_cut_into_as_many_slices_as_fill_the_rounds() {
        let tuning = Tuning {
            is_cpu: false,
            units: 256,
            vector_bytes: 16,
            max_cubes: 1 << 16,
            busy_cubes: 132 * BUSY_CUBES,
            matrix_units: Some(MatrixUnits::Warpgroups),
            routine: Routine::Tiles,
        };
        for (tiles, expected) in [(6 * 18, 1), (6 * 24, 4), (6 * 6, 3), (1, 8), (1000, 1)] {
            let parts = |slices: usize| part_depth(tiles * slices);
            let cut = slices(tiles, [8, 1024], parts, &tuning);
            assert_eq!(cut, expected, "{tiles} tiles");
        }
    }
}
