//! What a split leaves of an event's moment, above its edge, on a path that is moved off the real line.
//!
//! As in [`turned`](super::turned), with the edge's share put on: two kinds of path, each summed over cells by the largest value that
//! every factor has in one.

use super::density::{Density, LN_PHI_0, Turned};
use super::nodes::Edge;
use super::turned::{LOWER, PATHS, RIGHT_ANGLE, WIDEST, scope, two_sided};
use super::walk::Walk;
use crate::accounting::law::{Direction, Law};
use crate::accounting::mixture::Mixture;

/// Cells of one sum above an edge.
const CELLS: u32 = 4000;
/// A bound above an edge that needs no better one.
const LEAST: f64 = 1e-19;
/// A distance from the edge, and the share that is above the edge there: `erfc(8)/2` is 5.7e-30.
const FAR_BELOW: (f64, f64) = (-8.0, 6e-30);

/// Bound on what a law's losses above an edge make of `|E_Q r^{a + i tau'}|`, for all `tau' >= tau`, in units of `e^level`.
///
/// `share(loss) = erfc(-(loss - edge) / width) / 2`, and `|erfc(x + i y)| <= e^{y^2} erfc(x)`, so the edge costs
/// `e^{(angle / width)^2}` on a turned path. Summed over cells by the largest value that each factor has in a cell.
pub(super) fn turned_above(law: &Law, a: f64, level: f64, tau: f64, edge: Edge) -> f64 {
    let line = |density: &Density<'_>, a: f64, edge: Edge, from: f64| {
        // The edge costs e^36 on the first path, and a hundredth of that digit on the last.
        let dearest = 6.0 / (density.slope() * edge.sharpness());
        let mut eta = (WIDEST / density.sector()).min(dearest).min(6.0);
        let mut best = f64::INFINITY;
        for _ in 0..PATHS {
            let bound = above_on_path(density, a, level, tau, edge, from, eta);
            if bound >= best && best < 1.0 {
                break;
            }
            best = best.min(bound);
            if best < LEAST {
                break;
            }
            eta *= LOWER;
        }
        best
    };
    match law {
        Law::Mixture(pair) => {
            let bound = line(&Density::Mixture(pair), a, edge, f64::NEG_INFINITY);
            match pair.one_record() {
                Some(_) if bound > LEAST => bound.min(above_on_level(pair, a, level, tau, edge)),
                _ => bound,
            }
        }
        Law::TwoSided { rate, mu } => line(&two_sided(*rate, *mu), a, edge, f64::NEG_INFINITY),
        Law::Truncated {
            rate,
            mu,
            share,
            other_rate,
        } => {
            let first = Mixture::record(*rate, *mu);
            let bound = line(&Density::Mixture(&first), a, edge, f64::NEG_INFINITY)
                .min(above_on_level(&first, a, level, tau, edge));
            (1.0 - share) * bound
                + share
                    * line(
                        &two_sided(*other_rate, 2.0 * mu),
                        a,
                        edge,
                        f64::NEG_INFINITY,
                    )
        }
        Law::Replaced { rate, mu } => {
            let pair = Mixture::record(*rate, *mu);
            // The pair is symmetric: losses above the edge have the other power in the other direction.
            let a = match edge.direction {
                Direction::Remove => a,
                Direction::Add => 1.0 - a,
            };
            let edge = Edge {
                direction: Direction::Remove,
                ..edge
            };
            // The atom at zero and the losses below it lie far below the edge.
            let bound = line(&Density::Mixture(&pair), a, edge, 0.5 * mu)
                .min(above_on_level(&pair, a, level, tau, edge));
            bound + 2.0 * edge.shares(0.0).0
        }
        _ => 1.0,
    }
}

fn above_on_path(
    density: &Density<'_>,
    a: f64,
    level: f64,
    tau: f64,
    edge: Edge,
    start: f64,
    eta: f64,
) -> f64 {
    let (from, to) = density.range(60.0, a, a);
    // The largest that the path and the edge add anywhere; with it, what lies outside of the range or far below the edge.
    let across = density.slope() * eta * edge.sharpness();
    let worst = 0.5 * eta * eta + across * across
        - density.fall(a) * libm::log(libm::cos(0.5 * eta * density.sector()));
    // Off the real line a ratio's modulus may be smaller by a cosine, which moves losses towards the edge.
    let drift = -libm::log(libm::cos(0.5 * eta * density.sector())) * edge.sharpness();
    let (from, to) = above(density, edge, drift, (from.max(start), to));
    let mut sum = libm::exp(worst) * (libm::exp(-50.0) + FAR_BELOW.1);
    if start.is_finite() {
        // The way up at the start, where the ratio is one.
        let ln = LN_PHI_0 - 0.5 * start * start - level;
        sum += edge.shares(0.0).0 * eta * libm::exp(ln + worst);
    }
    // |d^2/dy^2| of what is summed, without edge and angle: the second derivative of a ratio's logarithm is at most a variance of
    // shifts, sector^2 / 4, over cos^2 of half the largest angle.
    let bend = 1.0 + (a.abs() + (1.0 - a).abs()) * density.sector() * density.sector() / 3.0;
    let log_size = |y: f64, at: &Turned| -0.5 * y * y + a * at.ln_up + (1.0 - a) * at.ln_down;
    let scope = scope(a, 60.0);
    let walk = Walk::new(density, &scope);
    let mut y = from;
    let mut left = density.turned(y, eta);
    for _ in 0..CELLS {
        if y >= to {
            return sum;
        }
        let empty = walk.empty(y, &density.at(y));
        if empty > 0.0 {
            y += empty;
            left = density.turned(y, eta);
            continue;
        }
        // Each cell loses some four natural digits; well above the edge its share doesn't change any more.
        let near = match edge.direction {
            Direction::Remove => edge.distance(left.ln_up - left.ln_down) < 1.0,
            Direction::Add => true,
        };
        let mut cell = 4.0 / libm::sqrt(bend);
        if near {
            let steep = density.steepness(y, y + cell);
            cell = cell.min(0.25 / (edge.sharpness() * steep));
        }
        let right = density.turned(y + cell, eta);
        let most = log_size(y, &left).max(log_size(y + cell, &right)) + 0.125 * bend * cell * cell;
        let (least_angle, most_angle) = (
            left.angle_up + right.angle_down,
            right.angle_up + left.angle_down,
        );
        let loss = match edge.direction {
            Direction::Remove => right.ln_up - right.ln_down,
            Direction::Add => left.ln_up - left.ln_down,
        };
        let across = most_angle * edge.sharpness();
        let ln = LN_PHI_0 + 0.5 * eta * eta + most - tau * least_angle - level + across * across;
        sum += cell * edge.shares(loss).0 * libm::exp(ln);
        (y, left) = (y + cell, right);
    }
    f64::INFINITY
}

/// The part of a stretch where the losses, moved up by `drift` widths, are not far below the edge.
fn above(density: &Density<'_>, edge: Edge, drift: f64, (from, to): (f64, f64)) -> (f64, f64) {
    let (mut below, mut above) = match edge.direction {
        Direction::Remove => (from, to),
        Direction::Add => (to, from),
    };
    for _ in 0..40 {
        let middle = 0.5 * (below + above);
        if edge.distance(density.at(middle).loss) + drift < FAR_BELOW.0 {
            below = middle;
        } else {
            above = middle;
        }
    }
    match edge.direction {
        Direction::Remove => (below, to),
        Direction::Add => (from, below),
    }
}

/// The same for one record on a path `Im loss = theta`, up from loss zero and then along, where the edge's transform dies down
/// by itself: the path costs `e^{(theta / width)^2 - tau theta}` all along, least at `theta = tau width^2 / 2`.
///
/// There y is `(log(e^loss - 1 + rate) - log rate) / mu + mu / 2`; its real part, `|e^loss - 1 + rate|` and minus the angle
/// rise with the loss, so that each factor is largest at one end of a cell. What is below loss zero stays where it is.
fn above_on_level(pair: &Mixture, a: f64, level: f64, tau: f64, edge: Edge) -> f64 {
    if edge.direction == Direction::Add {
        return f64::INFINITY;
    }
    let density = Density::Mixture(pair);
    let (rate, mu) = (pair.weight(1).0, pair.shift(1));
    let out = 1.0 - rate;
    let sharp = edge.sharpness();
    let far_below = edge.shares(0.0).0;
    let (_, to) = density.range(60.0, a, a);
    let scope = scope(a, 60.0);
    let walk = Walk::new(&density, &scope);
    let path = |theta: f64| {
        let cost = theta * theta * sharp * sharp - tau * theta;
        // y at loss + i theta, and log |dy / d loss|.
        let at = |loss: f64| {
            let (sin, cos) = libm::sincos(theta);
            let e = libm::exp(loss);
            let (re, im) = (e * cos - out, e * sin);
            let ln_size = 0.5 * libm::log(re * re + im * im);
            let y = (ln_size - libm::log(rate)) / mu + 0.5 * mu;
            (y, libm::atan2(im, re) / mu, loss - ln_size - libm::log(mu))
        };
        let start = at(0.0);
        // Up: |1 - out e^{-i x}| >= max(rate, 2 sqrt(out) x / pi), and the cost is convex, so at most one.
        let length = (theta / rate).min(1.0)
            + RIGHT_ANGLE / libm::sqrt(out) * libm::log((theta / rate).max(1.0));
        let ascent =
            libm::exp(LN_PHI_0 - 0.125 * mu * mu + 0.5 * start.1 * start.1 - level) * length / mu;
        let mut sum = far_below * (1.0 + ascent) + libm::exp(0.5 * start.1 * start.1 - 50.0);
        let mut y = 0.5 * mu;
        let mut left = (0.0, start);
        for _ in 0..CELLS {
            if y >= to {
                return sum;
            }
            let empty = walk.empty(y, &density.at(y));
            if empty > 0.0 {
                y += empty;
                let loss = density.at(y).loss;
                left = (loss, at(loss));
                continue;
            }
            let steep = density.steepness(y, y + 0.5);
            let turns = if edge.distance(left.0) < 1.0 {
                16.0 * sharp
            } else {
                0.0
            };
            y += 4.0 / (4.0 + (a.abs() + 1.0 + turns) * steep + y.abs());
            let loss = density.at(y).loss;
            let right = (loss, at(loss));
            let ((from, (low, turn, stretch)), (_, (_, _, next_stretch))) = (left, right);
            let nearest = low.max(0.0);
            // |dy / d loss| has at most one maximum, 1 / (mu sin theta), inside.
            let stretch = if libm::exp(-from) * out > libm::cos(theta)
                && libm::exp(-loss) * out < libm::cos(theta)
            {
                -libm::log(mu * libm::sin(theta))
            } else {
                stretch.max(next_stretch)
            };
            let ln = LN_PHI_0 - 0.5 * nearest * nearest
                + 0.5 * turn * turn
                + stretch
                + (a * from).max(a * loss)
                - level
                + cost;
            sum += (loss - from) * edge.shares(loss).0 * libm::exp(ln);
            left = right;
        }
        f64::INFINITY
    };
    let mut theta = (0.5 * tau / (sharp * sharp)).min(6.3 / sharp).min(WIDEST);
    let mut best = f64::INFINITY;
    for _ in 0..4 {
        best = best.min(path(theta));
        theta *= 0.5;
    }
    best
}
