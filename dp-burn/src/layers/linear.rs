//! The private Linear layer.

use super::Init;
use crate::ops;
use crate::tape::{Leaf, Site, Tape};
use burn::module::{Module, Param};
use burn::tensor::Tensor;

/// `y = x W + b`, `W [d, p]`, `b [p]`.
///
/// # Privacy
/// Each use counts towards every example's gradient norm with `|A_b^T G_b|^2 + |sum_t G_b,t|^2`
/// (Goodfellow 1510.01799; Li et al. 2110.05679). Used twice in one pass it is refused, since the cross
/// term would be missing.
#[derive(Module, Debug)]
pub struct Linear {
    /// `[d, p]`.
    pub weight: Param<Tensor<2>>,
    /// `[p]`.
    pub bias: Param<Tensor<1>>,
}

impl Linear {
    /// Normal weights of deviation `std`, zero bias.
    pub fn new(init: &mut Init, d: usize, p: usize, std: f64) -> Self {
        Self {
            weight: init.normal(d, p, std),
            bias: init.constant(p, 0.0),
        }
    }

    /// `x [B, T, d]` to `[B, T, p]`.
    ///
    /// A private tape keeps the values of `x` until its gradients are made.
    pub fn forward(&self, x: Tensor<3>, tape: &mut Tape) -> Tensor<3> {
        let tap = tape.tap();
        tape.note(|| Site::Linear {
            weight: Leaf::matrix(&self.weight),
            bias: Leaf::vector(&self.bias),
            input: x.clone().inner(),
            tap: tap.clone(),
        });
        ops::linear(x, self.weight.val(), self.bias.val(), tap)
    }
}
