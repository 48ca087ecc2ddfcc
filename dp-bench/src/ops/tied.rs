//! A table that is embedding and head: its norm and its weighted sum.

use std::collections::BTreeMap;

use cubecl::{ir::FloatKind, std::tensor::TensorHandle};
use dp_kernels::{tied_norm_sq, weighted_sum_tied};

use super::products::compare_norms;
use super::{SUM_BUDGET, seed};
use crate::data::{Mix, Rows, Stream, WORDS, Worst, dot, sample};
use crate::device::{type_name, width};
use crate::{Bench, BenchError, Buffer, Built, Check, Group, Op, Place};

/// `ids [B, T]`, `g [B, T, p]`, `h [B, T, p]`, `delta [B, T, V]`, a table `[V, p]`.
pub(crate) struct Tied {
    place: Place,
    extents: [usize; 4],
    kind: FloatKind,
}

const NORM: usize = 0;

/// Rows of the table that a check of the sum looks at.
const ROWS: usize = 4096;

impl Tied {
    pub(crate) fn new(model: &str, [b, t, p, v]: [usize; 4], kind: FloatKind) -> Self {
        Self {
            place: Place {
                model: model.to_owned(),
                layer: "tied table".to_owned(),
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

impl Group for Tied {
    fn place(&self) -> &Place {
        &self.place
    }

    fn ops(&self) -> Vec<Op> {
        let [b, t, p, v] = self.extents.map(|extent| extent as u64);
        let inputs = b * t * ((2 * p + v) * width(self.kind) + 4);
        // The head's Gram matrices by halves, the products of the two parts whole, the embedding's own.
        let norm = b * t * t * (v + p) + 2 * b * t * t * p + 3 * b * t * p;
        let sum = 2 * b * t * v * p + 2 * b * t * p;
        vec![
            Op::new("tied_norm_sq", inputs + 8 * b, norm),
            Op::new("weighted_sum_tied", inputs + 4 * b + 8 * v * p, sum),
        ]
    }

    fn buffers(&self) -> Vec<Buffer> {
        let [b, t, p, v] = self.extents.map(|extent| extent as u64);
        let input = |columns: u64| Buffer::of(&[b, t, columns], width(self.kind));
        vec![
            input(p),
            input(p),
            input(v),
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
        let g = Rows::new(b * t, p, self.kind, seed::G);
        let h = Rows::new(b * t, p, self.kind, seed::A);
        let delta = Rows::new(b * t, v, self.kind, seed::STATE);
        let factors = Stream::new(seed::FACTORS).factors(b);
        let (g_values, h_values, delta_values) = (g.values(), h.values(), delta.values());
        let sets = (0..sets)
            .map(|_| Set {
                ids: bench.upload_u32(&[b, t], &ids),
                g: bench.upload(&[b, t, p], &g_values, self.kind),
                h: bench.upload(&[b, t, p], &h_values, self.kind),
                delta: bench.upload(&[b, t, v], &delta_values, self.kind),
                factors: bench.upload_f32(&[b], &factors),
                norms: bench.zeros(&[b]),
                sum: bench.zeros(&[v, p]),
            })
            .collect();
        bench.wait()?;
        Ok(Box::new(BuiltTied {
            extents: self.extents,
            ids,
            g,
            h,
            delta,
            factors,
            sets,
        }))
    }
}

struct Set {
    ids: TensorHandle,
    g: TensorHandle,
    h: TensorHandle,
    delta: TensorHandle,
    factors: TensorHandle,
    norms: TensorHandle,
    sum: TensorHandle,
}

struct BuiltTied {
    extents: [usize; 4],
    ids: Vec<u32>,
    g: Rows,
    h: Rows,
    delta: Rows,
    factors: Vec<f32>,
    sets: Vec<Set>,
}

impl Built for BuiltTied {
    fn check(&self, bench: &Bench, op: usize) -> Result<Check, BenchError> {
        self.launch(bench, op, 0)?;
        if op == NORM {
            let got = bench.download(&self.sets[0].norms)?;
            let want: Vec<f64> = (0..got.len()).map(|b| self.norm_sq(b)).collect();
            Ok(compare_norms(&got, &want))
        } else {
            Ok(self.check_sum(&bench.download(&self.sets[0].sum)?))
        }
    }

    fn launch(&self, bench: &Bench, op: usize, set: usize) -> Result<(), BenchError> {
        let launch = &bench.launch();
        let Set {
            ids,
            g,
            h,
            delta,
            factors,
            norms,
            sum,
        } = &self.sets[set];
        if op == NORM {
            tied_norm_sq(launch, ids, g, h, delta, norms)?;
        } else {
            weighted_sum_tied(launch, ids, g, h, delta, factors, sum)?;
        }
        Ok(())
    }
}

impl BuiltTied {
    /// The two parts of some examples' gradients, each with its factor: `E` by the rows that it has, as sums of words of `g`, and
    /// the mix of `H = delta^T h`.
    fn parts(
        &self,
        examples: std::ops::Range<usize>,
        factor: impl Fn(usize) -> f64,
    ) -> (BTreeMap<u32, [f64; WORDS]>, Mix) {
        let [_, t, ..] = self.extents;
        let mut embedding: BTreeMap<u32, [f64; WORDS]> = BTreeMap::new();
        let mut head = Mix::new();
        for token in examples.start * t..examples.end * t {
            let c = factor(token / t);
            let row = embedding.entry(self.ids[token]).or_default();
            row[self.g.pick(token)] += c * self.g.scale(token);
            head.add(&self.delta, token, &self.h, token, c);
        }
        (embedding, head)
    }

    /// `|E + H|^2 = |H|^2 + sum over the rows of E of |E_v|^2 + 2 <E_v, H_v>`.
    fn norm_sq(&self, example: usize) -> f64 {
        let (embedding, head) = self.parts(example..example + 1, |_| 1.0);
        let (gram_g, gram_h) = (self.g.gram(), self.h.gram());
        let cross: Vec<f64> = (0..WORDS * WORDS)
            .map(|place| dot(self.g.word(place / WORDS), self.h.word(place % WORDS)))
            .collect();
        let mut norm = head.norm_sq(&self.delta.gram(), &gram_h);
        for (id, row) in &embedding {
            let of_head = self.row_of_head(&head, *id as usize);
            for (r, weight) in row.iter().enumerate() {
                for q in 0..WORDS {
                    norm += weight * row[q] * gram_g[r * WORDS + q];
                    norm += 2.0 * weight * of_head[q] * cross[r * WORDS + q];
                }
            }
        }
        norm
    }

    /// Row `v` of H, as a sum of words of `h`.
    fn row_of_head(&self, head: &Mix, v: usize) -> [f64; WORDS] {
        std::array::from_fn(|q| {
            let terms = (0..WORDS).map(|r| f64::from(self.delta.word(r)[v]) * head.at(r, q));
            terms.sum()
        })
    }

    fn check_sum(&self, got: &[f32]) -> Check {
        let [b, _, p, v] = self.extents;
        let (embedding, head) = self.parts(0..b, |example| f64::from(self.factors[example]));
        let mut rows = sample(v, ROWS);
        rows.extend(embedding.keys().map(|id| *id as usize));
        rows.sort_unstable();
        rows.dedup();
        let mut worst = Worst::default();
        for &row in &rows {
            let of_head = self.row_of_head(&head, row);
            let of_embedding = embedding.get(&(row as u32)).copied().unwrap_or_default();
            for (j, got) in got[row * p..(row + 1) * p].iter().enumerate() {
                let terms = (0..WORDS).map(|q| {
                    of_head[q] * f64::from(self.h.word(q)[j])
                        + of_embedding[q] * f64::from(self.g.word(q)[j])
                });
                worst.see(*got, terms.sum());
            }
        }
        let what = format!(
            "{} of {v} rows of the table, all that the embedding has among them, against f64 on the host",
            rows.len()
        );
        Check::new(worst.relative(), SUM_BUDGET, what)
    }
}
