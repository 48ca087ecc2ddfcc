//! Matrix products on a GPU's matrix units, 16-bit floats in and out: the tile of the norms and sums, so that a step without privacy
//! can be as quick as a private one.

use super::Product;
use crate::Launch;
use crate::tile::Deep;
use crate::tile::tensor::{self, LANES, Operand, SIDE, Stages};
use cubecl::prelude::*;

/// Why a product can't be taken here, if it can't.
pub(super) fn refusal(launch: &Launch<'_>, product: &Product<'_>) -> Option<&'static str> {
    let Product {
        a,
        b,
        out,
        m,
        n,
        k,
        a_transposed,
        b_transposed,
        ..
    } = product;
    let a_row = if *a_transposed { *m } else { *k };
    let b_row = if *b_transposed { *k } else { *n };
    let whole = [(a, a_row), (b, b_row), (out, *n)];
    if !launch.tuning.tensor_cores {
        Some("the device has no matrix units for it")
    } else if a.dtype().size() != 2 {
        Some("it is for f16 and bf16")
    } else if whole
        .iter()
        .any(|(arg, row)| arg.vector(*row, LANES) < LANES)
    {
        Some("rows must be multiples of 8 elements, and start where 16 bytes can be read")
    } else {
        None
    }
}

/// Launches a product that [`refusal`] has nothing against.
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
    let tiles = z * m.div_ceil(SIDE) * n.div_ceil(SIDE);
    let (count, dim) = tensor::grid(tiles, tuning);
    product_tensor::launch(
        client,
        count,
        dim,
        LANES,
        a.buffer(LANES),
        b.buffer(LANES),
        out.buffer(LANES),
        *z as u32,
        *m as u32,
        *n as u32,
        *k as u32,
        Deep {
            x: !*a_transposed,
            y: *b_transposed,
        },
        a.dtype(),
    );
}

/// One cube takes one tile of one product of the batch.
#[cube(launch)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn product_tensor<F: Float, N: Size>(
    a: &[Vector<F, N>],
    b: &[Vector<F, N>],
    out: &mut [Vector<F, N>],
    batch: u32,
    rows: u32,
    columns: u32,
    depth: u32,
    #[comptime] deep: Deep,
    #[define(F)] _dtype: ElemType,
) {
    let (rows, columns, depth) = (rows as usize, columns as usize, depth as usize);
    let across = (columns + comptime!(SIDE - 1)) / comptime!(SIDE);
    let down = (rows + comptime!(SIDE - 1)) / comptime!(SIDE);
    let place = CUBE_POS as usize;
    let z = place / (across * down);
    if z < batch as usize {
        let first_row = place % (across * down) / across * comptime!(SIDE);
        let first_column = place % across * comptime!(SIDE);
        let x = Operand {
            start: z * rows * depth,
            first: first_row,
            rows,
            depths: depth,
            stride: stride(depth, rows, comptime!(deep.x)),
        };
        let y = Operand {
            start: z * depth * columns,
            first: first_column,
            rows: columns,
            depths: depth,
            stride: stride(depth, columns, comptime!(deep.y)),
        };
        let mut stages = Stages::<F, N>::new();
        let tile = tensor::product::<F, N>(&mut stages, a, b, &x, &y, deep);
        let start = z * rows * columns;
        tensor::write_tile::<F, N>(&tile, out, start, first_row, first_column, rows, columns);
    }
}

/// Elements from one row to the next where the depth is contiguous, else from one depth to the next.
#[cube]
fn stride(depth: usize, rows: usize, #[comptime] deep: bool) -> usize {
    if comptime!(deep) { depth } else { rows }
}
