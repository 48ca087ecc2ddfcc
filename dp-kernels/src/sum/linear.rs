//! Linear: one matrix product over all live tokens of the microbatch.

use crate::check::Arg;
use crate::launch::Room;
use crate::live::is_live;
use crate::outer::{Outer, block, outer_tile, outer_token, zeros};
use crate::reduce::row_of;
use crate::sum::columns::launch_add_columns;
use crate::tile::tensor::{self, Operand, PAIRS, Stages};
use crate::tile::{self, Deep, REGISTERS, TILE, offset};
use crate::{KernelError, Launch, Tuning};
use cubecl::{client::Client, prelude::*, std::tensor::TensorHandle};

/// Adds `sum_b c_b A_b^T G_b` into `out`.
///
/// `a [B, T, d]`, `g [B, T, p]` (one type: f32, f16, bf16 or f64), `factors [B]` and `out [d, p]` f32 (f64 beside f64),
/// ADDED into.
///
/// The factor is applied to an example's sum, or to `G` as it is loaded, and the sum is kept in registers: nothing of the size
/// of `G` is written. A dead example's rows are not read at all.
///
/// # Errors
/// A [`KernelError`] when shapes, types or layouts don't agree; nothing is launched then.
///
/// # Privacy
/// As [`weighted_sum_bias`](crate::weighted_sum_bias). Products are exact in f32, or f32 or f64 themselves, on every device: f16 and bf16
/// may go through matrix units, which don't round them, but f32 never goes through a format that would round `A` and `G` to other
/// numbers than those the norm was taken of.
///
/// # Precision
/// f32, f64 for f64 inputs; tokens in order within an example, examples in order within a slice of the microbatch. Matrix units add up
/// stretches of 256 products by cutting ([`STRETCH_ROUNDINGS`](crate::STRETCH_ROUNDINGS)).
pub fn weighted_sum_linear(
    launch: &Launch<'_>,
    a: &TensorHandle,
    g: &TensorHandle,
    factors: &TensorHandle,
    out: &TensorHandle,
) -> Result<(), KernelError> {
    let sum = LinearSum::new(
        launch.client,
        "weighted_sum_linear",
        ("a", a),
        ("g", g),
        factors,
        ("out", out),
    )?;
    let scratch = launch.scratches(sum.op, sum.rooms(launch.tuning))?;
    sum.launch(launch, &scratch)
}

/// The checked input.
pub(super) struct LinearSum<'a> {
    op: &'static str,
    a: Arg<'a>,
    g: Arg<'a>,
    factors: Arg<'a>,
    out: Arg<'a>,
    b: usize,
    t: usize,
    d: usize,
    p: usize,
}

impl<'a> LinearSum<'a> {
    /// `a [B, T, d]` and `g [B, T, p]`, by the names that the caller knows them by.
    pub(super) fn new(
        client: &Client,
        op: &'static str,
        (a_name, a): (&'static str, &'a TensorHandle),
        (g_name, g): (&'static str, &'a TensorHandle),
        factors: &'a TensorHandle,
        (out_name, out): (&'static str, &'a TensorHandle),
    ) -> Result<Self, KernelError> {
        let a = Arg::new(op, a_name, a)?.is_float(client)?;
        let [b, t, d] = a.dims()?;
        let g = Arg::new(op, g_name, g)?.same_type(&a)?;
        let [_, _, p] = g.dims()?;
        let g = g.has_shape(&[b, t, p])?;
        let factors = Arg::new(op, "factors", factors)?
            .has_shape(&[b])?
            .sums_of(&g)?;
        let out = Arg::new(op, out_name, out)?
            .has_shape(&[d, p])?
            .sums_of(&g)?;
        Ok(Self {
            op,
            a,
            g,
            factors,
            out,
            b,
            t,
            d,
            p,
        })
    }

    fn is_empty(&self) -> bool {
        self.b * self.t * self.d * self.p == 0
    }

    /// A GPU's sums of slices of the examples; a processor needs none.
    pub(super) fn rooms(&self, tuning: &Tuning) -> Vec<Room> {
        if self.is_empty() || tuning.is_cpu {
            return Vec::new();
        }
        vec![Room::of(
            &[self.slices(tuning), self.d, self.p],
            self.out.dtype(),
        )]
    }

    /// Adds into `out`, by way of the buffers of [`rooms`](Self::rooms).
    pub(super) fn launch(
        &self,
        launch: &Launch<'_>,
        scratch: &[TensorHandle],
    ) -> Result<(), KernelError> {
        match scratch {
            _ if self.is_empty() => {}
            [] => self.launch_registers(launch),
            [partials, ..] => {
                let partials = Arg::new(self.op, "workspace", partials)?;
                if self.takes_tensor(launch.tuning) {
                    self.launch_tensor(launch, &partials);
                } else {
                    self.launch_shared(launch, &partials);
                }
            }
        }
        Ok(())
    }

    fn launch_registers(&self, launch: &Launch<'_>) {
        let Launch { client, tuning, .. } = *launch;
        let Self {
            a,
            g,
            factors,
            out,
            b,
            t,
            d,
            p,
            ..
        } = self;
        let shape = Outer::new(a, g, *d, *p, tuning);
        let vector = shape.vector.min(out.vector(*p, shape.vector));
        let panel = vector * shape.columns;
        let [block_rows, block_columns] = block([*d, *p], [shape.rows, panel], 1, tuning);
        let tasks = d.div_ceil(block_rows) * p.div_ceil(block_columns);
        let (count, dim) = tuning.grid(tasks, 1);
        weighted_outer_registers::launch(
            client,
            count,
            dim,
            vector,
            a.buffer(1),
            g.buffer(vector),
            factors.buffer(1),
            out.buffer(vector),
            *b as u32,
            *t as u32,
            *d as u32,
            (p / vector) as u32,
            group(*b, *t) as u32,
            block_rows as u32,
            (block_columns / vector) as u32,
            group(*b, *t) > 1,
            *t == 1,
            shape.rows,
            shape.columns,
            a.dtype(),
            out.dtype(),
        );
    }

    fn launch_shared(&self, launch: &Launch<'_>, partials: &Arg<'_>) {
        let Launch { client, tuning, .. } = *launch;
        let Self {
            a,
            g,
            factors,
            out,
            b,
            t,
            d,
            p,
            ..
        } = self;
        let slices = self.slices(tuning);
        let vector = tile::vector(a, *d, g, *p, tuning);
        let (count, dim) = tile::grid(self.tiles(tuning) * slices, tuning);
        weighted_outer_shared::launch(
            client,
            count,
            dim,
            vector,
            a.buffer(vector),
            g.buffer(vector),
            factors.buffer(1),
            partials.buffer(1),
            *b as u32,
            *t as u32,
            *d as u32,
            *p as u32,
            slices as u32,
            a.dtype(),
            partials.dtype(),
        );
        launch_add_columns(launch, partials, out, slices, d * p);
    }

    fn launch_tensor(&self, launch: &Launch<'_>, partials: &Arg<'_>) {
        let Launch { client, tuning, .. } = *launch;
        let Self {
            a,
            g,
            factors,
            out,
            b,
            t,
            d,
            p,
            ..
        } = self;
        let slices = self.slices(tuning);
        let (count, dim) = tensor::grid(self.tiles(tuning) * slices, tuning);
        weighted_outer_tensor::launch(
            client,
            count,
            dim,
            tensor::LANES,
            2,
            a.buffer(tensor::LANES),
            g.buffer(tensor::LANES),
            factors.buffer(1),
            partials.buffer(2),
            *b as u32,
            *t as u32,
            *d as u32,
            *p as u32,
            slices as u32,
            a.dtype(),
        );
        launch_add_columns(launch, partials, out, slices, d * p);
    }

    /// Whether the matrix units take it: not where an example's tokens don't fill a stage, which would be mostly zeros.
    fn takes_tensor(&self, tuning: &Tuning) -> bool {
        self.t >= tensor::DEPTH && tensor::takes(&self.a, self.d, &self.g, self.p, tuning)
    }

    fn tiles(&self, tuning: &Tuning) -> usize {
        let side = if self.takes_tensor(tuning) {
            tensor::SIDE
        } else {
            TILE
        };
        self.d.div_ceil(side) * self.p.div_ceil(side)
    }

    /// Into how many slices of examples a GPU cuts the sum, so that small weights fill it too.
    fn slices(&self, tuning: &Tuning) -> usize {
        let tiles = self.tiles(tuning);
        tuning.busy_cubes.div_ceil(tiles).clamp(1, self.b)
    }
}

/// Tokens of a group's examples, at most: with two vectors of 64 bytes a token, 32 KiB of `G`.
const GROUP_TOKENS: usize = 256;

/// How many examples a register tile adds up before it is added to the sum: more than one where they are short, or the
/// sum would be read and written for every few tokens.
///
/// A number then goes through one addition a token of its group and one a group. That is to be no more than one a token
/// of its own example and one an example, which is what [`Tuning::weighted_sum_depth`] says.
fn group(examples: usize, tokens: usize) -> usize {
    let depth = |group: usize| group * tokens + examples.div_ceil(group);
    let mut group = (GROUP_TOKENS / tokens).clamp(1, examples);
    while depth(group) > depth(1) {
        group -= 1;
    }
    group
}

/// One unit owns a block of the weight, and walks the microbatch group by group of examples.
#[cube(launch)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn weighted_outer_registers<F: Float, E: Float, N: Size>(
    a: &[F],
    g: &[Vector<F, N>],
    factors: &[E],
    out: &mut [Vector<E, N>],
    examples: u32,
    tokens: u32,
    a_columns: u32,
    g_columns: u32,
    group: u32,
    block_rows: u32,
    block_columns: u32,
    #[comptime] grouped: bool,
    #[comptime] one_token: bool,
    #[comptime] tile_rows: usize,
    #[comptime] tile_columns: usize,
    #[define(F)] _dtype: ElemType,
    #[define(E)] _accumulator: ElemType,
) {
    let task = row_of(1u32);
    let across = (g_columns as usize + block_columns as usize - 1) / block_columns as usize;
    let first_row = task / across * block_rows as usize;
    let first_column = task % across * block_columns as usize;
    if first_row < a_columns as usize {
        let last_row = min(first_row + block_rows as usize, a_columns as usize);
        let last_column = min(first_column + block_columns as usize, g_columns as usize);
        let mut first = 0usize;
        while first < examples as usize {
            let last = min(first + group as usize, examples as usize);
            let mut column = first_column;
            while column < last_column {
                let mut i = first_row;
                while i < last_row {
                    // From zero, not from `out`: a number then goes through one addition a token of its own group and
                    // one a group, not through one for every token of the batch.
                    let mut sums = zeros::<E, N>(comptime!(tile_rows * tile_columns));
                    for b in first..last {
                        let factor = factors[b];
                        if is_live::<E>(factor) {
                            // One token has no loop of its own, which would cost as much as the token.
                            if comptime!(one_token) {
                                let a_at = b * a_columns as usize + i;
                                let g_at = b * g_columns as usize + column;
                                outer_token::<F, E, N>(
                                    a,
                                    g,
                                    &mut sums,
                                    a_at,
                                    g_at,
                                    factor,
                                    grouped,
                                    tile_rows,
                                    tile_columns,
                                );
                            } else {
                                outer_tile::<F, E, N>(
                                    a,
                                    g,
                                    &mut sums,
                                    b * tokens as usize,
                                    tokens as usize,
                                    a_columns as usize,
                                    g_columns as usize,
                                    i,
                                    column,
                                    factor,
                                    grouped,
                                    tile_rows,
                                    tile_columns,
                                );
                            }
                        }
                    }
                    // An example by itself is scaled once, not at every token; a dead one's sums are zeros.
                    let mut scale = E::new(1.0);
                    if comptime!(!grouped) {
                        scale = select(is_live::<E>(factors[first]), factors[first], E::new(0.0));
                    }
                    #[unroll]
                    for u in 0..tile_rows {
                        #[unroll]
                        for v in 0..tile_columns {
                            let at = (i + u) * g_columns as usize + column + v;
                            let part = sums[u * tile_columns + v];
                            out[at] = fma(part, Vector::<E, N>::new(scale), out[at]);
                        }
                    }
                    i += tile_rows;
                }
                column += tile_columns;
            }
            first = last;
        }
    }
}

/// One cube takes one tile of the weight and one slice of the examples.
#[cube(launch)]
pub(crate) fn weighted_outer_shared<F: Float, E: Float, N: Size>(
    a: &[Vector<F, N>],
    g: &[Vector<F, N>],
    factors: &[E],
    partials: &mut [E],
    examples: u32,
    tokens: u32,
    a_columns: u32,
    g_columns: u32,
    slices: u32,
    #[define(F)] _dtype: ElemType,
    #[define(E)] _accumulator: ElemType,
) {
    let across = (g_columns as usize + comptime!(TILE - 1)) / comptime!(TILE);
    let down = (a_columns as usize + comptime!(TILE - 1)) / comptime!(TILE);
    let place = CUBE_POS as usize;
    let slice = place / (across * down);
    if slice < slices as usize {
        let tile = place % (across * down);
        let first_row = tile / across * TILE;
        let first_column = tile % across * TILE;
        let per_slice = (examples as usize + slices as usize - 1) / slices as usize;
        let mut sums = tile::no_sums::<E>();
        for k in 0..per_slice {
            let b = slice * per_slice + k;
            // Uniform over the cube: all its units meet the same barriers.
            if b < examples as usize {
                let factor = factors[b];
                if is_live::<E>(factor) {
                    let part = tile::product::<F, E, N>(
                        a,
                        g,
                        b * tokens as usize * a_columns as usize,
                        b * tokens as usize * g_columns as usize,
                        first_row,
                        first_column,
                        a_columns as usize,
                        g_columns as usize,
                        tokens as usize,
                        1usize,
                        1usize,
                        a_columns as usize,
                        g_columns as usize,
                        Deep::NONE,
                    );
                    #[unroll]
                    for s in 0..REGISTERS * REGISTERS {
                        sums[s] = fma(part[s], factor, sums[s]);
                    }
                }
            }
        }
        let (u0, v0) = tile::origin();
        let start = slice * a_columns as usize * g_columns as usize;
        #[unroll]
        for u in 0..REGISTERS {
            #[unroll]
            for v in 0..REGISTERS {
                let row = first_row + u0 + comptime!(offset(u));
                let column = first_column + v0 + comptime!(offset(v));
                if row < a_columns as usize && column < g_columns as usize {
                    partials[start + row * g_columns as usize + column] = sums[u * REGISTERS + v];
                }
            }
        }
    }
}

/// One cube takes one tile of the weight and one slice of the examples, by the matrix units.
///
/// The examples of a slice follow each other without a pause: while the last stage of one is multiplied, the first of the next is loaded.
#[cube(launch)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn weighted_outer_tensor<F: Float, N: Size, M: Size>(
    a: &[Vector<F, N>],
    g: &[Vector<F, N>],
    factors: &[f32],
    partials: &mut [Vector<f32, M>],
    examples: u32,
    tokens: u32,
    a_columns: u32,
    g_columns: u32,
    slices: u32,
    #[define(F)] _dtype: ElemType,
) {
    let (tokens, a_columns, g_columns) = (tokens as usize, a_columns as usize, g_columns as usize);
    let (examples, slices) = (examples as usize, slices as usize);
    let across = (g_columns + comptime!(tensor::SIDE - 1)) / comptime!(tensor::SIDE);
    let down = (a_columns + comptime!(tensor::SIDE - 1)) / comptime!(tensor::SIDE);
    let place = CUBE_POS as usize;
    let slice = place / (across * down);
    if slice < slices {
        let tile = place % (across * down);
        let first_row = tile / across * comptime!(tensor::SIDE);
        let first_column = tile % across * comptime!(tensor::SIDE);
        let per_slice = (examples + slices - 1) / slices;
        let first = min(slice * per_slice, examples);
        let last = min(first + per_slice, examples);
        let mut sums = tensor::no_sums();
        let mut part = tensor::no_sums();
        let mut stages = Stages::<F, N>::new();
        let of_example = tensor::stages_of(tokens);
        let count = (last - first) * of_example;
        let tile = SliceTile {
            first,
            count,
            of_example,
            first_row,
            first_column,
            tokens,
            a_columns,
            g_columns,
        };
        load_stage::<F, N>(&mut stages, a, g, factors, &tile, 0usize);
        load_stage::<F, N>(&mut stages, a, g, factors, &tile, 1usize);
        for stage in 0..count {
            tensor::turn();
            load_stage::<F, N>(&mut stages, a, g, factors, &tile, stage + 2);
            tensor::multiply::<F, N>(&mut stages, stage, &mut part, Deep::NONE);
            if tensor::ends_stretch(stage % of_example, of_example) {
                let factor = factors[first + stage / of_example];
                let scale = select(is_live::<f32>(factor), factor, 0.0f32);
                tensor::take(&mut part, &mut sums, scale);
            }
        }
        tensor::finish();
        let start = slice * a_columns * g_columns;
        #[unroll]
        for s in 0..PAIRS {
            let (u, v) = tensor::place(
                comptime!(s / 2 / tensor::COLUMNS),
                comptime!(s / 2 % tensor::COLUMNS),
                comptime!(s % 2),
            );
            let (row, column) = (first_row + u, first_column + v);
            // Both columns are inside or neither: rows are whole loads.
            if row < a_columns && column < g_columns {
                let mut pair = Vector::<f32, M>::new(0.0f32);
                pair.insert(0usize, sums[s].extract(0usize));
                pair.insert(1usize, sums[s].extract(1usize));
                partials[(start + row * g_columns + column) / 2usize] = pair;
            }
        }
    }
}

/// One tile of the weight, and the examples of a slice, `count` stages in all, `of_example` each.
#[derive(CubeType, Clone, Copy)]
struct SliceTile {
    first: usize,
    count: usize,
    of_example: usize,
    first_row: usize,
    first_column: usize,
    tokens: usize,
    a_columns: usize,
    g_columns: usize,
}

/// Begins to load stage number `stage` of a slice, if it has so many. A dead example's rows are not read.
#[cube]
fn load_stage<F: Float, N: Size>(
    stages: &mut Stages<F, N>,
    a: &[Vector<F, N>],
    g: &[Vector<F, N>],
    factors: &[f32],
    tile: &SliceTile,
    stage: usize,
) {
    if stage < tile.count {
        let b = tile.first + stage / tile.of_example;
        let k0 = stage % tile.of_example * comptime!(tensor::DEPTH);
        let x = example_columns(b, tile.first_row, tile.tokens, tile.a_columns);
        let y = example_columns(b, tile.first_column, tile.tokens, tile.g_columns);
        let live = is_live::<f32>(factors[b]);
        tensor::load::<F, N>(stages, stage, a, g, &x, &y, k0, live, Deep::NONE);
    } else {
        tensor::load_nothing();
    }
}

/// Columns from `first` on of example `b`'s `tokens` rows of `columns`, each token a depth.
#[cube]
fn example_columns(b: usize, first: usize, tokens: usize, columns: usize) -> Operand {
    Operand {
        start: b * tokens * columns,
        first,
        rows: columns,
        depths: tokens,
        stride: columns,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Routine;

    /// However examples are grouped, a number goes through no more additions than the rounding allowance counts.
    #[test]
    fn groups_are_no_deeper_than_the_allowance() {
        let tuning = Tuning {
            is_cpu: true,
            units: 2,
            vector_bytes: 64,
            max_cubes: 1 << 16,
            busy_cubes: 4,
            tensor_cores: false,
            routine: Routine::Registers,
        };
        for examples in 1..200usize {
            for tokens in 1..80 {
                let group = group(examples, tokens);
                for microbatches in [1, 2, 9] {
                    let depth = group * tokens + examples.div_ceil(group) * microbatches + 1;
                    let allowed = tuning.weighted_sum_depth(
                        examples as u64,
                        tokens as u64,
                        microbatches as u64,
                    );
                    assert!(
                        depth as u64 <= allowed,
                        "B {examples} T {tokens}: groups of {group}"
                    );
                }
            }
        }
        assert_eq!([group(256, 1), group(16, 128), group(16, 2)], [256, 1, 8]);
    }
}
