//! Laws on equally spaced losses: randomized response, discrete Laplace, any (epsilon, delta) mechanism.

use super::NOTHING;
use crate::accounting::invert::Point;
use crate::accounting::law::Lattice;

/// Relative error of a loss.
const LOSS_ERROR: f64 = 1e-15;
/// From here on the atoms are those of a discrete Laplace law, and their sum is closed.
const MANY: u32 = 512;

/// `log delta`; the pair is symmetric, so it is the same in both directions.
pub(super) fn lattice(law: &Lattice, epsilon: f64) -> Point {
    let room = LOSS_ERROR * law.top;
    let finite = 1.0 - law.infinite;
    if epsilon > law.top + room {
        // Exactly this, so that a target equal to it is met.
        return if law.infinite > 0.0 {
            Point {
                ln_delta: libm::log(law.infinite),
                error: 0.0,
            }
        } else {
            NOTHING
        };
    }
    let (value, mass) = if law.atoms > MANY {
        many(law, epsilon)
    } else {
        few(law, epsilon, room)
    };
    let total = law.infinite + finite * value;
    // An error of the losses moves each term by that much of the atom's probability.
    let error = finite * (room * mass + (1e-15 * f64::from(law.atoms.min(MANY)) + 4e-15) * value)
        + 4e-16 * total;
    Point::scaled(total, error, 0.0)
}

/// `sum of mass (1 - e^{epsilon - loss})` over the losses above epsilon, and their probability.
fn few(law: &Lattice, epsilon: f64, room: f64) -> (f64, f64) {
    let (mut value, mut total) = (0.0, 0.0);
    for i in 0..law.atoms {
        let (loss, mass) = law.atom(i);
        if loss < epsilon - room {
            break;
        }
        value -= mass * libm::expm1((epsilon - loss).min(0.0));
        total += mass;
    }
    (value, total)
}

/// The same where losses are `2 decay` apart: with `n` inner atoms above epsilon and `steps = (top - epsilon) / decay`,
/// pairing atom i's positive with atom n + 1 - i's negative part leaves a geometric sum times
/// `1 - e^{-decay (steps - n - 1)}`.
fn many(law: &Lattice, epsilon: f64) -> (f64, f64) {
    let above = (law.top - epsilon).max(0.0);
    // Inner atoms 1..=n have i < steps / 2; the last atom, at -top, is below zero.
    let steps = above / law.decay;
    let n = (libm::ceil(0.5 * steps) - 1.0).max(0.0);
    let geometric = -law.inner * libm::expm1(-law.decay * n) / libm::expm1(law.decay);
    let value = -law.edge.0 * libm::expm1(-above)
        - geometric * libm::expm1(-(above - law.decay * (n + 1.0)).max(0.0));
    // One atom more, should rounding have hidden it.
    (value, law.edge.0 + geometric + law.inner)
}
