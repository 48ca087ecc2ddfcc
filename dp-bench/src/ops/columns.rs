//! What a LayerNorm, a bias and a positional embedding need: one pass over G.

use cubecl::{ir::FloatKind, std::tensor::TensorHandle};
use dp_core::reference::{self, Tensor3};
use dp_kernels::{
    bias_norm_sq, position_norm_sq, scale_norm_sq, weighted_sum_bias, weighted_sum_position,
    weighted_sum_scale,
};

use super::{NORM_BUDGET, SUM_BUDGET, seed};
use crate::data::{Stream, Worst};
use crate::device::{type_name, width};
use crate::{Bench, BenchError, Buffer, Built, Check, Group, Op, Place};

/// `g [B, T, p]` and `xhat [B, T, p]`.
pub(crate) struct Columns {
    place: Place,
    extents: [usize; 3],
    kind: FloatKind,
}

/// The launches.
const OPS: [&str; 6] = [
    "bias_norm_sq",
    "weighted_sum_bias",
    "scale_norm_sq",
    "weighted_sum_scale",
    "position_norm_sq",
    "weighted_sum_position",
];

impl Columns {
    pub(crate) fn new(model: &str, [b, t, p]: [usize; 3], kind: FloatKind) -> Self {
        Self {
            place: Place {
                model: model.to_owned(),
                layer: "vectors".to_owned(),
                dtype: type_name(kind),
                shape: format!("B {b} T {t} [{p}]"),
                b: b as u64,
                t: t as u64,
                count: 0,
            },
            extents: [b, t, p],
            kind,
        }
    }
}

impl Group for Columns {
    fn place(&self) -> &Place {
        &self.place
    }

    fn ops(&self) -> Vec<Op> {
        let [b, t, p] = self.extents.map(|extent| extent as u64);
        let (all, size) = (b * t * p, width(self.kind));
        let costs = [
            (all * size + 8 * b, all + 2 * b * p),
            (all * size + 4 * b + 8 * p, 2 * all),
            (2 * all * size + 8 * b, 2 * all + 2 * b * p),
            (2 * all * size + 4 * b + 8 * p, 3 * all),
            (all * size + 8 * b, 2 * all),
            (all * size + 4 * b + 8 * t * p, 2 * all),
        ];
        let named = OPS.iter().zip(costs);
        named
            .map(|(name, (bytes, flop))| Op::new(*name, bytes, flop))
            .collect()
    }

    fn buffers(&self) -> Vec<Buffer> {
        let extents = self.extents.map(|extent| extent as u64);
        let input = Buffer::of(&extents, width(self.kind));
        vec![input, input, Buffer::of(&extents[1..], 4)]
    }

    fn build(&self, bench: &Bench, sets: usize) -> Result<Box<dyn Built>, BenchError> {
        let [b, t, p] = self.extents;
        let xhat = Stream::new(seed::A).bell_of(b * t * p, self.kind);
        let g = Stream::new(seed::G).bell_of(b * t * p, self.kind);
        let factors = Stream::new(seed::FACTORS).factors(b);
        let out = |op: usize| match op {
            1 | 3 => bench.zeros(&[p]),
            5 => bench.zeros(&[t, p]),
            _ => bench.zeros(&[b]),
        };
        let sets = (0..sets)
            .map(|_| Set {
                xhat: bench.upload(&[b, t, p], &xhat, self.kind),
                g: bench.upload(&[b, t, p], &g, self.kind),
                factors: bench.upload_f32(&[b], &factors),
                out: (0..OPS.len()).map(out).collect(),
            })
            .collect();
        bench.wait()?;
        Ok(Box::new(BuiltColumns {
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

struct BuiltColumns {
    extents: [usize; 3],
    xhat: Vec<f32>,
    g: Vec<f32>,
    factors: Vec<f32>,
    sets: Vec<Set>,
}

impl Built for BuiltColumns {
    fn check(&self, bench: &Bench, op: usize) -> Result<Check, BenchError> {
        self.launch(bench, op, 0)?;
        let got = bench.download(&self.sets[0].out[op])?;
        let mut want = vec![0.0; got.len()];
        let xhat = Tensor3::new(&self.xhat, self.extents)?;
        let g = Tensor3::new(&self.g, self.extents)?;
        let factors = &self.factors;
        match op {
            0 => reference::bias_norm_sq(g, &mut want)?,
            1 => reference::weighted_sum_bias(g, factors, &mut want)?,
            2 => reference::scale_norm_sq(xhat, g, &mut want)?,
            3 => reference::weighted_sum_scale(xhat, g, factors, &mut want)?,
            4 => reference::position_norm_sq(g, &mut want)?,
            _ => reference::weighted_sum_position(g, factors, &mut want)?,
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
            0 => bias_norm_sq(launch, g, out)?,
            1 => weighted_sum_bias(launch, g, factors, out)?,
            2 => scale_norm_sq(launch, xhat, g, out)?,
            3 => weighted_sum_scale(launch, xhat, g, factors, out)?,
            4 => position_norm_sq(launch, g, out)?,
            _ => weighted_sum_position(launch, g, factors, out)?,
        }
        Ok(())
    }
}
