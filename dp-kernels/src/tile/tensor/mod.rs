//! A tile of a matrix product by the matrix units of a GPU: 16-bit floats in, f32 sums.
//!
//! Two instructions do it ([`MatrixUnits`]). Products of two f16 or bf16 are exact in either; it adds up 16 of them at a time in f32 by
//! cutting, where other sums round. So where a norm is to be that of what is summed elsewhere it takes [`STRETCH`] terms at most, and rounded
//! additions take over: docs/proofs/sensitivity.md says what that costs. Products of a layer, and gradients that are kept as they are
//! written, go without.
//!
//! What a unit holds of a tile: [`Tiling::pairs`] pairs of neighbouring columns ([`place`]).
//!
//! Both operands pass through shared memory stage by stage (`stages`), a stretch of stages is one run of the instruction (`depth`), and a finished
//! tile is written by rows (`write`).
//!
//! References: NVIDIA, "Parallel Thread Execution ISA", matrix fragments for mma.m16n8k16, ldmatrix and wgmma; M. Fasi, N. Higham, M. Mikaitis,
//! S. Pranesh, "Numerical behavior of NVIDIA tensor cores", PeerJ CS 7:e330 (2021).

mod cut;
mod depth;
mod planes;
mod stages;
mod warpgroups;
mod write;

pub(crate) use cut::{Cut, grid, part_depth, walking_grid};
pub(crate) use depth::{
    Range, begin, end_of_stretch, multiply_stages, product, product_begun, stages_of,
};
pub(crate) use stages::{
    Operand, Operands, Stages, finish, load, load_nothing, multiply, settle, turn,
};
pub(crate) use write::{write_sums, write_tile};

use crate::Tuning;
use crate::check::Arg;
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
