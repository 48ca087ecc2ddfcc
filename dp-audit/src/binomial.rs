//! The binomial law: tails without cancellation, and the exact interval of a rate.

use crate::AuditError;
use crate::error::check_confidence;

/// A two-sided confidence interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Lower end.
    pub lower: f64,
    /// Upper end.
    pub upper: f64,
}

/// The exact two-sided interval of a rate of which `successes` of `trials` were seen: half of `1 - confidence` on each side.
///
/// # Errors
/// [`AuditError::Counts`] and [`AuditError::Confidence`].
///
/// # Precision
/// Both ends are rounded outward.
///
/// # References
/// Clopper, Pearson, Biometrika 26 (1934).
///
/// ```
/// use dp_audit::clopper_pearson;
/// let seen = clopper_pearson(8, 10, 0.95)?;
/// assert!((seen.lower - 0.443_904_5).abs() < 1e-6 && (seen.upper - 0.974_789_3).abs() < 1e-6);
/// # Ok::<(), dp_audit::AuditError>(())
/// ```
pub fn clopper_pearson(
    successes: u64,
    trials: u64,
    confidence: f64,
) -> Result<Interval, AuditError> {
    check_confidence(confidence)?;
    let one_sided = 0.5 * (1.0 + confidence);
    Ok(Interval {
        lower: rate_at_least(successes, trials, one_sided)?,
        upper: rate_at_most(successes, trials, one_sided)?,
    })
}

/// The largest rate that is not refuted from above: a true rate beyond it would give so few successes with a chance of at most
/// `1 - confidence`. One-sided Clopper-Pearson, rounded up.
///
/// # Errors
/// [`AuditError::Counts`] and [`AuditError::Confidence`].
pub fn rate_at_most(successes: u64, trials: u64, confidence: f64) -> Result<f64, AuditError> {
    check_confidence(confidence)?;
    if trials == 0 || successes > trials {
        return Err(AuditError::Counts { successes, trials });
    }
    if successes == trials {
        return Ok(1.0);
    }
    let alpha = 1.0 - confidence;
    let (mut low, mut high) = (successes as f64 / trials as f64, 1.0);
    loop {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            return Ok(high);
        }
        if lower_tail(trials, successes, middle) < alpha {
            high = middle;
        } else {
            low = middle;
        }
    }
}

/// The smallest rate that is not refuted from below, the counterpart of [`rate_at_most`]; rounded down.
///
/// # Errors
/// [`AuditError::Counts`] and [`AuditError::Confidence`].
pub fn rate_at_least(successes: u64, trials: u64, confidence: f64) -> Result<f64, AuditError> {
    if successes > trials {
        return Err(AuditError::Counts { successes, trials });
    }
    let failures = rate_at_most(trials - successes, trials, confidence)?;
    // 1 - x rounds to the nearest, and so may round up.
    Ok((1.0 - failures).next_down().max(0.0))
}

/// `P[X <= k]` for `X` of `n` trials with success rate `p`.
pub(crate) fn lower_tail(n: u64, k: u64, p: f64) -> f64 {
    if k >= n {
        return 1.0;
    }
    upper_tail(n, n - k, 1.0 - p)
}

/// `P[X >= k]` for `X` of `n` trials with success rate `p`.
///
/// # Precision
/// Relative error about 1e-12 for `n` up to 1e6: the terms are summed away from the mean, where they fall.
pub(crate) fn upper_tail(n: u64, k: u64, p: f64) -> f64 {
    if k == 0 {
        return 1.0;
    }
    if k > n || p <= 0.0 {
        return 0.0;
    }
    if p >= 1.0 {
        return 1.0;
    }
    if (k as f64) <= n as f64 * p {
        // The other tail: n - X has rate 1 - p, and X < k is n - X > n - k.
        return 1.0 - falling(n, n - k + 1, 1.0 - p);
    }
    falling(n, k, p)
}

/// `P[X >= k]` above the mean.
fn falling(n: u64, k: u64, p: f64) -> f64 {
    if k > n {
        return 0.0;
    }
    let odds = p / (1.0 - p);
    let mut term = mass(n, k, p);
    let mut sum = term;
    for j in k..n {
        term *= (n - j) as f64 / (j + 1) as f64 * odds;
        sum += term;
        if term < 1e-18 * sum {
            break;
        }
    }
    sum.min(1.0)
}

/// `P[X = k]`, by Loader's saddle point: a product of factors near one, where a difference of log-gammas would cancel.
///
/// # References
/// Loader, "Fast and accurate computation of binomial probabilities" (2000).
pub(crate) fn mass(n: u64, k: u64, p: f64) -> f64 {
    if k > n {
        return 0.0;
    }
    let (count, q) = (n as f64, 1.0 - p);
    if k == 0 {
        return libm::exp(count * libm::log1p(-p));
    }
    if k == n {
        return libm::exp(count * libm::log(p));
    }
    let (x, y) = (k as f64, (n - k) as f64);
    let exponent = stirling_error(n)
        - stirling_error(k)
        - stirling_error(n - k)
        - deviance(x, count * p)
        - deviance(y, count * q);
    let scale = count / (2.0 * core::f64::consts::PI * x * y);
    libm::exp(exponent) * libm::sqrt(scale)
}

/// `ln n! - ln(sqrt(2 pi n) (n/e)^n)`.
fn stirling_error(n: u64) -> f64 {
    let x = n as f64;
    if n < 16 {
        let half_ln_2pi = 0.918_938_533_204_672_8;
        return libm::lgamma(x + 1.0) - (x + 0.5) * libm::log(x) + x - half_ln_2pi;
    }
    let s = 1.0 / (x * x);
    (1.0 / 12.0 - s * (1.0 / 360.0 - s * (1.0 / 1260.0 - s * (1.0 / 1680.0 - s / 1188.0)))) / x
}

/// `x ln(x / m) + m - x`, without cancellation where `x` is near `m`.
fn deviance(x: f64, m: f64) -> f64 {
    let v = (x - m) / (x + m);
    if v.abs() >= 0.1 {
        return x * libm::log(x / m) + m - x;
    }
    // ln(x/m) = 2 atanh(v), whose first term cancels the difference but for (x - m) v.
    let mut sum = (x - m) * v;
    let mut power = 2.0 * x * v;
    for j in 1..1000 {
        power *= v * v;
        let next = sum + power / f64::from(2 * j + 1);
        if next == sum {
            break;
        }
        sum = next;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, expected: f64) {
        assert!(
            (found / expected - 1.0).abs() < 1e-11,
            "{found:e} for {expected:e}"
        );
    }

    /// By sums of exact terms in 40 digits (mpmath); the last by SciPy 1.17.
    #[test]
    fn tails_have_their_digits() {
        close(upper_tail(10, 8, 0.5), 0.054_687_5);
        close(upper_tail(600, 540, 0.8), 2.650_658_578_841_492_7e-11);
        close(upper_tail(1000, 310, 0.3085), 0.470_978_061_034_057_7);
        close(lower_tail(1000, 309, 0.3085), 0.529_021_938_965_942_3);
        close(lower_tail(1000, 19, 0.02), 1.0 - upper_tail(1000, 20, 0.02));
        close(upper_tail(5000, 4600, 0.88), 2.442_786_989_254_721_2e-20);
        let many = upper_tail(100_000, 50_500, 0.5);
        assert!((many / 0.000_791_179_939_425_757_7 - 1.0).abs() < 1e-10);
        assert_eq!(upper_tail(7, 0, 0.1), 1.0);
        assert_eq!((lower_tail(7, 7, 0.1), upper_tail(7, 8, 0.5)), (1.0, 0.0));
    }

    #[test]
    fn masses_sum_to_one() {
        for (n, p) in [(1, 0.3), (17, 0.9), (400, 0.017), (3000, 0.5)] {
            let sum: f64 = (0..=n).map(|k| mass(n, k, p)).sum();
            close(sum, 1.0);
        }
    }

    /// By SciPy's `betaincinv`; and outward, never inward.
    #[test]
    fn intervals_have_their_digits() {
        for (successes, trials, confidence, expected) in [
            (0, 1000, 0.975, 0.003_682_083_896_865_671),
            (310, 1000, 0.975, 0.339_693_831_037_320_15),
            (61_700, 200_000, 0.975, 0.310_529_480_270_378_4),
            (67, 1000, 1.0 - 5e-10, 0.126_861_206_083_579_23),
        ] {
            let found = rate_at_most(successes, trials, confidence).unwrap();
            assert!((found / expected - 1.0).abs() < 1e-8, "{found}");
            assert!(lower_tail(trials, successes, found) <= 1.0 - confidence);
            let mirrored = rate_at_least(trials - successes, trials, confidence).unwrap();
            assert!(mirrored <= 1.0 - found && mirrored > 1.0 - found - 1e-12);
        }
        assert_eq!(rate_at_most(5, 5, 0.95), Ok(1.0));
        assert_eq!(rate_at_least(0, 5, 0.95), Ok(0.0));
    }

    /// An interval of 95% misses at most one time in twenty, whatever the rate: exactly, by the law of the count.
    #[test]
    fn intervals_cover() {
        for p in [0.01, 0.2, 0.5, 0.93] {
            let missed: f64 = (0..=60)
                .filter(|&k| {
                    let seen = clopper_pearson(k, 60, 0.95).unwrap();
                    !(seen.lower..=seen.upper).contains(&p)
                })
                .map(|k| mass(60, k, p))
                .sum();
            assert!(missed <= 0.05, "{p}: {missed}");
            // A Wald interval of the same width misses more often, and is seen to.
            let wald: f64 = (0..=60)
                .filter(|&k| {
                    let rate = k as f64 / 60.0;
                    (rate - p).abs() > 1.96 * (rate * (1.0 - rate) / 60.0).sqrt()
                })
                .map(|k| mass(60, k, p))
                .sum();
            assert!(wald > 0.05, "{p}: {wald}");
        }
    }

    #[test]
    fn impossible_counts_are_refused() {
        let counts = AuditError::Counts {
            successes: 3,
            trials: 2,
        };
        assert_eq!(rate_at_least(3, 2, 0.9), Err(counts.clone()));
        assert_eq!(rate_at_most(3, 2, 0.9), Err(counts));
        assert!(rate_at_most(0, 0, 0.9).is_err() && rate_at_least(0, 0, 0.9).is_err());
        for confidence in [0.0, 1.0, f64::NAN] {
            assert!(clopper_pearson(1, 2, confidence).is_err());
        }
    }
}
