//! What an attacker looks at: pairs of neighbouring batches, and the score that tells them apart best.

use dp_audit::{GdpBound, gdp_lower_bound};
use dp_core::noise::Key;

use crate::step::{CLIP, EXPECTED, LAYERS, Record, Release, SHARD, Step, WIDTH};

/// Releases with the canary, and as many without it; half of each choose the threshold.
const RELEASES: u32 = 4000;
/// The true step is told to be wrong with a chance of at most 1e-9 an audit: 120 audits, 1.2e-7 for all of them.
pub const CONFIDENCE: f64 = 1.0 - 1e-9;
pub const SEEDS: u32 = 20;

/// An attack: its score of one run of the step under a key of its own, with the canary or without.
#[derive(Clone, Copy, Debug)]
pub enum Attack {
    /// A canary along one direction of a layer; the release, along it.
    Canary { layer: usize },
    /// Two steps, the canary in the second at most; the difference of the two releases.
    TwoSteps,
    /// A canary along the first element of the first shard; the difference to the first of the second.
    TwoShards,
    /// No record but the canary.
    EmptyBatch,
    /// A full batch that pulls one way, and a canary that pulls the other.
    AgainstTheRest,
}

pub const ATTACKS: [Attack; 6] = [
    Attack::Canary { layer: 0 },
    Attack::Canary { layer: 1 },
    Attack::TwoSteps,
    Attack::TwoShards,
    Attack::EmptyBatch,
    Attack::AgainstTheRest,
];

impl Attack {
    /// Whether the canary's whole shift shows in the score, and its noise only: then the true step must show nearly all that it is allowed.
    pub fn is_tight(self) -> bool {
        !matches!(self, Self::TwoSteps | Self::TwoShards)
    }

    fn score(self, step: &dyn Step, present: bool, key: &Key) -> f64 {
        let batch = |mut rest: Vec<Record>, layer, element, value| {
            rest.extend(present.then(|| along(layer, element, value)));
            rest
        };
        let release = |batch: &[Record], at| step.release(batch, key, at);
        let value = |release: &Release, layer: usize, element: usize| -> f64 {
            f64::from(release[layer][element])
        };
        let other = along(0, 5, 3.0);
        match self {
            Self::Canary { layer } => {
                let canary = batch(vec![other], layer, 0, 7.0);
                value(&release(&canary, 0), layer, 0)
            }
            Self::TwoSteps => {
                let (first, second) = (vec![other], batch(vec![other], 0, 0, 7.0));
                value(&release(&second, 1), 0, 0) - value(&release(&first, 0), 0, 0)
            }
            Self::TwoShards => {
                let release = release(&batch(vec![other], 0, 0, 7.0), 0);
                value(&release, 0, 0) - value(&release, 0, SHARD)
            }
            Self::EmptyBatch => value(&release(&batch(Vec::new(), 0, 0, 7.0), 0), 0, 0),
            Self::AgainstTheRest => {
                let rest = vec![along(0, 0, 7.0); EXPECTED as usize];
                -value(&release(&batch(rest, 0, 0, -7.0), 0), 0, 0)
            }
        }
    }

    /// What the attack proves of `step`.
    pub fn run(self, step: &dyn Step, seed: u32) -> GdpBound {
        let scores = |present: bool| -> Vec<f64> {
            let key = |trial| Key::new([seed, trial, u32::from(present), 0, 0, 0, 0, 0]);
            (0..RELEASES)
                .map(|trial| self.score(step, present, &key(trial)))
                .collect()
        };
        gdp_lower_bound(&scores(false), &scores(true), CONFIDENCE).unwrap()
    }
}

/// A record with a gradient along one element, longer than the clipping norm.
fn along(layer: usize, element: usize, length: f32) -> Record {
    let mut record = [[0.0; WIDTH]; LAYERS];
    record[layer][element] = length * CLIP;
    record
}
