//! The positional embedding: a parameter of its own for every token's place.

use super::gradient;
use crate::check::Arg;
use crate::{KernelError, Launch};
use cubecl::std::tensor::TensorHandle;

/// Adds `sum_b c_b g_b` into `out`.
///
/// `g [B, T, p]` (f32, f16 or bf16), `factors [B]` f32, `out [T, p]` f32, ADDED into.
///
/// # Errors
/// A [`KernelError`] when shapes, types or layouts don't agree; nothing is launched then.
///
/// # Privacy
/// As [`weighted_sum_bias`](crate::weighted_sum_bias).
///
/// # Precision
/// f32, examples in order.
pub fn weighted_sum_position(
    launch: &Launch<'_>,
    g: &TensorHandle,
    factors: &TensorHandle,
    out: &TensorHandle,
) -> Result<(), KernelError> {
    let client = launch.client;
    let op = "weighted_sum_position";
    let g = Arg::new(op, "g", g)?.is_float(client)?;
    let [b, t, p] = g.dims()?;
    gradient::launch_sums(launch, op, &g, b, &[t, p], factors, out)
}
