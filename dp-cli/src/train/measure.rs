//! What is measured of a model: held-out loss, and what it kept of the canaries.

use dp_text::canary::exposure;
use dp_text::rows::Rows;

use super::data::Data;
use crate::error::Failure;
use crate::model::{Reader, likeliest};
use crate::report::CanaryResult;

/// Random codes that a canary's own is ranked among: ten bits of exposure.
const RANDOM_CODES: usize = 1023;
/// Tokens of a greedy completion: a space, six digits, and one more to see that they end.
const CODE_TOKENS: usize = 8;
/// Rows of a pass.
const ROWS: usize = 32;

/// The mean loss of the first `most` held-out records, nats per token.
pub fn held_out_loss(reader: &Reader<'_>, data: &Data, most: usize) -> Result<f64, Failure> {
    let count = data.held_out.len().min(most);
    let mut rows = Rows::new(ROWS, data.held_out.context());
    let mut total = 0.0;
    let records: Vec<Option<usize>> = (0..count).map(Some).collect();
    for chunk in records.chunks(ROWS) {
        rows.fill(&data.held_out, chunk)?;
        total += reader.loss(&rows, chunk.len())? * chunk.len() as f64;
    }
    Ok(total / count as f64)
}

/// Exposure and recitation of every canary.
pub fn canaries(reader: &Reader<'_>, data: &Data, seed: u64) -> Result<Vec<CanaryResult>, Failure> {
    let prompts: Vec<&str> = data
        .canaries
        .iter()
        .map(|canary| canary.prefix.as_str())
        .collect();
    let completions = match prompts.is_empty() {
        true => Vec::new(),
        false => reader.complete(&prompts, CODE_TOKENS, likeliest)?,
    };
    let results = data
        .canaries
        .iter()
        .zip(completions)
        .map(|(canary, completion)| {
            // Of a model that diverged no likelihood is a number: it knows none of the codes.
            let known = |score: f64| {
                if score.is_nan() {
                    f64::NEG_INFINITY
                } else {
                    score
                }
            };
            let scored = exposure(canary, RANDOM_CODES, seed, |candidates| {
                let scores = reader.score(candidates).map_err(Unscored)?;
                Ok(scores.into_iter().map(known).collect())
            });
            let found = match scored {
                Ok(found) => found,
                Err(dp_text::canary::ExposureError::Scorer(Unscored(failure))) => {
                    return Err(failure);
                }
                Err(other) => return Err(Failure::new(other.to_string())),
            };
            Ok(CanaryResult {
                prompt: canary.prefix.clone(),
                exposure: found.exposure,
                rank: found.rank,
                codes: found.codes as u64,
                recited: canary.recited_by(&completion),
                completion,
            })
        });
    results.collect()
}

/// A failure inside the scorer, in the form that the exposure's error wants.
#[derive(Debug)]
struct Unscored(Failure);

impl std::fmt::Display for Unscored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the model could not score the candidates")
    }
}

impl std::error::Error for Unscored {}
