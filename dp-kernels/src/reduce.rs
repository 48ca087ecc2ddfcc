//! What the row kernels share: which row a unit works on, and the sums of fixed order.

use crate::Launch;
use crate::check::Arg;
use crate::outer::zeros;
use cubecl::prelude::*;

/// The row of this unit, where `width` neighbouring units share one.
#[cube]
pub(crate) fn row_of(#[comptime] width: u32) -> usize {
    let unit = CUBE_POS as usize * CUBE_DIM as usize + UNIT_POS as usize;
    unit / comptime!(width as usize)
}

/// The place of this unit among those of its row.
#[cube]
pub(crate) fn lane_of(#[comptime] width: u32) -> usize {
    (UNIT_POS % width) as usize
}

/// The sum of a vector's lanes, by halves: a fixed order, whatever the device.
#[cube]
pub(crate) fn sum_lanes<N: Size>(v: Vector<f32, N>) -> f32 {
    let lanes = N::value();
    let mut halves = Array::<f32>::new(lanes);
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
pub(crate) fn sum_terms<F: Float, N: Size>(
    x: &[Vector<F, N>],
    g: &[Vector<F, N>],
    first: usize,
    last: usize,
    lane: usize,
    #[comptime] scaled: bool,
    #[comptime] width: u32,
) -> f32 {
    let step = comptime!(width as usize);
    let mut total = Vector::<f32, N>::new(0.0f32);
    let mut i = first + lane;
    while i < last {
        let mut sums = zeros::<N>(WAYS);
        let mut loads = 0usize;
        while loads < BLOCK && i + comptime!((WAYS - 1) * width as usize) < last {
            #[unroll]
            for way in 0..WAYS {
                sums[way] += term::<F, N>(x, g, i + way * step, scaled);
            }
            i += comptime!(WAYS * width as usize);
            loads += 1;
        }
        // What is left of the row, fewer than WAYS loads; none where the block was cut short by its length.
        while loads < BLOCK && i < last {
            sums[0] += term::<F, N>(x, g, i, scaled);
            i += step;
        }
        total += (sums[0] + sums[1]) + (sums[2] + sums[3]);
    }
    sum_lanes::<N>(total)
}

#[cube]
fn term<F: Float, N: Size>(
    x: &[Vector<F, N>],
    g: &[Vector<F, N>],
    i: usize,
    #[comptime] scaled: bool,
) -> Vector<f32, N> {
    let mut value = Vector::<f32, N>::cast_from(g[i]);
    if comptime!(scaled) {
        value *= Vector::<f32, N>::cast_from(x[i]);
    }
    value
}

/// The sum of `value` over the `width` units of a row, right at its lane 0: a tree in shared memory.
///
/// Every unit of the cube must call it, those of rows past the last with any value.
#[cube]
pub(crate) fn sum_units(value: f32, #[comptime] width: u32, #[comptime] units: u32) -> f32 {
    if comptime!(width == 1) {
        value
    } else {
        let mut shared = Shared::<[f32]>::new_slice(comptime!(units as usize));
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
pub(crate) fn add_row_sums(
    partials: &[f32],
    totals: &mut [f32],
    rows: u32,
    columns: u32,
    #[comptime] width: u32,
    #[comptime] units: u32,
) {
    let row = row_of(width);
    let lane = lane_of(width);
    let mut sum = 0.0f32;
    if row < rows as usize {
        let start = row * columns as usize;
        let mut column = lane;
        while column < columns as usize {
            sum += partials[start + column];
            column += comptime!(width as usize);
        }
    }
    let total = sum_units(sum, width, units);
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
    );
}
