//! LoRA: the sums of both small Linears.

use super::linear::LinearSum;
use crate::{KernelError, Launch, Lora};
use cubecl::std::tensor::TensorHandle;

/// Adds `sum_b c_b x_b^T g_h,b` into `out_a` and `sum_b c_b h_b^T g_b` into `out_b`: both gradients of a LoRA layer.
///
/// `lora` as [`Lora`] says, `factors [B]`, `out_a [d, r]` and `out_b [r, p]` f32 (f64 beside f64), ADDED into.
///
/// # Errors
/// A [`KernelError`] when shapes, types or layouts don't agree; nothing is launched then.
///
/// # Privacy
/// As [`weighted_sum_linear`](crate::weighted_sum_linear), with the norm of [`lora_norm_sq`](crate::lora_norm_sq) over the same buffers.
///
/// # Precision
/// As [`weighted_sum_linear`](crate::weighted_sum_linear).
pub fn weighted_sum_lora(
    launch: &Launch<'_>,
    lora: &Lora<'_>,
    factors: &TensorHandle,
    out_a: &TensorHandle,
    out_b: &TensorHandle,
) -> Result<(), KernelError> {
    let Launch { client, tuning, .. } = *launch;
    let op = "weighted_sum_lora";
    lora.check(launch, op)?;
    let (x, g_h) = (("x", lora.x), ("g_h", lora.g_h));
    let (h, g) = (("h", lora.h), ("g", lora.g));
    let down = LinearSum::new(client, op, x, g_h, factors, ("out_a", out_a))?;
    let up = LinearSum::new(client, op, h, g, factors, ("out_b", out_b))?;
    let mut rooms = down.rooms(tuning);
    let of_down = rooms.len();
    rooms.extend(up.rooms(tuning));
    let scratch = launch.scratches(op, rooms)?;
    down.launch(launch, &scratch[..of_down])?;
    up.launch(launch, &scratch[of_down..])
}
