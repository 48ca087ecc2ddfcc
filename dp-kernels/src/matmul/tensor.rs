//! Matrix products on a GPU's matrix units, 16-bit floats in and out: the tile of the norms and sums, so that a step without privacy
//! can be as quick as a private one.

use super::Product;
use crate::check::Arg;
use crate::launch::Room;
use crate::reduce::row_of;
use crate::tile::Deep;
use crate::tile::tensor::{
    self, Cut, LANES, MatrixUnits, Operand, Operands, SIDE, STRETCH, Stages, Tiling,
};
use crate::{Launch, Tuning};
use cubecl::prelude::*;

/// What takes a product here, or why nothing can.
pub(super) fn units_for(
    launch: &Launch<'_>,
    product: &Product<'_>,
) -> Result<MatrixUnits, &'static str> {
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
    let Some(units) = launch.tuning.matrix_units else {
        return Err("the device has no matrix units for it");
    };
    if a.dtype().size() != 2 {
        Err("it is for f16 and bf16")
    } else if whole
        .iter()
        .any(|(arg, row)| arg.vector(*row, LANES) < LANES)
    {
        Err("rows must be multiples of 8 elements, and start where 16 bytes can be read")
    } else {
        Ok(units)
    }
}

/// The most numbers that slices may take: 64 MiB of f32.
const MOST_PARTS: usize = 1 << 24;
/// What one launch more takes, in the depth of a tile that is multiplied meanwhile.
const LAUNCH_DEPTH: usize = 512;

/// How `units` take a product: how wide its tiles are, and into how many slices the depth is cut, where there are too few tiles to fill a GPU.
pub(super) fn cut(product: &Product<'_>, units: MatrixUnits, tuning: &Tuning) -> Cut {
    let Product { z, m, n, k, .. } = product;
    let parts = |slices: usize, squares: usize| match slices {
        1 => 0,
        _ if slices * z * m * n > MOST_PARTS => usize::MAX,
        _ => LAUNCH_DEPTH + tensor::part_depth(squares),
    };
    let terms = [k.div_ceil(STRETCH), STRETCH];
    let tiles = |width| tiles(product, width);
    Cut::of(units, false, tiles, terms, parts, tuning)
}

fn tiles(product: &Product<'_>, width: usize) -> usize {
    product.z * product.m.div_ceil(SIDE) * product.n.div_ceil(width)
}

/// Room for the sums of `slices` slices; a whole product needs none.
pub(super) fn rooms(product: &Product<'_>, slices: usize) -> Vec<Room> {
    let Product { z, m, n, .. } = product;
    match slices {
        1 => Vec::new(),
        _ => vec![Room::f32(&[slices, z * m * n])],
    }
}

/// Launches a product by its [`cut`], in slices where there is room for `parts` of them.
pub(super) fn launch(
    launch: &Launch<'_>,
    product: &Product<'_>,
    parts: Option<&Arg<'_>>,
    cut: Cut,
) {
    let Launch { client, tuning, .. } = *launch;
    let Cut { tiling, slices } = cut;
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
    let deep = Deep {
        x: !*a_transposed,
        y: *b_transposed,
    };
    let (count, dim) = tensor::walking_grid(tiles(product, tiling.columns) * slices, tuning);
    let Some(parts) = parts else {
        return product_tensor::launch(
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
            deep,
            tiling,
            a.dtype(),
        );
    };
    product_parts_tensor::launch(
        client,
        count,
        dim,
        LANES,
        2,
        a.buffer(LANES),
        b.buffer(LANES),
        parts.buffer(2),
        *z as u32,
        *m as u32,
        *n as u32,
        *k as u32,
        slices as u32,
        deep,
        tiling,
        a.dtype(),
    );
    let vectors = z * m * n / LANES;
    let (count, dim) = tuning.grid(vectors, 1);
    add_slices::launch(
        client,
        count,
        dim,
        LANES,
        parts.buffer(LANES),
        out.buffer(LANES),
        slices as u32,
        vectors as u32,
        a.dtype(),
    );
}

/// One cube takes tiles of the batch's products, one after the other.
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
    #[comptime] tiling: Tiling,
    #[define(F)] _dtype: ElemType,
) {
    let (rows, columns, depth) = (rows as usize, columns as usize, depth as usize);
    let tiles = batch as usize * tiles_of(rows, columns, tiling);
    let mut at = CUBE_POS as usize;
    let mut stages = Stages::<F, N>::new(tiling);
    if at < tiles {
        let of = product_tile(at, rows, columns, depth, 0usize, depth, deep, tiling);
        tensor::begin::<F, N>(&mut stages, a, b, &of.x, &of.y, deep);
    }
    while at < tiles {
        let of = product_tile(at, rows, columns, depth, 0usize, depth, deep, tiling);
        let tile = tensor::product_begun::<F, N>(&mut stages, a, b, &of.x, &of.y, deep);
        let start = at / tiles_of(rows, columns, tiling) * rows * columns;
        at += CUBE_COUNT as usize;
        if at < tiles {
            let of = product_tile(at, rows, columns, depth, 0usize, depth, deep, tiling);
            tensor::begin::<F, N>(&mut stages, a, b, &of.x, &of.y, deep);
        }
        tensor::write_tile::<F, N>(
            &tile, out, start, of.x.first, of.y.first, rows, columns, tiling,
        );
    }
}

/// One cube takes one slice of the depth of one tile after the other, all tiles of a slice before the next: their sums, not rounded.
#[cube(launch)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn product_parts_tensor<F: Float, N: Size, M: Size>(
    a: &[Vector<F, N>],
    b: &[Vector<F, N>],
    parts: &mut [Vector<f32, M>],
    batch: u32,
    rows: u32,
    columns: u32,
    depth: u32,
    slices: u32,
    #[comptime] deep: Deep,
    #[comptime] tiling: Tiling,
    #[define(F)] _dtype: ElemType,
) {
    let (rows, columns, depth) = (rows as usize, columns as usize, depth as usize);
    let slices = slices as usize;
    let tiles = batch as usize * tiles_of(rows, columns, tiling);
    let stretches = (depth + comptime!(STRETCH - 1)) / comptime!(STRETCH);
    let of_slice = (stretches + slices - 1) / slices * comptime!(STRETCH);
    let mut at = CUBE_POS as usize;
    let mut stages = Stages::<F, N>::new(tiling);
    while at < tiles * slices {
        let (slice, tile) = (at / tiles, at % tiles);
        let begin = min(slice * of_slice, depth);
        let end = min(begin + of_slice, depth);
        let of = product_tile(tile, rows, columns, depth, begin, end, deep, tiling);
        let sums = tensor::product::<F, N>(&mut stages, a, b, &of.x, &of.y, deep);
        let start =
            (slice * batch as usize + tile / tiles_of(rows, columns, tiling)) * rows * columns;
        tensor::write_sums::<M>(
            &sums, parts, start, of.x.first, of.y.first, rows, columns, tiling,
        );
        at += CUBE_COUNT as usize;
    }
}

/// `out[i] = sum over slices of parts[slice, i]`, slices in order, rounded once.
#[cube(launch)]
pub(crate) fn add_slices<F: Float, N: Size>(
    parts: &[Vector<f32, N>],
    out: &mut [Vector<F, N>],
    slices: u32,
    vectors: u32,
    #[define(F)] _dtype: ElemType,
) {
    let i = row_of(1u32);
    if i < vectors as usize {
        let mut sum = Vector::<f32, N>::new(0.0f32);
        for slice in 0..slices as usize {
            sum += parts[slice * vectors as usize + i];
        }
        out[i] = Vector::<F, N>::cast_from(sum);
    }
}

/// Tiles of one product.
#[cube]
fn tiles_of(rows: usize, columns: usize, #[comptime] tiling: Tiling) -> usize {
    let across = (columns + comptime!(tiling.columns - 1)) / comptime!(tiling.columns);
    let down = (rows + comptime!(SIDE - 1)) / comptime!(SIDE);
    across * down
}

/// Where the factors of tile number `at` of the batch lie, from depth `begin` to `end` of `depth`.
#[cube]
#[allow(clippy::too_many_arguments)]
fn product_tile(
    at: usize,
    rows: usize,
    columns: usize,
    depth: usize,
    begin: usize,
    end: usize,
    #[comptime] deep: Deep,
    #[comptime] tiling: Tiling,
) -> Operands {
    let across = (columns + comptime!(tiling.columns - 1)) / comptime!(tiling.columns);
    let z = at / tiles_of(rows, columns, tiling);
    let place = at % tiles_of(rows, columns, tiling);
    Operands {
        x: factor_of(
            z * rows * depth,
            place / across * comptime!(SIDE),
            rows,
            depth,
            begin,
            end,
            comptime!(deep.x),
        ),
        y: factor_of(
            z * depth * columns,
            place % across * comptime!(tiling.columns),
            columns,
            depth,
            begin,
            end,
            comptime!(deep.y),
        ),
    }
}

/// The tile that begins at row `first` of a factor of `rows` rows whose elements begin at `start`.
#[cube]
fn factor_of(
    start: usize,
    first: usize,
    rows: usize,
    depth: usize,
    begin: usize,
    end: usize,
    #[comptime] deep: bool,
) -> Operand {
    let stride = if comptime!(deep) { depth } else { rows };
    let skipped = if comptime!(deep) { begin } else { begin * rows };
    Operand {
        start: start + skipped,
        first,
        rows,
        depths: end - begin,
        stride,
    }
}
