//! One event's moment on a path that is moved off the real line: bounds that fall all the way up the line.
//!
//! `y + i eta` instead of y: the ratio's terms turn by angles between 0 and a right angle, all one way, so that
//! `|r^w| = |r|^a e^{-tau angle}` for `w = a + i tau`, and the normal density grows by `e^{eta^2/2}` alone. Atoms count with all
//! their weight.

use super::density::{Density, LN_PHI_0, Turned};
use super::nodes::{Edge, Scope};
use super::panel;
use super::walk::Walk;
use crate::accounting::law::{Direction, Law};
use crate::accounting::mixture::{Mixture, turned_ratio_of_one};

/// Largest angle by which the ratio's terms are turned.
const WIDEST: f64 = core::f64::consts::FRAC_PI_3;
const RIGHT_ANGLE: f64 = core::f64::consts::FRAC_PI_2;
/// Paths that are tried, and how far up each is in units of the last.
const PATHS: u32 = 12;
const LOWER: f64 = 0.7;
/// Points of one path; where it would take more, nothing is claimed.
const POINTS: f64 = 4096.0;
/// Room for rounding in a bound.
const ROOM: f64 = 1.0 + 1e-12;
/// A bound above an edge that needs no better one.
const LEAST: f64 = 1e-19;
/// Cells of one sum above an edge.
const CELLS: u32 = 4000;

/// What a turned path is drawn for.
pub(super) struct Aim {
    pub a: f64,
    /// Logarithm of the moment at the real power.
    pub level: f64,
    pub tau: f64,
    /// Natural digits of the quadrature, relative to the moment at the real power.
    pub digits: f64,
    /// Where the paths start.
    pub highest: f64,
    /// Minus the logarithm of a bound that needs no better one.
    pub enough: f64,
}

/// Bound on the moment's modulus, in units of `e^level`, at tau and everything above.
pub(super) fn turned(law: &Law, aim: &Aim) -> f64 {
    match law {
        Law::Mixture(pair) => whole_line(&Density::Mixture(pair), aim),
        Law::TwoSided { rate, mu } => whole_line(&two_sided(*rate, *mu), aim),
        Law::Truncated {
            rate,
            mu,
            share,
            other_rate,
        } => {
            let second = share * whole_line(&two_sided(*other_rate, 2.0 * mu), aim);
            if *share == 1.0 {
                return second;
            }
            let first = Mixture::record(*rate, *mu);
            (1.0 - share) * whole_line(&Density::Mixture(&first), aim) + second
        }
        Law::Replaced { rate, mu } => {
            let pair = Mixture::record(*rate, *mu);
            // What is missing of one, at loss zero.
            let atom = (1.0 - rate)
                * libm::erf(0.5 * mu * core::f64::consts::FRAC_1_SQRT_2)
                * libm::exp(-aim.level);
            let path = |eta: f64| {
                half_line(&pair, *rate, *mu, aim.a, eta, aim)
                    + half_line(&pair, *rate, *mu, 1.0 - aim.a, eta, aim)
            };
            atom + lowest(*mu, aim, path)
        }
        Law::Laplace { rate, mu } => interval(*rate, *mu, aim),
        // Atoms turn for ever.
        _ => 1.0,
    }
}

fn two_sided(rate: f64, mu: f64) -> Density<'static> {
    Density::TwoSided {
        rate,
        ln_rate: libm::log(rate),
        mu,
    }
}

/// The least of the bounds of some paths; `sector`: by how much the terms turn per unit of height.
fn lowest(sector: f64, aim: &Aim, path: impl Fn(f64) -> f64) -> f64 {
    let mut best = f64::INFINITY;
    let mut eta = (WIDEST / sector).min(aim.highest);
    for _ in 0..PATHS {
        let bound = path(eta);
        if bound >= best {
            break;
        }
        best = bound;
        if libm::log(best) <= -aim.enough {
            break;
        }
        eta *= LOWER;
    }
    best * ROOM
}

/// `integral of normal(y) |up|^a |down|^{1-a} e^{eta^2/2 - tau angle} dy` on the least of some paths, by the trapezoid rule.
///
/// With `L` the ratio's logarithm the integrand is `normal(y) e^{(w L(y + i eta) + conj(w) L(y - i eta)) / 2}`, analytic; on
/// `Im y = zeta` it is at most `e^{zeta^2/2} sec((eta + zeta) sector / 2)^fall` times the real one while `(eta + zeta) sector`
/// is at most a right angle, whatever tau is.
fn whole_line(density: &Density<'_>, aim: &Aim) -> f64 {
    let sector = density.sector();
    let fall = density.fall(aim.a);
    let scope = scope(aim.a, aim.digits);
    let walk = Walk::new(density, &scope);
    let path = |eta: f64| {
        let step = step(sector, fall, eta, aim.digits);
        if (walk.range.1 - walk.range.0).min(24.0) / step > POINTS {
            return f64::INFINITY;
        }
        let mut sum = 0.0;
        let done = walk.trapezoid(step, |y, _| {
            let at = density.turned(y, eta);
            sum += libm::exp(
                LN_PHI_0 - 0.5 * y * y + aim.a * at.ln_up + (1.0 - aim.a) * at.ln_down
                    - aim.tau * (at.angle_up + at.angle_down)
                    - aim.level,
            );
            if sum.is_finite() { Ok(()) } else { Err(()) }
        });
        if done.is_err() {
            return f64::INFINITY;
        }
        libm::exp(0.5 * eta * eta) * (sum * step + missed(fall, eta * sector, aim.digits))
    };
    lowest(sector, aim, path)
}

/// What a rule with that many digits leaves out, in units of the moment.
fn missed(fall: f64, angle: f64, digits: f64) -> f64 {
    8.0 * libm::exp(-digits - fall * libm::log(libm::cos(0.5 * angle)))
}

fn scope(a: f64, digits: f64) -> Scope {
    Scope {
        low: a,
        high: a,
        frequency: 0.0,
        digits,
        edge: None,
        below: false,
    }
}

/// Step at which the trapezoid rule errs by `e^-digits`.
fn step(sector: f64, fall: f64, eta: f64, digits: f64) -> f64 {
    let mut zeta = libm::sqrt(2.0 * digits).min(RIGHT_ANGLE / sector - eta);
    let mut best = 0.0f64;
    for _ in 0..8 {
        let growth = 0.5 * zeta * zeta - fall * libm::log(libm::cos(0.5 * (eta + zeta) * sector));
        best = best.max(2.0 * core::f64::consts::PI * zeta / (digits + growth));
        zeta *= 0.7;
    }
    best
}

/// The same on `y >= mu/2`, where the ratio begins at one: up to `Im y = eta` first, then along.
fn half_line(pair: &Mixture, rate: f64, mu: f64, a: f64, eta: f64, aim: &Aim) -> f64 {
    let density = Density::Mixture(pair);
    let fall = density.fall(a);
    let scope = scope(a, aim.digits);
    let start = 0.5 * mu;
    let (_, to) = density.range(aim.digits, a, a);
    let mut sum = 0.0;
    let (mut y, mut half) = (start, panel::WIDEST);
    let mut panels = 0;
    while y < to {
        half = panel::half_width(&density, &scope, (fall, eta), y, 1.6 * half);
        for (node, weight) in panel::rule() {
            let x = y + half * (1.0 + node);
            let at = density.turned(x, eta);
            sum += half
                * weight
                * libm::exp(
                    LN_PHI_0 - 0.5 * x * x + a * at.ln_up - aim.tau * at.angle_up - aim.level,
                );
        }
        y += 2.0 * half;
        panels += 1;
        if f64::from(panels) * panel::NODES as f64 > POINTS {
            return f64::INFINITY;
        }
    }
    let end = libm::exp(LN_PHI_0 - 0.5 * start * start - aim.level);
    libm::exp(0.5 * eta * eta)
        * (sum + missed(fall, eta * mu, aim.digits) + ascent(end, rate, mu, fall, eta, aim.tau))
}

/// `size` times the integral of `|r^w|` from a real y straight up to eta, without the normal density's growth.
///
/// `angle >= sin(angle) >= share sin(eta slope) >= share 2 eta slope / pi`, share the part of r that turns.
fn ascent(size: f64, share: f64, slope: f64, fall: f64, eta: f64, tau: f64) -> f64 {
    let decay = share * slope * tau / RIGHT_ANGLE;
    let length = eta.min(1.0 / decay);
    size * length * libm::exp(-fall * libm::log(libm::cos(0.5 * eta * slope)))
}

/// Laplace noise: an atom on each side, and the interval between, whose path goes up at one end and down at the other.
fn interval(rate: f64, mu: f64, aim: &Aim) -> f64 {
    let a = aim.a;
    let fall = (-a).max(0.0);
    // v = 2 x - mu runs from -mu to mu; the density is e^-x / 2.
    let end = |x: f64| {
        let v = 2.0 * x - mu;
        let (ln_ratio, _) = turned_ratio_of_one(rate, v, 0.0);
        let size = libm::exp(-core::f64::consts::LN_2 - x + a * ln_ratio - aim.level);
        (size, rate * libm::exp(v - ln_ratio))
    };
    let ((left, left_share), (right, right_share)) = (end(0.0), end(mu));
    let power = a.abs().max(1.0);
    let half = panel::half_width_of_slope(2.0 * power + 1.0, aim.digits, 0.5 * mu);
    let panels = libm::ceil(0.5 * mu / half);
    if panels * panel::NODES as f64 > POINTS {
        return 1.0;
    }
    let half = 0.5 * mu / panels;
    let path = |eta: f64| {
        let mut sum = 0.0;
        let mut start = 0.0;
        while start < mu - half {
            for (node, weight) in panel::rule() {
                let x = start + half * (1.0 + node);
                let (ln_up, angle) = turned_ratio_of_one(rate, 2.0 * x - mu, 2.0 * eta);
                let ln = a * ln_up - aim.tau * angle - x - core::f64::consts::LN_2 - aim.level;
                sum += half * weight * libm::exp(ln);
            }
            start += 2.0 * half;
        }
        sum + missed(fall, 2.0 * eta, aim.digits)
            + ascent(left, left_share, 2.0, fall, eta, aim.tau)
            + ascent(right, right_share, 2.0, fall, eta, aim.tau)
    };
    // The panels' ellipses reach half a unit across: together a right angle.
    let aim = &Aim {
        highest: aim.highest.min(0.5 * RIGHT_ANGLE - 0.5),
        ..*aim
    };
    left + right + lowest(2.0, aim, path)
}

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
    let (from, to) = above(density, edge, (from.max(start), to));
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

/// A distance from the edge, and the share that is above the edge there: `erfc(8)/2` is 5.7e-30.
const FAR_BELOW: (f64, f64) = (-8.0, 6e-30);

/// The part of a stretch where the losses are not far below the edge.
fn above(density: &Density<'_>, edge: Edge, (from, to): (f64, f64)) -> (f64, f64) {
    let (mut below, mut above) = match edge.direction {
        Direction::Remove => (from, to),
        Direction::Add => (to, from),
    };
    for _ in 0..40 {
        let middle = 0.5 * (below + above);
        if edge.distance(density.at(middle).loss) < FAR_BELOW.0 {
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
