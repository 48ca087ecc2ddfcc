//! Takes out of the integral what can't reach epsilon: the outputs of which every step's loss is small.
//!
//! A run whose steps rarely matter has a nearly discrete loss: with a fair probability no step matters, and that part of the
//! law makes `|E e^{zL}|` die down slowly along the contour, though it lies far below epsilon and adds nothing
//! to delta there. So every event's law is cut in two by a smooth edge, M = A + B with A the small losses, and the contour
//! integrates `prod M^n - prod A^n = prod M^n (1 - prod (1 - B/M)^n)`. What `prod A^n` would have added to
//! delta is at most its Chernoff bound, which becomes part of the error.

use super::contour::Mark;
use super::cumulants::{Run, digits, moment};
use super::line::{BLOCK, Line, SUM_ROUNDING};
use super::nodes::{Edge, Part, ln_share, power};
use super::saddle::{Guard, Spacing};
use crate::accounting::AccountingError;
use crate::accounting::complex::Complex;
use crate::accounting::law::Law;

/// Natural digits below delta that the part taken out may still reach.
const DIGITS: f64 = 19.0;
/// Natural digits of a sum over what is above an edge, relative to itself.
const ABOVE_DIGITS: f64 = 38.0;
/// The fewest by which what is above an edge is taken to be smaller than the whole.
const SMALLEST: f64 = 60.0;
/// Digits that a sum below an edge may do without: a bound is wanted, not a value.
const LESS: f64 = 14.0;
/// Ratio of two edges that are tried.
const NEARBY: f64 = 1.2;

/// Logarithms of what one law's sums are in units of.
#[derive(Clone, Copy)]
struct Levels {
    whole: f64,
    above: f64,
}

/// Where a run can be cut on the line through `t`, and the bound on what is taken out then, if it can.
pub(super) fn find(
    run: &mut Run<'_, '_>,
    t: f64,
    epsilon: f64,
    ln_delta: f64,
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
    highest_edge(run, t, epsilon, ln_delta)
}

/// Multiplies the points of a line by what remains above the edge, if the nodes for it fit.
pub(super) fn apply(
    run: &mut Run<'_, '_>,
    spacing: &Spacing,
    edge: Edge,
    marks: &mut [Mark],
) -> bool {
    let done = factors(run, spacing, edge, marks).is_ok();
    if !done {
        for mark in marks {
            (mark.factor, mark.factor_error) = (Complex::ONE, 0.0);
            (mark.above, mark.below) = (Complex::ONE, Complex::ONE);
        }
    }
    done
}

/// Puts `1 - prod (1 - B/M)^n` on the points.
///
/// Meanwhile `factor` holds the sum of n log(1 - B/M), `factor_error` what that may be off by, `above` one law's M, and `below` the
/// error of M and whether some M may be zero: a line is split before it is smoothed.
fn factors(
    run: &mut Run<'_, '_>,
    spacing: &Spacing,
    edge: Edge,
    marks: &mut [Mark],
) -> Result<(), AccountingError> {
    for mark in marks.iter_mut() {
        (mark.factor, mark.factor_error) = (Complex::ZERO, 0.0);
        mark.below = Complex::ZERO;
    }
    let parts = run.parts;
    for (owner, (law, count)) in parts.others().enumerate() {
        let levels = add_whole(run, spacing, (owner, &law, count), edge, marks)?;
        add_logarithm(run, spacing, (owner, &law, count), (edge, levels), marks)?;
    }
    for mark in marks {
        let log = mark.factor;
        mark.factor = log.exp_m1().scale(-1.0);
        // |(1 - x')^n - (1 - x)^n| <= (|1 - x| + e)^n - |1 - x|^n
        let mut unsure = libm::exp(log.re) * libm::expm1(mark.factor_error);
        if mark.below.im > 0.0 {
            // M^n, which the factor is put on, is then off by that much of itself.
            unsure += libm::expm1(mark.error);
        }
        mark.factor_error = unsure / mark.factor.abs() + 8.0 * f64::EPSILON;
        (mark.above, mark.below) = (Complex::ONE, Complex::ONE);
    }
    Ok(())
}

/// Leaves one law's M in the marks, in units of its size at the real power, and what that may be off by; the logarithms of that size and of
/// about how large B is.
fn add_whole(
    run: &mut Run<'_, '_>,
    spacing: &Spacing,
    (owner, law, count): (usize, &Law, f64),
    edge: Edge,
    marks: &mut [Mark],
) -> Result<Levels, AccountingError> {
    let frequency = spacing.h * (marks.len() + BLOCK) as f64;
    let (w, sign) = power(run.direction, spacing.t);
    let nodes = run.table(owner, law, count, spacing.t, frequency)?;
    let missed = 4.0 * libm::exp(-digits(count));
    let whole = moment(nodes, w).k0;
    for (at, chunk) in marks.chunks_mut(BLOCK).enumerate() {
        let line = Line {
            w,
            h: sign * spacing.h,
            first: at * BLOCK,
        };
        let (sums, size) = line.shared(nodes, whole, |_| (1.0, 0.0));
        for (mark, sum) in chunk.iter_mut().zip(sums) {
            mark.above = sum;
            mark.below.re = size * (SUM_ROUNDING + missed);
        }
    }
    let about: f64 = nodes
        .iter()
        .map(|node| edge.shares(node.loss).0 * libm::exp(node.ln_weight + w * node.loss - whole))
        .sum();
    // Guessed well or not, what the nodes above the edge leave out is counted by that level.
    let above = whole + libm::log(about).clamp(-SMALLEST, 0.0);
    Ok(Levels { whole, above })
}

/// Adds one law's n log(1 - B/M), M being in the marks.
fn add_logarithm(
    run: &mut Run<'_, '_>,
    spacing: &Spacing,
    (owner, law, count): (usize, &Law, f64),
    (edge, levels): (Edge, Levels),
    marks: &mut [Mark],
) -> Result<(), AccountingError> {
    let frequency = spacing.h * (marks.len() + BLOCK) as f64;
    let part = Part::Above {
        edge,
        floor: levels.above,
    };
    let (w, sign) = power(run.direction, spacing.t);
    let nodes = run.part(owner, law, (spacing.t, frequency), ABOVE_DIGITS, part)?;
    let missed = 8.0 * libm::exp(-ABOVE_DIGITS);
    let ratio = libm::exp(levels.above - levels.whole);
    for (at, chunk) in marks.chunks_mut(BLOCK).enumerate() {
        let line = Line {
            w,
            h: sign * spacing.h,
            first: at * BLOCK,
        };
        let (sums, size) = line.shared(nodes, levels.above, |node| {
            // erfc amplifies its argument's rounding below the edge.
            let distance = edge.distance(node.loss);
            let below = (-distance).max(0.0);
            let unsure = if distance < 2.0 {
                let ulps = below + (edge.loss + node.loss.abs()) * edge.sharpness();
                (2.0 * below + 1.2) * ulps
            } else {
                0.0
            };
            (edge.shares(node.loss).0, unsure)
        });
        let unsure = ratio * (size * (SUM_ROUNDING + missed) + missed);
        for (mark, large) in chunk.iter_mut().zip(sums) {
            let (whole, whole_error) = (mark.above, mark.below.re);
            let large = large.scale(ratio);
            let (share, off) = if whole.abs() > 4.0 * whole_error {
                let share = large.div(whole);
                let off = (unsure + share.abs() * whole_error) / (whole.abs() - whole_error);
                (share, off)
            } else {
                // M may be zero. The point takes it for this or for a number of the error's size: M - B is off by what both may be.
                mark.below.im = 1.0;
                let whole = if whole.abs() > whole_error {
                    whole
                } else {
                    Complex::new(whole_error, 0.0)
                };
                (large.div(whole), (unsure + 9.0 * whole_error) / whole.abs())
            };
            let log = share.scale(-1.0).ln_1p();
            mark.factor = mark.factor.add(log.scale(count));
            mark.factor_error +=
                count * (libm::log1p(off / libm::exp(log.re)) + 4.0 * f64::EPSILON * log.abs());
        }
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
        let nodes = run
            .part(
                owner,
                &law,
                (t, 0.0),
                digits(count) - LESS,
                Part::Below(edge),
            )
            .ok()?;
        let sum: f64 = nodes
            .iter()
            .map(|node| {
                libm::exp(node.ln_weight + w * node.loss + ln_share(edge.distance(node.loss)))
            })
            .sum();
        // The quadrature and what the nodes leave out, each e^-24 / count or less.
        k0 += count * libm::log(sum + libm::exp(-22.0) * (1.0 + sum) / count);
    }
    Some(k0)
}
