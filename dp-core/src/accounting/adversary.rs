//! What a run's privacy means to an adversary: advantage, detection rate, belief.
//!
//! The adversary knows everything but which of the two neighbouring data sets was used: whether the record is in.
//!
//! The argument is in `docs/proofs/accounting-belief.md`.

use super::{Accountant, AccountingError, Bounds, Run, trade_off};

/// The largest difference of true and false positive rate of any membership test: the total variation distance, delta(0).
///
/// With a prior of one half the best test is right with probability `(1 + advantage) / 2`.
///
/// # Privacy
/// No test has an advantage above `upper`, in either direction.
///
/// # Errors
/// What the accountant answers.
///
/// # References
/// Yeom et al., arXiv:1709.01604; Humphries et al., arXiv:2010.12112; Kairouz, Oh, Viswanath, arXiv:1311.0776.
///
/// ```
/// use dp_core::accounting::{Event, Gdp, Run, membership_advantage};
/// let events = [(Event::Gaussian { sigma: 1.0 }, 1)];
/// let advantage = membership_advantage(&mut Gdp, Run::add_remove(&events))?;
/// assert!((advantage.upper - 0.38292492254802624).abs() < 1e-12); // 2 Phi(1/2) - 1
/// # Ok::<(), dp_core::accounting::AccountingError>(())
/// ```
pub fn membership_advantage(
    accountant: &mut impl Accountant,
    run: Run<'_>,
) -> Result<Bounds, AccountingError> {
    accountant.delta(run, 0.0)
}

/// The largest true positive rate of a membership test whose false positive rate is at most `false_positive_rate`.
///
/// One minus [`trade_off`]; either data set may be the one that counts as positive.
///
/// # Privacy
/// No test has a true positive rate above `upper`.
///
/// # Errors
/// As [`trade_off`].
///
/// # References
/// Dong, Roth, Su, arXiv:1905.02383; Carlini et al., arXiv:2112.03570 (why the rate at a low false positive rate matters).
pub fn true_positive_rate(
    accountant: &mut impl Accountant,
    run: Run<'_>,
    false_positive_rate: f64,
) -> Result<Bounds, AccountingError> {
    let miss = trade_off(accountant, run, false_positive_rate)?;
    Ok(Bounds {
        lower: outward(1.0 - miss.upper, -1.0),
        estimate: 1.0 - miss.estimate,
        upper: outward(1.0 - miss.lower, 1.0),
    })
}

/// The largest probability that a positive answer is right (precision), of tests with a false positive rate of exactly
/// `false_positive_rate`, for an adversary who thinks the record is in with probability `prior`.
///
/// `prior TPR / (prior TPR + (1 - prior) FPR)`, which rises with the true positive rate, at the largest one.
///
/// # Privacy
/// No such test's positive answers are right with a probability above `upper`.
///
/// # Errors
/// [`AccountingError::InvalidProbability`] unless both are in (0, 1) (a false positive rate may be 1); else as [`trade_off`].
///
/// # References
/// Jayaraman et al., arXiv:2005.10881.
pub fn positive_predictive_value(
    accountant: &mut impl Accountant,
    run: Run<'_>,
    prior: f64,
    false_positive_rate: f64,
) -> Result<Bounds, AccountingError> {
    check_prior(prior)?;
    if false_positive_rate == 0.0 {
        return Err(AccountingError::InvalidProbability {
            value: false_positive_rate,
        });
    }
    let rate = true_positive_rate(accountant, run, false_positive_rate)?;
    let precision = |rate: f64| {
        let right = prior * rate;
        right / (right + (1.0 - prior) * false_positive_rate)
    };
    Ok(Bounds {
        lower: outward(precision(rate.lower), -1.0),
        estimate: precision(rate.estimate),
        upper: outward(precision(rate.upper), 1.0),
    })
}

/// The largest belief in the truth after an output, given the belief `prior` before and a privacy loss of at most `epsilon`:
/// `1 / (1 + (1 - prior) / prior e^-epsilon)`, rounded up.
///
/// # Privacy
/// For a mechanism that is `epsilon`-DP (delta 0) it holds for every output. For an (epsilon, delta)-DP one it does NOT hold
/// with probability 1 - delta; that takes the larger epsilon of [`posterior_belief`].
///
/// # Errors
/// [`AccountingError::InvalidProbability`] unless the prior is in (0, 1); [`AccountingError::InvalidEpsilon`] unless epsilon is
/// at least 0.
///
/// # References
/// Lee, Clifton, "How much is enough? Choosing epsilon for differential privacy" (2011); Kasiviswanathan, Smith,
/// arXiv:0803.3946.
///
/// ```
/// use dp_core::accounting::belief;
/// assert!((belief(0.5, 1.0)? - 0.7310585786300049).abs() < 1e-14);
/// # Ok::<(), dp_core::accounting::AccountingError>(())
/// ```
pub fn belief(prior: f64, epsilon: f64) -> Result<f64, AccountingError> {
    check_prior(prior)?;
    if epsilon.is_nan() || epsilon < 0.0 {
        return Err(AccountingError::InvalidEpsilon { epsilon });
    }
    Ok(outward(plain_belief(prior, epsilon), 1.0))
}

/// Shares of delta at which the accountant is asked for an epsilon; finer ones follow around the best.
const SHARES: [f64; 5] = [0.5, 0.25, 0.06, 0.01, 1e-4];

/// What an adversary of belief `prior` in the truth (that the record is in, or that it isn't) believes at most after seeing
/// the output, except with probability `delta` over the run's randomness.
///
/// The belief is a function of the privacy loss L, so this is [`belief`] at the epsilon' with `Pr[L > epsilon'] <= delta`.
/// That is more than the epsilon of (epsilon, `delta`)-DP: since `delta(e) >= Pr[L > e'] (1 - e^{e - e'})`, every e with a delta(e)
/// below `delta` gives `epsilon' = e - log(1 - delta(e) / delta)`, and the least of several is taken.
///
/// # Privacy
/// If one of the two data sets was used, the belief in it is at most `upper` except with probability `delta`. `lower` is the belief
/// at the run's epsilon at `delta`, which the exact quantile can't be below.
///
/// # Errors
/// [`AccountingError::InvalidProbability`] unless the prior is in (0, 1); else what the accountant answers.
///
/// # Precision
/// 5 to 13 queries of epsilon. The bounds are as far apart as the two notions of epsilon are.
///
/// # References
/// As [`belief`]; Kasiviswanathan and Smith have a conversion of this kind at one fixed point.
///
/// ```
/// use dp_core::accounting::{Event, Gdp, Run, posterior_belief};
/// let events = [(Event::Gaussian { sigma: 2.0 }, 1)];
/// let after = posterior_belief(&mut Gdp, Run::add_remove(&events), 0.5, 1e-5)?;
/// // The loss is N(1/8, 1/4); its quantile is 2.2573.
/// assert!(after.lower <= 0.9053 && 0.9053 <= after.upper && after.upper < 0.93);
/// # Ok::<(), dp_core::accounting::AccountingError>(())
/// ```
pub fn posterior_belief(
    accountant: &mut impl Accountant,
    run: Run<'_>,
    prior: f64,
    delta: f64,
) -> Result<Bounds, AccountingError> {
    check_prior(prior)?;
    let least = accountant.epsilon(run, delta)?;
    let (mut best, mut share) = (f64::INFINITY, 0.5);
    let mut failure = None;
    for tried in SHARES {
        match quantile(accountant, run, delta, tried) {
            Ok(epsilon) if epsilon < best => (best, share) = (epsilon, tried),
            Ok(_) => {}
            Err(error) => failure = Some(error),
        }
    }
    // A few steps around the best share; each is a valid bound of its own.
    let mut factor = 2.0;
    for _ in 0..4 {
        for tried in [share * factor, share / factor] {
            if tried < 1.0
                && let Ok(epsilon) = quantile(accountant, run, delta, tried)
                && epsilon < best
            {
                (best, share) = (epsilon, tried);
                break;
            }
        }
        factor = libm::sqrt(factor);
    }
    if let (Some(error), true) = (failure, best.is_infinite()) {
        return Err(error);
    }
    Ok(Bounds {
        lower: outward(plain_belief(prior, least.lower), -1.0),
        estimate: plain_belief(prior, best),
        upper: outward(plain_belief(prior, best), 1.0),
    })
}

/// An epsilon that the loss exceeds with probability at most `delta`.
fn quantile(
    accountant: &mut impl Accountant,
    run: Run<'_>,
    delta: f64,
    share: f64,
) -> Result<f64, AccountingError> {
    let epsilon = accountant.epsilon(run, share * delta)?.upper;
    Ok((epsilon - libm::log1p(-share)) * (1.0 + 8.0 * f64::EPSILON))
}

fn plain_belief(prior: f64, epsilon: f64) -> f64 {
    1.0 / (1.0 + (1.0 - prior) / prior * libm::exp(-epsilon))
}

/// A probability moved up or down by its rounding.
fn outward(value: f64, sign: f64) -> f64 {
    (value + sign * 8.0 * f64::EPSILON * value.abs().max(f64::MIN_POSITIVE)).clamp(0.0, 1.0)
}

fn check_prior(prior: f64) -> Result<(), AccountingError> {
    if prior > 0.0 && prior < 1.0 {
        Ok(())
    } else {
        Err(AccountingError::InvalidProbability { value: prior })
    }
}
