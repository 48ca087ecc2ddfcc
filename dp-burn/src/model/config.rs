//! Sizes of the transformer.

use serde::{Deserialize, Serialize};

/// Sizes of a [`Transformer`](super::Transformer).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelConfig {
    /// Token ids are below this.
    pub vocabulary: usize,
    /// Tokens of an example.
    pub context: usize,
    /// Blocks.
    pub layers: usize,
    /// Width of the residual stream.
    pub width: usize,
    /// Attention heads; they divide the width.
    pub heads: usize,
    /// Width inside the feed-forward part.
    pub hidden: usize,
}

impl ModelConfig {
    /// Deviation of initial weights (GPT-2).
    pub const INITIAL_STD: f64 = 0.02;

    /// 2 layers, width 128, 4 heads, context 64.
    #[must_use]
    pub fn tiny(vocabulary: usize) -> Self {
        Self {
            vocabulary,
            context: 64,
            layers: 2,
            width: 128,
            heads: 4,
            hidden: 512,
        }
    }

    /// 4 layers, width 256, 4 heads, context 128.
    #[must_use]
    pub fn small(vocabulary: usize) -> Self {
        Self {
            vocabulary,
            context: 128,
            layers: 4,
            width: 256,
            heads: 4,
            hidden: 1024,
        }
    }

    /// How many parameters the model has.
    #[must_use]
    pub fn parameters(&self) -> usize {
        let (d, h) = (self.width, self.hidden);
        let block = (d * 3 * d + 3 * d) + (d * d + d) + (d * h + h) + (h * d + d) + 4 * d;
        self.vocabulary * d
            + self.context * d
            + self.layers * block
            + 2 * d
            + d * self.vocabulary
            + self.vocabulary
    }
}
