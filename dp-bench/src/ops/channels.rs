//! Gain and bias of a GroupNorm, the bias of a convolution: one parameter a channel, channels before positions.

use cubecl::{ir::FloatKind, std::tensor::TensorHandle};
use dp_core::reference::{self, Tensor3};
use dp_kernels::{
    channel_bias_norm_sq, channel_scale_norm_sq, weighted_sum_channel_bias,
    weighted_sum_channel_scale,
};

use super::{NORM_BUDGET, SUM_BUDGET, seed};
use crate::data::{Stream, Worst};
use crate::device::{type_name, width};
use crate::{Bench, BenchError, Buffer, Built, Check, Group, Op, Place};

/// `g [B, C, positions]` and `xhat [B, C, positions]`.
pub(crate) struct Channels {
    place: Place,
    extents: [usize; 3],
    kind: FloatKind,
}

/// The launches.
const OPS: [&str; 4] = [
    "channel_bias_norm_sq",
    "weighted_sum_channel_bias",
    "channel_scale_norm_sq",
    "weighted_sum_channel_scale",
];

impl Channels {
    /// `channels` maps of `size` by `size`.
    pub(crate) fn new(
        (model, layer): (&str, &str),
        [b, channels, size]: [usize; 3],
        kind: FloatKind,
    ) -> Self {
        Self {
            place: Place {
                model: model.to_owned(),
                layer: layer.to_owned(),
                dtype: type_name(kind),
                shape: format!("B {b} [{channels}, {size}, {size}]"),
                b: b as u64,
                t: (size * size) as u64,
                count: 0,
            },
            extents: [b, channels, size * size],
            kind,
        }
    }
}

impl Group for Channels {
    fn place(&self) -> &Place {
        &self.place
    }

    fn ops(&self) -> Vec<Op> {
        let [b, channels, positions] = self.extents.map(|extent| extent as u64);
        let (all, size) = (b * channels * positions, width(self.kind));
        let costs = [
            (all * size + 8 * b, all + 2 * b * channels),
            (all * size + 4 * b + 8 * channels, all + 2 * b * channels),
            (2 * all * size + 8 * b, 2 * all + 2 * b * channels),
            (
                2 * all * size + 4 * b + 8 * channels,
                2 * all + 2 * b * channels,
            ),
        ];
        let named = OPS.iter().zip(costs);
        named
            .map(|(name, (bytes, flop))| Op::new(*name, bytes, flop))
            .collect()
    }

    fn buffers(&self) -> Vec<Buffer> {
        let extents = self.extents.map(|extent| extent as u64);
        let input = Buffer::of(&extents, width(self.kind));
        vec![input, input, Buffer::of(&extents[1..2], 4)]
    }

    fn build(&self, bench: &Bench, sets: usize) -> Result<Box<dyn Built>, BenchError> {
        let [b, channels, _] = self.extents;
        let all = self.extents.iter().product();
        let xhat = Stream::new(seed::A).bell_of(all, self.kind);
        let g = Stream::new(seed::G).bell_of(all, self.kind);
        let factors = Stream::new(seed::FACTORS).factors(b);
        let out = |op: usize| bench.zeros(&[[b, channels][op % 2]]);
        let sets = (0..sets)
            .map(|_| Set {
                xhat: bench.upload(&self.extents, &xhat, self.kind),
                g: bench.upload(&self.extents, &g, self.kind),
                factors: bench.upload_f32(&[b], &factors),
                out: (0..OPS.len()).map(out).collect(),
            })
            .collect();
        bench.wait()?;
        Ok(Box::new(BuiltChannels {
            extents: self.extents,
            xhat,
            g,
            factors,
            sets,
        }))
    }
}

struct Set {
    xhat: TensorHandle,
    g: TensorHandle,
    factors: TensorHandle,
    /// One for each op.
    out: Vec<TensorHandle>,
}

struct BuiltChannels {
    extents: [usize; 3],
    xhat: Vec<f32>,
    g: Vec<f32>,
    factors: Vec<f32>,
    sets: Vec<Set>,
}

impl Built for BuiltChannels {
    fn check(&self, bench: &Bench, op: usize) -> Result<Check, BenchError> {
        self.launch(bench, op, 0)?;
        let got = bench.download(&self.sets[0].out[op])?;
        let mut want = vec![0.0; got.len()];
        let xhat = Tensor3::new(&self.xhat, self.extents)?;
        let g = Tensor3::new(&self.g, self.extents)?;
        let factors = &self.factors;
        match op {
            0 => reference::channel_bias_norm_sq(g, &mut want)?,
            1 => reference::weighted_sum_channel_bias(g, factors, &mut want)?,
            2 => reference::channel_scale_norm_sq(xhat, g, &mut want)?,
            _ => reference::weighted_sum_channel_scale(xhat, g, factors, &mut want)?,
        }
        let (budget, what) = if op.is_multiple_of(2) {
            (NORM_BUDGET, "norms")
        } else {
            (SUM_BUDGET, "elements")
        };
        let what = format!("all {} {what} against the reference", want.len());
        Ok(Check::new(Worst::of(&got, &want), budget, what))
    }

    fn launch(&self, bench: &Bench, op: usize, set: usize) -> Result<(), BenchError> {
        let launch = &bench.launch();
        let Set {
            xhat,
            g,
            factors,
            out,
        } = &self.sets[set];
        let out = &out[op];
        match op {
            0 => channel_bias_norm_sq(launch, g, out)?,
            1 => weighted_sum_channel_bias(launch, g, factors, out)?,
            2 => channel_scale_norm_sq(launch, xhat, g, out)?,
            _ => weighted_sum_channel_scale(launch, xhat, g, factors, out)?,
        }
        Ok(())
    }
}
