//! The audit of a trained model: who was in its training data, and what it kept of planted secrets.

use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use dp_audit::{Interval, Roc};
use dp_engine::checkpoint::{Checkpoint, Manifest};
use dp_text::rows::{Encoded, Rows};
use dp_text::tokenizer::Tokenizer;
use serde_json::{Value, json};

use super::args::ModelArgs;
use super::check_confidence;
use super::page::{Curves, Found, number, roc, thinned};
use crate::error::Failure;
use crate::model::{self, Reader};
use crate::output::note;
use crate::report::number::plain;
use crate::report::plot::{Level, bars};
use crate::report::{CanaryResult, RunSummary};
use crate::train::data::{Data, Source};
use crate::train::{SUMMARY, measure};

/// Rows of a pass.
const ROWS: usize = 32;
/// The false positive rate at which the true positive rate is told.
const STRICT: f64 = 0.01;

/// Scores the records that a model was trained on and those that were held out by its loss, and asks it for the planted secrets.
///
/// # Errors
/// A folder without a model, or other records than it was trained on; two models of different records; a device that can't be opened or fails.
pub fn run(args: &ModelArgs) -> Result<(), Failure> {
    check_confidence(args.sink.confidence)?;
    if args.records == 0 {
        return Err(Failure::new(
            "--records is 0: score at least 1 of either kind",
        ));
    }
    let (device, _) = crate::device::open(args.device)?;
    let folders: Vec<&Path> = std::iter::once(args.model.as_path())
        .chain(args.compare.as_deref())
        .collect();
    let stored = folders
        .iter()
        .map(|folder| model::stored(folder))
        .collect::<Result<Vec<_>, _>>()?;
    let is_of_others = |(checkpoint, _): &(Checkpoint, Tokenizer)| {
        checkpoint.manifest().dataset != stored[0].0.manifest().dataset
    };
    if let Some(at) = stored.iter().position(is_of_others) {
        return Err(Failure::new(format!(
            "--compare {:?} was trained on other records than --model {:?}: compare models of one file, --seed and --canaries",
            folders[at], folders[0]
        )));
    }
    let attacked = folders
        .iter()
        .zip(&stored)
        .map(|(folder, (checkpoint, tokenizer))| {
            Attacked::new(folder, checkpoint, tokenizer, args, &device)
        })
        .collect::<Result<Vec<_>, _>>()?;
    report(args, &attacked)?.write(&args.sink)
}

/// What the attacks on one model gave.
struct Attacked {
    name: String,
    /// Upper bound on epsilon and its delta; `None` for a model without privacy.
    claim: Option<(f64, f64)>,
    /// Scores: the negative loss of each record.
    members: Vec<f64>,
    others: Vec<f64>,
    roc: Roc,
    canaries: Vec<CanaryResult>,
    /// Whether the guarantee is for a user with all records.
    is_of_users: bool,
}

impl Attacked {
    fn new(
        folder: &Path,
        checkpoint: &Checkpoint,
        tokenizer: &Tokenizer,
        args: &ModelArgs,
        device: &Device,
    ) -> Result<Self, Failure> {
        let summary = summary(folder)?;
        let (loaded, config) = model::load(checkpoint, device)?;
        let path = match &args.data {
            Some(path) => path.clone(),
            None => trained_on(folder, &summary)?,
        };
        let data = data(&path, checkpoint, tokenizer, config.context)?;
        let reader = Reader {
            model: loaded,
            config,
            tokenizer,
            device: device.clone(),
        };
        note!("scoring the records and canaries of {}", folder.display());
        let is_planted = |record: &usize| data.planted.binary_search(record).is_ok();
        let trained: Vec<usize> = (0..data.train.len()).filter(|at| !is_planted(at)).collect();
        let held_out: Vec<usize> = (0..data.held_out.len()).collect();
        let members = scores(&reader, &data.train, &spread(&trained, args.records))?;
        let others = scores(&reader, &data.held_out, &spread(&held_out, args.records))?;
        let statement = summary.privacy.as_ref().map(|privacy| &privacy.statement);
        Ok(Self {
            name: folder.display().to_string(),
            claim: statement.map(|statement| (statement.upper, statement.delta)),
            roc: Roc::new(&others, &members)?,
            members,
            others,
            canaries: measure::canaries(&reader, &data, data.seed)?,
            is_of_users: checkpoint.manifest().config["user_field"].is_string(),
        })
    }

    fn mean_loss(scores: &[f64]) -> f64 {
        -scores.iter().sum::<f64>() / scores.len() as f64
    }

    fn mean_exposure(&self) -> Option<f64> {
        let sum: f64 = self.canaries.iter().map(|canary| canary.exposure).sum();
        (!self.canaries.is_empty()).then(|| sum / self.canaries.len() as f64)
    }

    fn recited(&self) -> usize {
        self.canaries.iter().filter(|canary| canary.recited).count()
    }

    fn json(&self, confidence: f64) -> Result<Value, Failure> {
        let Interval { lower, upper } = self.roc.area_interval(confidence)?;
        let (rate, interval) = self.roc.true_positive_rate(STRICT, confidence)?;
        let canaries = self.canaries.iter().map(|canary| {
            json!({ "exposure": canary.exposure, "rank": canary.rank, "codes": canary.codes, "recited": canary.recited })
        });
        Ok(json!({
            "model": self.name,
            "epsilon": self.claim.map(|claim| claim.0),
            "delta": self.claim.map(|claim| claim.1),
            "members": self.members.len(),
            "others": self.others.len(),
            "loss_of_members": number(Self::mean_loss(&self.members)),
            "loss_of_others": number(Self::mean_loss(&self.others)),
            "auc": self.roc.area(),
            "auc_lower": lower,
            "auc_upper": upper,
            "tpr_at_1_percent_fpr": rate,
            "tpr_lower": interval.lower,
            "tpr_upper": interval.upper,
            "canaries": canaries.collect::<Vec<_>>(),
        }))
    }
}

/// What training said about itself.
fn summary(folder: &Path) -> Result<RunSummary, Failure> {
    let path = folder.join(SUMMARY);
    let text = fs::read_to_string(&path).map_err(|error| {
        Failure::new(format!(
            "{path:?} cannot be read: {error}; name the folder of a finished run"
        ))
    })?;
    serde_json::from_str(&text)
        .map_err(|error| Failure::new(format!("{path:?} is no summary of a run: {error}")))
}

/// The file that training named, seen from where it ran.
fn trained_on(folder: &Path, summary: &RunSummary) -> Result<PathBuf, Failure> {
    let path = PathBuf::from(&summary.data.source);
    match path.exists() {
        true => Ok(path),
        false => Err(Failure::new(format!(
            "the model in {folder:?} was trained on {path:?}, which does not exist, seen from here: name it by --data"
        ))),
    }
}

/// The records of `path` as they were split, planted and cut for the training of this model.
fn data(
    path: &Path,
    checkpoint: &Checkpoint,
    tokenizer: &Tokenizer,
    context: usize,
) -> Result<Data, Failure> {
    let manifest = checkpoint.manifest();
    let data = Data::read(&source(manifest, path)?, tokenizer, context)?;
    if *data.dataset() != manifest.dataset {
        return Err(Failure::new(format!(
            "{path:?} does not hold the records that this model was trained on: name their file by --data"
        )));
    }
    Ok(data)
}

/// What the training's configuration says of its data.
fn source<'a>(manifest: &'a Manifest, path: &'a Path) -> Result<Source<'a>, Failure> {
    let whole = |name: &str| {
        manifest.config[name]
            .as_u64()
            .ok_or_else(|| Failure::new(format!("the checkpoint's configuration has no {name}")))
    };
    Ok(Source {
        data: path,
        user_field: manifest.config["user_field"].as_str(),
        seed: whole("seed")?,
        canaries: whole("canaries")? as usize,
    })
}

/// At most `most` of the records, evenly spread.
fn spread(records: &[usize], most: usize) -> Vec<usize> {
    let count = records.len().min(most);
    (0..count)
        .map(|i| records[i * records.len() / count])
        .collect()
}

/// The negative loss of each record, nats a token: higher for what the model knows better.
fn scores(reader: &Reader<'_>, encoded: &Encoded, records: &[usize]) -> Result<Vec<f64>, Failure> {
    let mut rows = Rows::new(ROWS, encoded.context());
    let mut scores = Vec::with_capacity(records.len());
    for chunk in records.chunks(ROWS) {
        let records: Vec<Option<usize>> = chunk.iter().copied().map(Some).collect();
        rows.fill(encoded, &records)?;
        let losses = reader.losses(&rows)?;
        scores.extend(losses.iter().take(chunk.len()).map(|loss| -loss));
    }
    Ok(scores)
}

fn report(args: &ModelArgs, attacked: &[Attacked]) -> Result<Found, Failure> {
    let confidence = args.sink.confidence;
    let mut rows = Vec::new();
    let mut row = |name: &str, value: &dyn Fn(&Attacked) -> Result<String, Failure>| {
        let values = attacked.iter().map(value);
        let cells = std::iter::once(Ok(name.to_owned())).chain(values);
        rows.push(cells.collect::<Result<Vec<_>, Failure>>()?);
        Ok::<_, Failure>(())
    };
    row("epsilon", &|one| {
        Ok(one
            .claim
            .map_or("none: not private".into(), |(epsilon, delta)| {
                format!("{epsilon:.4} at delta {delta:e}")
            }))
    })?;
    row("loss of records trained on", &|one| {
        Ok(plain(Attacked::mean_loss(&one.members)))
    })?;
    row("loss of records held out", &|one| {
        Ok(plain(Attacked::mean_loss(&one.others)))
    })?;
    row("area under the ROC curve", &|one| {
        Ok(format!("{:.4}", one.roc.area()))
    })?;
    row("its interval", &|one| {
        let Interval { lower, upper } = one.roc.area_interval(confidence)?;
        Ok(format!("{lower:.4} to {upper:.4}"))
    })?;
    row("true positives at 1% false", &|one| {
        let (rate, Interval { lower, upper }) = one.roc.true_positive_rate(STRICT, confidence)?;
        Ok(format!("{rate:.4}, {lower:.4} to {upper:.4}"))
    })?;
    row("mean exposure", &|one| {
        let bits = one.mean_exposure();
        Ok(bits.map_or("no canaries".into(), |bits| format!("{bits:.2} bits")))
    })?;
    row("canaries recited", &|one| {
        Ok(format!("{} of {}", one.recited(), one.canaries.len()))
    })?;

    let mut heads = vec![String::new()];
    heads.extend(attacked.iter().map(|one| one.name.clone()));
    let areas: Vec<String> = attacked
        .iter()
        .map(|one| format!("{:.3} for {}", one.roc.area(), one.name))
        .collect();
    let models = attacked.iter().map(|one| one.json(confidence));
    let planted = (!attacked[0].canaries.is_empty()).then(|| {
        let guarantee = if attacked[0].is_of_users {
            "each planted patient is one user, whom the guarantee is for"
        } else {
            "the guarantee for the planted patient is weaker than that for one record"
        };
        format!(
            "Exposure is the rank of a planted code among random ones, in bits (Carlini et al. 2019, arXiv 1802.08232). Each was planted in 16 records: {guarantee}."
        )
    });
    Ok(Found {
        audit: "model",
        title: "What a model tells of its training data",
        verdict: format!("Membership inference by the loss has an area of {}.", areas.join(", of ")),
        heads,
        rows,
        notes: [
            Some(format!(
                "The attack calls a record trained on where the model's loss on it is low (Yeom et al. 2018, arXiv 1709.01604). {} records trained on, \
                 planted ones left out, against {} held out; confidence {confidence}. Knowing nothing has an area of 0.5.",
                attacked[0].members.len(),
                attacked[0].others.len()
            )),
            Some("The interval is Newcombe's (2006), that of the true positive rate is Clopper-Pearson's. Records of one model are not independent, so neither \
             is a lower bound on epsilon."
                .into()),
            planted,
            Some("A stronger attack may exist: with shadow models, or on the weights.".into()),
        ]
        .into_iter()
        .flatten()
        .collect(),
        figures: figures(attacked)?,
        json: json!({
            "confidence": confidence,
            "models": models.collect::<Result<Vec<_>, _>>()?,
        }),
    })
}

fn figures(attacked: &[Attacked]) -> Result<Vec<(Option<String>, String, String)>, Failure> {
    let points = |at: usize| attacked.get(at).map(|one| thinned(one.roc.points()));
    let (audited, other) = (points(0).unwrap_or_default(), points(1).unwrap_or_default());
    let curves = Curves {
        audited: &audited,
        other: &other,
        allowed: &[],
    };
    let escaped = |at: usize| crate::report::html::escape(&attacked[at].name);
    let mut legend = format!("<span class=\"key private\"></span> {}", escaped(0));
    if attacked.len() > 1 {
        legend += &format!(" <span class=\"key non-private\"></span> {}", escaped(1));
    }
    let mut figures = vec![(
        roc(&curves)?,
        "Membership inference".into(),
        format!("{legend}. The straight line knows nothing."),
    )];
    let Some(codes) = attacked[0].canaries.first().map(|canary| canary.codes) else {
        return Ok(figures);
    };
    let exposure = |of: Option<&Attacked>, at: usize| {
        let canary = of.and_then(|one| one.canaries.get(at));
        canary.map_or(f64::NAN, |canary| canary.exposure)
    };
    let groups: Vec<(f64, f64)> = (0..attacked[0].canaries.len())
        .map(|at| {
            (
                exposure(attacked.get(1), at),
                exposure(attacked.first(), at),
            )
        })
        .collect();
    let level = Level {
        value: dp_audit::mean_exposure_of_ignorance(codes as usize),
        label: String::new(),
    };
    let most = (codes as f64).log2();
    figures.push((
        bars(&groups, &level, most, "planted patient", "exposure, bits")?,
        "Exposure of the planted secrets".into(),
        format!("{legend}. Dashed: the mean of a model that knows nothing."),
    ));
    Ok(figures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_spread_evenly() {
        let all: Vec<usize> = (0..10).map(|i| 3 * i).collect();
        assert_eq!(spread(&all, 100), all);
        assert_eq!(spread(&all, 5), [0, 6, 12, 18, 24]);
        assert_eq!(spread(&all, 1), [0]);
        assert!(spread(&[], 4).is_empty());
    }
}
