//! Which rows there are.

use cubecl::ir::FloatKind;

use crate::models::{RESNET_50, RESNEXT_50, Transformer, transformers};
use crate::ops::{
    Channels, ClipFactors, Columns, Conv, Embedding, Given, Linear, LoraLayer, Noise, Tied, Update,
};
use crate::{BenchError, Group};

/// How much is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// A few rows of every op: two minutes on two cores.
    Quick,
    /// Every model and every scaling.
    Full,
}

impl Extent {
    /// The name that a result gives.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Full => "full",
        }
    }
}

/// What a layer's groups are of.
#[derive(Debug, Clone, Copy)]
struct Inputs {
    /// The element type of what differs per example.
    kind: FloatKind,
    /// Whether the products without privacy are timed beside.
    products: bool,
}

type Groups = Vec<Box<dyn Group>>;

/// Tokens over which a layer is followed.
const TOKENS: [usize; 8] = [64, 128, 256, 512, 1024, 2048, 4096, 8192];
/// Examples over which a layer is followed.
const EXAMPLES: [usize; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];

/// The groups of an extent, with inputs of each of `kinds` (f32, f16, bf16).
///
/// `matrix_units`: the device multiplies 16-bit floats in its matrix units ([`Tuning::matrix_units`](dp_kernels::Tuning::matrix_units)), so
/// that there is a step without privacy to compare with.
///
/// # Errors
/// [`BenchError`] where a geometry of the models is no convolution.
pub fn plan(extent: Extent, kinds: &[FloatKind], matrix_units: bool) -> Result<Groups, BenchError> {
    let mut groups: Groups = Vec::new();
    // What is quick comes first: a run that ends early has then told of every op.
    let elements: &[usize] = match extent {
        Extent::Quick => &[1 << 18],
        Extent::Full => &[1 << 20, 1 << 24, 124_439_808],
    };
    for &n in elements {
        groups.push(Box::new(Noise::new(n)));
        groups.push(Box::new(Update::new(n)));
    }
    let examples: &[usize] = match extent {
        Extent::Quick => &[4096],
        Extent::Full => &[64, 4096, 1 << 20],
    };
    for &b in examples {
        groups.push(Box::new(ClipFactors::new(b)));
    }
    for &kind in kinds {
        let inputs = Inputs {
            kind,
            products: kind == FloatKind::F32 || matrix_units,
        };
        match extent {
            Extent::Quick => quick(&mut groups, inputs)?,
            Extent::Full => full(&mut groups, inputs)?,
        }
    }
    Ok(groups)
}

/// Every op at a middling shape; two scalings of one layer.
fn quick(groups: &mut Groups, inputs: Inputs) -> Result<(), BenchError> {
    let models = transformers();
    let small = &models[0];
    embedding(groups, small, 2, 256, inputs);
    groups.push(Box::new(Columns::new(
        small.name,
        [4, 256, small.width],
        inputs.kind,
    )));
    groups.push(channels(4, 256, 28, inputs.kind));
    for layer in [&RESNET_50[5], &RESNET_50[9]] {
        groups.push(convolution("resnet50", layer, 4, inputs.kind)?);
    }
    groups.push(convolution("resnext50", &RESNEXT_50[2], 4, inputs.kind)?);
    tied(groups, small, 2, 64, inputs);
    lora(groups, small, 2, 256, inputs);
    groups.push(Box::new(Given::new(
        ("any", "all"),
        [16, 1 << 20],
        inputs.kind,
    )));
    groups.push(one_token([256, 1024, 1024], inputs));
    blocks(groups, small, 2, 256, inputs);
    for [b, t] in [[1, 256], [4, 256], [2, 64], [2, 1024]] {
        one_layer(groups, small, b, t, inputs);
    }
    blocks(groups, &models[1], 2, models[1].tokens, inputs);
    Ok(())
}

fn full(groups: &mut Groups, inputs: Inputs) -> Result<(), BenchError> {
    let models = transformers();
    for shape in [[256, 1024, 1024], [4096, 1024, 1024], [1024, 4096, 4096]] {
        groups.push(one_token(shape, inputs));
    }
    for b in [1, 8, 64] {
        let [t, p] = [models[0].tokens, models[0].width];
        groups.push(Box::new(Columns::new(
            models[0].name,
            [b, t, p],
            inputs.kind,
        )));
    }
    for layer in &RESNET_50 {
        for b in [1, 16] {
            groups.push(convolution("resnet50", layer, b, inputs.kind)?);
        }
    }
    for layer in &RESNEXT_50 {
        for b in [1, 16] {
            groups.push(convolution("resnext50", layer, b, inputs.kind)?);
        }
    }
    for [width, size] in [[256, 56], [512, 28], [1024, 14], [2048, 7]] {
        groups.push(channels(16, width, size, inputs.kind));
    }
    for shape in [[16, 1 << 20], [256, 1 << 20], [8, 85_000_000]] {
        groups.push(Box::new(Given::new(("any", "all"), shape, inputs.kind)));
    }
    for model in &models {
        for b in [1, 8] {
            blocks(groups, model, b, model.tokens, inputs);
            embedding(groups, model, b, model.tokens, inputs);
            lora(groups, model, b, model.tokens, inputs);
        }
    }
    for [b, t] in [[1, 256], [8, 256], [2, 1024]] {
        tied(groups, &models[0], b, t, inputs);
    }
    for model in [&models[0], &models[5]] {
        for t in TOKENS {
            one_layer(groups, model, 4, t, inputs);
        }
        for b in EXAMPLES {
            one_layer(groups, model, b, 256, inputs);
        }
    }
    // One shape may come from two of the lists above.
    let mut seen: Vec<String> = Vec::new();
    groups.retain(|group| {
        let words = group.place().words(&group.ops()[0].name);
        let new = !seen.contains(&words);
        seen.push(words);
        new
    });
    Ok(())
}

fn blocks(groups: &mut Groups, model: &Transformer, b: usize, t: usize, inputs: Inputs) {
    for layer in &model.layers {
        let of = (model.name, layer.name, layer.count);
        let shape = [b, t, layer.inputs, layer.outputs];
        groups.push(Box::new(Linear::new(
            of,
            shape,
            inputs.kind,
            inputs.products,
        )));
    }
}

/// The widest layer of a block.
fn one_layer(groups: &mut Groups, model: &Transformer, b: usize, t: usize, inputs: Inputs) {
    if let Some(layer) = model.layers.iter().max_by_key(|layer| layer.outputs) {
        let of = (model.name, layer.name, layer.count);
        let shape = [b, t, layer.inputs, layer.outputs];
        groups.push(Box::new(Linear::new(
            of,
            shape,
            inputs.kind,
            inputs.products,
        )));
    }
}

fn one_token([b, d, p]: [usize; 3], inputs: Inputs) -> Box<dyn Group> {
    Box::new(Linear::new(
        ("mlp", "hidden", 0),
        [b, 1, d, p],
        inputs.kind,
        inputs.products,
    ))
}

fn embedding(groups: &mut Groups, model: &Transformer, b: usize, t: usize, inputs: Inputs) {
    if model.vocabulary > 0 {
        let shape = [b, t, model.width, model.vocabulary];
        groups.push(Box::new(Embedding::new(model.name, shape, inputs.kind)));
    }
}

/// Embedding and head of one table, as GPT-2's.
fn tied(groups: &mut Groups, model: &Transformer, b: usize, t: usize, inputs: Inputs) {
    let shape = [b, t, model.width, model.vocabulary];
    groups.push(Box::new(Tied::new(model.name, shape, inputs.kind)));
}

/// The rank of a LoRA layer.
const RANK: usize = 16;

/// Beside the first Linear of a block: the one that makes queries.
fn lora(groups: &mut Groups, model: &Transformer, b: usize, t: usize, inputs: Inputs) {
    if let Some(layer) = model.layers.first() {
        let of = (model.name, layer.name, layer.count);
        let shape = [b, t, layer.inputs, RANK, layer.outputs];
        groups.push(Box::new(LoraLayer::new(of, shape, inputs.kind)));
    }
}

/// A GroupNorm after a convolution of a ResNet-50.
fn channels(b: usize, width: usize, size: usize, kind: FloatKind) -> Box<dyn Group> {
    Box::new(Channels::new(
        ("resnet50", "group-norm"),
        [b, width, size],
        kind,
    ))
}

fn convolution(
    model: &str,
    layer: &crate::models::ConvLayer,
    b: usize,
    kind: FloatKind,
) -> Result<Box<dyn Group>, BenchError> {
    let of = (model, layer.name, layer.count);
    let channels = (layer.channels, layer.groups);
    let conv = Conv::new(of, b, channels, layer.size, kind)?;
    Ok(Box::new(conv))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// Two rows of the same words could not be told apart in a result, nor be repeated.
    #[test]
    fn every_row_has_its_own_words() {
        for extent in [Extent::Quick, Extent::Full] {
            let groups = plan(extent, &[FloatKind::F32, FloatKind::BF16], true).unwrap();
            let mut words = HashSet::new();
            for group in &groups {
                let ops = group.ops().into_iter().map(|op| op.name);
                for name in ops.chain(group.pairs().into_iter().map(|pair| pair.name)) {
                    let row = group.place().words(&name);
                    assert!(words.insert(row.clone()), "twice: {row}");
                }
            }
            assert!(words.len() > 50);
        }
    }

    /// What the brief of the suite names is there.
    #[test]
    fn the_full_plan_covers_models_tokens_and_examples() {
        let groups = plan(Extent::Full, &[FloatKind::F32], false).unwrap();
        let places: Vec<_> = groups.iter().map(|group| group.place().clone()).collect();
        for model in [
            "gpt2-small",
            "gpt2-medium",
            "gpt2-large",
            "gpt2-xl",
            "llama3-8b",
            "vit-b16",
            "resnet50",
            "resnext50",
        ] {
            assert!(places.iter().any(|place| place.model == model), "{model}");
        }
        for t in TOKENS {
            assert!(places.iter().any(|place| place.t == t as u64), "T {t}");
        }
        for b in EXAMPLES {
            assert!(places.iter().any(|place| place.b == b as u64), "B {b}");
        }
    }
}
