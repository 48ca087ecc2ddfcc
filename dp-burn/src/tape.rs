//! The record of a forward pass that private gradients are made from.

use burn::module::ParamId;
use burn::tensor::{Device, Int, Tensor};

/// One use of a layer's parameters in a forward pass.
#[derive(Debug)]
pub(crate) enum Site {
    /// `y = x W + b`: `input [B, T, d]`.
    Linear {
        weight: ParamId,
        bias: ParamId,
        input: Tensor<3>,
        tap: Tensor<1>,
    },
    /// `y = table[ids]`: `ids [B, T]`.
    Embedding {
        table: ParamId,
        ids: Tensor<2, Int>,
        tap: Tensor<1>,
    },
    /// `y = x + table`.
    Position { table: ParamId, tap: Tensor<1> },
    /// `y = xhat * gain + bias`; the backward pass leaves each example's gradients of both, `[B, p]`, on the taps.
    LayerNorm {
        gain: ParamId,
        bias: ParamId,
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
    pub fn parameters(&self) -> impl Iterator<Item = ParamId> {
        let (first, second) = match self {
            Self::Linear { weight, bias, .. } => (*weight, Some(*bias)),
            Self::LayerNorm { gain, bias, .. } => (*gain, Some(*bias)),
            Self::Embedding { table, .. } | Self::Position { table, .. } => (*table, None),
        };
        std::iter::once(first).chain(second)
    }
}
