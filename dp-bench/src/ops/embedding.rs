//! An embedding: its norm and its weighted sum.

use std::collections::HashMap;

use cubecl::{ir::FloatKind, std::tensor::TensorHandle};
use dp_kernels::{embedding_norm_sq, weighted_sum_embedding};

use super::{NORM_BUDGET, SUM_BUDGET, seed};
use crate::data::{Stream, Worst};
use crate::device::{type_name, width};
use crate::{Bench, BenchError, Buffer, Built, Check, Group, Op, Place};

/// `ids [B, T]`, `g [B, T, p]`, a table `[V, p]`.
pub(crate) struct Embedding {
    place: Place,
    extents: [usize; 4],
    kind: FloatKind,
}

const NORM: usize = 0;

impl Embedding {
    pub(crate) fn new(model: &str, [b, t, p, v]: [usize; 4], kind: FloatKind) -> Self {
        Self {
            place: Place {
                model: model.to_owned(),
                layer: "embedding".to_owned(),
                dtype: type_name(kind),
                shape: format!("B {b} T {t} [{v}, {p}]"),
                b: b as u64,
                t: t as u64,
                count: 1,
            },
            extents: [b, t, p, v],
            kind,
        }
    }
}

impl Group for Embedding {
    fn place(&self) -> &Place {
        &self.place
    }

    fn ops(&self) -> Vec<Op> {
        let [b, t, p, _] = self.extents.map(|extent| extent as u64);
        let inputs = b * t * (p * width(self.kind) + 4);
        let adds = b * t * p;
        // The rows of the table that are met are read and written; with random ids nearly all are different.
        vec![
            Op::new("embedding_norm_sq", inputs + 8 * b, 3 * adds),
            Op::new(
                "weighted_sum_embedding",
                inputs + 4 * b + 8 * adds,
                2 * adds,
            ),
        ]
    }

    fn buffers(&self) -> Vec<Buffer> {
        let [b, t, p, v] = self.extents.map(|extent| extent as u64);
        vec![
            Buffer::of(&[b, t, p], width(self.kind)),
            Buffer::of(&[b, t], 4),
            Buffer::of(&[v, p], 4),
        ]
    }

    fn build(&self, bench: &Bench, sets: usize) -> Result<Box<dyn Built>, BenchError> {
        let [b, t, p, v] = self.extents;
        let mut stream = Stream::new(seed::IDS);
        // The smaller of two draws: some tokens are common, as in a text.
        let ids: Vec<u32> = (0..b * t)
            .map(|_| stream.below(v).min(stream.below(v)) as u32)
            .collect();
        let g = Stream::new(seed::G).bell_of(b * t * p, self.kind);
        let factors = Stream::new(seed::FACTORS).factors(b);
        let sets = (0..sets)
            .map(|_| Set {
                ids: bench.upload_u32(&[b, t], &ids),
                g: bench.upload(&[b, t, p], &g, self.kind),
                factors: bench.upload_f32(&[b], &factors),
                norms: bench.zeros(&[b]),
                sum: bench.zeros(&[v, p]),
            })
            .collect();
        bench.wait()?;
        Ok(Box::new(BuiltEmbedding {
            extents: self.extents,
            ids,
            g,
            factors,
            sets,
        }))
    }
}

struct Set {
    ids: TensorHandle,
    g: TensorHandle,
    factors: TensorHandle,
    norms: TensorHandle,
    sum: TensorHandle,
}

struct BuiltEmbedding {
    extents: [usize; 4],
    ids: Vec<u32>,
    g: Vec<f32>,
    factors: Vec<f32>,
    sets: Vec<Set>,
}

impl Built for BuiltEmbedding {
    fn check(&self, bench: &Bench, op: usize) -> Result<Check, BenchError> {
        self.launch(bench, op, 0)?;
        if op == NORM {
            self.check_norms(&bench.download(&self.sets[0].norms)?)
        } else {
            self.check_sum(&bench.download(&self.sets[0].sum)?)
        }
    }

    fn launch(&self, bench: &Bench, op: usize, set: usize) -> Result<(), BenchError> {
        let launch = &bench.launch();
        let Set {
            ids,
            g,
            factors,
            norms,
            sum,
        } = &self.sets[set];
        if op == NORM {
            embedding_norm_sq(launch, ids, g, norms)?;
        } else {
            weighted_sum_embedding(launch, ids, g, factors, sum)?;
        }
        Ok(())
    }
}

impl BuiltEmbedding {
    /// The rows of the table that some examples touch, each the sum of its tokens' gradients with their factors.
    fn rows(
        &self,
        examples: std::ops::Range<usize>,
        factor: impl Fn(usize) -> f64,
    ) -> HashMap<u32, Vec<f64>> {
        let [_, t, p, _] = self.extents;
        let mut rows: HashMap<u32, Vec<f64>> = HashMap::new();
        for token in examples.start * t..examples.end * t {
            let row = rows.entry(self.ids[token]).or_insert_with(|| vec![0.0; p]);
            let c = factor(token / t);
            for (sum, g) in row.iter_mut().zip(&self.g[token * p..(token + 1) * p]) {
                *sum += c * f64::from(*g);
            }
        }
        rows
    }

    fn check_norms(&self, got: &[f32]) -> Result<Check, BenchError> {
        let mut worst = Worst::default();
        for (example, got) in got.iter().enumerate() {
            let rows = self.rows(example..example + 1, |_| 1.0);
            let squares = rows.values().flatten().map(|sum| sum * sum);
            worst.see(*got, squares.sum());
        }
        let what = format!("all {} norms against f64 on the host", got.len());
        Ok(Check::new(worst.relative(), NORM_BUDGET, what))
    }

    fn check_sum(&self, got: &[f32]) -> Result<Check, BenchError> {
        let [b, _, p, v] = self.extents;
        let rows = self.rows(0..b, |example| f64::from(self.factors[example]));
        let mut worst = Worst::default();
        for (id, got) in got.chunks_exact(p).enumerate() {
            let row = rows.get(&(id as u32));
            for (j, got) in got.iter().enumerate() {
                worst.see(*got, row.map_or(0.0, |row| row[j]));
            }
        }
        let what = format!("all {v} rows of the table against f64 on the host");
        Ok(Check::new(worst.relative(), SUM_BUDGET, what))
    }
}
