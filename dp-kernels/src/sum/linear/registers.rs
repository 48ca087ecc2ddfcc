//! On a processor: register tiles, a block of the weight for each unit.

use super::LinearSum;
use crate::Launch;
use crate::live::is_live;
use crate::outer::{Outer, block, outer_tile, outer_token, zeros};
use crate::reduce::row_of;
use cubecl::prelude::*;

pub(super) fn launch(launch: &Launch<'_>, sum: &LinearSum<'_>) {
    let Launch { client, tuning, .. } = *launch;
    let LinearSum {
        a,
        g,
        factors,
        out,
        b,
        t,
        d,
        p,
        ..
    } = sum;
    let shape = Outer::new(a, g, *d, *p, tuning);
    let vector = shape.vector.min(out.vector(*p, shape.vector));
    let panel = vector * shape.columns;
    let [block_rows, block_columns] = block([*d, *p], [shape.rows, panel], 1, tuning);
    let tasks = d.div_ceil(block_rows) * p.div_ceil(block_columns);
    let (count, dim) = tuning.grid(tasks, 1);
    weighted_outer_registers::launch(
        client,
        count,
        dim,
        vector,
        a.buffer(1),
        g.buffer(vector),
        factors.buffer(1),
        out.buffer(vector),
        *b as u32,
        *t as u32,
        *d as u32,
        (p / vector) as u32,
        group(*b, *t) as u32,
        block_rows as u32,
        (block_columns / vector) as u32,
        group(*b, *t) > 1,
        *t == 1,
        shape.rows,
        shape.columns,
        a.dtype(),
        out.dtype(),
    );
}

/// Tokens of a group's examples, at most: with two vectors of 64 bytes a token, 32 KiB of `G`.
const GROUP_TOKENS: usize = 256;

/// How many examples a register tile adds up before it is added to the sum: more than one where they are short, or the
/// sum would be read and written for every few tokens.
///
/// A number then goes through one addition a token of its group and one a group. That is to be no more than one a token
/// of its own example and one an example, which is what [`Tuning::weighted_sum_depth`] says.
fn group(examples: usize, tokens: usize) -> usize {
    let depth = |group: usize| group * tokens + examples.div_ceil(group);
    let mut group = (GROUP_TOKENS / tokens).clamp(1, examples);
    while depth(group) > depth(1) {
        group -= 1;
    }
    group
}

/// One unit owns a block of the weight, and walks the microbatch group by group of examples.
#[cube(launch)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn weighted_outer_registers<F: Float, E: Float, N: Size>(
    a: &[F],
    g: &[Vector<F, N>],
    factors: &[E],
    out: &mut [Vector<E, N>],
    examples: u32,
    tokens: u32,
    a_columns: u32,
    g_columns: u32,
    group: u32,
    block_rows: u32,
    block_columns: u32,
    #[comptime] grouped: bool,
    #[comptime] one_token: bool,
    #[comptime] tile_rows: usize,
    #[comptime] tile_columns: usize,
    #[define(F)] _dtype: ElemType,
    #[define(E)] _accumulator: ElemType,
) {
    let task = row_of(1u32);
    let across = (g_columns as usize + block_columns as usize - 1) / block_columns as usize;
    let first_row = task / across * block_rows as usize;
    let first_column = task % across * block_columns as usize;
    if first_row < a_columns as usize {
        let last_row = min(first_row + block_rows as usize, a_columns as usize);
        let last_column = min(first_column + block_columns as usize, g_columns as usize);
        let mut first = 0usize;
        while first < examples as usize {
            let last = min(first + group as usize, examples as usize);
            let mut column = first_column;
            while column < last_column {
                let mut i = first_row;
                while i < last_row {
                    // From zero, not from `out`: a number then goes through one addition a token of its own group and
                    // one a group, not through one for every token of the batch.
                    let mut sums = zeros::<E, N>(comptime!(tile_rows * tile_columns));
                    for b in first..last {
                        let factor = factors[b];
                        if is_live::<E>(factor) {
                            // One token has no loop of its own, which would cost as much as the token.
                            if comptime!(one_token) {
                                let a_at = b * a_columns as usize + i;
                                let g_at = b * g_columns as usize + column;
                                outer_token::<F, E, N>(
                                    a,
                                    g,
                                    &mut sums,
                                    a_at,
                                    g_at,
                                    factor,
                                    grouped,
                                    tile_rows,
                                    tile_columns,
                                );
                            } else {
                                outer_tile::<F, E, N>(
                                    a,
                                    g,
                                    &mut sums,
                                    b * tokens as usize,
                                    tokens as usize,
                                    a_columns as usize,
                                    g_columns as usize,
                                    i,
                                    column,
                                    factor,
                                    grouped,
                                    tile_rows,
                                    tile_columns,
                                );
                            }
                        }
                    }
                    // An example by itself is scaled once, not at every token; a dead one's sums are zeros.
                    let mut scale = E::new(1.0);
                    if comptime!(!grouped) {
                        scale = select(is_live::<E>(factors[first]), factors[first], E::new(0.0));
                    }
                    #[unroll]
                    for u in 0..tile_rows {
                        #[unroll]
                        for v in 0..tile_columns {
                            let at = (i + u) * g_columns as usize + column + v;
                            let part = sums[u * tile_columns + v];
                            out[at] = fma(part, Vector::<E, N>::new(scale), out[at]);
                        }
                    }
                    i += tile_rows;
                }
                column += tile_columns;
            }
            first = last;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Routine, Tuning};

    /// However examples are grouped, a number goes through no more additions than the rounding allowance counts.
    #[test]
    fn groups_are_no_deeper_than_the_allowance() {
        let tuning = Tuning {
            is_cpu: true,
            units: 2,
            vector_bytes: 64,
            max_cubes: 1 << 16,
            busy_cubes: 4,
            tensor_cores: false,
            routine: Routine::Registers,
        };
        for examples in 1..200usize {
            for tokens in 1..80 {
                let group = group(examples, tokens);
                for microbatches in [1, 2, 9] {
                    let depth = group * tokens + examples.div_ceil(group) * microbatches + 1;
                    let allowed = tuning.weighted_sum_depth(
                        examples as u64,
                        tokens as u64,
                        microbatches as u64,
                    );
                    assert!(
                        depth as u64 <= allowed,
                        "B {examples} T {tokens}: groups of {group}"
                    );
                }
            }
        }
        assert_eq!([group(256, 1), group(16, 128), group(16, 2)], [256, 1, 8]);
    }
}
