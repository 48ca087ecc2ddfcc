//! `A_b^T G_b` in tiles, squared while they are in registers.

use super::linear::{Cut, Problem};
use crate::check::Arg;
use crate::launch::Room;
use crate::outer::{BLOCK_ROWS, LONG, Outer, Tile, example_block, flat_panels};
use crate::reduce::{launch_add_row_sums, row_of, sum_lanes, sum_units};
use crate::tile::tensor::{self, MatrixUnits, Operand, Operands, Stages, Tiling};
use crate::tile::{self, Deep, REGISTERS, TILE, TILE_UNITS};
use crate::{KernelError, Launch, Tuning};
use cubecl::{prelude::*, std::tensor::TensorHandle};

/// Room for the partial sums, `[B, tiles]`.
pub(super) fn workspace(problem: &Problem<'_>, tuning: &Tuning) -> Room {
    Room::of(
        &[problem.b, tiles(problem, tuning)],
        problem.a.accumulator(),
    )
}

/// How many partial sums an example has.
fn tiles(problem: &Problem<'_>, tuning: &Tuning) -> usize {
    let Problem { d, p, .. } = problem;
    match Cut::of(problem, tuning) {
        Cut::Registers => {
            let sides = Sides::of(problem);
            sides.columns.div_ceil(sides.shape(tuning).panel())
        }
        Cut::Shared => d.div_ceil(TILE) * p.div_ceil(TILE),
        Cut::Tensor(units) => tensor_tiles([*d, *p], tiling(units, *p).columns),
    }
}

/// What a processor multiplies: `G_b^T A_b`, of the same norm as `A_b^T G_b`, where A is the wider side. The rows of the right factor are read in
/// vectors, the left one's elements one by one.
struct Sides<'a> {
    left: &'a Arg<'a>,
    right: &'a Arg<'a>,
    rows: usize,
    columns: usize,
}

impl<'a> Sides<'a> {
    fn of(problem: &'a Problem<'a>) -> Self {
        let Problem { a, g, d, p, .. } = problem;
        let (left, right) = if d > p { (g, a) } else { (a, g) };
        Self {
            left,
            right,
            rows: *d.min(p),
            columns: *d.max(p),
        }
    }

    fn shape(&self, tuning: &Tuning) -> Outer {
        Outer::new(&[self.right], [self.rows, self.columns], LONG, tuning)
    }
}

/// How a GPU's matrix units take the examples' gradients: in stretches, since the norms must be those of what a sum adds up.
fn tiling(units: MatrixUnits, p: usize) -> Tiling {
    Tiling::of_columns(units, p, true)
}

/// How many tiles of so many columns a gradient `[d, p]` has then.
pub(super) const fn tensor_tiles([d, p]: [usize; 2], width: usize) -> usize {
    d.div_ceil(tensor::SIDE) * p.div_ceil(width)
}

/// Adds the norms, by way of the buffer of [`workspace`].
pub(super) fn launch(
    launch: &Launch<'_>,
    problem: &Problem<'_>,
    scratch: &TensorHandle,
    norms_sq: &Arg<'_>,
) -> Result<(), KernelError> {
    let Launch { client, tuning, .. } = *launch;
    let Problem {
        a, g, b, t, d, p, ..
    } = problem;
    let tiles = tiles(problem, tuning);
    let partials = Arg::new(problem.op, "workspace", scratch)?;
    match Cut::of(problem, tuning) {
        Cut::Registers => {
            let sides = Sides::of(problem);
            let shape = sides.shape(tuning);
            let panels = shape.flat(sides.rows);
            let tasks = b * tiles.div_ceil(panels);
            let (count, dim) = tuning.grid_in_turn(tasks);
            materialised_registers::launch(
                client,
                count,
                dim,
                shape.native,
                shape.lanes,
                sides.left.buffer(1),
                sides.right.buffer(shape.native),
                partials.buffer(1),
                tasks as u32,
                *t as u32,
                sides.rows as u32,
                (sides.columns / shape.native) as u32,
                shape.reads_in_place(*t),
                panels,
                shape.tile,
                a.dtype(),
                partials.dtype(),
            );
        }
        Cut::Shared => {
            let vector = tile::vector(a, *d, g, *p, tuning);
            let (count, dim) = tile::grid(b * tiles, tuning);
            materialised_shared::launch(
                client,
                count,
                dim,
                vector,
                a.buffer(vector),
                g.buffer(vector),
                partials.buffer(1),
                (b * tiles) as u32,
                *t as u32,
                *d as u32,
                *p as u32,
                a.dtype(),
                partials.dtype(),
            );
        }
        Cut::Tensor(units) => {
            let (count, dim) = tensor::walking_grid(b * tiles, tuning);
            materialised_tensor::launch(
                client,
                count,
                dim,
                tensor::LANES,
                a.buffer(tensor::LANES),
                g.buffer(tensor::LANES),
                partials.buffer(1),
                (b * tiles) as u32,
                *t as u32,
                *d as u32,
                *p as u32,
                tiling(units, *p),
                a.dtype(),
            );
        }
    }
    launch_add_row_sums(launch, &partials, norms_sq, *b, tiles);
    Ok(())
}

/// One unit takes all rows of one example's gradient, or its transpose, a panel wide; several `panels` where they are flat. Each panel has a partial
/// sum of its own, whoever takes it.
#[cube(launch)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn materialised_registers<F: Float, E: Float, NM: Size, N: Size>(
    a: &[F],
    g: &[Vector<F, NM>],
    partials: &mut [E],
    tasks: u32,
    tokens: u32,
    a_columns: u32,
    g_columns: u32,
    #[comptime] in_place: bool,
    #[comptime] panels: usize,
    #[comptime] tile: Tile,
    #[define(F)] _dtype: ElemType,
    #[define(E)] _accumulator: ElemType,
) {
    let task = row_of(1u32);
    if task < tasks as usize {
        let (a_columns, g_columns) = (a_columns as usize, g_columns as usize);
        let (native, lanes) = (NM::value(), N::value());
        let panel_columns = comptime!(tile.columns * lanes / native);
        let of_example = (g_columns + panel_columns - 1) / panel_columns;
        let tasks_of_example = (of_example + comptime!(panels - 1)) / panels;
        let b = task / tasks_of_example;
        let first_token = b * tokens as usize;
        let first_panel = task % tasks_of_example * panels;
        let mut totals = Array::<Vector<E, N>>::new(comptime!(BLOCK_ROWS * tile.columns));
        if comptime!(panels > 1) {
            let last_panel = min(first_panel + panels, of_example);
            flat_panels::<F, E, NM, N>(
                a,
                g,
                &mut totals,
                first_token,
                tokens as usize,
                a_columns,
                g_columns,
                first_panel,
                last_panel,
                panel_columns,
                tile,
            );
            let of_panel = a_columns * tile.columns;
            for panel in first_panel..last_panel {
                let start = (panel - first_panel) * of_panel;
                let none = Vector::<E, N>::new(E::new(0.0));
                let squares = add_squares::<E, N>(&totals, start, of_panel, none);
                partials[b * of_example + panel] = sum_lanes::<E, N>(squares);
            }
        } else {
            let mut squares = Vector::<E, N>::new(E::new(0.0));
            let mut first_row = 0usize;
            while first_row < a_columns {
                let last_row = min(first_row + comptime!(BLOCK_ROWS), a_columns);
                example_block::<F, E, NM, N>(
                    a,
                    g,
                    &mut totals,
                    first_token,
                    tokens as usize,
                    a_columns,
                    g_columns,
                    first_row,
                    last_row,
                    first_panel * panel_columns,
                    in_place,
                    tile,
                );
                let count = (last_row - first_row) * tile.columns;
                squares = add_squares::<E, N>(&totals, 0usize, count, squares);
                first_row += comptime!(BLOCK_ROWS);
            }
            partials[b * of_example + first_panel] = sum_lanes::<E, N>(squares);
        }
    }
}

/// `squares` and those of `count` vectors from `start` on.
#[cube]
fn add_squares<E: Float, N: Size>(
    totals: &Array<Vector<E, N>>,
    start: usize,
    count: usize,
    squares: Vector<E, N>,
) -> Vector<E, N> {
    let mut sum = squares;
    for s in start..start + count {
        sum = fma(totals[s], totals[s], sum);
    }
    sum
}

/// One cube takes one tile of one example's gradient.
#[cube(launch)]
pub(crate) fn materialised_shared<F: Float, E: Float, N: Size>(
    a: &[Vector<F, N>],
    g: &[Vector<F, N>],
    partials: &mut [E],
    rows: u32,
    tokens: u32,
    a_columns: u32,
    g_columns: u32,
    #[define(F)] _dtype: ElemType,
    #[define(E)] _accumulator: ElemType,
) {
    let row = CUBE_POS as usize;
    if row < rows as usize {
        let across = (g_columns as usize + comptime!(TILE - 1)) / comptime!(TILE);
        let down = (a_columns as usize + comptime!(TILE - 1)) / comptime!(TILE);
        let b = row / (across * down);
        let place = row % (across * down);
        let tile = tile::product::<F, E, N>(
            a,
            g,
            b * tokens as usize * a_columns as usize,
            b * tokens as usize * g_columns as usize,
            place / across * TILE,
            place % across * TILE,
            a_columns as usize,
            g_columns as usize,
            tokens as usize,
            1usize,
            1usize,
            a_columns as usize,
            g_columns as usize,
            Deep::NONE,
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

/// One cube takes tiles of the examples' gradients, one after the other, by the matrix units.
#[cube(launch)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn materialised_tensor<F: Float, N: Size>(
    a: &[Vector<F, N>],
    g: &[Vector<F, N>],
    partials: &mut [f32],
    rows: u32,
    tokens: u32,
    a_columns: u32,
    g_columns: u32,
    #[comptime] tiling: Tiling,
    #[define(F)] _dtype: ElemType,
) {
    let (tokens, a_columns, g_columns) = (tokens as usize, a_columns as usize, g_columns as usize);
    let rows = rows as usize;
    let mut row = CUBE_POS as usize;
    let mut stages = Stages::<F, N>::new(tiling);
    if row < rows {
        let of = example_tile(row, tokens, a_columns, g_columns, tiling);
        tensor::begin::<F, N>(&mut stages, a, g, &of.x, &of.y, Deep::NONE);
    }
    while row < rows {
        let of = example_tile(row, tokens, a_columns, g_columns, tiling);
        let tile = tensor::product_begun::<F, N>(&mut stages, a, g, &of.x, &of.y, Deep::NONE);
        let next = row + CUBE_COUNT as usize;
        if next < rows {
            let of = example_tile(next, tokens, a_columns, g_columns, tiling);
            tensor::begin::<F, N>(&mut stages, a, g, &of.x, &of.y, Deep::NONE);
        }
        let mut sum = tensor::Pair::new(0.0f32);
        #[unroll]
        for s in 0..comptime!(tiling.pairs()) {
            sum = fma(tile[s], tile[s], sum);
        }
        let total = sum.extract(0usize) + sum.extract(1usize);
        let total = sum_units::<f32>(total, tensor::UNITS, tensor::UNITS);
        if UNIT_POS == 0 {
            partials[row] = total;
        }
        row = next;
    }
}

/// Where A and G of tile number `row` lie, examples one after the other and their tiles row by row.
#[cube]
pub(super) fn example_tile(
    row: usize,
    tokens: usize,
    a_columns: usize,
    g_columns: usize,
    #[comptime] tiling: Tiling,
) -> Operands {
    let across = (g_columns + comptime!(tiling.columns - 1)) / comptime!(tiling.columns);
    let down = (a_columns + comptime!(tensor::SIDE - 1)) / comptime!(tensor::SIDE);
    let b = row / (across * down);
    let place = row % (across * down);
    Operands {
        x: Operand {
            start: b * tokens * a_columns,
            first: place / across * comptime!(tensor::SIDE),
            rows: a_columns,
            depths: tokens,
            stride: a_columns,
        },
        y: Operand {
            start: b * tokens * g_columns,
            first: place % across * comptime!(tiling.columns),
            rows: g_columns,
            depths: tokens,
            stride: g_columns,
        },
    }
}
