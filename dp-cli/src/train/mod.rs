//! `dpcube train`: a training run, private unless told otherwise, from a file of records to a model.

mod checkpoint;
mod claim;
pub(crate) mod data;
pub(crate) mod measure;
mod norms;
mod optimizer;
mod private;
mod run;
mod settings;
mod work;

#[cfg(all(test, feature = "cpu"))]
mod tests;

use std::path::Path;

use burn::tensor::Device;
use dp_burn::Transformer;

use crate::args::TrainArgs;
use crate::device;
use crate::error::Failure;
use crate::files;
use crate::interrupt::Interrupt;
use crate::model;
use crate::output::{note, say};
use crate::report::RunSummary;

use checkpoint::Saved;
use claim::Claim;
use data::Data;
use norms::Norms;
use private::Guarantee;
use run::Run;

/// Folder of the checkpoint inside --out.
pub const CHECKPOINT: &str = "checkpoint";
/// Copy of a tokenizer.json inside --out; absent where tokens are bytes.
pub const TOKENIZER: &str = "tokenizer.json";
/// The summary inside --out, which the report is made from.
pub const SUMMARY: &str = "train.json";
/// The privacy ledger inside --out.
pub const LEDGER: &str = "ledger.bin";

/// What [`run`](fn@run) refuses before it reads a record.
///
/// # Errors
/// One line that names the value and what to do.
pub fn check(args: &TrainArgs) -> Result<(), Failure> {
    settings::check(args)
}

/// Trains.
///
/// # Errors
/// Everything that is wrong with the arguments is found before anything is written. Ctrl-C finishes the
/// step, writes a checkpoint, and ends with the way to go on.
pub fn run(args: &TrainArgs) -> Result<(), Failure> {
    settings::check(args)?;
    let memory_to_keep = norms::memory_to_keep(&args.settings)?;
    let (tokenizer, json) =
        model::tokenizer(args.settings.tokenizer.as_deref(), args.settings.model)?;
    let sizes = model::config(args.settings.model, &tokenizer);
    let data = Data::prepare(args, &tokenizer, sizes.context)?;
    let (device, backend) = device::open(args.settings.device)?;
    let saved = Saved::find(args, data.dataset())?;
    let prior = private::prior(args, &data, saved.as_ref())?;
    let plan = private::plan(args, &data, prior, &sizes, &backend.tuning)?;

    let config = settings::config(args, data.unit(), &sizes, &tokenizer, plan.as_ref());
    let _claim = match &saved {
        Some(saved) => {
            saved.check(&config, data.dataset())?;
            Claim::of(&args.out)?
        }
        None => checkpoint::new_folder(args)?,
    };
    let guarantee = plan
        .map(|plan| Guarantee::open(plan, args, &config, &data, saved.as_ref()))
        .transpose()?;
    if let (None, Some(json)) = (&saved, json) {
        write(&args.out, TOKENIZER, &json)?;
    }
    for line in data.notes() {
        note!("{line}");
    }

    let norms = Norms::new(
        args.settings.norms,
        memory_to_keep,
        guarantee.is_some(),
        &backend,
    )?;
    let graph: Device = device.clone().autodiff();
    let model = Transformer::new(&sizes, args.settings.seed, &graph);
    let mut run = Run::new(
        args, config, &data, &tokenizer, sizes, model, graph, guarantee, norms,
    )?;
    match saved {
        Some(saved) => run.restore(saved)?,
        None => run.begin()?,
    }
    let interrupt = Interrupt::install("finishing the step, then writing a checkpoint")?;
    run.steps(&interrupt)?;
    let summary = run.finish()?;
    write(
        &args.out,
        SUMMARY,
        (serde_json::to_string_pretty(&summary)? + "\n").as_bytes(),
    )?;
    say!("{}", conclusion(&args.out, &summary))?;
    Ok(())
}

/// Writes a file into --out, whole or not at all.
fn write(out: &Path, name: &str, bytes: &[u8]) -> Result<(), Failure> {
    let path = out.join(name);
    files::write_atomically(&path, bytes).map_err(|error| {
        Failure::new(format!(
            "{path:?} cannot be written: {error}; make room, or choose another --out"
        ))
    })
}

/// What the run came to, for a person.
fn conclusion(out: &Path, summary: &RunSummary) -> String {
    let held_out = match summary.data.users {
        None => "records that were not drawn for training",
        Some(_) => {
            "records of users who were not drawn for training; equal texts of other users may have been"
        }
    };
    let mut text = format!(
        "{} steps, held-out loss {:.3} nats per token (without noise, on {held_out})\n",
        summary.steps, summary.held_out_loss
    );
    match &summary.privacy {
        Some(privacy) => {
            text += &privacy.statement.to_string();
            if let Some(last) = privacy.clip_curve.last() {
                text += &format!("\nThe clipping norm ended at {}.", last.clip);
            }
        }
        None => text += "Trained without privacy: nothing is promised about any record.",
    }
    if !summary.canaries.is_empty() {
        text += &format!(
            "\n{} of {} canaries recited",
            summary.recited(),
            summary.canaries.len()
        );
    }
    text + &format!(
        "\nThe model is in {}; try dpcube generate --model {} --prompt \"...\"",
        out.display(),
        out.display()
    )
}
