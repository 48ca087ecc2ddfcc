//! Squared per-example gradient norms, added into one buffer for all layers.

use super::tensor::{add_into, dot};
use super::{Operand, Real, ReferenceError, Tensor3};

/// How the norm of a Linear layer's weight gradient is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LinearNorm {
    /// `sum_{t,t'} <a_t, a_t'> <g_t, g_t'>`: the gradient is never formed.
    Gram,
    /// `sum_{i,j} (sum_t a_ti g_tj)^2`: each element of the gradient is formed, and forgotten.
    Materialised,
}

/// Adds `|sum_t a_t g_t^T|^2` of each example into `norms_sq` `[B]`.
///
/// `a` is `[B, T, d]`, `g` is `[B, T, p]`.
///
/// # Errors
/// [`ReferenceError::Axis`] and [`ReferenceError::Length`] when the shapes disagree.
///
/// # Precision
/// Sums in f64, one rounding into `norms_sq`. The Gram form cancels where the example's tokens do:
/// its error is relative to `(sum_t |a_t| |g_t|)^2`.
///
/// # References
/// Goodfellow 1510.01799 (`T = 1`); Li et al. 2110.05679 (sequences).
pub fn linear_norm_sq<R: Real>(
    a: Tensor3<'_, R>,
    g: Tensor3<'_, R>,
    norms_sq: &mut [R],
    how: LinearNorm,
) -> Result<(), ReferenceError> {
    a.check_same(&g, 2, Operand::Gradients)?;
    let [batch, tokens, inputs] = a.shape();
    let outputs = g.shape()[2];
    ReferenceError::check_length(Operand::Norms, norms_sq.len(), batch)?;

    for (b, norm_sq) in norms_sq.iter_mut().enumerate() {
        let mut sum = 0.0;
        match how {
            LinearNorm::Gram => {
                for t in 0..tokens {
                    for u in 0..tokens {
                        sum += dot(a.row(b, t), a.row(b, u)) * dot(g.row(b, t), g.row(b, u));
                    }
                }
            }
            LinearNorm::Materialised => {
                for i in 0..inputs {
                    for j in 0..outputs {
                        let element: f64 = (0..tokens).map(|t| a.at(b, t, i) * g.at(b, t, j)).sum();
                        sum += element * element;
                    }
                }
            }
        }
        add_into(norm_sq, sum);
    }
    Ok(())
}

/// Adds `|sum_t g_t|^2` of each example into `norms_sq` `[B]`; `g` is `[B, T, p]`.
///
/// # Errors
/// [`ReferenceError::Length`] when the lengths disagree.
pub fn bias_norm_sq<R: Real>(g: Tensor3<'_, R>, norms_sq: &mut [R]) -> Result<(), ReferenceError> {
    column_sums_norm_sq(g, norms_sq, |b, t, j| g.at(b, t, j))
}

/// Adds `|sum_t g_t * xhat_t|^2` (elementwise product) of each example into `norms_sq` `[B]`: the
/// gain of a LayerNorm or RMSNorm. `xhat` and `g` are `[B, T, p]`.
///
/// # Errors
/// [`ReferenceError::Axis`] and [`ReferenceError::Length`] when the shapes disagree.
pub fn scale_norm_sq<R: Real>(
    xhat: Tensor3<'_, R>,
    g: Tensor3<'_, R>,
    norms_sq: &mut [R],
) -> Result<(), ReferenceError> {
    xhat.check_same(&g, 3, Operand::Gradients)?;
    column_sums_norm_sq(g, norms_sq, |b, t, j| g.at(b, t, j) * xhat.at(b, t, j))
}

/// Adds `sum_{t,t'} [id_t = id_t'] <g_t, g_t'>` of each example into `norms_sq` `[B]`.
///
/// `ids` is `[B, T]`, `g` is `[B, T, p]`.
///
/// # Errors
/// [`ReferenceError::Length`] when the lengths disagree.
pub fn embedding_norm_sq<R: Real>(
    ids: &[u32],
    g: Tensor3<'_, R>,
    norms_sq: &mut [R],
) -> Result<(), ReferenceError> {
    let [batch, tokens, _] = g.shape();
    ReferenceError::check_length(Operand::Ids, ids.len(), batch * tokens)?;
    ReferenceError::check_length(Operand::Norms, norms_sq.len(), batch)?;

    for (b, norm_sq) in norms_sq.iter_mut().enumerate() {
        let ids = &ids[b * tokens..(b + 1) * tokens];
        let mut sum = 0.0;
        for t in 0..tokens {
            for u in 0..tokens {
                if ids[t] == ids[u] {
                    sum += dot(g.row(b, t), g.row(b, u));
                }
            }
        }
        add_into(norm_sq, sum);
    }
    Ok(())
}

/// Adds `sum_t |g_t|^2` of each example into `norms_sq` `[B]`: a learned positional embedding.
/// `g` is `[B, T, p]`.
///
/// # Errors
/// [`ReferenceError::Length`] when the lengths disagree.
pub fn position_norm_sq<R: Real>(
    g: Tensor3<'_, R>,
    norms_sq: &mut [R],
) -> Result<(), ReferenceError> {
    let [batch, tokens, _] = g.shape();
    ReferenceError::check_length(Operand::Norms, norms_sq.len(), batch)?;
    for (b, norm_sq) in norms_sq.iter_mut().enumerate() {
        add_into(
            norm_sq,
            (0..tokens).map(|t| dot(g.row(b, t), g.row(b, t))).sum(),
        );
    }
    Ok(())
}

/// Adds `sum_j (sum_t element(b, t, j))^2`.
fn column_sums_norm_sq<R: Real>(
    g: Tensor3<'_, R>,
    norms_sq: &mut [R],
    element: impl Fn(usize, usize, usize) -> f64,
) -> Result<(), ReferenceError> {
    let [batch, tokens, columns] = g.shape();
    ReferenceError::check_length(Operand::Norms, norms_sq.len(), batch)?;
    for (b, norm_sq) in norms_sq.iter_mut().enumerate() {
        let mut sum = 0.0;
        for j in 0..columns {
            let column: f64 = (0..tokens).map(|t| element(b, t, j)).sum();
            sum += column * column;
        }
        add_into(norm_sq, sum);
    }
    Ok(())
}
