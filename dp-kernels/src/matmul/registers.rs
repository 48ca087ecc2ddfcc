//! Matrix products on a processor: register tiles, one thread for a block of rows.
//!
//! `out[i, j] = sum_k a[i, k] b[k, j]`: a tile of rows times two vectors of columns stays in registers
//! while `k` runs; `b` is read in vectors, `a` one broadcast element at a time, by any strides. The axis
//! `k` is cut so that the columns of `b` that a tile reads stay in the nearest cache.
//!
//! A transposed `b` is copied first: `k n` elements against `m k n` products.

use super::Product;
use crate::check::Arg;
use crate::lanes::transpose_lanes;
use crate::launch::Room;
use crate::outer::block;
use crate::reduce::row_of;
use crate::{KernelError, Launch};
use cubecl::prelude::*;

/// How much of `k` is taken at once: with two vectors of 64 bytes a row, 32 KiB.
const DEPTH: usize = 256;

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
    let most = tuning.lanes_of(out.dtype());
    let vector = b.vector(*n, most).min(out.vector(*n, most));
    let columns = n / vector;
    let tile_columns = if columns.is_multiple_of(2) { 2 } else { 1 };
    let tile_rows = [8, 4, 2]
        .into_iter()
        .find(|r| m.is_multiple_of(*r))
        .unwrap_or(1);
    let panel = vector * tile_columns;
    let [block_rows, block_columns] = block([*m, *n], [tile_rows, panel], *z, tuning);
    let blocks = z * m.div_ceil(block_rows) * n.div_ceil(block_columns);
    let (a_row, a_depth) = if *a_transposed { (1, *m) } else { (*k, 1) };
    let (count, dim) = tuning.grid(blocks, 1);
    product_registers::launch(
        client,
        count,
        dim,
        vector,
        a.buffer(1),
        b.buffer(vector),
        out.buffer(vector),
        *z as u32,
        *m as u32,
        columns as u32,
        *k as u32,
        a_row as u32,
        a_depth as u32,
        block_rows as u32,
        (block_columns / vector) as u32,
        tile_rows,
        tile_columns,
        out.dtype(),
    );
}

/// One unit takes one block of rows and columns of one product of the batch.
#[cube(launch)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn product_registers<E: Float, N: Size>(
    a: &[E],
    b: &[Vector<E, N>],
    out: &mut [Vector<E, N>],
    batch: u32,
    rows: u32,
    columns: u32,
    depth: u32,
    a_row: u32,
    a_depth: u32,
    block_rows: u32,
    block_columns: u32,
    #[comptime] tile_rows: usize,
    #[comptime] tile_columns: usize,
    #[define(E)] _dtype: ElemType,
) {
    let (rows, columns, depth) = (rows as usize, columns as usize, depth as usize);
    let (a_row, a_depth) = (a_row as usize, a_depth as usize);
    let across = (columns + block_columns as usize - 1) / block_columns as usize;
    let down = (rows + block_rows as usize - 1) / block_rows as usize;
    let task = row_of(1u32);
    let z = task / (across * down);
    if z < batch as usize {
        let place = task % (across * down);
        let first_row = place / across * block_rows as usize;
        let first_column = place % across * block_columns as usize;
        let last_row = smaller(first_row + block_rows as usize, rows);
        let last_column = smaller(first_column + block_columns as usize, columns);
        let a_start = z * rows * depth;
        let b_start = z * depth * columns;
        let out_start = z * rows * columns;
        let mut k0 = 0usize;
        while k0 < depth {
            let k1 = smaller(k0 + comptime!(DEPTH), depth);
            let mut j = first_column;
            while j < last_column {
                let mut i = first_row;
                while i < last_row {
                    let mut sums = Array::<Vector<E, N>>::new(comptime!(tile_rows * tile_columns));
                    #[unroll]
                    for s in 0..tile_rows * tile_columns {
                        sums[s] = Vector::<E, N>::new(E::new(0.0));
                    }
                    if k0 > 0 {
                        #[unroll]
                        for u in 0..tile_rows {
                            #[unroll]
                            for v in 0..tile_columns {
                                sums[u * tile_columns + v] =
                                    out[out_start + (i + u) * columns + j + v];
                            }
                        }
                    }
                    for k in k0..k1 {
                        let a_at = a_start + i * a_row + k * a_depth;
                        let b_at = b_start + k * columns + j;
                        let mut right = Array::<Vector<E, N>>::new(tile_columns);
                        #[unroll]
                        for v in 0..tile_columns {
                            right[v] = b[b_at + v];
                        }
                        #[unroll]
                        for u in 0..tile_rows {
                            let left = Vector::<E, N>::new(a[a_at + u * a_row]);
                            #[unroll]
                            for v in 0..tile_columns {
                                sums[u * tile_columns + v] =
                                    fma(left, right[v], sums[u * tile_columns + v]);
                            }
                        }
                    }
                    #[unroll]
                    for u in 0..tile_rows {
                        #[unroll]
                        for v in 0..tile_columns {
                            out[out_start + (i + u) * columns + j + v] = sums[u * tile_columns + v];
                        }
                    }
                    i += tile_rows;
                }
                j += tile_columns;
            }
            k0 = k1;
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
