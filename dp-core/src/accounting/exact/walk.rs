//! Along a density, past the stretches where nothing counts, so that the cost follows the mass and not the range.

use super::density::{At, Density};
use super::nodes::{Part, Scope};

/// Stretches that are skipped where nothing counts.
const STRIDES: [f64; 8] = [1e9, 1e7, 1e5, 1e3, 100.0, 10.0, 2.0, 0.25];

/// Where a density's `q r^w` counts for the powers of a scope.
pub(super) struct Walk<'d> {
    density: &'d Density<'d>,
    scope: &'d Scope,
    /// Outside of it nothing counts.
    pub range: (f64, f64),
    /// The integrand is measured against `e^floor`.
    floor: f64,
    /// Only the scope's own powers are summed, not 0 and 1.
    own: bool,
}

impl<'d> Walk<'d> {
    pub fn new(density: &'d Density<'d>, scope: &'d Scope) -> Self {
        let floor = match scope.part {
            Part::Whole if scope.low == scope.high => level(density, scope.low),
            part => part.floor(),
        };
        Self {
            density,
            scope,
            range: density.range(scope.digits - floor.min(0.0), scope.low, scope.high),
            floor,
            // With a moment far from one only its own power is summed, so 0 and 1 needn't be served.
            own: floor > 2.0 || scope.part != Part::Whole,
        }
    }

    /// How far the integrand, without the share of an edge, is above what counts, in natural digits.
    fn margin(&self, at: &At) -> f64 {
        let scope = self.scope;
        let powers = [scope.low, scope.high];
        let most = powers
            .into_iter()
            .map(|w| at.ln_base + w * at.loss - self.floor)
            .fold(f64::NEG_INFINITY, f64::max);
        let rest = if self.own {
            f64::NEG_INFINITY
        } else {
            at.ln_base + at.loss.max(0.0)
        };
        most.max(rest) + scope.digits
    }

    /// How far from `y` on, to the right, nothing counts; 0 where something does.
    pub fn empty(&self, y: f64, at: &At) -> f64 {
        let margin = self.margin(at);
        let part = self.scope.part;
        let share = |loss: f64| match part {
            Part::Whole => 0.0,
            part => part.ln_share(loss),
        };
        let here = share(at.loss);
        if margin + here > 0.0 {
            return 0.0;
        }
        let power = self.scope.high.max(if self.own { 0.0 } else { 1.0 });
        // Over a stride the integrand's logarithm rises by at most this much a unit: the loss is steepest at its end,
        // the normal density falls from zero on.
        let rise = |stride: f64| power * self.density.steepness(y, y + stride) - y;
        for stride in STRIDES {
            // The loss rises with y, so that an edge's share is largest at one of the ends.
            let most = match part {
                Part::Whole => 0.0,
                _ => here.max(share(self.density.at(y + stride).loss)),
            };
            // Where the one falls and the other rises, the product is largest somewhere between.
            if (rise(stride) * stride).max(0.0) + margin + most <= 0.0 {
                return stride;
            }
        }
        0.0
    }

    /// Visits the multiples of `step` where the integrand counts.
    pub fn trapezoid<E>(
        &self,
        step: f64,
        mut visit: impl FnMut(f64, &At) -> Result<(), E>,
    ) -> Result<(), E> {
        let (from, to) = self.range;
        let (mut k, last) = (libm::floor(from / step), libm::ceil(to / step));
        while k <= last {
            let y = k * step;
            let at = self.density.at(y);
            let empty = libm::floor(self.empty(y, &at) / step);
            if empty >= 1.0 {
                k += empty;
            } else {
                visit(y, &at)?;
                k += 1.0;
            }
        }
        Ok(())
    }
}

/// A floor of `log E_Q[r^w]`; at least 0, since the mean is at least that of a point outside (0, 1).
fn level(density: &Density<'_>, w: f64) -> f64 {
    if (0.0..=1.0).contains(&w) {
        return 0.0;
    }
    let mut best = 0.0f64;
    // A unit interval around the mode of each component holds a third of its mass or more: bound the
    // integrand there from below by its ends and its middle, which is safe up to the unimodal slack taken off.
    let slope = density.sector();
    let sign = if w > 0.0 { 1.0 } else { -1.0 };
    for power in [w.abs(), w.abs() - 1.0, w.abs() + 1.0, 0.5 * w.abs(), 0.0] {
        for offset in [0.0, 4.0, 12.0, 24.0] {
            let y = sign * power * slope - sign * offset;
            let lowest = [-0.25, 0.0, 0.25]
                .into_iter()
                .map(|d| {
                    let at = density.at(y + d);
                    at.ln_base + w * at.loss
                })
                .fold(f64::INFINITY, f64::min);
            best = best.max(lowest - 3.0);
        }
    }
    best
}
