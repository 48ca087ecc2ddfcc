//! The stages of both operands in shared memory: filled by asynchronous copies, multiplied by either instruction.

use super::{LANES, MatrixUnits, Pair, SIDE, Tiling, UNITS, planes, warpgroups};
use crate::tile::Deep;
use cubecl::prelude::barrier::copy_async_checked;
use cubecl::prelude::*;

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
