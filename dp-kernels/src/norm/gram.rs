//! `sum_{t,t'} <a_t, a_t'> <g_t, g_t'>`: products of tokens, never a `[d, p]` matrix.

use super::linear::{Cut, Problem};
use crate::check::Arg;
use crate::launch::Room;
use crate::outer::zeros;
use crate::reduce::{row_of, sum_lanes};
use crate::tile::tensor::{self, Operand, PAIRS, Stages};
use crate::tile::{self, TILE, TILE_UNITS, offset};
use crate::{KernelError, Launch, Tuning};
use cubecl::{prelude::*, std::tensor::TensorHandle};

/// The Gram way never reports less than this times `(sum_t |a_t| |g_t|)^2`.
///
/// The rounding error of the double sum is at most about `gamma (sum_t |a_t| |g_t|)^2` with `gamma`
/// near 1e-6 (f32, up to a few thousand columns in 4 to 16 running sums). 2^-16 lies an order of
/// magnitude above it, and below what a row of fewer than 65,536 unrelated tokens shows, about
/// `1 / T`: so a norm that cancellation could have falsified is replaced by a bound on it.
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

/// Tokens of a register tile's side.
pub(super) const SIDE: usize = 4;

/// Adds the norms, by way of the buffers of [`workspace`].
pub(super) fn launch(
    launch: &Launch<'_>,
    problem: &Problem<'_>,
    scratch: &[TensorHandle],
    norms_sq: &Arg<'_>,
) -> Result<(), KernelError> {
    let tiles = tiles(problem, launch.tuning);
    let products = Arg::new(problem.op, "workspace", &scratch[0])?;
    let bounds = Arg::new(problem.op, "workspace", &scratch[1])?;
    let parts = Arg::new(problem.op, "workspace", &scratch[2])?;
    launch_products(launch, problem, &products, &bounds, &parts);
    launch_finish(launch, &products, &bounds, norms_sq, [problem.b, 1, tiles]);
    Ok(())
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
    let (count, dim) = tuning.grid(b, 1);
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
        norms_sq.dtype(),
    );
}

/// How many partial results an example has.
pub(super) fn tiles(problem: &Problem<'_>, tuning: &Tuning) -> usize {
    match Cut::of(problem, tuning) {
        Cut::Tensor => upper_triangle(problem.t.div_ceil(tensor::SIDE)),
        Cut::Registers | Cut::Shared => tiles_of(problem.t, tuning),
    }
}

/// Likewise of `t` tokens, where no matrix units are used.
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

/// Room for the partial products and bounds, each `[B, tiles]`, and for the dot products where a tile is cut.
pub(super) fn workspace(problem: &Problem<'_>, tuning: &Tuning) -> [Room; 3] {
    let shape = [problem.b, tiles(problem, tuning)];
    let room = |shape: &[usize]| Room::of(shape, problem.a.accumulator());
    let parts = match cut_tiles(problem, tuning) {
        Some(cut) => [cut.rows * cut.parts(), cut.tile],
        None => [0, 0],
    };
    [room(&shape), room(&shape), room(&parts)]
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
        Cut::Tensor => (tensor::STRETCH, tensor::SIDE, tuning.busy_cubes / 8),
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

/// The parts of `sum_{t,t'} <a_t, a_t'> <g_t, g_t'>` and of `sum_t |a_t| |g_t|`.
pub(super) fn launch_products(
    launch: &Launch<'_>,
    problem: &Problem<'_>,
    products: &Arg<'_>,
    bounds: &Arg<'_>,
    parts: &Arg<'_>,
) {
    let tiles = tiles(problem, launch.tuning);
    let cut = cut_tiles(problem, launch.tuning);
    match (Cut::of(problem, launch.tuning), cut) {
        (Cut::Registers, _) => launch_registers(launch, problem, products, bounds, tiles),
        (Cut::Shared, None) => launch_shared(launch, problem, products, bounds, tiles),
        (Cut::Shared, Some(cut)) => {
            launch_shared_parts(launch, problem, [products, bounds, parts], tiles, &cut);
        }
        (Cut::Tensor, None) => launch_tensor(launch, problem, products, bounds, tiles),
        (Cut::Tensor, Some(cut)) => {
            launch_tensor_parts(launch, problem, [products, bounds, parts], tiles, &cut);
        }
    }
}

fn launch_registers(
    launch: &Launch<'_>,
    problem: &Problem<'_>,
    products: &Arg<'_>,
    bounds: &Arg<'_>,
    tiles: usize,
) {
    let Launch { client, tuning, .. } = *launch;
    let Problem {
        a, g, b, t, d, p, ..
    } = problem;
    // One width for both: the lanes of their dot products are multiplied with each other.
    let vector = g.vector(*p, a.vector(*d, tuning.lanes_of(a.accumulator())));
    let (count, dim) = tuning.grid(b * tiles, 1);
    gram_registers::launch(
        client,
        count,
        dim,
        vector,
        a.buffer(vector),
        g.buffer(vector),
        products.buffer(1),
        bounds.buffer(1),
        (b * tiles) as u32,
        *t as u32,
        (d / vector) as u32,
        (p / vector) as u32,
        a.dtype(),
        products.dtype(),
    );
}

/// One unit takes the tiles `(i, i..)` of the upper triangle of one example's Gram matrices.
#[cube(launch)]
pub(crate) fn gram_registers<F: Float, E: Float, N: Size>(
    a: &[Vector<F, N>],
    g: &[Vector<F, N>],
    products: &mut [E],
    bounds: &mut [E],
    rows: u32,
    tokens: u32,
    a_columns: u32,
    g_columns: u32,
    #[define(F)] _dtype: ElemType,
    #[define(E)] _accumulator: ElemType,
) {
    let lanes = N::value();
    let row = row_of(1u32);
    if row < rows as usize {
        let tiles = (tokens as usize + comptime!(SIDE - 1)) / comptime!(SIDE);
        let first_token = row / tiles * tokens as usize;
        let i = row % tiles;
        let whole = tokens as usize / SIDE;
        // The diagonal counts once, a tile beside it twice; a ragged last one is cut to size.
        let a_sums = dot_sums::<F, E, N>(a, a, first_token, i, i, tokens, a_columns);
        let g_sums = dot_sums::<F, E, N>(g, g, first_token, i, i, tokens, g_columns);
        let a_tile = spread::<E, N>(&lane_sums::<E, N>(&a_sums));
        let g_tile = spread::<E, N>(&lane_sums::<E, N>(&g_sums));
        bounds[row] = tile_bound::<E>(&a_tile, &g_tile, i, tokens);
        let mut sum = tile_sum::<E>(&a_tile, &g_tile, i, i, tokens);
        let mut doubled = zeros::<E, N>(SIDE);
        for j in i + 1..tiles {
            let a_sums = dot_sums::<F, E, N>(a, a, first_token, i, j, tokens, a_columns);
            let g_sums = dot_sums::<F, E, N>(g, g, first_token, i, j, tokens, g_columns);
            let a_dots = lane_sums::<E, N>(&a_sums);
            let g_dots = lane_sums::<E, N>(&g_sums);
            if j < whole {
                let vectors = comptime!(SIDE * SIDE / lanes);
                #[unroll]
                for k in 0..vectors {
                    let way = comptime!(k % SIDE);
                    doubled[way] = fma(a_dots[k], g_dots[k], doubled[way]);
                }
            } else {
                let a_tile = spread::<E, N>(&a_dots);
                let g_tile = spread::<E, N>(&g_dots);
                sum += E::new(2.0) * tile_sum::<E>(&a_tile, &g_tile, i, j, tokens);
            }
        }
        let all = (doubled[0] + doubled[1]) + (doubled[2] + doubled[3]);
        products[row] = sum + E::new(2.0) * sum_lanes::<E, N>(all);
    }
}

/// The lanes of each of `vectors` summed: the sums one after the other, as many as fit a vector in each.
///
/// By halves, two vectors at a time: after `log2 N` additions of vectors every lane holds a whole sum. Summing the lanes of
/// one vector by itself takes as long for a single sum.
#[cube]
fn lane_sums<E: Float, N: Size>(vectors: &Array<Vector<E, N>>) -> Array<Vector<E, N>> {
    let lanes = N::value();
    let mut folded = zeros::<E, N>(comptime!(SIDE * SIDE));
    #[unroll]
    for s in 0..SIDE * SIDE {
        folded[s] = vectors[s];
    }
    let steps = comptime!(lanes.ilog2() as usize);
    #[unroll]
    for step in 0..steps {
        let pairs = comptime!((SIDE * SIDE) >> (step + 1));
        #[unroll]
        for pair in 0..pairs {
            folded[pair] = fold::<E, N>(folded[2 * pair], folded[2 * pair + 1], step);
        }
    }
    folded
}

/// The parts of a sum lie in runs of `N / 2^step` lanes, those of `x` and those of `y`; each run is halved, and `x`'s come first.
#[cube]
fn fold<E: Float, N: Size>(
    x: Vector<E, N>,
    y: Vector<E, N>,
    #[comptime] step: usize,
) -> Vector<E, N> {
    let lanes = N::value();
    let half = comptime!(lanes >> (step + 1));
    let mut low = Vector::<E, N>::new(E::new(0.0));
    let mut high = Vector::<E, N>::new(E::new(0.0));
    #[unroll]
    for lane in 0..comptime!(lanes / 2) {
        let from = comptime!(lane / half * 2 * half + lane % half);
        low.insert(lane, x.extract(from));
        high.insert(lane, x.extract(comptime!(from + half)));
        low.insert(comptime!(lanes / 2 + lane), y.extract(from));
        high.insert(
            comptime!(lanes / 2 + lane),
            y.extract(comptime!(from + half)),
        );
    }
    low + high
}

/// The lanes of what [`lane_sums`] gives, one by one.
#[cube]
fn spread<E: Float, N: Size>(folded: &Array<Vector<E, N>>) -> Array<E> {
    let lanes = N::value();
    let mut dots = Array::<E>::new(comptime!(SIDE * SIDE));
    #[unroll]
    for s in 0..SIDE * SIDE {
        dots[s] = folded[comptime!(s / lanes)].extract(comptime!(s % lanes));
    }
    dots
}

/// The products of two tiles of dot products, summed; places past the last token left out.
#[cube]
pub(crate) fn tile_sum<E: Float>(
    a_tile: &Array<E>,
    g_tile: &Array<E>,
    i: usize,
    j: usize,
    tokens: u32,
) -> E {
    let mut sum = E::new(0.0);
    #[unroll]
    for u in 0..SIDE {
        #[unroll]
        for v in 0..SIDE {
            let inside = i * SIDE + u < tokens as usize && j * SIDE + v < tokens as usize;
            let product = a_tile[u * SIDE + v] * g_tile[u * SIDE + v];
            sum += select(inside, product, E::new(0.0));
        }
    }
    sum
}

/// `sum |a_t| |g_t|` over the diagonal of tile `(i, i)`.
#[cube]
pub(crate) fn tile_bound<E: Float>(
    a_tile: &Array<E>,
    g_tile: &Array<E>,
    i: usize,
    tokens: u32,
) -> E {
    let mut bound = E::new(0.0);
    #[unroll]
    for u in 0..SIDE {
        let inside = i * SIDE + u < tokens as usize;
        let square = a_tile[u * SIDE + u] * g_tile[u * SIDE + u];
        bound += select(inside, square.sqrt(), E::new(0.0));
    }
    bound
}

/// The dot products of `x`'s tokens `i*SIDE..` with `y`'s tokens `j*SIDE..`; places past the last token repeat it.
#[cube]
pub(super) fn dot_tile<F: Float, E: Float, N: Size>(
    x: &[Vector<F, N>],
    y: &[Vector<F, N>],
    first_token: usize,
    i: usize,
    j: usize,
    tokens: u32,
    columns: u32,
) -> Array<E> {
    let sums = dot_sums::<F, E, N>(x, y, first_token, i, j, tokens, columns);
    spread::<E, N>(&lane_sums::<E, N>(&sums))
}

/// Likewise, each dot product still in the lanes of a vector.
#[cube]
fn dot_sums<F: Float, E: Float, N: Size>(
    x: &[Vector<F, N>],
    y: &[Vector<F, N>],
    first_token: usize,
    i: usize,
    j: usize,
    tokens: u32,
    columns: u32,
) -> Array<Vector<E, N>> {
    let last = tokens as usize - 1;
    let columns = columns as usize;
    let mut rows = Array::<usize>::new(comptime!(2 * SIDE));
    #[unroll]
    for u in 0..SIDE {
        rows[u] = (first_token + min_index(i * SIDE + u, last)) * columns;
        rows[u + SIDE] = (first_token + min_index(j * SIDE + u, last)) * columns;
    }
    let mut sums = zeros::<E, N>(comptime!(SIDE * SIDE));
    for k in 0..columns {
        let mut left = Array::<Vector<E, N>>::new(SIDE);
        #[unroll]
        for u in 0..SIDE {
            left[u] = Vector::<E, N>::cast_from(x[rows[u] + k]);
        }
        #[unroll]
        for v in 0..SIDE {
            let right = Vector::<E, N>::cast_from(y[rows[v + SIDE] + k]);
            #[unroll]
            for u in 0..SIDE {
                sums[u * SIDE + v] = fma(left[u], right, sums[u * SIDE + v]);
            }
        }
    }
    sums
}

#[cube]
pub(super) fn min_index(a: usize, b: usize) -> usize {
    select(a < b, a, b)
}

fn launch_shared(
    launch: &Launch<'_>,
    problem: &Problem<'_>,
    products: &Arg<'_>,
    bounds: &Arg<'_>,
    tiles: usize,
) {
    let Launch { client, tuning, .. } = *launch;
    let Problem {
        a, g, b, t, d, p, ..
    } = problem;
    let vector = tile::vector(a, *d, g, *p, tuning);
    let (count, dim) = tile::grid(b * tiles, tuning);
    gram_shared::launch(
        client,
        count,
        dim,
        vector,
        a.buffer(vector),
        g.buffer(vector),
        products.buffer(1),
        bounds.buffer(1),
        (b * tiles) as u32,
        tiles as u32,
        *t as u32,
        *d as u32,
        *p as u32,
        a.dtype(),
        products.dtype(),
    );
}

/// One cube takes one tile of the upper triangle of one example's Gram matrices.
#[cube(launch)]
pub(crate) fn gram_shared<F: Float, E: Float, N: Size>(
    a: &[Vector<F, N>],
    g: &[Vector<F, N>],
    products: &mut [E],
    bounds: &mut [E],
    rows: u32,
    tiles: u32,
    tokens: u32,
    a_columns: u32,
    g_columns: u32,
    #[define(F)] _dtype: ElemType,
    #[define(E)] _accumulator: ElemType,
) {
    let row = CUBE_POS as usize;
    if row < rows as usize {
        let b = row / tiles as usize;
        let side = (tokens as usize + comptime!(TILE - 1)) / comptime!(TILE);
        let (i, j) = triangle(row % tiles as usize, side);
        let first = b * tokens as usize;
        let a_tile = tile::product::<F, E, N>(
            a,
            a,
            first * a_columns as usize,
            first * a_columns as usize,
            i * TILE,
            j * TILE,
            tokens as usize,
            tokens as usize,
            a_columns as usize,
            a_columns as usize,
            a_columns as usize,
            1usize,
            1usize,
            true,
        );
        let g_tile = tile::product::<F, E, N>(
            g,
            g,
            first * g_columns as usize,
            first * g_columns as usize,
            i * TILE,
            j * TILE,
            tokens as usize,
            tokens as usize,
            g_columns as usize,
            g_columns as usize,
            g_columns as usize,
            1usize,
            1usize,
            true,
        );
        write_products::<E>(&a_tile, &g_tile, products, bounds, row, i == j);
    }
}

fn launch_shared_parts(
    launch: &Launch<'_>,
    problem: &Problem<'_>,
    [products, bounds, parts]: [&Arg<'_>; 3],
    tiles: usize,
    cut: &CutTiles,
) {
    let Launch { client, tuning, .. } = *launch;
    let Problem { a, g, t, d, p, .. } = problem;
    let vector = tile::vector(a, *d, g, *p, tuning);
    let (count, dim) = tile::grid(cut.rows * cut.parts(), tuning);
    gram_parts_shared::launch(
        client,
        count,
        dim,
        vector,
        a.buffer(vector),
        g.buffer(vector),
        parts.buffer(1),
        cut.rows as u32,
        tiles as u32,
        *t as u32,
        *d as u32,
        *p as u32,
        a.dtype(),
        parts.dtype(),
    );
    let (count, dim) = tile::grid(cut.rows, tuning);
    gram_of_parts_shared::launch(
        client,
        count,
        dim,
        parts.buffer(1),
        products.buffer(1),
        bounds.buffer(1),
        cut.rows as u32,
        tiles as u32,
        *t as u32,
        cut.a_parts as u32,
        cut.g_parts as u32,
        products.dtype(),
    );
}

/// One cube takes one stretch of the dot products of one tile, of A's first, then of G's.
#[cube(launch)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn gram_parts_shared<F: Float, E: Float, N: Size>(
    a: &[Vector<F, N>],
    g: &[Vector<F, N>],
    parts: &mut [E],
    rows: u32,
    tiles: u32,
    tokens: u32,
    a_columns: u32,
    g_columns: u32,
    #[define(F)] _dtype: ElemType,
    #[define(E)] _accumulator: ElemType,
) {
    let (tokens, a_columns, g_columns) = (tokens as usize, a_columns as usize, g_columns as usize);
    let a_parts = (a_columns + comptime!(tile::STRETCH - 1)) / comptime!(tile::STRETCH);
    let g_parts = (g_columns + comptime!(tile::STRETCH - 1)) / comptime!(tile::STRETCH);
    let place = CUBE_POS as usize;
    let row = place / (a_parts + g_parts);
    let part = place % (a_parts + g_parts);
    if row < rows as usize {
        let side = (tokens + comptime!(TILE - 1)) / comptime!(TILE);
        let (i, j) = triangle(row % tiles as usize, side);
        let first = row / tiles as usize * tokens;
        if part < a_parts {
            let sums = stretch_of_dots::<F, E, N>(a, first, i, j, tokens, a_columns, part);
            write_part::<E>(&sums, parts, place);
        } else {
            let sums =
                stretch_of_dots::<F, E, N>(g, first, i, j, tokens, g_columns, part - a_parts);
            write_part::<E>(&sums, parts, place);
        }
    }
}

/// Stretch number `part` of the dot products of tile `(i, j)`.
#[cube]
fn stretch_of_dots<F: Float, E: Float, N: Size>(
    x: &[Vector<F, N>],
    first_token: usize,
    i: usize,
    j: usize,
    tokens: usize,
    columns: usize,
    part: usize,
) -> Array<E> {
    let begin = part * comptime!(tile::STRETCH);
    let depth = min_index(columns - begin, comptime!(tile::STRETCH).runtime());
    tile::product::<F, E, N>(
        x,
        x,
        first_token * columns + begin,
        first_token * columns + begin,
        i * TILE,
        j * TILE,
        tokens,
        tokens,
        depth,
        columns,
        columns,
        1usize,
        1usize,
        true,
    )
}

/// Neighbouring units write neighbouring numbers.
#[cube]
fn write_part<E: Float>(sums: &Array<E>, parts: &mut [E], place: usize) {
    let first = place * comptime!(TILE * TILE) + UNIT_POS as usize;
    #[unroll]
    for s in 0..tile::REGISTERS * tile::REGISTERS {
        parts[first + comptime!(s * TILE_UNITS as usize)] = sums[s];
    }
}

/// One cube adds up the stretches of one tile and takes its products.
#[cube(launch)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn gram_of_parts_shared<E: Float>(
    parts: &[E],
    products: &mut [E],
    bounds: &mut [E],
    rows: u32,
    tiles: u32,
    tokens: u32,
    a_parts: u32,
    g_parts: u32,
    #[define(E)] _accumulator: ElemType,
) {
    let row = CUBE_POS as usize;
    if row < rows as usize {
        let side = (tokens as usize + comptime!(TILE - 1)) / comptime!(TILE);
        let (i, j) = triangle(row % tiles as usize, side);
        let (a_parts, g_parts) = (a_parts as usize, g_parts as usize);
        let first = row * (a_parts + g_parts);
        let a_tile = sum_parts::<E>(parts, first, a_parts);
        let g_tile = sum_parts::<E>(parts, first + a_parts, g_parts);
        write_products::<E>(&a_tile, &g_tile, products, bounds, row, i == j);
    }
}

#[cube]
fn sum_parts<E: Float>(parts: &[E], first: usize, count: usize) -> Array<E> {
    let mut sums = tile::no_sums::<E>();
    for part in first..first + count {
        let at = part * comptime!(TILE * TILE) + UNIT_POS as usize;
        #[unroll]
        for s in 0..tile::REGISTERS * tile::REGISTERS {
            sums[s] += parts[at + comptime!(s * TILE_UNITS as usize)];
        }
    }
    sums
}

fn launch_tensor_parts(
    launch: &Launch<'_>,
    problem: &Problem<'_>,
    [products, bounds, parts]: [&Arg<'_>; 3],
    tiles: usize,
    cut: &CutTiles,
) {
    let Launch { client, tuning, .. } = *launch;
    let Problem { a, g, t, d, p, .. } = problem;
    let (count, dim) = tensor::grid(cut.rows * cut.parts(), tuning);
    gram_parts_tensor::launch(
        client,
        count,
        dim,
        tensor::LANES,
        2,
        a.buffer(tensor::LANES),
        g.buffer(tensor::LANES),
        parts.buffer(2),
        cut.rows as u32,
        tiles as u32,
        *t as u32,
        *d as u32,
        *p as u32,
        a.dtype(),
    );
    let (count, dim) = tensor::grid(cut.rows, tuning);
    gram_of_parts_tensor::launch(
        client,
        count,
        dim,
        2,
        parts.buffer(2),
        products.buffer(1),
        bounds.buffer(1),
        cut.rows as u32,
        tiles as u32,
        *t as u32,
        cut.a_parts as u32,
        cut.g_parts as u32,
    );
}

/// One cube takes one stretch of the dot products of one tile by the matrix units, of A's first, then of G's.
#[cube(launch)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn gram_parts_tensor<F: Float, N: Size, M: Size>(
    a: &[Vector<F, N>],
    g: &[Vector<F, N>],
    parts: &mut [Vector<f32, M>],
    rows: u32,
    tiles: u32,
    tokens: u32,
    a_columns: u32,
    g_columns: u32,
    #[define(F)] _dtype: ElemType,
) {
    let (tokens, a_columns, g_columns) = (tokens as usize, a_columns as usize, g_columns as usize);
    let a_parts = (a_columns + comptime!(tensor::STRETCH - 1)) / comptime!(tensor::STRETCH);
    let g_parts = (g_columns + comptime!(tensor::STRETCH - 1)) / comptime!(tensor::STRETCH);
    let place = CUBE_POS as usize;
    let row = place / (a_parts + g_parts);
    let part = place % (a_parts + g_parts);
    if row < rows as usize {
        let side = (tokens + comptime!(tensor::SIDE - 1)) / comptime!(tensor::SIDE);
        let (i, j) = triangle(row % tiles as usize, side);
        let first = row / tiles as usize * tokens;
        let mut stages = Stages::<F, N>::new();
        let at = place * comptime!(PAIRS * tensor::UNITS as usize) + UNIT_POS as usize;
        if part < a_parts {
            let x = stretch_of(&token_rows(first, i, tokens, a_columns), part);
            let y = stretch_of(&token_rows(first, j, tokens, a_columns), part);
            let sums = tensor::product::<F, N>(&mut stages, a, a, &x, &y, true);
            write_pairs::<M>(&sums, parts, at);
        } else {
            let x = stretch_of(&token_rows(first, i, tokens, g_columns), part - a_parts);
            let y = stretch_of(&token_rows(first, j, tokens, g_columns), part - a_parts);
            let sums = tensor::product::<F, N>(&mut stages, g, g, &x, &y, true);
            write_pairs::<M>(&sums, parts, at);
        }
    }
}

#[cube]
fn write_pairs<M: Size>(sums: &Array<tensor::Pair>, parts: &mut [Vector<f32, M>], at: usize) {
    #[unroll]
    for s in 0..PAIRS {
        let mut pair = Vector::<f32, M>::new(0.0f32);
        pair.insert(0usize, sums[s].extract(0usize));
        pair.insert(1usize, sums[s].extract(1usize));
        parts[at + comptime!(s * tensor::UNITS as usize)] = pair;
    }
}

#[cube]
fn read_pairs<M: Size>(parts: &[Vector<f32, M>], part: usize) -> Array<tensor::Pair> {
    let at = part * comptime!(PAIRS * tensor::UNITS as usize) + UNIT_POS as usize;
    let mut sums = tensor::no_sums();
    #[unroll]
    for s in 0..PAIRS {
        let pair = parts[at + comptime!(s * tensor::UNITS as usize)];
        let mut sum = tensor::Pair::new(0.0f32);
        sum.insert(0usize, pair.extract(0usize));
        sum.insert(1usize, pair.extract(1usize));
        sums[s] = sum;
    }
    sums
}

/// One cube takes the products of one tile whose stretches [`gram_parts_tensor`] took, in the order of [`gram_tensor`].
#[cube(launch)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn gram_of_parts_tensor<M: Size>(
    parts: &[Vector<f32, M>],
    products: &mut [f32],
    bounds: &mut [f32],
    rows: u32,
    tiles: u32,
    tokens: u32,
    a_parts: u32,
    g_parts: u32,
) {
    let row = CUBE_POS as usize;
    if row < rows as usize {
        let side = (tokens as usize + comptime!(tensor::SIDE - 1)) / comptime!(tensor::SIDE);
        let (i, j) = triangle(row % tiles as usize, side);
        let diagonal = i == j;
        let (a_parts, g_parts) = (a_parts as usize, g_parts as usize);
        let first = row * (a_parts + g_parts);
        let mut dots = tensor::no_sums();
        for part in first..first + a_parts {
            let mut more = read_pairs::<M>(parts, part);
            tensor::take(&mut more, &mut dots, 1.0f32);
        }
        let mut own = no_diagonal();
        let mut sum = tensor::Pair::new(0.0f32);
        for part in first + a_parts..first + a_parts + g_parts {
            let mut more = read_pairs::<M>(parts, part);
            sum = multiply_stretch(&dots, &mut more, &mut own, sum, diagonal);
        }
        write_tensor_products(&dots, &own, sum, products, bounds, row, diagonal);
    }
}

fn launch_tensor(
    launch: &Launch<'_>,
    problem: &Problem<'_>,
    products: &Arg<'_>,
    bounds: &Arg<'_>,
    tiles: usize,
) {
    let Launch { client, tuning, .. } = *launch;
    let Problem {
        a, g, b, t, d, p, ..
    } = problem;
    let (count, dim) = tensor::grid(b * tiles, tuning);
    gram_tensor::launch(
        client,
        count,
        dim,
        tensor::LANES,
        a.buffer(tensor::LANES),
        g.buffer(tensor::LANES),
        products.buffer(1),
        bounds.buffer(1),
        (b * tiles) as u32,
        tiles as u32,
        *t as u32,
        *d as u32,
        *p as u32,
        a.dtype(),
    );
}

/// One cube takes one tile of the upper triangle of one example's Gram matrices, by the matrix units.
///
/// `<a_t, a_t'>` are finished first. Of `<g_t, g_t'>` a stretch at a time is multiplied with them and forgotten, but for the diagonal, which
/// the bound needs whole.
#[cube(launch)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn gram_tensor<F: Float, N: Size>(
    a: &[Vector<F, N>],
    g: &[Vector<F, N>],
    products: &mut [f32],
    bounds: &mut [f32],
    rows: u32,
    tiles: u32,
    tokens: u32,
    a_columns: u32,
    g_columns: u32,
    #[define(F)] _dtype: ElemType,
) {
    let row = CUBE_POS as usize;
    if row < rows as usize {
        let tokens = tokens as usize;
        let side = (tokens + comptime!(tensor::SIDE - 1)) / comptime!(tensor::SIDE);
        let (i, j) = triangle(row % tiles as usize, side);
        let diagonal = i == j;
        let first = row / tiles as usize * tokens;
        let mut stages = Stages::<F, N>::new();
        let columns = a_columns as usize;
        let x = token_rows(first, i, tokens, columns);
        let y = token_rows(first, j, tokens, columns);
        let dots = tensor::product::<F, N>(&mut stages, a, a, &x, &y, true);

        let mut own = no_diagonal();
        let columns = g_columns as usize;
        let x = token_rows(first, i, tokens, columns);
        let y = token_rows(first, j, tokens, columns);
        let mut part = tensor::no_sums();
        let mut sum = tensor::Pair::new(0.0f32);
        let count = tensor::stages_of(columns);
        tensor::begin::<F, N>(&mut stages, g, g, &x, &y, true, true);
        for stage in 0..count {
            let next = (stage + 1) * comptime!(tensor::DEPTH);
            tensor::step::<F, N>(
                &mut stages,
                stage,
                &mut part,
                g,
                g,
                &x,
                &y,
                next,
                true,
                true,
            );
            if tensor::ends_stretch(stage, count) {
                sum = multiply_stretch(&dots, &mut part, &mut own, sum, diagonal);
            }
        }
        write_tensor_products(&dots, &own, sum, products, bounds, row, diagonal);
    }
}

/// `sum += dots part` of a stretch of `<g_t, g_t'>`, which is forgotten then, but for its diagonal.
#[cube]
fn multiply_stretch(
    dots: &Array<tensor::Pair>,
    part: &mut Array<tensor::Pair>,
    own: &mut Shared<[f32]>,
    sum: tensor::Pair,
    diagonal: bool,
) -> tensor::Pair {
    let mut sum = sum;
    if diagonal {
        add_diagonal(part, own);
    }
    #[unroll]
    for s in 0..PAIRS {
        sum = fma(dots[s], part[s], sum);
        part[s] = tensor::Pair::new(0.0f32);
    }
    sum
}

/// Writes what a cube found of its tile. Every unit of the cube must call it.
#[cube]
fn write_tensor_products(
    dots: &Array<tensor::Pair>,
    own: &Shared<[f32]>,
    sum: tensor::Pair,
    products: &mut [f32],
    bounds: &mut [f32],
    row: usize,
    diagonal: bool,
) {
    let weight = select(diagonal, 1.0f32, 2.0f32);
    let mut bound = 0.0f32;
    if diagonal {
        bound = diagonal_bound(dots, own);
    }
    let total = sum.extract(0usize) + sum.extract(1usize);
    let total = crate::reduce::sum_units::<f32>(total * weight, tensor::UNITS, tensor::UNITS);
    sync_cube();
    let bound = crate::reduce::sum_units::<f32>(bound, tensor::UNITS, tensor::UNITS);
    if UNIT_POS == 0 {
        products[row] = total;
        bounds[row] = bound;
    }
}

/// A tile's diagonal, all zeros. Each of its elements is one unit's. Every unit of the cube must call it.
#[cube]
fn no_diagonal() -> Shared<[f32]> {
    let mut own = Shared::<[f32]>::new_slice(tensor::SIDE);
    if (UNIT_POS as usize) < tensor::SIDE {
        own[UNIT_POS as usize] = 0.0f32;
    }
    sync_cube();
    own
}

/// Tile number `tile` of an example's tokens, each a row of `columns`; the example begins at token `first`.
#[cube]
fn token_rows(first: usize, tile: usize, tokens: usize, columns: usize) -> Operand {
    Operand {
        start: first * columns,
        first: tile * comptime!(tensor::SIDE),
        rows: tokens,
        depths: columns,
        stride: columns,
    }
}

/// Stretch number `part` of the rows' columns.
#[cube]
fn stretch_of(rows: &Operand, part: usize) -> Operand {
    let begin = part * comptime!(tensor::STRETCH);
    Operand {
        start: rows.start + begin,
        first: rows.first,
        rows: rows.rows,
        depths: min_index(rows.depths - begin, comptime!(tensor::STRETCH).runtime()),
        stride: rows.stride,
    }
}

/// Adds the diagonal of a tile to `own`, each element by the unit that holds it.
#[cube]
fn add_diagonal(part: &mut Array<tensor::Pair>, own: &mut Shared<[f32]>) {
    #[unroll]
    for s in 0..PAIRS {
        let (u, v) = tensor::place(
            comptime!(s / 2 / tensor::COLUMNS),
            comptime!(s / 2 % tensor::COLUMNS),
            comptime!(s % 2),
        );
        if u == v {
            own[u] += part[s].extract(0usize);
        }
        if u == v + 1 {
            own[u] += part[s].extract(1usize);
        }
    }
}

/// This unit's part of `sum |a_t| |g_t|` over the diagonal, of which `own` has the second factors squared.
#[cube]
fn diagonal_bound(dots: &Array<tensor::Pair>, own: &Shared<[f32]>) -> f32 {
    let mut bound = 0.0f32;
    #[unroll]
    for s in 0..PAIRS {
        let (u, v) = tensor::place(
            comptime!(s / 2 / tensor::COLUMNS),
            comptime!(s / 2 % tensor::COLUMNS),
            comptime!(s % 2),
        );
        if u == v {
            bound += (dots[s].extract(0usize) * own[u]).sqrt();
        }
        if u == v + 1 {
            bound += (dots[s].extract(1usize) * own[u]).sqrt();
        }
    }
    bound
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

/// A cube's tiles, multiplied and summed into `products[row]` and, on the diagonal, `bounds[row]`.
///
/// Every unit of the cube must call it.
#[cube]
pub(crate) fn write_products<E: Float>(
    a_tile: &Array<E>,
    g_tile: &Array<E>,
    products: &mut [E],
    bounds: &mut [E],
    row: usize,
    diagonal: bool,
) {
    let (u0, v0) = tile::origin();
    let mut sum = E::new(0.0);
    let mut bound = E::new(0.0);
    #[unroll]
    for u in 0..tile::REGISTERS {
        #[unroll]
        for v in 0..tile::REGISTERS {
            // Places past the last token were read as zeros.
            let (a, g) = (
                a_tile[u * tile::REGISTERS + v],
                g_tile[u * tile::REGISTERS + v],
            );
            // Explicit, so that every kernel that comes here has the same bits.
            sum = fma(a, g, sum);
            if diagonal && u0 + comptime!(offset(u)) == v0 + comptime!(offset(v)) {
                bound += (a * g).sqrt();
            }
        }
    }
    let weight = select(diagonal, E::new(1.0), E::new(2.0));
    let total = crate::reduce::sum_units::<E>(sum * weight, TILE_UNITS, TILE_UNITS);
    sync_cube();
    let bound_total = crate::reduce::sum_units::<E>(bound, TILE_UNITS, TILE_UNITS);
    if UNIT_POS == 0 {
        products[row] = total;
        bounds[row] = bound_total;
    }
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
    #[define(E)] _accumulator: ElemType,
) {
    let b = row_of(1u32);
    if b < examples as usize {
        let mut all = E::new(0.0);
        for group in 0..groups as usize {
            let first = (b * groups as usize + group) * tiles as usize;
            let mut sum = E::new(0.0);
            let mut bound = E::new(0.0);
            for tile in 0..tiles as usize {
                sum += products[first + tile];
                bound += bounds[first + tile];
            }
            let floor = bound * bound * gram_floor::<E>();
            // A NaN sum compares false and stays; a NaN floor comes with a NaN sum.
            all += select(sum < floor, floor, sum);
        }
        norms_sq[b] += all;
    }
}
