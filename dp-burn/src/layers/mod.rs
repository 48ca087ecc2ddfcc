//! Private layers: burn modules whose forward pass writes on a [`Tape`](crate::Tape).

mod embedding;
mod layer_norm;
mod linear;
mod position;

pub use embedding::Embedding;
pub use layer_norm::LayerNorm;
pub use linear::Linear;
pub use position::Position;

use burn::module::{Param, ParamId};
use burn::tensor::{Device, Tensor, TensorData};
use dp_core::noise::{Generator, Key, fill_gaussian};

/// Makes the initial parameters of a model from one seed: the same on every device, and with
/// parameter ids that are the same at every start, so that an optimizer's saved state fits again.
#[derive(Debug)]
pub struct Init {
    key: Key,
    next: u32,
    device: Device,
}

impl Init {
    /// Draws from `seed`, which is no secret: initial weights carry no data.
    #[must_use]
    pub fn new(seed: u64, device: &Device) -> Self {
        let words = [seed as u32, (seed >> 32) as u32, 0, 0, 0, 0, 0, 0];
        Self {
            key: Key::new(words),
            next: 0,
            device: device.clone(),
        }
    }

    /// Normal values of standard deviation `std`, `[rows, columns]`.
    pub fn normal(&mut self, rows: usize, columns: usize, std: f64) -> Param<Tensor<2>> {
        let mut values = vec![0.0f32; rows * columns];
        let (id, tensor) = self.id();
        fill_gaussian(
            &mut values,
            0,
            std as f32,
            &self.key,
            Generator::ChaCha20,
            0,
            tensor,
        )
        .expect("a model's parameter has fewer than 2^33 elements and a finite deviation");
        let data = TensorData::new(values, [rows, columns]);
        Param::initialized(id, self.tracked(Tensor::from_data(data, &self.device)))
    }

    /// A constant vector.
    pub fn constant(&mut self, len: usize, value: f32) -> Param<Tensor<1>> {
        let (id, _) = self.id();
        Param::initialized(id, self.tracked(Tensor::full([len], value, &self.device)))
    }

    /// On a plain device there is no gradient to require.
    fn tracked<const D: usize>(&self, tensor: Tensor<D>) -> Tensor<D> {
        if self.device.is_autodiff() {
            tensor.require_grad()
        } else {
            tensor
        }
    }

    fn id(&mut self) -> (ParamId, u32) {
        let tensor = self.next;
        self.next += 1;
        (ParamId::from(u64::from(tensor) + 1), tensor)
    }
}
