//! By a GPU's matrix units.

use super::LinearSum;
use crate::Launch;
use crate::check::Arg;
use crate::live::is_live;
use crate::sum::columns::launch_add_columns;
use crate::tile::Deep;
use crate::tile::tensor::{self, Cut, Operand, Stages, Tiling};
use cubecl::prelude::*;

pub(super) fn launch(launch: &Launch<'_>, sum: &LinearSum<'_>, partials: &Arg<'_>, cut: Cut) {
    let Launch { client, tuning, .. } = *launch;
    let Cut { tiling, slices } = cut;
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
    let tiles = sum.tiles([tensor::SIDE, tiling.columns]);
    let (count, dim) = tensor::grid(tiles * slices, tuning);
    weighted_outer_tensor::launch(
        client,
        count,
        dim,
        tensor::LANES,
        2,
        a.buffer(tensor::LANES),
        g.buffer(tensor::LANES),
        factors.buffer(1),
        partials.buffer(2),
        *b as u32,
        *t as u32,
        *d as u32,
        *p as u32,
        slices as u32,
        tiling,
        a.dtype(),
    );
    launch_add_columns(launch, partials, out, slices, d * p);
}

/// One cube takes one tile of the weight and one slice of the examples, by the matrix units.
///
/// The examples of a slice follow each other without a pause: while the last stage of one is multiplied, the first of the next is loaded.
#[cube(launch)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn weighted_outer_tensor<F: Float, N: Size, M: Size>(
    a: &[Vector<F, N>],
    g: &[Vector<F, N>],
    factors: &[f32],
    partials: &mut [Vector<f32, M>],
    examples: u32,
    tokens: u32,
    a_columns: u32,
    g_columns: u32,
    slices: u32,
    #[comptime] tiling: Tiling,
    #[define(F)] _dtype: ElemType,
) {
    let (tokens, a_columns, g_columns) = (tokens as usize, a_columns as usize, g_columns as usize);
    let (examples, slices) = (examples as usize, slices as usize);
    let units = comptime!(tiling.units);
    let across = (g_columns + comptime!(tiling.columns - 1)) / comptime!(tiling.columns);
    let down = (a_columns + comptime!(tensor::SIDE - 1)) / comptime!(tensor::SIDE);
    let place = CUBE_POS as usize;
    let slice = place / (across * down);
    if slice < slices {
        let tile = place % (across * down);
        let first_row = tile / across * comptime!(tensor::SIDE);
        let first_column = tile % across * comptime!(tiling.columns);
        let per_slice = (examples + slices - 1) / slices;
        let first = min(slice * per_slice, examples);
        let last = min(first + per_slice, examples);
        let mut sums = tensor::no_sums(tiling);
        let mut part = tensor::no_sums(tiling);
        let mut stages = Stages::<F, N>::new(tiling);
        let of_example = tensor::stages_of(tokens, units);
        let mut next = Next {
            example: first,
            stage: 0usize.runtime(),
            number: 0usize.runtime(),
            live: false.runtime(),
        };
        let tile = SliceTile {
            last,
            of_example,
            first_row,
            first_column,
            tokens,
            a_columns,
            g_columns,
        };
        #[unroll]
        for _ in 0..comptime!(units.ahead()) {
            load_next::<F, N>(&mut stages, a, g, factors, &tile, &mut next);
        }
        let mut number = 0usize;
        for b in first..last {
            let factor = factors[b];
            let scale = select(is_live::<f32>(factor), factor, 0.0f32);
            let mut stage = 0usize;
            while stage < of_example {
                let last = tensor::end_of_stretch(stage, of_example, tiling);
                tensor::turn(units);
                load_next::<F, N>(&mut stages, a, g, factors, &tile, &mut next);
                tensor::multiply::<F, N>(&mut stages, number, &mut part, true, Deep::NONE);
                number += 1;
                stage += 1;
                while stage < last {
                    tensor::turn(units);
                    load_next::<F, N>(&mut stages, a, g, factors, &tile, &mut next);
                    tensor::multiply::<F, N>(&mut stages, number, &mut part, false, Deep::NONE);
                    number += 1;
                    stage += 1;
                }
                tensor::settle(&mut part, tiling);
                tensor::take(&mut part, &mut sums, scale, tiling);
            }
        }
        tensor::finish();
        let start = slice * a_columns * g_columns;
        tensor::write_sums::<M>(
            &sums,
            partials,
            start,
            first_row,
            first_column,
            a_columns,
            g_columns,
            tiling,
        );
    }
}

/// One tile of the weight, and the examples of a slice up to `last`, of `of_example` stages each.
#[derive(CubeType, Clone, Copy)]
struct SliceTile {
    last: usize,
    of_example: usize,
    first_row: usize,
    first_column: usize,
    tokens: usize,
    a_columns: usize,
    g_columns: usize,
}

/// The stage that is loaded next: which of which example, its number in the slice, and whether the example is live, which is asked once.
#[derive(CubeType)]
struct Next {
    example: usize,
    stage: usize,
    number: usize,
    live: bool,
}

/// Begins to load the next stage of a slice, if it has more. A dead example's rows are not read.
#[cube]
fn load_next<F: Float, N: Size>(
    stages: &mut Stages<F, N>,
    a: &[Vector<F, N>],
    g: &[Vector<F, N>],
    factors: &[f32],
    tile: &SliceTile,
    next: &mut Next,
) {
    if next.example < tile.last {
        if next.stage == 0 {
            next.live = is_live::<f32>(factors[next.example]);
        }
        let k0 = next.stage * comptime!(stages.tiling.units.depth());
        let x = example_columns(next.example, tile.first_row, tile.tokens, tile.a_columns);
        let y = example_columns(next.example, tile.first_column, tile.tokens, tile.g_columns);
        tensor::load::<F, N>(stages, next.number, a, g, &x, &y, k0, next.live, Deep::NONE);
        next.number += 1;
        next.stage += 1;
        if next.stage == tile.of_example {
            next.stage = 0usize;
            next.example += 1;
        }
    } else {
        tensor::load_nothing();
    }
}

/// Columns from `first` on of example `b`'s `tokens` rows of `columns`, each token a depth.
#[cube]
fn example_columns(b: usize, first: usize, tokens: usize, columns: usize) -> Operand {
    Operand {
        start: b * tokens * columns,
        first,
        rows: columns,
        depths: tokens,
        stride: columns,
    }
}
