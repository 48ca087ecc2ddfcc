//! The record of a forward pass that private gradients are made from.

use burn::module::{Param, ParamId};
use burn::tensor::{Device, Gradients, Int, Tensor};

/// A parameter as a forward pass took it.
#[derive(Debug)]
pub(crate) struct Leaf {
    pub id: ParamId,
    value: Value,
}

#[derive(Debug)]
enum Value {
    Vector(Tensor<1>),
    Matrix(Tensor<2>),
}

impl Leaf {
    pub fn vector(param: &Param<Tensor<1>>) -> Self {
        Self {
            id: param.id,
            value: Value::Vector(param.val()),
        }
    }

    pub fn matrix(param: &Param<Tensor<2>>) -> Self {
        Self {
            id: param.id,
            value: Value::Matrix(param.val()),
        }
    }

    /// Whether it is trained.
    pub fn is_tracked(&self) -> bool {
        match &self.value {
            Value::Vector(value) => value.is_require_grad(),
            Value::Matrix(value) => value.is_require_grad(),
        }
    }

    /// Whether a backward pass left a gradient for it. Private layers form none: it is of a use outside them.
    pub fn has_gradient(&self, gradients: &Gradients) -> bool {
        match &self.value {
            Value::Vector(value) => value.grad(gradients).is_some(),
            Value::Matrix(value) => value.grad(gradients).is_some(),
        }
    }
}

/// One use of a layer's parameters in a forward pass.
#[derive(Debug)]
pub(crate) enum Site {
    /// `y = x W + b`: `input [B, T, d]`.
    Linear {
        weight: Leaf,
        bias: Leaf,
        input: Tensor<3>,
        tap: Tensor<1>,
    },
    /// `y = table[ids]`: `ids [B, T]`.
    Embedding {
        table: Leaf,
        ids: Tensor<2, Int>,
        tap: Tensor<1>,
    },
    /// `y = x + table`.
    Position { table: Leaf, tap: Tensor<1> },
    /// `y = xhat * gain + bias`; the backward pass leaves each example's gradients of both, `[B, p]`, on the taps.
    LayerNorm {
        gain: Leaf,
        bias: Leaf,
        tap_gain: Tensor<1>,
        tap_bias: Tensor<1>,
    },
}

/// What layers write while they run forward.
///
/// A private tape makes every layer leave a tap on its output; an ordinary one leaves none, and
/// the layers form ordinary summed gradients. One tape serves one forward pass.
#[derive(Debug)]
pub struct Tape {
    private: bool,
    device: Device,
    pub(crate) sites: Vec<Site>,
}

impl Tape {
    /// A tape for a private microbatch on `device`, an autodiff device.
    #[must_use]
    pub fn private(device: &Device) -> Self {
        Self {
            private: true,
            device: device.clone(),
            sites: Vec::new(),
        }
    }

    /// A tape that records nothing: ordinary training, or inference.
    #[must_use]
    pub fn ordinary(device: &Device) -> Self {
        Self {
            private: false,
            device: device.clone(),
            sites: Vec::new(),
        }
    }

    /// A leaf to catch a gradient on; on an ordinary tape a constant that catches nothing.
    pub(crate) fn tap(&self) -> Tensor<1> {
        // The gradient registered on a leaf need not have the leaf's shape: one element is enough.
        let leaf = Tensor::zeros([1], &self.device);
        if self.private {
            leaf.require_grad()
        } else {
            leaf
        }
    }

    /// Notes a site; `make` runs on private tapes only.
    pub(crate) fn note(&mut self, make: impl FnOnce() -> Site) {
        if self.private {
            self.sites.push(make());
        }
    }
}

impl Site {
    /// What it is a gradient of.
    pub fn leaves(&self) -> impl Iterator<Item = &Leaf> {
        let (first, second) = match self {
            Self::Linear { weight, bias, .. } => (weight, Some(bias)),
            Self::LayerNorm { gain, bias, .. } => (gain, Some(bias)),
            Self::Embedding { table, .. } | Self::Position { table, .. } => (table, None),
        };
        std::iter::once(first).chain(second)
    }
}
