//! One event's moment on a path that is moved off the real line: bounds that fall all the way up the line.
//!
//! `y + i eta` instead of y: the ratio's terms turn by angles between 0 and a right angle, all one way, so that
//! `|r^w| = |r|^a e^{-tau angle}` for `w = a + i tau`, and the normal density grows by `e^{eta^2/2}` alone. Atoms count with all
//! their weight.

use super::density::{Density, LN_PHI_0};
use super::nodes::{Part, Scope};
use super::panel::{self, Integrand};
use super::walk::Walk;
use crate::accounting::law::Law;
use crate::accounting::mixture::{Mixture, turned_ratio_of_one};

/// Largest angle by which the ratio's terms are turned.
pub(super) const WIDEST: f64 = core::f64::consts::FRAC_PI_3;
pub(super) const RIGHT_ANGLE: f64 = core::f64::consts::FRAC_PI_2;
/// Paths that are tried, and how far up each is in units of the last.
pub(super) const PATHS: u32 = 12;
pub(super) const LOWER: f64 = 0.7;
/// Points of one path; where it would take more, nothing is claimed.
const POINTS: f64 = 4096.0;
/// Room for rounding in a bound.
const ROOM: f64 = 1.0 + 1e-12;

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

pub(super) fn two_sided(rate: f64, mu: f64) -> Density<'static> {
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

pub(super) fn scope(a: f64, digits: f64) -> Scope {
    Scope {
        low: a,
        high: a,
        frequency: 0.0,
        digits,
        part: Part::Whole,
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
    let integrand = Integrand {
        density: &density,
        scope: &scope,
        fall,
        turned: eta,
        mirrored: false,
    };
    let (mut y, mut half) = (start, panel::WIDEST);
    let mut panels = 0;
    while y < to {
        half = integrand.half_width(y, 1.6 * half);
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
