//! What is trained: the models and shapes that steps are compared on.

use std::fmt;

use dp_burn::ModelConfig;

use crate::mlp::WIDTHS;

/// A model with the shape of its microbatch. f32, untied head, no dropout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Workload {
    /// Transformer: 2 layers, width 128, 4 heads, T 64, vocabulary 256, B 32.
    Tiny,
    /// Transformer: 4 layers, width 256, 4 heads, T 128, vocabulary 4096, B 16; 5.3 million parameters.
    Small,
    /// Fully connected, 784-1024-1024-10, B 256.
    Mlp,
    /// GPT-2 small: 12 layers, width 768, 12 heads, T 128, B 4. The vocabulary is 50,304: GPT-2's 50,257, padded to a
    /// multiple of 64 as training programs do.
    Gpt2Small,
    /// Transformer of GPT-2 small's width with 2 layers, T 1024, vocabulary 4096, B 2: a long context.
    Long,
}

impl Workload {
    /// All of them, the quickest first.
    pub const ALL: [Self; 5] = [
        Self::Mlp,
        Self::Tiny,
        Self::Small,
        Self::Long,
        Self::Gpt2Small,
    ];

    /// Its name on a command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tiny => "tiny",
            Self::Small => "small",
            Self::Mlp => "mlp",
            Self::Gpt2Small => "gpt2-small",
            Self::Long => "long",
        }
    }

    /// Examples of its microbatch, which is the whole batch.
    #[must_use]
    pub fn examples(self) -> usize {
        match self {
            Self::Tiny => 32,
            Self::Small => 16,
            Self::Mlp => 256,
            Self::Gpt2Small => 4,
            Self::Long => 2,
        }
    }

    /// Tokens of an example.
    #[must_use]
    pub fn tokens(self) -> usize {
        self.transformer().map_or(1, |sizes| sizes.context)
    }

    /// How many parameters it has.
    #[must_use]
    pub fn parameters(self) -> usize {
        match self.transformer() {
            Some(sizes) => sizes.parameters(),
            None => WIDTHS.windows(2).map(|pair| (pair[0] + 1) * pair[1]).sum(),
        }
    }

    /// Multiplications and additions of the Linears' three products in one step: forward, input gradient, weight gradient.
    #[must_use]
    pub fn product_flop(self) -> u64 {
        let weights = match self.transformer() {
            Some(sizes) => {
                let (d, h) = (sizes.width, sizes.hidden);
                sizes.layers * (4 * d * d + 2 * d * h) + d * sizes.vocabulary
            }
            None => WIDTHS.windows(2).map(|pair| pair[0] * pair[1]).sum(),
        };
        6 * (self.examples() * self.tokens() * weights) as u64
    }

    /// The sizes of a transformer; `None` of the MLP.
    pub(crate) fn transformer(self) -> Option<ModelConfig> {
        match self {
            Self::Tiny => Some(ModelConfig::tiny(256)),
            Self::Small => Some(ModelConfig::small(4096)),
            Self::Mlp => None,
            Self::Gpt2Small => Some(ModelConfig {
                vocabulary: 50_304,
                context: 128,
                layers: 12,
                width: 768,
                heads: 12,
                hidden: 3072,
            }),
            Self::Long => Some(ModelConfig {
                vocabulary: 4096,
                context: 1024,
                layers: 2,
                width: 768,
                heads: 12,
                hidden: 3072,
            }),
        }
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
