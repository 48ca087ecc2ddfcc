//! A model with its tokenizer: what training makes and `generate` loads.

use std::path::Path;

use burn::tensor::Device;
use dp_burn::{Batch, ModelConfig, NamedTensor, Tape, Transformer, import};
use dp_engine::checkpoint::{Checkpoint, Tensor};
use dp_text::canary::Completion;
use dp_text::rows::Rows;
use dp_text::tokenizer::Tokenizer;
use serde_json::Value;

use crate::args::Model;
use crate::error::Failure;
use crate::train::{CHECKPOINT, TOKENIZER};

/// The tokenizer that ships with the program, trained on the shipped public corpus alone.
const SHIPPED_TOKENIZER: &[u8] = include_bytes!("../../corpus/tokenizer-4096.json");
/// Name of the shipped tokenizer on the command line.
const SHIPPED_NAME: &str = "wordnet-4096";
/// Name of the tokenizer of plain bytes.
const BYTES_NAME: &str = "bytes";
/// The vocabulary is rounded up to a multiple of this, which matrix products tile well: the head takes
/// 0.9 ms with 320 columns and 4.1 ms with 272 (2048 x 128, 2 cores).
const VOCABULARY_MULTIPLE: usize = 64;
/// Rows of a pass that measures.
const MEASURING_ROWS: usize = 32;

/// The tokenizer that a person named, or the model's own, and the tokenizer.json to keep beside the
/// model; `None` where tokens are bytes.
///
/// # Errors
/// A file that cannot be read or is no tokenizer.
pub fn tokenizer(
    named: Option<&Path>,
    model: Model,
) -> Result<(Tokenizer, Option<Vec<u8>>), Failure> {
    let default = match model {
        Model::Tiny => BYTES_NAME,
        Model::Small => SHIPPED_NAME,
    };
    let name = named.unwrap_or(Path::new(default));
    if name == Path::new(BYTES_NAME) {
        return Ok((Tokenizer::Bytes, None));
    }
    if name == Path::new(SHIPPED_NAME) {
        return Ok((
            Tokenizer::from_json(SHIPPED_TOKENIZER)?,
            Some(SHIPPED_TOKENIZER.to_vec()),
        ));
    }
    let tokenizer = Tokenizer::from_file(name)?;
    let json = std::fs::read(name).map_err(|error| {
        Failure::new(format!("tokenizer file {name:?} cannot be read: {error}"))
    })?;
    Ok((tokenizer, Some(json)))
}

/// Sizes of the model of a name, for a tokenizer.
pub fn config(model: Model, tokenizer: &Tokenizer) -> ModelConfig {
    let vocabulary = tokenizer.vocabulary().next_multiple_of(VOCABULARY_MULTIPLE);
    match model {
        Model::Tiny => ModelConfig::tiny(vocabulary),
        Model::Small => ModelConfig::small(vocabulary),
    }
}

/// A model on a plain device, to measure and generate with.
pub struct Reader<'a> {
    /// The model, without a graph.
    pub model: Transformer,
    /// Its sizes.
    pub config: ModelConfig,
    /// Its tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// Its device, without a graph.
    pub device: Device,
}

impl Reader<'_> {
    /// The mean over `rows` records of each one's mean loss over its tokens, nats.
    pub fn loss(&self, rows: &Rows, records: usize) -> Result<f64, Failure> {
        let losses = self.losses(rows)?;
        Ok(losses.iter().take(records).sum::<f64>() / records.max(1) as f64)
    }

    /// The log-likelihood of each completion given its prefix.
    pub fn score(&self, completions: &[Completion]) -> Result<Vec<f64>, Failure> {
        let mut scores = Vec::with_capacity(completions.len());
        let mut rows = Rows::new(MEASURING_ROWS, self.config.context);
        for chunk in completions.chunks(MEASURING_ROWS) {
            rows.fill_completions(self.tokenizer, chunk)?;
            let losses = self.losses(&rows)?;
            scores.extend(losses.into_iter().take(chunk.len()).map(|loss| -loss));
        }
        Ok(scores)
    }

    /// Continues each prompt by at most `most` tokens; `choose` picks a token from the logits of a row.
    /// Ends a row at the end of the record or of the context.
    pub fn complete(
        &self,
        prompts: &[&str],
        most: usize,
        mut choose: impl FnMut(&[f32]) -> usize,
    ) -> Result<Vec<String>, Failure> {
        let specials = self.tokenizer.specials();
        let (context, vocabulary) = (self.config.context, self.tokenizer.vocabulary());
        let mut rows = Vec::with_capacity(prompts.len());
        for prompt in prompts {
            let mut ids = vec![specials.bos as i32];
            ids.extend(self.tokenizer.encode(prompt)?.iter().map(|&id| id as i32));
            if ids.len() > context {
                return Err(Failure::new(format!(
                    "the prompt has {} tokens; the model's context holds {}: shorten the prompt",
                    ids.len() - 1,
                    context - 1
                )));
            }
            rows.push((ids.len(), ids, false));
        }
        for _ in 0..most {
            if rows
                .iter()
                .all(|(_, ids, ended)| *ended || ids.len() >= context)
            {
                break;
            }
            let mut inputs = vec![specials.pad as i32; rows.len() * context];
            for (place, (_, ids, _)) in inputs.chunks_mut(context).zip(&rows) {
                place[..ids.len()].copy_from_slice(ids);
            }
            let logits = self.logits(inputs, rows.len())?;
            for ((_, ids, ended), row) in rows
                .iter_mut()
                .zip(logits.chunks(context * self.config.vocabulary))
            {
                if *ended || ids.len() >= context {
                    continue;
                }
                let last = (ids.len() - 1) * self.config.vocabulary;
                let next = choose(&row[last..last + vocabulary]);
                if next == specials.eos as usize || next == specials.pad as usize {
                    *ended = true;
                } else {
                    ids.push(next as i32);
                }
            }
        }
        rows.iter()
            .map(|(start, ids, _)| continuation(self.tokenizer, ids, *start))
            .collect()
    }

    fn logits(&self, inputs: Vec<i32>, rows: usize) -> Result<Vec<f32>, Failure> {
        use burn::tensor::{Tensor, TensorData};
        let data = TensorData::new(inputs, [rows, self.config.context]);
        let mut tape = Tape::ordinary(&self.device);
        let logits = self
            .model
            .forward(Tensor::from_data(data, &self.device), &mut tape);
        host(logits.into_data().try_to_vec())
    }

    /// The mean loss over its tokens of each row, nats; of a row of completions, the sum.
    pub fn losses(&self, rows: &Rows) -> Result<Vec<f64>, Failure> {
        let batch = upload(rows, &vec![1.0; rows.rows], &self.device);
        let mut tape = Tape::ordinary(&self.device);
        let losses = self.model.losses(&batch, &mut tape);
        let values: Vec<f32> = host(losses.into_data().try_to_vec())?;
        Ok(values
            .chunks(rows.context)
            .map(|row| row.iter().map(|&x| f64::from(x)).sum())
            .collect())
    }
}

/// The text of the ids from `start` on, as it stands behind the text of those before: many a decoder takes the space of the first token
/// for one that encoding had added, and leaves it out.
fn continuation(tokenizer: &Tokenizer, ids: &[i32], start: usize) -> Result<String, Failure> {
    let ids: Vec<u32> = ids.iter().map(|&id| id as u32).collect();
    let given = tokenizer.decode(&ids[..start])?;
    let whole = tokenizer.decode(&ids)?;
    Ok(match whole.strip_prefix(given.as_str()) {
        Some(new) => new.to_owned(),
        // What follows changed how the given text is written, so that it can't be cut off.
        None => tokenizer.decode(&ids[start..])?,
    })
}

/// Rows as the model takes them.
pub fn upload(rows: &Rows, mask: &[f32], device: &Device) -> Batch {
    Batch::new(
        &rows.ids,
        &rows.targets,
        &rows.weights,
        mask,
        rows.context,
        device,
    )
}

/// The likeliest token.
pub fn likeliest(logits: &[f32]) -> usize {
    let best = logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
    best.map_or(0, |(token, _)| token)
}

/// Numbers read back from a device.
fn host<T, E: std::fmt::Debug>(values: Result<Vec<T>, E>) -> Result<Vec<T>, Failure> {
    values.map_err(|error| Failure::new(format!("the device gave no result: {error:?}")))
}

/// The checkpoint and the tokenizer in the folder of a trained model.
///
/// # Errors
/// A folder without a model, or with a damaged one, or with another tokenizer than the model was trained with.
pub fn stored(folder: &Path) -> Result<(Checkpoint, Tokenizer), Failure> {
    let checkpoint = Checkpoint::load(&folder.join(CHECKPOINT))?;
    let file = folder.join(TOKENIZER);
    let tokenizer = match file.exists() {
        true => Tokenizer::from_file(&file)?,
        false => Tokenizer::Bytes,
    };
    let named = checkpoint.manifest().config.get("tokenizer");
    let (found, needed) = (tokenizer.fingerprint(), named.and_then(Value::as_str));
    match needed {
        Some(needed) if needed != found => Err(Failure::new(format!(
            "the model in {folder:?} was trained with tokenizer {needed}, and there is {found}: put the tokenizer of its run to {file:?}, and none where \
             it is bytes"
        ))),
        _ => Ok((checkpoint, tokenizer)),
    }
}

/// The model of a checkpoint, on `device`.
///
/// # Errors
/// A checkpoint that is damaged or of another kind of model.
pub fn load(
    checkpoint: &Checkpoint,
    device: &Device,
) -> Result<(Transformer, ModelConfig), Failure> {
    let sizes = checkpoint
        .manifest()
        .config
        .get("sizes")
        .cloned()
        .unwrap_or(Value::Null);
    let config: ModelConfig = serde_json::from_value(sizes)?;
    let tensors = checkpoint.tensors("model")?;
    let tensors = tensors.iter().map(named).collect::<Result<_, _>>()?;
    Ok((
        import(Transformer::new(&config, 0, device), tensors)?,
        config,
    ))
}

/// A tensor of a checkpoint, as a module takes it.
///
/// # Errors
/// Another type than f32.
pub fn named(tensor: &Tensor<'_>) -> Result<NamedTensor, Failure> {
    let values = tensor.to_f32().ok_or_else(|| {
        Failure::new(format!(
            "tensor {} of the checkpoint is not f32",
            tensor.name
        ))
    })?;
    Ok(NamedTensor {
        name: tensor.name.clone(),
        shape: tensor.shape.clone(),
        values,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_continuation_keeps_the_space_before_it() {
        let space = json!({"type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": "always", "split": true});
        let file = json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
            "pre_tokenizer": space, "post_processor": null, "decoder": space,
            "model": {"type": "WordLevel", "vocab": {"[UNK]": 0, "\u{2581}one": 1, "\u{2581}two": 2}, "unk_token": "[UNK]"},
        });
        let words = Tokenizer::from_json(file.to_string().as_bytes()).unwrap();
        let bos = words.specials().bos as i32;
        assert_eq!(continuation(&words, &[bos, 1, 2], 2).unwrap(), " two");
        assert_eq!(continuation(&words, &[bos, 1], 2).unwrap(), "");
        // Behind nothing there is no space.
        assert_eq!(continuation(&words, &[bos, 1, 2], 1).unwrap(), "one two");
        // The negative control: decoded alone it has none.
        assert_eq!(words.decode(&[2]).unwrap(), "two");
    }

    #[test]
    fn a_continuation_of_bytes_is_their_text() {
        let [bos, a, first, second] = [257, 0x61, 0xc3, 0xa9];
        let text = |ids: &[i32], start| continuation(&Tokenizer::Bytes, ids, start).unwrap();
        assert_eq!(text(&[bos, a, first, second], 2), "\u{e9}");
        // The given text ends in half a character, which the other half completes.
        assert_eq!(text(&[bos, first, second], 2), "\u{fffd}");
    }
}
