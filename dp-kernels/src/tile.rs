//! A square tile of a matrix product, staged in shared memory: what GPUs run. Never launched on a CPU,
//! where barriers are thread switches.

use crate::Tuning;
use cubecl::prelude::*;

/// Rows and columns of a cube's tile.
pub(crate) const TILE: usize = 32;
/// Rows and columns of a unit's part of it, in registers.
pub(crate) const REGISTERS: usize = 4;
/// Depth staged at once.
pub(crate) const DEPTH: usize = 16;
/// Units along one side of the tile.
pub(crate) const UNITS: usize = TILE / REGISTERS;
/// Row length in shared memory: one more than the tile, so that a column's walk changes banks.
pub(crate) const PITCH: usize = TILE + 1;

/// Units of a cube.
pub(crate) const TILE_UNITS: u32 = (UNITS * UNITS) as u32;

/// One cube for each of `tiles` tiles; a kernel must ignore cubes past the last.
pub(crate) fn grid(tiles: usize, tuning: &Tuning) -> (CubeCount, CubeDim) {
    let x = tiles.clamp(1, tuning.max_cubes as usize);
    let y = tiles.div_ceil(x).max(1);
    (
        CubeCount::Static(x as u32, y as u32, 1),
        CubeDim::new_1d(TILE_UNITS),
    )
}

/// First row and column of this unit's part of the tile.
#[cube]
pub(crate) fn origin() -> (usize, usize) {
    let unit = UNIT_POS as usize;
    (
        unit / comptime!(UNITS) * comptime!(REGISTERS),
        unit % comptime!(UNITS) * comptime!(REGISTERS),
    )
}

/// This unit's part of `X Y^T`, with `X[i, k] = x[x_start + i * x_row + k * x_depth]`, likewise `Y`,
/// rows `x_first..`, columns `y_first..`, zeros past `x_rows`, `y_rows` and `depth`.
///
/// Every unit of the cube must call it.
#[cube]
#[allow(clippy::too_many_arguments)]
pub(crate) fn product<F: Float, E: Float>(
    x: &[F],
    y: &[F],
    x_start: usize,
    y_start: usize,
    x_first: usize,
    y_first: usize,
    x_rows: usize,
    y_rows: usize,
    depth: usize,
    x_row: usize,
    y_row: usize,
    x_depth: usize,
    y_depth: usize,
    #[comptime] depth_contiguous: bool,
) -> Array<E> {
    let mut x_stage = Shared::<[E]>::new_slice(comptime!(DEPTH * PITCH));
    let mut y_stage = Shared::<[E]>::new_slice(comptime!(DEPTH * PITCH));
    let mut sums = Array::<E>::new(comptime!(REGISTERS * REGISTERS));
    #[unroll]
    for s in 0..REGISTERS * REGISTERS {
        sums[s] = E::new(0.0);
    }
    let mut k0 = 0usize;
    while k0 < depth {
        sync_cube();
        #[unroll]
        for load in 0..DEPTH * TILE / (UNITS * UNITS) {
            let place = load * comptime!(UNITS * UNITS) + UNIT_POS as usize;
            // Neighbouring units read neighbouring elements.
            let (i, k) = if comptime!(depth_contiguous) {
                (place / comptime!(DEPTH), place % comptime!(DEPTH))
            } else {
                (place % comptime!(TILE), place / comptime!(TILE))
            };
            let mut x_value = E::new(0.0);
            let mut y_value = E::new(0.0);
            if k0 + k < depth {
                if x_first + i < x_rows {
                    x_value = E::cast_from(x[x_start + (x_first + i) * x_row + (k0 + k) * x_depth]);
                }
                if y_first + i < y_rows {
                    y_value = E::cast_from(y[y_start + (y_first + i) * y_row + (k0 + k) * y_depth]);
                }
            }
            x_stage[k * PITCH + i] = x_value;
            y_stage[k * PITCH + i] = y_value;
        }
        sync_cube();
        accumulate::<E>(&x_stage, &y_stage, &mut sums);
        k0 += comptime!(DEPTH);
    }
    sums
}

/// `sums += X Y^T` of what is staged.
#[cube]
pub(crate) fn accumulate<E: Float>(
    x_stage: &Shared<[E]>,
    y_stage: &Shared<[E]>,
    sums: &mut Array<E>,
) {
    let (u0, v0) = origin();
    // The products staged at once are summed by themselves: a sum over a vocabulary then goes through a
    // sixteenth of its length in additions.
    let mut part = Array::<E>::new(comptime!(REGISTERS * REGISTERS));
    #[unroll]
    for s in 0..REGISTERS * REGISTERS {
        part[s] = E::new(0.0);
    }
    for k in 0..DEPTH {
        let mut left = Array::<E>::new(REGISTERS);
        #[unroll]
        for u in 0..REGISTERS {
            left[u] = x_stage[k * PITCH + u0 + u];
        }
        #[unroll]
        for v in 0..REGISTERS {
            let right = y_stage[k * PITCH + v0 + v];
            #[unroll]
            for u in 0..REGISTERS {
                part[u * REGISTERS + v] = fma(left[u], right, part[u * REGISTERS + v]);
            }
        }
    }
    #[unroll]
    for s in 0..REGISTERS * REGISTERS {
        sums[s] += part[s];
    }
}
