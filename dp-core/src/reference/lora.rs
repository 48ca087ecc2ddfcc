//! LoRA: two small Linears beside a frozen one.

use super::norm::{LinearNorm, linear_norm_sq};
use super::{Operand, Real, ReferenceError, Tensor3, weighted_sum_linear};

/// Adds `|sum_t x_t g_h,t^T|^2 + |sum_t h_t g_t^T|^2` of each example into `norms_sq` `[B]`: the gradients of `A` `[d, r]` and `B`
/// `[r, p]` of `y = x W + s (x A) B`.
///
/// `x` is `[B, T, d]`, `h` (what `B` multiplies) is `[B, T, r]`, `g` (the gradient at what `B` puts out) is `[B, T, p]`, `g_h` (the gradient
/// at what `A` puts out) is `[B, T, r]`; the scale is in them.
///
/// # Errors
/// [`ReferenceError::Axis`] and [`ReferenceError::Length`] when the shapes disagree; nothing has been added then.
///
/// # Precision
/// Both gradients are formed element by element, in f64.
pub fn lora_norm_sq<R: Real>(
    x: Tensor3<'_, R>,
    h: Tensor3<'_, R>,
    g: Tensor3<'_, R>,
    g_h: Tensor3<'_, R>,
    norms_sq: &mut [R],
) -> Result<(), ReferenceError> {
    check(x, h, g, g_h)?;
    ReferenceError::check_length(Operand::Norms, norms_sq.len(), x.shape()[0])?;
    linear_norm_sq(x, g_h, norms_sq, LinearNorm::Materialised)?;
    linear_norm_sq(h, g, norms_sq, LinearNorm::Materialised)
}

/// Adds `sum_b c_b sum_t x_t g_h,t^T` into `out_a` `[d, r]` and `sum_b c_b sum_t h_t g_t^T` into `out_b` `[r, p]`; `factors` is `[B]`, the
/// rest as in [`lora_norm_sq`].
///
/// # Errors
/// As [`lora_norm_sq`]; both outputs are then as they were.
pub fn weighted_sum_lora<R: Real>(
    x: Tensor3<'_, R>,
    h: Tensor3<'_, R>,
    g: Tensor3<'_, R>,
    g_h: Tensor3<'_, R>,
    factors: &[R],
    out_a: &mut [R],
    out_b: &mut [R],
) -> Result<(), ReferenceError> {
    check(x, h, g, g_h)?;
    let ([_, _, d], [_, _, r], [_, _, p]) = (x.shape(), h.shape(), g.shape());
    ReferenceError::check_length(Operand::Out, out_a.len(), d * r)?;
    ReferenceError::check_length(Operand::Out, out_b.len(), r * p)?;
    weighted_sum_linear(x, g_h, factors, out_a)?;
    weighted_sum_linear(h, g, factors, out_b)
}

fn check<R: Real>(
    x: Tensor3<'_, R>,
    h: Tensor3<'_, R>,
    g: Tensor3<'_, R>,
    g_h: Tensor3<'_, R>,
) -> Result<(), ReferenceError> {
    x.check_same(&g_h, 2, Operand::Gradients)?;
    g_h.check_same(&h, 3, Operand::Inputs)?;
    h.check_same(&g, 2, Operand::Gradients)
}
