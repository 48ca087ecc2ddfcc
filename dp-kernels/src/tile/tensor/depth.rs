//! A tile's product over its depth: stages are loaded ahead of those that are multiplied, a stretch at a time.

use super::MatrixUnits;
use super::{
    Operand, Pair, STRETCH, Stages, Tiling, finish, load, load_nothing, multiply, no_sums, settle,
    take, turn,
};
use crate::tile::Deep;
use cubecl::prelude::*;

/// How many stages a depth has.
#[cube]
pub(crate) fn stages_of(depth: usize, #[comptime] units: MatrixUnits) -> usize {
    (depth + comptime!(units.depth() - 1)) / comptime!(units.depth())
}
/// Begins to load the first stages of a product. Every unit of the cube must call it; no load may be under way.
#[cube]
pub(crate) fn begin<F: Float, N: Size>(
    stages: &mut Stages<F, N>,
    x: &[Vector<F, N>],
    y: &[Vector<F, N>],
    x_operand: &Operand,
    y_operand: &Operand,
    #[comptime] deep: Deep,
) {
    let ahead = comptime!(stages.tiling.units.ahead());
    #[unroll]
    for stage in 0..ahead {
        load_or_nothing::<F, N>(stages, stage, x, y, x_operand, y_operand, deep);
    }
}

/// Begins to load the stage that comes so many after `stage` as are loaded ahead. Every unit of the cube must call it after [`turn`].
#[cube]
pub(crate) fn load_ahead<F: Float, N: Size>(
    stages: &mut Stages<F, N>,
    stage: usize,
    x: &[Vector<F, N>],
    y: &[Vector<F, N>],
    x_operand: &Operand,
    y_operand: &Operand,
    #[comptime] deep: Deep,
) {
    let next = stage + comptime!(stages.tiling.units.ahead());
    load_or_nothing::<F, N>(stages, next, x, y, x_operand, y_operand, deep);
}

/// Begins to load stage number `stage` of a product, if it has so many.
#[cube]
fn load_or_nothing<F: Float, N: Size>(
    stages: &mut Stages<F, N>,
    stage: usize,
    x: &[Vector<F, N>],
    y: &[Vector<F, N>],
    x_operand: &Operand,
    y_operand: &Operand,
    #[comptime] deep: Deep,
) {
    let k0 = stage * comptime!(stages.tiling.units.depth());
    if k0 < x_operand.depths {
        load::<F, N>(stages, stage, x, y, x_operand, y_operand, k0, true, deep);
    } else {
        load_nothing();
    }
}

/// `X Y^T` over the whole depth.
///
/// Every unit of the cube must call it; no load may be under way, and none is then.
#[cube]
pub(crate) fn product<F: Float, N: Size>(
    stages: &mut Stages<F, N>,
    x: &[Vector<F, N>],
    y: &[Vector<F, N>],
    x_operand: &Operand,
    y_operand: &Operand,
    #[comptime] deep: Deep,
) -> Array<Pair> {
    begin::<F, N>(stages, x, y, x_operand, y_operand, deep);
    product_begun::<F, N>(stages, x, y, x_operand, y_operand, deep)
}

/// Likewise, of a product whose first stages [`begin`] loads.
#[cube]
pub(crate) fn product_begun<F: Float, N: Size>(
    stages: &mut Stages<F, N>,
    x: &[Vector<F, N>],
    y: &[Vector<F, N>],
    x_operand: &Operand,
    y_operand: &Operand,
    #[comptime] deep: Deep,
) -> Array<Pair> {
    let tiling = comptime!(stages.tiling);
    let mut sums = no_sums(tiling);
    let mut part = no_sums(tiling);
    let count = stages_of(x_operand.depths, comptime!(tiling.units));
    if comptime!(tiling.stretches) {
        let mut first = 0usize;
        while first < count {
            let last = end_of_stretch(first, count, tiling);
            let range = Range { first, last };
            multiply_stages::<F, N>(stages, x, y, x_operand, y_operand, &range, &mut part, deep);
            take(&mut part, &mut sums, 1.0f32, tiling);
            first = last;
        }
    } else if count > 0 {
        let range = Range {
            first: 0usize.runtime(),
            last: count,
        };
        multiply_stages::<F, N>(stages, x, y, x_operand, y_operand, &range, &mut part, deep);
        take(&mut part, &mut sums, 1.0f32, tiling);
    }
    finish();
    sums
}

/// The end of the stretch that begins at stage `first` of `count`.
#[cube]
pub(crate) fn end_of_stretch(first: usize, count: usize, #[comptime] tiling: Tiling) -> usize {
    min(first + comptime!(STRETCH / tiling.units.depth()), count)
}

/// Stages `first..last`, at least one.
#[derive(CubeType, Clone, Copy)]
pub(crate) struct Range {
    pub first: usize,
    pub last: usize,
}

/// Multiplies a stretch of a product, the first of whose stages begins its sums, and begins to load the stages that come so many after its own as are loaded ahead: `part` holds its sums then.
#[cube]
#[allow(clippy::too_many_arguments)]
pub(crate) fn multiply_stages<F: Float, N: Size>(
    stages: &mut Stages<F, N>,
    x: &[Vector<F, N>],
    y: &[Vector<F, N>],
    x_operand: &Operand,
    y_operand: &Operand,
    range: &Range,
    part: &mut Array<Pair>,
    #[comptime] deep: Deep,
) {
    let tiling = comptime!(stages.tiling);
    turn(comptime!(tiling.units));
    load_ahead::<F, N>(stages, range.first, x, y, x_operand, y_operand, deep);
    multiply::<F, N>(stages, range.first, part, true, deep);
    for stage in range.first + 1..range.last {
        turn(comptime!(tiling.units));
        load_ahead::<F, N>(stages, stage, x, y, x_operand, y_operand, deep);
        multiply::<F, N>(stages, stage, part, false, deep);
    }
    settle(part, tiling);
}
