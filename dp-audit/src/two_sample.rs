//! An audit by many releases, with the canary and without it.

use dp_core::accounting::gdp_epsilon;

use crate::AuditError;
use crate::binomial::rate_at_most;
use crate::error::{check_confidence, check_delta, check_scores};
use crate::normal::{cdf, quantile};

/// The errors of the test "the canary is in where the score is above the threshold", counted on scores that had no part in choosing it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ErrorRates {
    /// The threshold, chosen on the first half of the scores.
    pub threshold: f64,
    /// Releases without the canary that were judged.
    pub absent: u64,
    /// Of these, above the threshold: false alarms.
    pub false_alarms: u64,
    /// Releases with the canary that were judged.
    pub present: u64,
    /// Of these, not above the threshold: missed.
    pub missed: u64,
    /// Upper bound on the rate of false alarms.
    pub false_alarm_rate: f64,
    /// Upper bound on the rate of misses. Both bounds hold together with the confidence asked for.
    pub miss_rate: f64,
}

/// A lower bound on the distance of the two laws, as the shift of a Gaussian pair.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GdpBound {
    /// The mechanism is mu'-GDP for no mu' below this.
    pub mu: f64,
    /// What it was counted from.
    pub errors: ErrorRates,
}

/// A lower bound on epsilon by the definition of (epsilon, delta)-differential privacy alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EpsilonBound {
    /// The mechanism is (epsilon', delta)-differentially private for no epsilon' below this.
    pub epsilon: f64,
    /// The delta asked for.
    pub delta: f64,
    /// What it was counted from.
    pub errors: ErrorRates,
}

/// The mu that the scores refute with `confidence`: a mu'-GDP mechanism with mu' below it would not be told apart so well.
///
/// The threshold that tells the first half of each sample apart best is judged on the second half: one-sided Clopper-Pearson bounds on both
/// error rates at half of the remaining risk each, then `mu = Phi^-1(1 - false alarms) - Phi^-1(misses)`. Scores must be independent
/// from release to release, and higher where the canary seems to be in.
///
/// # Errors
/// [`AuditError::TooFew`] for fewer than two scores of either kind, [`AuditError::NotANumber`], [`AuditError::Confidence`].
///
/// # Privacy
/// A statement about mu-GDP (f-DP with a Gaussian trade-off), which a Gaussian step satisfies with mu = 1 / sigma: above the claimed mu it
/// refutes the claim, without any assumption on the mechanism. [`GdpBound::epsilon`] then reads it as an epsilon of a Gaussian mechanism.
///
/// # References
/// Nasr, Hayes, Steinke, Balle, Tramèr, Jagielski, Carlini, Terzis, "Tight auditing of differentially private machine learning", USENIX
/// Security 2023, arXiv 2302.07956, section 4; Dong, Roth, Su, arXiv 1905.02383.
pub fn gdp_lower_bound(
    absent: &[f64],
    present: &[f64],
    confidence: f64,
) -> Result<GdpBound, AuditError> {
    let errors = judge(absent, present, confidence, |false_alarms, missed| {
        Some(mu_of_errors(false_alarms, missed))
    })?;
    Ok(GdpBound {
        mu: mu_of_errors(errors.false_alarm_rate, errors.miss_rate),
        errors,
    })
}

impl GdpBound {
    /// The epsilon, at `delta`, of a Gaussian mechanism with this mu; rounded down.
    ///
    /// # Errors
    /// [`AuditError::Delta`] unless `delta` is in (0, 1), [`AuditError::Conversion`].
    ///
    /// # Privacy
    /// A bound for the audited mechanism where that is a Gaussian one; in general it is a bound on mu only.
    pub fn epsilon(&self, delta: f64) -> Result<f64, AuditError> {
        if !(delta > 0.0 && delta < 1.0) {
            return Err(AuditError::Delta { delta });
        }
        let unconverted = |_| AuditError::Conversion { mu: self.mu, delta };
        Ok(gdp_epsilon(self.mu, delta).map_err(unconverted)?.lower)
    }
}

/// The epsilon that the scores refute with `confidence` at `delta`, whatever the mechanism: the larger of
/// `ln((1 - delta - misses) / false alarms)` and the same with the errors exchanged.
///
/// As [`gdp_lower_bound`] otherwise. Its largest answer grows with the logarithm of the number of releases, so a tight epsilon above 5
/// needs very many; that of [`gdp_lower_bound`] doesn't.
///
/// # Errors
/// As [`gdp_lower_bound`], and [`AuditError::Delta`] unless `delta` is in [0, 1).
///
/// # References
/// Kairouz, Oh, Viswanath, arXiv 1311.0776, theorem 2.1; Nasr et al., "Adversary instantiation", arXiv 2101.04535.
pub fn epsilon_lower_bound(
    absent: &[f64],
    present: &[f64],
    delta: f64,
    confidence: f64,
) -> Result<EpsilonBound, AuditError> {
    check_delta(delta)?;
    let epsilon = |false_alarms: f64, missed: f64| {
        let one_way = libm::log((1.0 - delta - missed) / false_alarms);
        let other_way = libm::log((1.0 - delta - false_alarms) / missed);
        // A negative argument is a NaN, which `max` drops: that way says nothing.
        one_way.max(other_way)
    };
    let errors = judge(absent, present, confidence, |false_alarms, missed| {
        Some(epsilon(false_alarms, missed)).filter(|found| !found.is_nan())
    })?;
    let found = epsilon(errors.false_alarm_rate, errors.miss_rate);
    Ok(EpsilonBound {
        epsilon: found.max(0.0),
        delta,
        errors,
    })
}

/// The shift of the Gaussian pair whose best test has these errors, `Phi^-1(1 - a) - Phi^-1(b)`; 0 where the errors add up to 1 or more.
///
/// # Precision
/// Rounded down, by 1e-12.
#[must_use]
pub fn mu_of_errors(false_alarm_rate: f64, miss_rate: f64) -> f64 {
    let mu = -quantile(false_alarm_rate) - quantile(miss_rate);
    (mu - 1e-12 * (1.0 + mu.abs())).max(0.0)
}

/// The largest true positive rate at a false positive rate that a `mu`-GDP mechanism allows: `Phi(Phi^-1(rate) + mu)`.
///
/// # References
/// Dong, Roth, Su, arXiv 1905.02383, equation 6.
#[must_use]
pub fn gaussian_true_positive_rate(false_positive_rate: f64, mu: f64) -> f64 {
    cdf(quantile(false_positive_rate) + mu)
}

/// Chooses a threshold on the first halves and counts its errors on the second ones. `worth` says what a pair of error rates is worth.
fn judge(
    absent: &[f64],
    present: &[f64],
    confidence: f64,
    worth: impl Fn(f64, f64) -> Option<f64>,
) -> Result<ErrorRates, AuditError> {
    check_confidence(confidence)?;
    if absent.len() < 2 || present.len() < 2 {
        return Err(AuditError::TooFew {
            absent: absent.len(),
            present: present.len(),
        });
    }
    check_scores(absent)?;
    check_scores(present)?;
    let (choose_absent, judge_absent) = absent.split_at(absent.len() / 2);
    let (choose_present, judge_present) = present.split_at(present.len() / 2);
    let threshold = best_threshold(choose_absent, choose_present, confidence, worth);

    let one_sided = 0.5 * (1.0 + confidence);
    let above = |scores: &[f64]| scores.iter().filter(|&&score| score > threshold).count() as u64;
    let (absent, present) = (judge_absent.len() as u64, judge_present.len() as u64);
    let (false_alarms, missed) = (above(judge_absent), present - above(judge_present));
    Ok(ErrorRates {
        threshold,
        absent,
        false_alarms,
        present,
        missed,
        false_alarm_rate: rate_at_most(false_alarms, absent, one_sided)?,
        miss_rate: rate_at_most(missed, present, one_sided)?,
    })
}

/// The score with the most worthy upper bounds of the two errors, as samples of this size have them.
fn best_threshold(
    absent: &[f64],
    present: &[f64],
    confidence: f64,
    worth: impl Fn(f64, f64) -> Option<f64>,
) -> f64 {
    let sorted = |scores: &[f64]| {
        let mut sorted = scores.to_vec();
        sorted.sort_by(f64::total_cmp);
        sorted
    };
    let (absent, present) = (sorted(absent), sorted(present));
    // The best of thousands of thresholds looks better than it is, most of all where few scores lie beyond it. Twice the deviation that the
    // judge will take off keeps the choice where there are many.
    let z = 2.0 * quantile(0.5 * (1.0 + confidence));
    let mut best = (f64::NEG_INFINITY, f64::NAN);
    let (mut not_above, mut missed) = (0, 0);
    for candidate in merged(&absent, &present) {
        while absent.get(not_above).is_some_and(|&x| x <= candidate) {
            not_above += 1;
        }
        while present.get(missed).is_some_and(|&x| x <= candidate) {
            missed += 1;
        }
        let false_alarms = wilson(absent.len() - not_above, absent.len(), z);
        let misses = wilson(missed, present.len(), z);
        if let Some(found) = worth(false_alarms, misses)
            && (found > best.0 || best.1.is_nan())
        {
            best = (found, candidate);
        }
    }
    if best.1.is_nan() { 0.0 } else { best.1 }
}

/// The distinct scores of both samples in ascending order, thinned to about [`CANDIDATES`].
fn merged(a: &[f64], b: &[f64]) -> impl Iterator<Item = f64> {
    let mut all = [a, b].concat();
    all.sort_by(f64::total_cmp);
    all.dedup();
    let every = all.len().div_ceil(CANDIDATES).max(1);
    all.into_iter().step_by(every)
}

/// Thresholds that are tried: finer steps tell nothing that the counts don't blur.
const CANDIDATES: usize = 1024;

/// Wilson's upper bound of a rate: near Clopper-Pearson's, and cheap; good enough to choose by.
fn wilson(successes: usize, trials: usize, z: f64) -> f64 {
    let (n, rate) = (trials as f64, successes as f64 / trials as f64);
    let centre = rate + z * z / (2.0 * n);
    let half = z * libm::sqrt(rate * (1.0 - rate) / n + z * z / (4.0 * n * n));
    ((centre + half) / (1.0 + z * z / n)).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dp_core::noise::{Generator, Key, fill_gaussian};

    /// Scores of a Gaussian pair of shift `mu`.
    fn pair(count: usize, mu: f64, seed: u32) -> [Vec<f64>; 2] {
        [0.0, mu].map(|shift| {
            let mut noise = vec![0.0; count];
            let key = Key::new([seed, (shift > 0.0) as u32, 0, 0, 0, 0, 0, 0]);
            fill_gaussian(&mut noise, 0, 1.0, &key, Generator::ChaCha20, 0, 0).unwrap();
            noise.into_iter().map(|x| f64::from(x) + shift).collect()
        })
    }

    #[test]
    fn a_gaussian_pair_is_found_and_not_overstated() {
        for mu in [0.5, 1.0, 3.0] {
            let mut above = 0;
            for seed in 0..40 {
                let [absent, present] = pair(20_000, mu, seed);
                let found = gdp_lower_bound(&absent, &present, 0.95).unwrap();
                above += u32::from(found.mu > mu);
                assert!(found.mu > mu - 0.2, "{mu}: {found:?}");
            }
            // At most one in twenty is expected; more than 8 of 40 has a chance of 1e-4, and these seeds are fixed.
            assert!(above <= 8, "{mu}: {above} of 40 above the truth");
        }
    }

    /// The same by the definition of epsilon: of a pair with epsilon 1 at delta 1e-2.
    #[test]
    fn epsilon_is_not_overstated() {
        let truth = gdp_epsilon(0.6, 1e-2).unwrap().upper;
        for seed in 0..10 {
            let [absent, present] = pair(60_000, 0.6, seed);
            let found = epsilon_lower_bound(&absent, &present, 1e-2, 0.95).unwrap();
            assert!(
                found.epsilon < truth && found.epsilon > 0.5 * truth,
                "{truth}: {found:?}"
            );
        }
    }

    /// Without peeking: where the canary changes nothing, a threshold picked from thousands refutes nothing.
    #[test]
    fn no_difference_is_no_bound() {
        for seed in 0..40 {
            let [absent, _] = pair(2000, 1.0, seed);
            let [present, _] = pair(2000, 1.0, seed + 1000);
            let found = gdp_lower_bound(&absent, &present, 0.999).unwrap();
            assert_eq!(found.mu, 0.0, "{found:?}");
            let found = epsilon_lower_bound(&absent, &present, 0.0, 0.999).unwrap();
            assert_eq!(found.epsilon, 0.0, "{found:?}");
        }
    }

    /// The half that is judged has no say in the threshold: one that would tell it apart without error isn't found.
    #[test]
    fn the_judged_half_does_not_choose() {
        let halves = |first: f64, second: f64| [vec![first; 100], vec![second; 100]].concat();
        let (absent, present) = (halves(0.0, 10.0), halves(1.0, 11.0));
        let found = gdp_lower_bound(&absent, &present, 0.95).unwrap();
        let errors = found.errors;
        assert_eq!(
            (errors.false_alarms, errors.missed, found.mu),
            (100, 0, 0.0)
        );
        assert!((0.0..1.0).contains(&errors.threshold));
    }

    /// What never errs is bounded by the number of releases.
    #[test]
    fn a_clear_difference_is_bounded_by_the_count() {
        let (absent, present) = (vec![0.0; 2000], vec![1.0; 2000]);
        let found = gdp_lower_bound(&absent, &present, 0.95).unwrap();
        assert_eq!((found.errors.false_alarms, found.errors.missed), (0, 0));
        // 0 of 1000 at 97.5%: a rate of 0.00368, a quantile of 2.680.
        assert!((found.mu - 2.0 * 2.6801).abs() < 1e-3, "{found:?}");
        let found = epsilon_lower_bound(&absent, &present, 1e-5, 0.95).unwrap();
        assert!((found.epsilon - 5.6006).abs() < 1e-3, "{found:?}");
        let gaussian = gdp_lower_bound(&absent, &present, 0.95).unwrap();
        assert!(gaussian.epsilon(1e-5).unwrap() > 20.0);
    }

    #[test]
    fn errors_and_mu_belong_together() {
        // Phi(-1/2) on both sides is a shift of 1.
        let half = crate::normal::cdf(-0.5);
        // Rounded down: it stands in lower bounds.
        let mu = mu_of_errors(half, half);
        assert!(mu < 1.0 && mu > 1.0 - 1e-11, "{mu}");
        let reached = gaussian_true_positive_rate(half, 1.0);
        assert!((reached - (1.0 - half)).abs() < 1e-14);
        assert_eq!(gaussian_true_positive_rate(0.0, 3.0), 0.0);
        assert_eq!(mu_of_errors(0.6, 0.5), 0.0);
        assert_eq!(mu_of_errors(1.0, 0.0), 0.0);
    }

    #[test]
    fn bad_input_is_refused() {
        let two = [0.0, 1.0];
        let few = gdp_lower_bound(&two[..1], &two, 0.95);
        assert!(matches!(few, Err(AuditError::TooFew { absent: 1, .. })));
        let nan = gdp_lower_bound(&two, &[0.0, f64::NAN], 0.95);
        assert_eq!(nan, Err(AuditError::NotANumber { index: 1 }));
        assert!(gdp_lower_bound(&two, &two, 0.0).is_err());
        assert!(epsilon_lower_bound(&two, &two, 1.0, 0.95).is_err());
        let found = gdp_lower_bound(&two, &two, 0.95).unwrap();
        assert!(found.epsilon(0.0).is_err() && found.epsilon(0.1).is_ok());
    }
}
