//! On a processor: register tiles, a block of the weight for each unit.

use super::LinearSum;
use crate::Launch;
use crate::live::is_live;
use crate::outer::{Outer, block, outer_tile, zeros};
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
    let sizes = SizesLaunch::new(
        *b as u32,
        *t as u32,
        *d as u32,
        (p / vector) as u32,
        block_rows as u32,
        (block_columns / vector) as u32,
    );
    let (a, g, factors) = (a.buffer(1), g.buffer(vector), factors.buffer(1));
    let (dtype, accumulator) = (sum.a.dtype(), out.dtype());
    let out = out.buffer(vector);
    match group(*b, *t) {
        1 => weighted_outer_registers::launch(
            client,
            count,
            dim,
            vector,
            a,
            g,
            factors,
            out,
            sizes,
            shape.rows,
            shape.columns,
            dtype,
            accumulator,
        ),
        group => grouped_outer_registers::launch(
            client,
            count,
            dim,
            vector,
            a,
            g,
            factors,
            out,
            sizes,
            group as u32,
            shape.rows,
            shape.columns,
            dtype,
            accumulator,
        ),
    }
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

/// What is summed, and the block of the weight that is a unit's; columns of G and of a block are vectors.
#[derive(CubeType, CubeLaunch, Clone, Copy)]
pub(crate) struct Sizes {
    examples: u32,
    tokens: u32,
    a_columns: u32,
    g_columns: u32,
    block_rows: u32,
    block_columns: u32,
}

/// The rows and columns of a unit's block, `(first row, last row, first column, last column)`; none where it has no block.
#[cube]
fn block_of(sizes: &Sizes) -> (usize, usize, usize, usize) {
    let (block_rows, block_columns) = (sizes.block_rows as usize, sizes.block_columns as usize);
    let across = (sizes.g_columns as usize + block_columns - 1) / block_columns;
    let task = row_of(1u32);
    let first_row = task / across * block_rows;
    let first_column = task % across * block_columns;
    let last_row = min(first_row + block_rows, sizes.a_columns as usize);
    let last_column = min(first_column + block_columns, sizes.g_columns as usize);
    let last_column = select(first_row < last_row, last_column, 0usize);
    (first_row, last_row, first_column, last_column)
}

/// One unit owns a block of the weight, and walks the microbatch example by example.
#[cube(launch)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn weighted_outer_registers<F: Float, E: Float, N: Size>(
    a: &[F],
    g: &[Vector<F, N>],
    factors: &[E],
    out: &mut [Vector<E, N>],
    sizes: Sizes,
    #[comptime] tile_rows: usize,
    #[comptime] tile_columns: usize,
    #[define(F)] _dtype: ElemType,
    #[define(E)] _accumulator: ElemType,
) {
    let (first_row, last_row, first_column, last_column) = block_of(&sizes);
    let (a_columns, g_columns) = (sizes.a_columns as usize, sizes.g_columns as usize);
    let tokens = sizes.tokens as usize;
    for b in 0..sizes.examples as usize {
        // The example's sum is scaled by it, not every token.
        let factor = factors[b];
        if is_live::<E>(factor) {
            let mut column = first_column;
            while column < last_column {
                let mut i = first_row;
                while i < last_row {
                    // From zero, not from `out`: a number then goes through one addition a token of its own example and
                    // one an example, not through one for every token of the batch.
                    let mut sums = zeros::<E, N>(comptime!(tile_rows * tile_columns));
                    outer_tile::<F, E, N>(
                        a,
                        g,
                        &mut sums,
                        b * tokens,
                        tokens,
                        a_columns,
                        g_columns,
                        i,
                        column,
                        tile_rows,
                        tile_columns,
                    );
                    add_tile::<E, N>(
                        &sums,
                        factor,
                        out,
                        i,
                        column,
                        g_columns,
                        tile_rows,
                        tile_columns,
                    );
                    i += tile_rows;
                }
                column += tile_columns;
            }
        }
    }
}

/// Likewise group by group of short examples, whose tokens a tile adds up together.
///
/// The group's columns of G are scaled and laid side by side once for all tiles of the block. Of a dead example neither G
/// nor A is read.
#[cube(launch)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn grouped_outer_registers<F: Float, E: Float, N: Size>(
    a: &[F],
    g: &[Vector<F, N>],
    factors: &[E],
    out: &mut [Vector<E, N>],
    sizes: Sizes,
    group: u32,
    #[comptime] tile_rows: usize,
    #[comptime] tile_columns: usize,
    #[define(F)] _dtype: ElemType,
    #[define(E)] _accumulator: ElemType,
) {
    let (first_row, last_row, first_column, last_column) = block_of(&sizes);
    let (a_columns, g_columns) = (sizes.a_columns as usize, sizes.g_columns as usize);
    let (examples, tokens) = (sizes.examples as usize, sizes.tokens as usize);
    let mut panel = Array::<Vector<E, N>>::new(comptime!(GROUP_TOKENS * tile_columns));
    let mut a_starts = Array::<usize>::new(GROUP_TOKENS);
    let mut first = 0usize;
    while first < examples {
        let last = min(first + group as usize, examples);
        let mut column = first_column;
        while column < last_column {
            let mut live = 0usize;
            for b in first..last {
                let factor = factors[b];
                if is_live::<E>(factor) {
                    for token in b * tokens..(b + 1) * tokens {
                        a_starts[live] = token * a_columns;
                        #[unroll]
                        for v in 0..tile_columns {
                            let term = Vector::<E, N>::cast_from(g[token * g_columns + column + v]);
                            panel[live * tile_columns + v] = term * Vector::<E, N>::new(factor);
                        }
                        live += 1;
                    }
                }
            }
            let mut i = first_row;
            while i < last_row {
                let mut sums = zeros::<E, N>(comptime!(tile_rows * tile_columns));
                for token in 0..live {
                    let a_at = a_starts[token] + i;
                    #[unroll]
                    for u in 0..tile_rows {
                        let left = Vector::<E, N>::new(E::cast_from(a[a_at + u]));
                        #[unroll]
                        for v in 0..tile_columns {
                            let right = panel[token * tile_columns + v];
                            sums[u * tile_columns + v] =
                                fma(left, right, sums[u * tile_columns + v]);
                        }
                    }
                }
                let scaled = E::new(1.0);
                add_tile::<E, N>(
                    &sums,
                    scaled,
                    out,
                    i,
                    column,
                    g_columns,
                    tile_rows,
                    tile_columns,
                );
                i += tile_rows;
            }
            column += tile_columns;
        }
        first = last;
    }
}

/// `out += scale sums`, at the tile's place.
#[cube]
#[allow(clippy::too_many_arguments)]
fn add_tile<E: Float, N: Size>(
    sums: &Array<Vector<E, N>>,
    scale: E,
    out: &mut [Vector<E, N>],
    row: usize,
    column: usize,
    g_columns: usize,
    #[comptime] tile_rows: usize,
    #[comptime] tile_columns: usize,
) {
    #[unroll]
    for u in 0..tile_rows {
        #[unroll]
        for v in 0..tile_columns {
            let at = (row + u) * g_columns + column + v;
            out[at] = fma(
                sums[u * tile_columns + v],
                Vector::<E, N>::new(scale),
                out[at],
            );
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
                assert!(
                    group == 1 || group * tokens <= GROUP_TOKENS,
                    "B {examples} T {tokens}: room for a group's tokens"
                );
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
