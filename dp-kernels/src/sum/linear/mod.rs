//! Linear: one matrix product over all live tokens of the microbatch.

mod registers;
mod shared;
mod tensor;

use crate::check::Arg;
use crate::launch::Room;
use crate::tile::TILE;
use crate::tile::tensor::{self as matrix, Cut, MatrixUnits};
use crate::{KernelError, Launch, Tuning};
use cubecl::{client::Client, std::tensor::TensorHandle};

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
            [] => registers::launch(launch, self),
            [partials, ..] => {
                let partials = Arg::new(self.op, "workspace", partials)?;
                if let Some(cut) = self.cut(launch.tuning) {
                    tensor::launch(launch, self, &partials, cut);
                } else {
                    shared::launch(launch, self, &partials);
                }
            }
        }
        Ok(())
    }

    /// The matrix units that take it: none where an example's tokens leave a stage mostly zeros.
    fn matrix_units(&self, tuning: &Tuning) -> Option<MatrixUnits> {
        matrix::takes(&self.a, self.d, &self.g, self.p, tuning)
            .filter(|_| self.t >= matrix::LEAST_DEPTH)
    }

    /// How they do.
    fn cut(&self, tuning: &Tuning) -> Option<Cut> {
        let units = self.matrix_units(tuning)?;
        let tiles = |width| self.tiles([matrix::SIDE, width]);
        let parts = |_, squares| matrix::part_depth(squares);
        let terms = [self.b, self.t];
        Some(Cut::of(units, true, tiles, terms, parts, tuning))
    }

    /// Tiles of so many rows and columns.
    fn tiles(&self, [rows, columns]: [usize; 2]) -> usize {
        self.d.div_ceil(rows) * self.p.div_ceil(columns)
    }

    /// Into how many slices of examples a GPU cuts the sum, so that small weights fill it too.
    fn slices(&self, tuning: &Tuning) -> usize {
        match self.cut(tuning) {
            Some(cut) => cut.slices,
            None => {
                let tiles = self.tiles([TILE, TILE]);
                tuning.busy_cubes.div_ceil(tiles).clamp(1, self.b)
            }
        }
    }
}
