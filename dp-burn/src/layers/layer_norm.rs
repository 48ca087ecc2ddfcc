//! The private layer normalisation.

use super::Init;
use crate::ops;
use crate::tape::{Leaf, Site, Tape};
use burn::module::{Module, Param};
use burn::tensor::Tensor;

/// Layer normalisation with gain and bias `[d]`.
///
/// # Privacy
/// Counts with `|sum_t g_t * xhat_t|^2 + |sum_t g_t|^2`. It normalises each token by itself, so that no
/// example's output depends on another's input (batch normalisation would).
#[derive(Module, Debug)]
pub struct LayerNorm {
    /// `[d]`.
    pub gain: Param<Tensor<1>>,
    /// `[d]`.
    pub bias: Param<Tensor<1>>,
}

impl LayerNorm {
    /// What is added to the variance.
    pub const EPSILON: f32 = 1e-5;

    /// Gain one, bias zero.
    pub fn new(init: &mut Init, d: usize) -> Self {
        Self {
            gain: init.constant(d, 1.0),
            bias: init.constant(d, 0.0),
        }
    }

    /// `x [B, T, d]`, the same shape out.
    pub fn forward(&self, x: Tensor<3>, tape: &mut Tape) -> Tensor<3> {
        let (tap_gain, tap_bias) = (tape.tap(), tape.tap());
        tape.note(|| Site::LayerNorm {
            gain: Leaf::vector(&self.gain),
            bias: Leaf::vector(&self.bias),
            tap_gain: tap_gain.clone(),
            tap_bias: tap_bias.clone(),
        });
        ops::layer_norm(
            x,
            self.gain.val(),
            self.bias.val(),
            Self::EPSILON,
            tap_gain,
            tap_bias,
        )
    }
}
