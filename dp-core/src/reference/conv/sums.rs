//! The gradient of a convolution's weight, straight from the definition.

use super::ConvLayout;
use crate::reference::tensor::add_into;
use crate::reference::weighted_sum::over_live;
use crate::reference::{Operand, Real, ReferenceError};

/// Adds the squared norm of each example's weight gradient into `norms_sq` `[B]`:
/// `sum over (o, i, k) of (sum_t g[o, t] x[i, position that t meets at k])^2`.
///
/// `x` is `[B, C_in, input..]`, `g` is `[B, C_out, output..]`.
///
/// # Errors
/// [`ReferenceError::Length`] when the lengths disagree.
pub fn conv_norm_sq<R: Real>(
    layout: &ConvLayout,
    x: &[R],
    g: &[R],
    norms_sq: &mut [R],
) -> Result<(), ReferenceError> {
    check(layout, x, g, norms_sq.len())?;
    for (b, norm_sq) in norms_sq.iter_mut().enumerate() {
        let mut sum = 0.0;
        for place in 0..weight_len(layout) {
            let element = element(layout, x, g, b, place);
            sum += element * element;
        }
        add_into(norm_sq, sum);
    }
    Ok(())
}

/// Adds `sum_b c_b (gradient of b)` into `out` `[C_out, C_in / groups, kernel..]`.
///
/// `x` is `[B, C_in, input..]`, `g` is `[B, C_out, output..]`, `factors` is `[B]`.
///
/// # Errors
/// [`ReferenceError::Length`] when the lengths disagree.
pub fn weighted_sum_conv<R: Real>(
    layout: &ConvLayout,
    x: &[R],
    g: &[R],
    factors: &[R],
    out: &mut [R],
) -> Result<(), ReferenceError> {
    check(layout, x, g, factors.len())?;
    ReferenceError::check_length(Operand::Out, out.len(), weight_len(layout))?;
    for (place, out) in out.iter_mut().enumerate() {
        add_into(out, over_live(factors, |b| element(layout, x, g, b, place)));
    }
    Ok(())
}

/// One element of example `b`'s gradient, at `place` of the weight.
fn element<R: Real>(layout: &ConvLayout, x: &[R], g: &[R], b: usize, place: usize) -> f64 {
    let [kd, kh, kw] = layout.kernel();
    let [_, ih, iw] = layout.input();
    let [od, oh, ow] = layout.output();
    let (k, rest) = (place % (kd * kh * kw), place / (kd * kh * kw));
    let (i, o) = (rest % layout.group_in(), rest / layout.group_in());
    let group = o / layout.group_out();
    let k = [k / (kh * kw), k / kw % kh, k % kw];
    let x_map = b * layout.channels_in() + group * layout.group_in() + i;
    let g_map = b * layout.channels_out() + o;
    let input: usize = layout.input().iter().product();

    let mut sum = 0.0;
    for d in 0..od {
        for h in 0..oh {
            for w in 0..ow {
                let (Some(z), Some(y), Some(c)) = (
                    layout.meets(0, d, k[0]),
                    layout.meets(1, h, k[1]),
                    layout.meets(2, w, k[2]),
                ) else {
                    continue;
                };
                let x = x[x_map * input + (z * ih + y) * iw + c];
                let g = g[((g_map * od + d) * oh + h) * ow + w];
                sum += x.widen() * g.widen();
            }
        }
    }
    sum
}

fn weight_len(layout: &ConvLayout) -> usize {
    let places: usize = layout.kernel().iter().product();
    layout.channels_out() * layout.group_in() * places
}

fn check<R: Real>(
    layout: &ConvLayout,
    x: &[R],
    g: &[R],
    batch: usize,
) -> Result<(), ReferenceError> {
    let input: usize = layout.input().iter().product();
    let output: usize = layout.output().iter().product();
    let (x_len, g_len) = (layout.channels_in() * input, layout.channels_out() * output);
    ReferenceError::check_length(Operand::Inputs, x.len(), batch * x_len)?;
    ReferenceError::check_length(Operand::Gradients, g.len(), batch * g_len)
}
