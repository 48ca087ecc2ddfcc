//! On a processor: register tiles of four by four tokens, a block of tokens or a whole example for each unit.

use super::cells::{GROUP, TOKENS, room_vectors, sums_of_blocks};
use super::dots::{End, min_index};
use super::no_less;
use super::ragged::in_place;
use crate::Launch;
use crate::Tuning;
use crate::check::Arg;
use crate::launch::Room;
use crate::norm::columns::{chunk, column_norm, sum_tokens};
use crate::norm::linear::{Bias, Problem};
use crate::reduce::{row_of, sum_lanes};
use cubecl::{ir::ElemType, prelude::*};

/// The narrower and the wider, each with its columns.
fn sorted<'a>(problem: &Problem<'a>) -> [(Arg<'a>, usize); 2] {
    let Problem { a, g, d, p, .. } = problem;
    if d <= p {
        [(*a, *d), (*g, *p)]
    } else {
        [(*g, *p), (*a, *d)]
    }
}

/// How the rows of the narrower and the wider are read.
struct Vectors {
    /// Elements of a vector in memory.
    native: usize,
    /// Elements of a vector in registers, the same for both: the lanes of their dot products are multiplied with each other.
    lanes: usize,
    ends: [End; 2],
}

impl Vectors {
    fn of([(x, x_columns), (y, y_columns)]: &[(Arg<'_>, usize); 2], tuning: &Tuning) -> Self {
        let most = tuning.lanes_of(x.accumulator());
        let native = y.vector(*y_columns, x.vector(*x_columns, most));
        // What is neither of whole vectors nor wide was too little to be copied.
        let whole =
            |arg: &Arg<'_>, columns: usize| arg.vector(columns, most) == most || in_place(columns);
        let lanes = if whole(x, *x_columns) && whole(y, *y_columns) {
            most
        } else {
            native
        };
        Self {
            native,
            lanes,
            ends: [*x_columns, *y_columns].map(|columns| End::of(columns, lanes)),
        }
    }
}

/// Cells of a group's side for examples of `t` tokens.
fn group(t: usize) -> usize {
    blocks(t).min(GROUP)
}

/// Where units keep the dot products of the narrower side, each of them for a group of cells.
pub(in crate::norm) fn room(accumulator: ElemType, t: usize, tuning: &Tuning) -> Room {
    // However a tile's dot products are laid in vectors, so many numbers hold them; a square takes no more than the widest vector.
    let most = tuning.lanes_of(accumulator);
    let numbers = room_vectors(group(t), most) * most;
    Room::of(&[tuning.units as usize, numbers], accumulator)
}

/// Blocks of an example of `t` tokens: each with all tokens behind it has a partial result.
pub(in crate::norm) fn blocks(t: usize) -> usize {
    t.div_ceil(TOKENS)
}

pub(in crate::norm) fn launch_rows(
    launch: &Launch<'_>,
    problem: &Problem<'_>,
    [products, bounds, room]: [&Arg<'_>; 3],
    blocks: usize,
) {
    let Launch { client, tuning, .. } = *launch;
    let Problem { b, t, .. } = problem;
    let sides = sorted(problem);
    let Vectors {
        native,
        lanes,
        ends: [x_end, y_end],
    } = Vectors::of(&sides, tuning);
    let [(x, x_columns), (y, y_columns)] = sides;
    // Blocks of one unit share what they read.
    let per_row = if tuning.takes_whole_examples(*b) {
        group(*t)
    } else {
        1
    };
    let (count, dim) = tuning.grid_in_turn(b * blocks.div_ceil(per_row));
    gram_rows::launch(
        client,
        count,
        dim,
        native,
        lanes,
        x.buffer(native),
        y.buffer(native),
        room.buffer(lanes),
        products.buffer(1),
        bounds.buffer(1),
        *b as u32,
        blocks as u32,
        per_row as u32,
        group(*t) as u32,
        room_vectors(group(*t), lanes) as u32,
        *t as u32,
        (x_columns / native) as u32,
        (y_columns / native) as u32,
        x_end,
        y_end,
        x.dtype(),
        products.dtype(),
    );
}

/// Adds the norms of whole examples, and does what is asked of the bias where that goes by the same vectors; says whether it was done.
pub(in crate::norm) fn launch_examples(
    launch: &Launch<'_>,
    problem: &Problem<'_>,
    room: &Arg<'_>,
    norms_sq: &Arg<'_>,
    bias: Bias<'_>,
) -> bool {
    let Launch { client, tuning, .. } = *launch;
    let Problem { g, b, t, p, .. } = problem;
    let sides = sorted(problem);
    let Vectors {
        native,
        lanes,
        ends: [x_end, y_end],
    } = Vectors::of(&sides, tuning);
    let [(x, x_columns), (y, y_columns)] = sides;
    // By vectors of another width the bias's sums would be other ones than those of `bias_norm_sq`.
    let mut vector = g.vector(*p, tuning.lanes_of(g.accumulator()));
    if let Bias::Kept(kept) = bias {
        vector = kept.vector(*p, vector);
    }
    let bias = if native == vector {
        bias
    } else {
        Bias::Nothing
    };
    // Where none are kept the kernel has no use for the buffer.
    let (keeps, kept) = match bias {
        Bias::Kept(kept) => (true, kept.buffer(native)),
        _ => (false, room.buffer(lanes)),
    };
    let (count, dim) = tuning.grid(*b, 1);
    gram_examples::launch(
        client,
        count,
        dim,
        native,
        lanes,
        x.buffer(native),
        y.buffer(native),
        g.buffer(native),
        room.buffer(lanes),
        norms_sq.buffer(1),
        kept,
        *b as u32,
        group(*t) as u32,
        room_vectors(group(*t), lanes) as u32,
        *t as u32,
        (x_columns / native) as u32,
        (y_columns / native) as u32,
        (p / native) as u32,
        x_end,
        y_end,
        bias.is_asked(),
        keeps,
        chunk(p / native, tuning),
        x.dtype(),
        norms_sq.dtype(),
    );
    bias.is_asked()
}

/// One unit takes `per_row` blocks of tokens, each against itself and all that are behind it, of the upper triangle of one example's Gram matrices.
#[cube(launch)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn gram_rows<F: Float, E: Float, NM: Size, N: Size>(
    x: &[Vector<F, NM>],
    y: &[Vector<F, NM>],
    room: &mut [Vector<E, N>],
    products: &mut [E],
    bounds: &mut [E],
    examples: u32,
    blocks: u32,
    per_row: u32,
    group: u32,
    share: u32,
    tokens: u32,
    x_columns: u32,
    y_columns: u32,
    #[comptime] x_end: End,
    #[comptime] y_end: End,
    #[define(F)] _dtype: ElemType,
    #[define(E)] _accumulator: ElemType,
) {
    // A block has the less to do the later it is in its example: the first of all examples come first, and of each round of the units the unit
    // that was the last begins the next, so that none has all the larger ones.
    let (examples, blocks, per_row) = (examples as usize, blocks as usize, per_row as usize);
    let row = row_of(1u32);
    let units = CUBE_DIM as usize;
    let turned = row / units * units + (units - 1 - row % units);
    let place = select(row / units % 2 == 0, row, turned);
    let example = place % examples;
    let start = place / examples * per_row;
    if start < blocks {
        let end = min_index(start + per_row, blocks);
        let (of_blocks, bounds_of_blocks) = sums_of_blocks::<F, E, NM, N>(
            x,
            y,
            room,
            UNIT_POS as usize * share as usize,
            group as usize,
            example * tokens as usize,
            start,
            end,
            tokens,
            x_columns,
            y_columns,
            x_end,
            y_end,
        );
        for block in start..end {
            products[example * blocks + block] = of_blocks[block - start];
            bounds[example * blocks + block] = bounds_of_blocks[block - start];
        }
    }
}

/// One unit takes an example: what [`gram_rows`] and [`finish_gram`](super::finish_gram) do, to the bit, and with `bias` the norm of the sum of
/// G's tokens as [`column_norms`](crate::norm::columns::column_norms) takes it; where one `keeps` these sums they are written too.
#[cube(launch)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn gram_examples<F: Float, E: Float, NM: Size, N: Size>(
    x: &[Vector<F, NM>],
    y: &[Vector<F, NM>],
    g: &[Vector<F, NM>],
    room: &mut [Vector<E, N>],
    norms_sq: &mut [E],
    kept: &mut [Vector<E, NM>],
    examples: u32,
    group: u32,
    share: u32,
    tokens: u32,
    x_columns: u32,
    y_columns: u32,
    g_columns: u32,
    #[comptime] x_end: End,
    #[comptime] y_end: End,
    #[comptime] bias: bool,
    #[comptime] keeps: bool,
    #[comptime] chunk: usize,
    #[define(F)] _dtype: ElemType,
    #[define(E)] _accumulator: ElemType,
) {
    let b = row_of(1u32);
    if b < examples as usize {
        let blocks = (tokens as usize + comptime!(TOKENS - 1)) / comptime!(TOKENS);
        let mut sum = E::new(0.0);
        let mut bound = E::new(0.0);
        let mut start = 0usize;
        while start < blocks {
            let end = min_index(start + group as usize, blocks);
            let (of_blocks, bounds_of_blocks) = sums_of_blocks::<F, E, NM, N>(
                x,
                y,
                room,
                UNIT_POS as usize * share as usize,
                group as usize,
                b * tokens as usize,
                start,
                end,
                tokens,
                x_columns,
                y_columns,
                x_end,
                y_end,
            );
            for block in start..end {
                sum += of_blocks[block - start];
                bound += bounds_of_blocks[block - start];
            }
            start = end;
        }
        norms_sq[b] += no_less::<E>(sum, bound);
        if comptime!(keeps) {
            norms_sq[b] += kept_columns::<F, E, NM>(g, kept, b, tokens, g_columns, chunk);
        } else if comptime!(bias) {
            norms_sq[b] +=
                column_norm::<F, E, NM>(g, g, b, tokens, g_columns, 0usize, false, chunk, chunk);
        }
    }
}

/// What [`column_norm`] gives, with the sums over the tokens written to row `b` of `kept`.
#[cube]
fn kept_columns<F: Float, E: Float, N: Size>(
    g: &[Vector<F, N>],
    kept: &mut [Vector<E, N>],
    b: usize,
    tokens: u32,
    columns: u32,
    #[comptime] chunk: usize,
) -> E {
    let mut squares = Vector::<E, N>::new(E::new(0.0));
    let mut column = 0usize;
    while column < columns as usize {
        let sums = sum_tokens::<F, E, N>(g, g, b, tokens, columns, column, false, chunk);
        #[unroll]
        for i in 0..chunk {
            kept[b * columns as usize + column + i] = sums[i];
            squares += sums[i] * sums[i];
        }
        column += chunk;
    }
    sum_lanes::<E, N>(squares)
}
