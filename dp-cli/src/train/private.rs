//! The guarantee of a private run: its plan, its keys, its ledger.

use std::path::PathBuf;

use dp_burn::ModelConfig;
use dp_core::clipping::Clipping;
use dp_core::ledger::{Header, Unit};
use dp_core::noise::Generator;
use dp_core::sensitivity::ClippedSum;
use dp_engine::batches::Batches;
use dp_engine::fingerprint::config_fingerprint;
use dp_engine::keys::{NoiseKey, RunKeys, StepNoise};
use dp_engine::ledger::{
    Budget, LedgerFile, LedgerFileError, PriorSpend, Receipt, Reservation, inspect,
};
use dp_engine::plan::{Plan, PlanError, PlanRequest, PrivacyTarget};
use dp_engine::report::{Disclosure, PrivacyStatement};
use dp_engine::users::Owners;
use dp_kernels::Tuning;
use serde_json::Value;

use super::LEDGER;
use super::checkpoint::{Saved, planned_after_of};
use super::data::Data;
use super::settings;
use crate::args::TrainArgs;
use crate::error::Failure;
use crate::ledger::read::place;
use crate::output::note;

/// The generator of every private run.
pub const GENERATOR: Generator = Generator::ChaCha20;

/// What the statement says of a generator: of one that is not secure, that it isn't.
pub fn in_words(generator: Generator) -> String {
    let name = match generator {
        Generator::ChaCha20 => "ChaCha20 (RFC 8439)",
        Generator::Philox4x32x10NotSecure => "Philox4x32-10",
    };
    let warning = if generator.is_secure() {
        ""
    } else {
        ", NOT SECURE: its noise can be predicted from its noise, and no guarantee holds"
    };
    format!("{name}{warning}, a key from the operating system at each start, written nowhere")
}

/// What the runs named by --after spent on the records, as the plan of `saved` counted it where there is one.
///
/// # Errors
/// A ledger that cannot be read, is being written or is about other records; one that the run which goes on did not count, or one
/// that it did and that is missing now.
pub fn prior(args: &TrainArgs, data: &Data, saved: Option<&Saved>) -> Result<PriorSpend, Failure> {
    if let Some(named) = args.after.iter().find(|named| named.to_str().is_none()) {
        return Err(Failure::new(format!(
            "--after {named:?} has a name that is not UTF-8, which the checkpoint could not note: rename it"
        )));
    }
    let ledgers: Vec<_> = args.after.iter().map(|named| place(named)).collect();
    refuse_gaps(args, &ledgers)?;
    let (dataset, unit) = (&data.dataset().fingerprint, &data.unit());
    let prior = match saved {
        None => PriorSpend::read(&ledgers, dataset, unit)?,
        Some(saved) => PriorSpend::read_again(&ledgers, dataset, unit, &saved.planned_after()?)?,
    };
    Ok(prior)
}

/// Refuses runs that came after others which are not named: a ledger holds what its own run spent, so that theirs would be in nobody's figure.
fn refuse_gaps(args: &TrainArgs, ledgers: &[PathBuf]) -> Result<(), Failure> {
    let given = ledgers.iter().map(|path| inspect(path));
    let given = given.collect::<Result<Vec<_>, _>>()?;
    for named in &args.after {
        for before in planned_after_of(named)? {
            let head = before.head.into();
            if !given.iter().any(|contents| contents.contains(&head)) {
                return Err(Failure::new(format!(
                    "--after {named:?} came after {:?} itself, which spent on the same records and is not named: name both",
                    before.ledger
                )));
            }
        }
    }
    Ok(())
}

/// The plan of a private run that comes after `prior`, calibrated; `None` with --non-private. Its warnings are printed.
///
/// # Errors
/// A target, a batch or a clipping norm that is out of range, a target that no noise reaches, or counts for the clipping norm that have too little
/// noise.
pub fn plan(
    args: &TrainArgs,
    data: &Data,
    prior: PriorSpend,
    sizes: &ModelConfig,
    tuning: &Tuning,
) -> Result<Option<Plan>, Failure> {
    if args.non_private {
        return Ok(None);
    }
    let (unit, units) = (data.unit(), data.units());
    let target = PrivacyTarget {
        epsilon: args.target.epsilon,
        delta: args.target.delta(units),
    };
    let request = PlanRequest {
        target,
        unit,
        units,
        batch: args.settings.batch,
        steps: args.settings.steps,
        clip: args.settings.clip,
        eta: rounding_allowance(args, unit, units, target.delta, sizes, tuning)?,
    };
    let mut plan = Plan::after(&request, prior)?;
    if let Some(policy) = settings::adaptive_clip(args)? {
        plan = plan
            .with_adaptive_clip(policy)
            .map_err(|error| match error {
                PlanError::CountStd { .. } => Failure::new(format!("--clip-count-std: {error}")),
                _ => error.into(),
            })?;
    }
    for warning in plan.warnings() {
        note!("dpcube: warning: {warning}");
    }
    Ok(Some(plan))
}

/// The share of the clipping norm that f32 rounding can add to one unit's influence on the sum
/// (docs/proofs/sensitivity.md), with the depths of this device's kernels. To these a user is one example, of as many tokens as
/// their rows have together.
///
/// The number of units in one sum is bounded by the mean plus eight standard deviations plus 16. A Poisson draw is
/// above that with a chance below 1e-14; where so much, over all steps, is not small beside delta, all units are
/// the bound.
fn rounding_allowance(
    args: &TrainArgs,
    unit: Unit,
    units: u64,
    delta: f64,
    sizes: &ModelConfig,
    tuning: &Tuning,
) -> Result<f64, Failure> {
    let settings = &args.settings;
    // The model is f32.
    let tuning = &tuning.without_matrix_units();
    let rows_of_unit = unit.most_records().get() as usize;
    let examples = units_at_once(settings.microbatch, rows_of_unit) as u64;
    let tokens = (rows_of_unit * sizes.context) as u64;
    let batch = settings.batch;
    let likely = batch + (8.0 * (batch as f64).sqrt()).ceil() as u64 + 16;
    let is_negligible = 1e-14 * settings.steps as f64 <= 1e-6 * delta;
    let terms = if is_negligible {
        likely.min(units)
    } else {
        units
    };
    // Before anything else the gradient of a position is added up over the rows of a unit.
    let rows = rows_of_unit as u64 - 1;
    let sum = ClippedSum {
        terms,
        sum_depth: tuning.weighted_sum_depth(examples, tokens, terms.div_ceil(examples)) + rows,
        norm_depth: norm_depth(sizes, tokens, tuning) + rows,
        cancellation: cancellation(tokens),
    };
    sum.eta().map_err(|error| {
        Failure::new(format!(
            "the rounding of a batch of {batch} {} has no useful bound ({error}): choose a smaller --batch or --microbatch",
            unit.plural()
        ))
    })
}

/// Units of a microbatch of so many rows: whole ones, and at least one.
pub fn units_at_once(rows: usize, rows_of_unit: usize) -> usize {
    (rows / rows_of_unit).max(1)
}

/// The most roundings between a number of `a` or `g` and an example's finished squared norm, where an example has so many tokens: a
/// product of tokens or a sum over them, the squares of a part, and the parts of all layers. Whichever way the norms of the
/// Linears are taken.
fn norm_depth(sizes: &ModelConfig, tokens: u64, tuning: &Tuning) -> u64 {
    let [d, hidden, vocabulary] =
        [sizes.width, sizes.hidden, sizes.vocabulary].map(|extent| extent as u64);
    let linears = [
        (d, 3 * d),
        (d, d),
        (d, hidden),
        (hidden, d),
        (d, vocabulary),
    ];
    let of_linears = linears.map(|(d, p)| tuning.linear_norm_depth(tokens, d, p));
    let widest = hidden.max(vocabulary).max(3 * d);
    // The squares of all positions of a row, which those of a unit's rows were added into before; sums over all tokens, and over those
    // of an id and the ids, before or after the squares of a width.
    let positions = sizes.context as u64 * d;
    let others = positions.max(2 * tokens) + widest;
    let parts = 16 * (sizes.layers as u64 + 2);
    of_linears.into_iter().fold(others, u64::max) + parts
}

/// How far an example's tokens are taken to cancel in its gradient: `sum_t |a_t| |g_t|` over the gradient's norm. It is the
/// square root of their number for tokens that have nothing to do with each other.
fn cancellation(tokens: u64) -> f64 {
    (tokens as f64).sqrt()
}

/// What a private run holds while it trains.
pub struct Guarantee {
    plan: Plan,
    /// The clipping norm of the next step.
    clip: f32,
    ledger: LedgerFile,
    noise: NoiseKey,
    sampling: Option<dp_engine::keys::SamplingKey>,
    groups: Vec<(String, u32)>,
    dataset: dp_engine::checkpoint::Dataset,
    owners: Option<Owners>,
}

impl Guarantee {
    /// Draws this start's keys and opens the ledger: a new one, or the one of the run that goes on.
    ///
    /// # Errors
    /// No randomness from the system, or a ledger that is locked, damaged, of another run, or older than
    /// the checkpoint.
    pub fn open(
        plan: Plan,
        args: &TrainArgs,
        config: &Value,
        data: &Data,
        saved: Option<&Saved>,
    ) -> Result<Self, Failure> {
        let keys = RunKeys::generate()?;
        let header = Header {
            dataset: data.dataset().fingerprint,
            config: config_fingerprint(config),
            unit: plan.unit(),
        };
        let PrivacyTarget { epsilon, delta } = plan.target();
        let budget = Budget { epsilon, delta };
        let path = args.out.join(LEDGER);
        let prior = plan.prior().clone();
        let ledger = match saved {
            None => LedgerFile::create_after(&path, &header, budget, keys.process, prior)?,
            Some(saved) => {
                let (process, head) = (keys.process, saved.ledger_head());
                let (ledger, recovery) = match &head {
                    None => LedgerFile::open_after(&path, &header, budget, process, prior)?,
                    Some(head) => LedgerFile::resume(&path, &header, budget, process, prior, head)?,
                };
                if recovery.unconfirmed > 0 {
                    note!(
                        "dpcube: warning: {} reserved steps were never confirmed; they count as spent",
                        recovery.unconfirmed
                    );
                }
                ledger
            }
        };
        Ok(Self {
            clip: plan.clip() as f32,
            plan,
            ledger,
            noise: keys.noise,
            sampling: Some(keys.sampling),
            groups: data.groups(),
            dataset: *data.dataset(),
            owners: data.users().map(|users| users.owners.clone()),
        })
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The clipping norm of the next step: the plan's, until it moves.
    pub fn clip(&self) -> f32 {
        self.clip
    }

    /// Moves the clipping norm that follows a quantile: to what the counts of a step say, or to a checkpoint's.
    ///
    /// # Errors
    /// A norm that can't be clipped to.
    pub fn set_clip(&mut self, clip: f32) -> Result<(), Failure> {
        (Clipping::Flat { clip }).validate().map_err(|error| {
            Failure::new(format!("the clipping norm cannot become {clip}: {error}"))
        })?;
        self.clip = clip;
        Ok(())
    }

    /// What a checkpoint is to name of the ledger, once that is on the disk.
    pub fn head(&mut self) -> Result<dp_core::ledger::Head, Failure> {
        Ok(self.ledger.durable_head()?)
    }

    /// The batches of this start, `microbatch` rows at once. Their key can be taken once.
    pub fn batches(&mut self, microbatch: usize) -> Result<Batches, Failure> {
        let key = self
            .sampling
            .take()
            .ok_or_else(|| Failure::new("the batches of this start were made already"))?;
        let rate = self.plan.rate();
        let most_records = self.plan.unit().most_records();
        let units = units_at_once(microbatch, most_records.get() as usize);
        Ok(match self.owners.take() {
            None => Batches::private(self.dataset.records, rate, units, key)?,
            Some(owners) => Batches::private_users(owners, most_records, rate, units, key)?,
        })
    }

    /// Charges a step, before anything of it may leave; `None` when the budget has no room for it, as at the
    /// end of a run that crashed: the steps that were reserved then and lost are spent all the same. So is what earlier runs spent
    /// since this one was planned.
    pub fn reserve(&mut self, step: u64) -> Result<Option<Reservation>, Failure> {
        let charge = match self.plan.adaptive_clip() {
            None => self.plan.charge(),
            Some(_) => self.plan.charge_at(self.clip),
        };
        match self.ledger.reserve(step, charge) {
            Ok(reservation) => Ok(Some(reservation)),
            Err(LedgerFileError::OverBudget { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// What draws the noise of a charged step, and what [`Guarantee::commit`] takes afterwards.
    pub fn noise(&self, paid: Reservation) -> Result<(StepNoise<'_>, Receipt), Failure> {
        Ok(self.noise.for_step(paid)?)
    }

    /// Notes that a charged step was used.
    pub fn commit(&mut self, receipt: Receipt) -> Result<(), Failure> {
        Ok(self.ledger.commit(receipt)?)
    }

    /// Upper bound on epsilon spent so far, by this run and those before it.
    pub fn spent(&self) -> Result<f64, Failure> {
        Ok(self.ledger.epsilon(self.plan.target().delta)?.upper)
    }

    /// What is promised, and on what it rests.
    pub fn statement(&self) -> Result<PrivacyStatement, Failure> {
        let (fingerprint, numbers, held_out) = match self.plan.unit() {
            Unit::Record => (
                "the data set's fingerprint, SHA-256 of all training records (below, and in ledger and checkpoint): whoever has all of them but one can \
                 test guesses of that one",
                "the number of records N and of those longer than the context (printed, and in the settings)",
                "the held-out loss, on records that were not drawn for training: the guarantee does not cover these",
            ),
            Unit::User { .. } => (
                "the data set's fingerprints, SHA-256 of all training records and of whose each is (below, and in ledger and checkpoint): whoever has \
                 all of them but one user's can test guesses of that user's",
                "the number of users N, of records, and of those longer than the context (printed, and in the settings)",
                "the held-out loss, on records of users who were not drawn for training (equal texts of other users may have been): the guarantee does \
                 not cover these",
            ),
        };
        let without_noise = [
            fingerprint,
            numbers,
            held_out,
            "exposure and recitation of the planted canaries, which are invented",
            "the time of each step, which grows with the number of records or users drawn",
            "the peak memory of the process, which may grow with the most records or users drawn in a step",
        ];
        let mut statement = PrivacyStatement::new(
            &self.plan,
            &self.ledger,
            Disclosure {
                dataset: self.dataset,
                rng: in_words(GENERATOR),
                without_noise: without_noise.map(String::from).to_vec(),
                groups: self.groups.clone(),
            },
        )?;
        // What the proof of eta takes as given must be seen by whoever relies on the guarantee.
        statement.warnings.push(
            format!(
                "the share for rounding (eta) is proved for {} whose tokens cancel in the gradient no more than tokens \
                 that have nothing to do with each other do; that is a property of the data, taken as given here \
                 (docs/proofs/sensitivity.md)",
                self.plan.unit().plural()
            ),
        );
        Ok(statement)
    }
}
