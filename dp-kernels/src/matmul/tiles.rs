//! Matrix products by square tiles in shared memory: a GPU's ordinary units, f32 and f64.

use super::Product;
use crate::Launch;
use crate::tile::{self, Deep, REGISTERS, TILE, offset};
use cubecl::prelude::*;

/// One cube for each tile of the result. Never on a processor.
pub(super) fn launch(launch: &Launch<'_>, product: &Product<'_>) {
    let Launch { client, tuning, .. } = *launch;
    let Product {
        a,
        b,
        out,
        z,
        m,
        n,
        k,
        a_transposed,
        b_transposed,
        ..
    } = product;
    let a_row = if *a_transposed { *m } else { *k };
    let b_row = if *b_transposed { *k } else { *n };
    let vector = tile::vector(a, a_row, b, b_row, tuning);
    let wide = out.vector(*n, tile::RUN.min(tuning.lanes_of(out.dtype())));
    let (count, dim) = tile::grid(z * m.div_ceil(TILE) * n.div_ceil(TILE), tuning);
    multiply_tiles::launch(
        client,
        count,
        dim,
        vector,
        wide,
        a.buffer(vector),
        b.buffer(vector),
        out.buffer(wide),
        *z as u32,
        *m as u32,
        *n as u32,
        *k as u32,
        Deep {
            x: !*a_transposed,
            y: *b_transposed,
        },
        out.dtype(),
    );
}

/// One cube takes one tile of one matrix of the batch.
#[cube(launch)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn multiply_tiles<E: Float, N: Size, M: Size>(
    a: &[Vector<E, N>],
    b: &[Vector<E, N>],
    out: &mut [Vector<E, M>],
    batch: u32,
    rows: u32,
    columns: u32,
    depth: u32,
    #[comptime] deep: Deep,
    #[define(E)] _dtype: ElemType,
) {
    let (m, n, k) = (rows as usize, columns as usize, depth as usize);
    let across = (n + comptime!(TILE - 1)) / comptime!(TILE);
    let tiles = (m + comptime!(TILE - 1)) / comptime!(TILE) * across;
    let cube = CUBE_POS as usize;
    if cube < batch as usize * tiles {
        let z = cube / tiles;
        let first_row = cube % tiles / across * TILE;
        let first_column = cube % across * TILE;
        let (a_row, a_depth) = strides(m, k, comptime!(deep.x));
        let (b_row, b_depth) = strides(n, k, comptime!(deep.y));
        let sums = tile::product::<E, E, N>(
            a,
            b,
            z * m * k,
            z * k * n,
            first_row,
            first_column,
            m,
            n,
            k,
            a_row,
            b_row,
            a_depth,
            b_depth,
            deep,
        );
        let lanes = M::value();
        let (u0, v0) = tile::origin();
        #[unroll]
        for u in 0..REGISTERS {
            let row = first_row + u0 + comptime!(offset(u));
            #[unroll]
            for part in 0..comptime!(REGISTERS / lanes) {
                let column = first_column + v0 + comptime!(offset(part * lanes));
                // A vector is inside or outside as a whole.
                if row < m && column < n {
                    let mut vector = Vector::<E, M>::new(E::new(0.0));
                    #[unroll]
                    for lane in 0..lanes {
                        vector.insert(lane, sums[comptime!(u * REGISTERS + part * lanes + lane)]);
                    }
                    out[((z * m + row) * n + column) / lanes] = vector;
                }
            }
        }
    }
}

/// Elements from one row to the next and from one depth to the next, of an operand of `rows` by `depth`.
#[cube]
fn strides(rows: usize, depth: usize, #[comptime] deep: bool) -> (usize, usize) {
    if comptime!(deep) {
        (depth, 1usize)
    } else {
        (1usize, rows)
    }
}
