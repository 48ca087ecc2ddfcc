//! Convolutions: a Linear whose tokens are the output positions, and whose input is unfolded as it is read.

use super::gram::{
    self, SIDE, dot_tile, launch_finish, min_index, tile_bound, tile_sum, triangle, write_products,
};
use super::linear::{LinearNorm, Problem};
use crate::check::Arg;
use crate::launch::Room;
use crate::outer::zeros;
use crate::reduce::{launch_add_row_sums, row_of, sum_lanes, sum_units};
use crate::tile::{self, Deep, REGISTERS, TILE, TILE_UNITS};
use crate::unfold::{
    Convolution, OUTSIDE, Unfolded, unfolded_gram, unfolded_outer_tile, unfolded_product,
};
use crate::{ConvShape, KernelError, Launch, Tuning};
use cubecl::{prelude::*, std::tensor::TensorHandle};

/// Adds the squared norm of each example's weight gradient of a convolution into `norms_sq`.
///
/// `x [B, C_in, input..]`, `g [B, C_out, output..]` the gradient at its output (one type: f32, f16, bf16 or f64), with `N`
/// = 1, 2 or 3 spatial axes and sizes as [`ConvShape`] says, `norms_sq [B]` f32 (f64 beside f64), ADDED into. The bias is
/// [`channel_bias_norm_sq`](crate::channel_bias_norm_sq)'s.
///
/// Per group a Linear of `d = C_in / groups * kernel` inputs, `p = C_out / groups` outputs and a token for every output
/// position, taken by the same ways. Neither the unfolded input nor a per-example gradient is written: the workspace is
/// a copy of `x` and of `g`, channels last, and a table of positions that has no axis of examples or channels.
///
/// # Errors
/// A [`KernelError`] when shapes, types or layouts don't agree, [`KernelError::Conv`] when the geometry is
/// none of a convolution over this input; nothing is launched then.
///
/// # Privacy
/// As [`linear_norm_sq`](crate::linear_norm_sq), its floor included, group by group (docs/proofs/layer-norms.md).
///
/// # Precision
/// f32 throughout, f64 for f64 inputs. An example's norm has the same bits in every microbatch.
///
/// # References
/// Z. Bu, J. Mao, S. Xu, "Scalable and Efficient Training of Large Convolutional Neural Networks with Differential
/// Privacy", arXiv 2205.10683.
pub fn conv_norm_sq<const N: usize>(
    launch: &Launch<'_>,
    x: &TensorHandle,
    g: &TensorHandle,
    norms_sq: &TensorHandle,
    shape: &ConvShape<N>,
    how: LinearNorm,
) -> Result<(), KernelError> {
    let Launch { client, tuning, .. } = *launch;
    let op = "conv_norm_sq";
    let conv = Convolution::new(client, op, x, g, shape)?;
    let norms_sq = Arg::new(op, "norms_sq", norms_sq)?
        .has_shape(&[conv.examples])?
        .sums_of(&conv.x)?;
    if conv.is_empty() {
        return Ok(());
    }
    let way = how.resolve(conv.tokens, conv.rows(), conv.group_out);
    if tuning.is_cpu && way == LinearNorm::Gram && conv.is_pointwise() {
        return launch_pointwise_gram(launch, op, &conv, &norms_sq);
    }
    let tiles = match way {
        LinearNorm::Gram => gram::tiles_of(conv.tokens, tuning),
        _ => Tiles::new(&conv, tuning).count,
    };
    let shape = [conv.examples, conv.groups, tiles];
    let [x, g, positions, geometry] = conv.workspace();
    let rooms = [
        x,
        g,
        positions,
        geometry,
        Room::of(&shape, norms_sq.dtype()),
        Room::of(&shape, norms_sq.dtype()),
    ];
    let [x, g, positions, geometry, products, bounds] = launch.scratch(op, rooms)?;
    let products = Arg::new(op, "workspace", &products)?;
    let bounds = Arg::new(op, "workspace", &bounds)?;
    let unfolded = conv.unfold(launch, [x, g, positions, geometry])?;
    if way == LinearNorm::Gram {
        launch_gram(launch, op, &conv, &unfolded, &products, &bounds)?;
        launch_finish(launch, &products, &bounds, &norms_sq, shape);
    } else {
        launch_materialised(launch, op, &conv, &unfolded, &products)?;
        let columns = conv.groups * tiles;
        launch_add_row_sums(launch, &products, &norms_sq, conv.examples, columns);
    }
    Ok(())
}

/// By a processor's kernels of a Linear on the copies, `[B * groups, positions, channels of a group]`: they sum the lanes of the narrower side's
/// products only, read no table, and a unit may take a whole example.
fn launch_pointwise_gram(
    launch: &Launch<'_>,
    op: &'static str,
    conv: &Convolution<'_>,
    norms_sq: &Arg<'_>,
) -> Result<(), KernelError> {
    let tuning = launch.tuning;
    // An example has a norm in each group, with a floor of its own: they are added up afterwards.
    let whole = conv.groups == 1 && tuning.takes_whole_examples(conv.examples);
    let blocks = if whole { 0 } else { gram::blocks(conv.tokens) };
    let shape = [conv.examples, conv.groups, blocks];
    let [x, g] = conv.copies();
    let part = || Room::of(&shape, norms_sq.dtype());
    let [x, g, products, bounds] = launch.scratch(op, [x, g, part(), part()])?;
    let problem = Problem {
        op,
        a: Arg::new(op, "workspace", &x)?,
        g: Arg::new(op, "workspace", &g)?,
        b: conv.examples * conv.groups,
        t: conv.tokens,
        d: conv.group_in,
        p: conv.group_out,
    };
    let products = Arg::new(op, "workspace", &products)?;
    let bounds = Arg::new(op, "workspace", &bounds)?;
    conv.copy(launch, &problem.a, &problem.g);
    if whole {
        gram::launch_examples(launch, &problem, norms_sq, false);
    } else {
        gram::launch_rows(launch, &problem, &products, &bounds, blocks);
        launch_finish(launch, &products, &bounds, norms_sq, shape);
    }
    Ok(())
}

fn launch_gram(
    launch: &Launch<'_>,
    op: &'static str,
    conv: &Convolution<'_>,
    unfolded: &Unfolded,
    products: &Arg<'_>,
    bounds: &Arg<'_>,
) -> Result<(), KernelError> {
    let Launch { client, tuning, .. } = *launch;
    let x = Arg::new(op, "workspace", &unfolded.x)?;
    let g = Arg::new(op, "workspace", &unfolded.g)?;
    let positions = Arg::new(op, "workspace", &unfolded.positions)?;
    let tiles = gram::tiles_of(conv.tokens, tuning);
    let rows = conv.examples * conv.groups * tiles;
    if tuning.is_cpu {
        let most = tuning.lanes_of(x.accumulator());
        let x_vector = x.vector(conv.group_in, most);
        let g_vector = g.vector(conv.group_out, most);
        let (count, dim) = tuning.grid(rows, 1);
        conv_gram_registers::launch(
            client,
            count,
            dim,
            x_vector,
            g_vector,
            x.buffer(x_vector),
            g.buffer(g_vector),
            positions.buffer(1),
            products.buffer(1),
            bounds.buffer(1),
            rows as u32,
            conv.tokens as u32,
            conv.places as u32,
            conv.inputs as u32,
            (conv.group_in / x_vector) as u32,
            (conv.group_out / g_vector) as u32,
            x.dtype(),
            products.dtype(),
        );
    } else {
        let vector = tile::vector(&g, conv.group_out, &g, conv.group_out, tuning);
        let (count, dim) = tile::grid(rows, tuning);
        conv_gram_shared::launch(
            client,
            count,
            dim,
            vector,
            x.buffer(1),
            g.buffer(vector),
            positions.buffer(1),
            products.buffer(1),
            bounds.buffer(1),
            rows as u32,
            tiles as u32,
            conv.tokens as u32,
            conv.places as u32,
            conv.inputs as u32,
            conv.group_in as u32,
            conv.group_out as u32,
            x.dtype(),
            products.dtype(),
        );
    }
    Ok(())
}

/// How the materialised way cuts a group's gradient.
pub(crate) struct Tiles {
    /// Elements of a vector of `G`.
    pub vector: usize,
    /// Vectors of a register tile's row.
    pub columns: usize,
    /// Rows of a register tile: neighbouring channels of one place of the kernel.
    pub rows: usize,
    /// Parts of an example's norm in a group.
    pub count: usize,
}

impl Tiles {
    pub(crate) fn new(conv: &Convolution<'_>, tuning: &Tuning) -> Self {
        let vector = widest(conv.group_out, tuning.lanes_of(conv.x.accumulator()));
        let columns = widest(conv.group_out / vector, 2);
        let count = if tuning.is_cpu {
            conv.group_out / (vector * columns)
        } else {
            conv.rows().div_ceil(TILE) * conv.group_out.div_ceil(TILE)
        };
        Self {
            vector,
            columns,
            rows: widest(conv.group_in, 8),
            count,
        }
    }
}

/// The largest of `most` and its halves that divides `n`; the copies start where any vector may.
fn widest(n: usize, most: usize) -> usize {
    let mut width = most.max(1);
    while !n.is_multiple_of(width) {
        width /= 2;
    }
    width
}

fn launch_materialised(
    launch: &Launch<'_>,
    op: &'static str,
    conv: &Convolution<'_>,
    unfolded: &Unfolded,
    partials: &Arg<'_>,
) -> Result<(), KernelError> {
    let Launch { client, tuning, .. } = *launch;
    let x = Arg::new(op, "workspace", &unfolded.x)?;
    let g = Arg::new(op, "workspace", &unfolded.g)?;
    let positions = Arg::new(op, "workspace", &unfolded.positions)?;
    let tiles = Tiles::new(conv, tuning);
    let rows = conv.examples * conv.groups * tiles.count;
    if tuning.is_cpu {
        let (count, dim) = tuning.grid(rows, 1);
        conv_materialised_registers::launch(
            client,
            count,
            dim,
            tiles.vector,
            x.buffer(1),
            g.buffer(tiles.vector),
            positions.buffer(1),
            partials.buffer(1),
            rows as u32,
            conv.tokens as u32,
            conv.places as u32,
            conv.inputs as u32,
            conv.group_in as u32,
            (conv.group_out / tiles.vector) as u32,
            tiles.rows,
            tiles.columns,
            x.dtype(),
            partials.dtype(),
        );
    } else {
        let (count, dim) = tile::grid(rows, tuning);
        conv_materialised_shared::launch(
            client,
            count,
            dim,
            x.buffer(1),
            g.buffer(1),
            positions.buffer(1),
            partials.buffer(1),
            rows as u32,
            conv.tokens as u32,
            conv.places as u32,
            conv.inputs as u32,
            conv.group_in as u32,
            conv.group_out as u32,
            x.dtype(),
            partials.dtype(),
        );
    }
    Ok(())
}

/// One unit takes the tiles `(i, i..)` of the upper triangle of one example's and group's Gram matrices.
#[cube(launch)]
pub(crate) fn conv_gram_registers<F: Float, E: Float, NX: Size, NG: Size>(
    x: &[Vector<F, NX>],
    g: &[Vector<F, NG>],
    positions: &[u32],
    products: &mut [E],
    bounds: &mut [E],
    rows: u32,
    tokens: u32,
    places: u32,
    inputs: u32,
    x_columns: u32,
    g_columns: u32,
    #[define(F)] _dtype: ElemType,
    #[define(E)] _accumulator: ElemType,
) {
    let row = row_of(1u32);
    if row < rows as usize {
        let tiles = (tokens as usize + comptime!(SIDE - 1)) / comptime!(SIDE);
        let z = row / tiles;
        let i = row % tiles;
        let mut sum = E::new(0.0);
        for j in i..tiles {
            let weight = select(j == i, E::new(1.0), E::new(2.0));
            let a_tile = unfolded_dot_tile::<F, E, NX>(
                x,
                positions,
                z * inputs as usize,
                i,
                j,
                tokens,
                places,
                x_columns,
            );
            let g_tile = dot_tile::<F, E, NG>(g, g, z * tokens as usize, i, j, tokens, g_columns);
            sum += weight * tile_sum::<E>(&a_tile, &g_tile, i, j, tokens);
            if j == i {
                bounds[row] = tile_bound::<E>(&a_tile, &g_tile, i, tokens);
            }
        }
        products[row] = sum;
    }
}

/// The dot products of the unfolded tokens `i*SIDE..` with `j*SIDE..`; places past the last token repeat it.
#[cube]
#[allow(clippy::too_many_arguments)]
fn unfolded_dot_tile<F: Float, E: Float, N: Size>(
    x: &[Vector<F, N>],
    positions: &[u32],
    x_first: usize,
    i: usize,
    j: usize,
    tokens: u32,
    places: u32,
    columns: u32,
) -> Array<E> {
    let last = tokens as usize - 1;
    let (places, columns) = (places as usize, columns as usize);
    let mut sums = zeros::<E, N>(comptime!(SIDE * SIDE));
    for place in 0..places {
        let mut at = Array::<u32>::new(comptime!(2 * SIDE));
        #[unroll]
        for u in 0..SIDE {
            at[u] = positions[min_index(i * SIDE + u, last) * places + place];
            at[u + SIDE] = positions[min_index(j * SIDE + u, last) * places + place];
        }
        for k in 0..columns {
            let mut left = zeros::<E, N>(SIDE);
            #[unroll]
            for u in 0..SIDE {
                if at[u] != OUTSIDE {
                    left[u] =
                        Vector::<E, N>::cast_from(x[(x_first + at[u] as usize) * columns + k]);
                }
            }
            #[unroll]
            for v in 0..SIDE {
                if at[v + SIDE] != OUTSIDE {
                    let right = Vector::<E, N>::cast_from(
                        x[(x_first + at[v + SIDE] as usize) * columns + k],
                    );
                    #[unroll]
                    for u in 0..SIDE {
                        sums[u * SIDE + v] = fma(left[u], right, sums[u * SIDE + v]);
                    }
                }
            }
        }
    }
    let mut dots = Array::<E>::new(comptime!(SIDE * SIDE));
    #[unroll]
    for s in 0..SIDE * SIDE {
        dots[s] = sum_lanes::<E, N>(sums[s]);
    }
    dots
}

/// One cube takes one tile of the upper triangle of one example's and group's Gram matrices.
#[cube(launch)]
pub(crate) fn conv_gram_shared<F: Float, E: Float, N: Size>(
    x: &[F],
    g: &[Vector<F, N>],
    positions: &[u32],
    products: &mut [E],
    bounds: &mut [E],
    rows: u32,
    tiles: u32,
    tokens: u32,
    places: u32,
    inputs: u32,
    x_columns: u32,
    g_columns: u32,
    #[define(F)] _dtype: ElemType,
    #[define(E)] _accumulator: ElemType,
) {
    let row = CUBE_POS as usize;
    if row < rows as usize {
        let (tokens, g_columns) = (tokens as usize, g_columns as usize);
        let z = row / tiles as usize;
        let side = (tokens + comptime!(TILE - 1)) / comptime!(TILE);
        let (i, j) = triangle(row % tiles as usize, side);
        let a_tile = unfolded_gram::<F, E>(
            x,
            positions,
            z * inputs as usize,
            i * TILE,
            j * TILE,
            tokens,
            places as usize,
            x_columns as usize,
        );
        let g_first = z * tokens * g_columns;
        let g_tile = tile::product::<F, E, N>(
            g,
            g,
            g_first,
            g_first,
            i * TILE,
            j * TILE,
            tokens,
            tokens,
            g_columns,
            g_columns,
            g_columns,
            1usize,
            1usize,
            Deep::BOTH,
        );
        write_products::<E>(&a_tile, &g_tile, products, bounds, row, i == j);
    }
}

/// One unit takes all rows of one example's and group's gradient, `tile_columns` vectors wide.
#[cube(launch)]
pub(crate) fn conv_materialised_registers<F: Float, E: Float, N: Size>(
    x: &[F],
    g: &[Vector<F, N>],
    positions: &[u32],
    partials: &mut [E],
    rows: u32,
    tokens: u32,
    places: u32,
    inputs: u32,
    x_columns: u32,
    g_columns: u32,
    #[comptime] tile_rows: usize,
    #[comptime] tile_columns: usize,
    #[define(F)] _dtype: ElemType,
    #[define(E)] _accumulator: ElemType,
) {
    let row = row_of(1u32);
    if row < rows as usize {
        let tiles = g_columns as usize / tile_columns;
        let z = row / tiles;
        let column = row % tiles * tile_columns;
        let mut squares = Vector::<E, N>::new(E::new(0.0));
        for place in 0..places as usize {
            let mut channel = 0usize;
            while channel < x_columns as usize {
                let mut sums = zeros::<E, N>(comptime!(tile_rows * tile_columns));
                unfolded_outer_tile::<F, E, N>(
                    x,
                    g,
                    positions,
                    &mut sums,
                    z * inputs as usize,
                    z * tokens as usize,
                    tokens as usize,
                    places as usize,
                    place,
                    x_columns as usize,
                    g_columns as usize,
                    channel,
                    column,
                    tile_rows,
                    tile_columns,
                );
                #[unroll]
                for s in 0..tile_rows * tile_columns {
                    squares = fma(sums[s], sums[s], squares);
                }
                channel += tile_rows;
            }
        }
        partials[row] = sum_lanes::<E, N>(squares);
    }
}

/// One cube takes one tile of one example's and group's gradient.
#[cube(launch)]
pub(crate) fn conv_materialised_shared<F: Float, E: Float>(
    x: &[F],
    g: &[F],
    positions: &[u32],
    partials: &mut [E],
    rows: u32,
    tokens: u32,
    places: u32,
    inputs: u32,
    x_columns: u32,
    g_columns: u32,
    #[define(F)] _dtype: ElemType,
    #[define(E)] _accumulator: ElemType,
) {
    let row = CUBE_POS as usize;
    if row < rows as usize {
        let a_columns = places as usize * x_columns as usize;
        let across = (g_columns as usize + comptime!(TILE - 1)) / comptime!(TILE);
        let down = (a_columns + comptime!(TILE - 1)) / comptime!(TILE);
        let z = row / (across * down);
        let place = row % (across * down);
        let tile = unfolded_product::<F, E>(
            x,
            g,
            positions,
            z * inputs as usize,
            z * tokens as usize,
            place / across * TILE,
            place % across * TILE,
            tokens as usize,
            places as usize,
            x_columns as usize,
            g_columns as usize,
        );
        let mut sum = E::new(0.0);
        #[unroll]
        for s in 0..REGISTERS * REGISTERS {
            sum += tile[s] * tile[s];
        }
        let total = sum_units::<E>(sum, TILE_UNITS, TILE_UNITS);
        if UNIT_POS == 0 {
            partials[row] = total;
        }
    }
}
