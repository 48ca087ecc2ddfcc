//! Linear: which of the two ways takes the norm of `A_b^T G_b`.

use super::{column_gradients, columns, gram, materialised};
use crate::check::Arg;
use crate::launch::Room;
use crate::reduce::{lane_of, row_of, sum_terms, sum_units};
use crate::tile::tensor::{self, MatrixUnits};
use crate::{KernelError, Launch, Tuning};
use cubecl::{client::Client, prelude::*, std::tensor::TensorHandle};

/// How the squared norm of a Linear's per-example weight gradient `A_b^T G_b` is taken.
///
/// Both give the same number to rounding, neither writes the gradient to memory ([`keep_linear_gradients`](crate::keep_linear_gradients) does). With one token
/// either becomes `|a|^2 |g|^2`.
///
/// Measured on 2 threads of an AMD EPYC with AVX-512 (Gram, Materialised; ms): B 32, T 64, `[128, 128]`
/// 0.27, 0.20 and `[128, 512]` 0.40, 0.61; B 16, T 128, `[256, 256]` 0.59, 0.56 and `[256, 1024]`
/// 1.46, 2.75. The rule of `Auto` is right or near in each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum LinearNorm {
    /// `sum_{t,t'} <a_t, a_t'> <g_t, g_t'>`, using the symmetry: `B T^2 (d + p)` FLOP.
    Gram,
    /// Tiles of `A_b^T G_b`, squared while they are in registers: `2 B T d p` FLOP.
    Materialised,
    /// [`LinearNorm::Gram`] where `2 T^2 <= d p`, else [`LinearNorm::Materialised`]
    /// (the rule of Bu et al.).
    ///
    /// # References
    /// Z. Bu, J. Mao, S. Xu, "Scalable and Efficient Training of Large Convolutional Neural
    /// Networks with Differential Privacy", arXiv 2205.10683.
    #[default]
    Auto,
}

impl LinearNorm {
    /// The way that `Auto` takes for `t` tokens and a weight `[d, p]`.
    #[must_use]
    pub fn resolve(self, t: usize, d: usize, p: usize) -> Self {
        match self {
            Self::Auto if 2 * t * t <= d * p => Self::Gram,
            Self::Auto => Self::Materialised,
            chosen => chosen,
        }
    }
}

/// Adds the squared norm of each example's weight gradient, `|A_b^T G_b|_F^2`, into `norms_sq`.
///
/// `a [B, T, d]` and `g [B, T, p]` (one type: f32, f16, bf16 or f64), `norms_sq [B]` f32 (f64 beside f64), ADDED into.
///
/// # Errors
/// A [`KernelError`] when shapes, types or layouts don't agree; nothing is launched then.
///
/// # Privacy
/// The clip factor made of this number bounds the example's contribution only as far as the number
/// is not too small. The Gram way subtracts nearly equal products when an example's tokens cancel
/// each other, and could come out far below the true norm; it never reports less than
/// [`GRAM_FLOOR`](crate::GRAM_FLOOR)` * (sum_t |a_t| |g_t|)^2` ([`GRAM_FLOOR_F64`](crate::GRAM_FLOOR_F64) of f64), a bound on what
/// rounding can hide. Ordinary data lies far above that floor and is not touched by it.
///
/// # Precision
/// f32 throughout, with a relative error of about 1e-6 on ordinary data; f64 for f64 inputs. f16 and bf16 go through a GPU's matrix units
/// where it has them, which add up stretches of 256 products by cutting ([`STRETCH_ROUNDINGS`](crate::STRETCH_ROUNDINGS)). An example's
/// norm has the same bits in every microbatch.
///
/// # References
/// I. Goodfellow, "Efficient per-example gradient computations", arXiv 1510.01799;
/// X. Li et al., "Large Language Models Can Be Strong Differentially Private Learners", arXiv 2110.05679.
pub fn linear_norm_sq(
    launch: &Launch<'_>,
    a: &TensorHandle,
    g: &TensorHandle,
    norms_sq: &TensorHandle,
    how: LinearNorm,
) -> Result<(), KernelError> {
    let op = "linear_norm_sq";
    let problem = Problem::named(launch.client, op, ("a", a), ("g", g))?;
    let norms_sq = problem.norms(norms_sq)?;
    let scratch = launch.scratches(op, problem.rooms(how, launch.tuning))?;
    problem.add_norm_sq(launch, how, &scratch, &norms_sq)
}

/// Adds the squared norm of each example's gradients of the weight and of the bias, `|A_b^T G_b|_F^2 + |sum_t g_t|^2`, into
/// `norms_sq`: [`linear_norm_sq`] and [`bias_norm_sq`](crate::bias_norm_sq) in one, and on a processor mostly in one launch that reads G once.
///
/// Shapes and types as [`linear_norm_sq`]; `bias_gradients [B, p]` f32 (f64 beside f64), OVERWRITTEN with the bias's gradients `sum_t g_t` where the caller
/// keeps them: their [`weighted_sum_gradient`](crate::weighted_sum_gradient) is that of the bias, which so reads G no second time.
///
/// # Errors
/// As [`linear_norm_sq`].
///
/// # Privacy
/// As the two. A weight with a bias is two parameters: leaving one out of the norm breaks the bound on their gradient together. The norm is that of the
/// numbers that are kept. They are what a privacy mechanism exists to hide, and leave the device through a clipped and noised sum only.
///
/// # Precision
/// As the two; whether one launch or two, an example's norm has the same bits in every microbatch.
pub fn linear_and_bias_norm_sq(
    launch: &Launch<'_>,
    a: &TensorHandle,
    g: &TensorHandle,
    norms_sq: &TensorHandle,
    bias_gradients: Option<&TensorHandle>,
    how: LinearNorm,
) -> Result<(), KernelError> {
    let op = "linear_and_bias_norm_sq";
    let problem = Problem::named(launch.client, op, ("a", a), ("g", g))?;
    let norms_sq = problem.norms(norms_sq)?;
    let Problem { g, b, t, p, .. } = problem;
    let kept = bias_gradients
        .map(|kept| {
            Arg::new(op, "bias_gradients", kept)?
                .has_shape(&[b, p])?
                .sums_of(&g)
        })
        .transpose()?;
    let mut rooms = problem.rooms(how, launch.tuning);
    let of_weight = rooms.len();
    rooms.extend(columns::rooms(&g, [b, t, p], launch.tuning));
    let scratch = launch.scratches(op, rooms)?;
    let (of_weight, of_bias) = scratch.split_at(of_weight);
    let bias = kept.map_or(Bias::Norm, Bias::Kept);
    if problem.add_norms_sq(launch, how, of_weight, &norms_sq, bias)? {
        return Ok(());
    }
    let Some(kept) = kept else {
        return columns::add_norms(launch, op, None, g, &norms_sq, [b, t, p], of_bias);
    };
    column_gradients::write_gradients(launch, op, None, g, &kept, [b, t, p], of_bias)?;
    columns::add_norms(launch, op, None, kept, &norms_sq, [b, 1, p], &[])
}

/// What is asked of the bias beside the weight's norm.
#[derive(Clone, Copy)]
pub(super) enum Bias<'a> {
    Nothing,
    /// The norm of its gradient.
    Norm,
    /// Its gradients, `[B, p]`, and their norm.
    Kept(Arg<'a>),
}

impl Bias<'_> {
    pub(super) fn is_asked(&self) -> bool {
        !matches!(self, Self::Nothing)
    }
}

/// The checked input of both ways.
pub(super) struct Problem<'a> {
    pub op: &'static str,
    pub a: Arg<'a>,
    pub g: Arg<'a>,
    pub b: usize,
    pub t: usize,
    pub d: usize,
    pub p: usize,
}

impl<'a> Problem<'a> {
    /// `a [B, T, d]` and `g [B, T, p]`, by the names that the caller knows them by.
    pub(super) fn named(
        client: &Client,
        op: &'static str,
        (a_name, a): (&'static str, &'a TensorHandle),
        (g_name, g): (&'static str, &'a TensorHandle),
    ) -> Result<Self, KernelError> {
        let a = Arg::new(op, a_name, a)?.is_float(client)?;
        let [b, t, d] = a.dims()?;
        let g = Arg::new(op, g_name, g)?.same_type(&a)?;
        let [_, _, p] = g.dims()?;
        let g = g.has_shape(&[b, t, p])?;
        Ok(Self {
            op,
            a,
            g,
            b,
            t,
            d,
            p,
        })
    }

    /// The norms that are added into.
    fn norms<'n>(&self, norms_sq: &'n TensorHandle) -> Result<Arg<'n>, KernelError> {
        Arg::new(self.op, "norms_sq", norms_sq)?
            .has_shape(&[self.b])?
            .sums_of(&self.a)
    }

    /// What the norm is taken in.
    pub(super) fn rooms(&self, how: LinearNorm, tuning: &Tuning) -> Vec<Room> {
        match self.way(how) {
            Way::Nothing | Way::OneToken => Vec::new(),
            Way::Gram => gram::rooms(self, tuning),
            Way::Materialised => vec![materialised::workspace(self, tuning)],
        }
    }

    /// Adds the norms, by way of the buffers of [`rooms`](Self::rooms).
    pub(super) fn add_norm_sq(
        &self,
        launch: &Launch<'_>,
        how: LinearNorm,
        scratch: &[TensorHandle],
        norms_sq: &Arg<'_>,
    ) -> Result<(), KernelError> {
        self.add_norms_sq(launch, how, scratch, norms_sq, Bias::Nothing)?;
        Ok(())
    }

    /// Likewise, and says whether what is asked of the bias was done too: where it costs no launch of its own.
    fn add_norms_sq(
        &self,
        launch: &Launch<'_>,
        how: LinearNorm,
        scratch: &[TensorHandle],
        norms_sq: &Arg<'_>,
        bias: Bias<'_>,
    ) -> Result<bool, KernelError> {
        match self.way(how) {
            Way::Nothing => Ok(false),
            Way::OneToken => {
                let norm = matches!(bias, Bias::Norm);
                launch_one_token(launch, self, norms_sq, norm);
                Ok(norm)
            }
            Way::Gram => gram::launch(launch, self, scratch, norms_sq, bias),
            Way::Materialised => {
                materialised::launch(launch, self, &scratch[0], norms_sq)?;
                Ok(false)
            }
        }
    }

    fn way(&self, how: LinearNorm) -> Way {
        let Self { b, t, d, p, .. } = *self;
        if b * t * d * p == 0 {
            return Way::Nothing;
        }
        if t == 1 {
            return Way::OneToken;
        }
        match how.resolve(t, d, p) {
            LinearNorm::Gram => Way::Gram,
            _ => Way::Materialised,
        }
    }
}

/// What takes a Linear's products.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// A processor's vector units.
    Registers,
    /// A GPU's ordinary units.
    Shared,
    /// A GPU's matrix units.
    Tensor(MatrixUnits),
}

impl Cut {
    pub(super) fn of(problem: &Problem<'_>, tuning: &Tuning) -> Self {
        let Problem { a, g, d, p, .. } = problem;
        if tuning.is_cpu {
            Self::Registers
        } else {
            tensor::takes(a, *d, g, *p, tuning).map_or(Self::Shared, Self::Tensor)
        }
    }
}

enum Way {
    Nothing,
    OneToken,
    Gram,
    Materialised,
}

fn launch_one_token(launch: &Launch<'_>, problem: &Problem<'_>, norms_sq: &Arg<'_>, bias: bool) {
    let Launch { client, tuning, .. } = *launch;
    let Problem { a, g, b, d, p, .. } = problem;
    let most = tuning.lanes_of(a.accumulator());
    let (a_vector, g_vector) = (a.vector(*d, most), g.vector(*p, most));
    let width = tuning.width((d / a_vector).max(p / g_vector));
    let (count, dim) = tuning.grid(*b, width);
    one_token_norms::launch(
        client,
        count,
        dim,
        a_vector,
        g_vector,
        a.buffer(a_vector),
        g.buffer(g_vector),
        norms_sq.buffer(1),
        *b as u32,
        (d / a_vector) as u32,
        (p / g_vector) as u32,
        bias,
        width,
        dim.num_elems(),
        a.dtype(),
        norms_sq.dtype(),
    );
}

/// `norms_sq[b] += |a_b|^2 |g_b|^2`, and with `bias` `|g_b|^2` more.
#[cube(launch)]
pub(crate) fn one_token_norms<F: Float, E: Float, NA: Size, NG: Size>(
    a: &[Vector<F, NA>],
    g: &[Vector<F, NG>],
    norms_sq: &mut [E],
    examples: u32,
    a_columns: u32,
    g_columns: u32,
    #[comptime] bias: bool,
    #[comptime] width: u32,
    #[comptime] units: u32,
    #[define(F)] _dtype: ElemType,
    #[define(E)] _accumulator: ElemType,
) {
    let b = row_of(width);
    let lane = lane_of(width);
    let mut a_sum = E::new(0.0);
    let mut g_sum = E::new(0.0);
    if b < examples as usize {
        let a_first = b * a_columns as usize;
        let g_first = b * g_columns as usize;
        let a_last = a_first + a_columns as usize;
        let g_last = g_first + g_columns as usize;
        a_sum = sum_terms::<F, E, NA>(a, a, a_first, a_last, lane, true, width);
        g_sum = sum_terms::<F, E, NG>(g, g, g_first, g_last, lane, true, width);
    }
    let a_total = sum_units::<E>(a_sum, width, units);
    let g_total = sum_units::<E>(g_sum, width, units);
    if b < examples as usize && lane == 0 {
        norms_sq[b] += a_total * g_total;
        if comptime!(bias) {
            norms_sq[b] += g_total;
        }
    }
}
