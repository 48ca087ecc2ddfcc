//! The hockey-stick divergence of one event: its delta as a function of epsilon.

mod bins;
mod discrete_gaussian;
mod laplace;
mod lattice;
mod lognormal;
mod mixture;
#[cfg(test)]
mod tests;
mod two_sided;

use super::invert::{Point, invert};
use super::law::{Direction, Law};
use super::normal::{ln_delta, ln_delta_error};
use super::{AccountingError, Bounds};

pub(super) use mixture::single;

/// `log E[(1 - e^{epsilon - L})_+]` of one event, `epsilon >= 0`, with a bound on delta's relative error.
///
/// Minus infinity, with an error of zero, where the loss can't exceed epsilon. Negative epsilons follow from
/// `H(-e) = 1 - e^{-e} + e^{-e} H'(e)`, H' the other direction's.
///
/// # Precision
/// The law's parameters are taken as exact. Near an end of the loss's range, where the number itself is not
/// better known than its rounding, the error is one: only the upper bound is of use.
pub(super) fn hockey(
    law: &Law,
    direction: Direction,
    epsilon: f64,
) -> Result<Point, AccountingError> {
    if !(epsilon >= 0.0 && epsilon.is_finite()) {
        return Err(AccountingError::InvalidEpsilon { epsilon });
    }
    Ok(match law {
        Law::Shift { mu } => shift(*mu, epsilon),
        Law::Mixture(pair) => single(pair, direction, epsilon),
        Law::TwoSided { rate, mu } => two_sided::two_sided(*rate, *mu, epsilon, 0.0),
        Law::Truncated {
            rate,
            mu,
            share,
            other_rate,
        } => sum(
            (
                1.0 - share,
                mixture::one_record(*rate, *mu, direction, epsilon),
            ),
            (
                *share,
                two_sided::two_sided(*other_rate, 2.0 * mu, epsilon, two_sided::TAIL_ERROR),
            ),
            two_sided::TAIL_ERROR,
        ),
        // Both directions' losses above zero are those of the mixture's removal.
        Law::Replaced { rate, mu } => mixture::one_record(*rate, *mu, Direction::Remove, epsilon),
        Law::Laplace { rate, mu } => laplace::laplace(*rate, *mu, direction, epsilon),
        Law::DiscreteGaussian { sigma, sensitivity } => {
            discrete_gaussian::discrete_gaussian(*sigma, f64::from(*sensitivity), epsilon)
        }
        Law::Lattice(lattice) => lattice::lattice(lattice, epsilon),
        Law::Bins { bins, mu } => bins::bins(*bins, *mu, direction, epsilon),
        Law::ZeroConcentrated { .. } => {
            return Err(AccountingError::UndefinedEngine);
        }
    })
}

/// The smallest epsilon at which delta is `e^ln_target`, of one event in one direction.
pub(super) fn one_epsilon(
    law: &Law,
    direction: Direction,
    ln_target: f64,
) -> Result<Bounds, AccountingError> {
    let curve = |epsilon| hockey(law, direction, epsilon);
    // A far start costs seconds on bins, and next to nothing elsewhere.
    if let Law::Bins { bins, mu } = law {
        if curve(0.0)?.ln_upper() <= ln_target {
            return Ok(Bounds::ZERO);
        }
        let (start, slope) = bins::guess(*bins, *mu, ln_target);
        return invert(curve, ln_target, start, slope);
    }
    invert(curve, ln_target, 0.0, -1.0)
}

/// `N(mu, 1)` against `N(0, 1)`.
fn shift(mu: f64, epsilon: f64) -> Point {
    known(ln_delta(epsilon, mu), ln_delta_error(epsilon, mu))
}

/// A delta of exactly zero.
const NOTHING: Point = Point {
    ln_delta: f64::NEG_INFINITY,
    error: 0.0,
};

/// Beyond this error of a logarithm only the upper bound is kept.
const LOOSE: f64 = 0.5;

/// A delta whose logarithm is known up to `slack`.
fn known(ln_delta: f64, slack: f64) -> Point {
    if ln_delta == f64::NEG_INFINITY {
        NOTHING
    } else if slack <= LOOSE {
        Point {
            ln_delta,
            error: libm::expm1(slack),
        }
    } else {
        at_most(ln_delta + slack)
    }
}

/// A delta of which only an upper bound is known.
fn at_most(ln_upper: f64) -> Point {
    Point {
        ln_delta: ln_upper - core::f64::consts::LN_2,
        error: 1.0,
    }
}

/// The weighted sum of two deltas.
fn sum(a: (f64, Point), b: (f64, Point), relative: f64) -> Point {
    let part = |(weight, point): (f64, Point)| {
        if weight > 0.0 {
            (libm::log(weight) + point.ln_delta, point.error)
        } else {
            (f64::NEG_INFINITY, 0.0)
        }
    };
    let (a, b) = (part(a), part(b));
    let top = a.0.max(b.0);
    if top == f64::NEG_INFINITY {
        return NOTHING;
    }
    let (x, y) = (libm::exp(a.0 - top), libm::exp(b.0 - top));
    let total = x + y;
    Point {
        ln_delta: top + libm::log(total),
        error: (a.1 * x + b.1 * y) / total + relative + 4e-16 * (4.0 + top.abs()),
    }
}

/// Bound on `|d log H / d v|` of `N(mu, 1)` against `N(0, 1)` at the log ratio `v >= 0`.
///
/// It is `m(b) / (m(a) - m(b))`, m Mills' ratio, `b = v/mu + mu/2`, `a = b - mu`; m is convex, so the denominator is at
/// least `mu (1 - b m(b)) >= mu / (b^2 + 3)`, and `m(b) <= min(1.26, 1/b)`.
fn steepness(v: f64, mu: f64) -> f64 {
    (v / mu + 0.5 * mu + 5.0) / mu
}
