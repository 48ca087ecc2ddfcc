//! A decoder-only transformer built of private layers (pre-norm, learned positions, untied head: GPT-2's
//! shape, Radford et al. 2019).

mod block;
mod config;

pub use config::ModelConfig;

use crate::layers::{Embedding, Init, LayerNorm, Linear, Position};
use crate::ops::cross_entropy;
use crate::tape::Tape;
use block::Block;
use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};

/// The model.
#[derive(Module, Debug)]
pub struct Transformer {
    tokens: Embedding,
    positions: Position,
    blocks: Vec<Block>,
    norm: LayerNorm,
    head: Linear,
}

/// A microbatch on the device.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Input token ids, `[B, T]`.
    pub inputs: Tensor<2, Int>,
    /// The ids to predict, `[B, T]`.
    pub targets: Tensor<2, Int>,
    /// What each token's loss counts, `[B, T]`: 1 / (tokens of the example) for its tokens, 0 for
    /// padding, so that an example's loss is the mean over its tokens.
    pub weights: Tensor<2>,
    /// 1 for rows that hold an example, 0 for padding rows, `[B]`; one for each example where these have several rows.
    pub mask: Tensor<1>,
}

impl Batch {
    /// Uploads rows of `context` tokens, and a mask with a number for each example; `device` may be an autodiff device.
    ///
    /// # Panics
    /// Panics when the three slices have not one length, a multiple of `context`.
    #[must_use]
    pub fn new(
        inputs: &[i32],
        targets: &[i32],
        weights: &[f32],
        mask: &[f32],
        context: usize,
        device: &Device,
    ) -> Self {
        let rows = inputs.len() / context;
        let ids =
            |x: &[i32]| Tensor::from_data(TensorData::new(x.to_vec(), [rows, context]), device);
        Self {
            inputs: ids(inputs),
            targets: ids(targets),
            weights: Tensor::from_data(TensorData::new(weights.to_vec(), [rows, context]), device),
            mask: Tensor::from_data(TensorData::new(mask.to_vec(), [mask.len()]), device),
        }
    }
}

impl Transformer {
    /// A model with initial weights drawn from `seed`.
    #[must_use]
    pub fn new(config: &ModelConfig, seed: u64, device: &Device) -> Self {
        let mut init = Init::new(seed, device);
        let init = &mut init;
        let std = ModelConfig::INITIAL_STD;
        Self {
            tokens: Embedding::new(init, config.vocabulary, config.width, std),
            positions: Position::new(init, config.context, config.width, std),
            blocks: (0..config.layers)
                .map(|_| Block::new(init, config))
                .collect(),
            norm: LayerNorm::new(init, config.width),
            head: Linear::new(init, config.width, config.vocabulary, std),
        }
    }

    /// The logits `[B, T, V]` of the next token at each place of `ids [B, T]`.
    pub fn forward(&self, ids: Tensor<2, Int>, tape: &mut Tape) -> Tensor<3> {
        let x = self.tokens.forward(ids, tape);
        let mut x = self.positions.forward(x, tape);
        for block in &self.blocks {
            x = block.forward(x, tape);
        }
        let x = self.norm.forward(x, tape);
        self.head.forward(x, tape)
    }

    /// The weighted loss of each token, `[B, T]`; their sum over t is an example's loss.
    pub fn losses(&self, batch: &Batch, tape: &mut Tape) -> Tensor<2> {
        let logits = self.forward(batch.inputs.clone(), tape);
        let [b, t, v] = logits.dims();
        cross_entropy(
            logits.reshape([b * t, v]),
            batch.targets.clone().reshape([b * t]),
            batch.weights.clone().reshape([b * t]),
        )
        .reshape([b, t])
    }
}
