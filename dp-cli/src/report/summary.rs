//! What a training run says about itself: the file `train.json` in its folder.

use dp_engine::report::PrivacyStatement;
use serde::{Deserialize, Deserializer, Serialize};

/// One training run, private or not. Times are wall time; losses are nats per token, the mean over
/// held-out records of each record's mean over its tokens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunSummary {
    /// What was asked for, name and value, in the order to show it.
    pub settings: Vec<Setting>,
    /// What the data were.
    pub data: DataSummary,
    /// Number of parameters of the model.
    pub parameters: u64,
    /// Optimizer steps done.
    pub steps: u64,
    /// Held-out loss after the last step; NaN (`null`) where training diverged.
    #[serde(deserialize_with = "null_is_nan")]
    pub held_out_loss: f64,
    /// Held-out loss on the way, in ascending order of steps.
    pub held_out_curve: Vec<LossPoint>,
    /// Places computed a second: expected batch times context over the time of the steps, measuring excluded.
    /// Padding counts, because the number of valid tokens drawn is private.
    pub tokens_per_s: f64,
    /// Median time of a logical step, seconds.
    pub step_seconds: f64,
    /// Largest resident memory of the process, bytes; `null` where the system does not tell.
    pub peak_memory_bytes: Option<u64>,
    /// What the model kept of each canary, in the order in which they were invented.
    pub canaries: Vec<CanaryResult>,
    /// The guarantee; `None` for a run without privacy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub privacy: Option<PrivacySummary>,
}

/// A named value of the settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// Its name, as the option is called.
    pub name: String,
    /// Its value, with its unit.
    pub value: String,
}

/// Counts of the records.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataSummary {
    /// Where the records came from.
    pub source: String,
    /// Records trained on, canaries included: the N of the guarantee.
    pub train_records: u64,
    /// Records held out.
    pub held_out_records: u64,
    /// Training records that were longer than the context and cut.
    pub cut_records: u64,
    /// Blank lines skipped.
    pub blank_lines: u64,
    /// Users in the training records, where a field names them.
    pub users: Option<u64>,
}

/// Held-out loss after a step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LossPoint {
    /// Steps done.
    pub step: u64,
    /// Nats per token.
    #[serde(deserialize_with = "null_is_nan")]
    pub loss: f64,
}

/// What the model kept of one canary.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CanaryResult {
    /// The prompt that asks for its code.
    pub prompt: String,
    /// Its exposure, bits.
    pub exposure: f64,
    /// Rank of its code, 1 for the most likely.
    pub rank: f64,
    /// Number of codes ranked.
    pub codes: u64,
    /// Whether greedy completion gives exactly its code.
    pub recited: bool,
    /// What greedy completion gave.
    pub completion: String,
}

/// The guarantee of a private run, everything it rests on, and how it was spent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PrivacySummary {
    /// The engine's statement; its fields stand beside `epsilon_curve` in JSON.
    #[serde(flatten)]
    pub statement: PrivacyStatement,
    /// Upper bound on epsilon at the statement's delta on the way, in ascending order of steps.
    pub epsilon_curve: Vec<EpsilonPoint>,
    /// The clipping norm on the way, where it follows a quantile; made of noised counts, which epsilon covers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clip_curve: Vec<ClipPoint>,
}

/// Epsilon spent after a step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpsilonPoint {
    /// Steps done.
    pub step: u64,
    /// Epsilon, at the delta of the guarantee.
    pub epsilon: f64,
}

/// The clipping norm after a step, that of the next.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClipPoint {
    /// Steps done.
    pub step: u64,
    /// The L2 norm.
    pub clip: f64,
}

impl RunSummary {
    /// Number of canaries that greedy completion recites.
    pub fn recited(&self) -> usize {
        self.canaries.iter().filter(|canary| canary.recited).count()
    }

    /// Mean exposure over the canaries, bits; `None` without canaries.
    pub fn mean_exposure(&self) -> Option<f64> {
        let sum: f64 = self.canaries.iter().map(|canary| canary.exposure).sum();
        (!self.canaries.is_empty()).then(|| sum / self.canaries.len() as f64)
    }

    /// Largest exposure of a canary, bits; `None` without canaries.
    pub fn largest_exposure(&self) -> Option<f64> {
        self.canaries
            .iter()
            .map(|canary| canary.exposure)
            .reduce(f64::max)
    }
}

/// JSON has no NaN: `null` stands for it.
fn null_is_nan<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}
