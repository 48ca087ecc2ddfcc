//! What the row kernels share: which row a unit works on, and the sums of fixed order.

use crate::Launch;
use crate::check::Arg;
use crate::outer::zeros;
use cubecl::prelude::*;

/// The row of this unit, where `width` neighbouring units share one, in a launch by [`Tuning::grid`](crate::Tuning::grid).
///
/// Cubes along the first axis, then the third, go on where one before them ends; those along the second take every other row, so that a unit
/// which walks them all takes a run of rows.
#[cube]
pub(crate) fn row_of(#[comptime] width: u32) -> usize {
    let cube = CUBE_POS_Z as usize * CUBE_COUNT_X as usize + CUBE_POS_X as usize;
    // Whole rows are a cube's: of rows there are fewer than 2^32, of units there may be more.
    let row = cube * (CUBE_DIM / width) as usize + (UNIT_POS / width) as usize;
    row * CUBE_COUNT_Y as usize + CUBE_POS_Y as usize
}

/// The place of this unit among those of its row.
#[cube]
pub(crate) fn lane_of(#[comptime] width: u32) -> usize {
    (UNIT_POS % width) as usize
}

/// The sum of a vector's lanes, by halves: a fixed order, whatever the device.
#[cube]
pub(crate) fn sum_lanes<E: Float, N: Size>(v: Vector<E, N>) -> E {
    let lanes = N::value();
    let mut halves = Array::<E>::new(lanes);
    #[unroll]
    for i in 0..lanes {
        halves[i] = v.extract(i);
    }
    let steps = comptime!(lanes.ilog2() as usize);
    #[unroll]
    for step in 0..steps {
        let half = comptime!(lanes >> (step + 1));
        #[unroll]
        for i in 0..half {
            let other = halves[i + half];
            halves[i] += other;
        }
    }
    halves[0]
}

/// Sums of a unit that run side by side.
const WAYS: usize = 4;
/// Loads of each of them before it is added to the total, so that long rows lose no more than short ones.
const BLOCK: usize = 64;

/// The share of `lane` in `sum of g[i] (* x[i])` over the vectors `first..last`; with `x = g` a sum of squares.
#[cube]
pub(crate) fn sum_terms<F: Float, E: Float, N: Size>(
    x: &[Vector<F, N>],
    g: &[Vector<F, N>],
    first: usize,
    last: usize,
    lane: usize,
    #[comptime] scaled: bool,
    #[comptime] width: u32,
) -> E {
    let step = comptime!(width as usize);
    let mut total = Vector::<E, N>::new(E::new(0.0));
    let mut i = first + lane;
    while i < last {
        let mut sums = zeros::<E, N>(WAYS);
        let mut loads = 0usize;
        while loads < BLOCK && i + comptime!((WAYS - 1) * width as usize) < last {
            #[unroll]
            for way in 0..WAYS {
                sums[way] += term::<F, E, N>(x, g, i + way * step, scaled);
            }
            i += comptime!(WAYS * width as usize);
            loads += 1;
        }
        // What is left of the row, fewer than WAYS loads; none where the block was cut short by its length.
        while loads < BLOCK && i < last {
            sums[0] += term::<F, E, N>(x, g, i, scaled);
            i += step;
        }
        total += (sums[0] + sums[1]) + (sums[2] + sums[3]);
    }
    sum_lanes::<E, N>(total)
}

#[cube]
fn term<F: Float, E: Float, N: Size>(
    x: &[Vector<F, N>],
    g: &[Vector<F, N>],
    i: usize,
    #[comptime] scaled: bool,
) -> Vector<E, N> {
    let mut value = Vector::<E, N>::cast_from(g[i]);
    if comptime!(scaled) {
        value *= Vector::<E, N>::cast_from(x[i]);
    }
    value
}

/// The sum of `value` over the `width` units of a row, right at its lane 0: a tree in shared memory.
///
/// Every unit of the cube must call it, those of rows past the last with any value.
#[cube]
pub(crate) fn sum_units<E: Float>(value: E, #[comptime] width: u32, #[comptime] units: u32) -> E {
    if comptime!(width == 1) {
        value
    } else {
        let mut shared = Shared::<[E]>::new_slice(comptime!(units as usize));
        let unit = UNIT_POS as usize;
        let lane = lane_of(width);
        shared[unit] = value;
        let steps = comptime!(width.ilog2() as usize);
        #[unroll]
        for step in 0..steps {
            let half = comptime!((width as usize) >> (step + 1));
            sync_cube();
            if lane < half {
                let other = shared[unit + half];
                shared[unit] += other;
            }
        }
        shared[unit]
    }
}

/// `totals[row] += sum of partials[row, ..]`.
#[cube(launch)]
pub(crate) fn add_row_sums<E: Float>(
    partials: &[E],
    totals: &mut [E],
    rows: u32,
    columns: u32,
    #[comptime] width: u32,
    #[comptime] units: u32,
    #[define(E)] _accumulator: ElemType,
) {
    let row = row_of(width);
    let lane = lane_of(width);
    let mut sum = E::new(0.0);
    if row < rows as usize {
        let start = row * columns as usize;
        let mut column = lane;
        while column < columns as usize {
            sum += partials[start + column];
            column += comptime!(width as usize);
        }
    }
    let total = sum_units::<E>(sum, width, units);
    if row < rows as usize && lane == 0 {
        totals[row] += total;
    }
}

/// Launches [`add_row_sums`] of `partials [rows, columns]` into `totals [rows]`.
pub(crate) fn launch_add_row_sums(
    launch: &Launch<'_>,
    partials: &Arg<'_>,
    totals: &Arg<'_>,
    rows: usize,
    columns: usize,
) {
    let Launch { client, tuning, .. } = *launch;
    let width = tuning.width(columns.div_ceil(4));
    let (count, dim) = tuning.grid(rows, width);
    add_row_sums::launch(
        client,
        count,
        dim,
        partials.buffer(1),
        totals.buffer(1),
        rows as u32,
        columns as u32,
        width,
        dim.num_elems(),
        totals.dtype(),
    );
}
