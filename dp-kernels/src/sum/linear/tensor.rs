//! By a GPU's matrix units.

use super::LinearSum;
use crate::Launch;
use crate::check::Arg;
use crate::live::is_live;
use crate::sum::columns::launch_add_columns;
use crate::tile::Deep;
use crate::tile::tensor::{self, MatrixUnits, Operand, Stages};
use cubecl::prelude::*;

pub(super) fn launch(
    launch: &Launch<'_>,
    sum: &LinearSum<'_>,
    partials: &Arg<'_>,
    units: MatrixUnits,
) {
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
    let slices = sum.slices(tuning);
    let (count, dim) = tensor::grid(sum.tiles(tuning) * slices, tuning);
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
        units,
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
    #[comptime] units: MatrixUnits,
    #[define(F)] _dtype: ElemType,
) {
    let (tokens, a_columns, g_columns) = (tokens as usize, a_columns as usize, g_columns as usize);
    let (examples, slices) = (examples as usize, slices as usize);
    let across = (g_columns + comptime!(tensor::SIDE - 1)) / comptime!(tensor::SIDE);
    let down = (a_columns + comptime!(tensor::SIDE - 1)) / comptime!(tensor::SIDE);
    let place = CUBE_POS as usize;
    let slice = place / (across * down);
    if slice < slices {
        let tile = place % (across * down);
        let first_row = tile / across * comptime!(tensor::SIDE);
        let first_column = tile % across * comptime!(tensor::SIDE);
        let per_slice = (examples + slices - 1) / slices;
        let first = min(slice * per_slice, examples);
        let last = min(first + per_slice, examples);
        let mut sums = tensor::no_sums();
        let mut part = tensor::no_sums();
        let mut stages = Stages::<F, N>::new(units);
        let of_example = tensor::stages_of(tokens, units);
        let count = (last - first) * of_example;
        let tile = SliceTile {
            first,
            count,
            of_example,
            first_row,
            first_column,
            tokens,
            a_columns,
            g_columns,
        };
        let ahead = comptime!(units.ahead());
        #[unroll]
        for stage in 0..ahead {
            load_stage::<F, N>(&mut stages, a, g, factors, &tile, stage);
        }
        for stage in 0..count {
            tensor::turn(units);
            load_stage::<F, N>(&mut stages, a, g, factors, &tile, stage + ahead);
            let within = stage % of_example;
            let fresh = tensor::begins_stretch(within, units);
            tensor::multiply::<F, N>(&mut stages, stage, &mut part, fresh, Deep::NONE);
            if tensor::ends_stretch(within, of_example, units) {
                tensor::settle(&mut part, units);
                let factor = factors[first + stage / of_example];
                let scale = select(is_live::<f32>(factor), factor, 0.0f32);
                tensor::take(&mut part, &mut sums, scale);
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
            units,
        );
    }
}

/// One tile of the weight, and the examples of a slice, `count` stages in all, `of_example` each.
#[derive(CubeType, Clone, Copy)]
struct SliceTile {
    first: usize,
    count: usize,
    of_example: usize,
    first_row: usize,
    first_column: usize,
    tokens: usize,
    a_columns: usize,
    g_columns: usize,
}

/// Begins to load stage number `stage` of a slice, if it has so many. A dead example's rows are not read.
#[cube]
fn load_stage<F: Float, N: Size>(
    stages: &mut Stages<F, N>,
    a: &[Vector<F, N>],
    g: &[Vector<F, N>],
    factors: &[f32],
    tile: &SliceTile,
    stage: usize,
) {
    if stage < tile.count {
        let b = tile.first + stage / tile.of_example;
        let k0 = stage % tile.of_example * comptime!(stages.units.depth());
        let x = example_columns(b, tile.first_row, tile.tokens, tile.a_columns);
        let y = example_columns(b, tile.first_column, tile.tokens, tile.g_columns);
        let live = is_live::<f32>(factors[b]);
        tensor::load::<F, N>(stages, stage, a, g, &x, &y, k0, live, Deep::NONE);
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
