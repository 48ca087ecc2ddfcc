//! An audit by one training run with many canaries.

use crate::AuditError;
use crate::binomial::{mass, upper_tail};
use crate::error::{check_confidence, check_delta, check_scores};

/// What one run with `canaries` canaries gave, each of which was in the data by a fair coin of its own: how many of the guesses about
/// the coins were right.
///
/// # References
/// Steinke, Nasr, Jagielski, "Privacy auditing with one (1) training run", NeurIPS 2023, arXiv 2305.08846: Algorithm 1, Theorem 5.2
/// and Appendix D.
///
/// ```
/// use dp_audit::OneRun;
/// let run = OneRun { canaries: 1000, guesses: 200, correct: 180 };
/// assert!((run.epsilon_lower_bound(1e-5, 0.95)? - 1.796_285).abs() < 1e-5);
/// # Ok::<(), dp_audit::AuditError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OneRun {
    /// Canaries m, each in or out by its coin.
    pub canaries: u64,
    /// Guesses r; the auditor abstained from the others.
    pub guesses: u64,
    /// Guesses that were right.
    pub correct: u64,
}

impl OneRun {
    /// Guesses by score: the `guess_in` canaries with the highest scores are guessed in, the `guess_out` with the lowest out, and no guess is
    /// made about the rest. `included` are the coins, used here only to count.
    ///
    /// How many guesses are made must not depend on the coins: decide it before the scores are seen. Canaries with equal scores go by
    /// their place.
    ///
    /// # Errors
    /// [`AuditError::Coins`], [`AuditError::NotANumber`], and [`AuditError::Guesses`] for no guess or more than canaries.
    pub fn by_score(
        scores: &[f64],
        included: &[bool],
        guess_in: usize,
        guess_out: usize,
    ) -> Result<Self, AuditError> {
        if scores.len() != included.len() {
            return Err(AuditError::Coins {
                scores: scores.len(),
                coins: included.len(),
            });
        }
        check_scores(scores)?;
        let guesses = guess_in.saturating_add(guess_out);
        if guesses == 0 || guesses > scores.len() {
            return Err(AuditError::Guesses {
                guesses,
                canaries: scores.len(),
            });
        }
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
        let of_in = order[..guess_in].iter().filter(|&&at| included[at]);
        let lowest = &order[order.len() - guess_out..];
        let of_out = lowest.iter().filter(|&&at| !included[at]);
        Ok(Self {
            canaries: scores.len() as u64,
            guesses: guesses as u64,
            correct: (of_in.count() + of_out.count()) as u64,
        })
    }

    /// The chance of so many right guesses, or more, against a mechanism that is (`epsilon`, `delta`)-differentially private; an upper bound
    /// on it.
    ///
    /// With `f(v)` the tail `P[X >= v]` of `r` trials of rate `e^eps / (1 + e^eps)` it is
    /// `f(v) + 2 m delta max_i (f(v - i) - f(v)) / i` over `i` from 1 to `m`.
    ///
    /// # Errors
    /// [`AuditError::Epsilon`], [`AuditError::Delta`], [`AuditError::Counts`], [`AuditError::Guesses`].
    ///
    /// # Privacy
    /// For add/remove adjacency: each canary is a record that is in or not.
    ///
    /// # References
    /// Theorem 5.2.
    pub fn p_value(&self, epsilon: f64, delta: f64) -> Result<f64, AuditError> {
        self.check()?;
        check_delta(delta)?;
        if epsilon.is_nan() || epsilon < 0.0 {
            return Err(AuditError::Epsilon { epsilon });
        }
        let rate = 1.0 / (1.0 + libm::exp(-epsilon));
        let tail = upper_tail(self.guesses, self.correct, rate);
        if delta == 0.0 {
            return Ok(tail);
        }
        // P[v > X >= v - i] grows by one term with each i, and is at most 1.
        let (mut below, mut steepest) = (0.0, 0.0_f64);
        for i in 1..=self.correct {
            below += mass(self.guesses, self.correct - i, rate);
            steepest = steepest.max(below / i as f64);
            if steepest * (i as f64) >= 1.0 {
                break;
            }
        }
        Ok((tail + 2.0 * self.canaries as f64 * delta * steepest).min(1.0))
    }

    /// The epsilon that the run refutes with `confidence`: were the mechanism (epsilon, `delta`)-differentially private for this epsilon or less,
    /// so many right guesses would have a chance below `1 - confidence`. 0 where nothing is refuted.
    ///
    /// # Errors
    /// As [`OneRun::p_value`], and [`AuditError::Confidence`].
    ///
    /// # References
    /// Appendix D: the same search.
    pub fn epsilon_lower_bound(&self, delta: f64, confidence: f64) -> Result<f64, AuditError> {
        check_confidence(confidence)?;
        let level = 1.0 - confidence;
        let refuted = |epsilon: f64| Ok(self.p_value(epsilon, delta)? < level);
        if !refuted(0.0)? {
            return Ok(0.0);
        }
        // All guesses right refute any epsilon that they are many enough for; 64 is beyond any number of guesses.
        let (mut low, mut high) = (0.0, 1.0);
        while high < 64.0 && refuted(high)? {
            low = high;
            high += 1.0;
        }
        for _ in 0..50 {
            let middle = 0.5 * (low + high);
            if refuted(middle)? {
                low = middle;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    fn check(&self) -> Result<(), AuditError> {
        let &Self {
            canaries,
            guesses,
            correct,
        } = self;
        if guesses == 0 || guesses > canaries {
            return Err(AuditError::Guesses {
                guesses: guesses as usize,
                canaries: canaries as usize,
            });
        }
        if correct > guesses {
            return Err(AuditError::Counts {
                successes: correct,
                trials: guesses,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coins;

    fn run(canaries: u64, guesses: u64, correct: u64) -> OneRun {
        OneRun {
            canaries,
            guesses,
            correct,
        }
    }

    /// By the program of Appendix D under SciPy 1.17.
    #[test]
    fn known_answers() {
        for (run, epsilon, delta, expected) in [
            (run(1000, 200, 180), 1.0, 1e-5, 0.000_436_224_538_579_160_14),
            (run(10_000, 600, 520), 1.5, 1e-5, 0.005_150_276_376_637_533),
            (run(100, 100, 75), 0.5, 0.0, 0.004_804_739_485_439_725_5),
            (run(5000, 500, 400), 1.0, 1e-3, 0.192_956_798_845_463_46),
        ] {
            let found = run.p_value(epsilon, delta).unwrap();
            assert!((found / expected - 1.0).abs() < 1e-9, "{run:?}: {found}");
        }
        for (run, delta, expected) in [
            (run(1000, 200, 180), 1e-5, 1.796_285_070_478_916_2),
            (run(10_000, 600, 520), 1e-5, 1.662_780_921_906_232_8),
            (run(100, 100, 75), 0.0, 0.702_213_930_897_414_7),
            (run(100, 100, 50), 0.0, 0.0),
        ] {
            let found = run.epsilon_lower_bound(delta, 0.95).unwrap();
            assert!((found - expected).abs() < 1e-8, "{run:?}: {found}");
        }
    }

    #[test]
    fn guesses_go_to_the_ends() {
        let scores = [0.3, 5.0, -1.0, 4.0, 0.2, f64::NEG_INFINITY];
        let included = [true, true, false, false, true, true];
        // In: 5.0 (right) and 4.0 (wrong); out: -infinity (wrong).
        let found = OneRun::by_score(&scores, &included, 2, 1).unwrap();
        assert_eq!(found, run(6, 3, 1));
        let found = OneRun::by_score(&scores, &included, 1, 2).unwrap();
        assert_eq!(found, run(6, 3, 2));
    }

    /// Randomised response tells each coin rightly with probability `e^2 / (1 + e^2)`: the bound is below 2 in at least 19 of 20 runs, and
    /// not far below. A response that says more is found out.
    #[test]
    fn randomised_response_is_bounded() {
        let count = 2000;
        let bound = |seed: u64, epsilon: f64| {
            let included = coins(count, seed);
            let rate = 1.0 / (1.0 + (-epsilon).exp());
            let flips = coins(count * 53, seed + 1000);
            let uniform = |at: usize| {
                let bits = &flips[at * 53..][..53];
                bits.iter()
                    .fold(0.0, |sum, &bit| 0.5 * (sum + f64::from(u8::from(bit))))
            };
            let told = |at: usize| (uniform(at) < rate) == included[at];
            let scores: Vec<f64> = (0..count).map(|at| f64::from(u8::from(told(at)))).collect();
            let told_in = (0..count).filter(|&at| told(at)).count();
            let run = OneRun::by_score(&scores, &included, told_in, count - told_in).unwrap();
            run.epsilon_lower_bound(0.0, 0.95).unwrap()
        };
        let bounds: Vec<f64> = (0..40).map(|seed| bound(seed, 2.0)).collect();
        let above = bounds.iter().filter(|&&bound| bound > 2.0).count();
        // Forty runs at 5% each: more than 8 has a chance of 1e-4, and these seeds are fixed.
        assert!(above <= 8, "{above} of 40 are above the truth");
        assert!(bounds.iter().all(|&bound| bound > 1.6), "{bounds:?}");
        assert!((0..40).all(|seed| bound(seed, 3.0) > 2.0));
    }

    #[test]
    fn delta_costs() {
        let exact = run(5000, 500, 450).epsilon_lower_bound(0.0, 0.95).unwrap();
        let loose = run(5000, 500, 450).epsilon_lower_bound(1e-4, 0.95).unwrap();
        let vain = run(5000, 500, 450).epsilon_lower_bound(0.5, 0.95).unwrap();
        assert!(exact > loose && loose > 0.5 && vain == 0.0);
    }

    #[test]
    fn bad_input_is_refused() {
        let wrong = OneRun::by_score(&[1.0, 2.0], &[true], 1, 0);
        assert_eq!(
            wrong,
            Err(AuditError::Coins {
                scores: 2,
                coins: 1
            })
        );
        let nan = OneRun::by_score(&[1.0, f64::NAN], &[true, false], 1, 0);
        assert_eq!(nan, Err(AuditError::NotANumber { index: 1 }));
        for (guess_in, guess_out) in [(0, 0), (2, 1)] {
            let error = OneRun::by_score(&[1.0, 2.0], &[true, false], guess_in, guess_out);
            assert!(matches!(error, Err(AuditError::Guesses { .. })));
        }
        assert!(run(1, 2, 1).p_value(1.0, 0.0).is_err());
        assert!(run(3, 2, 3).p_value(1.0, 0.0).is_err());
        assert!(run(3, 2, 1).p_value(-1.0, 0.0).is_err());
        assert!(run(3, 2, 1).p_value(1.0, 1.0).is_err());
        assert!(run(3, 2, 1).epsilon_lower_bound(0.0, 1.0).is_err());
    }
}
