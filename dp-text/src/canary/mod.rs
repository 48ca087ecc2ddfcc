//! Canaries: invented secrets planted in the training records, and what the model kept of them.
//!
//! A canary is an invented patient with a name, an address and a random 6-digit code. Planted
//! before training, it tells afterwards whether the model remembers: by the rank of its code among
//! random codes ([`exposure()`]), and by whether greedy completion recites it.
//!
//! # References
//! Carlini, Liu, Erlingsson, Kos, Song: "The Secret Sharer", USENIX Security 2019, arXiv 1802.08232.

mod exposure;
mod invent;
mod kept;
mod plant;

pub use dp_audit::mean_exposure_of_ignorance;
pub use exposure::{Exposure, ExposureError, exposure};
pub use invent::{CanaryError, MOST_CANARIES, canaries};
pub use kept::keeps_codes;
pub use plant::{Planted, plant};

/// An invented patient with a secret code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Canary {
    /// What stands before the code, and the prompt that asks for it; ends in a letter, not a space,
    /// because word-wise tokenizers join the space to the code.
    pub prefix: String,
    /// The secret: six decimal digits.
    pub code: String,
}

/// A text in two parts: what is given, and what the model is asked to find likely.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// The given part.
    pub prefix: String,
    /// The part whose log-likelihood counts.
    pub text: String,
}

impl Canary {
    /// The record that is planted: prefix, a space, code; at most 60 bytes.
    pub fn text(&self) -> String {
        format!("{} {}", self.prefix, self.code)
    }

    /// The canary with another code in place of its own.
    pub fn with_code(&self, code: &str) -> Completion {
        Completion {
            prefix: self.prefix.clone(),
            text: format!(" {code}"),
        }
    }

    /// Whether `generated`, the model's greedy continuation of the prefix, is exactly the code:
    /// the six digits, not followed by a seventh.
    pub fn recited_by(&self, generated: &str) -> bool {
        generated
            .trim_start()
            .strip_prefix(self.code.as_str())
            .is_some_and(|rest| !rest.starts_with(|next: char| next.is_ascii_digit()))
    }
}
