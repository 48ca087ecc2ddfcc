//! Layers of known models, by their published sizes.

/// A Linear of a transformer's blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinearLayer {
    /// What it does.
    pub name: &'static str,
    /// Inputs, d.
    pub inputs: usize,
    /// Outputs, p.
    pub outputs: usize,
    /// How often the model has it.
    pub count: u64,
}

/// A transformer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transformer {
    /// Its name.
    pub name: &'static str,
    /// Tokens that it is usually trained on at once.
    pub tokens: usize,
    /// Rows of its embedding; 0 where it has none.
    pub vocabulary: usize,
    /// Its width.
    pub width: usize,
    /// The Linears of its blocks.
    pub layers: Vec<LinearLayer>,
}

const fn layer(name: &'static str, inputs: usize, outputs: usize, count: u64) -> LinearLayer {
    LinearLayer {
        name,
        inputs,
        outputs,
        count,
    }
}

/// GPT-2 and ViT: queries, keys and values in one Linear, a hidden layer four times as wide.
fn classic(
    name: &'static str,
    tokens: usize,
    vocabulary: usize,
    width: usize,
    blocks: u64,
) -> Transformer {
    Transformer {
        name,
        tokens,
        vocabulary,
        width,
        layers: vec![
            layer("qkv", width, 3 * width, blocks),
            layer("attention-out", width, width, blocks),
            layer("mlp-up", width, 4 * width, blocks),
            layer("mlp-down", 4 * width, width, blocks),
        ],
    }
}

/// The transformers, smallest first.
///
/// GPT-2: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners". ViT: Dosovitskiy et al. 2010.11929. Llama 3:
/// Grattafiori et al. 2407.21783, whose keys and values are shared by four heads each.
#[must_use]
pub fn transformers() -> Vec<Transformer> {
    let llama = Transformer {
        name: "llama3-8b",
        tokens: 2048,
        vocabulary: 128_256,
        width: 4096,
        layers: vec![
            layer("query", 4096, 4096, 32),
            layer("key-value", 4096, 1024, 64),
            layer("attention-out", 4096, 4096, 32),
            layer("mlp-gate-up", 4096, 14_336, 64),
            layer("mlp-down", 14_336, 4096, 32),
        ],
    };
    vec![
        classic("gpt2-small", 1024, 50_257, 768, 12),
        classic("vit-b16", 197, 0, 768, 12),
        classic("gpt2-medium", 1024, 50_257, 1024, 24),
        classic("gpt2-large", 1024, 50_257, 1280, 36),
        classic("gpt2-xl", 1024, 50_257, 1600, 48),
        llama,
    ]
}

/// A convolution over a square input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvLayer {
    /// Where it is.
    pub name: &'static str,
    /// Channels in and out.
    pub channels: [usize; 2],
    /// Side of the input, side of the kernel, stride.
    pub size: [usize; 3],
    /// Groups of channels.
    pub groups: usize,
    /// How often the model has it.
    pub count: u64,
}

const fn conv(name: &'static str, channels: [usize; 2], size: [usize; 3], count: u64) -> ConvLayer {
    ConvLayer {
        name,
        channels,
        size,
        groups: 1,
        count,
    }
}

/// The convolutions of a ResNet-50 on images of 224 by 224, but for those that change a stage's channels or size:
/// He et al. 1512.03385, table 1.
pub const RESNET_50: [ConvLayer; 13] = [
    conv("stem", [3, 64], [224, 7, 2], 1),
    conv("stage1-reduce", [256, 64], [56, 1, 1], 2),
    conv("stage1-3x3", [64, 64], [56, 3, 1], 3),
    conv("stage1-expand", [64, 256], [56, 1, 1], 4),
    conv("stage2-reduce", [512, 128], [28, 1, 1], 3),
    conv("stage2-3x3", [128, 128], [28, 3, 1], 3),
    conv("stage2-expand", [128, 512], [28, 1, 1], 4),
    conv("stage3-reduce", [1024, 256], [14, 1, 1], 5),
    conv("stage3-3x3", [256, 256], [14, 3, 1], 5),
    conv("stage3-expand", [256, 1024], [14, 1, 1], 6),
    conv("stage4-reduce", [2048, 512], [7, 1, 1], 2),
    conv("stage4-3x3", [512, 512], [7, 3, 1], 2),
    conv("stage4-expand", [512, 2048], [7, 1, 1], 3),
];

/// Of a ResNeXt-50 (32x4d) the convolutions in 32 groups, but for those that change a stage's size: Xie et al. 1611.05431, table 1.
pub const RESNEXT_50: [ConvLayer; 4] = [
    grouped("stage1-3x3", 128, 56, 3),
    grouped("stage2-3x3", 256, 28, 3),
    grouped("stage3-3x3", 512, 14, 5),
    grouped("stage4-3x3", 1024, 7, 2),
];

const fn grouped(name: &'static str, channels: usize, size: usize, count: u64) -> ConvLayer {
    ConvLayer {
        groups: 32,
        ..conv(name, [channels; 2], [size, 3, 1], count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Weights of the blocks against the published sizes: 85 of GPT-2 small's 124 million, 1475 of XL's 1558, 6979 of
    /// Llama's 8030.
    #[test]
    fn the_sizes_add_up() {
        let weights = |name: &str| -> u64 {
            let models = transformers();
            let model = models.iter().find(|model| model.name == name).unwrap();
            let of = |layer: &LinearLayer| layer.count * (layer.inputs * layer.outputs) as u64;
            model.layers.iter().map(of).sum()
        };
        assert_eq!(weights("gpt2-small"), 12 * 12 * 768 * 768);
        assert_eq!(weights("gpt2-small") / 1_000_000, 84);
        assert_eq!(weights("gpt2-xl") / 1_000_000, 1474);
        assert_eq!(weights("llama3-8b") / 1_000_000, 6979);
    }
}
