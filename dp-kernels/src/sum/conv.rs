//! Convolutions: one matrix product a group over all output positions of the live examples.

use crate::check::Arg;
use crate::launch::Room;
use crate::live::is_live;
use crate::norm::conv::Tiles;
use crate::outer::{BLOCK_ROWS, Outer, Tile, part_of};
use crate::reduce::row_of;
use crate::tile::{self, REGISTERS, TILE, offset};
use crate::unfold::{Convolution, unfolded_block, unfolded_product};
use crate::{ConvShape, KernelError, Launch};
use cubecl::{prelude::*, std::tensor::TensorHandle};

/// Adds `sum_b c_b (weight gradient of b)` of a convolution into `out`.
///
/// `x [B, C_in, input..]`, `g [B, C_out, output..]` (one type: f32, f16, bf16 or f64), `factors [B]` and
/// `out [C_out, C_in / groups, kernel..]` f32 (f64 beside f64), ADDED into. Sizes and workspace as
/// [`conv_norm_sq`](crate::conv_norm_sq), and a copy of the weight for each slice of the microbatch. The bias is
/// [`weighted_sum_channel_bias`](crate::weighted_sum_channel_bias)'s.
///
/// # Errors
/// A [`KernelError`] when shapes, types or layouts don't agree, [`KernelError::Conv`] when the geometry is
/// none of a convolution over this input; nothing is launched then.
///
/// # Privacy
/// As [`weighted_sum_linear`](crate::weighted_sum_linear). A dead example's numbers are copied, never computed with.
///
/// # Precision
/// f32, f64 for f64 inputs; positions in order within an example, examples in order within a slice of the microbatch.
pub fn weighted_sum_conv<const N: usize>(
    launch: &Launch<'_>,
    x: &TensorHandle,
    g: &TensorHandle,
    factors: &TensorHandle,
    out: &TensorHandle,
    shape: &ConvShape<N>,
) -> Result<(), KernelError> {
    let Launch { client, tuning, .. } = *launch;
    let op = "weighted_sum_conv";
    let conv = Convolution::new(client, op, x, g, shape)?;
    let factors = Arg::new(op, "factors", factors)?
        .has_shape(&[conv.examples])?
        .sums_of(&conv.x)?;
    let out = Arg::new(op, "out", out)?
        .has_shape(&conv.weight::<N>())?
        .sums_of(&conv.x)?;
    if conv.is_empty() {
        return Ok(());
    }
    let tiles = Tiles::new(&conv, tuning);
    let slices = if tuning.is_cpu {
        1
    } else {
        tuning
            .busy_cubes
            .div_ceil(conv.groups * tiles.count)
            .clamp(1, conv.examples)
    };
    let [x, g, positions, geometry] = conv.workspace();
    let partials = Room::of(&[slices, out.len()], out.dtype());
    let [x, g, positions, geometry, partials] =
        launch.scratch(op, [x, g, positions, geometry, partials])?;
    let partials = Arg::new(op, "workspace", &partials)?;
    let unfolded = conv.unfold(launch, [x, g, positions, geometry])?;
    let x = Arg::new(op, "workspace", &unfolded.x)?;
    let g = Arg::new(op, "workspace", &unfolded.g)?;
    let positions = Arg::new(op, "workspace", &unfolded.positions)?;
    if tuning.is_cpu {
        let Outer {
            native,
            lanes,
            tile,
        } = tiles.shape;
        let block_rows = BLOCK_ROWS / tile.rows * tile.rows;
        let tasks = conv.groups * conv.places * conv.group_in.div_ceil(block_rows) * tiles.count;
        let (count, dim) = tuning.grid_in_turn(tasks);
        weighted_conv_registers::launch(
            client,
            count,
            dim,
            native,
            lanes,
            x.buffer(1),
            g.buffer(native),
            positions.buffer(1),
            factors.buffer(1),
            partials.buffer(native),
            conv.examples as u32,
            conv.groups as u32,
            conv.tokens as u32,
            conv.places as u32,
            conv.inputs as u32,
            conv.group_in as u32,
            (conv.group_out / native) as u32,
            tile,
            conv.dtype(),
            partials.dtype(),
        );
    } else {
        let (count, dim) = tile::grid(slices * conv.groups * tiles.count, tuning);
        weighted_conv_shared::launch(
            client,
            count,
            dim,
            x.buffer(1),
            g.buffer(1),
            positions.buffer(1),
            factors.buffer(1),
            partials.buffer(1),
            conv.examples as u32,
            conv.groups as u32,
            conv.tokens as u32,
            conv.places as u32,
            conv.inputs as u32,
            conv.group_in as u32,
            conv.group_out as u32,
            slices as u32,
            conv.dtype(),
            partials.dtype(),
        );
    }
    let (count, dim) = tuning.grid(out.len(), 1);
    add_weights::launch(
        client,
        count,
        dim,
        partials.buffer(1),
        out.buffer(1),
        out.len() as u32,
        slices as u32,
        conv.places as u32,
        conv.group_in as u32,
        conv.group_out as u32,
        out.dtype(),
    );
    Ok(())
}

/// One unit owns a block of the channels that one place of the kernel meets in one group, a panel wide, and walks the microbatch example by example.
#[cube(launch)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn weighted_conv_registers<F: Float, E: Float, NM: Size, N: Size>(
    x: &[F],
    g: &[Vector<F, NM>],
    positions: &[u32],
    factors: &[E],
    partials: &mut [Vector<E, NM>],
    examples: u32,
    groups: u32,
    tokens: u32,
    places: u32,
    inputs: u32,
    x_columns: u32,
    g_columns: u32,
    #[comptime] tile: Tile,
    #[define(F)] _dtype: ElemType,
    #[define(E)] _accumulator: ElemType,
) {
    let (x_columns, g_columns) = (x_columns as usize, g_columns as usize);
    let (groups, places) = (groups as usize, places as usize);
    let (native, lanes) = (NM::value(), N::value());
    let parts = comptime!(lanes / native);
    let panel_columns = comptime!(tile.columns * parts);
    let block_rows = comptime!(BLOCK_ROWS / tile.rows * tile.rows);
    let across = (g_columns + panel_columns - 1) / panel_columns;
    let down = (x_columns + block_rows - 1) / block_rows;
    let task = row_of(1u32);
    let group = task / (across * down * places);
    if group < groups {
        let place = task / (across * down) % places;
        let column = task % across * panel_columns;
        let first_row = task / across % down * block_rows;
        let last_row = min(first_row + block_rows, x_columns);
        let vectors = (last_row - first_row) * tile.columns;
        let mut totals = Array::<Vector<E, N>>::new(comptime!(BLOCK_ROWS * tile.columns));
        let mut example = Array::<Vector<E, N>>::new(comptime!(BLOCK_ROWS * tile.columns));
        for s in 0..vectors {
            totals[s] = Vector::<E, N>::new(E::new(0.0));
        }
        for b in 0..examples as usize {
            let factor = factors[b];
            if is_live::<E>(factor) {
                let z = b * groups + group;
                unfolded_block::<F, E, NM, N>(
                    x,
                    g,
                    positions,
                    &mut example,
                    z * inputs as usize,
                    z * tokens as usize,
                    tokens as usize,
                    places,
                    place,
                    x_columns,
                    g_columns,
                    first_row,
                    last_row,
                    column,
                    tile,
                );
                for s in 0..vectors {
                    totals[s] = fma(example[s], Vector::<E, N>::new(factor), totals[s]);
                }
            }
        }
        let first = (group * places + place) * x_columns;
        for i in first_row..last_row {
            #[unroll]
            for v in 0..tile.columns {
                let total = totals[(i - first_row) * tile.columns + v];
                #[unroll]
                for part in 0..parts {
                    let at = column + comptime!(v * parts + part);
                    if comptime!(!tile.padded).runtime() || at < g_columns {
                        partials[(first + i) * g_columns + at] = part_of::<E, NM, N>(total, part);
                    }
                }
            }
        }
    }
}

/// One cube takes one tile of one group's weight and one slice of the examples.
#[cube(launch)]
pub(crate) fn weighted_conv_shared<F: Float, E: Float>(
    x: &[F],
    g: &[F],
    positions: &[u32],
    factors: &[E],
    partials: &mut [E],
    examples: u32,
    groups: u32,
    tokens: u32,
    places: u32,
    inputs: u32,
    x_columns: u32,
    g_columns: u32,
    slices: u32,
    #[define(F)] _dtype: ElemType,
    #[define(E)] _accumulator: ElemType,
) {
    let (x_columns, g_columns, groups) = (x_columns as usize, g_columns as usize, groups as usize);
    let rows = places as usize * x_columns;
    let across = (g_columns + comptime!(TILE - 1)) / comptime!(TILE);
    let down = (rows + comptime!(TILE - 1)) / comptime!(TILE);
    let place = CUBE_POS as usize;
    let slice = place / (groups * across * down);
    if slice < slices as usize {
        let group = place / (across * down) % groups;
        let tile = place % (across * down);
        let first_row = tile / across * TILE;
        let first_column = tile % across * TILE;
        let per_slice = (examples as usize + slices as usize - 1) / slices as usize;
        let mut sums = tile::no_sums::<E>();
        for k in 0..per_slice {
            let b = slice * per_slice + k;
            // Uniform over the cube: all its units meet the same barriers.
            if b < examples as usize {
                let factor = factors[b];
                if is_live::<E>(factor) {
                    let z = b * groups + group;
                    let part = unfolded_product::<F, E>(
                        x,
                        g,
                        positions,
                        z * inputs as usize,
                        z * tokens as usize,
                        first_row,
                        first_column,
                        tokens as usize,
                        places as usize,
                        x_columns,
                        g_columns,
                    );
                    #[unroll]
                    for s in 0..REGISTERS * REGISTERS {
                        sums[s] = fma(part[s], factor, sums[s]);
                    }
                }
            }
        }
        let (u0, v0) = tile::origin();
        let start = (slice * groups + group) * rows;
        #[unroll]
        for u in 0..REGISTERS {
            #[unroll]
            for v in 0..REGISTERS {
                let row = first_row + u0 + comptime!(offset(u));
                let column = first_column + v0 + comptime!(offset(v));
                if row < rows && column < g_columns {
                    partials[(start + row) * g_columns + column] = sums[u * REGISTERS + v];
                }
            }
        }
    }
}

/// `out[o, i, k] += sum over slices of partials[slice, group of o, k, i, o in its group]`.
#[cube(launch)]
pub(crate) fn add_weights<E: Float>(
    partials: &[E],
    out: &mut [E],
    len: u32,
    slices: u32,
    places: u32,
    x_columns: u32,
    g_columns: u32,
    #[define(E)] _accumulator: ElemType,
) {
    let place = row_of(1u32);
    let len = len as usize;
    if place < len {
        let (places, x_columns) = (places as usize, x_columns as usize);
        let g_columns = g_columns as usize;
        let k = place % places;
        let i = place / places % x_columns;
        let o = place / places / x_columns;
        let row = (o / g_columns * places + k) * x_columns + i;
        let mut sum = E::new(0.0);
        for slice in 0..slices as usize {
            sum += partials[slice * len + row * g_columns + o % g_columns];
        }
        out[place] += sum;
    }
}
