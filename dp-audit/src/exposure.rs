//! Exposure: how far a secret stands out among others.

use crate::AuditError;
use crate::error::check_scores;

/// The rank of a secret among candidates that were drawn as it was, and what that says in bits.
///
/// A model that knows nothing gives the secret a uniform rank, and exposure `e` bits or more with probability about `2^-e`. The measure ends
/// at `log2(candidates)` bits.
///
/// # References
/// Carlini, Liu, Erlingsson, Kos, Song, "The Secret Sharer", USENIX Security 2019, arXiv 1802.08232, definition 5; estimated by sampling as
/// in its section 4.3 where the candidates are a random part of all.
///
/// ```
/// use dp_audit::Exposure;
/// let found = Exposure::of(-1.5, &[-4.0, -3.0, -0.5])?;
/// assert_eq!((found.rank, found.candidates, found.bits), (2.0, 4, 1.0));
/// # Ok::<(), dp_audit::AuditError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exposure {
    /// Rank of the secret among all candidates, 1 for the highest score. Equal scores share the ranks that they take up, so it may end in
    /// a half.
    pub rank: f64,
    /// Number of candidates, the secret included.
    pub candidates: usize,
    /// `log2(candidates) - log2(rank)`: 0 for the lowest rank.
    pub bits: f64,
}

impl Exposure {
    /// The exposure of a secret whose score is `secret` among candidates with the scores `others`; a higher score is likelier.
    ///
    /// # Errors
    /// [`AuditError::NotANumber`]: 0 names the secret, then the others from 1.
    pub fn of(secret: f64, others: &[f64]) -> Result<Self, AuditError> {
        check_scores(&[secret])?;
        check_scores(others).map_err(|error| match error {
            AuditError::NotANumber { index } => AuditError::NotANumber { index: index + 1 },
            other => other,
        })?;
        let better = others.iter().filter(|&&score| score > secret).count();
        let equal = others.iter().filter(|&&score| score == secret).count();
        // The mean of the ranks that the equal ones take up.
        let rank = 1.0 + better as f64 + equal as f64 / 2.0;
        let candidates = others.len() + 1;
        Ok(Self {
            rank,
            candidates,
            bits: (candidates as f64).log2() - rank.log2(),
        })
    }
}

/// The exposure that a model which knows nothing shows on average over secrets, in bits:
/// `log2(candidates) - log2(candidates!) / candidates`, which tends to `1 / ln 2 = 1.44`.
#[must_use]
pub fn mean_exposure_of_ignorance(candidates: usize) -> f64 {
    let ranks = (1..=candidates).map(|rank| (rank as f64).log2());
    (candidates as f64).log2() - ranks.sum::<f64>() / candidates as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_and_bits() {
        let found = |secret, others: &[f64]| Exposure::of(secret, others).unwrap();
        let first = found(9.0, &[1.0; 1023]);
        assert_eq!((first.rank, first.bits), (1.0, 10.0));
        let last = found(0.0, &[1.0; 1023]);
        assert_eq!((last.rank, last.bits), (1024.0, 0.0));
        // One better, three equal: ranks 2 to 5, of which the mean is 3.5.
        assert_eq!(found(1.0, &[2.0, 1.0, 1.0, 1.0, 0.0]).rank, 3.5);
        assert_eq!(found(1.0, &[]).bits, 0.0);
        let nan = |secret, other| Exposure::of(secret, &[0.0, other]).unwrap_err();
        assert_eq!(nan(f64::NAN, 0.0), AuditError::NotANumber { index: 0 });
        assert_eq!(nan(0.0, f64::NAN), AuditError::NotANumber { index: 2 });
    }

    /// Every rank equally often: the mean of the exposures.
    #[test]
    fn ignorance_has_a_mean() {
        let others: Vec<f64> = (0..255).map(f64::from).collect();
        let exposures = (0..=255).map(|rank| {
            let secret = f64::from(rank) - 0.5;
            Exposure::of(secret, &others).unwrap().bits
        });
        let mean = exposures.sum::<f64>() / 256.0;
        assert!((mean - mean_exposure_of_ignorance(256)).abs() < 1e-12);
        assert!((mean_exposure_of_ignorance(1 << 16) - std::f64::consts::LOG2_E).abs() < 1e-3);
    }
}
