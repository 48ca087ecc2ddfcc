//! On a processor: register tiles, a block of the weight for each unit.

use super::LinearSum;
use crate::Launch;
use crate::live::is_live;
use crate::outer::{
    BLOCK_COLUMNS, BLOCK_ROWS, DEPTH, LONG, Outer, Tile, add_products, load_row, part_of, zeros,
};
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
    let shape = Outer::new(&[g, out], [*d, *p], LONG, tuning);
    let [block_rows, block_columns] = shape.block([*d, *p], 1, tuning);
    let tasks = d.div_ceil(block_rows) * p.div_ceil(block_columns);
    let (count, dim) = tuning.grid_in_turn(tasks);
    let group = group(*b, *t);
    weighted_outer_registers::launch(
        client,
        count,
        dim,
        shape.native,
        shape.lanes,
        a.buffer(1),
        g.buffer(shape.native),
        factors.buffer(1),
        out.buffer(shape.native),
        SizesLaunch::new(
            *b as u32,
            *t as u32,
            *d as u32,
            (p / shape.native) as u32,
            block_rows as u32,
            (block_columns / shape.native) as u32,
            group as u32,
        ),
        group < *b,
        *t > DEPTH,
        shape.tile,
        a.dtype(),
        out.dtype(),
    );
}

/// How many examples a register tile adds up before it is added to the sum: more than one where they are short, or the
/// sum would be read and written for every few tokens.
///
/// A number then goes through one addition a token of its group and one a group. That is to be no more than one a token
/// of its own example and one an example, which is what [`Tuning::weighted_sum_depth`] says.
fn group(examples: usize, tokens: usize) -> usize {
    let depth = |group: usize| group * tokens + examples.div_ceil(group);
    let mut group = (DEPTH / tokens).clamp(1, examples);
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
    /// Examples whose tokens a panel holds together.
    group: u32,
}

/// One unit owns a block of the weight, and walks the microbatch group by group of examples; where `long`, one by one and in stretches of their tokens.
/// Where there are `several` groups it adds them up in memory of its own, and goes through `out` once.
///
/// The columns of G are scaled as they are laid into the panel. Of a dead example neither G nor A is read.
#[cube(launch)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn weighted_outer_registers<F: Float, E: Float, NM: Size, N: Size>(
    a: &[F],
    g: &[Vector<F, NM>],
    factors: &[E],
    out: &mut [Vector<E, NM>],
    sizes: Sizes,
    #[comptime] several: bool,
    #[comptime] long: bool,
    #[comptime] tile: Tile,
    #[define(F)] _dtype: ElemType,
    #[define(E)] _accumulator: ElemType,
) {
    let (a_columns, g_columns) = (sizes.a_columns as usize, sizes.g_columns as usize);
    let (block_rows, block_columns) = (sizes.block_rows as usize, sizes.block_columns as usize);
    let (examples, tokens) = (sizes.examples as usize, sizes.tokens as usize);
    let across = (g_columns + block_columns - 1) / block_columns;
    let task = row_of(1u32);
    let first_row = task / across * block_rows;
    let first_column = task % across * block_columns;
    let last_row = min(first_row + block_rows, a_columns);
    let last_column = min(first_column + block_columns, g_columns);
    // None where there is no such block.
    let last_column = select(first_row < last_row, last_column, 0usize);
    let (native, lanes) = (NM::value(), N::value());
    let panel_columns = comptime!(tile.columns * lanes / native);
    let mut panel = Array::<Vector<E, N>>::new(comptime!(DEPTH * tile.columns));
    let mut live = LiveTokens::<E> {
        starts: Array::<usize>::new(DEPTH),
        rows: Array::<usize>::new(DEPTH),
        factors: Array::<E>::new(DEPTH),
    };
    let mut example =
        Array::<Vector<E, N>>::new(comptime!(if long { BLOCK_ROWS * tile.columns } else { 1 }));
    let mut block = Array::<Vector<E, N>>::new(comptime!(if several {
        BLOCK_ROWS * BLOCK_COLUMNS / lanes
    } else {
        1
    }));
    if comptime!(several) {
        for s in 0..comptime!(BLOCK_ROWS * BLOCK_COLUMNS / lanes) {
            block[s] = Vector::<E, N>::new(E::new(0.0));
        }
    }
    let mut first = 0usize;
    while first < examples {
        let last = min(first + sizes.group as usize, examples);
        // A group of short examples is one stretch, which all panels of the block are laid from.
        let mut count = 0usize;
        if comptime!(!long) {
            count = list_live::<E>(&mut live, factors, &sizes, first, last, 0usize, tokens);
        }
        let mut column = first_column;
        while column < last_column {
            let of_block =
                (column - first_column) / panel_columns * comptime!(BLOCK_ROWS * tile.columns);
            let mut begin = 0usize;
            while begin < tokens {
                let end = min(begin + comptime!(DEPTH), tokens);
                if comptime!(long) {
                    count = list_live::<E>(&mut live, factors, &sizes, first, last, begin, end);
                }
                lay_live::<F, E, NM, N>(g, &live, &mut panel, count, column, g_columns, tile);
                if count > 0 {
                    let mut i = first_row;
                    // Whole tiles, then what is left, in code of its own.
                    #[unroll]
                    for part in 0..2usize {
                        let height = comptime!(if part == 0 { tile.rows } else { tile.tail });
                        if comptime!(height > 0) {
                            while i + height <= last_row {
                                weighted_tile::<F, E, NM, N>(
                                    a,
                                    &live.starts,
                                    &panel,
                                    &mut example,
                                    &mut block,
                                    out,
                                    count,
                                    i,
                                    (i - first_row) * tile.columns,
                                    of_block,
                                    column,
                                    g_columns,
                                    begin > 0,
                                    end < tokens,
                                    several,
                                    long,
                                    height,
                                    tile,
                                );
                                i += height;
                            }
                        }
                    }
                }
                begin = end;
            }
            column += panel_columns;
        }
        first = last;
    }
    if comptime!(several) {
        let mut column = first_column;
        while column < last_column {
            let of_block =
                (column - first_column) / panel_columns * comptime!(BLOCK_ROWS * tile.columns);
            for i in first_row..last_row {
                let mut sums = Array::<Vector<E, N>>::new(tile.columns);
                #[unroll]
                for v in 0..tile.columns {
                    sums[v] = block[of_block + (i - first_row) * tile.columns + v];
                }
                add_tile::<E, NM, N>(&sums, out, i, column, g_columns, 1usize, tile);
            }
            column += panel_columns;
        }
    }
}

/// Where the rows of a group's live tokens begin, in A and in G, and their examples' factors.
#[derive(CubeType)]
struct LiveTokens<E: Float> {
    starts: Array<usize>,
    rows: Array<usize>,
    factors: Array<E>,
}

/// Lists tokens `begin..end` of the live ones of examples `first..last`, and says how many there are.
#[cube]
fn list_live<E: Float>(
    live: &mut LiveTokens<E>,
    factors: &[E],
    sizes: &Sizes,
    first: usize,
    last: usize,
    begin: usize,
    end: usize,
) -> usize {
    let mut count = 0usize;
    for b in first..last {
        let factor = factors[b];
        if is_live::<E>(factor) {
            let of_example = b * sizes.tokens as usize;
            for token in of_example + begin..of_example + end {
                live.starts[count] = token * sizes.a_columns as usize;
                live.rows[count] = token * sizes.g_columns as usize;
                live.factors[count] = factor;
                count += 1;
            }
        }
    }
    count
}

/// Lays the panel's columns of the first `count` listed rows of G side by side, each times its factor.
#[cube]
fn lay_live<F: Float, E: Float, NM: Size, N: Size>(
    g: &[Vector<F, NM>],
    live: &LiveTokens<E>,
    panel: &mut Array<Vector<E, N>>,
    count: usize,
    column: usize,
    g_columns: usize,
    #[comptime] tile: Tile,
) {
    for row in 0..count {
        load_row::<F, E, NM, N>(g, panel, row, live.rows[row], column, g_columns, tile);
        let factor = Vector::<E, N>::new(live.factors[row]);
        #[unroll]
        for v in 0..tile.columns {
            panel[row * tile.columns + v] *= factor;
        }
    }
}

/// A tile's products over the panel, into the block or into `out`. Those of a long example go on in `example` from stretch to stretch (`goes_on`: there
/// were some before, `waits`: there are some to come), so that a number goes through one addition a token and one an example.
#[cube]
#[allow(clippy::too_many_arguments)]
fn weighted_tile<F: Float, E: Float, NM: Size, N: Size>(
    a: &[F],
    starts: &Array<usize>,
    panel: &Array<Vector<E, N>>,
    example: &mut Array<Vector<E, N>>,
    block: &mut Array<Vector<E, N>>,
    out: &mut [Vector<E, NM>],
    depth: usize,
    row: usize,
    kept: usize,
    of_block: usize,
    column: usize,
    g_columns: usize,
    goes_on: bool,
    waits: bool,
    #[comptime] several: bool,
    #[comptime] long: bool,
    #[comptime] rows: usize,
    #[comptime] tile: Tile,
) {
    let mut sums = zeros::<E, N>(comptime!(rows * tile.columns));
    if comptime!(long) {
        if goes_on {
            #[unroll]
            for s in 0..rows * tile.columns {
                sums[s] = example[kept + s];
            }
        }
    }
    add_products::<F, E, N>(
        a,
        starts,
        panel,
        &mut sums,
        depth,
        row,
        1usize,
        rows,
        tile.columns,
    );
    if comptime!(long).runtime() && waits {
        if comptime!(long) {
            #[unroll]
            for s in 0..rows * tile.columns {
                example[kept + s] = sums[s];
            }
        }
    } else if comptime!(several) {
        #[unroll]
        for s in 0..rows * tile.columns {
            block[of_block + kept + s] += sums[s];
        }
    } else {
        add_tile::<E, NM, N>(&sums, out, row, column, g_columns, rows, tile);
    }
}

/// `out += sums`, of a tile of `rows` from `row` and `column` on.
#[cube]
fn add_tile<E: Float, NM: Size, N: Size>(
    sums: &Array<Vector<E, N>>,
    out: &mut [Vector<E, NM>],
    row: usize,
    column: usize,
    g_columns: usize,
    #[comptime] rows: usize,
    #[comptime] tile: Tile,
) {
    let (native, lanes) = (NM::value(), N::value());
    let parts = comptime!(lanes / native);
    #[unroll]
    for u in 0..rows {
        #[unroll]
        for v in 0..tile.columns {
            let sum = sums[u * tile.columns + v];
            #[unroll]
            for part in 0..parts {
                let place = column + comptime!(v * parts + part);
                if comptime!(!tile.padded).runtime() || place < g_columns {
                    out[(row + u) * g_columns + place] += part_of::<E, NM, N>(sum, part);
                }
            }
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
            matrix_units: None,
            routine: Routine::Registers,
        };
        for examples in 1..200usize {
            for tokens in 1..80 {
                let group = group(examples, tokens);
                assert!(
                    group == 1 || group * tokens <= DEPTH,
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
