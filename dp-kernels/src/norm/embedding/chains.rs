//! On a processor: the tokens of an id are a chain, found once for all columns, and a unit walks the chains of an example.

use crate::check::Arg;
use crate::norm::columns::chunk;
use crate::outer::zeros;
use crate::reduce::{row_of, sum_lanes};
use crate::{Launch, Tuning};
use cubecl::prelude::*;

/// How the columns are cut. It does not depend on the examples: a norm has the same bits in every microbatch.
pub(super) struct Cut {
    /// Elements of a vector of `G`.
    vector: usize,
    /// Vectors of a row.
    columns: usize,
    /// Neighbouring vectors that are summed at once.
    chunk: usize,
    /// Vectors of a part of a row; the last may have fewer.
    span: usize,
    /// Parts of a row, each of which may be a unit's.
    pub parts: usize,
}

/// A part of a row is no shorter than this: whoever takes it finds the chains by itself.
const SHORTEST: usize = 128;

impl Cut {
    pub(super) fn new(g: &Arg<'_>, p: usize, tuning: &Tuning) -> Self {
        let vector = g.vector(p, tuning.lanes_of(g.accumulator()));
        let columns = p / vector;
        let chunk = chunk(columns, tuning);
        let most = (p / SHORTEST).clamp(1, (tuning.units as usize).min(MOST_PARTS));
        let span = (columns / chunk).div_ceil(most) * chunk;
        Self {
            vector,
            columns,
            chunk,
            span,
            parts: columns.div_ceil(span),
        }
    }
}

/// The most parts of a row: a unit may hold a sum of each.
const MOST_PARTS: usize = 8;

/// Slots of the table in which the ids of `t` tokens are looked up: a power of two, no more than half of them taken.
pub(super) fn slots(t: usize) -> usize {
    (2 * t).next_power_of_two()
}

/// Adds the norms of examples into `out [B]` where each unit takes a `whole` one, otherwise writes their parts, `out [B, parts]`, a unit each.
pub(super) fn launch(
    launch: &Launch<'_>,
    ids: &Arg<'_>,
    g: &Arg<'_>,
    [links, slots]: [&Arg<'_>; 2],
    out: &Arg<'_>,
    [b, t, p]: [usize; 3],
    whole: bool,
) {
    let Launch { client, tuning, .. } = *launch;
    let cut = Cut::new(g, p, tuning);
    let held = if whole { cut.parts } else { 1 };
    let tasks = b * cut.parts / held;
    let (count, dim) = tuning.grid(tasks, 1);
    embedding_chains::launch(
        client,
        count,
        dim,
        cut.vector,
        ids.buffer(1),
        g.buffer(cut.vector),
        links.buffer(1),
        slots.buffer(1),
        out.buffer(1),
        tasks as u32,
        t as u32,
        cut.columns as u32,
        cut.span as u32,
        self::slots(t).ilog2(),
        cut.parts / held,
        held,
        whole,
        cut.chunk,
        ids.dtype(),
        g.dtype(),
        out.dtype(),
    );
}

/// Behind the last token of a chain.
const END: u32 = (1 << 31) - 1;
/// Marks a token that is not the first of its chain. There are fewer tokens: a table of twice as many slots is indexed with 32 bits.
const LATER: u32 = 1 << 31;

/// `|sum of g over a chain|^2`, added up over the chains of an example, by parts of the columns: where a unit takes a `whole` example it adds all of
/// them, `held`, into `out [B]`, else it writes one of `out [B, parts]`; `units` take an example.
#[cube(launch)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn embedding_chains<I: Int, F: Float, E: Float, N: Size>(
    ids: &[I],
    g: &[Vector<F, N>],
    links: &mut [u32],
    slots: &mut [u32],
    out: &mut [E],
    tasks: u32,
    tokens: u32,
    columns: u32,
    span: u32,
    slot_bits: u32,
    #[comptime] units: usize,
    #[comptime] held: usize,
    #[comptime] whole: bool,
    #[comptime] chunk: usize,
    #[define(I)] _id_type: ElemType,
    #[define(F)] _dtype: ElemType,
    #[define(E)] _accumulator: ElemType,
) {
    let task = row_of(1u32);
    if task < tasks as usize {
        let (tokens, columns, span) = (tokens as usize, columns as usize, span as usize);
        let first_token = task / units * tokens;
        let first_part = task % units;
        let first_link = task * tokens;
        link::<I>(
            ids,
            links,
            slots,
            first_token,
            first_link,
            task,
            tokens,
            slot_bits,
        );
        let mut totals = zeros::<E, N>(held);
        for t in 0..tokens {
            let link = links[first_link + t];
            if link < LATER {
                #[unroll]
                for k in 0..held {
                    let from = (first_part + k) * span;
                    let to = min(from + span, columns);
                    totals[k] += chain_squares::<F, E, N>(
                        g,
                        links,
                        first_token,
                        first_link,
                        t,
                        link,
                        columns,
                        from,
                        to,
                        chunk,
                    );
                }
            }
        }
        if comptime!(whole) {
            let mut sum = E::new(0.0);
            #[unroll]
            for k in 0..held {
                sum += sum_lanes::<E, N>(totals[k]);
            }
            out[task] += sum;
        } else {
            out[task] = sum_lanes::<E, N>(totals[0]);
        }
    }
}

/// Makes the chains of an example: `links[t]` is the next token with t's id, or [`END`], with the mark [`LATER`] where there is one before t.
///
/// From the last token to the first, so that the table knows the next one: a slot holds 0, or one more than the token last met with its id. Where
/// another id has the slot, the one after it is tried.
#[cube]
#[allow(clippy::too_many_arguments)]
fn link<I: Int>(
    ids: &[I],
    links: &mut [u32],
    slots: &mut [u32],
    first_token: usize,
    first_link: usize,
    task: usize,
    tokens: usize,
    slot_bits: u32,
) {
    let count = 1usize << slot_bits as usize;
    let first_slot = task * count;
    for slot in 0..count {
        slots[first_slot + slot] = 0u32;
    }
    for back in 0..tokens {
        let t = tokens - 1 - back;
        let id = ids[first_token + t];
        // Multiplicative hashing by the golden ratio (Knuth, The Art of Computer Programming 3, section 6.4): the product's highest bits.
        let mut slot = ((u32::cast_from(id) * 0x9E37_79B1u32) >> (32u32 - slot_bits)) as usize;
        let mut next = slots[first_slot + slot];
        while next > 0u32 && ids[first_token + max(next, 1u32) as usize - 1] != id {
            slot = (slot + 1) % count;
            next = slots[first_slot + slot];
        }
        slots[first_slot + slot] = t as u32 + 1u32;
        if next > 0u32 {
            links[first_link + t] = next - 1u32;
            links[first_link + next as usize - 1] |= LATER;
        } else {
            links[first_link + t] = END;
        }
    }
}

/// `|sum of g over the chain from t on|^2` over the vectors `from..to` of a row, lane by lane; `link` is t's.
#[cube]
#[allow(clippy::too_many_arguments)]
fn chain_squares<F: Float, E: Float, N: Size>(
    g: &[Vector<F, N>],
    links: &mut [u32],
    first_token: usize,
    first_link: usize,
    t: usize,
    link: u32,
    columns: usize,
    from: usize,
    to: usize,
    #[comptime] chunk: usize,
) -> Vector<E, N> {
    let mut squares = Vector::<E, N>::new(E::new(0.0));
    let mut column = from;
    while column < to {
        let mut sums = Array::<Vector<E, N>>::new(chunk);
        let at = (first_token + t) * columns + column;
        #[unroll]
        for i in 0..chunk {
            sums[i] = Vector::<E, N>::cast_from(g[at + i]);
        }
        let mut next = link;
        while next != END {
            let at = (first_token + next as usize) * columns + column;
            #[unroll]
            for i in 0..chunk {
                sums[i] += Vector::<E, N>::cast_from(g[at + i]);
            }
            next = links[first_link + next as usize] & comptime!(!LATER);
        }
        #[unroll]
        for i in 0..chunk {
            squares = fma(sums[i], sums[i], squares);
        }
        column += chunk;
    }
    squares
}
