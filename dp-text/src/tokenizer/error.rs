//! Why a tokenizer could not be had or used.

use std::path::PathBuf;

/// Why a tokenizer could not be had or used.
///
/// # Privacy
/// No variant carries the text that was to be encoded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// The file could not be opened or read.
    #[error("tokenizer file {path:?} cannot be read: {source}")]
    Unreadable {
        /// The file asked for.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Bytes that are not a HuggingFace `tokenizer.json`.
    #[error("not a HuggingFace tokenizer.json: {reason}")]
    Invalid {
        /// What the parser said.
        reason: String,
    },
    /// A file that is not a HuggingFace `tokenizer.json`.
    #[error("tokenizer file {path:?} is not a HuggingFace tokenizer.json: {reason}")]
    InvalidFile {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        reason: String,
    },
    /// A text could not be encoded. A tokenizer that leaves a part of a text out, or gives its unknown token for it, is not found out by this.
    #[error(
        "the tokenizer cannot encode a record ({reason}); use a byte-level tokenizer, which can \
         encode any text"
    )]
    Encode {
        /// What the tokenizer said.
        reason: String,
    },
    /// Ids could not be decoded.
    #[error("the tokenizer cannot decode what the model generated: {reason}")]
    Decode {
        /// What the tokenizer said.
        reason: String,
    },
}
