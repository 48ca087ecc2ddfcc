//! Why there is no answer; each message names the value and what to do.

use std::io;
use std::path::PathBuf;

use dp_core::accounting::AccountingError;
use thiserror::Error;

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum AccountError {
    /// The accountant refused a value.
    #[error("{}", advice(.0))]
    Refused(AccountingError),
    /// Values that don't fit together, said with the way out.
    #[error("{0}")]
    Problem(String),
    /// A file can't be read.
    #[error("cannot read {path}: {source}; check the path given to {flag}", path = .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
        /// The flag that named the file.
        flag: &'static str,
    },
    /// A file can't be written.
    #[error("cannot write {path}: {source}; check the path and the space left there", path = .path.display())]
    Save {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A line of the batch file has no answer.
    #[error("line {line}: {problem}; correct it and run the batch again")]
    Line {
        /// Number of the line, from 1.
        line: usize,
        /// What is wrong with it, with the value.
        problem: String,
    },
    /// Standard output is gone.
    #[error("cannot write the answer: {0}; check where standard output leads")]
    Write(#[from] io::Error),
}

impl AccountError {
    /// Values that don't fit together.
    pub fn problem(message: impl Into<String>) -> Self {
        Self::Problem(message.into())
    }
}

impl From<AccountingError> for AccountError {
    fn from(error: AccountingError) -> Self {
        Self::Refused(error)
    }
}

/// The accountant's error with the way out.
fn advice(error: &AccountingError) -> String {
    let hint = match error {
        AccountingError::InvalidSigma { .. } => "give a noise multiplier in that range",
        AccountingError::InvalidRate { .. } => {
            "give the batch size divided by the number of records"
        }
        AccountingError::InvalidGroup { .. } => "give the largest number of records of one person",
        AccountingError::InvalidMixture { .. } => {
            "give 1 to 8 shifts of at least 0, as many positive probabilities, and let these sum to 1"
        }
        AccountingError::InvalidSensitivity { .. } => {
            "give the largest distance by which one record moves the sum"
        }
        AccountingError::InvalidBatch { .. } => {
            "give a batch of at least one record and at most the population, and a population of at most 2^53"
        }
        AccountingError::InvalidBins { .. } => "give the batches of an epoch and the epochs",
        AccountingError::InvalidBuckets { .. } => "give the number of possible answers",
        AccountingError::InvalidRho { .. } => "give the mechanism's zCDP parameter",
        AccountingError::UndefinedAdjacency { .. } => {
            "choose another neighbouring relation, or another sampler"
        }
        AccountingError::UndefinedEngine => {
            "give a mechanism that another engine knows, or its own guarantee as approximate-dp in --events"
        }
        AccountingError::InvalidEpsilon { .. } => "give a positive budget, for example 8",
        AccountingError::InvalidDelta { .. } => "give a small probability, for example 1e-6",
        AccountingError::InvalidProbability { .. } => "give a probability between 0 and 1",
        AccountingError::InvalidOrder { .. } => "give an order such as 8",
        AccountingError::InvalidMu { .. } => "give a shift such as 1",
        AccountingError::InvalidRange { .. } => "give the smaller end first, above 0",
        AccountingError::WrongLength { .. } | AccountingError::InvalidWorkspace { .. } => {
            "report this: the program, not you, chose that length"
        }
        AccountingError::BudgetExceeded { .. } => {
            "allow a larger epsilon or delta, take a larger sigma, or spend less"
        }
        AccountingError::InfiniteLoss { .. } => "give a larger delta",
        AccountingError::WorkspaceTooSmall { .. } => "give fewer records or bins, or more steps",
        AccountingError::CountTooLarge { .. } => "give fewer steps",
        AccountingError::Unreachable { .. } => "allow a larger epsilon or delta, or fewer steps",
        _ => "give more steps, or a larger rate or delta",
    };
    format!("{error}; {hint}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_names_the_value_and_a_way_out() {
        let error = AccountError::from(AccountingError::InvalidRate { rate: 1.5 });
        assert_eq!(
            error.to_string(),
            "sampling rate 1.5 is not in (0, 1]; give the batch size divided by the number of records"
        );
    }
}
