//! The instruction by which four planes multiply `[64, 16]` by `[16, columns]` that lie in shared memory, on GPUs of compute capability 9.0.
//!
//! Two warpgroups, one below the other. A stage is rows of 128 bytes: of an operand whose depth is contiguous a row of the tile each, 64 deep; of
//! the others a depth each, of the first 64 of the tile's rows, then of the next. Eight rows have their 16 bytes in eight orders, so
//! that a column of them lies in all banks ("128-byte swizzle").
//!
//! The sums lie in registers that this module declares and only the instruction and [`settle`] touch: it goes on while other instructions run, and
//! a compiler that knew of them would move them about.

use super::{LANES, MatrixUnits, Pair, SIDE, Tiling};
use crate::tile::Deep;
use cubecl::{client::Client, ir::FloatKind, prelude::*};

/// The instruction's rows and depth.
const SHAPE: [usize; 2] = [64, 16];
/// Vectors of 128 bytes.
pub(super) const ROW: usize = 128 / 16;
/// Rows whose vectors are in orders of their own.
const GROUP: usize = 8;
/// Depth of a stage.
const DEPTH: usize = MatrixUnits::Warpgroups.depth();
/// Bytes that groups of rows are aligned to.
pub(super) const ALIGNMENT: usize = GROUP * ROW * 16;

/// Whether the device has the instruction: what its kernels are compiled for says it, since later ones lack it.
pub(super) fn has(client: &Client) -> bool {
    client.properties().identity.fingerprint == "ptx_sm90"
}

/// Row of the tile, and the first of its two columns, where pair `s` lies: pair `2 n + half` is in columns `8 n ..`, eight rows down where it is the
/// second half.
#[cube]
pub(super) fn place(#[comptime] s: usize) -> (usize, usize) {
    let unit = UNIT_POS as usize;
    let lane = unit % 32usize;
    (
        unit / 32usize * 16usize + lane / 4usize + comptime!(s % 2 * 8),
        lane % 4usize * 2usize + comptime!(s / 2 * 8),
    )
}

/// Where in a stage the vector lies that begins at row `i` of the tile and depth `k`.
#[cube]
pub(super) fn vector(i: usize, k: usize, #[comptime] deep: bool) -> usize {
    let (line, across) = if comptime!(deep) {
        (i, k / comptime!(LANES))
    } else {
        let of_line = comptime!(ROW * LANES);
        (
            i / of_line * comptime!(DEPTH) + k,
            i % of_line / comptime!(LANES),
        )
    };
    line * comptime!(ROW) + (across ^ (line % comptime!(GROUP)))
}

/// Declares the registers of the sums, once in a kernel.
#[cube]
pub(super) fn declare_sums(#[comptime] tiling: Tiling) {
    gpu_asm!(".reg .f32 warpgroup_sum<{}>;", const comptime!(2 * tiling.pairs()));
}

/// Their names in a row.
fn sums(tiling: Tiling) -> String {
    let names: Vec<_> = (0..2 * tiling.pairs())
        .map(|s| format!("warpgroup_sum{s}"))
        .collect();
    format!("{{{}}}", names.join(", "))
}

/// Where in shared memory the stages of an operand begin, in 16 bytes.
#[cube]
pub(super) fn address<F: Float, N: Size>(stages: &Shared<[Vector<F, N>]>) -> u64 {
    // SAFETY: only the address is taken.
    let at = unsafe { stages.as_ptr_unchecked() };
    let address: u64;
    gpu_asm!(
        "cvta.to.shared.u64 {address}, {at};",
        address = out(_) address, at = in(_) at,
    );
    (address & 0x3ffffu64) / 16u64
}

/// Shows what this unit copied to the matrix units, which read shared memory by another way than loads do.
#[cube]
pub(super) fn show_copies() {
    gpu_asm!("fence.proxy.async.shared::cta;");
}

/// Begins the products of the stages in slot `slot`, and waits for those of the stage before. Where `fresh` they are the first of their sums.
#[cube]
pub(super) fn multiply<F: Float>(
    x_address: u64,
    y_address: u64,
    slot: usize,
    #[comptime] fresh: bool,
    #[comptime] deep: Deep,
    #[comptime] tiling: Tiling,
) {
    let warpgroup = UNIT_POS / 128u32;
    let slot = slot as u64;
    let x_stage = comptime!(tiling.stage(SIDE) as u64);
    // A warpgroup's rows are half of a stage either way.
    let x_first = x_address + slot * x_stage + u64::cast_from(warpgroup) * comptime!(x_stage / 2);
    let y_first = y_address + slot * comptime!(tiling.stage(tiling.columns) as u64);
    let kind = name_of::<F>();
    gpu_asm!("wgmma.fence.sync.aligned;");
    #[unroll]
    for step in 0..comptime!(DEPTH / SHAPE[1]) {
        let x = comptime!(descriptor(deep.x, step)) + x_first;
        let y = comptime!(descriptor(deep.y, step)) + y_first;
        gpu_asm!(
            "{{",
            ".reg .pred goes_on;",
            "setp.ne.b32 goes_on, {goes_on}, 0;",
            "wgmma.mma_async.sync.aligned.m64n{columns}k16.f32.{kind}.{kind} {sums}, {x}, {y}, goes_on, 1, 1, {x_across}, {y_across};",
            "}}",
            goes_on = const comptime!(u32::from(step > 0 || !fresh)), x = in(_) x, y = in(_) y,
            columns = const comptime!(tiling.columns), sums = const sums(tiling),
            x_across = const comptime!(u32::from(!deep.x)), y_across = const comptime!(u32::from(!deep.y)),
        );
    }
    gpu_asm!("wgmma.commit_group.sync.aligned;");
    gpu_asm!("wgmma.wait_group.sync.aligned 1;");
}

/// What tells the instruction how its factor lies from a start on that is added to it, in 16 bytes, at step `step` of a stage.
///
/// Bits 16 to 29: from 64 of the tile's rows to the next, where depths follow each other. Bits 32 to 45: from eight rows to the next
/// eight. Bits 62 and 63: the order of 16 bytes in 128.
const fn descriptor(deep: bool, step: usize) -> u64 {
    let group = (GROUP * ROW) as u64;
    let (next, start) = if deep {
        (1, (step * SHAPE[1] / LANES) as u64)
    } else {
        ((DEPTH * ROW) as u64, (step * SHAPE[1] * ROW) as u64)
    };
    1 << 62 | group << 32 | next << 16 | start
}

/// Waits for all products, and reads their sums.
#[cube]
pub(super) fn settle(part: &mut Array<Pair>, #[comptime] tiling: Tiling) {
    gpu_asm!("wgmma.wait_group.sync.aligned 0;");
    #[unroll]
    for s in 0..comptime!(tiling.pairs()) {
        let first: f32;
        let second: f32;
        gpu_asm!("mov.b32 {to}, warpgroup_sum{s};", to = out(_) first, s = const comptime!(2 * s));
        gpu_asm!("mov.b32 {to}, warpgroup_sum{s};", to = out(_) second, s = const comptime!(2 * s + 1));
        let mut pair = Pair::new(0.0f32);
        pair.insert(0usize, first);
        pair.insert(1usize, second);
        part[s] = pair;
    }
}

/// The instruction's name of `F`.
#[cube]
// Only the expansion, which clippy doesn't see, asks for its type.
#[allow(clippy::extra_unused_type_parameters)]
fn name_of<F: Float>() -> comptime_type!(&'static str) {
    intrinsic!(|scope| match F::elem_type(scope) {
        ElemType::Float(FloatKind::F16) => "f16",
        _ => "bf16",
    })
}
