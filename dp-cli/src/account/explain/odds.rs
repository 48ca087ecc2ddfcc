//! What an adversary can reach against a run.

use dp_core::accounting::{membership_advantage, posterior_belief, true_positive_rate};

use crate::account::engine::After;
use crate::account::error::AccountError;
use crate::account::events::History;

/// Upper bounds for every adversary, whatever it knows and computes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Odds {
    /// True positive rate less false positive rate of any test.
    pub advantage: f64,
    /// True positive rate of any test with the given false positive rate.
    pub true_positives: f64,
    /// Belief in the truth after the prior, except with probability delta. That is more than epsilon's odds: the loss
    /// exceeds epsilon more often than with probability delta.
    pub posterior: f64,
}

impl Odds {
    /// Bounds for a run, from its whole curve of delta over epsilon.
    pub fn of(
        history: &History,
        delta: f64,
        false_positives: f64,
        prior: f64,
    ) -> Result<Self, AccountError> {
        let nothing = History::empty(history.adjacency);
        let accountant = &mut After(&nothing);
        let run = history.run();
        Ok(Self {
            advantage: membership_advantage(accountant, run)?.upper,
            true_positives: true_positive_rate(accountant, run, false_positives)?.upper,
            posterior: posterior_belief(accountant, run, prior, delta)?.upper,
        })
    }
}

#[cfg(test)]
mod tests {
    use dp_core::accounting::{Adjacency, Event};

    use super::*;

    /// A Gaussian of shift 1: a test's true positive rate is Phi(Phi^-1(fpr) + 1), its loss is N(1/2, 1).
    #[test]
    fn the_odds_are_those_of_one_gaussian() {
        let history = History {
            events: vec![(Event::Gaussian { sigma: 1.0 }, 1)],
            ..History::empty(Adjacency::AddRemove)
        };
        let odds = Odds::of(&history, 1e-5, 0.01, 0.5).unwrap();
        // Phi(-2.3263479 + 1) and 2 Phi(1/2) - 1.
        assert!((odds.true_positives - 0.092_361_6).abs() < 1e-5, "{odds:?}");
        assert!((odds.advantage - 0.382_924_9).abs() < 1e-6, "{odds:?}");
        // The loss is below 4.764891 except with probability 1e-5; the bound is not far above.
        let log_odds = (odds.posterior / (1.0 - odds.posterior)).ln();
        assert!((4.764_89..5.1).contains(&log_odds), "{odds:?}");
    }
}
