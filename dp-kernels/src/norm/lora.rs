//! LoRA: two small Linears beside a frozen one, and the norm of both gradients.

use super::linear::{LinearNorm, Problem};
use crate::check::Arg;
use crate::{KernelError, Launch};
use cubecl::std::tensor::TensorHandle;

/// What the gradients of a LoRA layer `y = x W + s (x A) B` are made of, with `W` frozen, `A [d, r]` and `B [r, p]`.
///
/// The layer is two Linears in a row, `A` and `B`, and this is the input of each and the gradient of the SUM of the per-example
/// losses at the output of each: `A`'s gradient is `sum_t x_t^T g_h,t`, and `B`'s is `sum_t h_t^T g_t`. A backward pass makes
/// all four anyway (`g_h` is on the way to the gradient of `x`), and neither `B` nor `s` is asked for, since taking them here would
/// form `g_h` a second time, and a scale could be given to the norm and forgotten in the sum. The scale is in the buffers, once:
///
/// | the framework computes | `h` | `g` | `g_h` |
/// |---|---|---|---|
/// | `(s x A) B` | `s x A` | gradient of `y` | `s g B^T` |
/// | `s ((x A) B)` | `x A` | `s` times the gradient of `y` | `g B^T` |
///
/// All four `[B, T, ..]` of one type: f32, f16, bf16 or f64.
#[derive(Debug, Clone, Copy)]
pub struct Lora<'a> {
    /// The layer's input, `[B, T, d]`.
    pub x: &'a TensorHandle,
    /// What `B` multiplies, `[B, T, r]`.
    pub h: &'a TensorHandle,
    /// The gradient at what `B` puts out, `[B, T, p]`.
    pub g: &'a TensorHandle,
    /// The gradient at what `A` puts out, `[B, T, r]`.
    pub g_h: &'a TensorHandle,
}

impl Lora<'_> {
    /// What neither of the two Linears sees: that they belong to one layer.
    pub(crate) fn check(&self, launch: &Launch<'_>, op: &'static str) -> Result<(), KernelError> {
        let x = Arg::new(op, "x", self.x)?.is_float(launch.client)?;
        let g_h = Arg::new(op, "g_h", self.g_h)?;
        let ([b, t, _], [_, _, r]) = (x.dims()?, g_h.dims()?);
        g_h.has_shape(&[b, t, r])?;
        Arg::new(op, "h", self.h)?
            .has_shape(&[b, t, r])?
            .same_type(&x)?;
        Ok(())
    }
}

/// Adds the squared norm of each example's gradients of `A` and `B` of a LoRA layer into `norms_sq`.
///
/// `lora` as [`Lora`] says, `norms_sq [B]` f32 (f64 beside f64), ADDED into. `how` is for each of the two: `A` is a Linear of `d` inputs and `r`
/// outputs, `B` one of `r` and `p`, and a small `r` makes both cheap the materialised way.
///
/// # Errors
/// A [`KernelError`] when shapes, types or layouts don't agree; nothing is launched then.
///
/// # Privacy
/// As [`linear_norm_sq`](crate::linear_norm_sq), of both parameters at once: the frozen `W` has no part in the sum and needs none here.
/// Hand the very buffers to [`weighted_sum_lora`](crate::weighted_sum_lora) (docs/proofs/layer-norms.md).
///
/// # Precision
/// As [`linear_norm_sq`](crate::linear_norm_sq), first `A`, then `B`. An example's norm has the same bits in every microbatch.
///
/// # References
/// E. Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", arXiv 2106.09685;
/// D. Yu et al., "Differentially Private Fine-tuning of Language Models", arXiv 2110.06500.
pub fn lora_norm_sq(
    launch: &Launch<'_>,
    lora: &Lora<'_>,
    norms_sq: &TensorHandle,
    how: LinearNorm,
) -> Result<(), KernelError> {
    let Launch { client, tuning, .. } = *launch;
    let op = "lora_norm_sq";
    lora.check(launch, op)?;
    let down = Problem::named(client, op, ("x", lora.x), ("g_h", lora.g_h))?;
    let up = Problem::named(client, op, ("h", lora.h), ("g", lora.g))?;
    let norms_sq = Arg::new(op, "norms_sq", norms_sq)?
        .has_shape(&[down.b])?
        .sums_of(&down.a)?;
    let mut rooms = down.rooms(how, tuning);
    let of_down = rooms.len();
    rooms.extend(up.rooms(how, tuning));
    let scratch = launch.scratches(op, rooms)?;
    down.add_norm_sq(launch, how, &scratch[..of_down], &norms_sq)?;
    up.add_norm_sq(launch, how, &scratch[of_down..], &norms_sq)
}
