//! `sum_{t,t'} <a_t, a_t'> <g_t, g_t'>`: products of tokens, never a `[d, p]` matrix.

mod cells;
mod dots;
mod ragged;
mod registers;
mod shared;
mod tensor;

pub(crate) use dots::{SIDE, dot_tile, min_index, tile_bound, tile_sum};
pub(super) use registers::{blocks, launch_examples, launch_rows, room};
pub(crate) use shared::write_products;

use super::linear::{Bias, Cut, Problem};
use crate::check::Arg;
use crate::launch::Room;
use crate::reduce::{lane_of, row_of, sum_units};
use crate::tile::{self, TILE};
use crate::{KernelError, Launch, Tuning};
use cubecl::{prelude::*, std::tensor::TensorHandle};

/// The Gram way never reports less than this times `(sum_t |a_t| |g_t|)^2`.
///
/// The rounding error of the double sum is at most about `gamma (sum_t |a_t| |g_t|)^2` with `gamma`
/// near 1e-6 (f32, up to a few thousand columns in 4 to 16 running sums). 2^-16 lies an order of
/// magnitude above it, and below what a row of fewer than 65,536 unrelated tokens shows, about
/// `1 / T`: so a norm that cancellation could have falsified is replaced by a bound on it.
///
/// That is how roundings add up as a rule. In the worst case, all of them to one side, stretches of 256 terms on a GPU's ordinary units come to
/// `gamma` 3e-5 and on matrix units to 7e-5, above the floor: against that stands the rounding allowance, which charges
/// [`Tuning::linear_norm_depth`] roundings (docs/proofs/sensitivity.md).
pub const GRAM_FLOOR: f32 = 1.0 / 65536.0;

/// [`GRAM_FLOOR`] where the inputs are f64: 2^-44.
///
/// The kernels are the same, so that `gamma` shrinks as the unit roundoff does, from 2^-24 to 2^-53, a factor of 2^-29;
/// but a vector holds half as many f64, so a running sum may be twice as long. So `gamma` is near 1e-6 * 2^-28, and the
/// floor that lies as far above it is 2^-16 * 2^-28.
pub const GRAM_FLOOR_F64: f64 = GRAM_FLOOR as f64 / (1u64 << 28) as f64;

/// The floor for sums of type `E`.
#[cube]
pub(crate) fn gram_floor<E: Float>() -> E {
    let bytes = E::size().comptime();
    E::new(comptime!(floor_of(bytes)))
}

/// Both floors are powers of two, which f32 holds.
const fn floor_of(bytes: usize) -> f32 {
    if bytes == 8 {
        GRAM_FLOOR_F64 as f32
    } else {
        GRAM_FLOOR
    }
}

/// What [`launch`] takes: [`workspace`], or the room of the units and copies where one has a whole example's norm in its registers.
pub(super) fn rooms(problem: &Problem<'_>, tuning: &Tuning) -> Vec<Room> {
    if takes_examples(problem, tuning) {
        let [a_copy, g_copy] = ragged::rooms(problem, tuning);
        vec![
            room(problem.a.accumulator(), problem.t, tuning),
            a_copy,
            g_copy,
        ]
    } else {
        workspace(problem, tuning).into()
    }
}

/// Adds the norms, by way of the buffers of [`rooms`], and says whether what is asked of the bias was done too.
pub(super) fn launch(
    launch: &Launch<'_>,
    problem: &Problem<'_>,
    scratch: &[TensorHandle],
    norms_sq: &Arg<'_>,
    bias: Bias<'_>,
) -> Result<bool, KernelError> {
    if takes_examples(problem, launch.tuning) {
        let room = &Arg::new(problem.op, "workspace", &scratch[0])?;
        // The bias's gradients are taken of G itself.
        let bias = if ragged::copies(problem, launch.tuning) {
            Bias::Nothing
        } else {
            bias
        };
        let problem = ragged::launch_copies(launch, problem, [&scratch[1], &scratch[2]])?;
        return Ok(registers::launch_examples(
            launch, &problem, room, norms_sq, bias,
        ));
    }
    let tiles = tiles(problem, launch.tuning);
    launch_products(launch, problem, scratch)?;
    let products = Arg::new(problem.op, "workspace", &scratch[0])?;
    let bounds = Arg::new(problem.op, "workspace", &scratch[1])?;
    launch_finish(launch, &products, &bounds, norms_sq, [problem.b, 1, tiles]);
    Ok(false)
}

/// Whether a processor's units take whole examples.
fn takes_examples(problem: &Problem<'_>, tuning: &Tuning) -> bool {
    Cut::of(problem, tuning) == Cut::Registers && tuning.takes_whole_examples(problem.b)
}

/// Launches [`finish_gram`] of `products` and `bounds`, both `[B, groups, tiles]`.
pub(super) fn launch_finish(
    launch: &Launch<'_>,
    products: &Arg<'_>,
    bounds: &Arg<'_>,
    norms_sq: &Arg<'_>,
    [b, groups, tiles]: [usize; 3],
) {
    let Launch { client, tuning, .. } = *launch;
    let width = tuning.width(tiles.div_ceil(4));
    let (count, dim) = tuning.grid(b, width);
    finish_gram::launch(
        client,
        count,
        dim,
        products.buffer(1),
        bounds.buffer(1),
        norms_sq.buffer(1),
        b as u32,
        groups as u32,
        tiles as u32,
        width,
        dim.num_elems(),
        norms_sq.dtype(),
    );
}

/// How many partial results an example has.
pub(super) fn tiles(problem: &Problem<'_>, tuning: &Tuning) -> usize {
    match Cut::of(problem, tuning) {
        Cut::Tensor(_) => upper_triangle(problem.t.div_ceil(tile::tensor::SIDE)),
        Cut::Registers => registers::blocks(problem.t),
        Cut::Shared => tiles_of(problem.t, tuning),
    }
}

/// Likewise of `t` tokens, where no matrix units are used; a processor's are rows of tiles.
pub(super) fn tiles_of(t: usize, tuning: &Tuning) -> usize {
    if tuning.is_cpu {
        t.div_ceil(SIDE)
    } else {
        upper_triangle(t.div_ceil(TILE))
    }
}

/// How many tiles the upper triangle of `side * side` tiles has.
fn upper_triangle(side: usize) -> usize {
    side * (side + 1) / 2
}

/// Room for the partial products and bounds, each `[B, tiles]`, for the dot products where a tile is cut or of a processor's units, and for copies of A
/// and G.
pub(super) fn workspace(problem: &Problem<'_>, tuning: &Tuning) -> [Room; 5] {
    let shape = [problem.b, tiles(problem, tuning)];
    let part = |shape: &[usize]| Room::of(shape, problem.a.accumulator());
    let dots = match (Cut::of(problem, tuning), cut_tiles(problem, tuning)) {
        (Cut::Registers, _) => room(problem.a.accumulator(), problem.t, tuning),
        (_, Some(cut)) => part(&[cut.rows * cut.parts(), cut.tile]),
        (_, None) => part(&[0, 0]),
    };
    let [a_copy, g_copy] = ragged::rooms(problem, tuning);
    [part(&shape), part(&shape), dots, a_copy, g_copy]
}

/// Tiles whose dot products are taken stretch by stretch, each in a cube of its own, where there are too few tiles to fill a GPU.
///
/// The stretches are added up in the order that one cube has, so that a norm has the same bits either way.
struct CutTiles {
    /// Tiles of all examples.
    rows: usize,
    /// Stretches of A.
    a_parts: usize,
    /// Stretches of G.
    g_parts: usize,
    /// Numbers of a tile.
    tile: usize,
}

impl CutTiles {
    fn parts(&self) -> usize {
        self.a_parts + self.g_parts
    }
}

/// The most numbers that cut tiles may take: 64 MiB of f32.
const MOST_PARTS: usize = 1 << 24;

fn cut_tiles(problem: &Problem<'_>, tuning: &Tuning) -> Option<CutTiles> {
    let Problem { d, p, .. } = problem;
    // A cube of matrix units has a whole multiprocessor, of the others several share one.
    let (stretch, side, enough) = match Cut::of(problem, tuning) {
        Cut::Registers => return None,
        Cut::Shared => (tile::STRETCH, TILE, tuning.busy_cubes / 2),
        Cut::Tensor(_) => (
            tile::tensor::STRETCH,
            tile::tensor::SIDE,
            tuning.busy_cubes / 8,
        ),
    };
    let cut = CutTiles {
        rows: problem.b * tiles(problem, tuning),
        a_parts: d.div_ceil(stretch),
        g_parts: p.div_ceil(stretch),
        tile: side * side,
    };
    let numbers = cut.rows * cut.parts() * cut.tile;
    (cut.rows <= enough && cut.parts() > 2 && numbers <= MOST_PARTS).then_some(cut)
}

/// The parts of `sum_{t,t'} <a_t, a_t'> <g_t, g_t'>` and of `sum_t |a_t| |g_t|`, into the first two buffers of [`workspace`].
pub(super) fn launch_products(
    launch: &Launch<'_>,
    problem: &Problem<'_>,
    scratch: &[TensorHandle],
) -> Result<(), KernelError> {
    let tiles = tiles(problem, launch.tuning);
    let cut = cut_tiles(problem, launch.tuning);
    let products = &Arg::new(problem.op, "workspace", &scratch[0])?;
    let bounds = &Arg::new(problem.op, "workspace", &scratch[1])?;
    let parts = &Arg::new(problem.op, "workspace", &scratch[2])?;
    match (Cut::of(problem, launch.tuning), cut) {
        (Cut::Registers, _) => {
            let problem = ragged::launch_copies(launch, problem, [&scratch[3], &scratch[4]])?;
            registers::launch_rows(launch, &problem, [products, bounds, parts], tiles);
        }
        (Cut::Shared, None) => shared::launch(launch, problem, products, bounds, tiles),
        (Cut::Shared, Some(cut)) => {
            shared::launch_parts(launch, problem, [products, bounds, parts], tiles, &cut);
        }
        (Cut::Tensor(units), None) => {
            tensor::launch(launch, problem, products, bounds, tiles, units);
        }
        (Cut::Tensor(units), Some(cut)) => {
            tensor::launch_parts(
                launch,
                problem,
                [products, bounds, parts],
                tiles,
                &cut,
                units,
            );
        }
    }
    Ok(())
}

/// The place in the upper triangle of `side * side` tiles, row by row: (0,0) (0,1) .. (1,1) ..
#[cube]
pub(crate) fn triangle(place: usize, side: usize) -> (usize, usize) {
    let mut i = 0usize;
    let mut rest = place;
    while rest >= side - i {
        rest -= side - i;
        i += 1;
    }
    (i, i + rest)
}

/// `norms_sq[b] += sum over groups of max(sum of products[b, group], GRAM_FLOOR (sum of bounds[b, group])^2)`, NaN if
/// any is.
#[cube(launch)]
pub(crate) fn finish_gram<E: Float>(
    products: &[E],
    bounds: &[E],
    norms_sq: &mut [E],
    examples: u32,
    groups: u32,
    tiles: u32,
    #[comptime] width: u32,
    #[comptime] units: u32,
    #[define(E)] _accumulator: ElemType,
) {
    let b = row_of(width);
    let mut all = E::new(0.0);
    for group in 0..groups as usize {
        let mut sum = E::new(0.0);
        let mut bound = E::new(0.0);
        if b < examples as usize {
            let first = (b * groups as usize + group) * tiles as usize;
            let mut tile = lane_of(width);
            while tile < tiles as usize {
                sum += products[first + tile];
                bound += bounds[first + tile];
                tile += comptime!(width as usize);
            }
        }
        let sum = sum_units::<E>(sum, width, units);
        let bound = sum_units::<E>(bound, width, units);
        all += no_less::<E>(sum, bound);
        if comptime!(width > 1) {
            sync_cube();
        }
    }
    if b < examples as usize && lane_of(width) == 0 {
        norms_sq[b] += all;
    }
}

/// `sum`, or the floor under it where that is larger: [`GRAM_FLOOR`] times `bound^2`.
#[cube]
fn no_less<E: Float>(sum: E, bound: E) -> E {
    let floor = bound * bound * gram_floor::<E>();
    // A NaN sum compares false and stays; a NaN floor comes with a NaN sum.
    select(sum < floor, floor, sum)
}
