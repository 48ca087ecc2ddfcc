//! Tiles of a convolution's gradient, squared before they leave the registers.

use crate::check::Arg;
use crate::outer::{BLOCK_ROWS, LONG, Outer, Tile, that_fit};
use crate::reduce::{row_of, sum_lanes, sum_units};
use crate::tile::{self, REGISTERS, TILE, TILE_UNITS};
use crate::unfold::{Convolution, Unfolded, unfolded_block, unfolded_product};
use crate::{KernelError, Launch, Tuning};
use cubecl::prelude::*;

/// How the materialised way and the weighted sum cut a group's gradient.
pub(crate) struct Tiles {
    /// Register tiles of the channels that one place of the kernel meets, on a processor.
    pub shape: Outer,
    /// Parts of an example's norm in a group.
    pub count: usize,
}

impl Tiles {
    pub(crate) fn new(conv: &Convolution<'_>, tuning: &Tuning) -> Self {
        let most = tuning.lanes_of(conv.x.accumulator());
        // The copies start where any vector may.
        let mut native = most;
        while !conv.group_out.is_multiple_of(native) {
            native /= 2;
        }
        let shape = Outer::cut(
            [conv.group_in, conv.group_out],
            [native, most],
            that_fit(LONG, tuning),
        );
        let count = if tuning.is_cpu {
            conv.group_out.div_ceil(shape.panel())
        } else {
            conv.rows().div_ceil(TILE) * conv.group_out.div_ceil(TILE)
        };
        Self { shape, count }
    }
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
        let (count, dim) = tuning.grid_in_turn(rows);
        conv_materialised_registers::launch(
            client,
            count,
            dim,
            tiles.shape.native,
            tiles.shape.lanes,
            x.buffer(1),
            g.buffer(tiles.shape.native),
            positions.buffer(1),
            partials.buffer(1),
            rows as u32,
            conv.tokens as u32,
            conv.places as u32,
            conv.inputs as u32,
            conv.group_in as u32,
            (conv.group_out / tiles.shape.native) as u32,
            tiles.shape.tile,
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

/// One unit takes all rows of one example's and group's gradient, a panel wide.
#[cube(launch)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn conv_materialised_registers<F: Float, E: Float, NM: Size, N: Size>(
    x: &[F],
    g: &[Vector<F, NM>],
    positions: &[u32],
    partials: &mut [E],
    rows: u32,
    tokens: u32,
    places: u32,
    inputs: u32,
    x_columns: u32,
    g_columns: u32,
    #[comptime] tile: Tile,
    #[define(F)] _dtype: ElemType,
    #[define(E)] _accumulator: ElemType,
) {
    let row = row_of(1u32);
    if row < rows as usize {
        let (x_columns, g_columns) = (x_columns as usize, g_columns as usize);
        let (native, lanes) = (NM::value(), N::value());
        let panel_columns = comptime!(tile.columns * lanes / native);
        let panels = (g_columns + panel_columns - 1) / panel_columns;
        let z = row / panels;
        let mut totals = Array::<Vector<E, N>>::new(comptime!(BLOCK_ROWS * tile.columns));
        let mut squares = Vector::<E, N>::new(E::new(0.0));
        for place in 0..places as usize {
            let mut first_row = 0usize;
            while first_row < x_columns {
                let last_row = min(first_row + comptime!(BLOCK_ROWS), x_columns);
                unfolded_block::<F, E, NM, N>(
                    x,
                    g,
                    positions,
                    &mut totals,
                    z * inputs as usize,
                    z * tokens as usize,
                    tokens as usize,
                    places as usize,
                    place,
                    x_columns,
                    g_columns,
                    first_row,
                    last_row,
                    row % panels * panel_columns,
                    tile,
                );
                for s in 0..(last_row - first_row) * tile.columns {
                    squares = fma(totals[s], totals[s], squares);
                }
                first_row += comptime!(BLOCK_ROWS);
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
