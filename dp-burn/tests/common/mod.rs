//! What the tests of this crate share: devices, a small model and a microbatch of numbers.
#![allow(dead_code)]

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use dp_burn::{Batch, ModelConfig, PrivateGradients, Tape, Transformer};
use dp_core::accounting::Event;
use dp_core::ledger::{Charge, Header, Unit};
use dp_engine::keys::{NoiseKey, RunKeys};
use dp_engine::ledger::{Budget, LedgerFile, Reservation};
use dp_kernels::conformance::open_or_skip;
use dp_kernels::{Ceilings, Planner, Rates};

/// The plain devices that are there: the processor, and a GPU or its software stand-in.
pub fn devices() -> Vec<(&'static str, Device)> {
    let mut devices = Vec::new();
    if open_or_skip("cpu", dp_backend_cpu::open).is_some() {
        devices.push(("cpu", Device::cpu()));
    }
    if open_or_skip("wgpu", dp_backend_wgpu::open).is_some() {
        devices.push(("wgpu", Device::wgpu(burn::tensor::DeviceKind::default())));
    }
    devices
}

/// Each of them with Linears' gradients formed twice, and formed once and kept.
pub fn cases() -> Vec<(String, Device, Planner)> {
    let ways = |(name, device): (&'static str, Device)| {
        [("lean", Planner::by_rule()), ("kept", keeps_all())]
            .map(|(way, planner)| (format!("{name}, {way}"), device.clone(), planner))
    };
    devices().into_iter().flat_map(ways).collect()
}

/// Keeps the gradients of every Linear with tokens: all else is said to be slow.
pub fn keeps_all() -> Planner {
    let rates = Rates {
        read_bytes: 1e12,
        keep_bytes: 1e12,
        gram_flop: 1.0,
        materialised_flop: 2.0,
        sum_flop: 1.0,
    };
    Planner::measured(Ceilings::new(rates).expect("rates")).with_memory_to_keep(u64::MAX)
}

pub const VOCABULARY: usize = 32;
pub const CONTEXT: usize = 7;

/// Two blocks of odd sizes.
pub fn config() -> ModelConfig {
    ModelConfig {
        vocabulary: VOCABULARY,
        context: CONTEXT,
        layers: 2,
        width: 24,
        heads: 3,
        hidden: 40,
    }
}

/// A model whose weights are large enough for gradients of different sizes.
pub fn model(device: &Device) -> Transformer {
    Transformer::new(&config(), 11, device)
}

/// Rows on the host.
#[derive(Clone, Debug)]
pub struct Rows {
    pub ids: Vec<i32>,
    pub targets: Vec<i32>,
    pub weights: Vec<f32>,
    pub mask: Vec<f32>,
}

/// `rows` rows of ids that repeat, with lengths from 1 to the context.
pub fn rows(rows: usize) -> Rows {
    let mut ids = Vec::new();
    let mut targets = Vec::new();
    let mut weights = Vec::new();
    for b in 0..rows {
        let valid = 1 + (b * 3 + 4) % CONTEXT;
        for t in 0..CONTEXT {
            ids.push(((b * 5 + t * t) % 9) as i32);
            targets.push(((b * 7 + t * 3 + 1) % VOCABULARY) as i32);
            weights.push(if t < valid { 1.0 / valid as f32 } else { 0.0 });
        }
    }
    Rows {
        ids,
        targets,
        weights,
        mask: vec![1.0; rows],
    }
}

impl Rows {
    pub fn upload(&self, device: &Device) -> Batch {
        Batch::new(
            &self.ids,
            &self.targets,
            &self.weights,
            &self.mask,
            CONTEXT,
            device,
        )
    }

    pub fn row(&self, b: usize) -> Self {
        let places = b * CONTEXT..(b + 1) * CONTEXT;
        Self {
            ids: self.ids[places.clone()].to_vec(),
            targets: self.targets[places.clone()].to_vec(),
            weights: self.weights[places].to_vec(),
            mask: self.mask[b..b + 1].to_vec(),
        }
    }
}

/// The gradients of every parameter, in the order of the module.
pub fn values<M: Module>(model: &M, gradients: &GradientsParams) -> Vec<Vec<f32>> {
    struct Reader<'a>(&'a GradientsParams, Vec<Vec<f32>>);
    impl ModuleVisitor for Reader<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let gradient = self
                .0
                .get::<D>(param.id)
                .expect("every parameter has a gradient");
            assert_eq!(gradient.dims(), param.val().dims());
            self.1.push(gradient.into_data().try_to_vec().expect("f32"));
        }
    }
    let mut reader = Reader(gradients, Vec::new());
    model.visit(&mut reader);
    reader.1
}

/// The largest difference, relative to the largest value of `b`.
pub fn relative(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let scale = b.iter().fold(0.0f64, |m, &x| m.max(f64::from(x).abs()));
    let worst = a.iter().zip(b).fold(0.0f64, |m, (&x, &y)| {
        m.max((f64::from(x) - f64::from(y)).abs())
    });
    if scale == 0.0 { worst } else { worst / scale }
}

/// A new ledger of a new start that lets this much be spent, and its key.
pub fn ledger(folder: &std::path::Path, epsilon: f64) -> (LedgerFile, NoiseKey) {
    let keys = RunKeys::generate().expect("keys");
    let header = Header {
        dataset: [1; 32],
        config: [2; 32],
        unit: Unit::Record,
    };
    let budget = Budget {
        epsilon,
        delta: 1e-5,
    };
    let path = folder.join("ledger");
    let ledger = LedgerFile::create(&path, &header, budget, keys.process).expect("a new ledger");
    (ledger, keys.noise)
}

/// A step of clipping norm 0.5.
pub fn reserve(ledger: &mut LedgerFile, step: u64, sigma: f64) -> Reservation {
    let charge = Charge {
        event: Event::Gaussian { sigma },
        clip: 0.5,
        eta: 0.0,
        count: 1,
        counts: None,
    };
    ledger.reserve(step, charge).expect("within the budget")
}

/// Adds four rows.
pub fn add(sums: &mut PrivateGradients, model: &Transformer, device: &Device) {
    let batch = rows(4).upload(device);
    let mut tape = Tape::private(device);
    let losses = model.losses(&batch, &mut tape).sum();
    sums.add(tape, losses, batch.mask).expect("a private pass");
}

pub const RULE: dp_burn::AdamW = dp_burn::AdamW {
    beta_1: 0.8,
    beta_2: 0.95,
    epsilon: 1e-2,
    weight_decay: 0.1,
};
