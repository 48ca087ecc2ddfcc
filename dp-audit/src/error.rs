//! What an audit refuses.

/// Why there is no bound.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// A confidence that is none.
    #[error("the confidence is {confidence}: it must be above 0 and below 1, for example 0.95")]
    Confidence {
        /// The value given.
        confidence: f64,
    },
    /// A delta that is no probability.
    #[error("delta is {delta}: it must be at least 0 and below 1")]
    Delta {
        /// The value given.
        delta: f64,
    },
    /// An epsilon that is none.
    #[error("epsilon is {epsilon}: it must be a number of at least 0")]
    Epsilon {
        /// The value given.
        epsilon: f64,
    },
    /// A rate that is no probability.
    #[error("the rate is {rate}: it must be in [0, 1]")]
    Rate {
        /// The value given.
        rate: f64,
    },
    /// More successes than trials, or no trial.
    #[error("{successes} of {trials}: there must be a trial, and no more successes than trials")]
    Counts {
        /// Successes given.
        successes: u64,
        /// Trials given.
        trials: u64,
    },
    /// Too few scores to choose a threshold on one half and judge it on the other.
    #[error(
        "{absent} scores without the canary and {present} with it: give at least 2 of each, better thousands"
    )]
    TooFew {
        /// Scores without the canary.
        absent: usize,
        /// Scores with it.
        present: usize,
    },
    /// A score is not a number.
    #[error("score {index} is not a number: the mechanism or the score is broken")]
    NotANumber {
        /// Its place.
        index: usize,
    },
    /// Not one coin for each canary.
    #[error("{scores} scores for {coins} coins: give one score for each canary, in its order")]
    Coins {
        /// Scores given.
        scores: usize,
        /// Coins given.
        coins: usize,
    },
    /// More guesses than canaries, or none.
    #[error(
        "{guesses} guesses about {canaries} canaries: guess about at least 1 and at most all of them"
    )]
    Guesses {
        /// Guesses asked for.
        guesses: usize,
        /// Canaries there are.
        canaries: usize,
    },
    /// The conversion of the accountant failed.
    #[error("the accountant cannot convert mu = {mu} at delta = {delta}")]
    Conversion {
        /// Shift of the Gaussian pair.
        mu: f64,
        /// Delta asked for.
        delta: f64,
    },
}

/// Refuses a confidence outside (0, 1).
pub(crate) fn check_confidence(confidence: f64) -> Result<(), AuditError> {
    if confidence > 0.0 && confidence < 1.0 {
        Ok(())
    } else {
        Err(AuditError::Confidence { confidence })
    }
}

/// Refuses a delta outside [0, 1).
pub(crate) fn check_delta(delta: f64) -> Result<(), AuditError> {
    if (0.0..1.0).contains(&delta) {
        Ok(())
    } else {
        Err(AuditError::Delta { delta })
    }
}

/// Refuses scores that have no order.
pub(crate) fn check_scores(scores: &[f64]) -> Result<(), AuditError> {
    match scores.iter().position(|score| score.is_nan()) {
        Some(index) => Err(AuditError::NotANumber { index }),
        None => Ok(()),
    }
}
