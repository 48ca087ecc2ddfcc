//! The double sum over an example's tokens, `sum_{t,t'} <x_t, x_t'> <y_t, y_t'>`, in cells of 64 by 64 tokens.
//!
//! x is the narrower of A and G and y the wider: the sum is linear in `<y_t, y_t'>`, so that only x's dot products are summed over the lanes of
//! their vectors, and y's are multiplied with them lane by lane, stretch after stretch of the columns. A stretch serves all cells of a group before the
//! next is read: what one core reads from memory is most of what it waits for, and a wide y is larger than its caches.

use super::dots::{End, SIDE, dot_sums, lane_sums, min_index, spread};
use crate::outer::zeros;
use crate::reduce::sum_lanes;
use cubecl::prelude::*;

/// Tiles of a cell's side: 64 tokens.
const TILES: usize = 16;
/// Tokens of it: of a block of the example's.
pub(super) const TOKENS: usize = TILES * SIDE;
/// Cells of a group's side at most: 256 tokens, whose dot products of x are kept while y's are formed, 256 KiB of f32.
pub(super) const GROUP: usize = 4;
/// Vectors of a token that are taken at once: of a tile's second tokens 16 KiB, a third of the nearest cache or half, of a cell's first ones 256 KiB and of
/// a group's, which are both, 1 MiB, which stay in the next.
const STRETCH: usize = 64;

/// Vectors of a unit's share of the room: the weights of a group's cells, and for each token of its blocks a square of y in the lanes of a vector and one of x.
pub(super) fn room_vectors(group: usize, lanes: usize) -> usize {
    group * group * TILES * TILES * (SIDE * SIDE / lanes) + 2 * group * TOKENS
}

/// Of the cells `(b, b..)` of blocks `start..end`, no more than `group`, of an example: for each block the products, summed, those beside the diagonal twice,
/// and `sum |x_t| |y_t|` over its tokens. The same bits whatever other blocks are asked for.
///
/// `room` from `at` on is this unit's share. It is a buffer, since an array of a kernel's own is zeroed each time, element by element.
/// Of cells, stretches and tiles each by itself first, so that no running sum is long.
#[cube]
#[allow(clippy::too_many_arguments)]
pub(super) fn sums_of_blocks<F: Float, E: Float, NM: Size, N: Size>(
    x: &[Vector<F, NM>],
    y: &[Vector<F, NM>],
    room: &mut [Vector<E, N>],
    at: usize,
    group: usize,
    first_token: usize,
    start: usize,
    end: usize,
    tokens: u32,
    x_columns: u32,
    y_columns: u32,
    #[comptime] x_end: End,
    #[comptime] y_end: End,
) -> (Array<E>, Array<E>) {
    let blocks = (tokens as usize + comptime!(TOKENS - 1)) / comptime!(TOKENS);
    let y_vectors = vectors_of::<NM, N>(y_columns);
    let y_squares = at + place::<N>(group * group, 0usize, 0usize);
    let x_squares = y_squares + group * TOKENS;
    for token in 0..(end - start) * comptime!(TOKENS) {
        room[y_squares + token] = Vector::<E, N>::new(E::new(0.0));
    }
    let mut products = zeros::<E, N>(comptime!(SIDE * SIDE));
    let mut across = start;
    while across < blocks {
        let last = min_index(across + group, blocks);
        let mut of_cells = zeros::<E, N>(comptime!(GROUP * GROUP));
        for block in start..end {
            for other in max_index(block, across)..last {
                let cell = (block - start) * group + (other - across);
                weigh::<F, E, NM, N>(
                    x,
                    room,
                    at + place::<N>(cell, 0usize, 0usize),
                    x_squares + (block - start) * TOKENS,
                    first_token,
                    block,
                    other,
                    tokens,
                    x_columns,
                    x_end,
                );
            }
        }
        let mut begin = 0usize;
        while begin < y_vectors {
            let stop = min_index(begin + comptime!(STRETCH), y_vectors);
            for block in start..end {
                for other in max_index(block, across)..last {
                    let cell = (block - start) * group + (other - across);
                    of_cells[cell] += products_of_cell::<F, E, NM, N>(
                        y,
                        room,
                        at + place::<N>(cell, 0usize, 0usize),
                        y_squares + (block - start) * TOKENS,
                        first_token,
                        block,
                        other,
                        tokens,
                        y_columns,
                        begin,
                        stop,
                        y_end,
                    );
                }
            }
            begin = stop;
        }
        for block in start..end {
            for other in max_index(block, across)..last {
                let cell = (block - start) * group + (other - across);
                products[block - start] += of_cells[cell];
            }
        }
        across = last;
    }
    let mut products = spread::<E, N>(&lane_sums::<E, N>(&products));
    let mut bounds = Array::<E>::new(GROUP);
    for block in start..end {
        let half = products[block - start];
        products[block - start] = half + half;
        bounds[block - start] = bound_of_block::<E, N>(
            room,
            x_squares + (block - start) * TOKENS,
            y_squares + (block - start) * TOKENS,
            tokens as usize - block * comptime!(TOKENS),
        );
    }
    (products, bounds)
}

/// x's dot products of a cell's tiles on and beside the diagonal, [weighted], into the room from `weights` on; the squares of a diagonal
/// cell's tokens from `squares` on, the same in all lanes.
#[cube]
#[allow(clippy::too_many_arguments)]
fn weigh<F: Float, E: Float, NM: Size, N: Size>(
    x: &[Vector<F, NM>],
    room: &mut [Vector<E, N>],
    weights: usize,
    squares: usize,
    first_token: usize,
    block: usize,
    other: usize,
    tokens: u32,
    columns: u32,
    #[comptime] end: End,
) {
    let lanes = N::value();
    let vectors = comptime!(SIDE * SIDE / lanes);
    let tiles = (tokens as usize + comptime!(SIDE - 1)) / comptime!(SIDE);
    let (start, across) = (block * comptime!(TILES), other * comptime!(TILES));
    for j in across..min_index(across + comptime!(TILES), tiles) {
        for i in start..min_index(start + comptime!(TILES), j + 1) {
            let dots = x_dots::<F, E, NM, N>(x, first_token, i, j, tokens, columns, end);
            let of_tile = weighted::<E, N>(&dots, i, j, tokens);
            let at = weights + place::<N>(0usize, i - start, j - across);
            #[unroll]
            for k in 0..vectors {
                room[at + k] = of_tile[k];
            }
            if i == j {
                #[unroll]
                for u in 0..SIDE {
                    let own = comptime!(u * SIDE + u);
                    let square = dots[comptime!(own / lanes)].extract(comptime!(own % lanes));
                    room[squares + (i - start) * SIDE + u] = Vector::<E, N>::new(square);
                }
            }
        }
    }
}

/// The products of a cell over vectors `begin..stop` of y, with the weights that the room has from `weights` on; y's squares of a diagonal cell's tokens are
/// added to those from `squares` on.
///
/// A tile's second tokens serve all of the cell's first ones: they stay in the nearest cache meanwhile, the first ones in the next.
#[cube]
#[allow(clippy::too_many_arguments)]
fn products_of_cell<F: Float, E: Float, NM: Size, N: Size>(
    y: &[Vector<F, NM>],
    room: &mut [Vector<E, N>],
    weights: usize,
    squares: usize,
    first_token: usize,
    block: usize,
    other: usize,
    tokens: u32,
    columns: u32,
    begin: usize,
    stop: usize,
    #[comptime] end: End,
) -> Vector<E, N> {
    let tiles = (tokens as usize + comptime!(SIDE - 1)) / comptime!(SIDE);
    let (start, across) = (block * comptime!(TILES), other * comptime!(TILES));
    let mut sum = Vector::<E, N>::new(E::new(0.0));
    for j in across..min_index(across + comptime!(TILES), tiles) {
        let mut parts = zeros::<E, N>(SIDE);
        for i in start..min_index(start + comptime!(TILES), j + 1) {
            let dots =
                dot_sums::<F, E, NM, N>(y, y, first_token, i, j, tokens, columns, begin, stop, end);
            let at = weights + place::<N>(0usize, i - start, j - across);
            add_products::<E, N>(&dots, room, at, &mut parts);
            if i == j {
                #[unroll]
                for u in 0..SIDE {
                    room[squares + (i - start) * SIDE + u] += dots[u * SIDE + u];
                }
            }
        }
        sum += (parts[0] + parts[1]) + (parts[2] + parts[3]);
    }
    sum
}

/// Where the weights of tile `(i, j)` of a cell are, from the first cell's on.
#[cube]
fn place<N: Size>(cell: usize, i: usize, j: usize) -> usize {
    let lanes = N::value();
    ((cell * TILES + j) * TILES + i) * comptime!(SIDE * SIDE / lanes)
}

/// The dot products of x's tokens `i*SIDE..` with its tokens `j*SIDE..`.
#[cube]
fn x_dots<F: Float, E: Float, NM: Size, N: Size>(
    x: &[Vector<F, NM>],
    first_token: usize,
    i: usize,
    j: usize,
    tokens: u32,
    columns: u32,
    #[comptime] end: End,
) -> Array<Vector<E, N>> {
    let lanes = N::value();
    let vectors = comptime!(SIDE * SIDE / lanes);
    let mut dots = zeros::<E, N>(vectors);
    let all = vectors_of::<NM, N>(columns);
    let mut begin = 0usize;
    while begin < all {
        let stop = min_index(begin + comptime!(STRETCH), all);
        let sums =
            dot_sums::<F, E, NM, N>(x, x, first_token, i, j, tokens, columns, begin, stop, end);
        let sums = lane_sums::<E, N>(&sums);
        #[unroll]
        for k in 0..vectors {
            dots[k] += sums[k];
        }
        begin = stop;
    }
    dots
}

/// Half of how often each dot product of tile `(i, j)` counts, times it: once beside the diagonal, half on it, below it and past the last token not
/// at all. A doubled one may overflow where the whole sum would not, and the floor would stand for what it hides.
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
            weights[k] = dots[k];
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
                let once = select(inside, dot, E::new(0.0));
                if comptime!(u < v) {
                    counted.insert(lane, once);
                } else {
                    let half = dot * E::new(0.5);
                    let own = select(comptime!(u == v).runtime() && inside, half, E::new(0.0));
                    counted.insert(lane, select(i < j, once, own));
                }
            }
            weights[k] = counted;
        }
    }
    weights
}

/// Adds the products of y's dot products, still in the lanes of their vectors, with the weights of one tile, which lie from `at` on.
#[cube]
fn add_products<E: Float, N: Size>(
    dots: &Array<Vector<E, N>>,
    weights: &mut [Vector<E, N>],
    at: usize,
    parts: &mut Array<Vector<E, N>>,
) {
    let lanes = N::value();
    #[unroll]
    for s in 0..SIDE * SIDE {
        let weight = weights[at + comptime!(s / lanes)].extract(comptime!(s % lanes));
        let part = comptime!(s % SIDE);
        parts[part] = fma(Vector::<E, N>::new(weight), dots[s], parts[part]);
    }
}

/// Whole vectors of a row of `columns` vectors in memory.
#[cube]
fn vectors_of<NM: Size, N: Size>(columns: u32) -> usize {
    let (native, lanes) = (NM::value(), N::value());
    columns as usize / comptime!(lanes / native)
}

/// `sum |x_t| |y_t|` over the first `inside` tokens of a block, whose squares the room has from `x_squares` and `y_squares` on.
#[cube]
fn bound_of_block<E: Float, N: Size>(
    room: &mut [Vector<E, N>],
    x_squares: usize,
    y_squares: usize,
    inside: usize,
) -> E {
    let mut bound = E::new(0.0);
    for token in 0..min_index(inside, comptime!(TOKENS)) {
        let x_square = room[x_squares + token].extract(0usize);
        let y_square = sum_lanes::<E, N>(room[y_squares + token]);
        bound += (x_square * y_square).sqrt();
    }
    bound
}

#[cube]
fn max_index(a: usize, b: usize) -> usize {
    select(a < b, b, a)
}
