//! One parameter a channel, channels first: GroupNorm, and the bias of a convolution.

use super::tensor::add_into;
use super::weighted_sum::over_live;
use super::{Operand, Real, ReferenceError, Tensor3};

/// Adds `sum_c (sum_s g_cs)^2` of each example into `norms_sq` `[B]`; `g` is `[B, C, S]`.
///
/// # Errors
/// [`ReferenceError::Length`] when the lengths disagree.
pub fn channel_bias_norm_sq<R: Real>(
    g: Tensor3<'_, R>,
    norms_sq: &mut [R],
) -> Result<(), ReferenceError> {
    norms(g, norms_sq, |b, c, s| g.at(b, c, s))
}

/// Adds `sum_c (sum_s g_cs xhat_cs)^2` of each example into `norms_sq` `[B]`; `xhat` and `g` are `[B, C, S]`.
///
/// # Errors
/// [`ReferenceError::Axis`] and [`ReferenceError::Length`] when the shapes disagree.
pub fn channel_scale_norm_sq<R: Real>(
    xhat: Tensor3<'_, R>,
    g: Tensor3<'_, R>,
    norms_sq: &mut [R],
) -> Result<(), ReferenceError> {
    xhat.check_same(&g, 3, Operand::Gradients)?;
    norms(g, norms_sq, |b, c, s| g.at(b, c, s) * xhat.at(b, c, s))
}

/// Adds `sum_b c_b sum_s g_bcs` into `out` `[C]`; `g` is `[B, C, S]`, `factors` is `[B]`.
///
/// # Errors
/// [`ReferenceError::Length`] when the lengths disagree.
pub fn weighted_sum_channel_bias<R: Real>(
    g: Tensor3<'_, R>,
    factors: &[R],
    out: &mut [R],
) -> Result<(), ReferenceError> {
    sums(g, factors, out, |b, c, s| g.at(b, c, s))
}

/// Adds `sum_b c_b sum_s g_bcs xhat_bcs` into `out` `[C]`; `xhat` and `g` are `[B, C, S]`, `factors` is `[B]`.
///
/// # Errors
/// [`ReferenceError::Axis`] and [`ReferenceError::Length`] when the shapes disagree.
pub fn weighted_sum_channel_scale<R: Real>(
    xhat: Tensor3<'_, R>,
    g: Tensor3<'_, R>,
    factors: &[R],
    out: &mut [R],
) -> Result<(), ReferenceError> {
    xhat.check_same(&g, 3, Operand::Gradients)?;
    sums(g, factors, out, |b, c, s| g.at(b, c, s) * xhat.at(b, c, s))
}

fn norms<R: Real>(
    g: Tensor3<'_, R>,
    norms_sq: &mut [R],
    element: impl Fn(usize, usize, usize) -> f64,
) -> Result<(), ReferenceError> {
    let [batch, channels, positions] = g.shape();
    ReferenceError::check_length(Operand::Norms, norms_sq.len(), batch)?;
    for (b, norm_sq) in norms_sq.iter_mut().enumerate() {
        let channel = |c| -> f64 { (0..positions).map(|s| element(b, c, s)).sum() };
        let sum = (0..channels).map(|c| channel(c) * channel(c)).sum();
        add_into(norm_sq, sum);
    }
    Ok(())
}

fn sums<R: Real>(
    g: Tensor3<'_, R>,
    factors: &[R],
    out: &mut [R],
    element: impl Fn(usize, usize, usize) -> f64,
) -> Result<(), ReferenceError> {
    let [batch, channels, positions] = g.shape();
    ReferenceError::check_length(Operand::Factors, factors.len(), batch)?;
    ReferenceError::check_length(Operand::Out, out.len(), channels)?;
    for (c, out) in out.iter_mut().enumerate() {
        let sum = over_live(factors, |b| (0..positions).map(|s| element(b, c, s)).sum());
        add_into(out, sum);
    }
    Ok(())
}
