//! A convolution as a Linear: what its kernels share.
//!
//! For one group a weight gradient is `A^T G` with a token for every output position: `G` holds the gradients of the
//! group's output channels there, and `A` what the kernel's places meet in the group's input channels. `A` is never
//! written. `x` and `g` are copied channels last (each once), so that a place of the kernel meets one row of
//! neighbouring channels, and a table `[positions, places]`, the same for all examples and channels, says which.

use crate::check::{Arg, check_elements};
use crate::launch::Room;
use crate::matmul::launch_transpose;
use crate::outer::{DEPTH as PANEL, Tile, add_panel, load_row};
use crate::reduce::row_of;
use crate::tile::{self, DEPTH, PITCH, TILE, UNITS};
use crate::words::launch_words;
use crate::{ConvShape, KernelError, Launch};
use cubecl::{
    client::Client,
    ir::{ElemType, UIntKind},
    prelude::*,
    std::tensor::TensorHandle,
};
use dp_core::reference::ConvLayout;

/// A convolution's checked input.
pub(crate) struct Convolution<'a> {
    op: &'static str,
    pub x: Arg<'a>,
    g: Arg<'a>,
    layout: ConvLayout,
    pub examples: usize,
    pub groups: usize,
    /// Output positions: the tokens of the Linear.
    pub tokens: usize,
    /// Places of the kernel.
    pub places: usize,
    /// Input positions.
    pub inputs: usize,
    /// Input channels of a group.
    pub group_in: usize,
    /// Output channels of a group: the columns of `G`.
    pub group_out: usize,
}

impl<'a> Convolution<'a> {
    /// `x [B, C_in, input..]`, `g [B, C_out, output..]`.
    pub(crate) fn new<const N: usize>(
        client: &Client,
        op: &'static str,
        x: &'a TensorHandle,
        g: &'a TensorHandle,
        shape: &ConvShape<N>,
    ) -> Result<Self, KernelError> {
        let x_shape: &[usize] = x.shape();
        let g_shape: &[usize] = g.shape();
        let x = Arg::new(op, "x", x)?.is_float(client)?;
        let g = Arg::new(op, "g", g)?.same_type(&x)?;
        let rank = |argument, actual| KernelError::Rank {
            op,
            argument,
            expected: N + 2,
            actual,
        };
        let &[examples, channels_in, ref input @ ..] = x_shape else {
            return Err(rank("x", x_shape.len()));
        };
        let input: [usize; N] = input.try_into().map_err(|_| rank("x", x_shape.len()))?;
        let &[_, channels_out, ..] = g_shape else {
            return Err(rank("g", g_shape.len()));
        };
        let layout = shape
            .layout([channels_in, channels_out], input)
            .map_err(|source| KernelError::Conv { op, source })?;
        let output = &layout.output()[3 - N..];
        let g = g.has_shape(&[&[examples, channels_out], output].concat())?;
        // The norm walks the gradient's elements too, though it never writes them.
        let kernel = &layout.kernel()[3 - N..];
        check_elements(
            op,
            "weight",
            &[&[channels_out, layout.group_in()], kernel].concat(),
        )?;
        Ok(Self {
            op,
            x,
            g,
            examples,
            groups: layout.groups(),
            tokens: layout.output().iter().product(),
            places: layout.kernel().iter().product(),
            inputs: input.iter().product(),
            group_in: layout.group_in(),
            group_out: layout.group_out(),
            layout,
        })
    }

    /// The weight's shape.
    pub(crate) fn weight<const N: usize>(&self) -> Vec<usize> {
        let kernel = &self.layout.kernel()[3 - N..];
        [&[self.layout.channels_out(), self.group_in], kernel].concat()
    }

    /// Rows of a group's gradient.
    pub(crate) fn rows(&self) -> usize {
        self.places * self.group_in
    }

    /// Whether there is nothing to add.
    pub(crate) fn is_empty(&self) -> bool {
        self.x.len() == 0 || self.g.len() == 0
    }

    /// Whether a kernel of one place meets every input position once and in order, so that `A` is the copy of `x` as it lies. Without padding no
    /// axis has more outputs than inputs: as many in all are as many along each.
    pub(crate) fn is_pointwise(&self) -> bool {
        self.places == 1 && self.layout.padding() == [0; 3] && self.tokens == self.inputs
    }

    pub(crate) fn dtype(&self) -> ElemType {
        self.x.dtype()
    }

    /// Room for the copies of `x` and `g`.
    pub(crate) fn copies(&self) -> [Room; 2] {
        let z = self.examples * self.groups;
        [
            Room::of(&[z, self.inputs, self.group_in], self.dtype()),
            Room::of(&[z, self.tokens, self.group_out], self.dtype()),
        ]
    }

    /// Room for the copies, the table of positions, and what the table is made of.
    pub(crate) fn workspace(&self) -> [Room; 4] {
        let [x, g] = self.copies();
        let index = ElemType::UInt(UIntKind::U32);
        [
            x,
            g,
            Room::of(&[self.tokens, self.places], index),
            Room::of(&[GEOMETRY], index),
        ]
    }

    /// Copies `x` and `g` channels last, into the buffers of [`copies`](Self::copies).
    pub(crate) fn copy(&self, launch: &Launch<'_>, x: &Arg<'_>, g: &Arg<'_>) {
        let z = self.examples * self.groups;
        launch_transpose(launch, &self.x, x, z, self.group_in, self.inputs);
        launch_transpose(launch, &self.g, g, z, self.group_out, self.tokens);
    }

    /// Copies `x` and `g` channels last and makes the table of positions, in the buffers of [`workspace`](Self::workspace).
    pub(crate) fn unfold(
        &self,
        launch: &Launch<'_>,
        [x, g, positions, geometry]: [TensorHandle; 4],
    ) -> Result<Unfolded, KernelError> {
        let to = |tensor| Arg::new(self.op, "workspace", tensor);
        self.copy(launch, &to(&x)?, &to(&g)?);
        self.launch_positions(launch, &to(&geometry)?, &to(&positions)?);
        Ok(Unfolded { x, g, positions })
    }

    fn launch_positions(&self, launch: &Launch<'_>, geometry: &Arg<'_>, positions: &Arg<'_>) {
        let Launch { client, tuning, .. } = *launch;
        let layout = &self.layout;
        let sizes: [_; GEOMETRY / 3] = [
            layout.input(),
            layout.output(),
            layout.kernel(),
            layout.stride(),
            layout.dilation(),
            layout.padding(),
        ];
        // Sizes of a buffer that was indexed with 32 bits, but for a stride or padding that meets nothing.
        let words = sizes.map(|axes| axes.map(|size| u32::try_from(size).unwrap_or(u32::MAX)));
        launch_words(launch, words.as_flattened(), geometry);
        let (count, dim) = tuning.grid(positions.len(), 1);
        unfold_positions::launch(
            client,
            count,
            dim,
            geometry.buffer(1),
            positions.buffer(1),
            self.tokens as u32,
            self.places as u32,
        );
    }
}

/// Words of a convolution's geometry: six sizes of three axes.
const GEOMETRY: usize = 18;

/// What the kernels read.
pub(crate) struct Unfolded {
    /// `[B * groups, inputs, group_in]`.
    pub x: TensorHandle,
    /// `[B * groups, tokens, group_out]`.
    pub g: TensorHandle,
    /// `[tokens, places]`.
    pub positions: TensorHandle,
}

/// The position of padding.
pub(crate) const OUTSIDE: u32 = u32::MAX;

/// `positions[t, k]`: which input position output position `t` meets at place `k` of the kernel, or [`OUTSIDE`].
///
/// `geometry` is input, output, kernel, stride, dilation and padding, three axes each.
#[cube(launch)]
pub(crate) fn unfold_positions(geometry: &[u32], positions: &mut [u32], tokens: u32, places: u32) {
    let place = row_of(1u32);
    if place < (tokens * places) as usize {
        let mut t = place as u32 / places;
        let mut k = place as u32 % places;
        let mut at = 0u32;
        let mut unit = 1u32;
        let mut inside = true;
        // The fastest axis first.
        #[unroll]
        for back in 0..3usize {
            let axis = comptime!(2 - back);
            let input = geometry[axis];
            let output = geometry[3 + axis];
            let kernel = geometry[6 + axis];
            let padded = t % output * geometry[9 + axis] + k % kernel * geometry[12 + axis];
            let padding = geometry[15 + axis];
            t /= output;
            k /= kernel;
            inside = inside && padded >= padding && padded - padding < input;
            at += (padded - padding) * unit;
            unit *= input;
        }
        positions[place] = select(inside, at, OUTSIDE);
    }
}

/// `totals[i, v] = sum over tokens of A[t, first_row + i] * g[t, column + v]`, for the channels `first_row..last_row` in place `place` of the kernel, each
/// number in the order of the tokens: [`example_block`](crate::outer::example_block) of an `A` that isn't there. Tokens whose place lies
/// outside of the input are left out.
#[cube]
#[allow(clippy::too_many_arguments)]
pub(crate) fn unfolded_block<F: Float, E: Float, NM: Size, N: Size>(
    x: &[F],
    g: &[Vector<F, NM>],
    positions: &[u32],
    totals: &mut Array<Vector<E, N>>,
    x_first: usize,
    g_first: usize,
    tokens: usize,
    places: usize,
    place: usize,
    x_columns: usize,
    g_columns: usize,
    first_row: usize,
    last_row: usize,
    column: usize,
    #[comptime] tile: Tile,
) {
    let mut panel = Array::<Vector<E, N>>::new(comptime!(PANEL * tile.columns));
    let mut starts = Array::<usize>::new(PANEL);
    for s in 0..(last_row - first_row) * tile.columns {
        totals[s] = Vector::<E, N>::new(E::new(0.0));
    }
    let mut begin = 0usize;
    while begin < tokens {
        let end = min(begin + PANEL, tokens);
        let mut depth = 0usize;
        for t in begin..end {
            let at = positions[t * places + place];
            if at != OUTSIDE {
                starts[depth] = (x_first + at as usize) * x_columns;
                load_row::<F, E, NM, N>(
                    g,
                    &mut panel,
                    depth,
                    (g_first + t) * g_columns,
                    column,
                    g_columns,
                    tile,
                );
                depth += 1;
            }
        }
        add_panel::<F, E, N>(x, &starts, &panel, totals, depth, first_row, last_row, tile);
        begin = end;
    }
}

/// `A[t, i]` of the example and group whose input starts at row `x_first`.
#[cube]
fn unfolded_at<F: Float, E: Float>(
    x: &[F],
    positions: &[u32],
    x_first: usize,
    t: usize,
    i: usize,
    places: usize,
    columns: usize,
) -> E {
    let at = positions[t * places + i / columns];
    let mut value = E::new(0.0);
    if at != OUTSIDE {
        value = E::cast_from(x[(x_first + at as usize) * columns + i % columns]);
    }
    value
}

/// This unit's part of a tile of `A A^T`, rows and columns tokens from `i_first` and `j_first` on.
///
/// Every unit of the cube must call it.
#[cube]
#[allow(clippy::too_many_arguments)]
pub(crate) fn unfolded_gram<F: Float, E: Float>(
    x: &[F],
    positions: &[u32],
    x_first: usize,
    i_first: usize,
    j_first: usize,
    tokens: usize,
    places: usize,
    columns: usize,
) -> Array<E> {
    let mut i_stage = Shared::<[E]>::new_slice(comptime!(DEPTH * PITCH));
    let mut j_stage = Shared::<[E]>::new_slice(comptime!(DEPTH * PITCH));
    let mut sums = tile::no_sums::<E>();
    let mut part = tile::no_sums::<E>();
    let depth = places * columns;
    let mut k0 = 0usize;
    while k0 < depth {
        sync_cube();
        #[unroll]
        for load in 0..DEPTH * TILE / (UNITS * UNITS) {
            let at = load * comptime!(UNITS * UNITS) + UNIT_POS as usize;
            let (row, k) = (at / comptime!(DEPTH), at % comptime!(DEPTH));
            let mut i_value = E::new(0.0);
            let mut j_value = E::new(0.0);
            if k0 + k < depth {
                if i_first + row < tokens {
                    i_value = unfolded_at::<F, E>(
                        x,
                        positions,
                        x_first,
                        i_first + row,
                        k0 + k,
                        places,
                        columns,
                    );
                }
                if j_first + row < tokens {
                    j_value = unfolded_at::<F, E>(
                        x,
                        positions,
                        x_first,
                        j_first + row,
                        k0 + k,
                        places,
                        columns,
                    );
                }
            }
            i_stage[k * PITCH + row] = i_value;
            j_stage[k * PITCH + row] = j_value;
        }
        sync_cube();
        tile::accumulate::<E>(&i_stage, &j_stage, &mut part);
        k0 += comptime!(DEPTH);
        tile::take_stretch::<E>(k0, depth, &mut part, &mut sums);
    }
    sums
}

/// This unit's part of a tile of `A^T G`, rows from `row` and columns from `column` on.
///
/// Every unit of the cube must call it.
#[cube]
#[allow(clippy::too_many_arguments)]
pub(crate) fn unfolded_product<F: Float, E: Float>(
    x: &[F],
    g: &[F],
    positions: &[u32],
    x_first: usize,
    g_first: usize,
    row: usize,
    column: usize,
    tokens: usize,
    places: usize,
    x_columns: usize,
    g_columns: usize,
) -> Array<E> {
    let mut x_stage = Shared::<[E]>::new_slice(comptime!(DEPTH * PITCH));
    let mut g_stage = Shared::<[E]>::new_slice(comptime!(DEPTH * PITCH));
    let mut sums = tile::no_sums::<E>();
    let mut part = tile::no_sums::<E>();
    let rows = places * x_columns;
    let mut t0 = 0usize;
    while t0 < tokens {
        sync_cube();
        #[unroll]
        for load in 0..DEPTH * TILE / (UNITS * UNITS) {
            let at = load * comptime!(UNITS * UNITS) + UNIT_POS as usize;
            // Neighbouring units read neighbouring channels.
            let (i, k) = (at % comptime!(TILE), at / comptime!(TILE));
            let t = t0 + k;
            let mut x_value = E::new(0.0);
            let mut g_value = E::new(0.0);
            if t < tokens {
                if row + i < rows {
                    x_value =
                        unfolded_at::<F, E>(x, positions, x_first, t, row + i, places, x_columns);
                }
                if column + i < g_columns {
                    g_value = E::cast_from(g[(g_first + t) * g_columns + column + i]);
                }
            }
            x_stage[k * PITCH + i] = x_value;
            g_stage[k * PITCH + i] = g_value;
        }
        sync_cube();
        tile::accumulate::<E>(&x_stage, &g_stage, &mut part);
        t0 += comptime!(DEPTH);
        tile::take_stretch::<E>(t0, tokens, &mut part, &mut sums);
    }
    sums
}
