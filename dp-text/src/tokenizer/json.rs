//! HuggingFace's `tokenizer.json`, through the `tokenizers` crate.

use sha2::{Digest, Sha256};
use tokenizers::models::ModelWrapper;
use tokenizers::{AddedToken, Tokenizer};

use super::{Specials, TokenizerError};

/// The names that a special token goes by, the usual one first.
const PAD: &[&str] = &["<pad>", "[PAD]"];
const BOS: &[&str] = &["<bos>", "<s>", "[CLS]", "<|endoftext|>"];
const EOS: &[&str] = &["<eos>", "</s>", "[SEP]", "<|endoftext|>"];

/// A tokenizer in HuggingFace's JSON format.
///
/// Special tokens are found by their usual names (`<pad>`, `<bos>`, `<eos>` and their cousins) and
/// added at the end of the vocabulary where the file has none. The file's own truncation, padding
/// and random dropout are switched off.
#[derive(Debug)]
pub struct JsonTokenizer {
    tokenizer: Tokenizer,
    specials: Specials,
    vocabulary: usize,
    fingerprint: String,
}

impl JsonTokenizer {
    pub(super) fn new(json: &[u8]) -> Result<Self, TokenizerError> {
        let invalid = |reason: String| TokenizerError::Invalid {
            reason: one_line(&reason),
        };
        let mut tokenizer =
            Tokenizer::from_bytes(json).map_err(|error| invalid(error.to_string()))?;
        tokenizer
            .with_truncation(None)
            .map_err(|error| invalid(error.to_string()))?;
        tokenizer.with_padding(None);
        if let ModelWrapper::BPE(bpe) = tokenizer.get_model()
            && bpe.dropout.is_some()
        {
            let mut bpe = bpe.clone();
            bpe.dropout = None;
            tokenizer.with_model(bpe);
        }
        // A record that spells "<eos>" must not end itself: its characters are encoded as text.
        tokenizer.set_encode_special_tokens(true);
        let [pad, bos, eos] = [PAD, BOS, EOS].map(|names| special(&mut tokenizer, names));
        let missing = || invalid("its special tokens cannot be added".into());
        let specials = Specials {
            pad: pad.ok_or_else(missing)?,
            bos: bos.ok_or_else(missing)?,
            eos: eos.ok_or_else(missing)?,
        };
        let largest = tokenizer.get_vocab(true).into_values().max().unwrap_or(0);
        if largest > i32::MAX as u32 - 1 {
            return Err(invalid(format!("token id {largest} is too large")));
        }
        let digest = Sha256::digest(json);
        let hex: String = digest
            .iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Ok(Self {
            tokenizer,
            specials,
            vocabulary: largest as usize + 1,
            fingerprint: format!("json-{hex}"),
        })
    }

    pub(super) fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    pub(super) fn specials(&self) -> Specials {
        self.specials
    }

    pub(super) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    pub(super) fn encode(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        let encoding = self
            .tokenizer
            .encode_fast(text, false)
            .map_err(cannot_encode)?;
        Ok(encoding.get_ids().to_vec())
    }

    pub(super) fn encode_all(&self, texts: &[String]) -> Result<Vec<Vec<u32>>, TokenizerError> {
        let mut all = Vec::with_capacity(texts.len());
        // In chunks: an `Encoding` is many times larger than its ids.
        for chunk in texts.chunks(4096) {
            let chunk: Vec<&str> = chunk.iter().map(String::as_str).collect();
            let encodings = self
                .tokenizer
                .encode_batch_fast(chunk, false)
                .map_err(cannot_encode)?;
            all.extend(encodings.iter().map(|encoding| encoding.get_ids().to_vec()));
        }
        Ok(all)
    }

    pub(super) fn decode(&self, ids: &[u32]) -> Result<String, TokenizerError> {
        self.tokenizer
            .decode(ids, true)
            .map_err(|error| TokenizerError::Decode {
                reason: one_line(&error.to_string()),
            })
    }
}

/// The id of the first of `names` that the vocabulary has, made special; or the first name, added.
fn special(tokenizer: &mut Tokenizer, names: &[&str]) -> Option<u32> {
    let known = names
        .iter()
        .find(|name| tokenizer.token_to_id(name).is_some());
    let name = *known.or(names.first())?;
    tokenizer
        .add_special_tokens([AddedToken::from(name, true)])
        .ok()?;
    tokenizer.token_to_id(name)
}

fn cannot_encode(error: tokenizers::Error) -> TokenizerError {
    TokenizerError::Encode {
        reason: one_line(&error.to_string()),
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
