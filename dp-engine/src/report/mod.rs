//! The privacy statement of a run: everything that a reviewer needs to judge the guarantee, as data and in words.

mod display;
mod engine;
mod group;

pub use group::GroupStatement;

use std::num::NonZeroU32;

use dp_core::accounting::{AccountingError, Bounds, Event};
use dp_core::clipping::AdaptiveQuantile;
use dp_core::ledger::{self, Head};
use serde::{Deserialize, Serialize};

use crate::accountant;
use crate::checkpoint::Dataset;
use crate::fingerprint::hex;
use crate::ledger::{LedgerFile, PriorLedger};
use crate::plan::Plan;

/// How units, records or users, are drawn for a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sampler {
    /// Every unit, every step.
    Full,
    /// Each unit as a whole, independently, with the sampling rate's probability.
    Poisson,
}

/// Which data sets the guarantee makes hard to tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Adjacency {
    /// Two data sets of which one has one unit more.
    AddRemove,
}

/// Whose presence is hidden.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// One record.
    Record,
    /// One user with all of their records.
    User {
        /// The most records of a user that a step uses.
        most_records: NonZeroU32,
        /// SHA-256 of whose each record is, in hexadecimal.
        owners: String,
    },
}

impl From<ledger::Unit> for Unit {
    fn from(unit: ledger::Unit) -> Self {
        match unit {
            ledger::Unit::Record => Self::Record,
            ledger::Unit::User {
                most_records,
                owners,
            } => Self::User {
                most_records,
                owners: hex(&owners),
            },
        }
    }
}

/// An event and how often it was spent, as the report shows it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpentEvent {
    /// How records were drawn.
    pub sampler: Sampler,
    /// Sampling rate, 1 for the full batch.
    pub rate: f64,
    /// Noise multiplier.
    pub sigma: f64,
    /// Records of one unit that are added or removed together.
    pub group: u32,
    /// How often.
    pub count: u64,
}

/// How the clipping norm followed a quantile of the norms.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdaptiveClip {
    /// The quantile.
    pub quantile: f64,
    /// Learning rate of the clipping norm's logarithm.
    pub rate: f64,
    /// Groups of parameters whose norms are counted.
    pub groups: u32,
    /// Standard deviation of the noise on each count, in units.
    pub count_std: f64,
    /// Noise multiplier of the clipped sum alone: more than that of sum and counts together, which is the statement's.
    pub sum_sigma: f64,
}

/// What earlier runs spent on the data set, which the guarantee covers too.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpentBefore {
    /// Their ledgers, and how far these go.
    pub ledgers: Vec<PriorLedger>,
    /// What they spent.
    pub events: Vec<SpentEvent>,
    /// Upper bound on their epsilon, without this run, at the statement's delta.
    pub upper: f64,
    /// Upper bound on this run's epsilon, without them, at the statement's delta.
    pub this_run: f64,
    /// The sum of this run's epsilon and of each ledger's: what holds where the settings of a run followed from what earlier ones released, if that
    /// total was fixed before the first of them (docs/proofs/ledger-budget.md).
    pub sum: f64,
    /// The delta at which `sum` holds: the statement's, as often as there are runs.
    pub sum_delta: f64,
}

/// What the run knows and the ledger doesn't.
#[derive(Clone, Debug, PartialEq)]
pub struct Disclosure {
    /// The data set.
    pub dataset: Dataset,
    /// The noise generator, by name; whoever uses one that is not secure says so here.
    pub rng: String,
    /// Everything that was computed from private records without noise, and where it went; empty if nothing.
    pub without_noise: Vec<String>,
    /// Groups of records to state a guarantee for: what a group is called, and how many records it has. None where the unit is the
    /// user, whose guarantee is for all of their records.
    pub groups: Vec<(String, u32)>,
}

/// The privacy statement.
///
/// # Privacy
/// The guarantee is [`PrivacyStatement::upper`] at [`PrivacyStatement::delta`]: it covers all that the ledger
/// holds, reservations without a commit included, whatever was planned, and all that the ledgers of
/// [`PrivacyStatement::before`] hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PrivacyStatement {
    /// Epsilon at `delta`, as near to the truth as the accountant comes.
    pub epsilon: f64,
    /// The true epsilon is not below this.
    pub lower: f64,
    /// The true epsilon is not above this: the figure to promise.
    pub upper: f64,
    /// Failure probability.
    pub delta: f64,
    /// Noise multiplier of a step: standard deviation of the noise over `clip * (1 + eta)`; of sum and counts together with an adaptive clipping norm.
    pub sigma: f64,
    /// Sampling rate.
    pub rate: f64,
    /// Steps spent: all that were reserved, in all process starts.
    pub steps: u64,
    /// Of these, steps whose reservation was never confirmed.
    pub unconfirmed: u64,
    /// Steps planned.
    pub steps_planned: u64,
    /// Clipping norm of one unit's gradient; the first one with an adaptive clipping norm.
    pub clip: f64,
    /// How the clipping norm followed a quantile; `None` where it stayed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adaptive_clip: Option<AdaptiveClip>,
    /// Share of the clipping norm added for rounding.
    pub eta: f64,
    /// Epsilon asked for.
    pub target_epsilon: f64,
    /// Whose presence is hidden.
    pub unit: Unit,
    /// Which data sets are hard to tell apart.
    pub adjacency: Adjacency,
    /// How records were drawn.
    pub sampler: Sampler,
    /// What this run spent.
    pub events: Vec<SpentEvent>,
    /// What runs before it spent; `None` where none was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<SpentBefore>,
    /// How epsilon was computed: by the engine that answered.
    pub accountant: String,
    /// The noise generator.
    pub rng: String,
    /// What was computed from private records without noise.
    pub without_noise: Vec<String>,
    /// Guarantees for groups of records.
    pub groups: Vec<GroupStatement>,
    /// Number of units that a step draws among: the records, or the users where the unit is the user.
    pub units: u64,
    /// Number of records.
    pub records: u64,
    /// SHA-256 of the records, in hexadecimal.
    pub dataset: String,
    /// Number of records in the ledger.
    pub ledger_records: u64,
    /// Chain value of the ledger's last record, in hexadecimal.
    pub ledger_digest: String,
    /// What was unwise in the plan.
    pub warnings: Vec<String>,
}

impl PrivacyStatement {
    /// The statement of a run so far.
    ///
    /// # Errors
    /// Where the accountant gives no answer for what was spent.
    pub fn new(
        plan: &Plan,
        ledger: &LedgerFile,
        disclosure: Disclosure,
    ) -> Result<Self, AccountingError> {
        let delta = plan.target().delta;
        let bounds = ledger.epsilon(delta)?;
        let Bounds {
            lower,
            estimate,
            upper,
        } = bounds;
        let total = ledger.total();
        let accountant = engine::that_answered(&total, delta, bounds).to_owned();
        let groups = disclosure.groups.into_iter();
        let groups =
            groups.map(|(name, size)| GroupStatement::new(name, size, &total, upper, delta));
        let Head {
            records: ledger_records,
            digest,
        } = ledger.head();
        Ok(Self {
            epsilon: estimate,
            lower,
            upper,
            delta,
            sigma: plan.sigma(),
            rate: plan.rate(),
            steps: ledger.state().reservations(),
            unconfirmed: ledger.state().reservations() - ledger.state().commits(),
            steps_planned: plan.steps(),
            clip: plan.clip(),
            adaptive_clip: plan
                .adaptive_clip()
                .map(|policy| AdaptiveClip::of(policy, plan)),
            eta: plan.request().eta,
            target_epsilon: plan.target().epsilon,
            unit: ledger.header().unit.into(),
            adjacency: Adjacency::AddRemove,
            sampler: SpentEvent::of(plan.event(), 0)?.sampler,
            events: SpentEvent::all(ledger.spent())?,
            before: SpentBefore::of(ledger, delta)?,
            accountant,
            rng: disclosure.rng,
            without_noise: disclosure.without_noise,
            groups: groups.collect(),
            units: plan.request().units,
            records: disclosure.dataset.records,
            dataset: hex(&disclosure.dataset.fingerprint),
            ledger_records,
            ledger_digest: hex(&digest),
            warnings: plan.warnings().iter().map(ToString::to_string).collect(),
        })
    }
}

impl AdaptiveClip {
    fn of(policy: &AdaptiveQuantile, plan: &Plan) -> Self {
        Self {
            quantile: policy.quantile(),
            rate: policy.rate(),
            groups: policy.counts().groups(),
            count_std: policy.count_std().into(),
            sum_sigma: plan.noise_multiplier(),
        }
    }
}

impl SpentBefore {
    fn of(ledger: &LedgerFile, delta: f64) -> Result<Option<Self>, AccountingError> {
        let prior = ledger.prior();
        if prior.is_empty() {
            return Ok(None);
        }
        let this_run = accountant::of_spent(ledger.spent(), delta)?.upper;
        let mut sum = this_run;
        for spent in prior.events_by_ledger() {
            sum = (sum + accountant::of_spent(spent, delta)?.upper).next_up();
        }
        let runs = 1 + prior.ledgers().len();
        Ok(Some(Self {
            ledgers: prior.ledgers().to_vec(),
            events: SpentEvent::all(prior.events())?,
            upper: accountant::of_spent(prior.events(), delta)?.upper,
            this_run,
            sum,
            sum_delta: runs as f64 * delta,
        }))
    }
}

impl SpentEvent {
    fn all(spent: &[(Event, u64)]) -> Result<Vec<Self>, AccountingError> {
        let events = spent.iter();
        events
            .map(|&(event, count)| Self::of(event, count))
            .collect()
    }

    /// Refuses an event that no plan holds: the statement has no words for it.
    fn of(event: Event, count: u64) -> Result<Self, AccountingError> {
        let (sampler, rate, sigma, group) = match event {
            Event::Gaussian { sigma } => (Sampler::Full, 1.0, sigma, 1),
            Event::PoissonGaussian { rate, sigma } => (Sampler::Poisson, rate, sigma, 1),
            Event::GroupPoissonGaussian { rate, sigma, group } => {
                (Sampler::Poisson, rate, sigma, group)
            }
            _ => return Err(AccountingError::UndefinedEngine),
        };
        Ok(Self {
            sampler,
            rate,
            sigma,
            group,
            count,
        })
    }
}
