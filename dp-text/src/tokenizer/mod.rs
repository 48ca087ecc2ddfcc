//! Text to token ids and back: plain bytes, or a HuggingFace `tokenizer.json`.

mod error;
mod json;

pub use error::TokenizerError;
pub use json::JsonTokenizer;

use std::path::Path;

/// Turns text into token ids and back.
///
/// # Privacy
/// A tokenizer that was trained on private records is itself a release of them that no noise
/// protects. Bytes are free of that; a tokenizer of a public corpus is too.
#[derive(Debug)]
#[non_exhaustive]
pub enum Tokenizer {
    /// Ids 0 to 255 are the bytes of the UTF-8 text; then the three special tokens.
    Bytes,
    /// A tokenizer in HuggingFace's JSON format.
    Json(Box<JsonTokenizer>),
}

/// The ids of the special tokens. None of them comes out of [`Tokenizer::encode`], whatever the
/// text says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Specials {
    /// Fills the places behind the end of a record.
    pub pad: u32,
    /// Stands before a record.
    pub bos: u32,
    /// Stands behind a record. May be the same as `bos`.
    pub eos: u32,
}

impl Tokenizer {
    /// A tokenizer from the bytes of a `tokenizer.json`.
    ///
    /// # Errors
    /// [`TokenizerError::Invalid`] where they are no such thing.
    pub fn from_json(json: &[u8]) -> Result<Self, TokenizerError> {
        Ok(Self::Json(Box::new(JsonTokenizer::new(json)?)))
    }

    /// A tokenizer from a `tokenizer.json` file.
    ///
    /// # Errors
    /// [`TokenizerError::Unreadable`] or [`TokenizerError::InvalidFile`], which name the path.
    pub fn from_file(path: &Path) -> Result<Self, TokenizerError> {
        let json = std::fs::read(path).map_err(|source| TokenizerError::Unreadable {
            path: path.into(),
            source,
        })?;
        Self::from_json(&json).map_err(|error| match error {
            TokenizerError::Invalid { reason } => TokenizerError::InvalidFile {
                path: path.into(),
                reason,
            },
            error => error,
        })
    }

    /// One more than the largest id, special tokens included: 259 for bytes.
    pub fn vocabulary(&self) -> usize {
        match self {
            Self::Bytes => 259,
            Self::Json(json) => json.vocabulary(),
        }
    }

    /// The ids of the special tokens.
    pub fn specials(&self) -> Specials {
        match self {
            Self::Bytes => Specials {
                pad: 256,
                bos: 257,
                eos: 258,
            },
            Self::Json(json) => json.specials(),
        }
    }

    /// The ids of `text`, without special tokens.
    ///
    /// # Errors
    /// [`TokenizerError::Encode`] where the tokenizer has no id for a part of it and needs one. Not every file does: one with an unknown
    /// token gives that, and a BPE without one leaves the part out and says nothing.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        match self {
            Self::Bytes => Ok(text.bytes().map(u32::from).collect()),
            Self::Json(json) => json.encode(text),
        }
    }

    /// [`Tokenizer::encode`] of each text, on all cores where that pays.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_all(&self, texts: &[String]) -> Result<Vec<Vec<u32>>, TokenizerError> {
        match self {
            Self::Bytes => texts.iter().map(|text| self.encode(text)).collect(),
            Self::Json(json) => json.encode_all(texts),
        }
    }

    /// The text of `ids`. Special tokens and ids beyond the vocabulary say nothing; bytes that are
    /// not UTF-8 (a cut character) become U+FFFD.
    ///
    /// # Errors
    /// [`TokenizerError::Decode`] where the file's decoder fails.
    pub fn decode(&self, ids: &[u32]) -> Result<String, TokenizerError> {
        match self {
            Self::Bytes => {
                let bytes: Vec<u8> = ids.iter().filter_map(|&id| u8::try_from(id).ok()).collect();
                Ok(String::from_utf8_lossy(&bytes).into_owned())
            }
            Self::Json(json) => json.decode(ids),
        }
    }

    /// A name that tells tokenizers apart: `bytes`, or `json-` and the start of the SHA-256 of the
    /// file. A model is worthless with another tokenizer than its own; compare before using one.
    pub fn fingerprint(&self) -> String {
        match self {
            Self::Bytes => "bytes".into(),
            Self::Json(json) => json.fingerprint().into(),
        }
    }
}
