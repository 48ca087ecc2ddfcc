//! Matrix products on a processor: register tiles, one thread for a block of rows.
//!
//! `out[i, j] = sum_k a[i, k] b[k, j]`, in the register tiles of [`crate::outer`]; a transposed `b` is copied first: `k n` elements against
//! `m k n` products.

use super::Product;
use crate::check::Arg;
use crate::lanes::transpose_lanes;
use crate::launch::Room;
use crate::outer::{DEPTH, LONG, Outer, SHORT, Tile, add_products, load_row, part_of, zeros};
use crate::reduce::row_of;
use crate::{KernelError, Launch};
use cubecl::prelude::*;

pub(super) fn launch(launch: &Launch<'_>, product: &Product<'_>) -> Result<(), KernelError> {
    if !product.b_transposed {
        launch_plain(launch, product, &product.b);
        return Ok(());
    }
    let Product { op, b, z, n, k, .. } = product;
    let [plain] = launch.scratch(op, [Room::of(&[*z, *k, *n], b.dtype())])?;
    let plain = Arg::new(op, "workspace", &plain)?;
    launch_transpose(launch, b, &plain, *z, *n, *k);
    launch_plain(launch, product, &plain);
    Ok(())
}

fn launch_plain(launch: &Launch<'_>, product: &Product<'_>, b: &Arg<'_>) {
    let Launch { client, tuning, .. } = *launch;
    let Product {
        a,
        out,
        z,
        m,
        n,
        k,
        a_transposed,
        ..
    } = product;
    let tile_rows = if *a_transposed { LONG } else { SHORT };
    let shape = Outer::new(&[b, out], [*m, *n], tile_rows, tuning);
    let [block_rows, block_columns] = shape.block([*m, *n], *z, tuning);
    let blocks = z * m.div_ceil(block_rows) * n.div_ceil(block_columns);
    let (count, dim) = tuning.grid_in_turn(blocks);
    product_registers::launch(
        client,
        count,
        dim,
        shape.native,
        shape.lanes,
        a.buffer(1),
        b.buffer(shape.native),
        out.buffer(shape.native),
        SizesLaunch::new(
            *z as u32,
            *m as u32,
            (n / shape.native) as u32,
            *k as u32,
            block_rows as u32,
            (block_columns / shape.native) as u32,
        ),
        *a_transposed,
        shape.tile,
        out.dtype(),
    );
}

/// What is multiplied, and the block of the result that is a unit's; columns are vectors.
#[derive(CubeType, CubeLaunch, Clone, Copy)]
pub(crate) struct Sizes {
    batch: u32,
    rows: u32,
    columns: u32,
    depth: u32,
    block_rows: u32,
    block_columns: u32,
}

/// One unit takes one block of rows and columns of one product of the batch.
#[cube(launch)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn product_registers<E: Float, NM: Size, N: Size>(
    a: &[E],
    b: &[Vector<E, NM>],
    out: &mut [Vector<E, NM>],
    sizes: Sizes,
    #[comptime] a_transposed: bool,
    #[comptime] tile: Tile,
    #[define(E)] _dtype: ElemType,
) {
    let (rows, columns) = (sizes.rows as usize, sizes.columns as usize);
    let (depth, batch) = (sizes.depth as usize, sizes.batch as usize);
    let (block_rows, block_columns) = (sizes.block_rows as usize, sizes.block_columns as usize);
    let across = (columns + block_columns - 1) / block_columns;
    let down = (rows + block_rows - 1) / block_rows;
    let task = row_of(1u32);
    let z = task / (across * down);
    if z < batch {
        let place = task % (across * down);
        let first_row = place / across * block_rows;
        let first_column = place % across * block_columns;
        let last_row = min(first_row + block_rows, rows);
        let last_column = min(first_column + block_columns, columns);
        let (native, lanes) = (NM::value(), N::value());
        let panel_columns = comptime!(tile.columns * lanes / native);
        // Neighbours of a row of A are a column of it apart, or one.
        let (row_step, depth_step) = if comptime!(a_transposed) {
            (1usize, rows)
        } else {
            (depth, 1usize)
        };
        let mut panel = Array::<Vector<E, N>>::new(comptime!(DEPTH * tile.columns));
        let mut starts = Array::<usize>::new(DEPTH);
        let mut begin = 0usize;
        while begin < depth {
            let stretch = min(comptime!(DEPTH), depth - begin);
            for k in 0..stretch {
                starts[k] = z * rows * depth + (begin + k) * depth_step;
            }
            let mut column = first_column;
            while column < last_column {
                for k in 0..stretch {
                    let start = (z * depth + begin + k) * columns;
                    load_row::<E, E, NM, N>(b, &mut panel, k, start, column, columns, tile);
                }
                let mut i = first_row;
                // Whole tiles, then what is left, in code of its own.
                #[unroll]
                for part in 0..2usize {
                    let height = comptime!(if part == 0 { tile.rows } else { tile.tail });
                    if comptime!(height > 0) {
                        while i + height <= last_row {
                            let at = (z * rows + i) * columns;
                            product_tile::<E, NM, N>(
                                a,
                                &starts,
                                &panel,
                                out,
                                stretch,
                                i * row_step,
                                row_step,
                                at,
                                column,
                                columns,
                                begin > 0,
                                height,
                                tile,
                            );
                            i += height;
                        }
                    }
                }
                column += panel_columns;
            }
            begin += comptime!(DEPTH);
        }
    }
}

/// A tile of the result, whose first row begins at `at`: the products of a stretch, after those of the former ones where `goes_on`.
#[cube]
#[allow(clippy::too_many_arguments)]
fn product_tile<E: Float, NM: Size, N: Size>(
    a: &[E],
    starts: &Array<usize>,
    panel: &Array<Vector<E, N>>,
    out: &mut [Vector<E, NM>],
    depth: usize,
    first: usize,
    row_step: usize,
    at: usize,
    column: usize,
    columns: usize,
    goes_on: bool,
    #[comptime] rows: usize,
    #[comptime] tile: Tile,
) {
    let (native, lanes) = (NM::value(), N::value());
    let parts = comptime!(lanes / native);
    let mut sums = zeros::<E, N>(comptime!(rows * tile.columns));
    if goes_on {
        #[unroll]
        for u in 0..rows {
            #[unroll]
            for v in 0..tile.columns {
                let mut sum = Vector::<E, N>::new(E::new(0.0));
                #[unroll]
                for part in 0..parts {
                    let place = column + comptime!(v * parts + part);
                    if comptime!(!tile.padded).runtime() || place < columns {
                        let former = out[at + u * columns + place];
                        #[unroll]
                        for lane in 0..native {
                            sum.insert(comptime!(part * native + lane), former.extract(lane));
                        }
                    }
                }
                sums[u * tile.columns + v] = sum;
            }
        }
    }
    add_products::<E, E, N>(
        a,
        starts,
        panel,
        &mut sums,
        depth,
        first,
        row_step,
        rows,
        tile.columns,
    );
    #[unroll]
    for u in 0..rows {
        #[unroll]
        for v in 0..tile.columns {
            let sum = sums[u * tile.columns + v];
            #[unroll]
            for part in 0..parts {
                let place = column + comptime!(v * parts + part);
                if comptime!(!tile.padded).runtime() || place < columns {
                    out[at + u * columns + place] = part_of::<E, NM, N>(sum, part);
                }
            }
        }
    }
}

#[cube]
fn smaller(a: usize, b: usize) -> usize {
    select(a < b, a, b)
}

/// Launches [`transpose`] of `from [z, rows, columns]` into `to [z, columns, rows]`, of one type.
pub(crate) fn launch_transpose(
    launch: &Launch<'_>,
    from: &Arg<'_>,
    to: &Arg<'_>,
    z: usize,
    rows: usize,
    columns: usize,
) {
    let Launch { client, tuning, .. } = *launch;
    let lanes = tuning.lanes_of(from.dtype());
    let (narrow, wide) = (from.vector(columns, lanes), to.vector(rows, lanes));
    if tuning.is_cpu && narrow < wide {
        let (count, dim) = tuning.grid(z * rows / wide, 1);
        transpose_strips::launch(
            client,
            count,
            dim,
            narrow,
            wide,
            from.buffer(narrow),
            to.buffer(wide),
            z as u32,
            rows as u32,
            columns as u32,
            from.dtype(),
        );
        return;
    }
    let most = to.vector(rows, narrow);
    if tuning.is_cpu && most > 1 {
        let squares = z * (rows / most) * (columns / most);
        let (count, dim) = tuning.grid(squares, 1);
        transpose_squares::launch(
            client,
            count,
            dim,
            most,
            from.buffer(most),
            to.buffer(most),
            z as u32,
            rows as u32,
            columns as u32,
            from.dtype(),
        );
        return;
    }
    // A unit of a processor takes a square, one of a GPU an element beside its neighbour's.
    let side = if tuning.is_cpu { 16 } else { 1 };
    let tiles = z * rows.div_ceil(side) * columns.div_ceil(side);
    let (count, dim) = tuning.grid(tiles, 1);
    transpose::launch(
        client,
        count,
        dim,
        from.buffer(1),
        to.buffer(1),
        z as u32,
        rows as u32,
        columns as u32,
        side,
        from.dtype(),
    );
}

/// `to[z, j, i] = from[z, i, j]`; one unit takes a square of as many vectors as they have lanes, and `N` divides rows and columns.
#[cube(launch)]
pub(crate) fn transpose_squares<F: Float, N: Size>(
    from: &[Vector<F, N>],
    to: &mut [Vector<F, N>],
    batch: u32,
    rows: u32,
    columns: u32,
    #[define(F)] _dtype: ElemType,
) {
    let lanes = N::value();
    let (down, across) = (rows as usize / lanes, columns as usize / lanes);
    let square = row_of(1u32);
    let z = square / (across * down);
    if z < batch as usize {
        let place = square % (across * down);
        let (i, j) = (place / across, place % across);
        let mut square = Array::<Vector<F, N>>::new(lanes);
        #[unroll]
        for u in 0..lanes {
            square[u] = from[(z * rows as usize + i * lanes + u) * across + j];
        }
        let square = transpose_lanes::<F, N>(&square);
        #[unroll]
        for v in 0..lanes {
            to[(z * columns as usize + j * lanes + v) * down + i] = square[v];
        }
    }
}

/// `to[z, j, i] = from[z, i, j]`, of rows that have no whole vectors of `to`'s width: one unit takes as many rows as such a vector has lanes, and
/// writes whole vectors.
#[cube(launch)]
pub(crate) fn transpose_strips<F: Float, NF: Size, NT: Size>(
    from: &[Vector<F, NF>],
    to: &mut [Vector<F, NT>],
    batch: u32,
    rows: u32,
    columns: u32,
    #[define(F)] _dtype: ElemType,
) {
    let (narrow, wide) = (NF::value(), NT::value());
    let (down, across) = (rows as usize / wide, columns as usize / narrow);
    let strip = row_of(1u32);
    let z = strip / down;
    if z < batch as usize {
        let i = strip % down;
        let first = (z * rows as usize + i * wide) * across;
        for j in 0..across {
            let mut taken = Array::<Vector<F, NF>>::new(wide);
            #[unroll]
            for u in 0..wide {
                taken[u] = from[first + u * across + j];
            }
            #[unroll]
            for v in 0..narrow {
                let mut row = Vector::<F, NT>::new(F::new(0.0));
                #[unroll]
                for u in 0..wide {
                    row.insert(u, taken[u].extract(v));
                }
                to[(z * columns as usize + j * narrow + v) * down + i] = row;
            }
        }
    }
}

/// `to[z, j, i] = from[z, i, j]`; one unit takes a square.
#[cube(launch)]
pub(crate) fn transpose<F: Float>(
    from: &[F],
    to: &mut [F],
    batch: u32,
    rows: u32,
    columns: u32,
    #[comptime] side: usize,
    #[define(F)] _dtype: ElemType,
) {
    let (rows, columns) = (rows as usize, columns as usize);
    let across = (columns + comptime!(side - 1)) / comptime!(side);
    let down = (rows + comptime!(side - 1)) / comptime!(side);
    let tile = row_of(1u32);
    let z = tile / (across * down);
    if z < batch as usize {
        let place = tile % (across * down);
        let i0 = place / across * side;
        let j0 = place % across * side;
        let i1 = smaller(i0 + side, rows);
        let j1 = smaller(j0 + side, columns);
        let start = z * rows * columns;
        for i in i0..i1 {
            for j in j0..j1 {
                to[start + j * rows + i] = from[start + i * columns + j];
            }
        }
    }
}
