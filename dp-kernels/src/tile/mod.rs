//! A square tile of a matrix product, staged in shared memory: what GPUs run. Never launched on a CPU,
//! where barriers are thread switches.
//!
//! Here by the ordinary units, in any type; [`tensor`] by matrix units, 16-bit floats only.

pub(crate) mod tensor;

use crate::Tuning;
use crate::check::Arg;
use crate::live::is_live;
use cubecl::prelude::*;

/// Rows and columns of a cube's tile.
pub(crate) const TILE: usize = 64;
/// Rows and columns of a unit's part of it, in registers.
pub(crate) const REGISTERS: usize = 8;
/// Depth staged at once.
pub(crate) const DEPTH: usize = 16;
/// Terms that are added one after the other before they are added to what was before: a sum over a vocabulary then goes through
/// a 256th of its length in additions, and 256 of its own stretch.
pub(crate) const STRETCH: usize = 16 * DEPTH;
/// Units along one side of the tile.
pub(crate) const UNITS: usize = TILE / REGISTERS;
/// Row length in shared memory: rows start where 16 bytes can be read at once, and a walk down a column changes banks.
pub(crate) const PITCH: usize = TILE + RUN;
/// Neighbouring rows, and columns, of a unit. The tile's side is cut in as many parts as a unit has runs, and it has one in each:
/// what neighbouring units read at once then lies side by side.
pub(crate) const RUN: usize = 4;

/// Of which operand the depth is contiguous: `[tokens, columns]` summed over columns has it so, summed over tokens it has the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Deep {
    pub x: bool,
    pub y: bool,
}

impl Deep {
    /// Both.
    pub(crate) const BOTH: Self = Self { x: true, y: true };
    /// Neither.
    pub(crate) const NONE: Self = Self { x: false, y: false };
}

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

/// Elements of one load of `a [.., d]` and of `g [.., p]`, for [`product`].
pub(crate) fn vector(a: &Arg<'_>, d: usize, g: &Arg<'_>, p: usize, tuning: &Tuning) -> usize {
    let most = (tuning.vector_bytes / a.dtype().size()).min(DEPTH);
    g.vector(p, a.vector(d, most))
}

/// Where this unit's part of the tile begins: element `(u, v)` of it is `(u0 + offset(u), v0 + offset(v))` of the tile.
#[cube]
pub(crate) fn origin() -> (usize, usize) {
    let unit = UNIT_POS as usize;
    (
        unit / comptime!(UNITS) * comptime!(RUN),
        unit % comptime!(UNITS) * comptime!(RUN),
    )
}

/// See [`origin`].
pub(crate) const fn offset(register: usize) -> usize {
    register / RUN * (UNITS * RUN) + register % RUN
}

/// This unit's part of `X Y^T`, with `X[i, k] = x[x_start + i * x_row + k * x_depth]`, likewise `Y`,
/// rows `x_first..`, columns `y_first..`, zeros past `x_rows`, `y_rows` and `depth`.
///
/// All of these count elements; a vector must not cross the end of what is contiguous, the depth or the rows, and starts must be whole
/// vectors.
///
/// Every unit of the cube must call it.
#[cube]
#[allow(clippy::too_many_arguments)]
pub(crate) fn product<F: Float, E: Float, N: Size>(
    x: &[Vector<F, N>],
    y: &[Vector<F, N>],
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
    #[comptime] deep: Deep,
) -> Array<E> {
    let mut x_stage = Shared::<[E]>::new_slice(comptime!(DEPTH * PITCH));
    let mut y_stage = Shared::<[E]>::new_slice(comptime!(DEPTH * PITCH));
    let mut sums = no_sums::<E>();
    let mut part = no_sums::<E>();
    let mut k0 = 0usize;
    while k0 < depth {
        sync_cube();
        stage::<F, E, N>(
            &mut x_stage,
            x,
            x_start,
            x_first,
            x_rows,
            k0,
            depth,
            x_row,
            x_depth,
            comptime!(deep.x),
        );
        stage::<F, E, N>(
            &mut y_stage,
            y,
            y_start,
            y_first,
            y_rows,
            k0,
            depth,
            y_row,
            y_depth,
            comptime!(deep.y),
        );
        sync_cube();
        accumulate::<E>(&x_stage, &y_stage, &mut part);
        k0 += comptime!(DEPTH);
        take_stretch::<E>(k0, depth, &mut part, &mut sums);
    }
    sums
}

/// Stages one operand's rows from `first` on, from depth `k0` on; zeros past `rows` and `depth`.
#[cube]
#[allow(clippy::too_many_arguments)]
fn stage<F: Float, E: Float, N: Size>(
    staged: &mut Shared<[E]>,
    values: &[Vector<F, N>],
    start: usize,
    first: usize,
    rows: usize,
    k0: usize,
    depth: usize,
    row_stride: usize,
    depth_stride: usize,
    #[comptime] deep: bool,
) {
    let lanes = N::value();
    let loads = comptime!(DEPTH * TILE / (UNITS * UNITS * lanes));
    #[unroll]
    for load in 0..loads {
        let place = load * comptime!(UNITS * UNITS) + UNIT_POS as usize;
        // Neighbouring units read neighbouring vectors.
        let (i, k) = if comptime!(deep) {
            (
                place / comptime!(DEPTH / lanes),
                place % comptime!(DEPTH / lanes) * lanes,
            )
        } else {
            (
                place % comptime!(TILE / lanes) * lanes,
                place / comptime!(TILE / lanes),
            )
        };
        let mut value = Vector::<E, N>::new(E::new(0.0));
        if k0 + k < depth && first + i < rows {
            let at = start + (first + i) * row_stride + (k0 + k) * depth_stride;
            value = Vector::<E, N>::cast_from(values[at / lanes]);
        }
        #[unroll]
        for lane in 0..lanes {
            let at = if comptime!(deep) {
                (k + lane) * PITCH + i
            } else {
                k * PITCH + i + lane
            };
            staged[at] = value.extract(lane);
        }
    }
}

/// This unit's part of `sum over rows r of factors[r / tokens] x[r] y[r]^T`, rows `first_row..` and `depth` of them, `x [.., x_rows]`,
/// `y [.., y_rows]`, rows of the result from `x_first` on and columns from `y_first` on.
///
/// One product over the rows of several examples, where each has too few to fill a stage. The factor is applied as `y` is staged; a dead
/// example's rows are not read.
///
/// Every unit of the cube must call it.
#[cube]
#[allow(clippy::too_many_arguments)]
pub(crate) fn weighted_product<F: Float, E: Float, N: Size>(
    x: &[Vector<F, N>],
    y: &[Vector<F, N>],
    factors: &[E],
    first_row: usize,
    depth: usize,
    tokens: usize,
    x_first: usize,
    y_first: usize,
    x_rows: usize,
    y_rows: usize,
) -> Array<E> {
    let mut x_stage = Shared::<[E]>::new_slice(comptime!(DEPTH * PITCH));
    let mut y_stage = Shared::<[E]>::new_slice(comptime!(DEPTH * PITCH));
    let mut sums = no_sums::<E>();
    let mut part = no_sums::<E>();
    let mut k0 = 0usize;
    while k0 < depth {
        sync_cube();
        let left = depth - k0;
        let row = first_row + k0;
        stage_live::<F, E, N>(
            &mut x_stage,
            x,
            factors,
            row,
            left,
            tokens,
            x_first,
            x_rows,
            false,
        );
        stage_live::<F, E, N>(
            &mut y_stage,
            y,
            factors,
            row,
            left,
            tokens,
            y_first,
            y_rows,
            true,
        );
        sync_cube();
        accumulate::<E>(&x_stage, &y_stage, &mut part);
        k0 += comptime!(DEPTH);
        take_stretch::<E>(k0, depth, &mut part, &mut sums);
    }
    sums
}

/// Stages rows `row..`, at most `left` of them, columns from `first` on; zeros past their ends and for dead examples. With `scaled` times the
/// example's factor.
#[cube]
#[allow(clippy::too_many_arguments)]
fn stage_live<F: Float, E: Float, N: Size>(
    staged: &mut Shared<[E]>,
    values: &[Vector<F, N>],
    factors: &[E],
    row: usize,
    left: usize,
    tokens: usize,
    first: usize,
    columns: usize,
    #[comptime] scaled: bool,
) {
    let lanes = N::value();
    let loads = comptime!(DEPTH * TILE / (UNITS * UNITS * lanes));
    #[unroll]
    for load in 0..loads {
        let place = load * comptime!(UNITS * UNITS) + UNIT_POS as usize;
        let i = place % comptime!(TILE / lanes) * lanes;
        let k = place / comptime!(TILE / lanes);
        let mut value = Vector::<E, N>::new(E::new(0.0));
        if k < left && first + i < columns {
            let factor = factors[(row + k) / tokens];
            if is_live::<E>(factor) {
                value =
                    Vector::<E, N>::cast_from(values[((row + k) * columns + first + i) / lanes]);
                if comptime!(scaled) {
                    value *= Vector::<E, N>::new(factor);
                }
            }
        }
        #[unroll]
        for lane in 0..lanes {
            staged[k * PITCH + i + lane] = value.extract(lane);
        }
    }
}

/// `part += X Y^T` of what is staged.
#[cube]
pub(crate) fn accumulate<E: Float>(
    x_stage: &Shared<[E]>,
    y_stage: &Shared<[E]>,
    part: &mut Array<E>,
) {
    let (u0, v0) = origin();
    for k in 0..DEPTH {
        let mut left = Array::<E>::new(REGISTERS);
        let mut right = Array::<E>::new(REGISTERS);
        #[unroll]
        for u in 0..REGISTERS {
            left[u] = x_stage[k * PITCH + u0 + comptime!(offset(u))];
            right[u] = y_stage[k * PITCH + v0 + comptime!(offset(u))];
        }
        #[unroll]
        for v in 0..REGISTERS {
            #[unroll]
            for u in 0..REGISTERS {
                part[u * REGISTERS + v] = fma(left[u], right[v], part[u * REGISTERS + v]);
            }
        }
    }
}

/// Where a stretch ends after `done` terms of `depth`, adds it to `sums` and begins another.
#[cube]
pub(crate) fn take_stretch<E: Float>(
    done: usize,
    depth: usize,
    part: &mut Array<E>,
    sums: &mut Array<E>,
) {
    if done % comptime!(STRETCH) == 0 || done >= depth {
        #[unroll]
        for s in 0..REGISTERS * REGISTERS {
            sums[s] += part[s];
            part[s] = E::new(0.0);
        }
    }
}

/// A unit's part of a tile, all zeros.
#[cube]
pub(crate) fn no_sums<E: Float>() -> Array<E> {
    let mut sums = Array::<E>::new(comptime!(REGISTERS * REGISTERS));
    #[unroll]
    for s in 0..REGISTERS * REGISTERS {
        sums[s] = E::new(0.0);
    }
    sums
}
