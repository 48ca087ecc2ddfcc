//! How far a run's and its events' losses reach.

use super::super::hockey::hockey;
use super::super::law::{Direction, Law};
use super::super::{AccountingError, Run};
use super::discretise::Curve;
use super::plan::{LN_NEGLIGIBLE, Plan};

/// Where a curve counts as zero.
const LN_NOTHING: f64 = -650.0;
/// Room for the rounding of a sum over events.
const ROOM: f64 = 1.0 + 1e-12;

/// Probability of an infinite loss in the composed run.
pub(super) fn infinite(run: &Run<'_>) -> Result<f64, AccountingError> {
    let mut ln_none = 0.0;
    for &(event, count) in run.events {
        if let Law::Lattice(lattice) = event.law(run.adjacency)? {
            ln_none += count as f64 * libm::log1p(-lattice.infinite);
        }
    }
    Ok(-libm::expm1(ln_none))
}

/// A loss that the composed run in this direction exceeds with at most the second number's probability, if that is next to
/// nothing but for infinite losses: every event's loss is cut where its finite curve is below `e^-650`.
///
/// Proven: what is beyond the cut is at most that event's curve there, and the rest adds up to the loss.
pub(super) fn largest_loss(
    run: &Run<'_>,
    direction: Direction,
) -> Result<(f64, f64), AccountingError> {
    let (mut loss, mut rest) = (0.0, 0.0);
    for &(event, count) in run.events {
        if count == 0 {
            continue;
        }
        let law = event.law(run.adjacency)?;
        let curve = Curve {
            law: &law,
            direction,
        };
        let nothing = LN_NOTHING.max(libm::log(curve.floor()));
        let mut high = 1e-12;
        while high < 1e9 && curve.ln(high)? > nothing {
            high *= 2.0;
        }
        let mut low = 0.5 * high;
        for _ in 0..40 {
            let middle = 0.5 * (low + high);
            if curve.ln(middle)? > nothing {
                low = middle;
            } else {
                high = middle;
            }
        }
        let count = count as f64;
        loss += count * high * ROOM;
        let beyond = hockey(&law, direction, high)?.bounds().upper;
        rest += count * beyond.max(libm::exp(LN_NOTHING)) * ROOM;
    }
    Ok((loss, rest))
}

/// Delta by basic composition: every event gets the same share of epsilon, and its own curve there.
pub(super) fn basic_delta(
    run: &Run<'_>,
    direction: Direction,
    epsilon: f64,
) -> Result<f64, AccountingError> {
    let steps: f64 = run.events.iter().map(|&(_, count)| count as f64).sum();
    let mut delta = 0.0;
    for &(event, count) in run.events {
        if count > 0 {
            let law = event.law(run.adjacency)?;
            let one = hockey(&law, direction, epsilon / (steps * ROOM))?;
            delta += count as f64 * one.bounds().upper * ROOM;
        }
    }
    Ok(delta)
}

/// Epsilon by basic composition, infinite if it is beyond all range.
pub(super) fn basic_epsilon(
    run: &Run<'_>,
    direction: Direction,
    delta: f64,
) -> Result<f64, AccountingError> {
    let mut high = 1e-6;
    while basic_delta(run, direction, high)? > delta {
        high *= 2.0;
        if high > 1e18 {
            return Ok(f64::INFINITY);
        }
    }
    let mut low = 0.0;
    for _ in 0..40 {
        let middle = 0.5 * (low + high);
        if basic_delta(run, direction, middle)? > delta {
            low = middle;
        } else {
            high = middle;
        }
    }
    Ok(high)
}

/// Number of cells, at most `most`, after which what is left of the curve is negligible for `plan`.
pub(super) fn cells(
    curve: &Curve<'_>,
    mirrored: bool,
    count: f64,
    plan: &Plan,
    interval: f64,
    most: usize,
) -> Result<usize, AccountingError> {
    let floor = curve.floor();
    let share = LN_NEGLIGIBLE - libm::log(count);
    let beyond = |j: usize| -> Result<bool, AccountingError> {
        let epsilon = j as f64 * interval;
        let ln = curve.ln(epsilon)?;
        if floor > 0.0 && libm::exp(ln) <= floor * (1.0 + 1e-13) {
            return Ok(true);
        }
        Ok(if mirrored {
            ln - (plan.tilt + 1.0) * epsilon <= share
        } else {
            ln <= share + plan.ln_delta && ln + plan.tilt * epsilon <= share
        })
    };
    let mut high = 2;
    while high < most && !beyond(high)? {
        high *= 2;
    }
    let mut low = high / 2;
    high = high.min(most);
    while high > low + 1 {
        let middle = low + (high - low) / 2;
        if beyond(middle)? {
            high = middle;
        } else {
            low = middle;
        }
    }
    Ok(high.max(2))
}

/// A span that all atoms of the run's first event with atoms are multiples of.
pub(super) fn span(run: &Run<'_>) -> Result<Option<f64>, AccountingError> {
    for &(event, count) in run.events {
        if count == 0 {
            continue;
        }
        match event.law(run.adjacency)? {
            // An odd number of atoms has one at zero; else they are at odd multiples of half a span.
            Law::Lattice(lattice) if lattice.top > 0.0 => {
                let half = if lattice.atoms % 2 == 1 { 1.0 } else { 0.5 };
                return Ok(Some(half * lattice.span()));
            }
            // The atoms at both ends hold most of the law.
            Law::Laplace { rate: 1.0, mu } => return Ok(Some(mu)),
            Law::DiscreteGaussian { sigma, sensitivity } => {
                let step = f64::from(sensitivity) / (sigma * sigma);
                let half = if sensitivity % 2 == 0 { 1.0 } else { 0.5 };
                return Ok(Some(half * step));
            }
            _ => {}
        }
    }
    Ok(None)
}
