//! One block: attention, then the feed-forward part, each behind a norm and beside a residual.

use super::ModelConfig;
use crate::layers::{Init, LayerNorm, Linear};
use crate::ops::{causal_attention, gelu};
use crate::tape::Tape;
use burn::module::Module;
use burn::tensor::Tensor;

#[derive(Module, Debug)]
pub(super) struct Block {
    norm_attention: LayerNorm,
    qkv: Linear,
    project: Linear,
    norm_feed_forward: LayerNorm,
    up: Linear,
    down: Linear,
    #[module(skip)]
    heads: usize,
}

impl Block {
    pub(super) fn new(init: &mut Init, config: &ModelConfig) -> Self {
        let (d, h) = (config.width, config.hidden);
        let std = ModelConfig::INITIAL_STD;
        // Two projections a block end on the residual stream: keep its variance over depth (GPT-2).
        let residual = std / ((2 * config.layers.max(1)) as f64).sqrt();
        Self {
            norm_attention: LayerNorm::new(init, d),
            qkv: Linear::new(init, d, 3 * d, std),
            project: Linear::new(init, d, d, residual),
            norm_feed_forward: LayerNorm::new(init, d),
            up: Linear::new(init, d, h, std),
            down: Linear::new(init, h, d, residual),
            heads: config.heads,
        }
    }

    pub(super) fn forward(&self, x: Tensor<3>, tape: &mut Tape) -> Tensor<3> {
        let y = self.norm_attention.forward(x.clone(), tape);
        let y = self.qkv.forward(y, tape);
        let y = self.project.forward(causal_attention(y, self.heads), tape);
        let x = x + y;
        let y = self.norm_feed_forward.forward(x.clone(), tape);
        let y = gelu(self.up.forward(y, tape));
        x + self.down.forward(y, tape)
    }
}
