//! A fully connected network of private layers.

use burn::module::Module;
use burn::tensor::activation::relu;
use burn::tensor::{Device, Int, Tensor, TensorData};
use dp_burn::{Init, Linear, Tape, cross_entropy};

use crate::workload::Workload;

/// Extents of the layers, input first.
pub(crate) const WIDTHS: [usize; 4] = [784, 1024, 1024, 10];

/// 784-1024-1024-10 with rectifiers between.
#[derive(Module, Debug)]
pub(crate) struct Mlp {
    layers: Vec<Linear>,
}

/// Its batch.
pub(crate) struct Images {
    /// `[B, 1, 784]`: an image is one token.
    pixels: Tensor<3>,
    /// `[B]`.
    classes: Tensor<1, Int>,
    /// Ones, `[B]`.
    weights: Tensor<1>,
}

impl Mlp {
    pub(crate) fn new(seed: u64, device: &Device) -> Self {
        let mut init = Init::new(seed, device);
        let layers = WIDTHS.windows(2).map(|pair| {
            let std = (2.0 / pair[0] as f64).sqrt();
            Linear::new(&mut init, pair[0], pair[1], std)
        });
        Self {
            layers: layers.collect(),
        }
    }

    /// The loss of each example, `[B]`.
    pub(crate) fn losses(&self, batch: &Images, tape: &mut Tape) -> Tensor<1> {
        let mut x = batch.pixels.clone();
        for (at, layer) in self.layers.iter().enumerate() {
            if at > 0 {
                x = relu(x);
            }
            x = layer.forward(x, tape);
        }
        let [examples, _, classes] = x.dims();
        cross_entropy(
            x.reshape([examples, classes]),
            batch.classes.clone(),
            batch.weights.clone(),
        )
    }
}

impl Images {
    /// Numbers without meaning, the same at every start.
    pub(crate) fn new(device: &Device) -> Self {
        let examples = Workload::Mlp.examples();
        let pixels: Vec<f32> = (0..examples * WIDTHS[0])
            .map(|i| (i * 7919 % 1013) as f32 / 506.0 - 1.0)
            .collect();
        let classes: Vec<i32> = (0..examples).map(|b| (b * 7 % WIDTHS[3]) as i32).collect();
        Self {
            pixels: Tensor::from_data(TensorData::new(pixels, [examples, 1, WIDTHS[0]]), device),
            classes: Tensor::from_data(TensorData::new(classes, [examples]), device),
            weights: Tensor::ones([examples], device),
        }
    }
}
