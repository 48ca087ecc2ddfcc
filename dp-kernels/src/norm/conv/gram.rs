//! Products of positions: the Gram way of a convolution.

use crate::check::Arg;
use crate::launch::Room;
use crate::norm::gram::{
    self, SIDE, dot_tile, launch_finish, min_index, tile_bound, tile_sum, triangle, write_products,
};
use crate::norm::linear::{Bias, Problem};
use crate::outer::zeros;
use crate::reduce::{row_of, sum_lanes};
use crate::tile::{self, Deep, TILE};
use crate::unfold::{Convolution, OUTSIDE, Unfolded, unfolded_gram};
use crate::{KernelError, Launch};
use cubecl::prelude::*;

/// By a processor's kernels of a Linear on the copies, `[B * groups, positions, channels of a group]`: they sum the lanes of the narrower side's
/// products only, read no table, and a unit may take a whole example.
pub(super) fn launch_pointwise(
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
    let room = gram::room(norms_sq.dtype(), conv.tokens, tuning);
    let [x, g, products, bounds, room] = launch.scratch(op, [x, g, part(), part(), room])?;
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
    let room = Arg::new(op, "workspace", &room)?;
    conv.copy(launch, &problem.a, &problem.g);
    if whole {
        gram::launch_examples(launch, &problem, &room, norms_sq, Bias::Nothing);
    } else {
        gram::launch_rows(launch, &problem, [&products, &bounds, &room], blocks);
        launch_finish(launch, &products, &bounds, norms_sq, shape);
    }
    Ok(())
}

/// Writes the parts of the double sum and of its bound, `[B, groups, tiles]`.
pub(super) fn launch(
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
        let (count, dim) = tuning.grid_in_turn(rows);
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
