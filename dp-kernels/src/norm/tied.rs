//! An embedding whose table is the head's weight too: two gradients of one parameter, and their product.

use super::embedding;
use super::gradient;
use super::gram::{self, SIDE, dot_tile, gram_floor};
use super::linear::Problem;
use crate::check::Arg;
use crate::launch::Room;
use crate::reduce::{lane_of, row_of, sum_units};
use crate::tile::{self, Deep, REGISTERS, TILE, TILE_UNITS, offset};
use crate::{KernelError, Launch, Tuning};
use cubecl::{prelude::*, std::tensor::TensorHandle};

/// Adds the squared norm of each example's gradient of a tied table `[V, p]` into `norms_sq`: one parameter that is
/// the embedding of the tokens and the weight of the head.
///
/// `ids [B, T]` (i32 or u32), `g [B, T, p]` the gradient at the embedding's output, `h [B, T, p]` the head's input,
/// `delta [B, T, V]` the gradient at the logits (the three of one type: f32, f16, bf16 or f64), `norms_sq [B]` f32 (f64
/// beside f64), ADDED into. The weighted sum is [`weighted_sum_tied`](crate::weighted_sum_tied).
///
/// The example's gradient is `E + H`, with row `v` of `E` the sum of the `g_t` of its tokens `v`, and
/// `H = sum_t delta_t h_t^T`. So the norm is
/// `|E|^2 + |H|^2 + 2 sum_{t,t'} delta_{t'}[id_t] <g_t, h_t'>`, about `B T^2 (V + 3 p)` FLOP. An id that is not in
/// `0..V` has a row of its own here; the sum leaves it out.
///
/// # Errors
/// A [`KernelError`] when shapes, types or layouts don't agree; nothing is launched then.
///
/// # Privacy
/// Bounds one example's part in the sum over the tied table, under add/remove of one example. Adding
/// `embedding_norm_sq` and the head's `linear_norm_sq` instead leaves the product of the two out: where they point
/// the same way, the norm comes out too small by up to a half, and the guarantee is false.
/// `E` and `H` may cancel, and then the sum above subtracts nearly equal numbers. So the norm is never less than
/// [`GRAM_FLOOR`](crate::GRAM_FLOOR)` (sum_t |g_t| + sum_t |delta_t| |h_t|)^2` ([`GRAM_FLOOR_F64`](crate::GRAM_FLOOR_F64)
/// of f64), a bound on what rounding can hide (docs/proofs/layer-norms.md).
///
/// # Precision
/// f32 throughout, f64 for f64 inputs. An example's norm has the same bits in every microbatch.
///
/// # References
/// X. Li et al., "Large Language Models Can Be Strong Differentially Private Learners", arXiv 2110.05679.
pub fn tied_norm_sq(
    launch: &Launch<'_>,
    ids: &TensorHandle,
    g: &TensorHandle,
    h: &TensorHandle,
    delta: &TensorHandle,
    norms_sq: &TensorHandle,
) -> Result<(), KernelError> {
    let Launch { client, tuning, .. } = *launch;
    let op = "tied_norm_sq";
    let head = Problem::named(client, op, ("h", h), ("delta", delta))?;
    let Problem {
        b, t, d: p, p: v, ..
    } = head;
    let g = Arg::new(op, "g", g)?
        .has_shape(&[b, t, p])?
        .same_type(&head.a)?;
    let ids = Arg::new(op, "ids", ids)?.has_shape(&[b, t])?.is_index()?;
    let norms_sq = Arg::new(op, "norms_sq", norms_sq)?
        .has_shape(&[b])?
        .sums_of(&head.a)?;
    if b * t * p * v == 0 {
        return Ok(());
    }
    let spans = gradient::spans(&g, p, tuning);
    let crosses = cross_tiles(t, tuning);
    let of_head = gram::workspace(&head, tuning);
    let head_rooms = of_head.len();
    let mut rooms = Vec::from(of_head);
    rooms.extend(embedding::rooms(&g, [b, t, p], tuning));
    rooms.push(Room::of(&[b, crosses], norms_sq.dtype()));
    rooms.push(Room::of(&[b, t * spans], norms_sq.dtype()));
    let scratch = launch.scratches(op, rooms)?;
    let (of_head, rest) = scratch.split_at(head_rooms);
    let workspace = |tensor| Arg::new(op, "workspace", tensor);
    let (products, bounds) = (workspace(&of_head[0])?, workspace(&of_head[1])?);
    let (table, links, slots) = (
        workspace(&rest[0])?,
        workspace(&rest[1])?,
        workspace(&rest[2])?,
    );
    let (cross, squares) = (workspace(&rest[3])?, workspace(&rest[4])?);

    gram::launch_products(launch, &head, of_head)?;
    embedding::launch_parts(launch, &ids, &g, [&table, &links, &slots], [b, t, p]);
    launch_cross(launch, &ids, &g, &head, &cross);
    gradient::launch_squares(launch, &g, &squares, b * t, p);

    let width = tuning.width(t.div_ceil(4));
    let (count, dim) = tuning.grid(b, width);
    finish_tied::launch(
        client,
        count,
        dim,
        products.buffer(1),
        bounds.buffer(1),
        table.buffer(1),
        cross.buffer(1),
        squares.buffer(1),
        norms_sq.buffer(1),
        b as u32,
        gram::tiles(&head, tuning) as u32,
        embedding::parts(&g, t, p, tuning) as u32,
        crosses as u32,
        (t * spans) as u32,
        width,
        dim.num_elems(),
        norms_sq.dtype(),
    );
    Ok(())
}

/// How many parts the product of `E` and `H` has for an example.
fn cross_tiles(t: usize, tuning: &Tuning) -> usize {
    if tuning.is_cpu {
        t.div_ceil(SIDE)
    } else {
        t.div_ceil(TILE) * t.div_ceil(TILE)
    }
}

fn launch_cross(
    launch: &Launch<'_>,
    ids: &Arg<'_>,
    g: &Arg<'_>,
    head: &Problem<'_>,
    cross: &Arg<'_>,
) {
    let Launch { client, tuning, .. } = *launch;
    let Problem {
        a: h,
        g: delta,
        b,
        t,
        d: p,
        p: v,
        ..
    } = head;
    let tiles = cross_tiles(*t, tuning);
    if tuning.is_cpu {
        let most = tuning.lanes_of(g.accumulator());
        let vector = g.vector(*p, most).min(h.vector(*p, most));
        let (count, dim) = tuning.grid_in_turn(b * tiles);
        cross_registers::launch(
            client,
            count,
            dim,
            vector,
            ids.buffer(1),
            g.buffer(vector),
            h.buffer(vector),
            delta.buffer(1),
            cross.buffer(1),
            (b * tiles) as u32,
            *t as u32,
            (p / vector) as u32,
            *v as u32,
            ids.dtype(),
            g.dtype(),
            cross.dtype(),
        );
    } else {
        let vector = tile::vector(g, *p, h, *p, tuning);
        let (count, dim) = tile::grid(b * tiles, tuning);
        cross_shared::launch(
            client,
            count,
            dim,
            vector,
            ids.buffer(1),
            g.buffer(vector),
            h.buffer(vector),
            delta.buffer(1),
            cross.buffer(1),
            (b * tiles) as u32,
            *t as u32,
            *p as u32,
            *v as u32,
            ids.dtype(),
            g.dtype(),
            cross.dtype(),
        );
    }
}

/// `delta[row, id]`, 0 for an id past the vocabulary.
#[cube]
fn at_id<I: Int, F: Float, E: Float>(delta: &[F], row: usize, id: I, vocabulary: u32) -> E {
    let id = u32::cast_from(id);
    let mut value = E::new(0.0);
    if id < vocabulary {
        value = E::cast_from(delta[row * vocabulary as usize + id as usize]);
    }
    value
}

/// One unit takes `SIDE` tokens of the embedding against all tokens of the head.
#[cube(launch)]
pub(crate) fn cross_registers<I: Int, F: Float, E: Float, N: Size>(
    ids: &[I],
    g: &[Vector<F, N>],
    h: &[Vector<F, N>],
    delta: &[F],
    cross: &mut [E],
    rows: u32,
    tokens: u32,
    columns: u32,
    vocabulary: u32,
    #[define(I)] _id_type: ElemType,
    #[define(F)] _dtype: ElemType,
    #[define(E)] _accumulator: ElemType,
) {
    let row = row_of(1u32);
    if row < rows as usize {
        let tiles = (tokens as usize + comptime!(SIDE - 1)) / comptime!(SIDE);
        let first_token = row / tiles * tokens as usize;
        let i = row % tiles;
        let mut sum = E::new(0.0);
        for j in 0..tiles {
            let dots = dot_tile::<F, E, N>(g, h, first_token, i, j, tokens, columns);
            let mut tile_sum = E::new(0.0);
            #[unroll]
            for u in 0..SIDE {
                let t = i * SIDE + u;
                if t < tokens as usize {
                    let id = ids[first_token + t];
                    #[unroll]
                    for v in 0..SIDE {
                        let other = j * SIDE + v;
                        if other < tokens as usize {
                            let weight =
                                at_id::<I, F, E>(delta, first_token + other, id, vocabulary);
                            tile_sum += weight * dots[u * SIDE + v];
                        }
                    }
                }
            }
            sum += tile_sum;
        }
        cross[row] = sum;
    }
}

/// One cube takes a tile of tokens of the embedding against one of the head.
#[cube(launch)]
pub(crate) fn cross_shared<I: Int, F: Float, E: Float, N: Size>(
    ids: &[I],
    g: &[Vector<F, N>],
    h: &[Vector<F, N>],
    delta: &[F],
    cross: &mut [E],
    rows: u32,
    tokens: u32,
    columns: u32,
    vocabulary: u32,
    #[define(I)] _id_type: ElemType,
    #[define(F)] _dtype: ElemType,
    #[define(E)] _accumulator: ElemType,
) {
    let row = CUBE_POS as usize;
    if row < rows as usize {
        let (tokens, columns) = (tokens as usize, columns as usize);
        let side = (tokens + comptime!(TILE - 1)) / comptime!(TILE);
        let place = row % (side * side);
        let first_token = row / (side * side) * tokens;
        let i = place / side * TILE;
        let j = place % side * TILE;
        let dots = tile::product::<F, E, N>(
            g,
            h,
            first_token * columns,
            first_token * columns,
            i,
            j,
            tokens,
            tokens,
            columns,
            columns,
            columns,
            1usize,
            1usize,
            Deep::BOTH,
        );
        let (u0, v0) = tile::origin();
        let mut sum = E::new(0.0);
        #[unroll]
        for u in 0..REGISTERS {
            let t = i + u0 + comptime!(offset(u));
            if t < tokens {
                let id = ids[first_token + t];
                #[unroll]
                for v in 0..REGISTERS {
                    let other = j + v0 + comptime!(offset(v));
                    if other < tokens {
                        let weight = at_id::<I, F, E>(delta, first_token + other, id, vocabulary);
                        sum += weight * dots[u * REGISTERS + v];
                    }
                }
            }
        }
        let total = sum_units::<E>(sum, TILE_UNITS, TILE_UNITS);
        if UNIT_POS == 0 {
            cross[row] = total;
        }
    }
}

/// `norms_sq[b] += max(|H|^2 + |E|^2 + 2 <E, H>, floor)`, NaN if any part is.
#[cube(launch)]
pub(crate) fn finish_tied<E: Float>(
    products: &[E],
    bounds: &[E],
    table: &[E],
    cross: &[E],
    squares: &[E],
    norms_sq: &mut [E],
    examples: u32,
    tiles: u32,
    parts: u32,
    crosses: u32,
    spans: u32,
    #[comptime] width: u32,
    #[comptime] units: u32,
    #[define(E)] _accumulator: ElemType,
) {
    let b = row_of(width);
    let lane = lane_of(width);
    let mut sum = E::new(0.0);
    let mut bound = E::new(0.0);
    if b < examples as usize {
        let step = comptime!(width as usize);
        let mut i = lane;
        while i < tiles as usize {
            sum += products[b * tiles as usize + i];
            bound += bounds[b * tiles as usize + i];
            i += step;
        }
        i = lane;
        while i < parts as usize {
            sum += table[b * parts as usize + i];
            i += step;
        }
        i = lane;
        while i < crosses as usize {
            sum += E::new(2.0) * cross[b * crosses as usize + i];
            i += step;
        }
        // Where a token's |g| is in several parts, the sum of their roots is no smaller.
        i = lane;
        while i < spans as usize {
            bound += squares[b * spans as usize + i].sqrt();
            i += step;
        }
    }
    let total = sum_units::<E>(sum, width, units);
    if comptime!(width > 1) {
        sync_cube();
    }
    let bound_total = sum_units::<E>(bound, width, units);
    if b < examples as usize && lane == 0 {
        let floor = bound_total * bound_total * gram_floor::<E>();
        // A NaN sum compares false and stays; a NaN floor comes with a NaN sum.
        norms_sq[b] += select(total < floor, floor, total);
    }
}
