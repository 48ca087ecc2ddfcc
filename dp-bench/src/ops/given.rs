//! Per-example gradients that lie in memory, `[B, P]`: what KEEP, Opacus and a vmap of gradients hand over.

use cubecl::{ir::FloatKind, std::tensor::TensorHandle};
use dp_core::reference;
use dp_kernels::{gradient_norm_sq, weighted_sum_gradient};

use super::{NORM_BUDGET, SUM_BUDGET, seed};
use crate::data::{Stream, Worst};
use crate::device::{type_name, width};
use crate::{Bench, BenchError, Buffer, Built, Check, Group, Op, Place};

/// `g [B, P]`.
pub(crate) struct Given {
    place: Place,
    extents: [usize; 2],
    kind: FloatKind,
}

const NORM: usize = 0;

impl Given {
    pub(crate) fn new((model, layer): (&str, &str), [b, p]: [usize; 2], kind: FloatKind) -> Self {
        Self {
            place: Place {
                model: model.to_owned(),
                layer: layer.to_owned(),
                dtype: type_name(kind),
                shape: format!("[{b}, {p}]"),
                b: b as u64,
                t: 0,
                count: 0,
            },
            extents: [b, p],
            kind,
        }
    }
}

impl Group for Given {
    fn place(&self) -> &Place {
        &self.place
    }

    fn ops(&self) -> Vec<Op> {
        let [b, p] = self.extents.map(|extent| extent as u64);
        let input = b * p * width(self.kind);
        vec![
            Op::new("gradient_norm_sq", input + 8 * b, 2 * b * p),
            Op::new("weighted_sum_gradient", input + 4 * b + 8 * p, 2 * b * p),
        ]
    }

    fn buffers(&self) -> Vec<Buffer> {
        let extents = self.extents.map(|extent| extent as u64);
        vec![
            Buffer::of(&extents, width(self.kind)),
            Buffer::of(&extents[1..], 4),
        ]
    }

    fn build(&self, bench: &Bench, sets: usize) -> Result<Box<dyn Built>, BenchError> {
        let [b, p] = self.extents;
        let g = Stream::new(seed::G).bell_of(b * p, self.kind);
        let factors = Stream::new(seed::FACTORS).factors(b);
        let sets = (0..sets)
            .map(|_| Set {
                g: bench.upload(&[b, p], &g, self.kind),
                factors: bench.upload_f32(&[b], &factors),
                norms: bench.zeros(&[b]),
                sum: bench.zeros(&[p]),
            })
            .collect();
        bench.wait()?;
        Ok(Box::new(BuiltGiven { g, factors, sets }))
    }
}

struct Set {
    g: TensorHandle,
    factors: TensorHandle,
    norms: TensorHandle,
    sum: TensorHandle,
}

struct BuiltGiven {
    g: Vec<f32>,
    factors: Vec<f32>,
    sets: Vec<Set>,
}

impl Built for BuiltGiven {
    fn check(&self, bench: &Bench, op: usize) -> Result<Check, BenchError> {
        self.launch(bench, op, 0)?;
        let set = &self.sets[0];
        let (got, budget) = if op == NORM {
            (bench.download(&set.norms)?, NORM_BUDGET)
        } else {
            (bench.download(&set.sum)?, SUM_BUDGET)
        };
        let mut want = vec![0.0; got.len()];
        if op == NORM {
            reference::gradient_norm_sq(&self.g, &mut want)?;
        } else {
            reference::weighted_sum_gradient(&self.g, &self.factors, &mut want)?;
        }
        let what = format!("all {} against the reference", want.len());
        Ok(Check::new(Worst::of(&got, &want), budget, what))
    }

    fn launch(&self, bench: &Bench, op: usize, set: usize) -> Result<(), BenchError> {
        let launch = &bench.launch();
        let Set {
            g,
            factors,
            norms,
            sum,
        } = &self.sets[set];
        if op == NORM {
            gradient_norm_sq(launch, g, norms)?;
        } else {
            weighted_sum_gradient(launch, g, factors, sum)?;
        }
        Ok(())
    }
}
