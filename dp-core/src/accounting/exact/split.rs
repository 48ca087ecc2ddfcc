//! Takes out of the integral what can't reach epsilon: the outputs of which every step's loss is small.
//!
//! A run whose steps rarely matter has a nearly discrete loss: with a fair probability no step matters, and that part of the
//! law makes `|E e^{zL}|` die down slowly along the contour, though it lies far below epsilon and adds nothing
//! to delta there. So every event's law is cut in two by a smooth edge, M = A + B with A the small losses, and the contour
//! integrates `prod M^n - prod A^n = prod M^n (1 - prod (1 - B/M)^n)`. What `prod A^n` would have added to
//! delta is at most its Chernoff bound, which becomes part of the error.

use super::contour::Mark;
use super::cumulants::{Run, moment};
use super::line::{BLOCK, Line};
use super::nodes::{Edge, power};
use super::saddle::{Guard, Spacing};
use crate::accounting::AccountingError;
use crate::accounting::complex::Complex;
use crate::accounting::law::Law;

/// Natural digits below delta that the part taken out may still reach.
const DIGITS: f64 = 19.0;
/// Rounding of one sum of turned weights, in units of the sum of the weights.
const ROUNDING: f64 = 64.0 * f64::EPSILON;
/// Ratio of two edges that are tried.
const NEARBY: f64 = 1.2;

/// Multiplies the points of a line by what remains; where it was cut and the bound on what was taken out, if anything was.
pub(super) fn apply(
    run: &mut Run<'_, '_>,
    spacing: &Spacing,
    epsilon: f64,
    ln_delta: f64,
    marks: &mut [Mark],
) -> Option<(Edge, Guard)> {
    let density = |law: &Law| {
        matches!(
            law,
            Law::Mixture(_) | Law::TwoSided { .. } | Law::Truncated { .. } | Law::Replaced { .. }
        )
    };
    // Atoms among the large losses turn for ever; the one of a replacement is at loss zero.
    if epsilon <= 0.0 || !run.parts.others().all(|(law, _)| density(&law)) {
        return None;
    }
    let (edge, guard) = highest_edge(run, spacing.t, epsilon, ln_delta)?;
    let factors = factors(run, spacing, edge, marks);
    if factors.is_err() {
        for mark in marks {
            (mark.factor, mark.above) = (Complex::ONE, Complex::ONE);
            mark.factor_error = 0.0;
        }
        return None;
    }
    Some((edge, guard))
}

/// Puts `1 - prod (1 - B/M)^n` on the points.
fn factors(
    run: &mut Run<'_, '_>,
    spacing: &Spacing,
    edge: Edge,
    marks: &mut [Mark],
) -> Result<(), AccountingError> {
    let (w, sign) = power(run.direction, spacing.t);
    let frequency = spacing.h * (marks.len() + BLOCK) as f64;
    let parts = run.parts;
    for mark in marks.iter_mut() {
        (mark.factor, mark.above) = (Complex::ZERO, Complex::ZERO);
    }
    // Sum of n log(1 - B/M) first.
    for (owner, (law, count)) in parts.others().enumerate() {
        let nodes = run.edged(owner, &law, count, (spacing.t, frequency), edge)?;
        let level = moment(nodes, w).k0;
        let size: f64 = nodes
            .iter()
            .map(|node| {
                edge.shares(node.loss).0 * libm::exp(node.ln_weight + w * node.loss - level)
            })
            .sum();
        for (at, chunk) in marks.chunks_mut(BLOCK).enumerate() {
            let line = Line {
                w,
                h: sign * spacing.h,
                first: at * BLOCK,
            };
            let large = line.share(nodes, level, |node| edge.shares(node.loss).0);
            let whole = line.share(nodes, level, |_| 1.0);
            for (mark, (large, whole)) in chunk.iter_mut().zip(large.into_iter().zip(whole)) {
                let term = large.div(whole).scale(-1.0).ln_1p();
                mark.factor = mark.factor.add(term.scale(count));
                // B is a sum of positive weights times turns, off by ulps of the sum of the weights.
                let unsure = (size + large.abs()) * ROUNDING / whole.abs();
                // Kept here until the factor is known.
                mark.above.re += count * unsure;
            }
        }
    }
    for mark in marks {
        let log = mark.factor;
        mark.factor = log.exp_m1().scale(-1.0);
        // |d(1 - e^s)| = |e^s| |ds|
        let unsure = libm::exp(log.re) * libm::expm1(mark.above.re);
        mark.factor_error = unsure / mark.factor.abs();
        mark.above = Complex::ONE;
    }
    Ok(())
}

/// The highest edge below which the losses don't reach epsilon, with the proof of it.
fn highest_edge(
    run: &mut Run<'_, '_>,
    t: f64,
    epsilon: f64,
    ln_delta: f64,
) -> Option<(Edge, Guard)> {
    let direction = run.direction;
    let count: f64 = run.parts.others().map(|(_, count)| count).sum();
    let mut start = t;
    let mut tried = |loss: f64| {
        let edge = Edge { direction, loss };
        let guard = leak(run, t, start, epsilon, ln_delta, edge)?;
        start = guard.t;
        Some((edge, guard))
    };
    // Even all steps together at this loss stay below epsilon by half.
    let mut low = 0.5 * epsilon / count;
    let mut best = tried(low)?;
    let mut high = epsilon;
    while high > NEARBY * low {
        let middle = libm::sqrt(low * high);
        match tried(middle) {
            Some(found) => (low, best) = (middle, found),
            None => high = middle,
        }
    }
    Some(best)
}

/// A Chernoff bound on what the small losses alone make of delta, if it is small enough.
///
/// Looks for it from the power `start` on, to both sides; at `least` or above.
fn leak(
    run: &mut Run<'_, '_>,
    least: f64,
    start: f64,
    epsilon: f64,
    ln_delta: f64,
    edge: Edge,
) -> Option<Guard> {
    let mut best = f64::INFINITY;
    for factor in [1.5, 1.0 / 1.5] {
        let mut t = if factor > 1.0 { start } else { start * factor };
        let mut here = best;
        for _ in 0..24 {
            if t < least {
                break;
            }
            let guard = Guard {
                t,
                k0: below(run, t, edge)?,
            };
            let bound = guard.ln_chernoff(epsilon);
            if bound <= ln_delta - DIGITS {
                return Some(guard);
            }
            // The bound is convex in t.
            if bound >= here {
                break;
            }
            here = bound;
            best = best.min(bound);
            t *= factor;
        }
    }
    None
}

/// A bound on the logarithm of what the small losses make of `E e^{tL}`.
fn below(run: &mut Run<'_, '_>, t: f64, edge: Edge) -> Option<f64> {
    let (w, _) = power(run.direction, t);
    let parts = run.parts;
    let mut k0 = 0.5 * (t * t + t) * parts.mu_sq;
    for (owner, (law, count)) in parts.others().enumerate() {
        let nodes = run.below(owner, &law, count, t, edge).ok()?;
        let mut sum = 0.0;
        for node in nodes {
            let part = edge.shares(node.loss).1;
            if part > 0.0 {
                sum += part * libm::exp(node.ln_weight + w * node.loss);
            }
        }
        // The quadrature and what the nodes leave out, each e^-24 / count or less.
        k0 += count * libm::log(sum + libm::exp(-22.0) * (1.0 + sum) / count);
    }
    Some(k0)
}
