//! On a processor: register tiles of four by four tokens, a block of rows of tiles or a whole example for each unit.
//!
//! `sum_{t,t'} <x_t, x_t'> <y_t, y_t'>`, where x is the narrower of A and G and y the wider: linear in `<y_t, y_t'>`, so that only x's dot
//! products are summed over the lanes of their vectors, and y's are multiplied lane by lane, stretch after stretch of the columns.

use super::dots::{SIDE, dot_sums, lane_sums, min_index};
use super::no_less;
use crate::Launch;
use crate::Tuning;
use crate::check::Arg;
use crate::norm::columns::{chunk, column_norm};
use crate::norm::linear::Problem;
use crate::outer::zeros;
use crate::reduce::row_of;
use cubecl::prelude::*;

/// Rows of tiles that a unit takes together: 32 tokens.
const ROWS: usize = 8;
/// Columns of tiles whose dot products of x are kept while y's are formed: with the rows 8 KiB of f32.
const SPAN: usize = 16;
/// Vectors of a token that are taken at once: of a tile's second tokens 16 KiB, half of the nearest cache, and of a block's 128 KiB, an eighth of
/// the next.
const STRETCH: usize = 64;

/// One width for A and G: the lanes of their dot products are multiplied with each other.
fn vector(problem: &Problem<'_>, tuning: &Tuning) -> usize {
    let Problem { a, g, d, p, .. } = problem;
    g.vector(*p, a.vector(*d, tuning.lanes_of(a.accumulator())))
}

/// The narrower and the wider, each with its columns.
fn sorted<'a>(problem: &Problem<'a>) -> [(Arg<'a>, usize); 2] {
    let Problem { a, g, d, p, .. } = problem;
    if d <= p {
        [(*a, *d), (*g, *p)]
    } else {
        [(*g, *p), (*a, *d)]
    }
}

/// Blocks of rows of tiles of an example of `t` tokens.
pub(in crate::norm) fn blocks(t: usize) -> usize {
    t.div_ceil(ROWS * SIDE)
}

pub(in crate::norm) fn launch_rows(
    launch: &Launch<'_>,
    problem: &Problem<'_>,
    products: &Arg<'_>,
    bounds: &Arg<'_>,
    blocks: usize,
) {
    let Launch { client, tuning, .. } = *launch;
    let Problem { b, t, .. } = problem;
    let vector = vector(problem, tuning);
    let [(x, x_columns), (y, y_columns)] = sorted(problem);
    // A block has more to do the earlier it is in its example.
    let (count, dim) = tuning.grid_in_turn(b * blocks);
    gram_rows::launch(
        client,
        count,
        dim,
        vector,
        x.buffer(vector),
        y.buffer(vector),
        products.buffer(1),
        bounds.buffer(1),
        (b * blocks) as u32,
        *t as u32,
        (x_columns / vector) as u32,
        (y_columns / vector) as u32,
        x.dtype(),
        products.dtype(),
    );
}

/// Adds the norms of whole examples, and with `bias` those of G's sums over the tokens; says whether these are among them.
pub(in crate::norm) fn launch_examples(
    launch: &Launch<'_>,
    problem: &Problem<'_>,
    norms_sq: &Arg<'_>,
    bias: bool,
) -> bool {
    let Launch { client, tuning, .. } = *launch;
    let Problem { g, b, t, p, .. } = problem;
    let vector = vector(problem, tuning);
    // By vectors of another width the bias's sums would be other ones than those of `bias_norm_sq`.
    let bias = bias && vector == g.vector(*p, tuning.lanes_of(g.accumulator()));
    let [(x, x_columns), (y, y_columns)] = sorted(problem);
    let (count, dim) = tuning.grid(*b, 1);
    gram_examples::launch(
        client,
        count,
        dim,
        vector,
        x.buffer(vector),
        y.buffer(vector),
        g.buffer(vector),
        norms_sq.buffer(1),
        *b as u32,
        *t as u32,
        (x_columns / vector) as u32,
        (y_columns / vector) as u32,
        (p / vector) as u32,
        bias,
        chunk(p / vector, tuning),
        x.dtype(),
        norms_sq.dtype(),
    );
    bias
}

/// One unit takes a block of rows of tiles, `(i, i..)` each, of the upper triangle of one example's Gram matrices.
#[cube(launch)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn gram_rows<F: Float, E: Float, N: Size>(
    x: &[Vector<F, N>],
    y: &[Vector<F, N>],
    products: &mut [E],
    bounds: &mut [E],
    rows: u32,
    tokens: u32,
    x_columns: u32,
    y_columns: u32,
    #[define(F)] _dtype: ElemType,
    #[define(E)] _accumulator: ElemType,
) {
    let row = row_of(1u32);
    if row < rows as usize {
        let blocks = (tokens as usize + comptime!(ROWS * SIDE - 1)) / comptime!(ROWS * SIDE);
        let first_token = row / blocks * tokens as usize;
        let block = row % blocks;
        let (product, bound) =
            block_of_rows::<F, E, N>(x, y, first_token, block, tokens, x_columns, y_columns);
        products[row] = product;
        bounds[row] = bound;
    }
}

/// One unit takes an example: what [`gram_rows`] and [`finish_gram`](super::finish_gram) do, to the bit, and with `bias` the norm of the sum of
/// G's tokens as [`column_norms`](crate::norm::columns::column_norms) takes it.
#[cube(launch)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn gram_examples<F: Float, E: Float, N: Size>(
    x: &[Vector<F, N>],
    y: &[Vector<F, N>],
    g: &[Vector<F, N>],
    norms_sq: &mut [E],
    examples: u32,
    tokens: u32,
    x_columns: u32,
    y_columns: u32,
    g_columns: u32,
    #[comptime] bias: bool,
    #[comptime] chunk: usize,
    #[define(F)] _dtype: ElemType,
    #[define(E)] _accumulator: ElemType,
) {
    let b = row_of(1u32);
    if b < examples as usize {
        let blocks = (tokens as usize + comptime!(ROWS * SIDE - 1)) / comptime!(ROWS * SIDE);
        let first_token = b * tokens as usize;
        let mut sum = E::new(0.0);
        let mut bound = E::new(0.0);
        for block in 0..blocks {
            let (of_block, bound_of_block) =
                block_of_rows::<F, E, N>(x, y, first_token, block, tokens, x_columns, y_columns);
            sum += of_block;
            bound += bound_of_block;
        }
        norms_sq[b] += no_less::<E>(sum, bound);
        if comptime!(bias) {
            norms_sq[b] +=
                column_norm::<F, E, N>(g, g, b, tokens, g_columns, 0usize, false, chunk, chunk);
        }
    }
}

/// The products of tiles `(i, i..)` of one example for the rows `i` of a block, summed, those beside the diagonal twice; and
/// `sum |x_t| |y_t|` over the block's tokens.
///
/// A block takes a tile's second tokens once for all of its rows: they stay in the nearest cache meanwhile, and the block's own tokens in the next.
#[cube]
fn block_of_rows<F: Float, E: Float, N: Size>(
    x: &[Vector<F, N>],
    y: &[Vector<F, N>],
    first_token: usize,
    block: usize,
    tokens: u32,
    x_columns: u32,
    y_columns: u32,
) -> (E, E) {
    let lanes = N::value();
    let vectors = comptime!(SIDE * SIDE / lanes);
    let tiles = (tokens as usize + comptime!(SIDE - 1)) / comptime!(SIDE);
    let start = block * comptime!(ROWS);
    let end = min_index(start + comptime!(ROWS), tiles);
    let mut sum = E::new(0.0);
    let mut bound = E::new(0.0);
    for i in start..end {
        let (own, bound_of_own) =
            diagonal_tile::<F, E, N>(x, y, first_token, i, tokens, x_columns, y_columns);
        sum += own;
        bound += bound_of_own;
    }
    // In front the products; of spans, stretches and tiles each by itself first, so that no running sum is long.
    let mut sums = zeros::<E, N>(comptime!(SIDE * SIDE));
    let mut weights = Array::<Vector<E, N>>::new(comptime!(SPAN * ROWS * vectors));
    let mut first = start + 1;
    while first < tiles {
        let last = min_index(first + comptime!(SPAN), tiles);
        for j in first..last {
            for i in start..min_index(end, j) {
                let dots = x_dots::<F, E, N>(x, first_token, i, j, tokens, x_columns, false);
                let of_tile = weighted::<E, N>(&dots, i, j, tokens);
                let at = (j - first) * comptime!(ROWS) + (i - start);
                #[unroll]
                for k in 0..vectors {
                    weights[at * vectors + k] = of_tile[k];
                }
            }
        }
        let mut of_span = Vector::<E, N>::new(E::new(0.0));
        let mut begin = 0usize;
        while begin < y_columns as usize {
            let stop = min_index(begin + comptime!(STRETCH), y_columns as usize);
            let mut of_stretch = Vector::<E, N>::new(E::new(0.0));
            for j in first..last {
                let mut parts = zeros::<E, N>(SIDE);
                for i in start..min_index(end, j) {
                    let dots = dot_sums::<F, E, N>(
                        y,
                        y,
                        first_token,
                        i,
                        j,
                        tokens,
                        y_columns,
                        begin,
                        stop,
                        false,
                    );
                    let at = (j - first) * comptime!(ROWS) + (i - start);
                    add_products::<E, N>(&dots, &weights, at, &mut parts);
                }
                of_stretch += (parts[0] + parts[1]) + (parts[2] + parts[3]);
            }
            of_span += of_stretch;
            begin = stop;
        }
        sums[0] += of_span;
        first = last;
    }
    let sums = lane_sums::<E, N>(&sums);
    (sum + sums[0].extract(0usize), bound)
}

/// The products of tile `(i, i)`, those beside the diagonal twice; and `sum |x_t| |y_t|` over its tokens.
#[cube]
fn diagonal_tile<F: Float, E: Float, N: Size>(
    x: &[Vector<F, N>],
    y: &[Vector<F, N>],
    first_token: usize,
    i: usize,
    tokens: u32,
    x_columns: u32,
    y_columns: u32,
) -> (E, E) {
    let lanes = N::value();
    let squares = x_dots::<F, E, N>(x, first_token, i, i, tokens, x_columns, true);
    let weights = weighted::<E, N>(&squares, i, i, tokens);
    // In front the products, then a square of y for each token of the tile.
    let mut sums = zeros::<E, N>(comptime!(SIDE * SIDE));
    let mut begin = 0usize;
    while begin < y_columns as usize {
        let stop = min_index(begin + comptime!(STRETCH), y_columns as usize);
        let dots = dot_sums::<F, E, N>(
            y,
            y,
            first_token,
            i,
            i,
            tokens,
            y_columns,
            begin,
            stop,
            true,
        );
        let mut parts = zeros::<E, N>(SIDE);
        add_products::<E, N>(&dots, &weights, 0usize, &mut parts);
        sums[0] += (parts[0] + parts[1]) + (parts[2] + parts[3]);
        #[unroll]
        for u in 0..SIDE {
            sums[1 + u] += dots[u * SIDE + u];
        }
        begin = stop;
    }
    let sums = lane_sums::<E, N>(&sums);
    let mut bound = E::new(0.0);
    #[unroll]
    for u in 0..SIDE {
        let own = comptime!(u * SIDE + u);
        let x_square = squares[comptime!(own / lanes)].extract(comptime!(own % lanes));
        let y_square = sums[comptime!((1 + u) / lanes)].extract(comptime!((1 + u) % lanes));
        let inside = i * SIDE + u < tokens as usize;
        bound += select(inside, (x_square * y_square).sqrt(), E::new(0.0));
    }
    (sums[0].extract(0usize), bound)
}

/// The dot products of x's tokens `i*SIDE..` with its tokens `j*SIDE..`; with `upper` those of `u <= v` only.
#[cube]
fn x_dots<F: Float, E: Float, N: Size>(
    x: &[Vector<F, N>],
    first_token: usize,
    i: usize,
    j: usize,
    tokens: u32,
    columns: u32,
    #[comptime] upper: bool,
) -> Array<Vector<E, N>> {
    let lanes = N::value();
    let vectors = comptime!(SIDE * SIDE / lanes);
    let mut dots = zeros::<E, N>(vectors);
    let mut begin = 0usize;
    while begin < columns as usize {
        let end = min_index(begin + comptime!(STRETCH), columns as usize);
        let sums = dot_sums::<F, E, N>(x, x, first_token, i, j, tokens, columns, begin, end, upper);
        let sums = lane_sums::<E, N>(&sums);
        #[unroll]
        for k in 0..vectors {
            dots[k] += sums[k];
        }
        begin = end;
    }
    dots
}

/// How often each dot product of tile `(i, j)` counts, times it: twice beside the diagonal, once on it, below it and past the last token not
/// at all.
#[cube]
fn weighted<E: Float, N: Size>(
    dots: &Array<Vector<E, N>>,
    i: usize,
    j: usize,
    tokens: u32,
) -> Array<Vector<E, N>> {
    let lanes = N::value();
    let vectors = comptime!(SIDE * SIDE / lanes);
    let whole = tokens as usize / SIDE;
    let mut weights = zeros::<E, N>(vectors);
    if i < j && j < whole {
        #[unroll]
        for k in 0..vectors {
            weights[k] = dots[k] + dots[k];
        }
    } else {
        #[unroll]
        for k in 0..vectors {
            let mut counted = Vector::<E, N>::new(E::new(0.0));
            #[unroll]
            for lane in 0..lanes {
                let (u, v) = comptime!(((k * lanes + lane) / SIDE, (k * lanes + lane) % SIDE));
                let inside = i * SIDE + u < tokens as usize && j * SIDE + v < tokens as usize;
                let dot = dots[k].extract(lane);
                let twice = select(inside, dot + dot, E::new(0.0));
                if comptime!(u < v) {
                    counted.insert(lane, twice);
                } else {
                    let own = select(comptime!(u == v).runtime() && inside, dot, E::new(0.0));
                    counted.insert(lane, select(i < j, twice, own));
                }
            }
            weights[k] = counted;
        }
    }
    weights
}

/// Adds the products of y's dot products, still in the lanes of their vectors, with the weights of one tile.
#[cube]
fn add_products<E: Float, N: Size>(
    dots: &Array<Vector<E, N>>,
    weights: &Array<Vector<E, N>>,
    tile: usize,
    parts: &mut Array<Vector<E, N>>,
) {
    let lanes = N::value();
    let vectors = comptime!(SIDE * SIDE / lanes);
    #[unroll]
    for s in 0..SIDE * SIDE {
        let weight = weights[tile * vectors + comptime!(s / lanes)].extract(comptime!(s % lanes));
        let part = comptime!(s % SIDE);
        parts[part] = fma(Vector::<E, N>::new(weight), dots[s], parts[part]);
    }
}
