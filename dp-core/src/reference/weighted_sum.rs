//! Sums of per-example gradients, each times its clip factor, added into the batch's accumulator.
//!
//! An example whose factor is 0 is left out, not multiplied: its rows may hold NaN.

use super::tensor::add_into;
use super::{Operand, Real, ReferenceError, Tensor3};

/// Adds `sum_b c_b sum_t a_t g_t^T` into `out` `[d, p]`.
///
/// `a` is `[B, T, d]`, `g` is `[B, T, p]`, `factors` is `[B]`.
///
/// # Errors
/// [`ReferenceError::Axis`] and [`ReferenceError::Length`] when the shapes disagree.
pub fn weighted_sum_linear<R: Real>(
    a: Tensor3<'_, R>,
    g: Tensor3<'_, R>,
    factors: &[R],
    out: &mut [R],
) -> Result<(), ReferenceError> {
    a.check_same(&g, 2, Operand::Gradients)?;
    let [batch, tokens, inputs] = a.shape();
    let outputs = g.shape()[2];
    ReferenceError::check_length(Operand::Factors, factors.len(), batch)?;
    ReferenceError::check_length(Operand::Out, out.len(), inputs * outputs)?;

    for i in 0..inputs {
        for j in 0..outputs {
            let sum = over_live(factors, |b| {
                (0..tokens).map(|t| a.at(b, t, i) * g.at(b, t, j)).sum()
            });
            add_into(&mut out[i * outputs + j], sum);
        }
    }
    Ok(())
}

/// Adds `sum_b c_b sum_t g_t` into `out` `[p]`; `g` is `[B, T, p]`, `factors` is `[B]`.
///
/// # Errors
/// [`ReferenceError::Length`] when the lengths disagree.
pub fn weighted_sum_bias<R: Real>(
    g: Tensor3<'_, R>,
    factors: &[R],
    out: &mut [R],
) -> Result<(), ReferenceError> {
    column_sums(g, factors, out, |b, t, j| g.at(b, t, j))
}

/// Adds `sum_b c_b sum_t g_t * xhat_t` (elementwise product) into `out` `[p]`; `xhat` and `g` are
/// `[B, T, p]`, `factors` is `[B]`.
///
/// # Errors
/// [`ReferenceError::Axis`] and [`ReferenceError::Length`] when the shapes disagree.
pub fn weighted_sum_scale<R: Real>(
    xhat: Tensor3<'_, R>,
    g: Tensor3<'_, R>,
    factors: &[R],
    out: &mut [R],
) -> Result<(), ReferenceError> {
    xhat.check_same(&g, 3, Operand::Gradients)?;
    column_sums(g, factors, out, |b, t, j| g.at(b, t, j) * xhat.at(b, t, j))
}

/// Adds `c_b g_bt` into row `ids[b, t]` of `out` `[V, p]`; `ids` is `[B, T]`, `g` is `[B, T, p]`.
///
/// # Errors
/// [`ReferenceError::Length`] when the lengths disagree, [`ReferenceError::Token`] for an id that
/// is not below `V`. `out` is then as it was.
pub fn weighted_sum_embedding<R: Real>(
    ids: &[u32],
    g: Tensor3<'_, R>,
    factors: &[R],
    out: &mut [R],
) -> Result<(), ReferenceError> {
    let [batch, tokens, columns] = g.shape();
    ReferenceError::check_length(Operand::Ids, ids.len(), batch * tokens)?;
    ReferenceError::check_length(Operand::Factors, factors.len(), batch)?;
    let vocabulary = out.len().checked_div(columns).unwrap_or(0);
    ReferenceError::check_length(Operand::Out, out.len(), vocabulary * columns)?;
    if let Some(id) = ids.iter().find(|id| **id as usize >= vocabulary) {
        return Err(ReferenceError::Token {
            id: *id,
            vocabulary,
        });
    }

    for (position, id) in ids.iter().enumerate() {
        // The first position of each token gathers all of them, so that the sum stays in f64.
        if ids[..position].contains(id) {
            continue;
        }
        for j in 0..columns {
            let sum = over_live(factors, |b| {
                let of_example = &ids[b * tokens..(b + 1) * tokens];
                (0..tokens)
                    .filter(|t| of_example[*t] == *id)
                    .map(|t| g.at(b, t, j))
                    .sum()
            });
            add_into(&mut out[*id as usize * columns + j], sum);
        }
    }
    Ok(())
}

/// Adds `sum_b c_b g_bt` into row `t` of `out` `[T, p]`; `g` is `[B, T, p]`, `factors` is `[B]`.
///
/// # Errors
/// [`ReferenceError::Length`] when the lengths disagree.
pub fn weighted_sum_position<R: Real>(
    g: Tensor3<'_, R>,
    factors: &[R],
    out: &mut [R],
) -> Result<(), ReferenceError> {
    let [batch, tokens, columns] = g.shape();
    ReferenceError::check_length(Operand::Factors, factors.len(), batch)?;
    ReferenceError::check_length(Operand::Out, out.len(), tokens * columns)?;
    for t in 0..tokens {
        for j in 0..columns {
            let sum = over_live(factors, |b| g.at(b, t, j));
            add_into(&mut out[t * columns + j], sum);
        }
    }
    Ok(())
}

/// `sum_j c_b sum_t element(b, t, j)` into `out[j]`.
fn column_sums<R: Real>(
    g: Tensor3<'_, R>,
    factors: &[R],
    out: &mut [R],
    element: impl Fn(usize, usize, usize) -> f64,
) -> Result<(), ReferenceError> {
    let [batch, tokens, columns] = g.shape();
    ReferenceError::check_length(Operand::Factors, factors.len(), batch)?;
    ReferenceError::check_length(Operand::Out, out.len(), columns)?;
    for (j, out) in out.iter_mut().enumerate() {
        let sum = over_live(factors, |b| (0..tokens).map(|t| element(b, t, j)).sum());
        add_into(out, sum);
    }
    Ok(())
}

/// `sum_b c_b value(b)` over the examples whose factor is not 0.
pub(super) fn over_live<R: Real>(factors: &[R], value: impl Fn(usize) -> f64) -> f64 {
    factors
        .iter()
        .enumerate()
        .filter(|(_, factor)| factor.widen() != 0.0)
        .map(|(b, factor)| factor.widen() * value(b))
        .sum()
}
