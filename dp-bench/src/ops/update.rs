//! The private update in one pass: noise, division, an optimizer's step.

use cubecl::std::tensor::TensorHandle;
use dp_core::noise::{GaussianDraw, Generator, Key};
use dp_core::reference;
use dp_core::update::UpdateRule;
use dp_kernels::{Updated, noised_update};

use super::noise::key;
use super::seed;
use crate::data::{Stream, Worst};
use crate::{Bench, BenchError, Buffer, Built, Check, Group, Op, Place};

/// A parameter of `n` elements with two moments.
pub(crate) struct Update {
    place: Place,
    n: usize,
}

const ADAMW: UpdateRule = UpdateRule::AdamW {
    rate: 1e-3,
    beta_1: 0.9,
    beta_2: 0.99,
    epsilon: 1e-6,
    weight_decay: 0.1,
    time: 3,
};
const SGD: UpdateRule = UpdateRule::Sgd {
    rate: 0.1,
    momentum: 0.9,
    nesterov: false,
    weight_decay: 0.01,
};
const OPS: [(&str, UpdateRule, Generator); 3] = [
    ("noised_update adamw chacha20", ADAMW, Generator::ChaCha20),
    (
        "noised_update adamw philox",
        ADAMW,
        Generator::Philox4x32x10NotSecure,
    ),
    ("noised_update sgd chacha20", SGD, Generator::ChaCha20),
];
/// What contracting multiply and add, a division and a root change, relative to the largest element.
const BUDGET: f64 = 2e-6;
const EXPECTED_BATCH: f64 = 64.0;
/// Elements at the start, the middle and the end that the host updates again.
const SAMPLED: usize = 4096;

impl Update {
    pub(crate) fn new(n: usize) -> Self {
        Self {
            place: Place {
                model: "any".to_owned(),
                layer: "all".to_owned(),
                dtype: "f32",
                shape: format!("[{n}]"),
                b: 0,
                t: 0,
                count: 0,
            },
            n,
        }
    }
}

fn draw(key: &Key, first_element: u64, generator: Generator) -> GaussianDraw<'_> {
    GaussianDraw {
        first_element,
        std: 1.0,
        key,
        generator,
        step: 7,
        tensor: 3,
    }
}

impl Group for Update {
    fn place(&self) -> &Place {
        &self.place
    }

    fn ops(&self) -> Vec<Op> {
        let n = self.n as u64;
        // Sum, parameter and moments are read and written. FLOP of the rule: noise, division, moments, step.
        let cost = |rule: UpdateRule| match rule {
            UpdateRule::AdamW { .. } => (32 * n, 16 * n),
            UpdateRule::Sgd { .. } => (24 * n, 9 * n),
        };
        let op = |(name, rule, _): &(&str, UpdateRule, Generator)| {
            let (bytes, flop) = cost(*rule);
            Op::new(*name, bytes, flop)
        };
        OPS.iter().map(op).collect()
    }

    fn buffers(&self) -> Vec<Buffer> {
        vec![Buffer::of(&[self.n as u64], 4); 4 * OPS.len()]
    }

    fn build(&self, bench: &Bench, sets: usize) -> Result<Box<dyn Built>, BenchError> {
        let mut stream = Stream::new(seed::STATE);
        let mut state = [0; 4].map(|_| stream.bell(self.n));
        // Second moments are squares.
        for x in &mut state[3] {
            *x = 0.1 + *x * *x;
        }
        let upload = || [0, 1, 2, 3].map(|i: usize| bench.upload_f32(&[self.n], &state[i]));
        let sets = (0..sets).map(|_| OPS.map(|_| upload())).collect();
        bench.wait()?;
        Ok(Box::new(BuiltUpdate { state, sets }))
    }
}

struct BuiltUpdate {
    /// Sum, parameter and moments before the first update.
    state: [Vec<f32>; 4],
    /// The same on the device, for each op its own.
    sets: Vec<[[TensorHandle; 4]; 3]>,
}

impl Built for BuiltUpdate {
    fn check(&self, bench: &Bench, op: usize) -> Result<Check, BenchError> {
        self.launch(bench, op, 0)?;
        let (_, rule, generator) = OPS[op];
        let mut got = Vec::new();
        for tensor in &self.sets[0][op] {
            got.push(bench.download(tensor)?);
        }
        let n = got[0].len();
        let len = SAMPLED.min(n);
        let mut worst: f64 = 0.0;
        let key = key();
        for first in [0, (n - len) / 2, n - len] {
            let cut = |values: &Vec<f32>| values[first..first + len].to_vec();
            let [mut sum, mut parameter, mut moment_1, second] = self.state.each_ref().map(cut);
            let mut moment_2 = if rule.moments() == 2 {
                second.clone()
            } else {
                Vec::new()
            };
            let updated = reference::Updated {
                sum: &mut sum,
                parameter: &mut parameter,
                moment_1: &mut moment_1,
                moment_2: &mut moment_2,
            };
            let draw = draw(&key, first as u64, generator);
            reference::noised_update(updated, &draw, EXPECTED_BATCH, rule, true)?;
            if moment_2.is_empty() {
                moment_2 = second;
            }
            for (got, want) in got.iter().zip([sum, parameter, moment_1, moment_2]) {
                worst = worst.max(Worst::of(&got[first..first + len], &want));
            }
        }
        let what = format!("{} of {n} elements against the reference", (3 * len).min(n));
        Ok(Check::new(worst, BUDGET, what))
    }

    fn launch(&self, bench: &Bench, op: usize, set: usize) -> Result<(), BenchError> {
        let launch = &bench.launch();
        let [sum, parameter, moment_1, moment_2] = &self.sets[set][op];
        let (_, rule, generator) = OPS[op];
        let moments = [moment_1, moment_2];
        let updated = Updated {
            sum,
            parameter,
            moments: &moments[..rule.moments()],
            copy: None,
        };
        let key = key();
        let draw = draw(&key, 0, generator);
        noised_update(launch, &updated, draw, EXPECTED_BATCH, rule, true)?;
        Ok(())
    }
}
