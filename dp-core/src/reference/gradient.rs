//! Any parameter whose per-example gradients the caller has formed.

use super::tensor::{add_into, dot};
use super::weighted_sum::over_live;
use super::{Operand, Real, ReferenceError};

/// Adds `|g_b|^2` of each example into `norms_sq` `[B]`; `g` is `[B, P]`.
///
/// # Errors
/// [`ReferenceError::Length`] when `g` does not divide into as many rows as there are norms.
pub fn gradient_norm_sq<R: Real>(g: &[R], norms_sq: &mut [R]) -> Result<(), ReferenceError> {
    let row = g.len().checked_div(norms_sq.len()).unwrap_or(0);
    ReferenceError::check_length(Operand::Gradients, g.len(), row * norms_sq.len())?;
    for (b, norm_sq) in norms_sq.iter_mut().enumerate() {
        let g = &g[b * row..(b + 1) * row];
        add_into(norm_sq, dot(g, g));
    }
    Ok(())
}

/// Adds `sum_b c_b g_b` into `out` `[P]`; `g` is `[B, P]`, `factors` is `[B]`.
///
/// # Errors
/// [`ReferenceError::Length`] when the lengths disagree.
pub fn weighted_sum_gradient<R: Real>(
    g: &[R],
    factors: &[R],
    out: &mut [R],
) -> Result<(), ReferenceError> {
    let row = out.len();
    ReferenceError::check_length(Operand::Gradients, g.len(), row * factors.len())?;
    for (i, out) in out.iter_mut().enumerate() {
        add_into(out, over_live(factors, |b| g[b * row + i].widen()));
    }
    Ok(())
}
