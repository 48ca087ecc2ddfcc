//! An embedding whose table is the head's weight too: both sums into one accumulator.

use super::linear::LinearSum;
use super::weighted_sum_embedding;
use crate::check::Arg;
use crate::{KernelError, Launch};
use cubecl::std::tensor::TensorHandle;

/// Adds `sum_b c_b (E_b + H_b)` into `out`, the gradient of a tied table: row `v` of `E_b` is the sum of the `g_t` of
/// the example's tokens `v`, and `H_b = sum_t delta_t h_t^T`.
///
/// `ids [B, T]` (i32 or u32), `g [B, T, p]`, `h [B, T, p]`, `delta [B, T, V]` (the three of one type: f32, f16, bf16 or
/// f64), `factors [B]` and `out [V, p]` f32 (f64 beside f64), ADDED into. The two parts are
/// [`weighted_sum_embedding`](crate::weighted_sum_embedding) and [`weighted_sum_linear`](crate::weighted_sum_linear).
///
/// # Errors
/// A [`KernelError`] when shapes, types or layouts don't agree; nothing is launched then.
///
/// # Privacy
/// As [`weighted_sum_bias`](crate::weighted_sum_bias), with the norm of
/// [`tied_norm_sq`](crate::tied_norm_sq): the two norms apart leave out how the parts add up in this very sum.
///
/// # Precision
/// As the two parts; the head's is added after the embedding's. So a number goes through the additions of both:
/// [`Tuning::weighted_sum_depth`](crate::Tuning::weighted_sum_depth) wants twice the microbatches.
#[allow(clippy::too_many_arguments)]
pub fn weighted_sum_tied(
    launch: &Launch<'_>,
    ids: &TensorHandle,
    g: &TensorHandle,
    h: &TensorHandle,
    delta: &TensorHandle,
    factors: &TensorHandle,
    out: &TensorHandle,
) -> Result<(), KernelError> {
    let client = launch.client;
    let op = "weighted_sum_tied";
    // Everything that the second part would refuse, its memory included, before the first is launched. The first needs none.
    let head = LinearSum::new(
        client,
        op,
        ("delta", delta),
        ("h", h),
        factors,
        ("out", out),
    )?;
    Arg::new(op, "g", g)?
        .has_shape(h.shape())?
        .same_type(&Arg::new(op, "h", h)?)?;
    let scratch = launch.scratches(op, head.rooms(launch.tuning))?;
    weighted_sum_embedding(launch, ids, g, factors, out)?;
    head.launch(launch, &scratch)
}
