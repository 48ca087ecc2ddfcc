//! Matrix products by square tiles in shared memory: a GPU's own, for f32 and f64.

use crate::check::Arg;
use crate::tile::{self, REGISTERS, TILE};
use crate::{Launch, Transposes};
use cubecl::prelude::*;

/// `out [z, m, n] = lhs [z, m, k] rhs [z, k, n]`, each operand read transposed where `transposes` says so; all of one type.
pub(crate) struct Product<'a> {
    pub(crate) lhs: Arg<'a>,
    pub(crate) rhs: Arg<'a>,
    pub(crate) out: Arg<'a>,
    pub(crate) z: usize,
    pub(crate) m: usize,
    pub(crate) n: usize,
    pub(crate) k: usize,
    pub(crate) transposes: Transposes,
}

/// Launches it: one cube for each tile of the result. Never on a processor.
pub(crate) fn launch(launch: &Launch<'_>, product: &Product<'_>) {
    let Launch { client, tuning, .. } = *launch;
    let Product {
        lhs,
        rhs,
        out,
        z,
        m,
        n,
        k,
        transposes,
    } = product;
    let (count, dim) = tile::grid(z * m.div_ceil(TILE) * n.div_ceil(TILE), tuning);
    multiply_tiles::launch(
        client,
        count,
        dim,
        lhs.buffer(1),
        rhs.buffer(1),
        out.buffer(1),
        *z as u32,
        *m as u32,
        *n as u32,
        *k as u32,
        transposes.lhs,
        transposes.rhs,
        out.dtype(),
    );
}

/// One cube takes one tile of one matrix of the batch.
#[cube(launch)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn multiply_tiles<F: Float>(
    lhs: &[F],
    rhs: &[F],
    out: &mut [F],
    batch: u32,
    m: u32,
    n: u32,
    k: u32,
    #[comptime] lhs_transposed: bool,
    #[comptime] rhs_transposed: bool,
    #[define(F)] _dtype: ElemType,
) {
    let (m, n, k) = (m as usize, n as usize, k as usize);
    let columns = (n + comptime!(TILE - 1)) / comptime!(TILE);
    let tiles = (m + comptime!(TILE - 1)) / comptime!(TILE) * columns;
    let cube = CUBE_POS as usize;
    if cube < batch as usize * tiles {
        let z = cube / tiles;
        let first_row = cube % tiles / columns * comptime!(TILE);
        let first_column = cube % columns * comptime!(TILE);
        let (lhs_row, lhs_depth) = if comptime!(lhs_transposed) {
            (1usize, m)
        } else {
            (k, 1usize)
        };
        let (rhs_column, rhs_depth) = if comptime!(rhs_transposed) {
            (k, 1usize)
        } else {
            (1usize, n)
        };
        let sums = tile::product::<F, F>(
            lhs,
            rhs,
            z * m * k,
            z * k * n,
            first_row,
            first_column,
            m,
            n,
            k,
            lhs_row,
            rhs_column,
            lhs_depth,
            rhs_depth,
            comptime!(rhs_transposed && !lhs_transposed),
        );
        let (u0, v0) = tile::origin();
        #[unroll]
        for u in 0..REGISTERS {
            let row = first_row + u0 + u;
            #[unroll]
            for v in 0..REGISTERS {
                let column = first_column + v0 + v;
                if row < m && column < n {
                    out[(z * m + row) * n + column] = sums[u * REGISTERS + v];
                }
            }
        }
    }
}
