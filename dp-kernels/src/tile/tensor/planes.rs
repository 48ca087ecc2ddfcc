//! The instruction that multiplies what a plane has in its registers, `[16, 16]` by `[16, 8]`, on NVIDIA GPUs from compute capability 8.0 on.
//!
//! Eight planes, two down and four across the tile, each with [`ROWS`] by [`COLUMNS`] results of the instruction, of which a unit has two pairs
//! of neighbouring columns, eight rows apart.

use super::{LANES, MatrixUnits, Pair, SIDE};
use crate::tile::Deep;
use cubecl::cmma::{MatrixIdent, MmaDefinition};
use cubecl::ir::{ElemType, FloatKind, features::MmaConfig};
use cubecl::{client::Client, prelude::*};

/// The instruction's rows, columns and depth.
const SHAPE: [usize; 3] = [16, 8, 16];
/// Results of the instruction that a plane has below each other.
const ROWS: usize = 4;
/// And beside each other.
const COLUMNS: usize = 4;

const DEPTH: usize = MatrixUnits::Planes.depth();
/// Vectors of a row in shared memory, where the depth is contiguous: one more than are used, so that eight rows start in eight banks.
const DEEP_PITCH: usize = DEPTH / LANES + 1;
/// Likewise, where the tile's side is.
const WIDE_PITCH: usize = SIDE / LANES + 1;
/// Vectors that hold one stage of one operand.
pub(super) const STAGE: usize = SIDE * DEEP_PITCH;

/// Whether the device has the instruction for f16 and bf16, with fragments as this module lays them out.
pub(super) fn has(client: &Client) -> bool {
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

/// Row of the tile, and the first of its two columns, where pair `s` lies: pair `(m * COLUMNS + n) * 2 + half` is in result `(m, n)`.
#[cube]
pub(super) fn place(#[comptime] s: usize) -> (usize, usize) {
    let (m, n, half) = comptime!((s / 2 / COLUMNS, s / 2 % COLUMNS, s % 2));
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

/// Where in a stage the vector lies that begins at row `i` and depth `k`.
#[cube]
pub(super) fn vector(i: usize, k: usize, #[comptime] deep: bool) -> usize {
    if comptime!(deep) {
        i * comptime!(DEEP_PITCH) + k / comptime!(LANES)
    } else {
        k * comptime!(WIDE_PITCH) + i / comptime!(LANES)
    }
}

/// `part += X Y^T` of the stages in slot `slot`.
#[cube]
pub(super) fn multiply<F: Float, N: Size>(
    x: &Shared<[Vector<F, N>]>,
    y: &Shared<[Vector<F, N>]>,
    slot: usize,
    part: &mut Array<Pair>,
    #[comptime] deep: Deep,
) {
    let def = MmaDefinition::<F, F, f32>::new(16usize, 8usize, 16usize);
    let (row, column) = corner();
    let first = slot * comptime!(STAGE);
    #[unroll]
    for step in 0..comptime!(DEPTH / SHAPE[2]) {
        let k0 = comptime!(step * SHAPE[2]);
        let mut right = Array::<Vector<F, Const<2>>>::new(comptime!(2 * COLUMNS));
        #[unroll]
        for two in 0..comptime!(COLUMNS / 2) {
            let j = column + comptime!(two * 2 * SHAPE[1]);
            let at = first + matrix_row(j, k0, true, comptime!(deep.y));
            let four = def.load_matrix::<Vector<F, N>, Const<2>>(
                &y[at..at + 1],
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
                &x[at..at + 1],
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
