//! What an event list comes to, before any integral is taken.

use super::cumulants::{Kept, Parts};
use super::kernel::Kernel;
use super::laplace::{self, Steps};
use crate::accounting::law::Law;
use crate::accounting::reduce::MAX_COUNT;
use crate::accounting::{AccountingError, Bounds, Run};

/// The kind of sum that a run needs.
#[expect(
    clippy::large_enum_variant,
    reason = "there is no heap to put a law on"
)]
pub(super) enum Summary<'a> {
    /// No finite loss but zero.
    Nothing,
    /// All events are Gaussian: together `N(mu, 1)` against `N(0, 1)`.
    Gaussian { mu: f64 },
    /// One event, once.
    Single(Law),
    /// Laplace mechanisms of one scale.
    Laplace(Steps),
    /// Anything else.
    Mixed(Parts<'a>, Kernel),
}

/// The probability of a loss without bound, as the logarithm of that of none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Infinite {
    ln_none: f64,
}

impl Infinite {
    /// Delta with the infinite losses in it.
    pub fn add_to(&self, finite: Bounds) -> Bounds {
        if self.ln_none == 0.0 {
            return finite;
        }
        let (none, some) = (libm::exp(self.ln_none), -libm::expm1(self.ln_none));
        let total = |delta: f64| some + none * delta;
        let room = 8.0 * f64::EPSILON;
        Bounds {
            lower: total(finite.lower) * (1.0 - room),
            estimate: total(finite.estimate).min(1.0),
            upper: (total(finite.upper) * (1.0 + room)).min(1.0),
        }
    }

    /// What of `delta` is left for finite losses, between two bounds.
    pub fn left_of(&self, delta: f64) -> Result<(f64, f64), AccountingError> {
        if self.ln_none == 0.0 {
            return Ok((delta, delta));
        }
        let some = -libm::expm1(self.ln_none);
        let left = (delta - some) / libm::exp(self.ln_none);
        let room = 8.0 * f64::EPSILON * (delta + some) / libm::exp(self.ln_none);
        let (low, high) = (left - room, left + room);
        if low > 0.0 {
            Ok((low, high.min(1.0)))
        } else {
            Err(AccountingError::InfiniteLoss {
                delta,
                probability: some,
            })
        }
    }
}

/// A run, summed up.
pub(super) struct Sum<'a> {
    pub summary: Summary<'a>,
    pub infinite: Infinite,
    /// The summary is of a run that dominates this one: its answers bound from above only.
    pub dominated: bool,
}

/// Checks every event and count, and sums up what has a closed form.
///
/// Balls in bins composed with anything have a loss for which there are no nodes. By convexity one record in a known bin, a
/// Gaussian event, leaks at least as much.
pub(super) fn summarise(run: Run<'_>) -> Result<Sum<'_>, AccountingError> {
    let (mut mu_sq, mut ln_none) = (0.0, 0.0);
    let (mut others, mut times) = (0usize, 0u64);
    let mut single = None;
    let mut lattice: Option<Kernel> = None;
    let mut on_lattice = true;
    let mut bins: Option<(Law, u64)> = None;
    let mut bins_mu_sq = 0.0;
    let mut laplace: Option<Steps> = None;
    let mut all_laplace = true;
    let mut kept = Kept::default();
    for (at, &(event, count)) in run.events.iter().enumerate() {
        if count > MAX_COUNT {
            return Err(AccountingError::CountTooLarge { count });
        }
        let law = event.law(run.adjacency)?;
        if count == 0 {
            continue;
        }
        let n = count as f64;
        all_laplace &= matches!(law, Law::Laplace { rate: 1.0, .. });
        match &law {
            Law::Shift { mu } => {
                mu_sq += mu * mu * n;
                continue;
            }
            Law::Bins { mu, .. } => {
                bins_mu_sq += mu * mu * n;
                let before = bins.map_or(0, |(_, times)| times);
                bins = Some((law, before.saturating_add(count)));
                continue;
            }
            Law::Lattice(part) => {
                ln_none += n * libm::log1p(-part.infinite);
                let kernel = (part.span(), n * part.top);
                on_lattice &= part.top == 0.0 || extend(&mut lattice, kernel);
            }
            Law::DiscreteGaussian { sigma, sensitivity } => {
                let mu = f64::from(*sensitivity) / sigma;
                on_lattice &= extend(&mut lattice, (mu / sigma, -0.5 * n * mu * mu));
            }
            Law::ZeroConcentrated { .. } => return Err(AccountingError::UndefinedEngine),
            Law::Laplace { mu, .. } => {
                on_lattice = false;
                let so_far = laplace.map_or(0.0, |steps| steps.n);
                all_laplace &= laplace.is_none_or(|steps| steps.mu == *mu);
                laplace = Some(Steps {
                    n: so_far + n,
                    mu: *mu,
                });
            }
            _ => on_lattice = false,
        }
        kept.add(at, &law);
        others += 1;
        times = times.saturating_add(count);
        single = Some(law);
    }
    let infinite = Infinite { ln_none };
    let mut dominated = false;
    if let Some((law, times)) = bins {
        if times == 1 && others == 0 && mu_sq == 0.0 {
            return Ok(Sum {
                summary: Summary::Single(law),
                infinite,
                dominated,
            });
        }
        mu_sq += bins_mu_sq;
        dominated = true;
    }
    if !mu_sq.is_finite() {
        return Err(AccountingError::OutOfRange { value: mu_sq });
    }
    let no_loss = |law: &Law| matches!(law, Law::Lattice(part) if part.top == 0.0);
    let parts = Parts {
        adjacency: run.adjacency,
        events: run.events,
        mu_sq,
        others,
        kept,
    };
    let summary = match (single, lattice) {
        (None, _) if mu_sq == 0.0 => Summary::Nothing,
        (None, _) => Summary::Gaussian {
            mu: libm::sqrt(mu_sq),
        },
        (Some(law), _) if others == 1 && no_loss(&law) => {
            if mu_sq == 0.0 {
                Summary::Nothing
            } else {
                Summary::Gaussian {
                    mu: libm::sqrt(mu_sq),
                }
            }
        }
        (Some(Law::Lattice(part)), _) if times == 1 && mu_sq == 0.0 => {
            // The infinite loss is accounted for apart.
            Summary::Single(Law::Lattice(crate::accounting::law::Lattice {
                infinite: 0.0,
                ..part
            }))
        }
        (Some(law), _) if times == 1 && mu_sq == 0.0 => Summary::Single(law),
        (Some(_), _)
            if all_laplace && laplace.is_some_and(|steps| steps.n <= laplace::MAX_COUNT) =>
        {
            laplace.map_or(Summary::Nothing, Summary::Laplace)
        }
        (Some(_), Some(kernel)) if on_lattice && mu_sq == 0.0 => Summary::Mixed(parts, kernel),
        (Some(_), _) => Summary::Mixed(parts, Kernel::Line),
    };
    Ok(Sum {
        summary,
        infinite,
        dominated,
    })
}

/// Adds losses `offset + k span` to a lattice, if it has that span.
fn extend(lattice: &mut Option<Kernel>, (span, offset): (f64, f64)) -> bool {
    match lattice {
        None => *lattice = Some(Kernel::Lattice { span, offset }),
        Some(Kernel::Lattice {
            span: known,
            offset: sum,
        }) if *known == span => *sum += offset,
        Some(_) => return false,
    }
    true
}
