//! What an adversary can reach against a run, from its whole curve of delta over epsilon.

use crate::account::engine;
use crate::account::events::History;

/// Upper bounds for every adversary, whatever it knows and computes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Odds {
    /// True positive rate less false positive rate of any test.
    pub advantage: f64,
    /// True positive rate of any test with the given false positive rate.
    pub true_positives: f64,
    /// Belief in the truth after the prior, but with probability `failure`.
    pub posterior: f64,
    /// Probability with which the belief may be stronger.
    pub failure: f64,
}

impl Odds {
    /// Bounds for a run that is (`epsilon`, `delta`)-differentially private.
    pub fn of(
        history: &History,
        epsilon: f64,
        delta: f64,
        false_positives: f64,
        prior: f64,
    ) -> Self {
        // Where the accountant has no answer, the promise itself is what is left.
        let delta_at =
            |epsilon: f64| engine::delta(history.run(), epsilon).map_or(1.0, |bounds| bounds.upper);
        Self {
            // A test's advantage is at most the total variation distance, which is delta at epsilon 0.
            advantage: delta_at(0.0).min(advantage(epsilon, delta)),
            true_positives: best_true_positives(delta_at, false_positives).min(true_positives(
                epsilon,
                delta,
                false_positives,
            )),
            posterior: posterior(epsilon, prior),
            failure: (FAILURES * delta).min(1.0),
        }
    }
}

/// The most that (epsilon, delta) alone allows: twice the distance of the trade-off curve's kink from the diagonal.
///
/// Kairouz, Oh, Viswanath, arXiv:1311.0776.
fn advantage(epsilon: f64, delta: f64) -> f64 {
    outward(1.0 - 2.0 * (1.0 - delta) / (1.0 + epsilon.exp()))
}

/// Both lines of the trade-off curve of (epsilon, delta).
fn true_positives(epsilon: f64, delta: f64, false_positives: f64) -> f64 {
    let rising = epsilon.exp() * false_positives + delta;
    let flat = 1.0 - (-epsilon).exp() * (1.0 - delta - false_positives).max(0.0);
    outward(rising.min(flat))
}

/// The least bound over all epsilon. Each of them holds, so the search need not be exact.
fn best_true_positives(delta_at: impl Fn(f64) -> f64, false_positives: f64) -> f64 {
    // Golden section: the bound has one valley. Beyond the end the rising line is above one.
    const SHARE: f64 = 0.618_033_988_749_895;
    let bound = |epsilon: f64| true_positives(epsilon, delta_at(epsilon), false_positives);
    let (mut low, mut high) = (0.0, -false_positives.ln());
    let mut best = bound(low);
    for _ in 0..24 {
        let (left, right) = (high - SHARE * (high - low), low + SHARE * (high - low));
        let (at_left, at_right) = (bound(left), bound(right));
        best = best.min(at_left).min(at_right);
        if at_left < at_right {
            high = right;
        } else {
            low = left;
        }
    }
    best
}

/// How often a belief may go beyond [`posterior`], in units of delta.
const FAILURES: f64 = 10.0;

/// Bayes with a likelihood ratio that is exceeded with probability at most [`FAILURES`] times delta.
///
/// With L the privacy loss, delta >= E[(1 - e^(epsilon - L))_+] >= Pr[L > x] (1 - e^(epsilon - x)) for every x > epsilon;
/// epsilon alone is exceeded more often than with probability delta.
fn posterior(epsilon: f64, prior: f64) -> f64 {
    let odds = (-epsilon).exp() * (1.0 - 1.0 / FAILURES);
    outward(prior / (prior + (1.0 - prior) * odds))
}

/// A probability that a few roundings may have made too small.
fn outward(probability: f64) -> f64 {
    (probability * (1.0 + 1e-14)).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_promise_alone_gives_the_textbook_bounds() {
        assert!((advantage(0.0, 0.0)).abs() < 1e-13);
        assert!((advantage(3_f64.ln(), 0.0) - 0.5).abs() < 1e-13);
        assert!((true_positives(2_f64.ln(), 0.01, 0.1) - 0.21).abs() < 1e-13);
        assert!((true_positives(2_f64.ln(), 0.0, 0.9) - 0.95).abs() < 1e-13);
        // Odds of 3 / 0.9.
        assert!((posterior(3_f64.ln(), 0.5) - 10.0 / 13.0).abs() < 1e-13);
        assert_eq!(posterior(800.0, 0.5), 1.0);
    }

    /// A Gaussian of shift 1: a test's true positive rate is Phi(Phi^-1(fpr) + 1).
    #[test]
    fn the_whole_curve_beats_one_point_of_it() {
        use dp_core::accounting::{Adjacency, Event};
        let history = History {
            adjacency: Adjacency::AddRemove,
            events: vec![(Event::Gaussian { sigma: 1.0 }, 1)],
            described: vec![],
        };
        let odds = Odds::of(&history, 4.377_178, 1e-5, 0.01, 0.5);
        // Phi(-2.3263479 + 1) and 2 Phi(1/2) - 1.
        assert!((odds.true_positives - 0.092_361_6).abs() < 1e-5, "{odds:?}");
        assert!((odds.advantage - 0.382_924_9).abs() < 1e-6, "{odds:?}");
    }

    /// One Gaussian of shift 1, whose loss is N(1/2, 1): how often it is beyond the odds that the belief is taken from.
    #[test]
    fn a_belief_goes_further_only_as_often_as_is_said() {
        // Epsilon at delta 1e-5; the loss exceeds x with probability (1 - Phi)(x - 1/2).
        let beyond = |x: f64| 0.5 * erfc((x - 0.5) / 2_f64.sqrt());
        let (epsilon, delta) = (4.377_178, 1e-5);
        let odds = |belief: f64| (belief / (1.0 - belief)).ln();
        assert!(beyond(odds(posterior(epsilon, 0.5))) <= FAILURES * delta);
        // Epsilon itself would not do for delta itself.
        assert!(beyond(epsilon) > delta);
    }

    /// Continued fraction of erfc, good to 1e-6 here.
    fn erfc(x: f64) -> f64 {
        let tail = (1..60)
            .rev()
            .fold(x, |tail, k| x + 0.5 * f64::from(k) / tail);
        (-x * x).exp() / (tail * std::f64::consts::PI.sqrt())
    }
}
