//! A Linear: its three matrix products without privacy, its norm by each way, its weighted sum.

use cubecl::{ir::FloatKind, std::tensor::TensorHandle};
use dp_kernels::{
    LinearNorm, Transposes, keep_linear_gradients, linear_norm_sq, matmul, weighted_sum_gradient,
    weighted_sum_linear,
};

use super::products::{check_norms, check_product};
use super::{SUM_BUDGET, seed};
use crate::ceilings::ordinary_routine;
use crate::data::{Mix, Rows, Stream, WORDS, Worst, dot, sample};
use crate::device::{round, type_name, width};
use crate::{Bench, BenchError, Buffer, Built, Check, Group, Op, Pair, Pick, Place};

/// Relative to the largest element of a product whose result is f16 or bf16: the latter has a unit roundoff of 2^-8.
const HALF_BUDGET: f64 = 5e-3;
/// The most bytes that kept gradients may take: beyond, a row would be left out for what only one of its ops needs.
const MOST_KEPT: u64 = 2 << 30;
/// Rows and columns of a product that are computed again on the host.
const SAMPLED: usize = 128;

/// `a [B, T, d]`, `g [B, T, p]`, a weight `[d, p]`.
pub(crate) struct Linear {
    place: Place,
    extents: [usize; 4],
    kind: FloatKind,
    products: bool,
}

/// The launches, in the order of a step.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Launch {
    Forward,
    InputGradient,
    WeightGradient,
    Norm(LinearNorm),
    Sum,
    Keep,
    KeptSum,
}

impl Linear {
    /// Layer `layer` of `model`, of which it has `count`, with inputs of type `kind`; the products without privacy beside, where
    /// `products` says so.
    ///
    /// These are of the same type, results too: f32 by the exact routine, 16-bit floats by the fastest there is.
    pub(crate) fn new(
        (model, layer, count): (&str, &str, u64),
        [b, t, d, p]: [usize; 4],
        kind: FloatKind,
        products: bool,
    ) -> Self {
        Self {
            place: Place {
                model: model.to_owned(),
                layer: layer.to_owned(),
                dtype: type_name(kind),
                shape: format!("B {b} T {t} [{d}, {p}]"),
                b: b as u64,
                t: t as u64,
                count,
            },
            extents: [b, t, d, p],
            kind,
            products,
        }
    }

    fn launches(&self) -> Vec<Launch> {
        let mut launches = Vec::new();
        if self.products {
            launches.extend([
                Launch::Forward,
                Launch::InputGradient,
                Launch::WeightGradient,
            ]);
        }
        if self.extents[1] == 1 {
            launches.push(Launch::Norm(LinearNorm::Auto));
        } else {
            launches.extend([
                Launch::Norm(LinearNorm::Gram),
                Launch::Norm(LinearNorm::Materialised),
            ]);
        }
        launches.push(Launch::Sum);
        if self.keeps() {
            launches.extend([Launch::Keep, Launch::KeptSum]);
        }
        launches
    }

    /// Whether every example's gradient is kept too: not of one token, where it could not pay, nor where it takes too much memory.
    fn keeps(&self) -> bool {
        let [b, t, d, p] = self.extents.map(|extent| extent as u64);
        t > 1 && b * d * p * width(self.kind) <= MOST_KEPT
    }

    fn op(&self, launch: Launch) -> Op {
        let [b, t, d, p] = self.extents.map(|extent| extent as u64);
        let (bt, size) = (b * t, width(self.kind));
        let product = 2 * bt * d * p;
        let inputs = bt * (d + p) * size;
        let all = size * (bt * d + d * p + bt * p);
        let op = match launch {
            Launch::Forward => Op::new("matmul forward", all, product),
            Launch::InputGradient => Op::new("matmul input gradient", all, product),
            Launch::WeightGradient => Op::new("matmul weight gradient", all, product),
            Launch::Norm(LinearNorm::Gram) => {
                let flop = b * t * t * (d + p);
                Op::new("linear_norm_sq gram", inputs + 8 * b, flop)
            }
            Launch::Norm(LinearNorm::Materialised) => Op::new(
                "linear_norm_sq materialised",
                inputs + 8 * b,
                product + 2 * b * d * p,
            ),
            Launch::Norm(LinearNorm::Auto) => {
                Op::new("linear_norm_sq one token", inputs + 8 * b, 2 * b * (d + p))
            }
            Launch::Sum => Op {
                without_privacy: self.index(Launch::WeightGradient),
                ..Op::new("weighted_sum_linear", inputs + 4 * b + 8 * d * p, product)
            },
            Launch::Keep => {
                let bytes = inputs + 8 * b + b * d * p * size;
                Op::new("keep_linear_gradients", bytes, product + 2 * b * d * p)
            }
            Launch::KeptSum => {
                let bytes = b * d * p * size + 4 * b + 8 * d * p;
                return Op::new("weighted_sum_gradient kept", bytes, 2 * b * d * p);
            }
        };
        op.of_halves(self.kind != FloatKind::F32)
    }

    fn index(&self, launch: Launch) -> Option<usize> {
        self.launches().iter().position(|other| *other == launch)
    }
}

impl Group for Linear {
    fn place(&self) -> &Place {
        &self.place
    }

    fn ops(&self) -> Vec<Op> {
        let launches = self.launches();
        launches.into_iter().map(|launch| self.op(launch)).collect()
    }

    fn pairs(&self) -> Vec<Pair> {
        let launches = self.launches();
        let products = [
            Launch::Forward,
            Launch::InputGradient,
            Launch::WeightGradient,
        ];
        let plain: Vec<usize> = products.iter().filter_map(|l| self.index(*l)).collect();
        let &[forward, input_gradient, _] = &plain[..] else {
            return Vec::new();
        };
        let norms = (0..launches.len()).filter(|i| matches!(launches[*i], Launch::Norm(_)));
        let products = [Pick::One(forward), Pick::One(input_gradient)];
        let private = |rest: Vec<Pick>| products.iter().cloned().chain(rest).collect();
        let one = |launch| self.index(launch).map(Pick::One);
        let lean = [Some(Pick::Fastest(norms.collect())), one(Launch::Sum)];
        let mut pairs = vec![Pair {
            name: "linear_layer".into(),
            private: private(lean.into_iter().flatten().collect()),
            plain: plain.clone(),
        }];
        if let (Some(keep), Some(sum)) = (one(Launch::Keep), one(Launch::KeptSum)) {
            pairs.push(Pair {
                name: "linear_layer kept".into(),
                private: private(vec![keep, sum]),
                plain,
            });
        }
        pairs
    }

    fn buffers(&self) -> Vec<Buffer> {
        let [b, t, d, p] = self.extents.map(|extent| extent as u64);
        let size = width(self.kind);
        let mut buffers = vec![
            Buffer::of(&[b, t, d], size),
            Buffer::of(&[b, t, p], size),
            Buffer::of(&[d, p], 4),
        ];
        if self.keeps() {
            buffers.extend([Buffer::of(&[b, d, p], size), Buffer::of(&[d, p], 4)]);
        }
        if self.products {
            buffers.extend([
                Buffer::of(&[b, t, d], size),
                Buffer::of(&[b, t, p], size),
                Buffer::of(&[d, p], size),
                Buffer::of(&[d, p], size),
            ]);
        }
        buffers
    }

    fn build(&self, bench: &Bench, sets: usize) -> Result<Box<dyn Built>, BenchError> {
        let [b, t, d, p] = self.extents;
        let a = Rows::new(b * t, d, self.kind, seed::A);
        let g = Rows::new(b * t, p, self.kind, seed::G);
        let factors = Stream::new(seed::FACTORS).factors(b);
        let launches = self.launches();
        let products = self.products;
        let weight = if products {
            let exact = Stream::new(seed::WEIGHT).bell(d * p);
            exact.iter().map(|w| round(*w, self.kind)).collect()
        } else {
            Vec::new()
        };
        let (a_values, g_values) = (a.values(), g.values());
        let zeros =
            |shape: [usize; 2]| bench.upload(&shape, &vec![0.0; shape[0] * shape[1]], self.kind);
        let sets: Vec<Set> = (0..sets)
            .map(|_| Set {
                a: bench.upload(&[b, t, d], &a_values, self.kind),
                g: bench.upload(&[b, t, p], &g_values, self.kind),
                factors: bench.upload_f32(&[b], &factors),
                norms: launches.iter().map(|_| bench.zeros(&[b])).collect(),
                sum: bench.zeros(&[d, p]),
                kept: self.keeps().then(|| Kept {
                    gradients: shaped(&zeros([b, d * p]), &[b, d, p]),
                    sum: bench.zeros(&[d, p]),
                }),
                plain: products.then(|| Plain {
                    weight: bench.upload(&[d, p], &weight, self.kind),
                    output: zeros([b * t, p]),
                    input_gradient: zeros([b * t, d]),
                    weight_gradient: zeros([d, p]),
                }),
            })
            .collect();
        for set in &sets {
            if let Some(Kept { gradients, .. }) = &set.kept {
                let norms = bench.zeros(&[b]);
                keep_linear_gradients(&bench.launch(), &set.a, &set.g, gradients, &norms)?;
            }
        }
        bench.wait()?;
        Ok(Box::new(BuiltLinear {
            extents: self.extents,
            kind: self.kind,
            launches,
            a,
            g,
            factors,
            weight,
            sets,
        }))
    }
}

/// One copy of all buffers.
struct Set {
    a: TensorHandle,
    g: TensorHandle,
    factors: TensorHandle,
    /// One for each launch: every way adds into its own.
    norms: Vec<TensorHandle>,
    sum: TensorHandle,
    kept: Option<Kept>,
    plain: Option<Plain>,
}

/// What only keeping every example's gradient needs.
struct Kept {
    gradients: TensorHandle,
    sum: TensorHandle,
}

/// What only the products without privacy need.
struct Plain {
    weight: TensorHandle,
    output: TensorHandle,
    input_gradient: TensorHandle,
    weight_gradient: TensorHandle,
}

struct BuiltLinear {
    extents: [usize; 4],
    kind: FloatKind,
    launches: Vec<Launch>,
    a: Rows,
    g: Rows,
    factors: Vec<f32>,
    weight: Vec<f32>,
    sets: Vec<Set>,
}

impl Built for BuiltLinear {
    fn check(&self, bench: &Bench, op: usize) -> Result<Check, BenchError> {
        self.launch(bench, op, 0)?;
        let set = &self.sets[0];
        let p = self.extents[3];
        let none = || BenchError::Reference("no such buffers of this type".into());
        let plain = || set.plain.as_ref().ok_or_else(none);
        match self.launches[op] {
            Launch::Forward => self.check_forward(&bench.download(&plain()?.output)?),
            Launch::InputGradient => {
                self.check_input_gradient(&bench.download(&plain()?.input_gradient)?)
            }
            Launch::WeightGradient => {
                let got = bench.download(&plain()?.weight_gradient)?;
                let mix = self.mix(|_| 1.0);
                let check = check_product(&mix, &self.a, &self.g, |i, j| got[i * p + j]);
                Ok(self.rounded(check))
            }
            Launch::Norm(_) => {
                let got = bench.download(&set.norms[op])?;
                Ok(check_norms(&got, &self.mixes(), &self.a, &self.g))
            }
            Launch::Keep => {
                let got = bench.download(&set.norms[op])?;
                let check = check_norms(&got, &self.mixes(), &self.a, &self.g);
                Ok(self.rounded(check))
            }
            Launch::KeptSum => {
                let kept = set.kept.as_ref().ok_or_else(none)?;
                let got = bench.download(&kept.sum)?;
                let mix = self.mix(|example| f64::from(self.factors[example]));
                let check = check_product(&mix, &self.a, &self.g, |i, j| got[i * p + j]);
                Ok(self.rounded(check))
            }
            Launch::Sum => {
                let got = bench.download(&set.sum)?;
                let mix = self.mix(|example| f64::from(self.factors[example]));
                Ok(check_product(&mix, &self.a, &self.g, |i, j| got[i * p + j]))
            }
        }
    }

    fn launch(&self, bench: &Bench, op: usize, set: usize) -> Result<(), BenchError> {
        let launch = &bench.launch();
        let Set {
            a,
            g,
            factors,
            norms,
            sum,
            kept,
            plain,
        } = &self.sets[set];
        let [b, t, d, p] = self.extents;
        let routine = ordinary_routine(bench, self.kind);
        let (rows_a, rows_g) = (shaped(a, &[b * t, d]), shaped(g, &[b * t, p]));
        let none = || BenchError::Reference("no such buffers of this type".into());
        match (self.launches[op], plain) {
            (Launch::Keep, _) => {
                let kept = kept.as_ref().ok_or_else(none)?;
                keep_linear_gradients(launch, a, g, &kept.gradients, &norms[op])?;
            }
            (Launch::KeptSum, _) => {
                let kept = kept.as_ref().ok_or_else(none)?;
                weighted_sum_gradient(launch, &kept.gradients, factors, &kept.sum)?;
            }
            (Launch::Norm(how), _) => linear_norm_sq(launch, a, g, &norms[op], how)?,
            (Launch::Sum, _) => weighted_sum_linear(launch, a, g, factors, sum)?,
            (Launch::Forward, Some(plain)) => {
                let none = Transposes::NONE;
                matmul(launch, &rows_a, &plain.weight, &plain.output, none, routine)?;
            }
            (Launch::InputGradient, Some(plain)) => {
                let out = &plain.input_gradient;
                let rhs = Transposes::RHS;
                matmul(launch, &rows_g, &plain.weight, out, rhs, routine)?;
            }
            (Launch::WeightGradient, Some(plain)) => {
                let out = &plain.weight_gradient;
                matmul(launch, &rows_a, &rows_g, out, Transposes::LHS, routine)?;
            }
            (_, None) => return Err(none()),
        }
        Ok(())
    }
}

impl BuiltLinear {
    /// The mix of each example, for its norm.
    fn mixes(&self) -> Vec<Vec<Mix>> {
        let [b, t, ..] = self.extents;
        let of = |example: usize| {
            let mut mix = Mix::new();
            for row in example * t..(example + 1) * t {
                mix.add(&self.a, row, &self.g, row, 1.0);
            }
            vec![mix]
        };
        (0..b).map(of).collect()
    }

    /// The mix of all examples, each with its factor.
    fn mix(&self, factor: impl Fn(usize) -> f64) -> Mix {
        let [b, t, ..] = self.extents;
        let mut mix = Mix::new();
        for row in 0..b * t {
            mix.add(&self.a, row, &self.g, row, factor(row / t));
        }
        mix
    }

    /// `output = A W`: a row is its word's product, scaled.
    fn check_forward(&self, got: &[f32]) -> Result<Check, BenchError> {
        let p = self.extents[3];
        let columns = sample(p, SAMPLED);
        let words: Vec<Vec<f64>> = (0..WORDS)
            .map(|word| {
                let mut sums = vec![0.0; columns.len()];
                for (i, a) in self.a.word(word).iter().enumerate() {
                    let weights = &self.weight[i * p..(i + 1) * p];
                    for (sum, column) in sums.iter_mut().zip(&columns) {
                        *sum += f64::from(*a) * f64::from(weights[*column]);
                    }
                }
                sums
            })
            .collect();
        Ok(self.rounded(check_rows(got, p, &self.a, &columns, &words)))
    }

    /// `input gradient = G W^T`.
    fn check_input_gradient(&self, got: &[f32]) -> Result<Check, BenchError> {
        let [.., d, p] = self.extents;
        let columns = sample(d, SAMPLED);
        let words: Vec<Vec<f64>> = (0..WORDS)
            .map(|word| {
                let row = |i: &usize| dot(self.g.word(word), &self.weight[i * p..(i + 1) * p]);
                columns.iter().map(row).collect()
            })
            .collect();
        Ok(self.rounded(check_rows(got, d, &self.g, &columns, &words)))
    }

    /// With the budget of a result that is rounded to the type.
    fn rounded(&self, check: Check) -> Check {
        match self.kind {
            FloatKind::F32 => check,
            _ => Check {
                budget: HALF_BUDGET,
                ..check
            },
        }
    }
}

/// Some rows of a product that keeps rows apart, `[rows, width]`, at some columns.
fn check_rows(
    got: &[f32],
    width: usize,
    rows: &Rows,
    columns: &[usize],
    words: &[Vec<f64>],
) -> Check {
    let sampled = sample(rows.len(), SAMPLED);
    let mut worst = Worst::default();
    for &row in &sampled {
        for (column, word) in columns.iter().zip(&words[rows.pick(row)]) {
            worst.see(got[row * width + column], rows.scale(row) * word);
        }
    }
    let what = format!(
        "{} of {} rows at {} of {width} columns against f64 on the host",
        sampled.len(),
        rows.len(),
        columns.len()
    );
    Check::new(worst.relative(), SUM_BUDGET, what)
}

/// The same elements in other axes.
fn shaped(tensor: &TensorHandle, shape: &[usize]) -> TensorHandle {
    TensorHandle::new_contiguous(shape.to_vec(), tensor.handle.clone(), tensor.dtype)
}
