//! By a GPU's matrix units.

use super::{CutTiles, min_index, triangle};
use crate::Launch;
use crate::check::Arg;
use crate::norm::linear::Problem;
use crate::reduce::sum_units;
use crate::tile::Deep;
use crate::tile::tensor::{self, MatrixUnits, Operand, Pair, Range, Stages, Tiling};
use cubecl::prelude::*;

/// Pairs of columns that a unit holds of a square tile, by any units.
const PAIRS: usize = Tiling::square(MatrixUnits::Planes).pairs();

pub(super) fn launch_parts(
    launch: &Launch<'_>,
    problem: &Problem<'_>,
    [products, bounds, parts]: [&Arg<'_>; 3],
    tiles: usize,
    cut: &CutTiles,
    units: MatrixUnits,
) {
    let Launch { client, tuning, .. } = *launch;
    let Problem { a, g, t, d, p, .. } = problem;
    let (count, dim) = tensor::grid(cut.rows * cut.parts(), tuning);
    gram_parts_tensor::launch(
        client,
        count,
        dim,
        tensor::LANES,
        2,
        a.buffer(tensor::LANES),
        g.buffer(tensor::LANES),
        parts.buffer(2),
        cut.rows as u32,
        tiles as u32,
        *t as u32,
        *d as u32,
        *p as u32,
        units,
        a.dtype(),
    );
    let (count, dim) = tensor::grid(cut.rows, tuning);
    gram_of_parts_tensor::launch(
        client,
        count,
        dim,
        2,
        parts.buffer(2),
        products.buffer(1),
        bounds.buffer(1),
        cut.rows as u32,
        tiles as u32,
        *t as u32,
        cut.a_parts as u32,
        cut.g_parts as u32,
        units,
    );
}

/// One cube takes one stretch of the dot products of one tile by the matrix units, of A's first, then of G's.
#[cube(launch)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn gram_parts_tensor<F: Float, N: Size, M: Size>(
    a: &[Vector<F, N>],
    g: &[Vector<F, N>],
    parts: &mut [Vector<f32, M>],
    rows: u32,
    tiles: u32,
    tokens: u32,
    a_columns: u32,
    g_columns: u32,
    #[comptime] units: MatrixUnits,
    #[define(F)] _dtype: ElemType,
) {
    let (tokens, a_columns, g_columns) = (tokens as usize, a_columns as usize, g_columns as usize);
    let a_parts = (a_columns + comptime!(tensor::STRETCH - 1)) / comptime!(tensor::STRETCH);
    let g_parts = (g_columns + comptime!(tensor::STRETCH - 1)) / comptime!(tensor::STRETCH);
    let place = CUBE_POS as usize;
    let row = place / (a_parts + g_parts);
    let part = place % (a_parts + g_parts);
    if row < rows as usize {
        let side = (tokens + comptime!(tensor::SIDE - 1)) / comptime!(tensor::SIDE);
        let (i, j) = triangle(row % tiles as usize, side);
        let first = row / tiles as usize * tokens;
        let mut stages = Stages::<F, N>::new(comptime!(Tiling::square(units)));
        stages.are_same(i == j);
        let at = place * comptime!(PAIRS * tensor::UNITS as usize) + UNIT_POS as usize;
        if part < a_parts {
            let x = stretch_of(&token_rows(first, i, tokens, a_columns), part);
            let y = stretch_of(&token_rows(first, j, tokens, a_columns), part);
            let sums = tensor::product::<F, N>(&mut stages, a, a, &x, &y, Deep::BOTH);
            write_pairs::<M>(&sums, parts, at);
        } else {
            let x = stretch_of(&token_rows(first, i, tokens, g_columns), part - a_parts);
            let y = stretch_of(&token_rows(first, j, tokens, g_columns), part - a_parts);
            let sums = tensor::product::<F, N>(&mut stages, g, g, &x, &y, Deep::BOTH);
            write_pairs::<M>(&sums, parts, at);
        }
    }
}

#[cube]
fn write_pairs<M: Size>(sums: &Array<Pair>, parts: &mut [Vector<f32, M>], at: usize) {
    #[unroll]
    for s in 0..PAIRS {
        let mut pair = Vector::<f32, M>::new(0.0f32);
        pair.insert(0usize, sums[s].extract(0usize));
        pair.insert(1usize, sums[s].extract(1usize));
        parts[at + comptime!(s * tensor::UNITS as usize)] = pair;
    }
}

#[cube]
fn read_pairs<M: Size>(
    parts: &[Vector<f32, M>],
    part: usize,
    #[comptime] units: MatrixUnits,
) -> Array<Pair> {
    let at = part * comptime!(PAIRS * tensor::UNITS as usize) + UNIT_POS as usize;
    let mut sums = tensor::no_sums(comptime!(Tiling::square(units)));
    #[unroll]
    for s in 0..PAIRS {
        let pair = parts[at + comptime!(s * tensor::UNITS as usize)];
        let mut sum = Pair::new(0.0f32);
        sum.insert(0usize, pair.extract(0usize));
        sum.insert(1usize, pair.extract(1usize));
        sums[s] = sum;
    }
    sums
}

/// One cube takes the products of one tile whose stretches [`gram_parts_tensor`] took, in the order of [`gram_tensor`].
#[cube(launch)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn gram_of_parts_tensor<M: Size>(
    parts: &[Vector<f32, M>],
    products: &mut [f32],
    bounds: &mut [f32],
    rows: u32,
    tiles: u32,
    tokens: u32,
    a_parts: u32,
    g_parts: u32,
    #[comptime] units: MatrixUnits,
) {
    let row = CUBE_POS as usize;
    if row < rows as usize {
        let side = (tokens as usize + comptime!(tensor::SIDE - 1)) / comptime!(tensor::SIDE);
        let (i, j) = triangle(row % tiles as usize, side);
        let diagonal = i == j;
        let (a_parts, g_parts) = (a_parts as usize, g_parts as usize);
        let first = row * (a_parts + g_parts);
        let mut dots = tensor::no_sums(comptime!(Tiling::square(units)));
        for part in first..first + a_parts {
            let mut more = read_pairs::<M>(parts, part, units);
            tensor::take(
                &mut more,
                &mut dots,
                1.0f32,
                comptime!(Tiling::square(units)),
            );
        }
        let mut own = no_diagonal();
        let mut sum = Pair::new(0.0f32);
        for part in first + a_parts..first + a_parts + g_parts {
            let mut more = read_pairs::<M>(parts, part, units);
            sum = multiply_stretch(&dots, &mut more, &mut own, sum, diagonal, units);
        }
        write_tensor_products(&dots, &own, sum, products, bounds, row, diagonal, units);
    }
}

pub(super) fn launch(
    launch: &Launch<'_>,
    problem: &Problem<'_>,
    products: &Arg<'_>,
    bounds: &Arg<'_>,
    tiles: usize,
    units: MatrixUnits,
) {
    let Launch { client, tuning, .. } = *launch;
    let Problem {
        a, g, b, t, d, p, ..
    } = problem;
    let (count, dim) = tensor::grid(b * tiles, tuning);
    gram_tensor::launch(
        client,
        count,
        dim,
        tensor::LANES,
        a.buffer(tensor::LANES),
        g.buffer(tensor::LANES),
        products.buffer(1),
        bounds.buffer(1),
        (b * tiles) as u32,
        tiles as u32,
        *t as u32,
        *d as u32,
        *p as u32,
        units,
        a.dtype(),
    );
}

/// One cube takes one tile of the upper triangle of one example's Gram matrices, by the matrix units.
///
/// `<a_t, a_t'>` are finished first. Of `<g_t, g_t'>` a stretch at a time is multiplied with them and forgotten, but for the diagonal, which
/// the bound needs whole. A tile of the diagonal loads its tokens once. Cubes that walk from tile to tile were slower here, as was loading G behind
/// A without a pause.
#[cube(launch)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn gram_tensor<F: Float, N: Size>(
    a: &[Vector<F, N>],
    g: &[Vector<F, N>],
    products: &mut [f32],
    bounds: &mut [f32],
    rows: u32,
    tiles: u32,
    tokens: u32,
    a_columns: u32,
    g_columns: u32,
    #[comptime] units: MatrixUnits,
    #[define(F)] _dtype: ElemType,
) {
    let row = CUBE_POS as usize;
    if row < rows as usize {
        let tokens = tokens as usize;
        let side = (tokens + comptime!(tensor::SIDE - 1)) / comptime!(tensor::SIDE);
        let (i, j) = triangle(row % tiles as usize, side);
        let diagonal = i == j;
        let first = row / tiles as usize * tokens;
        let tiling = comptime!(Tiling::square(units));
        let mut stages = Stages::<F, N>::new(tiling);
        stages.are_same(diagonal);
        let columns = a_columns as usize;
        let x = token_rows(first, i, tokens, columns);
        let y = token_rows(first, j, tokens, columns);
        let dots = tensor::product::<F, N>(&mut stages, a, a, &x, &y, Deep::BOTH);

        let mut own = no_diagonal();
        let columns = g_columns as usize;
        let x = token_rows(first, i, tokens, columns);
        let y = token_rows(first, j, tokens, columns);
        let mut sum = Pair::new(0.0f32);
        let count = tensor::stages_of(columns, units);
        tensor::begin::<F, N>(&mut stages, g, g, &x, &y, Deep::BOTH);
        let mut first = 0usize;
        while first < count {
            let last = tensor::end_of_stretch(first, count, tiling);
            let range = Range { first, last };
            let mut part = tensor::no_sums(tiling);
            tensor::multiply_stages::<F, N>(
                &mut stages,
                g,
                g,
                &x,
                &y,
                &range,
                &mut part,
                Deep::BOTH,
            );
            sum = multiply_stretch(&dots, &mut part, &mut own, sum, diagonal, units);
            first = last;
        }
        tensor::finish();
        write_tensor_products(&dots, &own, sum, products, bounds, row, diagonal, units);
    }
}

/// `sum += dots part` of a stretch of `<g_t, g_t'>`, which is forgotten then, but for its diagonal.
#[cube]
fn multiply_stretch(
    dots: &Array<Pair>,
    part: &mut Array<Pair>,
    own: &mut Shared<[f32]>,
    sum: Pair,
    diagonal: bool,
    #[comptime] units: MatrixUnits,
) -> Pair {
    let mut sum = sum;
    if diagonal {
        add_diagonal(part, own, units);
    }
    #[unroll]
    for s in 0..PAIRS {
        sum = fma(dots[s], part[s], sum);
        part[s] = Pair::new(0.0f32);
    }
    sum
}

/// Writes what a cube found of its tile. Every unit of the cube must call it.
#[cube]
fn write_tensor_products(
    dots: &Array<Pair>,
    own: &Shared<[f32]>,
    sum: Pair,
    products: &mut [f32],
    bounds: &mut [f32],
    row: usize,
    diagonal: bool,
    #[comptime] units: MatrixUnits,
) {
    let weight = select(diagonal, 1.0f32, 2.0f32);
    let mut bound = 0.0f32;
    if diagonal {
        bound = diagonal_bound(dots, own, units);
    }
    let total = sum.extract(0usize) + sum.extract(1usize);
    let total = sum_units::<f32>(total * weight, tensor::UNITS, tensor::UNITS);
    sync_cube();
    let bound = sum_units::<f32>(bound, tensor::UNITS, tensor::UNITS);
    if UNIT_POS == 0 {
        products[row] = total;
        bounds[row] = bound;
    }
}

/// A tile's diagonal, all zeros. Each of its elements is one unit's. Every unit of the cube must call it.
#[cube]
fn no_diagonal() -> Shared<[f32]> {
    let mut own = Shared::<[f32]>::new_slice(tensor::SIDE);
    if (UNIT_POS as usize) < tensor::SIDE {
        own[UNIT_POS as usize] = 0.0f32;
    }
    sync_cube();
    own
}

/// Tile number `tile` of an example's tokens, each a row of `columns`; the example begins at token `first`.
#[cube]
fn token_rows(first: usize, tile: usize, tokens: usize, columns: usize) -> Operand {
    Operand {
        start: first * columns,
        first: tile * comptime!(tensor::SIDE),
        rows: tokens,
        depths: columns,
        stride: columns,
    }
}

/// Stretch number `part` of the rows' columns.
#[cube]
fn stretch_of(rows: &Operand, part: usize) -> Operand {
    let begin = part * comptime!(tensor::STRETCH);
    Operand {
        start: rows.start + begin,
        first: rows.first,
        rows: rows.rows,
        depths: min_index(rows.depths - begin, comptime!(tensor::STRETCH).runtime()),
        stride: rows.stride,
    }
}

/// Adds the diagonal of a tile to `own`, each element by the unit that holds it.
#[cube]
fn add_diagonal(part: &mut Array<Pair>, own: &mut Shared<[f32]>, #[comptime] units: MatrixUnits) {
    #[unroll]
    for s in 0..PAIRS {
        let (u, v) = tensor::place(s, units);
        if u == v {
            own[u] += part[s].extract(0usize);
        }
        if u == v + 1 {
            own[u] += part[s].extract(1usize);
        }
    }
}

/// This unit's part of `sum |a_t| |g_t|` over the diagonal, of which `own` has the second factors squared.
#[cube]
fn diagonal_bound(dots: &Array<Pair>, own: &Shared<[f32]>, #[comptime] units: MatrixUnits) -> f32 {
    let mut bound = 0.0f32;
    #[unroll]
    for s in 0..PAIRS {
        let (u, v) = tensor::place(s, units);
        if u == v {
            bound += (dots[s].extract(0usize) * own[u]).sqrt();
        }
        if u == v + 1 {
            bound += (dots[s].extract(1usize) * own[u]).sqrt();
        }
    }
    bound
}
