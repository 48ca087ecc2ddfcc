//! A parameter of its own for every token's place: the positional embedding.

use super::gradient;
use crate::check::Arg;
use crate::{KernelError, Launch};
use cubecl::std::tensor::TensorHandle;

/// Adds the squared norm of each example's positional-embedding gradient, `sum_t |g_t|^2`, into
/// `norms_sq`: `g` is the per-example gradient itself.
///
/// `g [B, T, p]` (f32, f16, bf16 or f64), `norms_sq [B]` f32 (f64 beside f64), ADDED into.
///
/// # Errors
/// A [`KernelError`] when shapes, types or layouts don't agree; nothing is launched then.
///
/// # Privacy
/// As [`gradient_norm_sq`](crate::gradient_norm_sq): each place has parameters of its own, so squares only add.
///
/// # Precision
/// As [`gradient_norm_sq`](crate::gradient_norm_sq).
pub fn position_norm_sq(
    launch: &Launch<'_>,
    g: &TensorHandle,
    norms_sq: &TensorHandle,
) -> Result<(), KernelError> {
    let client = launch.client;
    let op = "position_norm_sq";
    let g = Arg::new(op, "g", g)?.is_float(client)?;
    let [b, t, p] = g.dims()?;
    gradient::launch_norms(launch, op, &g, b, t * p, norms_sq)
}
