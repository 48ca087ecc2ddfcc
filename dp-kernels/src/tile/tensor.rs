//! A square tile of a matrix product by the matrix units of a GPU: 16-bit floats in, f32 sums.
//!
//! The instruction multiplies `[16, 16]` by `[16, 8]` (mma.m16n8k16). Products of two f16 or bf16 are exact in it; it adds them up in f32 by
//! cutting, where other sums round. So it takes [`STRETCH`] terms at most, and rounded additions take over: docs/proofs/sensitivity.md
//! says what that costs.
//!
//! What a unit holds of a tile: for each of [`ROWS`] by [`COLUMNS`] results of the instruction two pairs of neighbouring
//! columns, eight rows apart ([`place`]).
//!
//! References: NVIDIA, "Parallel Thread Execution ISA", matrix fragments for mma.m16n8k16 and ldmatrix; M. Fasi, N. Higham, M. Mikaitis,
//! S. Pranesh, "Numerical behavior of NVIDIA tensor cores", PeerJ CS 7:e330 (2021).

use super::Deep;
use crate::Tuning;
use crate::check::Arg;
use cubecl::cmma::{MatrixIdent, MmaDefinition};
use cubecl::ir::{ElemType, FloatKind, features::MmaConfig};
use cubecl::prelude::barrier::copy_async_checked;
use cubecl::{client::Client, prelude::*};

/// Rows and columns of a cube's tile.
pub(crate) const SIDE: usize = 128;
/// Elements of a load: 16 bytes.
pub(crate) const LANES: usize = 8;
/// Depth staged at once.
pub(crate) const DEPTH: usize = 32;
/// Terms that the instruction adds up before a rounded addition takes over.
pub(crate) const STRETCH: usize = 8 * DEPTH;
/// Units of a cube: eight planes, two down and four across.
pub(crate) const UNITS: u32 = 256;
/// Results of the instruction that a plane has below each other.
pub(crate) const ROWS: usize = 4;
/// And beside each other.
pub(crate) const COLUMNS: usize = 4;
/// Pairs of columns that a unit holds.
pub(crate) const PAIRS: usize = 2 * ROWS * COLUMNS;

/// Vectors of a row in shared memory, where the depth is contiguous: one more than are used, so that eight rows start in eight banks.
const DEEP_PITCH: usize = DEPTH / LANES + 1;
/// Likewise, where the tile's side is.
const WIDE_PITCH: usize = SIDE / LANES + 1;
/// Vectors that hold one stage of one operand.
const STAGE: usize = SIDE * DEEP_PITCH;
/// Stages in shared memory.
const SLOTS: usize = 3;
/// Vectors of a stage that a unit loads.
const LOADS: usize = SIDE * DEPTH / (LANES * UNITS as usize);

/// The instruction's rows, columns and depth.
const SHAPE: [usize; 3] = [16, 8, 16];

/// Whether the device has the instruction for f16 and bf16, with fragments as this module lays them out.
pub(crate) fn has(client: &Client) -> bool {
    let features = &client.properties().features;
    let matmul = &features.matmul;
    let single = ElemType::Float(FloatKind::F32);
    let halves = [FloatKind::F16, FloatKind::BF16];
    features.copy_async
        && halves.into_iter().all(|kind| {
            let half = ElemType::Float(kind);
            let config = MmaConfig {
                a_type: half,
                b_type: half,
                cd_type: single,
                m: SHAPE[0] as u32,
                n: SHAPE[1] as u32,
                k: SHAPE[2] as u32,
            };
            matmul.mma.contains(&config) && matmul.ldmatrix.contains(&half)
        })
}

/// Whether the products of `a [.., d]` and `g [.., p]` are taken here: a 16-bit type, and rows of whole loads.
pub(crate) fn takes(a: &Arg<'_>, d: usize, g: &Arg<'_>, p: usize, tuning: &Tuning) -> bool {
    tuning.tensor_cores
        && a.dtype().size() == 2
        && a.vector(d, LANES) == LANES
        && g.vector(p, LANES) == LANES
}

/// One cube for each of `tiles` tiles; a kernel must ignore cubes past the last.
pub(crate) fn grid(tiles: usize, tuning: &Tuning) -> (CubeCount, CubeDim) {
    let (count, _) = super::grid(tiles, tuning);
    (count, CubeDim::new_1d(UNITS))
}

/// A unit's part of a tile: pair `(m * COLUMNS + n) * 2 + half` lies at [`place`]`(m, n, half)`.
pub(crate) type Pair = Vector<f32, Const<2>>;

/// A unit's part of a tile, all zeros.
#[cube]
pub(crate) fn no_sums() -> Array<Pair> {
    let mut sums = Array::<Pair>::new(PAIRS);
    #[unroll]
    for s in 0..PAIRS {
        sums[s] = Pair::new(0.0f32);
    }
    sums
}

/// Row of the tile, and the first of its two columns, where pair `half` of result `(m, n)` lies.
#[cube]
pub(crate) fn place(
    #[comptime] m: usize,
    #[comptime] n: usize,
    #[comptime] half: usize,
) -> (usize, usize) {
    let lane = UNIT_POS as usize % 32usize;
    let (row, column) = corner();
    (
        row + comptime!(m * SHAPE[0] + half * 8) + lane / 4usize,
        column + comptime!(n * SHAPE[1]) + lane % 4usize * 2usize,
    )
}

/// First row and column of this plane's part of the tile.
#[cube]
fn corner() -> (usize, usize) {
    let plane = UNIT_POS as usize / 32usize;
    let across = comptime!(SIDE / (COLUMNS * SHAPE[1]));
    (
        plane / across * comptime!(ROWS * SHAPE[0]),
        plane % across * comptime!(COLUMNS * SHAPE[1]),
    )
}

/// Both operands' stages, [`SLOTS`] of each: one is multiplied while the others are filled.
#[derive(CubeType)]
pub(crate) struct Stages<F: Float, N: Size> {
    x: Shared<[Vector<F, N>]>,
    y: Shared<[Vector<F, N>]>,
}

#[cube]
impl<F: Float, N: Size> Stages<F, N> {
    pub(crate) fn new() -> Self {
        Stages::<F, N> {
            x: Shared::<[Vector<F, N>]>::new_aligned_slice(comptime!(SLOTS * STAGE), 16usize),
            y: Shared::<[Vector<F, N>]>::new_aligned_slice(comptime!(SLOTS * STAGE), 16usize),
        }
    }
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

/// Begins to fill slot `stage % SLOTS` with the stage of both operands that begins at depth `k0`, which nobody may be reading; nothing
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
    let slot = stage % comptime!(SLOTS) * comptime!(STAGE);
    copy::<F, N>(
        &mut stages.x,
        slot,
        x,
        x_operand,
        k0,
        live,
        comptime!(deep.x),
    );
    copy::<F, N>(
        &mut stages.y,
        slot,
        y,
        y_operand,
        k0,
        live,
        comptime!(deep.y),
    );
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
    #[comptime] deep: bool,
) {
    #[unroll]
    for load in 0..LOADS {
        let (i, k) = spot(load, deep);
        let inside = live && operand.first + i < operand.rows && k0 + k < operand.depths;
        let from = if comptime!(deep) {
            operand.start + (operand.first + i) * operand.stride + k0 + k
        } else {
            operand.start + (k0 + k) * operand.stride + operand.first + i
        };
        let to = if comptime!(deep) {
            slot + i * comptime!(DEEP_PITCH) + k / comptime!(LANES)
        } else {
            slot + k * comptime!(WIDE_PITCH) + i / comptime!(LANES)
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
fn spot(#[comptime] load: usize, #[comptime] deep: bool) -> (usize, usize) {
    let at = comptime!(load * UNITS as usize) + UNIT_POS as usize;
    if comptime!(deep) {
        let across = comptime!(DEPTH / LANES);
        (at / across, at % across * comptime!(LANES))
    } else {
        let across = comptime!(SIDE / LANES);
        (at % across * comptime!(LANES), at / across)
    }
}

/// Waits for the oldest stage that is being loaded. After it every unit has done with the stage before, whose slot may be filled.
///
/// Every unit of the cube must call it.
#[cube]
pub(crate) fn turn() {
    // All but the newest of the two: SLOTS - 2.
    gpu_asm!("cp.async.wait_group 1;");
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

/// `part += X Y^T` of stage number `stage`.
#[cube]
pub(crate) fn multiply<F: Float, N: Size>(
    stages: &mut Stages<F, N>,
    stage: usize,
    part: &mut Array<Pair>,
    #[comptime] deep: Deep,
) {
    let def = MmaDefinition::<F, F, f32>::new(16usize, 8usize, 16usize);
    let (row, column) = corner();
    let first = stage % comptime!(SLOTS) * comptime!(STAGE);
    #[unroll]
    for step in 0..comptime!(DEPTH / SHAPE[2]) {
        let k0 = comptime!(step * SHAPE[2]);
        let mut right = Array::<Vector<F, Const<2>>>::new(comptime!(2 * COLUMNS));
        #[unroll]
        for two in 0..comptime!(COLUMNS / 2) {
            let j = column + comptime!(two * 2 * SHAPE[1]);
            let at = first + matrix_row(j, k0, true, comptime!(deep.y));
            let four = def.load_matrix::<Vector<F, N>, Const<2>>(
                &stages.y[at..at + 1],
                MatrixIdent::B,
                4usize,
                comptime!(!deep.y),
            );
            #[unroll]
            for q in 0..4usize {
                right[comptime!(two * 4 + q)] = four[q];
            }
        }
        #[unroll]
        for m in 0..ROWS {
            let i = row + comptime!(m * SHAPE[0]);
            let at = first + matrix_row(i, k0, false, comptime!(deep.x));
            let left = def.load_matrix::<Vector<F, N>, Const<2>>(
                &stages.x[at..at + 1],
                MatrixIdent::A,
                4usize,
                comptime!(!deep.x),
            );
            #[unroll]
            for n in 0..COLUMNS {
                let mut other = Array::<Vector<F, Const<2>>>::new(2usize);
                other[0] = right[comptime!(2 * n)];
                other[1] = right[comptime!(2 * n + 1)];
                let pair = comptime!((m * COLUMNS + n) * 2);
                let mut sums = Array::<Pair>::new(2usize);
                sums[0] = part[pair];
                sums[1] = part[comptime!(pair + 1)];
                let done = def.execute(&left, &other, &sums);
                part[pair] = done[0];
                part[comptime!(pair + 1)] = done[1];
            }
        }
    }
}

/// Where in a stage this lane's row of the four 8 by 8 matrices lies that make up 16 rows of the tile, from `first` on, by 16 of the depth.
///
/// Lanes `8 j ..` give the rows of matrix `j`. Of a left operand matrices 1 and 3 lie eight rows down and 2 and 3 eight deeper; of a
/// right operand it is the other way round, so that registers 0 and 1 are one result's columns, and 2 and 3 the next one's.
#[cube]
fn matrix_row(
    first: usize,
    #[comptime] k0: usize,
    #[comptime] is_right: bool,
    #[comptime] deep: bool,
) -> usize {
    let lane = UNIT_POS as usize % 32usize;
    let matrix = lane / 8usize;
    let line = lane % 8usize;
    let (down, below) = if comptime!(is_right) {
        (matrix / 2usize, matrix % 2usize)
    } else {
        (matrix % 2usize, matrix / 2usize)
    };
    if comptime!(deep) {
        (first + down * 8usize + line) * comptime!(DEEP_PITCH) + comptime!(k0 / LANES) + below
    } else {
        (below * 8usize + comptime!(k0) + line) * comptime!(WIDE_PITCH)
            + first / comptime!(LANES)
            + down
    }
}

/// How many stages a depth has.
#[cube]
pub(crate) fn stages_of(depth: usize) -> usize {
    (depth + comptime!(DEPTH - 1)) / comptime!(DEPTH)
}

/// Whether `part` has to be taken away after stage `stage` of `count`.
#[cube]
pub(crate) fn ends_stretch(stage: usize, count: usize) -> bool {
    let stretch = comptime!(STRETCH / DEPTH);
    stage % stretch == comptime!(STRETCH / DEPTH - 1) || stage + 1 == count
}

/// `sums += scale part`, and `part` is zeros again.
#[cube]
pub(crate) fn take(part: &mut Array<Pair>, sums: &mut Array<Pair>, scale: f32) {
    #[unroll]
    for s in 0..PAIRS {
        sums[s] = fma(part[s], Pair::new(scale), sums[s]);
        part[s] = Pair::new(0.0f32);
    }
}

/// Begins to load the first two stages of a product. Every unit of the cube must call it; no load may be under way.
#[cube]
pub(crate) fn begin<F: Float, N: Size>(
    stages: &mut Stages<F, N>,
    x: &[Vector<F, N>],
    y: &[Vector<F, N>],
    x_operand: &Operand,
    y_operand: &Operand,
    #[comptime] deep: Deep,
) {
    load::<F, N>(
        stages, 0usize, x, y, x_operand, y_operand, 0usize, true, deep,
    );
    load_next::<F, N>(stages, 1usize, x, y, x_operand, y_operand, deep);
}

/// Begins to load stage number `stage` of a product, if it has so many.
#[cube]
pub(crate) fn load_next<F: Float, N: Size>(
    stages: &mut Stages<F, N>,
    stage: usize,
    x: &[Vector<F, N>],
    y: &[Vector<F, N>],
    x_operand: &Operand,
    y_operand: &Operand,
    #[comptime] deep: Deep,
) {
    let k0 = stage * comptime!(DEPTH);
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
    let mut sums = no_sums();
    let mut part = no_sums();
    let count = stages_of(x_operand.depths);
    begin::<F, N>(stages, x, y, x_operand, y_operand, deep);
    for stage in 0..count {
        turn();
        load_next::<F, N>(stages, stage + 2, x, y, x_operand, y_operand, deep);
        multiply::<F, N>(stages, stage, &mut part, deep);
        if ends_stretch(stage, count) {
            take(&mut part, &mut sums, 1.0f32);
        }
    }
    finish();
    sums
}

/// Row length of a tile that is written, in pairs: four more than it has, so that eight rows start in different banks.
const OUT_PITCH: usize = SIDE / 2 + 4;

/// Writes the tile to `out`, rows of `columns` elements from element `start` on, its own part from row `first_row` and column `first_column` on,
/// rounded to `F`; what lies past `rows` and `columns` is left out. Gives this unit's sum of squares of what was written.
///
/// By way of shared memory, so that neighbouring units write neighbouring vectors. Every unit of the cube must call it.
#[cube]
#[allow(clippy::too_many_arguments)]
pub(crate) fn write_tile<F: Float, N: Size>(
    tile: &Array<Pair>,
    out: &mut [Vector<F, N>],
    start: usize,
    first_row: usize,
    first_column: usize,
    rows: usize,
    columns: usize,
) -> f32 {
    let mut staged =
        Shared::<[Vector<F, Const<2>>]>::new_aligned_slice(comptime!(SIDE * OUT_PITCH), 16usize);
    let mut squares = 0.0f32;
    #[unroll]
    for s in 0..PAIRS {
        let (u, v) = place(
            comptime!(s / 2 / COLUMNS),
            comptime!(s / 2 % COLUMNS),
            comptime!(s % 2),
        );
        let rounded = Vector::<F, Const<2>>::cast_from(tile[s]);
        staged[u * comptime!(OUT_PITCH) + v / 2usize] = rounded;
        // Past the ends these are zeros.
        let back = Pair::cast_from(rounded);
        squares = fma(back.extract(0usize), back.extract(0usize), squares);
        squares = fma(back.extract(1usize), back.extract(1usize), squares);
    }
    sync_cube();
    let vectors = staged.with_vector_size::<N>();
    let across = comptime!(SIDE / LANES);
    #[unroll]
    for turn in 0..comptime!(SIDE * SIDE / (LANES * UNITS as usize)) {
        let at = comptime!(turn * UNITS as usize) + UNIT_POS as usize;
        let (u, v) = (at / across, at % across);
        let (row, column) = (first_row + u, first_column + v * comptime!(LANES));
        if row < rows && column < columns {
            let to = (start + row * columns + column) / comptime!(LANES);
            out[to] = vectors[u * comptime!(OUT_PITCH * 2 / LANES) + v];
        }
    }
    sync_cube();
    squares
}
