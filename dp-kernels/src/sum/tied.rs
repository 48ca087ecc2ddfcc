//! An embedding whose table is the head's weight too: both sums into one accumulator.

use super::{weighted_sum_embedding, weighted_sum_linear};
use crate::check::Arg;
use crate::{KernelError, Launch};
use cubecl::std::tensor::TensorHandle;

/// Adds `sum_b c_b (E_b + H_b)` into `out`, the gradient of a tied table: row `v` of `E_b` is the sum of the `g_t` of
/// the example's tokens `v`, and `H_b = sum_t delta_t h_t^T`.
///
/// `ids [B, T]` (i32 or u32), `g [B, T, p]`, `h [B, T, p]`, `delta [B, T, V]` (the three of one type: f32, f16 or
/// bf16), `factors [B]` f32, `out [V, p]` f32, ADDED into. The two parts are
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
    // Everything that the second part would refuse, before the first is launched.
    let first = Arg::new(op, "g", g)?.is_float(client)?;
    let [b, t, p] = first.dims()?;
    Arg::new(op, "h", h)?
        .has_shape(&[b, t, p])?
        .same_type(&first)?;
    let last = Arg::new(op, "delta", delta)?.same_type(&first)?;
    let [_, _, v] = last.dims()?;
    last.has_shape(&[b, t, v])?;
    Arg::new(op, "out", out)?.has_shape(&[v, p])?.is_f32()?;
    weighted_sum_embedding(launch, ids, g, factors, out)?;
    weighted_sum_linear(launch, delta, h, factors, out)
}
