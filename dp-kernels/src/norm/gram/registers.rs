//! On a processor: register tiles of four by four tokens.

use crate::Launch;
use crate::check::Arg;
use crate::norm::linear::Problem;
use crate::outer::zeros;
use crate::reduce::{row_of, sum_lanes};
use cubecl::prelude::*;

/// Tokens of a register tile's side.
pub(crate) const SIDE: usize = 4;

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
    // One width for both: the lanes of their dot products are multiplied with each other.
    let vector = g.vector(*p, a.vector(*d, tuning.lanes_of(a.accumulator())));
    let (count, dim) = tuning.grid(b * tiles, 1);
    gram_registers::launch(
        client,
        count,
        dim,
        vector,
        a.buffer(vector),
        g.buffer(vector),
        products.buffer(1),
        bounds.buffer(1),
        (b * tiles) as u32,
        *t as u32,
        (d / vector) as u32,
        (p / vector) as u32,
        a.dtype(),
        products.dtype(),
    );
}

/// One unit takes the tiles `(i, i..)` of the upper triangle of one example's Gram matrices.
#[cube(launch)]
pub(crate) fn gram_registers<F: Float, E: Float, N: Size>(
    a: &[Vector<F, N>],
    g: &[Vector<F, N>],
    products: &mut [E],
    bounds: &mut [E],
    rows: u32,
    tokens: u32,
    a_columns: u32,
    g_columns: u32,
    #[define(F)] _dtype: ElemType,
    #[define(E)] _accumulator: ElemType,
) {
    let lanes = N::value();
    let row = row_of(1u32);
    if row < rows as usize {
        let tiles = (tokens as usize + comptime!(SIDE - 1)) / comptime!(SIDE);
        let first_token = row / tiles * tokens as usize;
        let i = row % tiles;
        let whole = tokens as usize / SIDE;
        // The diagonal counts once, a tile beside it twice; a ragged last one is cut to size.
        let a_sums = dot_sums::<F, E, N>(a, a, first_token, i, i, tokens, a_columns);
        let g_sums = dot_sums::<F, E, N>(g, g, first_token, i, i, tokens, g_columns);
        let a_tile = spread::<E, N>(&lane_sums::<E, N>(&a_sums));
        let g_tile = spread::<E, N>(&lane_sums::<E, N>(&g_sums));
        bounds[row] = tile_bound::<E>(&a_tile, &g_tile, i, tokens);
        let mut sum = tile_sum::<E>(&a_tile, &g_tile, i, i, tokens);
        let mut doubled = zeros::<E, N>(SIDE);
        for j in i + 1..tiles {
            let a_sums = dot_sums::<F, E, N>(a, a, first_token, i, j, tokens, a_columns);
            let g_sums = dot_sums::<F, E, N>(g, g, first_token, i, j, tokens, g_columns);
            let a_dots = lane_sums::<E, N>(&a_sums);
            let g_dots = lane_sums::<E, N>(&g_sums);
            if j < whole {
                let vectors = comptime!(SIDE * SIDE / lanes);
                #[unroll]
                for k in 0..vectors {
                    let way = comptime!(k % SIDE);
                    doubled[way] = fma(a_dots[k], g_dots[k], doubled[way]);
                }
            } else {
                let a_tile = spread::<E, N>(&a_dots);
                let g_tile = spread::<E, N>(&g_dots);
                sum += E::new(2.0) * tile_sum::<E>(&a_tile, &g_tile, i, j, tokens);
            }
        }
        let all = (doubled[0] + doubled[1]) + (doubled[2] + doubled[3]);
        products[row] = sum + E::new(2.0) * sum_lanes::<E, N>(all);
    }
}

/// The lanes of each of `vectors` summed: the sums one after the other, as many as fit a vector in each.
///
/// By halves, two vectors at a time: after `log2 N` additions of vectors every lane holds a whole sum. Summing the lanes of
/// one vector by itself takes as long for a single sum.
#[cube]
fn lane_sums<E: Float, N: Size>(vectors: &Array<Vector<E, N>>) -> Array<Vector<E, N>> {
    let lanes = N::value();
    let mut folded = zeros::<E, N>(comptime!(SIDE * SIDE));
    #[unroll]
    for s in 0..SIDE * SIDE {
        folded[s] = vectors[s];
    }
    let steps = comptime!(lanes.ilog2() as usize);
    #[unroll]
    for step in 0..steps {
        let pairs = comptime!((SIDE * SIDE) >> (step + 1));
        #[unroll]
        for pair in 0..pairs {
            folded[pair] = fold::<E, N>(folded[2 * pair], folded[2 * pair + 1], step);
        }
    }
    folded
}

/// The parts of a sum lie in runs of `N / 2^step` lanes, those of `x` and those of `y`; each run is halved, and `x`'s come first.
#[cube]
fn fold<E: Float, N: Size>(
    x: Vector<E, N>,
    y: Vector<E, N>,
    #[comptime] step: usize,
) -> Vector<E, N> {
    let lanes = N::value();
    let half = comptime!(lanes >> (step + 1));
    let mut low = Vector::<E, N>::new(E::new(0.0));
    let mut high = Vector::<E, N>::new(E::new(0.0));
    #[unroll]
    for lane in 0..comptime!(lanes / 2) {
        let from = comptime!(lane / half * 2 * half + lane % half);
        low.insert(lane, x.extract(from));
        high.insert(lane, x.extract(comptime!(from + half)));
        low.insert(comptime!(lanes / 2 + lane), y.extract(from));
        high.insert(
            comptime!(lanes / 2 + lane),
            y.extract(comptime!(from + half)),
        );
    }
    low + high
}

/// The lanes of what [`lane_sums`] gives, one by one.
#[cube]
fn spread<E: Float, N: Size>(folded: &Array<Vector<E, N>>) -> Array<E> {
    let lanes = N::value();
    let mut dots = Array::<E>::new(comptime!(SIDE * SIDE));
    #[unroll]
    for s in 0..SIDE * SIDE {
        dots[s] = folded[comptime!(s / lanes)].extract(comptime!(s % lanes));
    }
    dots
}

/// The products of two tiles of dot products, summed; places past the last token left out.
#[cube]
pub(crate) fn tile_sum<E: Float>(
    a_tile: &Array<E>,
    g_tile: &Array<E>,
    i: usize,
    j: usize,
    tokens: u32,
) -> E {
    let mut sum = E::new(0.0);
    #[unroll]
    for u in 0..SIDE {
        #[unroll]
        for v in 0..SIDE {
            let inside = i * SIDE + u < tokens as usize && j * SIDE + v < tokens as usize;
            let product = a_tile[u * SIDE + v] * g_tile[u * SIDE + v];
            sum += select(inside, product, E::new(0.0));
        }
    }
    sum
}

/// `sum |a_t| |g_t|` over the diagonal of tile `(i, i)`.
#[cube]
pub(crate) fn tile_bound<E: Float>(
    a_tile: &Array<E>,
    g_tile: &Array<E>,
    i: usize,
    tokens: u32,
) -> E {
    let mut bound = E::new(0.0);
    #[unroll]
    for u in 0..SIDE {
        let inside = i * SIDE + u < tokens as usize;
        let square = a_tile[u * SIDE + u] * g_tile[u * SIDE + u];
        bound += select(inside, square.sqrt(), E::new(0.0));
    }
    bound
}

/// The dot products of `x`'s tokens `i*SIDE..` with `y`'s tokens `j*SIDE..`; places past the last token repeat it.
#[cube]
pub(crate) fn dot_tile<F: Float, E: Float, N: Size>(
    x: &[Vector<F, N>],
    y: &[Vector<F, N>],
    first_token: usize,
    i: usize,
    j: usize,
    tokens: u32,
    columns: u32,
) -> Array<E> {
    let sums = dot_sums::<F, E, N>(x, y, first_token, i, j, tokens, columns);
    spread::<E, N>(&lane_sums::<E, N>(&sums))
}

/// Likewise, each dot product still in the lanes of a vector.
#[cube]
fn dot_sums<F: Float, E: Float, N: Size>(
    x: &[Vector<F, N>],
    y: &[Vector<F, N>],
    first_token: usize,
    i: usize,
    j: usize,
    tokens: u32,
    columns: u32,
) -> Array<Vector<E, N>> {
    let last = tokens as usize - 1;
    let columns = columns as usize;
    let mut rows = Array::<usize>::new(comptime!(2 * SIDE));
    #[unroll]
    for u in 0..SIDE {
        rows[u] = (first_token + min_index(i * SIDE + u, last)) * columns;
        rows[u + SIDE] = (first_token + min_index(j * SIDE + u, last)) * columns;
    }
    let mut sums = zeros::<E, N>(comptime!(SIDE * SIDE));
    for k in 0..columns {
        let mut left = Array::<Vector<E, N>>::new(SIDE);
        #[unroll]
        for u in 0..SIDE {
            left[u] = Vector::<E, N>::cast_from(x[rows[u] + k]);
        }
        #[unroll]
        for v in 0..SIDE {
            let right = Vector::<E, N>::cast_from(y[rows[v + SIDE] + k]);
            #[unroll]
            for u in 0..SIDE {
                sums[u * SIDE + v] = fma(left[u], right, sums[u * SIDE + v]);
            }
        }
    }
    sums
}

#[cube]
pub(crate) fn min_index(a: usize, b: usize) -> usize {
    select(a < b, a, b)
}
