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
    launch_products(launch, problem, &products, &bounds);
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

/// Room for the partial products and bounds, each `[B, tiles]`.
pub(super) fn workspace(problem: &Problem<'_>, tuning: &Tuning) -> [Room; 2] {
    let shape = [problem.b, tiles(problem, tuning)];
    let room = || Room::of(&shape, problem.a.accumulator());
    [room(), room()]
}

/// The parts of `sum_{t,t'} <a_t, a_t'> <g_t, g_t'>` and of `sum_t |a_t| |g_t|`.
pub(super) fn launch_products(
    launch: &Launch<'_>,
    problem: &Problem<'_>,
    products: &Arg<'_>,
    bounds: &Arg<'_>,
) {
    let tiles = tiles(problem, launch.tuning);
    match Cut::of(problem, launch.tuning) {
        Cut::Registers => launch_registers(launch, problem, products, bounds, tiles),
        Cut::Shared => launch_shared(launch, problem, products, bounds, tiles),
        Cut::Tensor => launch_tensor(launch, problem, products, bounds, tiles),
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

        // Each of its elements is one unit's.
        let mut own = Shared::<[f32]>::new_slice(tensor::SIDE);
        if (UNIT_POS as usize) < tensor::SIDE {
            own[UNIT_POS as usize] = 0.0f32;
        }
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
                if diagonal {
                    add_diagonal(&part, &mut own);
                }
                #[unroll]
                for s in 0..PAIRS {
                    sum = fma(dots[s], part[s], sum);
                    part[s] = tensor::Pair::new(0.0f32);
                }
            }
        }
        let weight = select(diagonal, 1.0f32, 2.0f32);
        let bound = if diagonal {
            diagonal_bound(&dots, &own)
        } else {
            0.0f32.runtime()
        };
        let total = sum.extract(0usize) + sum.extract(1usize);
        let total = crate::reduce::sum_units::<f32>(total * weight, tensor::UNITS, tensor::UNITS);
        sync_cube();
        let bound = crate::reduce::sum_units::<f32>(bound, tensor::UNITS, tensor::UNITS);
        if UNIT_POS == 0 {
            products[row] = total;
            bounds[row] = bound;
        }
    }
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

/// Adds the diagonal of a tile to `own`, each element by the unit that holds it.
#[cube]
fn add_diagonal(part: &Array<tensor::Pair>, own: &mut Shared<[f32]>) {
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
            let product = a_tile[u * tile::REGISTERS + v] * g_tile[u * tile::REGISTERS + v];
            sum += product;
            if diagonal && u0 + comptime!(offset(u)) == v0 + comptime!(offset(v)) {
                bound += product.sqrt();
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
