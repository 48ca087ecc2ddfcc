//! `A_b^T G_b` in tiles, written to memory, and its squared norm: for whoever has room for every example's gradient.

use super::linear::{Cut, Problem};
use super::materialised::{self, example_tile};
use crate::check::Arg;
use crate::launch::Room;
use crate::outer::{BLOCK_ROWS, LONG, Outer, Tile, example_block, part_of};
use crate::reduce::{launch_add_row_sums, row_of, sum_lanes, sum_units};
use crate::tile::tensor::{self, MatrixUnits, Stages, Tiling};
use crate::tile::{self, Deep, REGISTERS, TILE, TILE_UNITS, offset};
use crate::{KernelError, Launch};
use cubecl::{prelude::*, std::tensor::TensorHandle};

/// Writes each example's weight gradient `A_b^T G_b` to `gradients`, and adds its squared norm into `norms_sq`.
///
/// `a [B, T, d]` and `g [B, T, p]` (one type: f32, f16, bf16 or f64), `gradients [B, d, p]` of the same type, OVERWRITTEN, `norms_sq [B]`
/// f32 (f64 beside f64), ADDED into.
///
/// With [`weighted_sum_gradient`](crate::weighted_sum_gradient) of `gradients` in place of
/// [`weighted_sum_linear`](crate::weighted_sum_linear) a step forms the product once, where norm and sum form it twice: `2 B T d p` FLOP less
/// than [`LinearNorm::Materialised`](crate::LinearNorm::Materialised) and `B T^2 (d + p)` less than
/// [`LinearNorm::Gram`](crate::LinearNorm::Gram), for `B d p` numbers of memory, written once and read once. It pays for long
/// sequences, where those take less time than the FLOP do.
///
/// # Errors
/// A [`KernelError`] when shapes, types or layouts don't agree; nothing is launched then.
///
/// # Privacy
/// The norm is that of the numbers as they are written, rounded to the type of `gradients`: a sum of them is clipped by what it is made of, whatever
/// the rounding. Nothing cancels, no floor is needed. `gradients` are what a privacy mechanism exists to hide: they never leave the
/// device but through a clipped and noised sum.
///
/// # Precision
/// Sums f32, f64 for f64 inputs; one rounding to the type. Matrix units add up all of an element's products by cutting, not only a stretch of
/// them: that moves an element, by less than its rounding as a rule, and not its norm from it.
pub fn keep_linear_gradients(
    launch: &Launch<'_>,
    a: &TensorHandle,
    g: &TensorHandle,
    gradients: &TensorHandle,
    norms_sq: &TensorHandle,
) -> Result<(), KernelError> {
    let Launch { client, tuning, .. } = *launch;
    let op = "keep_linear_gradients";
    let problem = Problem::named(client, op, ("a", a), ("g", g))?;
    let Problem { b, t, d, p, .. } = problem;
    let kept = Arg::new(op, "gradients", gradients)?
        .has_shape(&[b, d, p])?
        .same_type(&problem.a)?;
    let norms_sq = Arg::new(op, "norms_sq", norms_sq)?
        .has_shape(&[b])?
        .sums_of(&problem.a)?;
    if b * d * p == 0 {
        return Ok(());
    }
    let cut = match Cut::of(&problem, tuning) {
        // It reads and writes whole vectors.
        Cut::Tensor(_) if t == 0 || kept.vector(p, tensor::LANES) < tensor::LANES => Cut::Shared,
        cut => cut,
    };
    let shape = Outer::new(&[&problem.g, &kept], [d, p], LONG, tuning);
    let tiles = match cut {
        Cut::Registers => p.div_ceil(shape.panel()),
        Cut::Shared => d.div_ceil(TILE) * p.div_ceil(TILE),
        Cut::Tensor(units) => materialised::tensor_tiles([d, p], tiling(units, p).columns),
    };
    let [partials] = launch.scratch(op, [Room::of(&[b, tiles], norms_sq.dtype())])?;
    let partials = Arg::new(op, "workspace", &partials)?;
    let rows = b * tiles;
    let Problem { a, g, .. } = &problem;
    match cut {
        Cut::Registers => {
            let (count, dim) = tuning.grid_in_turn(rows);
            kept_registers::launch(
                client,
                count,
                dim,
                shape.native,
                shape.lanes,
                a.buffer(1),
                g.buffer(shape.native),
                kept.buffer(shape.native),
                partials.buffer(1),
                rows as u32,
                t as u32,
                d as u32,
                (p / shape.native) as u32,
                shape.reads_in_place(t),
                shape.tile,
                a.dtype(),
                partials.dtype(),
            );
        }
        Cut::Shared => {
            // A device may refuse to bind a buffer that holds no whole vector, as one without tokens does.
            let vector = if t == 0 {
                1
            } else {
                tile::vector(a, d, g, p, tuning)
            };
            let (count, dim) = tile::grid(rows, tuning);
            kept_shared::launch(
                client,
                count,
                dim,
                vector,
                a.buffer(vector),
                g.buffer(vector),
                kept.buffer(1),
                partials.buffer(1),
                rows as u32,
                t as u32,
                d as u32,
                p as u32,
                a.dtype(),
                partials.dtype(),
            );
        }
        Cut::Tensor(units) => {
            let (count, dim) = tensor::walking_grid(rows, tuning);
            kept_tensor::launch(
                client,
                count,
                dim,
                tensor::LANES,
                a.buffer(tensor::LANES),
                g.buffer(tensor::LANES),
                kept.buffer(tensor::LANES),
                partials.buffer(1),
                rows as u32,
                t as u32,
                d as u32,
                p as u32,
                tiling(units, p),
                a.dtype(),
            );
        }
    }
    launch_add_row_sums(launch, &partials, &norms_sq, b, tiles);
    Ok(())
}

/// How a GPU's matrix units take the examples' gradients: each element in one go, since norm and sum read what is written.
fn tiling(units: MatrixUnits, p: usize) -> Tiling {
    Tiling::of_columns(units, p, false)
}

/// One unit takes all rows of one example's gradient, a panel wide.
#[cube(launch)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn kept_registers<F: Float, E: Float, NM: Size, N: Size>(
    a: &[F],
    g: &[Vector<F, NM>],
    kept: &mut [Vector<F, NM>],
    partials: &mut [E],
    rows: u32,
    tokens: u32,
    a_columns: u32,
    g_columns: u32,
    #[comptime] in_place: bool,
    #[comptime] tile: Tile,
    #[define(F)] _dtype: ElemType,
    #[define(E)] _accumulator: ElemType,
) {
    let row = row_of(1u32);
    if row < rows as usize {
        let (a_columns, g_columns) = (a_columns as usize, g_columns as usize);
        let (native, lanes) = (NM::value(), N::value());
        let parts = comptime!(lanes / native);
        let panel_columns = comptime!(tile.columns * parts);
        let panels = (g_columns + panel_columns - 1) / panel_columns;
        let b = row / panels;
        let column = row % panels * panel_columns;
        let mut totals = Array::<Vector<E, N>>::new(comptime!(BLOCK_ROWS * tile.columns));
        let mut squares = Vector::<E, N>::new(E::new(0.0));
        let mut first_row = 0usize;
        while first_row < a_columns {
            let last_row = min(first_row + comptime!(BLOCK_ROWS), a_columns);
            example_block::<F, E, NM, N>(
                a,
                g,
                &mut totals,
                b * tokens as usize,
                tokens as usize,
                a_columns,
                g_columns,
                first_row,
                last_row,
                column,
                in_place,
                tile,
            );
            for i in first_row..last_row {
                #[unroll]
                for v in 0..tile.columns {
                    let total = totals[(i - first_row) * tile.columns + v];
                    let rounded = Vector::<F, N>::cast_from(total);
                    #[unroll]
                    for part in 0..parts {
                        let place = column + comptime!(v * parts + part);
                        if comptime!(!tile.padded).runtime() || place < g_columns {
                            kept[(b * a_columns + i) * g_columns + place] =
                                part_of::<F, NM, N>(rounded, part);
                        }
                    }
                    let back = Vector::<E, N>::cast_from(rounded);
                    squares = fma(back, back, squares);
                }
            }
            first_row += comptime!(BLOCK_ROWS);
        }
        partials[row] = sum_lanes::<E, N>(squares);
    }
}

/// One cube takes one tile of one example's gradient.
#[cube(launch)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn kept_shared<F: Float, E: Float, N: Size>(
    a: &[Vector<F, N>],
    g: &[Vector<F, N>],
    kept: &mut [F],
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
        let (a_columns, g_columns) = (a_columns as usize, g_columns as usize);
        let across = (g_columns + comptime!(TILE - 1)) / comptime!(TILE);
        let down = (a_columns + comptime!(TILE - 1)) / comptime!(TILE);
        let b = row / (across * down);
        let place = row % (across * down);
        let first_row = place / across * TILE;
        let first_column = place % across * TILE;
        let tile = tile::product::<F, E, N>(
            a,
            g,
            b * tokens as usize * a_columns,
            b * tokens as usize * g_columns,
            first_row,
            first_column,
            a_columns,
            g_columns,
            tokens as usize,
            1usize,
            1usize,
            a_columns,
            g_columns,
            Deep::NONE,
        );
        let (u0, v0) = tile::origin();
        let mut sum = E::new(0.0);
        #[unroll]
        for u in 0..REGISTERS {
            #[unroll]
            for v in 0..REGISTERS {
                let i = first_row + u0 + comptime!(offset(u));
                let j = first_column + v0 + comptime!(offset(v));
                if i < a_columns && j < g_columns {
                    let rounded = F::cast_from(tile[u * REGISTERS + v]);
                    kept[(b * a_columns + i) * g_columns + j] = rounded;
                    let back = E::cast_from(rounded);
                    sum += back * back;
                }
            }
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
pub(crate) fn kept_tensor<F: Float, N: Size>(
    a: &[Vector<F, N>],
    g: &[Vector<F, N>],
    kept: &mut [Vector<F, N>],
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
        // Of a token's columns to one of the gradient's rows.
        let start = of.x.start / tokens * g_columns;
        let next = row + CUBE_COUNT as usize;
        if next < rows {
            let of = example_tile(next, tokens, a_columns, g_columns, tiling);
            tensor::begin::<F, N>(&mut stages, a, g, &of.x, &of.y, Deep::NONE);
        }
        let sum = tensor::write_tile::<F, N>(
            &tile, kept, start, of.x.first, of.y.first, a_columns, g_columns, tiling,
        );
        let total = sum_units::<f32>(sum, tensor::UNITS, tensor::UNITS);
        if UNIT_POS == 0 {
            partials[row] = total;
        }
        row = next;
    }
}
