//! A LoRA layer: the norm of both its gradients, and both sums.

use cubecl::{ir::FloatKind, std::tensor::TensorHandle};
use dp_kernels::{LinearNorm, Lora, lora_norm_sq, weighted_sum_lora};

use super::products::{check_product, compare_norms, norms};
use super::seed;
use crate::data::{Mix, Rows, Stream};
use crate::device::{type_name, width};
use crate::{Bench, BenchError, Buffer, Built, Check, Group, Op, Place};

/// `x [B, T, d]`, `g_h [B, T, r]`, `h [B, T, r]`, `g [B, T, p]`.
pub(crate) struct LoraLayer {
    place: Place,
    /// B, T, d, r, p.
    extents: [usize; 5],
    kind: FloatKind,
}

const WAYS: [(LinearNorm, &str); 2] = [
    (LinearNorm::Gram, "lora_norm_sq gram"),
    (LinearNorm::Materialised, "lora_norm_sq materialised"),
];
/// The op after the ways of the norm.
const SUM: usize = 2;

impl LoraLayer {
    pub(crate) fn new(
        (model, layer, count): (&str, &str, u64),
        [b, t, d, r, p]: [usize; 5],
        kind: FloatKind,
    ) -> Self {
        Self {
            place: Place {
                model: model.to_owned(),
                layer: format!("{layer} lora"),
                dtype: type_name(kind),
                shape: format!("B {b} T {t} [{d}, {r}, {p}]"),
                b: b as u64,
                t: t as u64,
                count,
            },
            extents: [b, t, d, r, p],
            kind,
        }
    }

    /// Rows of `x`, `g_h`, `h` and `g`.
    fn widths(&self) -> [usize; 4] {
        let [_, _, d, r, p] = self.extents;
        [d, r, r, p]
    }
}

impl Group for LoraLayer {
    fn place(&self) -> &Place {
        &self.place
    }

    fn ops(&self) -> Vec<Op> {
        let [b, t, d, r, p] = self.extents.map(|extent| extent as u64);
        let inputs = b * t * (d + 2 * r + p) * width(self.kind);
        let weights = r * (d + p);
        let product = 2 * b * t * weights;
        let [gram, materialised] = WAYS.map(|(_, name)| name);
        vec![
            Op::new(gram, inputs + 8 * b, b * t * t * (d + 2 * r + p)),
            Op::new(materialised, inputs + 8 * b, product + 2 * b * weights),
            Op::new("weighted_sum_lora", inputs + 4 * b + 8 * weights, product),
        ]
    }

    fn buffers(&self) -> Vec<Buffer> {
        let [b, t, d, r, p] = self.extents.map(|extent| extent as u64);
        let input = |columns: usize| Buffer::of(&[b, t, columns as u64], width(self.kind));
        let mut buffers: Vec<Buffer> = self.widths().map(input).into();
        buffers.extend([Buffer::of(&[d, r], 4), Buffer::of(&[r, p], 4)]);
        buffers
    }

    fn build(&self, bench: &Bench, sets: usize) -> Result<Box<dyn Built>, BenchError> {
        let [b, t, d, r, p] = self.extents;
        let seeds = [seed::A, seed::G, seed::STATE, seed::WEIGHT];
        let mut seeds = seeds.into_iter();
        let rows = self.widths().map(|columns| {
            let seed = seeds.next().unwrap_or(seed::A);
            Rows::new(b * t, columns, self.kind, seed)
        });
        let values = rows.each_ref().map(Rows::values);
        let factors = Stream::new(seed::FACTORS).factors(b);
        let widths = self.widths();
        let input = |i: usize| bench.upload(&[b, t, widths[i]], &values[i], self.kind);
        let sets = (0..sets)
            .map(|_| Set {
                inputs: [input(0), input(1), input(2), input(3)],
                factors: bench.upload_f32(&[b], &factors),
                norms: WAYS.map(|_| bench.zeros(&[b])),
                sums: [bench.zeros(&[d, r]), bench.zeros(&[r, p])],
            })
            .collect();
        bench.wait()?;
        Ok(Box::new(BuiltLora {
            examples: b,
            tokens: t,
            rows,
            factors,
            sets,
        }))
    }
}

struct Set {
    /// `x`, `g_h`, `h`, `g`.
    inputs: [TensorHandle; 4],
    factors: TensorHandle,
    /// One for each way.
    norms: [TensorHandle; 2],
    /// Of `A` and of `B`.
    sums: [TensorHandle; 2],
}

struct BuiltLora {
    examples: usize,
    tokens: usize,
    /// Of `x`, `g_h`, `h` and `g`.
    rows: [Rows; 4],
    factors: Vec<f32>,
    sets: Vec<Set>,
}

impl Built for BuiltLora {
    fn check(&self, bench: &Bench, op: usize) -> Result<Check, BenchError> {
        self.launch(bench, op, 0)?;
        let set = &self.sets[0];
        if op != SUM {
            let got = bench.download(&set.norms[op])?;
            let mut want = vec![0.0; self.examples];
            for [a, g] in self.linears() {
                let one = |b: usize| vec![self.mix([a, g], b..b + 1, |_| 1.0)];
                let mixes: Vec<Vec<Mix>> = (0..self.examples).map(one).collect();
                for (want, norm) in want.iter_mut().zip(norms(&mixes, a, g)) {
                    *want += norm;
                }
            }
            return Ok(compare_norms(&got, &want));
        }
        let factor = |b: usize| f64::from(self.factors[b]);
        let mut checks = Vec::new();
        for ([a, g], sum) in self.linears().into_iter().zip(&set.sums) {
            let got = bench.download(sum)?;
            let mix = self.mix([a, g], 0..self.examples, factor);
            let at = |i: usize, j: usize| got[i * g.width() + j];
            checks.push(check_product(&mix, a, g, at));
        }
        let worst = checks
            .into_iter()
            .max_by(|a, b| a.error.total_cmp(&b.error));
        let mut worst = worst.ok_or_else(|| BenchError::Reference("no sums".into()))?;
        worst.what = format!("of both sums, {}", worst.what);
        Ok(worst)
    }

    fn launch(&self, bench: &Bench, op: usize, set: usize) -> Result<(), BenchError> {
        let launch = &bench.launch();
        let Set {
            inputs: [x, g_h, h, g],
            factors,
            norms,
            sums: [a, b],
        } = &self.sets[set];
        let lora = Lora { x, h, g, g_h };
        match WAYS.get(op) {
            Some((how, _)) => lora_norm_sq(launch, &lora, &norms[op], *how)?,
            None => weighted_sum_lora(launch, &lora, factors, a, b)?,
        }
        Ok(())
    }
}

impl BuiltLora {
    /// Input and gradient of `A` and of `B`.
    fn linears(&self) -> [[&Rows; 2]; 2] {
        let [x, g_h, h, g] = &self.rows;
        [[x, g_h], [h, g]]
    }

    /// Over some examples, each with its factor.
    fn mix(
        &self,
        [a, g]: [&Rows; 2],
        examples: std::ops::Range<usize>,
        factor: impl Fn(usize) -> f64,
    ) -> Mix {
        let mut mix = Mix::new();
        for row in examples.start * self.tokens..examples.end * self.tokens {
            mix.add(a, row, g, row, factor(row / self.tokens));
        }
        mix
    }
}
