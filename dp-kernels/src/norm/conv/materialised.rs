//! Tiles of a convolution's gradient, squared before they leave the registers.

use crate::check::Arg;
use crate::outer::zeros;
use crate::reduce::{row_of, sum_lanes, sum_units};
use crate::tile::{self, REGISTERS, TILE, TILE_UNITS};
use crate::unfold::{Convolution, Unfolded, unfolded_outer_tile, unfolded_product};
use crate::{KernelError, Launch, Tuning};
use cubecl::prelude::*;

/// How the materialised way cuts a group's gradient.
pub(crate) struct Tiles {
    /// Elements of a vector of `G`.
    pub vector: usize,
    /// Vectors of a register tile's row.
    pub columns: usize,
    /// Rows of a register tile: neighbouring channels of one place of the kernel.
    pub rows: usize,
    /// Parts of an example's norm in a group.
    pub count: usize,
}

impl Tiles {
    pub(crate) fn new(conv: &Convolution<'_>, tuning: &Tuning) -> Self {
        let vector = widest(conv.group_out, tuning.lanes_of(conv.x.accumulator()));
        let columns = widest(conv.group_out / vector, 2);
        let count = if tuning.is_cpu {
            conv.group_out / (vector * columns)
        } else {
            conv.rows().div_ceil(TILE) * conv.group_out.div_ceil(TILE)
        };
        Self {
            vector,
            columns,
            rows: widest(conv.group_in, 8),
            count,
        }
    }
}

/// The largest of `most` and its halves that divides `n`; the copies start where any vector may.
fn widest(n: usize, most: usize) -> usize {
    let mut width = most.max(1);
    while !n.is_multiple_of(width) {
        width /= 2;
    }
    width
}

/// Writes the parts of the norms, `[B, groups, tiles]`.
pub(super) fn launch(
    launch: &Launch<'_>,
    op: &'static str,
    conv: &Convolution<'_>,
    unfolded: &Unfolded,
    partials: &Arg<'_>,
) -> Result<(), KernelError> {
    let Launch { client, tuning, .. } = *launch;
    let x = Arg::new(op, "workspace", &unfolded.x)?;
    let g = Arg::new(op, "workspace", &unfolded.g)?;
    let positions = Arg::new(op, "workspace", &unfolded.positions)?;
    let tiles = Tiles::new(conv, tuning);
    let rows = conv.examples * conv.groups * tiles.count;
    if tuning.is_cpu {
        let (count, dim) = tuning.grid(rows, 1);
        conv_materialised_registers::launch(
            client,
            count,
            dim,
            tiles.vector,
            x.buffer(1),
            g.buffer(tiles.vector),
            positions.buffer(1),
            partials.buffer(1),
            rows as u32,
            conv.tokens as u32,
            conv.places as u32,
            conv.inputs as u32,
            conv.group_in as u32,
            (conv.group_out / tiles.vector) as u32,
            tiles.rows,
            tiles.columns,
            x.dtype(),
            partials.dtype(),
        );
    } else {
        let (count, dim) = tile::grid(rows, tuning);
        conv_materialised_shared::launch(
            client,
            count,
            dim,
            x.buffer(1),
            g.buffer(1),
            positions.buffer(1),
            partials.buffer(1),
            rows as u32,
            conv.tokens as u32,
            conv.places as u32,
            conv.inputs as u32,
            conv.group_in as u32,
            conv.group_out as u32,
            x.dtype(),
            partials.dtype(),
        );
    }
    Ok(())
}

/// One unit takes all rows of one example's and group's gradient, `tile_columns` vectors wide.
#[cube(launch)]
pub(crate) fn conv_materialised_registers<F: Float, E: Float, N: Size>(
    x: &[F],
    g: &[Vector<F, N>],
    positions: &[u32],
    partials: &mut [E],
    rows: u32,
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
    let row = row_of(1u32);
    if row < rows as usize {
        let tiles = g_columns as usize / tile_columns;
        let z = row / tiles;
        let column = row % tiles * tile_columns;
        let mut squares = Vector::<E, N>::new(E::new(0.0));
        for place in 0..places as usize {
            let mut channel = 0usize;
            while channel < x_columns as usize {
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
                    place,
                    x_columns as usize,
                    g_columns as usize,
                    channel,
                    column,
                    tile_rows,
                    tile_columns,
                );
                #[unroll]
                for s in 0..tile_rows * tile_columns {
                    squares = fma(sums[s], sums[s], squares);
                }
                channel += tile_rows;
            }
        }
        partials[row] = sum_lanes::<E, N>(squares);
    }
}

/// One cube takes one tile of one example's and group's gradient.
#[cube(launch)]
pub(crate) fn conv_materialised_shared<F: Float, E: Float>(
    x: &[F],
    g: &[F],
    positions: &[u32],
    partials: &mut [E],
    rows: u32,
    tokens: u32,
    places: u32,
    inputs: u32,
    x_columns: u32,
    g_columns: u32,
    #[define(F)] _dtype: ElemType,
    #[define(E)] _accumulator: ElemType,
) {
    let row = CUBE_POS as usize;
    if row < rows as usize {
        let a_columns = places as usize * x_columns as usize;
        let across = (g_columns as usize + comptime!(TILE - 1)) / comptime!(TILE);
        let down = (a_columns + comptime!(TILE - 1)) / comptime!(TILE);
        let z = row / (across * down);
        let place = row % (across * down);
        let tile = unfolded_product::<F, E>(
            x,
            g,
            positions,
            z * inputs as usize,
            z * tokens as usize,
            place / across * TILE,
            place % across * TILE,
            tokens as usize,
            places as usize,
            x_columns as usize,
            g_columns as usize,
        );
        let mut sum = E::new(0.0);
        #[unroll]
        for s in 0..REGISTERS * REGISTERS {
            sum += tile[s] * tile[s];
        }
        let total = sum_units::<E>(sum, TILE_UNITS, TILE_UNITS);
        if UNIT_POS == 0 {
            partials[row] = total;
        }
    }
}
