//! A small private training with canaries, and what an attacker sees of it.

use burn::module::Module;
use burn::optim::{ModuleOptimizer, SgdConfig};
use burn::tensor::activation::softplus;
use burn::tensor::{Device, Int, Tensor, TensorData};
use dp_burn::{Embedding, Init, Linear, PrivateGradients, Tape};
use dp_core::accounting::Event;
use dp_core::clipping::Clipping;
use dp_core::ledger::{Header, Unit};
use dp_core::noise::Generator;
use dp_core::noise::chacha::ChaCha20Rng;
use dp_engine::batches::Microbatch;
use dp_engine::fingerprint::{config_fingerprint, dataset_fingerprint};
use dp_engine::plan::{Plan, PlanRequest, PrivacyTarget};
use dp_engine::run::PrivateRun;
use rand_core::{Rng, SeedableRng};

use crate::args;
use crate::error::Failure;

/// Records that aren't canaries.
pub const RECORDS: usize = 500;
/// Records that the finished model is tried on.
const HELD_OUT: usize = 1000;
/// Features of a record.
const FEATURES: usize = 16;
/// Columns of the embedding; a canary's gradient lies along the first.
const WIDTH: usize = 4;
/// Rows of a microbatch.
const ROWS: usize = 128;
/// Expected batch size. The rounding that is charged grows with its square: much larger, and the noise would cover rounding more than
/// records, so that no attack could come near the claim.
const BATCH: u64 = 512;
const CLIP: f64 = 1.0;
/// A canary's gradient before it is clipped, in clipping norms.
const LENGTH: f32 = 10.0;
/// Of gradient descent on the mean gradient.
const LEARNING_RATE: f64 = 4.0;

/// What to train.
pub struct Setting {
    /// Where.
    pub device: args::Device,
    /// Epsilon planned for.
    pub epsilon: f64,
    /// Delta.
    pub delta: f64,
    /// Steps.
    pub steps: u64,
    /// Seed of the records and the initial weights.
    pub seed: u64,
}

/// What the run gave.
pub struct Seen {
    /// The log-likelihood ratio of each canary, in against out, over all steps.
    pub scores: Vec<f64>,
    /// Upper bound on epsilon spent, by the ledger.
    pub epsilon: f64,
    /// The event of a step.
    pub event: Event,
    /// Share of held-out records that the model puts into the right class.
    pub accuracy: f64,
    /// Where it ran.
    pub device: String,
}

/// A linear classifier, and a row for each canary.
#[derive(Module, Debug)]
struct Model {
    table: Embedding,
    head: Linear,
}

/// A record of two clouds.
struct Record {
    features: [f32; FEATURES],
    /// 1 or -1.
    class: f32,
}

/// Trains on the records and on the canaries that are `included`.
///
/// Every canary has a place among the records that are drawn from; one that isn't included is no record, and its row is masked as padding is. So
/// the sampling rate doesn't depend on the coins.
///
/// # Errors
/// A target that no noise reaches, a device that can't be opened or fails, a folder that can't be made.
pub fn train(setting: &Setting, included: &[bool]) -> Result<Seen, Failure> {
    let (device, backend) = crate::device::open(setting.device)?;
    let graph = device.autodiff();
    let places = (RECORDS + included.len()) as u64;
    let batch = BATCH.min(places / 2);
    // The model is f32.
    let tuning = backend.tuning.without_matrix_units();
    let depth = tuning.linear_norm_depth(1, FEATURES as u64, 1) + 64;
    let terms = most_drawn(batch, places, setting);
    let sum = tuning.clipped_sum(terms, [ROWS as u64, 1], depth, 1.0);
    let plan = Plan::new(&PlanRequest {
        target: PrivacyTarget {
            epsilon: setting.epsilon,
            delta: setting.delta,
        },
        unit: Unit::Record,
        units: places,
        batch,
        steps: setting.steps,
        clip: CLIP,
        eta: sum.eta()?,
    })?;
    let folder = tempfile::tempdir()?;
    let header = Header {
        dataset: dataset_fingerprint(included.iter().map(|coin| format!("canary {coin}"))),
        config: config_fingerprint(&format!("{:?}", plan.request()).into()),
        unit: Unit::Record,
    };
    let mut run = PrivateRun::create(
        &folder.path().join("ledger.bin"),
        &header,
        plan.clone(),
        ROWS,
    )?;
    let work = Work {
        records: records(RECORDS, setting.seed),
        included,
        graph: &graph,
    };
    let mut init = Init::new(setting.seed, &graph);
    let mut model = Model {
        table: Embedding::new(&mut init, included.len() + 1, WIDTH, 0.0),
        head: Linear::new(&mut init, FEATURES, 1, 0.0),
    };
    let mut optimizer: ModuleOptimizer = SgdConfig::new().init();
    let mut attack = Attack::new(&plan, included.len());
    for step in 0..plan.steps() {
        let mut sums = PrivateGradients::new(&model, Clipping::Flat { clip: CLIP as f32 });
        for microbatch in run.draw(step).microbatches() {
            work.add(&model, microbatch, &mut sums)?;
        }
        let released = run.release(|noise| -> Result<_, Failure> {
            Ok(sums.release(plan.divisor(), noise, Generator::ChaCha20)?)
        })?;
        let table = released.get::<2>(model.table.table.id);
        attack.see(&host(
            table.ok_or_else(|| Failure::new("the embedding has no gradient"))?,
        )?);
        model = optimizer.step(LEARNING_RATE, model, released);
    }
    let description = backend.describe();
    Ok(Seen {
        scores: attack.scores,
        epsilon: run.epsilon()?.upper,
        event: plan.event(),
        accuracy: accuracy(&model, &records(HELD_OUT, setting.seed.wrapping_add(1)))?,
        device: format!("{}: {}", description.backend, description.device),
    })
}

/// The most records of one sum, as dpcube train bounds it: eight standard deviations above the mean and 16 more, beyond which a Poisson draw is
/// with a chance below 1e-14; all of them where that is not small beside delta.
fn most_drawn(batch: u64, places: u64, setting: &Setting) -> u64 {
    let likely = batch + (8.0 * (batch as f64).sqrt()).ceil() as u64 + 16;
    if 1e-14 * setting.steps as f64 <= 1e-6 * setting.delta {
        likely.min(places)
    } else {
        places
    }
}

/// What gradients are made of.
struct Work<'a> {
    records: Vec<Record>,
    included: &'a [bool],
    graph: &'a Device,
}

impl Work<'_> {
    /// Adds the clipped gradients of a microbatch.
    fn add(
        &self,
        model: &Model,
        microbatch: Microbatch<'_>,
        sums: &mut PrivateGradients,
    ) -> Result<(), Failure> {
        let mut mask = microbatch.mask.to_vec();
        let (mut ids, mut x) = (vec![0; ROWS], vec![0.0; ROWS * FEATURES]);
        let (mut classes, mut lengths) = (vec![0.0; ROWS], vec![0.0; ROWS]);
        for (row, place) in microbatch.present() {
            match self.records.get(place) {
                Some(record) => {
                    x[row * FEATURES..][..FEATURES].copy_from_slice(&record.features);
                    classes[row] = record.class;
                }
                None => {
                    let canary = place - self.records.len();
                    ids[row] = canary as i32 + 1;
                    lengths[row] = LENGTH * CLIP as f32;
                    mask[row] = f32::from(u8::from(self.included[canary]));
                }
            }
        }
        let mut tape = Tape::private(self.graph);
        let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, [ROWS, 1]), self.graph);
        let embedded = model.table.forward(ids, &mut tape);
        let logits = model
            .head
            .forward(self.tensor(x, [ROWS, 1, FEATURES]), &mut tape);
        let classes = self.tensor(classes, [ROWS, 1, 1]);
        // A record's loss is logistic, a canary's linear in its own row, so that its gradient stays as long as it is.
        let is_record = classes.clone().abs();
        let of_records = (softplus(-(logits * classes), 1.0) * is_record).sum();
        let mut along = vec![0.0; ROWS * WIDTH];
        for (row, length) in along.chunks_mut(WIDTH).zip(lengths) {
            row[0] = length;
        }
        let of_canaries = (embedded * self.tensor(along, [ROWS, 1, WIDTH])).sum();
        let mask = Tensor::from_data(TensorData::new(mask, [ROWS]), self.graph);
        Ok(sums.add(tape, of_records + of_canaries, mask)?)
    }

    fn tensor<const D: usize>(&self, values: Vec<f32>, shape: [usize; D]) -> Tensor<D> {
        Tensor::from_data(TensorData::new(values, shape), self.graph)
    }
}

/// What the attacker adds up.
struct Attack {
    scores: Vec<f64>,
    rate: f64,
    sigma: f64,
    /// From a released mean to a multiple of the sensitivity.
    scale: f64,
}

impl Attack {
    fn new(plan: &Plan, canaries: usize) -> Self {
        Self {
            scores: vec![0.0; canaries],
            rate: plan.rate(),
            sigma: plan.sigma(),
            scale: plan.divisor() * plan.sigma() / plan.noise_std(),
        }
    }

    /// Adds the log-likelihood ratio of each canary's coordinate at one step: a shift by the sensitivity with the sampling rate's probability,
    /// against none.
    fn see(&mut self, table: &[f32]) {
        let (rate, variance) = (self.rate, self.sigma * self.sigma);
        // Row 0 is the records'.
        let rows = table.chunks(WIDTH).skip(1);
        for (score, row) in self.scores.iter_mut().zip(rows) {
            let x = f64::from(row[0]) * self.scale;
            *score += ((x - 0.5) / variance).exp_m1().mul_add(rate, 1.0).ln();
        }
    }
}

/// Two clouds that overlap.
fn records(count: usize, seed: u64) -> Vec<Record> {
    let mut random = ChaCha20Rng::seed_from_u64(seed);
    let mut uniform = || (random.next_u32() >> 8) as f32 / (1 << 23) as f32 - 1.0;
    (0..count)
        .map(|_| {
            let class = uniform().signum();
            let features = std::array::from_fn(|_| 0.25 * class + uniform());
            Record { features, class }
        })
        .collect()
}

/// Share of the records on the right side.
fn accuracy(model: &Model, records: &[Record]) -> Result<f64, Failure> {
    let weight = host(model.head.weight.val().inner())?;
    let bias = host(model.head.bias.val().inner())?;
    let right = records.iter().filter(|record| {
        let products = record.features.iter().zip(&weight).map(|(x, w)| x * w);
        (products.sum::<f32>() + bias[0]) * record.class > 0.0
    });
    Ok(right.count() as f64 / records.len() as f64)
}

/// The values of a tensor.
fn host<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, Failure> {
    let values = tensor.into_data().try_to_vec();
    values.map_err(|error| Failure::new(format!("the device gave no result: {error:?}")))
}
