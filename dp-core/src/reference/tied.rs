//! An embedding whose table is the head's weight too.

use super::tensor::add_into;
use super::{Operand, Real, ReferenceError, Tensor3, weighted_sum_embedding, weighted_sum_linear};

/// Adds the squared norm of each example's gradient of a tied table `[V, p]` into `norms_sq` `[B]`:
/// `|E|^2 + |H|^2 + 2 sum_{t,t'} delta_{t'}[id_t] <g_t, h_t'>`.
///
/// `ids` is `[B, T]`, `g` and `h` (the head's input) are `[B, T, p]`, `delta` (the gradient of the logits) is `[B, T, V]`.
///
/// # Errors
/// [`ReferenceError::Axis`] and [`ReferenceError::Length`] when the shapes disagree, [`ReferenceError::Token`] for
/// an id that is not below `V`.
///
/// # Precision
/// The gradient is formed element by element, in f64: nothing cancels between squares.
pub fn tied_norm_sq<R: Real>(
    ids: &[u32],
    g: Tensor3<'_, R>,
    h: Tensor3<'_, R>,
    delta: Tensor3<'_, R>,
    norms_sq: &mut [R],
) -> Result<(), ReferenceError> {
    check(ids, g, h, delta)?;
    let [batch, tokens, columns] = g.shape();
    let vocabulary = delta.shape()[2];
    ReferenceError::check_length(Operand::Norms, norms_sq.len(), batch)?;
    for (b, norm_sq) in norms_sq.iter_mut().enumerate() {
        let ids = &ids[b * tokens..(b + 1) * tokens];
        let mut sum = 0.0;
        for v in 0..vocabulary {
            for j in 0..columns {
                let element: f64 = (0..tokens)
                    .map(|t| {
                        let embedding = if ids[t] as usize == v {
                            g.at(b, t, j)
                        } else {
                            0.0
                        };
                        embedding + delta.at(b, t, v) * h.at(b, t, j)
                    })
                    .sum();
                sum += element * element;
            }
        }
        add_into(norm_sq, sum);
    }
    Ok(())
}

/// Adds `sum_b c_b (E_b + H_b)` into `out` `[V, p]`: the embedding's sum and the head's.
///
/// # Errors
/// As [`tied_norm_sq`]; `out` is then as it was.
pub fn weighted_sum_tied<R: Real>(
    ids: &[u32],
    g: Tensor3<'_, R>,
    h: Tensor3<'_, R>,
    delta: Tensor3<'_, R>,
    factors: &[R],
    out: &mut [R],
) -> Result<(), ReferenceError> {
    check(ids, g, h, delta)?;
    let vocabulary = delta.shape()[2];
    ReferenceError::check_length(Operand::Out, out.len(), vocabulary * g.shape()[2])?;
    weighted_sum_embedding(ids, g, factors, out)?;
    weighted_sum_linear(delta, h, factors, out)
}

fn check<R: Real>(
    ids: &[u32],
    g: Tensor3<'_, R>,
    h: Tensor3<'_, R>,
    delta: Tensor3<'_, R>,
) -> Result<(), ReferenceError> {
    let [batch, tokens, _] = g.shape();
    let vocabulary = delta.shape()[2];
    g.check_same(&h, 3, Operand::Inputs)?;
    g.check_same(&delta, 2, Operand::Gradients)?;
    ReferenceError::check_length(Operand::Ids, ids.len(), batch * tokens)?;
    match ids.iter().find(|id| **id as usize >= vocabulary) {
        Some(id) => Err(ReferenceError::Token {
            id: *id,
            vocabulary,
        }),
        None => Ok(()),
    }
}
