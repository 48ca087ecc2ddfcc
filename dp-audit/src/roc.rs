//! Membership inference: how well a score tells records that were trained on from records that were not.

use crate::AuditError;
use crate::binomial::{Interval, clopper_pearson};
use crate::error::{check_confidence, check_scores};
use crate::normal::quantile;

/// The receiver operating characteristic of a score: true positive rate over false positive rate for every threshold.
///
/// # References
/// Yeom, Giacomelli, Fredrikson, Jha, arXiv 1709.01604, for the loss as a score; Carlini, Chien, Nasr, Song, Terzis, Tramèr, arXiv
/// 2112.03570, for why the true positive rate at a small false positive rate says more than the area.
///
/// ```
/// use dp_audit::Roc;
/// let roc = Roc::new(&[-3.0, -2.0, -2.5, -1.0], &[-1.5, -0.5, -0.7, -0.2])?;
/// assert_eq!(roc.area(), 15.0 / 16.0);
/// # Ok::<(), dp_audit::AuditError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Roc {
    /// Corners in ascending order: false positives and true positives so far, from (0, 0) to (all, all).
    corners: Vec<(u64, u64)>,
    others: u64,
    members: u64,
}

impl Roc {
    /// Of the scores of records that were not trained on, and of those that were (`members`); a higher score says "was".
    ///
    /// # Errors
    /// [`AuditError::TooFew`] where there is none of either kind, [`AuditError::NotANumber`].
    pub fn new(others: &[f64], members: &[f64]) -> Result<Self, AuditError> {
        if others.is_empty() || members.is_empty() {
            return Err(AuditError::TooFew {
                absent: others.len(),
                present: members.len(),
            });
        }
        check_scores(others)?;
        check_scores(members)?;
        let tagged = |scores: &[f64], is_member| -> Vec<(f64, bool)> {
            scores.iter().map(|&score| (score, is_member)).collect()
        };
        let mut all = [tagged(others, false), tagged(members, true)].concat();
        all.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut corners = vec![(0, 0)];
        let mut seen = (0, 0);
        for (at, &(score, is_member)) in all.iter().enumerate() {
            if is_member {
                seen.1 += 1;
            } else {
                seen.0 += 1;
            }
            // Equal scores lie on one side of every threshold.
            if all.get(at + 1).is_none_or(|next| next.0 != score) {
                corners.push(seen);
            }
        }
        Ok(Self {
            corners,
            others: others.len() as u64,
            members: members.len() as u64,
        })
    }

    /// The corners as rates, from (0, 0) to (1, 1): false positive rate and true positive rate.
    pub fn points(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        let (others, members) = (self.others as f64, self.members as f64);
        self.corners
            .iter()
            .map(move |&(x, y)| (x as f64 / others, y as f64 / members))
    }

    /// The area under the curve: the probability that a member has the higher score of a random pair, equal scores counted half. 0.5 is
    /// what a score that knows nothing has.
    #[must_use]
    pub fn area(&self) -> f64 {
        let twice: u128 = self
            .corners
            .windows(2)
            .map(|pair| {
                let [(x0, y0), (x1, y1)] = [pair[0], pair[1]];
                u128::from(x1 - x0) * u128::from(y0 + y1)
            })
            .sum();
        twice as f64 / (2 * u128::from(self.others) * u128::from(self.members)) as f64
    }

    /// An interval of the area, asymptotic and good down to a dozen records of each kind, also where the two kinds are told apart without error.
    ///
    /// # Errors
    /// [`AuditError::Confidence`].
    ///
    /// # References
    /// Newcombe, "Confidence intervals for an effect size measure based on the Mann-Whitney statistic. Part 2", Statistics in Medicine 25
    /// (2006), method 5; the variance is that of Hanley and McNeil (1982) with equal group sizes in its middle term.
    pub fn area_interval(&self, confidence: f64) -> Result<Interval, AuditError> {
        check_confidence(confidence)?;
        let z = quantile(0.5 * (1.0 + confidence));
        let area = self.area();
        Ok(Interval {
            lower: 1.0 - self.largest_area(1.0 - area, z),
            upper: self.largest_area(area, z),
        })
    }

    /// The largest area from which the one seen is no more than `z` standard deviations away.
    fn largest_area(&self, seen: f64, z: f64) -> f64 {
        let (n, m) = (self.others as f64, self.members as f64);
        let extra = 0.5 * (n + m) - 1.0;
        let deviation = |theta: f64| {
            let tails = (1.0 - theta) / (2.0 - theta) + theta / (1.0 + theta);
            (theta * (1.0 - theta) * (1.0 + extra * tails) / (n * m)).sqrt()
        };
        let (mut low, mut high) = (seen, 1.0);
        for _ in 0..60 {
            let middle = 0.5 * (low + high);
            if middle - seen <= z * deviation(middle) {
                low = middle;
            } else {
                high = middle;
            }
        }
        high
    }

    /// The true positive rate at the strictest threshold that uses up a false positive rate of `rate`, with its Clopper-Pearson interval: the
    /// share of members that an attacker names who seldom names another.
    ///
    /// # Errors
    /// [`AuditError::Rate`] outside [0, 1], [`AuditError::Confidence`].
    pub fn true_positive_rate(
        &self,
        rate: f64,
        confidence: f64,
    ) -> Result<(f64, Interval), AuditError> {
        if !(0.0..=1.0).contains(&rate) {
            return Err(AuditError::Rate { rate });
        }
        let allowed = (rate * self.others as f64).floor() as u64;
        let within = self.corners.iter().filter(|&&(x, _)| x <= allowed);
        let found = within.map(|&(_, y)| y).max().unwrap_or(0);
        let interval = clopper_pearson(found, self.members, confidence)?;
        Ok((found as f64 / self.members as f64, interval))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dp_core::noise::{Generator, Key, fill_gaussian};

    fn normals(count: usize, shift: f64, seed: u32) -> Vec<f64> {
        let mut noise = vec![0.0; count];
        let key = Key::new([seed, 7, 0, 0, 0, 0, 0, 0]);
        fill_gaussian(&mut noise, 0, 1.0, &key, Generator::ChaCha20, 0, 0).unwrap();
        noise.into_iter().map(|x| f64::from(x) + shift).collect()
    }

    /// Against the definition, pair by pair, ties among them.
    #[test]
    fn the_area_is_that_of_the_pairs() {
        let others = [1.0, 2.0, 2.0, 3.0, 7.0];
        let members = [2.0, 2.0, 3.5, 7.0];
        let mut wins = 0.0;
        for a in members {
            for b in others {
                wins += if a > b {
                    1.0
                } else if a == b {
                    0.5
                } else {
                    0.0
                };
            }
        }
        let roc = Roc::new(&others, &members).unwrap();
        assert_eq!(roc.area(), wins / 20.0);
        let swapped = Roc::new(&members, &others).unwrap();
        assert_eq!(swapped.area(), 1.0 - wins / 20.0);
        let points: Vec<_> = roc.points().collect();
        assert_eq!(points.first(), Some(&(0.0, 0.0)));
        assert_eq!(points.last(), Some(&(1.0, 1.0)));
        assert_eq!(points[1], (0.2, 0.25));
    }

    /// Two normal laws a distance of 1 apart: an area of `Phi(1 / sqrt 2) = 0.76025`. 95% intervals that miss it in more than 20 of 200 would
    /// have a chance below 1e-3, and these seeds are fixed; intervals of half the width miss much more often.
    #[test]
    fn the_interval_covers() {
        let truth = crate::normal::cdf(std::f64::consts::FRAC_1_SQRT_2);
        let (mut missed, mut missed_by_half) = (0, 0);
        for seed in 0..200 {
            let others = normals(60, 0.0, 2 * seed);
            let members = normals(40, 1.0, 2 * seed + 1);
            let roc = Roc::new(&others, &members).unwrap();
            let Interval { lower, upper } = roc.area_interval(0.95).unwrap();
            let area = roc.area();
            assert!(0.0 <= lower && lower < area && area < upper && upper <= 1.0);
            missed += u32::from(!(lower..=upper).contains(&truth));
            let half = 0.5 * (lower + area)..=0.5 * (area + upper);
            missed_by_half += u32::from(!half.contains(&truth));
        }
        assert!(missed <= 20, "{missed}");
        assert!(missed_by_half > 40, "{missed_by_half}");
    }

    /// No error at all is not certainty.
    #[test]
    fn a_perfect_score_has_an_interval_too() {
        let roc = Roc::new(&[0.0; 20], &[1.0; 20]).unwrap();
        assert_eq!(roc.area(), 1.0);
        let Interval { lower, upper } = roc.area_interval(0.95).unwrap();
        assert!(lower > 0.8 && lower < 0.97 && upper == 1.0, "{lower}");
        let blind = Roc::new(&[0.0; 20], &[0.0; 20]).unwrap();
        let Interval { lower, upper } = blind.area_interval(0.95).unwrap();
        assert_eq!(blind.area(), 0.5);
        assert!(
            ((lower + upper) - 1.0).abs() < 1e-12 && lower < 0.4,
            "{lower}"
        );
    }

    #[test]
    fn rates_at_a_false_positive_rate() {
        let others: Vec<f64> = (0..100).map(f64::from).collect();
        let members: Vec<f64> = (0..50).map(|i| 2.0 * f64::from(i) + 0.5).collect();
        let roc = Roc::new(&others, &members).unwrap();
        // No false positive: above 99, which no member is.
        assert_eq!(roc.true_positive_rate(0.0, 0.95).unwrap().0, 0.0);
        // Five of them: 95 to 99, and the members 98.5, 96.5 and 94.5, which lies above 94.
        let (rate, interval) = roc.true_positive_rate(0.05, 0.95).unwrap();
        assert_eq!(rate, 0.06);
        assert_eq!(interval, clopper_pearson(3, 50, 0.95).unwrap());
        assert_eq!(roc.true_positive_rate(1.0, 0.95).unwrap().0, 1.0);
        assert!(roc.true_positive_rate(1.5, 0.95).is_err());
        assert!(roc.area_interval(1.0).is_err());
        assert!(Roc::new(&[], &[1.0]).is_err() && Roc::new(&[1.0], &[f64::NAN]).is_err());
    }
}
