//! By a GPU's ordinary units.

use super::{CutTiles, min_index, triangle};
use crate::Launch;
use crate::check::Arg;
use crate::norm::linear::Problem;
use crate::tile::{self, Deep, TILE, TILE_UNITS, offset};
use cubecl::prelude::*;

pub(super) fn launch(
    launch: &Launch<'_>,
    problem: &Problem<'_>,
    products: &Arg<'_>,
    bounds: &Arg<'_>,
    tiles: usize,
) {
    let Launch { client, tuning, .. } = *launch;
    let Problem {
        a, g, b, t, d, p, ..
    } = problem;
    let vector = tile::vector(a, *d, g, *p, tuning);
    let (count, dim) = tile::grid(b * tiles, tuning);
    gram_shared::launch(
        client,
        count,
        dim,
        vector,
        a.buffer(vector),
        g.buffer(vector),
        products.buffer(1),
        bounds.buffer(1),
        (b * tiles) as u32,
        tiles as u32,
        *t as u32,
        *d as u32,
        *p as u32,
        a.dtype(),
        products.dtype(),
    );
}

/// One cube takes one tile of the upper triangle of one example's Gram matrices.
#[cube(launch)]
pub(crate) fn gram_shared<F: Float, E: Float, N: Size>(
    a: &[Vector<F, N>],
    g: &[Vector<F, N>],
    products: &mut [E],
    bounds: &mut [E],
    rows: u32,
    tiles: u32,
    tokens: u32,
    a_columns: u32,
    g_columns: u32,
    #[define(F)] _dtype: ElemType,
    #[define(E)] _accumulator: ElemType,
) {
    let row = CUBE_POS as usize;
    if row < rows as usize {
        let b = row / tiles as usize;
        let side = (tokens as usize + comptime!(TILE - 1)) / comptime!(TILE);
        let (i, j) = triangle(row % tiles as usize, side);
        let first = b * tokens as usize;
        let a_tile = tile::product::<F, E, N>(
            a,
            a,
            first * a_columns as usize,
            first * a_columns as usize,
            i * TILE,
            j * TILE,
            tokens as usize,
            tokens as usize,
            a_columns as usize,
            a_columns as usize,
            a_columns as usize,
            1usize,
            1usize,
            Deep::BOTH,
        );
        let g_tile = tile::product::<F, E, N>(
            g,
            g,
            first * g_columns as usize,
            first * g_columns as usize,
            i * TILE,
            j * TILE,
            tokens as usize,
            tokens as usize,
            g_columns as usize,
            g_columns as usize,
            g_columns as usize,
            1usize,
            1usize,
            Deep::BOTH,
        );
        write_products::<E>(&a_tile, &g_tile, products, bounds, row, i == j);
    }
}

pub(super) fn launch_parts(
    launch: &Launch<'_>,
    problem: &Problem<'_>,
    [products, bounds, parts]: [&Arg<'_>; 3],
    tiles: usize,
    cut: &CutTiles,
) {
    let Launch { client, tuning, .. } = *launch;
    let Problem { a, g, t, d, p, .. } = problem;
    let vector = tile::vector(a, *d, g, *p, tuning);
    let (count, dim) = tile::grid(cut.rows * cut.parts(), tuning);
    gram_parts_shared::launch(
        client,
        count,
        dim,
        vector,
        a.buffer(vector),
        g.buffer(vector),
        parts.buffer(1),
        cut.rows as u32,
        tiles as u32,
        *t as u32,
        *d as u32,
        *p as u32,
        a.dtype(),
        parts.dtype(),
    );
    let (count, dim) = tile::grid(cut.rows, tuning);
    gram_of_parts_shared::launch(
        client,
        count,
        dim,
        parts.buffer(1),
        products.buffer(1),
        bounds.buffer(1),
        cut.rows as u32,
        tiles as u32,
        *t as u32,
        cut.a_parts as u32,
        cut.g_parts as u32,
        products.dtype(),
    );
}

/// One cube takes one stretch of the dot products of one tile, of A's first, then of G's.
#[cube(launch)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn gram_parts_shared<F: Float, E: Float, N: Size>(
    a: &[Vector<F, N>],
    g: &[Vector<F, N>],
    parts: &mut [E],
    rows: u32,
    tiles: u32,
    tokens: u32,
    a_columns: u32,
    g_columns: u32,
    #[define(F)] _dtype: ElemType,
    #[define(E)] _accumulator: ElemType,
) {
    let (tokens, a_columns, g_columns) = (tokens as usize, a_columns as usize, g_columns as usize);
    let a_parts = (a_columns + comptime!(tile::STRETCH - 1)) / comptime!(tile::STRETCH);
    let g_parts = (g_columns + comptime!(tile::STRETCH - 1)) / comptime!(tile::STRETCH);
    let place = CUBE_POS as usize;
    let row = place / (a_parts + g_parts);
    let part = place % (a_parts + g_parts);
    if row < rows as usize {
        let side = (tokens + comptime!(TILE - 1)) / comptime!(TILE);
        let (i, j) = triangle(row % tiles as usize, side);
        let first = row / tiles as usize * tokens;
        if part < a_parts {
            let sums = stretch_of_dots::<F, E, N>(a, first, i, j, tokens, a_columns, part);
            write_part::<E>(&sums, parts, place);
        } else {
            let sums =
                stretch_of_dots::<F, E, N>(g, first, i, j, tokens, g_columns, part - a_parts);
            write_part::<E>(&sums, parts, place);
        }
    }
}

/// Stretch number `part` of the dot products of tile `(i, j)`.
#[cube]
fn stretch_of_dots<F: Float, E: Float, N: Size>(
    x: &[Vector<F, N>],
    first_token: usize,
    i: usize,
    j: usize,
    tokens: usize,
    columns: usize,
    part: usize,
) -> Array<E> {
    let begin = part * comptime!(tile::STRETCH);
    let depth = min_index(columns - begin, comptime!(tile::STRETCH).runtime());
    tile::product::<F, E, N>(
        x,
        x,
        first_token * columns + begin,
        first_token * columns + begin,
        i * TILE,
        j * TILE,
        tokens,
        tokens,
        depth,
        columns,
        columns,
        1usize,
        1usize,
        Deep::BOTH,
    )
}

/// Neighbouring units write neighbouring numbers.
#[cube]
fn write_part<E: Float>(sums: &Array<E>, parts: &mut [E], place: usize) {
    let first = place * comptime!(TILE * TILE) + UNIT_POS as usize;
    #[unroll]
    for s in 0..tile::REGISTERS * tile::REGISTERS {
        parts[first + comptime!(s * TILE_UNITS as usize)] = sums[s];
    }
}

/// One cube adds up the stretches of one tile and takes its products.
#[cube(launch)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn gram_of_parts_shared<E: Float>(
    parts: &[E],
    products: &mut [E],
    bounds: &mut [E],
    rows: u32,
    tiles: u32,
    tokens: u32,
    a_parts: u32,
    g_parts: u32,
    #[define(E)] _accumulator: ElemType,
) {
    let row = CUBE_POS as usize;
    if row < rows as usize {
        let side = (tokens as usize + comptime!(TILE - 1)) / comptime!(TILE);
        let (i, j) = triangle(row % tiles as usize, side);
        let (a_parts, g_parts) = (a_parts as usize, g_parts as usize);
        let first = row * (a_parts + g_parts);
        let a_tile = sum_parts::<E>(parts, first, a_parts);
        let g_tile = sum_parts::<E>(parts, first + a_parts, g_parts);
        write_products::<E>(&a_tile, &g_tile, products, bounds, row, i == j);
    }
}

#[cube]
fn sum_parts<E: Float>(parts: &[E], first: usize, count: usize) -> Array<E> {
    let mut sums = tile::no_sums::<E>();
    for part in first..first + count {
        let at = part * comptime!(TILE * TILE) + UNIT_POS as usize;
        #[unroll]
        for s in 0..tile::REGISTERS * tile::REGISTERS {
            sums[s] += parts[at + comptime!(s * TILE_UNITS as usize)];
        }
    }
    sums
}

/// A cube's tiles, multiplied and summed into `products[row]` and, on the diagonal, `bounds[row]`.
///
/// Every unit of the cube must call it.
#[cube]
pub(crate) fn write_products<E: Float>(
    a_tile: &Array<E>,
    g_tile: &Array<E>,
    products: &mut [E],
    bounds: &mut [E],
    row: usize,
    diagonal: bool,
) {
    let (u0, v0) = tile::origin();
    let mut sum = E::new(0.0);
    let mut bound = E::new(0.0);
    #[unroll]
    for u in 0..tile::REGISTERS {
        #[unroll]
        for v in 0..tile::REGISTERS {
            // Places past the last token were read as zeros.
            let (a, g) = (
                a_tile[u * tile::REGISTERS + v],
                g_tile[u * tile::REGISTERS + v],
            );
            // Explicit, so that every kernel that comes here has the same bits.
            sum = fma(a, g, sum);
            if diagonal && u0 + comptime!(offset(u)) == v0 + comptime!(offset(v)) {
                bound += (a * g).sqrt();
            }
        }
    }
    let weight = select(diagonal, E::new(1.0), E::new(2.0));
    let total = crate::reduce::sum_units::<E>(sum * weight, TILE_UNITS, TILE_UNITS);
    sync_cube();
    let bound_total = crate::reduce::sum_units::<E>(bound, TILE_UNITS, TILE_UNITS);
    if UNIT_POS == 0 {
        products[row] = total;
        bounds[row] = bound_total;
    }
}
