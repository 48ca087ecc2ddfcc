//! Convolutions: one matrix product a group over all output positions of the live examples.

use crate::check::Arg;
use crate::launch::Room;
use crate::live::is_live;
use crate::norm::conv::Tiles;
use crate::outer::zeros;
use crate::reduce::row_of;
use crate::tile::{self, REGISTERS, TILE, offset};
use crate::unfold::{Convolution, unfolded_outer_tile, unfolded_product};
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
        let blocks = conv.groups * tiles.count * (conv.rows() / tiles.rows);
        let (count, dim) = tuning.grid(blocks, 1);
        weighted_conv_registers::launch(
            client,
            count,
            dim,
            tiles.vector,
            x.buffer(1),
            g.buffer(tiles.vector),
            positions.buffer(1),
            factors.buffer(1),
            partials.buffer(tiles.vector),
            conv.examples as u32,
            conv.groups as u32,
            conv.tokens as u32,
            conv.places as u32,
            conv.inputs as u32,
            conv.group_in as u32,
            (conv.group_out / tiles.vector) as u32,
            tiles.rows,
            tiles.columns,
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

/// One unit owns a register tile of one group's weight, and walks the microbatch example by example.
#[cube(launch)]
pub(crate) fn weighted_conv_registers<F: Float, E: Float, N: Size>(
    x: &[F],
    g: &[Vector<F, N>],
    positions: &[u32],
    factors: &[E],
    partials: &mut [Vector<E, N>],
    examples: u32,
    groups: u32,
    tokens: u32,
    places: u32,
    inputs: u32,
    x_columns: u32,
    g_columns: u32,
    #[comptime] tile_rows: usize,
    #[comptime] tile_columns: usize,
    #[define(F)] _dtype: ElemType,
    #[define(E)] _accumulator: ElemType,
) {
    let (x_columns, g_columns) = (x_columns as usize, g_columns as usize);
    let across = g_columns / tile_columns;
    let down = places as usize * x_columns / tile_rows;
    let block = row_of(1u32);
    let group = block / (across * down);
    if group < groups as usize {
        let column = block % across * tile_columns;
        let row = block / across % down * tile_rows;
        let mut totals = zeros::<E, N>(comptime!(tile_rows * tile_columns));
        for b in 0..examples as usize {
            let factor = factors[b];
            if is_live::<E>(factor) {
                let z = b * groups as usize + group;
                let mut sums = zeros::<E, N>(comptime!(tile_rows * tile_columns));
                unfolded_outer_tile::<F, E, N>(
                    x,
                    g,
                    positions,
                    &mut sums,
                    z * inputs as usize,
                    z * tokens as usize,
                    tokens as usize,
                    places as usize,
                    row / x_columns,
                    x_columns,
                    g_columns,
                    row % x_columns,
                    column,
                    tile_rows,
                    tile_columns,
                );
                #[unroll]
                for s in 0..tile_rows * tile_columns {
                    totals[s] = fma(sums[s], Vector::<E, N>::new(factor), totals[s]);
                }
            }
        }
        let first = group * places as usize * x_columns + row;
        #[unroll]
        for u in 0..tile_rows {
            #[unroll]
            for v in 0..tile_columns {
                partials[(first + u) * g_columns + column + v] = totals[u * tile_columns + v];
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
