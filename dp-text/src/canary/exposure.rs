//! Exposure: how far a secret stands out among random secrets.

use super::invent::CODES;
use super::{Canary, Completion};
use crate::seeded::Draws;

/// What the model's scores say about one canary.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exposure {
    /// Rank of the true code among all codes scored, 1 for the most likely. Codes with the same
    /// score share the ranks they take up, so it may end in a half.
    pub rank: f64,
    /// Number of codes ranked, the true one included.
    pub codes: usize,
    /// `log2(codes) - log2(rank)`, bits: 0 for the least likely, `log2(codes)` for the most.
    pub exposure: f64,
}

/// Why exposure could not be measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExposureError<E> {
    /// The scorer failed.
    #[error(transparent)]
    Scorer(E),
    /// The scorer answered with another number of scores than candidates.
    #[error("the scorer gave {scores} scores for {candidates} candidates")]
    Count {
        /// Candidates given.
        candidates: usize,
        /// Scores got.
        scores: usize,
    },
    /// A score is not a number, so it has no rank: the model is broken.
    #[error("the model's log-likelihood of candidate {candidate} is not a number")]
    NotANumber {
        /// The candidate, 0 for the true code.
        candidate: usize,
    },
    /// No random codes to rank among, or more than there are.
    #[error("{asked} random codes asked for; it takes 1 to {most}", most = CODES - 1)]
    RandomCodes {
        /// The number asked for.
        asked: usize,
    },
}

/// Ranks the true code of `canary` among `random` other codes by the log-likelihood that `score`
/// gives to each completion (all in one call, the true one first).
///
/// Rank 1 means that no random code is as likely. The true code was drawn as the others are, so a
/// model that knows nothing gives it a uniform rank, and exposure `e` bits or more with probability
/// about `2^-e`. The measure ends at `log2(random + 1)` bits: 2047 random codes tell 11 bits.
///
/// # Errors
/// [`ExposureError`]; a score that is NaN is one.
///
/// # References
/// Carlini et al. 2019, arXiv 1802.08232, definition 5 and section 4.3 (estimating by sampling).
pub fn exposure<E>(
    canary: &Canary,
    random: usize,
    seed: u64,
    score: impl FnOnce(&[Completion]) -> Result<Vec<f64>, E>,
) -> Result<Exposure, ExposureError<E>> {
    let candidates = candidates(canary, random, seed)?;
    let scores = score(&candidates).map_err(ExposureError::Scorer)?;
    if scores.len() != candidates.len() {
        return Err(ExposureError::Count {
            candidates: candidates.len(),
            scores: scores.len(),
        });
    }
    let found = dp_audit::Exposure::of(scores[0], &scores[1..]);
    let found = found.map_err(|_| ExposureError::NotANumber {
        candidate: scores.iter().position(|score| score.is_nan()).unwrap_or(0),
    })?;
    Ok(Exposure {
        rank: found.rank,
        codes: found.candidates,
        exposure: found.bits,
    })
}

/// The true code, then `random` distinct others, uniform over all codes.
fn candidates<E>(
    canary: &Canary,
    random: usize,
    seed: u64,
) -> Result<Vec<Completion>, ExposureError<E>> {
    if random == 0 || random as u64 >= CODES {
        return Err(ExposureError::RandomCodes { asked: random });
    }
    // By the canary's own name, so that canaries are ranked among different codes.
    let stream = crate::seeded::hash("exposure", seed, canary.prefix.as_bytes());
    let drawn = Draws::new("exposure", seed, stream).distinct(random + 1, CODES as usize);
    let others = drawn.into_iter().map(|code| format!("{code:06}"));
    let others = others.filter(|code| *code != canary.code).take(random);
    let codes = std::iter::once(canary.code.clone()).chain(others);
    Ok(codes.map(|code| canary.with_code(&code)).collect())
}
