//! A tile of a matrix product by the matrix units of a GPU: 16-bit floats in, f32 sums.
//!
//! Two instructions do it ([`MatrixUnits`]). Products of two f16 or bf16 are exact in either; it adds up 16 of them at a time in f32 by
//! cutting, where other sums round. So where a norm is to be that of what is summed elsewhere it takes [`STRETCH`] terms at most, and rounded
//! additions take over: docs/proofs/sensitivity.md says what that costs. Products of a layer, and gradients that are kept as they are
//! written, go without.
//!
//! What a unit holds of a tile: [`Tiling::pairs`] pairs of neighbouring columns ([`place`]).
//!
//! References: NVIDIA, "Parallel Thread Execution ISA", matrix fragments for mma.m16n8k16, ldmatrix and wgmma; M. Fasi, N. Higham, M. Mikaitis,
//! S. Pranesh, "Numerical behavior of NVIDIA tensor cores", PeerJ CS 7:e330 (2021).

mod cut;
mod planes;
mod warpgroups;
mod write;

pub(crate) use cut::{Cut, grid, part_depth, walking_grid};
pub(crate) use write::{write_sums, write_tile};

use super::Deep;
use crate::Tuning;
use crate::check::Arg;
use cubecl::prelude::barrier::copy_async_checked;
use cubecl::{client::Client, prelude::*};

/// Which of a GPU's instructions multiplies matrices of 16-bit floats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MatrixUnits {
    /// `mma.m16n8k16`, which multiplies what a plane has in its registers: NVIDIA GPUs from compute capability 8.0 on.
    Planes,
    /// `wgmma`, which reads the factors from shared memory by itself: compute capability 9.0 alone.
    Warpgroups,
}

impl MatrixUnits {
    /// What the device has, for f16 and bf16 alike.
    pub(crate) fn of(client: &Client) -> Option<Self> {
        // Asynchronous copies are for both, and a compiler that lacks them lacks inline PTX.
        if !planes::has(client) {
            None
        } else if warpgroups::has(client) {
            Some(Self::Warpgroups)
        } else {
            Some(Self::Planes)
        }
    }

    /// Depth staged at once.
    pub(crate) const fn depth(self) -> usize {
        match self {
            Self::Planes => 32,
            Self::Warpgroups => 64,
        }
    }

    /// Stages that are being loaded while one is multiplied.
    pub(crate) const fn ahead(self) -> usize {
        match self {
            Self::Planes => 2,
            Self::Warpgroups => 3,
        }
    }

    /// Stages in shared memory: those, the one that is multiplied, and where products go on beside the next barrier that of the stage before.
    const fn slots(self) -> usize {
        match self {
            Self::Planes => 3,
            Self::Warpgroups => 5,
        }
    }

    /// Columns that a tile may have, the fewest first. A wider one loads less for each product, but a unit that holds its sums twice, so as to take
    /// them in stretches, has no registers for more.
    const fn widths(self) -> &'static [usize] {
        match self {
            Self::Planes => &[SIDE],
            Self::Warpgroups => &[SIDE, 192],
        }
    }
}

/// How a cube's tile is made: [`SIDE`] rows, by which units, how many columns, and whether the instruction adds up no more than [`STRETCH`] terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Tiling {
    pub units: MatrixUnits,
    pub columns: usize,
    pub stretches: bool,
}

impl Tiling {
    /// As many columns as rows, in stretches.
    pub(crate) const fn square(units: MatrixUnits) -> Self {
        Self {
            units,
            columns: SIDE,
            stretches: true,
        }
    }

    /// Of examples' products of `columns` columns. Whatever the number of examples, and whatever else the device has: an example's norm has
    /// the same bits in every microbatch.
    pub(crate) fn of_columns(units: MatrixUnits, columns: usize, stretches: bool) -> Self {
        let loaded = |width: &&usize| columns.div_ceil(**width) * (SIDE + **width);
        Self {
            units,
            columns: units
                .widths()
                .iter()
                .min_by_key(loaded)
                .map_or(SIDE, |w| *w),
            stretches,
        }
    }

    /// Pairs of columns that a unit holds.
    pub(crate) const fn pairs(self) -> usize {
        SIDE * self.columns / (2 * UNITS as usize)
    }

    /// Vectors that hold one stage of an operand of so many rows.
    const fn stage(self, rows: usize) -> usize {
        match self.units {
            MatrixUnits::Planes => planes::STAGE,
            MatrixUnits::Warpgroups => rows * warpgroups::ROW,
        }
    }

    /// Vectors of such a stage that a unit loads.
    const fn loads(self, rows: usize) -> usize {
        rows * self.units.depth() / (LANES * UNITS as usize)
    }
}

/// Rows of a cube's tile, and the columns of a square one.
pub(crate) const SIDE: usize = 128;
/// Elements of a load: 16 bytes.
pub(crate) const LANES: usize = 8;
/// Tokens under which an example fills too little of a stage.
pub(crate) const LEAST_DEPTH: usize = 32;
/// Terms that the instruction adds up before a rounded addition takes over.
pub(crate) const STRETCH: usize = 256;
/// Units of a cube: eight planes, or two warpgroups of four.
pub(crate) const UNITS: u32 = 256;

/// What takes the products of `a [.., d]` and `g [.., p]` here, if anything: a 16-bit type, and rows of whole loads.
pub(crate) fn takes(
    a: &Arg<'_>,
    d: usize,
    g: &Arg<'_>,
    p: usize,
    tuning: &Tuning,
) -> Option<MatrixUnits> {
    let fits = a.dtype().size() == 2 && a.vector(d, LANES) == LANES && g.vector(p, LANES) == LANES;
    tuning.matrix_units.filter(|_| fits)
}

/// A unit's part of a tile: pair `s` lies at [`place`]`(s, units)`.
pub(crate) type Pair = Vector<f32, Const<2>>;

/// A unit's part of a tile, all zeros.
#[cube]
pub(crate) fn no_sums(#[comptime] tiling: Tiling) -> Array<Pair> {
    let mut sums = Array::<Pair>::new(comptime!(tiling.pairs()));
    #[unroll]
    for s in 0..comptime!(tiling.pairs()) {
        sums[s] = Pair::new(0.0f32);
    }
    sums
}

/// Row of the tile, and the first of its two columns, where pair `s` lies.
#[cube]
pub(crate) fn place(#[comptime] s: usize, #[comptime] units: MatrixUnits) -> (usize, usize) {
    match comptime!(units) {
        MatrixUnits::Planes => planes::place(s),
        MatrixUnits::Warpgroups => warpgroups::place(s),
    }
}

/// Both operands' stages: one is multiplied while others are filled.
#[derive(CubeType)]
pub(crate) struct Stages<F: Float, N: Size> {
    x: Shared<[Vector<F, N>]>,
    y: Shared<[Vector<F, N>]>,
    /// Where they are for [`MatrixUnits::Warpgroups`], in 16 bytes; nothing for others.
    x_address: u64,
    y_address: u64,
    /// Whether `y` is `x`, and isn't loaded a second time.
    same: bool,
    #[cube(comptime)]
    pub tiling: Tiling,
}

#[cube]
impl<F: Float, N: Size> Stages<F, N> {
    /// A kernel has them once.
    pub(crate) fn new(#[comptime] tiling: Tiling) -> Self {
        let slots = comptime!(tiling.units.slots());
        let x = Shared::<[Vector<F, N>]>::new_aligned_slice(
            comptime!(slots * tiling.stage(SIDE)),
            warpgroups::ALIGNMENT,
        );
        let y = Shared::<[Vector<F, N>]>::new_aligned_slice(
            comptime!(slots * tiling.stage(tiling.columns)),
            warpgroups::ALIGNMENT,
        );
        let mut x_address = 0u64.runtime();
        let mut y_address = 0u64.runtime();
        if comptime!(matches!(tiling.units, MatrixUnits::Warpgroups)) {
            warpgroups::declare_sums(tiling);
            x_address = warpgroups::address::<F, N>(&x);
            y_address = warpgroups::address::<F, N>(&y);
        }
        Stages::<F, N> {
            x,
            y,
            x_address,
            y_address,
            same: false.runtime(),
            tiling,
        }
    }

    /// Says whether both operands of what follows are the same rows of a square tile, so that one of them will do. No load may be under way.
    pub(crate) fn are_same(&mut self, same: bool) {
        // What planes read is chosen when they are compiled.
        if comptime!(matches!(self.tiling.units, MatrixUnits::Warpgroups)) {
            self.same = same;
        }
    }
}

/// Both operands of a product.
#[derive(CubeType, Clone, Copy)]
pub(crate) struct Operands {
    pub x: Operand,
    pub y: Operand,
}

/// One operand: `X[i, k] = values[start + i * row + k * depth]` of elements, of which one of `row` and `depth` is 1; zeros past `rows` and
/// `depths`. `first` is the tile's first row.
#[derive(CubeType, Clone, Copy)]
pub(crate) struct Operand {
    pub start: usize,
    pub first: usize,
    pub rows: usize,
    pub depths: usize,
    /// Elements from one row to the next, where the depth is contiguous; else from one depth to the next.
    pub stride: usize,
}

/// Begins to fill the slot of stage number `stage` with the stage of both operands that begins at depth `k0`, which nobody may be reading; nothing
/// where nothing is `live`, and zeros past the operands' ends.
///
/// Every unit of the cube must call it, once for each stage and in their order.
#[cube]
#[allow(clippy::too_many_arguments)]
pub(crate) fn load<F: Float, N: Size>(
    stages: &mut Stages<F, N>,
    stage: usize,
    x: &[Vector<F, N>],
    y: &[Vector<F, N>],
    x_operand: &Operand,
    y_operand: &Operand,
    k0: usize,
    live: bool,
    #[comptime] deep: Deep,
) {
    let tiling = comptime!(stages.tiling);
    let slot = stage % comptime!(tiling.units.slots());
    copy::<F, N>(
        &mut stages.x,
        slot,
        x,
        x_operand,
        k0,
        live,
        SIDE,
        comptime!(deep.x),
        tiling,
    );
    if !stages.same {
        copy::<F, N>(
            &mut stages.y,
            slot,
            y,
            y_operand,
            k0,
            live,
            comptime!(tiling.columns),
            comptime!(deep.y),
            tiling,
        );
    }
    gpu_asm!("cp.async.commit_group;");
}

/// Commits a stage that has nothing to load, so that [`turn`] can count.
#[cube]
pub(crate) fn load_nothing() {
    gpu_asm!("cp.async.commit_group;");
}

/// This unit's share of one operand's stage, copied without passing through registers: a compiler moves a load that does to where its
/// value is used, after the products that were to hide it.
#[cube]
fn copy<F: Float, N: Size>(
    slots: &mut Shared<[Vector<F, N>]>,
    slot: usize,
    values: &[Vector<F, N>],
    operand: &Operand,
    k0: usize,
    live: bool,
    #[comptime] rows: usize,
    #[comptime] deep: bool,
    #[comptime] tiling: Tiling,
) {
    let units = comptime!(tiling.units);
    let slot = slot * comptime!(tiling.stage(rows));
    #[unroll]
    for load in 0..comptime!(tiling.loads(rows)) {
        let (i, k) = spot(load, deep, units);
        let inside = live && operand.first + i < operand.rows && k0 + k < operand.depths;
        let from = if comptime!(deep) {
            operand.start + (operand.first + i) * operand.stride + k0 + k
        } else {
            operand.start + (k0 + k) * operand.stride + operand.first + i
        };
        let to = slot
            + match comptime!(units) {
                MatrixUnits::Planes => planes::vector(i, k, deep),
                MatrixUnits::Warpgroups => warpgroups::vector(i, k, deep),
            };
        // Outside nothing is read, whatever the address, but it must be one of the buffer's.
        let at = select(inside, from / comptime!(LANES), 0usize);
        let count = select(inside, 1usize, 0usize);
        copy_async_checked(
            &values[at..at + count],
            &mut slots[to..to + 1],
            LANES as u32,
        );
    }
}

/// Row of the tile and depth of the stage where this unit's load number `load` lies.
#[cube]
fn spot(
    #[comptime] load: usize,
    #[comptime] deep: bool,
    #[comptime] units: MatrixUnits,
) -> (usize, usize) {
    let unit = UNIT_POS as usize;
    let before = comptime!(load * UNITS as usize);
    if comptime!(deep) {
        let across = comptime!(units.depth() / LANES);
        let at = before + unit;
        (at / across, at % across * comptime!(LANES))
    } else {
        // 64 rows of every depth, then the next.
        let across = comptime!(BAND / LANES);
        let of_band = comptime!(across * units.depth());
        (
            comptime!(before / of_band * BAND) + unit % across * comptime!(LANES),
            comptime!(before % of_band / across) + unit / across,
        )
    }
}

/// Rows that are loaded together where they are what is contiguous: 128 bytes.
const BAND: usize = 64;

/// Waits for the oldest stage that is being loaded. After it every unit has done with the stage that [`load_ahead`] overwrites.
///
/// Every unit of the cube must call it.
#[cube]
pub(crate) fn turn(#[comptime] units: MatrixUnits) {
    // All but the newest of those that are under way.
    gpu_asm!("cp.async.wait_group {};", const comptime!(units.ahead() - 1));
    if comptime!(matches!(units, MatrixUnits::Warpgroups)) {
        warpgroups::show_copies();
    }
    sync_cube();
}

/// Waits for everything that was loaded: the slots may be used for anything.
///
/// Every unit of the cube must call it.
#[cube]
pub(crate) fn finish() {
    gpu_asm!("cp.async.wait_group 0;");
    sync_cube();
}

/// `part += X Y^T` of stage number `stage`, of which [`settle`] tells before anybody reads `part`; where `fresh` it is the first of a stretch.
///
/// From the first of a stretch to [`settle`] there must be no way past either: where ways meet, an assembler has matrix units finish first.
#[cube]
pub(crate) fn multiply<F: Float, N: Size>(
    stages: &mut Stages<F, N>,
    stage: usize,
    part: &mut Array<Pair>,
    #[comptime] fresh: bool,
    #[comptime] deep: Deep,
) {
    let tiling = comptime!(stages.tiling);
    let slot = stage % comptime!(tiling.units.slots());
    if comptime!(matches!(tiling.units, MatrixUnits::Warpgroups)) {
        let y_address = select(stages.same, stages.x_address, stages.y_address);
        warpgroups::multiply::<F>(stages.x_address, y_address, slot, fresh, deep, tiling);
    } else {
        planes::multiply::<F, N>(&stages.x, &stages.y, slot, part, deep);
    }
}

/// Waits for the products of a stretch: `part` holds their sums then. Every unit of the cube must call it.
#[cube]
pub(crate) fn settle(part: &mut Array<Pair>, #[comptime] tiling: Tiling) {
    if comptime!(matches!(tiling.units, MatrixUnits::Warpgroups)) {
        warpgroups::settle(part, tiling);
    }
}

/// How many stages a depth has.
#[cube]
pub(crate) fn stages_of(depth: usize, #[comptime] units: MatrixUnits) -> usize {
    (depth + comptime!(units.depth() - 1)) / comptime!(units.depth())
}

/// `sums += scale part`, and `part` is zeros again.
#[cube]
pub(crate) fn take(
    part: &mut Array<Pair>,
    sums: &mut Array<Pair>,
    scale: f32,
    #[comptime] tiling: Tiling,
) {
    #[unroll]
    for s in 0..comptime!(tiling.pairs()) {
        sums[s] = fma(part[s], Pair::new(scale), sums[s]);
        part[s] = Pair::new(0.0f32);
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Every vector of a stage has a place of its own, whichever way it lies, and all are inside.
    #[test]
    fn vectors_of_a_stage_do_not_meet() {
        for units in [MatrixUnits::Planes, MatrixUnits::Warpgroups] {
            for columns in units.widths() {
                let tiling = Tiling {
                    units,
                    columns: *columns,
                    stretches: false,
                };
                for deep in [true, false] {
                    stage_is_filled(tiling, deep);
                }
            }
        }
    }

    fn stage_is_filled(tiling: Tiling, deep: bool) {
        let Tiling { units, columns, .. } = tiling;
        // Rows and depths where a load begins.
        let (rows, depths) = if deep { (1, LANES) } else { (LANES, 1) };
        let mut places = BTreeSet::new();
        for i in (0..columns).step_by(rows) {
            for k in (0..units.depth()).step_by(depths) {
                let place = match units {
                    MatrixUnits::Planes => planes::vector(i, k, deep),
                    MatrixUnits::Warpgroups => warpgroups::vector(i, k, deep),
                };
                assert!(
                    place < tiling.stage(columns),
                    "{tiling:?} {deep}: row {i}, depth {k}"
                );
                places.insert(place);
            }
        }
        assert_eq!(
            places.len(),
            columns * units.depth() / LANES,
            "{tiling:?} {deep}"
        );
    }
}
