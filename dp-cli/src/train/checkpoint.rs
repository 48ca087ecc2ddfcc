//! Saving a run and taking it up again.

use std::fs;
use std::path::Path;

use dp_burn::{Transformer, export};
use dp_core::ledger::Head;
use dp_engine::checkpoint::{self, Checkpoint, CheckpointMeta, Dataset, Part, Tensor};
use dp_engine::ledger::PriorLedger;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::claim::{Claim, is_lock};
use super::optimizer::Optimizer;
use super::settings::AFTER;
use super::{CHECKPOINT, LEDGER};
use crate::args::TrainArgs;
use crate::error::Failure;
use crate::report::{ClipPoint, EpsilonPoint, LossPoint};

/// Part of the checkpoint with the model's parameters.
const MODEL: &str = "model";
/// Part with the optimizer's state.
const OPTIMIZER: &str = "optimizer";

/// What was measured so far; it goes along with the checkpoint.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Measured {
    /// Held-out losses.
    pub losses: Vec<LossPoint>,
    /// Epsilon spent.
    pub epsilons: Vec<EpsilonPoint>,
    /// Time of each step, seconds.
    pub seconds: Vec<f64>,
    /// The clipping norm to go on with, an f32, where it follows a quantile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip: Option<f64>,
    /// Clipping norms that follow a quantile.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clips: Vec<ClipPoint>,
}

/// A run that was interrupted.
pub struct Saved {
    checkpoint: Checkpoint,
}

impl Saved {
    /// The run in --out that --resume asks for, or `None` for a new run.
    ///
    /// # Errors
    /// Nothing to resume, or a run with other records: what is said of these first, since another number of records changes the
    /// noise multiplier too.
    pub fn find(args: &TrainArgs, dataset: &Dataset) -> Result<Option<Self>, Failure> {
        if !args.resume {
            return Ok(None);
        }
        let place = args.out.join(CHECKPOINT);
        if !checkpoint::exists(&place) && args.out.join(LEDGER).exists() {
            return Err(Failure::new(format!(
                "--out {:?} has a ledger and no checkpoint to go on from: what it says is spent. Begin anew in another folder, and name this one by --after",
                args.out
            )));
        }
        let checkpoint = Checkpoint::load(&place)?;
        let manifest = checkpoint.manifest();
        manifest.check_same_run(&manifest.config, dataset)?;
        Ok(Some(Self { checkpoint }))
    }

    /// Checks that the run goes on with its settings.
    ///
    /// # Errors
    /// Every setting that changed.
    pub fn check(&self, config: &Value, dataset: &Dataset) -> Result<(), Failure> {
        Ok(self.checkpoint.manifest().check_same_run(config, dataset)?)
    }

    /// The ledgers that the run was planned after.
    pub fn planned_after(&self) -> Result<Vec<PriorLedger>, Failure> {
        planned_after(&self.checkpoint)
    }

    /// Steps done.
    pub fn step(&self) -> u64 {
        self.checkpoint.manifest().step
    }

    /// The ledger's head when the checkpoint was written.
    pub fn ledger_head(&self) -> Option<Head> {
        self.checkpoint.manifest().ledger_head()
    }

    /// What was measured so far.
    pub fn measured(&self) -> Result<Measured, Failure> {
        Ok(serde_json::from_value(
            self.checkpoint.manifest().extra.clone(),
        )?)
    }

    /// The model, on the device of `graph`.
    pub fn model(&self, graph: &burn::tensor::Device) -> Result<Transformer, Failure> {
        Ok(crate::model::load(&self.checkpoint, graph)?.0)
    }

    /// The optimizer with its state back; `model` is the saved one.
    pub fn optimizer(&self, fresh: Optimizer, model: &Transformer) -> Result<Optimizer, Failure> {
        fresh.load(model, self.step(), self.checkpoint.tensors(OPTIMIZER)?)
    }
}

/// The ledgers that the run in `folder` was planned after, where one is there.
///
/// # Errors
/// A checkpoint that cannot be read.
pub fn planned_after_of(folder: &Path) -> Result<Vec<PriorLedger>, Failure> {
    let place = folder.join(CHECKPOINT);
    if !checkpoint::exists(&place) {
        return Ok(Vec::new());
    }
    planned_after(&Checkpoint::load(&place)?)
}

fn planned_after(checkpoint: &Checkpoint) -> Result<Vec<PriorLedger>, Failure> {
    let recorded = checkpoint.manifest().config.get(AFTER);
    recorded.map_or(Ok(Vec::new()), |list| {
        Ok(serde_json::from_value(list.clone())?)
    })
}

/// Makes --out for a new run, or sees that it is empty, and claims it.
///
/// # Errors
/// An --out that holds another run or anything else, or that another run has just begun to write into.
pub fn new_folder(args: &TrainArgs) -> Result<Claim, Failure> {
    let out = &args.out;
    let refuse = |what: &str| Failure::new(format!("--out {out:?} {what}"));
    // Once before the claim, which writes a file, and once behind it: who else was here meanwhile has left something.
    let see = || match fs::read_dir(out) {
        Ok(entries) => {
            let mut others =
                entries.filter(|entry| !matches!(entry, Ok(entry) if is_lock(&entry.file_name())));
            match others.next() {
                None => Ok(()),
                Some(_) if checkpoint::exists(&out.join(CHECKPOINT)) => Err(refuse(
                    "holds another run: go on with it by --resume, or choose another folder",
                )),
                Some(_) if out.join(LEDGER).exists() => Err(refuse(
                    "holds the ledger of a run that left no checkpoint: what it says is spent. Choose another folder, and name this one by --after",
                )),
                Some(_) => Err(refuse("is not empty: choose a new or empty folder")),
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => fs::create_dir_all(out)
            .map_err(|error| refuse(&format!("cannot be made: {error}; choose another folder"))),
        Err(error) => Err(refuse(&format!(
            "cannot be used: {error}; choose another folder"
        ))),
    };
    see()?;
    let claim = Claim::of(out)?;
    see()?;
    Ok(claim)
}

/// Writes the checkpoint of `step` done steps.
///
/// # Errors
/// A disk that is full or refuses; the former checkpoint is still there then.
pub fn save(
    args: &TrainArgs,
    meta: &CheckpointMeta,
    model: &Transformer,
    optimizer: &Optimizer,
) -> Result<(), Failure> {
    let parameters: Vec<_> = export(model)?
        .into_iter()
        .map(|tensor| Tensor::from_f32(tensor.name, tensor.shape, &tensor.values))
        .collect();
    let state = optimizer.save(model)?;
    let parts = [
        Part {
            name: MODEL,
            tensors: &parameters,
        },
        Part {
            name: OPTIMIZER,
            tensors: &state,
        },
    ];
    Ok(checkpoint::save(&args.out.join(CHECKPOINT), meta, &parts)?)
}
