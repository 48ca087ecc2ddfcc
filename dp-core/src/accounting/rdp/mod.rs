//! Rényi accounting: an upper bound that composes by adding.
//!
//! The argument is in `docs/proofs/accounting-rdp.md`.

mod density;
mod line;
mod minimum;
mod moment;
mod panel;

use super::law::{DIRECTIONS, Direction, Law};
use super::reduce::MAX_COUNT;
use super::{Accountant, AccountingError, Bounds, Run};
use minimum::{Search, minimum};
use moment::ln_moment;

/// The Rényi engine: every real order, and the best known conversion to (epsilon, delta).
///
/// It is there for comparison, and for [`Event::ZeroConcentratedDp`](super::Event::ZeroConcentratedDp), which only it takes.
/// Each direction is converted at its own best order.
///
/// # Privacy
/// `upper` may be promised: it is never below what the exact engine gives as its lower bound. `lower` is 0 (a Rényi divergence
/// bounds delta from above only), and `estimate` is `upper`.
///
/// # Precision
/// The conversion itself costs 1% to 15% of epsilon; the order is optimal to 1e-6, at which epsilon is to 1e-11.
/// [`Event::BallsInBinsGaussian`](super::Event::BallsInBinsGaussian) is refused, and so is a sampled Laplace event of a rate
/// below about 1e-60 ([`AccountingError::OutOfRange`]).
///
/// # References
/// Mironov, arXiv:1702.07476; Canonne, Kamath, Steinke, arXiv:2004.00010 (proposition 12); Asoodeh et al., arXiv:2001.05990.
///
/// ```
/// use dp_core::accounting::{Accountant, Event, Rdp, Run};
/// let events = [(Event::ZeroConcentratedDp { rho: 0.5 }, 1)];
/// let spent = Rdp.epsilon(Run::add_remove(&events), 1e-6)?;
/// assert!((spent.upper / 5.221534444530169 - 1.0).abs() < 1e-9);
/// # Ok::<(), dp_core::accounting::AccountingError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Rdp;

/// Largest epsilon that is answered.
const MAX_EPSILON: f64 = 1e9;
/// Orders minus one between which the best is looked for.
const ORDERS: (f64, f64) = (1e-12, 1e12);
/// Logarithm of a delta that is no more than the least positive number.
const NEGLIGIBLE: f64 = -709.0;

impl Accountant for Rdp {
    fn delta(&mut self, run: Run<'_>, epsilon: f64) -> Result<Bounds, AccountingError> {
        if !(0.0..=MAX_EPSILON).contains(&epsilon) {
            return Err(AccountingError::InvalidEpsilon { epsilon });
        }
        let ln_none = ln_none_infinite(&run)?;
        if nothing(&run)? {
            return Ok(Bounds::ZERO);
        }
        let (none, some) = (libm::exp(ln_none), -libm::expm1(ln_none));
        if epsilon >= largest_loss(&run)? {
            return Ok(only_upper((some * (1.0 + 1e-14)).max(f64::MIN_POSITIVE)));
        }
        let ln_delta = worst(
            |direction, t| {
                // log delta <= K(t) - t eps + t log t - (1 + t) log(1 + t), for every t > 0.
                let k = cumulant(&run, direction, t)?;
                Ok(outward(&[k, -t * epsilon, ln_conversion(t)]))
            },
            NEGLIGIBLE,
        )?;
        // Any t proves it, and so does 1.
        let finite = libm::exp(ln_delta.min(0.0)).max(f64::MIN_POSITIVE);
        Ok(only_upper(
            ((some + none * finite) * (1.0 + 1e-14)).min(1.0),
        ))
    }

    fn epsilon(&mut self, run: Run<'_>, delta: f64) -> Result<Bounds, AccountingError> {
        if !(delta > 0.0 && delta < 1.0) {
            return Err(AccountingError::InvalidDelta { delta });
        }
        let ln_none = ln_none_infinite(&run)?;
        let some = -libm::expm1(ln_none);
        let left = if some > 0.0 {
            (delta - some - 1e-15 * (delta + some)) / libm::exp(ln_none) * (1.0 - 1e-15)
        } else {
            delta
        };
        if left <= 0.0 {
            return Err(AccountingError::InfiniteLoss {
                delta,
                probability: some,
            });
        }
        if nothing(&run)? {
            return Ok(Bounds::ZERO);
        }
        let ln_delta = libm::log(left);
        let epsilon = worst(
            |direction, t| {
                let k = cumulant(&run, direction, t)?;
                Ok(outward(&[k, -ln_delta, ln_conversion(t)]) / t)
            },
            0.0,
        )?;
        // No loss is larger than all events' largest together.
        let most = largest_loss(&run)?;
        Ok(only_upper(epsilon.max(0.0).min(most)))
    }
}

/// Rényi divergence of order `alpha` (above 1) of a run, in nats: the larger one of the two directions.
///
/// # Privacy
/// The composed run is (`alpha`, `upper`)-Rényi differentially private under the run's adjacency, and the events' pairs attain
/// at least `lower`. A [`ZeroConcentratedDp`](super::Event::ZeroConcentratedDp) event counts as attained.
/// Infinite where a loss has no bound.
///
/// # Errors
/// [`AccountingError::InvalidOrder`] unless `alpha` is finite and above 1; an event that the adjacency or the engine doesn't
/// know; [`AccountingError::OutOfRange`] where the order is too large for `f64`.
///
/// # Precision
/// Relative width near 1e-13 for orders up to 1e3, growing with them beyond.
///
/// # References
/// Mironov, arXiv:1702.07476; Mironov, Talwar, Zhang, arXiv:1908.10530.
///
/// ```
/// use dp_core::accounting::{Event, Run, renyi};
/// let events = [(Event::PoissonGaussian { rate: 0.01, sigma: 1.0 }, 1)];
/// let divergence = renyi(Run::add_remove(&events), 2.0)?;
/// assert!((divergence.upper / 0.00017181342207454794 - 1.0).abs() < 1e-9);
/// # Ok::<(), dp_core::accounting::AccountingError>(())
/// ```
pub fn renyi(run: Run<'_>, alpha: f64) -> Result<Bounds, AccountingError> {
    if !(alpha > 1.0 && alpha.is_finite()) {
        return Err(AccountingError::InvalidOrder { alpha });
    }
    // alpha - 1 is exact up to 2, and within half an ulp beyond.
    let t = alpha - 1.0;
    if ln_none_infinite(&run)? < 0.0 {
        return Ok(Bounds {
            lower: f64::INFINITY,
            estimate: f64::INFINITY,
            upper: f64::INFINITY,
        });
    }
    if nothing(&run)? {
        return Ok(Bounds::ZERO);
    }
    let mut worst = Bounds::ZERO;
    for direction in DIRECTIONS {
        let (k, error) = total(&run, direction, t)?;
        let room = 4.0 * f64::EPSILON * k / t;
        worst = worst.max(Bounds {
            lower: ((k - error) / t - room).max(0.0),
            estimate: k / t,
            upper: (k + error) / t + room,
        });
    }
    worst.checked()
}

/// The larger one of both directions' least values of a bound, over the orders.
fn worst(
    mut bound: impl FnMut(Direction, f64) -> Result<f64, AccountingError>,
    enough: f64,
) -> Result<f64, AccountingError> {
    let [first, second] = DIRECTIONS;
    let search = |start, enough| Search {
        ends: ORDERS,
        start,
        enough,
    };
    let (t, value) = minimum(|t| bound(first, t), search(4.0, enough))?;
    // Where the other direction is no worse, its value at the same order mostly says so, and the search ends there.
    let (_, other) = minimum(|t| bound(second, t), search(t, value.max(enough)))?;
    // `max` would drop a NaN, and so promise the other direction's value.
    if value.is_nan() || other.is_nan() {
        return Err(AccountingError::OutOfRange { value: f64::NAN });
    }
    Ok(value.max(other))
}

/// A bound from above alone.
fn only_upper(upper: f64) -> Bounds {
    Bounds {
        lower: 0.0,
        estimate: upper,
        upper,
    }
}

/// `t log t - (1 + t) log(1 + t)`, the logarithm of `sup_x (1 - e^{-x}) e^{-t x}`.
fn ln_conversion(t: f64) -> f64 {
    -libm::log1p(t) - t * libm::log1p(1.0 / t)
}

/// The sum, moved up by its rounding.
fn outward(terms: &[f64; 3]) -> f64 {
    let (sum, size) = terms
        .iter()
        .fold((0.0, 0.0), |(sum, size), x| (sum + x, size + x.abs()));
    sum + 8.0 * f64::EPSILON * size
}

/// Upper end of `log E[e^{tL}]` of the run.
fn cumulant(run: &Run<'_>, direction: Direction, t: f64) -> Result<f64, AccountingError> {
    let (value, error) = total(run, direction, t)?;
    Ok(value + error)
}

/// `log E[e^{tL}]` of the run, given that no loss is infinite, and its absolute error.
fn total(run: &Run<'_>, direction: Direction, t: f64) -> Result<(f64, f64), AccountingError> {
    let (mut sum, mut errors) = (0.0, 0.0);
    for (event, count) in run.events {
        if *count > 0 {
            let (value, error) = ln_moment(&event.law(run.adjacency)?, direction, t)?;
            let count = *count as f64;
            sum += count * value;
            errors += count * (error + 4.0 * f64::EPSILON * value);
        }
    }
    let errors = errors * (1.0 + 1e-12) + f64::EPSILON * run.events.len() as f64 * sum;
    if sum.is_finite() && errors.is_finite() {
        Ok((sum, errors))
    } else {
        Err(AccountingError::OutOfRange { value: t })
    }
}

/// Checks the run; the logarithm of the probability that no loss is infinite.
fn ln_none_infinite(run: &Run<'_>) -> Result<f64, AccountingError> {
    let mut ln_none = 0.0;
    for (event, count) in run.events {
        let law = event.law(run.adjacency)?;
        if *count > MAX_COUNT {
            return Err(AccountingError::CountTooLarge { count: *count });
        }
        match law {
            Law::Lattice(lattice) if *count > 0 => {
                ln_none += *count as f64 * libm::log1p(-lattice.infinite);
            }
            Law::Bins { .. } if *count > 0 => return Err(AccountingError::UndefinedEngine),
            _ => {}
        }
    }
    Ok(ln_none)
}

/// Whether no event happens, or none that tells anything but by an infinite loss.
fn nothing(run: &Run<'_>) -> Result<bool, AccountingError> {
    for (event, count) in run.events {
        let told = match event.law(run.adjacency)? {
            Law::Lattice(lattice) => lattice.top > 0.0,
            Law::ZeroConcentrated { rho } => rho > 0.0,
            _ => true,
        };
        if told && *count > 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A number that no finite loss of the run exceeds; infinite where there is none.
fn largest_loss(run: &Run<'_>) -> Result<f64, AccountingError> {
    let mut sum = 0.0;
    for (event, count) in run.events {
        if *count > 0 {
            sum += *count as f64
                * match event.law(run.adjacency)? {
                    Law::Lattice(lattice) => lattice.top,
                    Law::Laplace { rate, mu } => largest_laplace_loss(rate, mu),
                    _ => f64::INFINITY,
                };
        }
    }
    Ok(sum * (1.0 + 1e-13))
}

/// `log(1 - rate + rate e^mu)`; the other direction's is no larger.
pub(super) fn largest_laplace_loss(rate: f64, mu: f64) -> f64 {
    if mu < 500.0 {
        libm::log1p(rate * libm::expm1(mu))
    } else {
        mu + libm::log(rate + (1.0 - rate) * libm::exp(-mu))
    }
}
