//! The loop: draw, clip and sum, charge, noise, step, commit.

#[cfg(all(test, feature = "cpu"))]
mod tests;

use std::time::Instant;

use burn::module::Module;
use burn::tensor::Device;
use dp_burn::{ModelConfig, PrivateGradients, Transformer};
use dp_core::ledger::Unit;
use dp_engine::batches::Batches;
use dp_engine::checkpoint::CheckpointMeta;
use dp_kernels::LayerPlan;
use dp_text::tokenizer::Tokenizer;
use serde_json::Value;

use super::checkpoint::{self, Measured, Saved};
use super::data::Data;
use super::norms::Norms;
use super::optimizer::Optimizer;
use super::private::{GENERATOR, Guarantee};
use super::work::{Work, seeded, sums_of};
use super::{measure, settings};
use crate::args::TrainArgs;
use crate::error::Failure;
use crate::interrupt::Interrupt;
use crate::memory;
use crate::model::Reader;
use crate::output::note;
use crate::progress::Progress;
use crate::report::{ClipPoint, EpsilonPoint, LossPoint, PrivacySummary, RunSummary, Setting};

/// Held-out losses along the way, the last not counted.
const LOSS_POINTS: u64 = 20;
/// Held-out records measured along the way; the last measure takes all.
const SOME_HELD_OUT: usize = 256;
/// A training run.
pub struct Run<'a> {
    args: &'a TrainArgs,
    config: Value,
    data: &'a Data,
    tokenizer: &'a Tokenizer,
    sizes: ModelConfig,
    graph: Device,
    /// `None` only while the optimizer has it.
    model: Option<Transformer>,
    optimizer: Optimizer,
    batches: Batches,
    guarantee: Option<Guarantee>,
    /// Of a private run, made at its first step and used again at each.
    sums: Option<PrivateGradients>,
    norms: Norms,
    done: u64,
    measured: Measured,
}

impl<'a> Run<'a> {
    /// A run at its start.
    #[allow(clippy::too_many_arguments)]
    pub fn new(
        args: &'a TrainArgs,
        config: Value,
        data: &'a Data,
        tokenizer: &'a Tokenizer,
        sizes: ModelConfig,
        model: Transformer,
        graph: Device,
        mut guarantee: Option<Guarantee>,
        norms: Norms,
    ) -> Result<Self, Failure> {
        let settings = &args.settings;
        let batches = match &mut guarantee {
            Some(guarantee) => guarantee.batches(settings.microbatch)?,
            None => seeded(data, settings)?,
        };
        let measured = Measured {
            clip: guarantee.as_ref().and_then(moving_clip),
            ..Measured::default()
        };
        Ok(Self {
            args,
            config,
            data,
            tokenizer,
            sizes,
            graph,
            model: Some(model),
            optimizer: Optimizer::new(guarantee.is_some()),
            batches,
            guarantee,
            sums: None,
            norms,
            done: 0,
            measured,
        })
    }

    /// Takes up an interrupted run.
    pub fn restore(&mut self, saved: Saved) -> Result<(), Failure> {
        let model = saved.model(&self.graph)?;
        let fresh = Optimizer::new(self.guarantee.is_some());
        self.optimizer = saved.optimizer(fresh, &model)?;
        self.model = Some(model);
        self.measured = saved.measured()?;
        if let Some(guarantee) = &mut self.guarantee
            && guarantee.plan().adaptive_clip().is_some()
        {
            let clip = self.measured.clip.ok_or_else(|| {
                Failure::new("the checkpoint has no clipping norm to go on with; start again with another --out")
            })?;
            guarantee.set_clip(clip as f32)?;
        }
        self.done = saved.step();
        Ok(())
    }

    /// Writes the first checkpoint of a run that spends: killed before its next one, it would have a ledger and no way to go on with it.
    ///
    /// # Errors
    /// As [`steps`](Self::steps), of its checkpoints.
    pub fn begin(&mut self) -> Result<(), Failure> {
        if self.guarantee.is_some() {
            self.save()?;
        }
        Ok(())
    }

    /// Trains to the last step.
    ///
    /// # Errors
    /// Ctrl-C ends with a checkpoint and the way to go on. A budget that is spent ends the run before the step,
    /// which is no error: what was lost in a crash is spent too.
    pub fn steps(&mut self, interrupt: &Interrupt) -> Result<(), Failure> {
        let steps = self.args.settings.steps;
        let name = if self.guarantee.is_some() {
            "private"
        } else {
            "non-private"
        };
        let mut progress = Progress::new(name, steps, self.done);
        while self.done < steps {
            let started = Instant::now();
            if !self.step()? {
                progress.note(&format!(
                    "dpcube: warning: the budget is spent after {} of {steps} steps, counting steps that an earlier \
                     start reserved and lost, and what the runs before this one spent since it was planned; training ends here",
                    self.done
                ));
                self.measure(true)?;
                self.save()?;
                break;
            }
            self.graph.sync().map_err(|error| {
                Failure::new(format!(
                    "the device failed at step {}: {error:?}",
                    self.done
                ))
            })?;
            self.measured.seconds.push(started.elapsed().as_secs_f64());
            self.done += 1;

            if self.is_measured() {
                self.measure(self.done == steps)?;
            }
            let spent = self.measured.epsilons.last().map(|point| point.epsilon);
            progress.step(self.done, self.places_per_step(), spent, self.measured.clip);
            let stop = interrupt.requested() && self.done < steps;
            if stop || self.done.is_multiple_of(self.args.checkpoint_every) || self.done == steps {
                self.save()?;
            }
            if stop {
                progress.finish();
                return Err(Failure::interrupted(format!(
                    "stopped after step {}; the same command with --resume goes on",
                    self.done
                )));
            }
        }
        progress.finish();
        // Not what the sums say: they know it of batches that weren't empty only, and whether there was one is private.
        for plan in self.plans() {
            note!("norm of a Linear with {plan}");
        }
        Ok(())
    }

    /// How a private run takes the norms of its Linears, each different way once: the same whatever was drawn.
    fn plans(&self) -> Vec<LayerPlan> {
        if self.guarantee.is_none() {
            return Vec::new();
        }
        let (units, rows) = (self.batches.microbatch_size(), self.batches.rows_of_unit());
        self.norms.plans(&self.sizes, units, rows)
    }

    /// One logical step; `false`, with nothing done, where the budget has no room for it.
    fn step(&mut self) -> Result<bool, Failure> {
        let step = self.done;
        let rate = settings::learning_rate(self.args.settings.lr, step, self.args.settings.steps);
        let model = self
            .model
            .take()
            .ok_or_else(|| Failure::new("the model was lost in a failed step"))?;
        let work = Work {
            data: self.data,
            context: self.sizes.context,
            graph: &self.graph,
            batch: self.args.settings.batch,
            rows_of_unit: self.batches.rows_of_unit(),
        };
        let batch = self.batches.draw(step);
        let model = match (&mut self.guarantee, &mut self.optimizer) {
            (Some(guarantee), Optimizer::Private(optimizer)) => {
                let sums = match &mut self.sums {
                    Some(sums) => sums,
                    none => none.insert(sums_of(&model, guarantee, self.norms, work.rows_of_unit)?),
                };
                work.add_clipped(&model, batch, sums)?;
                let Some(paid) = guarantee.reserve(step)? else {
                    self.model = Some(model);
                    return Ok(false);
                };
                let (noise, receipt) = guarantee.noise(paid)?;
                let divisor = guarantee.plan().divisor();
                let model = optimizer.step(rate, model, sums, divisor, noise, GENERATOR)?;
                guarantee.commit(receipt)?;
                if guarantee.plan().adaptive_clip().is_some() {
                    guarantee.set_clip(sums.next_clip()?)?;
                    self.measured.clip = moving_clip(guarantee);
                }
                model
            }
            (None, Optimizer::Ordinary(optimizer)) => match work.ordinary(&model, batch)? {
                Some(gradients) => optimizer.step(rate, model, gradients),
                // No record was drawn: there is nothing to learn from.
                None => model,
            },
            _ => {
                return Err(Failure::new(
                    "the optimizer is not the one of this kind of run",
                ));
            }
        };
        self.model = Some(model);
        Ok(true)
    }

    /// Places computed a step: expected batch times the rows of a unit times context. The valid tokens drawn are private.
    fn places_per_step(&self) -> u64 {
        let rows = self.args.settings.batch * self.batches.rows_of_unit() as u64;
        rows * self.sizes.context as u64
    }

    /// Whether loss and epsilon are taken after this step: they cost more than a step.
    fn is_measured(&self) -> bool {
        let steps = self.args.settings.steps;
        let every = steps.div_ceil(LOSS_POINTS).max(1);
        self.done == 1 || self.done == steps || self.done.is_multiple_of(every)
    }

    /// Measures after this step: held-out records by a part of them, and by all where it `is_last`, which takes the place of what was measured of it before.
    fn measure(&mut self, is_last: bool) -> Result<(), Failure> {
        let step = self.done;
        self.measured.epsilons.retain(|point| point.step != step);
        self.measured.clips.retain(|point| point.step != step);
        self.measured.losses.retain(|point| point.step != step);
        if let Some(guarantee) = &self.guarantee {
            let epsilon = guarantee.spent()?;
            self.measured.epsilons.push(EpsilonPoint { step, epsilon });
        }
        if let Some(clip) = self.measured.clip {
            self.measured.clips.push(ClipPoint { step, clip });
        }
        let most = if is_last { usize::MAX } else { SOME_HELD_OUT };
        let loss = measure::held_out_loss(&self.reader()?, self.data, most)?;
        self.measured.losses.push(LossPoint { step, loss });
        Ok(())
    }

    fn reader(&self) -> Result<Reader<'a>, Failure> {
        let model = self
            .model
            .as_ref()
            .ok_or_else(|| Failure::new("the model was lost in a failed step"))?;
        Ok(Reader {
            model: model.valid(),
            config: self.sizes.clone(),
            tokenizer: self.tokenizer,
            device: self.graph.clone().inner(),
        })
    }

    fn save(&mut self) -> Result<(), Failure> {
        let head = match &mut self.guarantee {
            Some(guarantee) => Some(guarantee.head()?),
            None => None,
        };
        let meta = CheckpointMeta {
            step: self.done,
            config: self.config.clone(),
            dataset: *self.data.dataset(),
            ledger: head,
            extra: serde_json::to_value(&self.measured)?,
        };
        let model = self
            .model
            .as_ref()
            .ok_or_else(|| Failure::new("the model was lost in a failed step"))?;
        checkpoint::save(self.args, &meta, model, &self.optimizer)
    }

    /// Measures the finished model.
    pub fn finish(self) -> Result<RunSummary, Failure> {
        let canaries = measure::canaries(&self.reader()?, self.data, self.args.settings.seed)?;
        let mut seconds = self.measured.seconds.clone();
        seconds.sort_by(f64::total_cmp);
        let median = seconds.get(seconds.len() / 2).copied().unwrap_or(f64::NAN);
        let privacy = match &self.guarantee {
            Some(guarantee) => Some(PrivacySummary {
                statement: guarantee.statement()?,
                epsilon_curve: self.measured.epsilons.clone(),
                clip_curve: self.measured.clips.clone(),
            }),
            None => None,
        };
        let total: f64 = seconds.iter().sum();
        Ok(RunSummary {
            settings: self.settings(),
            data: self.data.summary.clone(),
            parameters: self.sizes.parameters() as u64,
            steps: self.done,
            held_out_loss: self
                .measured
                .losses
                .last()
                .map_or(f64::NAN, |point| point.loss),
            held_out_curve: self.measured.losses.clone(),
            tokens_per_s: (self.places_per_step() * seconds.len() as u64) as f64 / total,
            step_seconds: median,
            peak_memory_bytes: memory::peak_bytes(),
            canaries,
            privacy,
        })
    }

    fn settings(&self) -> Vec<Setting> {
        let settings = &self.args.settings;
        let named = |name: &str, value: String| Setting {
            name: name.into(),
            value,
        };
        let unit = self.data.unit();
        let batch = match unit {
            Unit::Record => format!("{} records expected", settings.batch),
            Unit::User { most_records, .. } => format!(
                "{} users expected, of each at most {most_records} records",
                settings.batch
            ),
        };
        let mut list = vec![
            named(
                "model",
                format!(
                    "{:?}, {} parameters",
                    settings.model,
                    self.sizes.parameters()
                )
                .to_lowercase(),
            ),
            named("tokenizer", self.tokenizer.fingerprint()),
            named("device", format!("{:?}", settings.device).to_lowercase()),
            named("steps", settings.steps.to_string()),
            named("batch", batch),
            named(
                "microbatch",
                format!(
                    "{} rows of {} tokens",
                    settings.microbatch, self.sizes.context
                ),
            ),
            named(
                "optimizer",
                format!("AdamW, peak learning rate {}", settings.lr),
            ),
            named("seed", settings.seed.to_string()),
        ];
        if let Some(quantile) = self.args.clip_quantile {
            let following = format!("from {}, following quantile {quantile}", settings.clip);
            list.push(named("clipping norm", following));
        }
        list
    }
}

/// The clipping norm of a guarantee's next step, where it follows a quantile.
fn moving_clip(guarantee: &Guarantee) -> Option<f64> {
    let moves = guarantee.plan().adaptive_clip().is_some();
    moves.then(|| guarantee.clip().into())
}
