//! Pairs with a density on the line, seen through the logarithms of two ratios to the standard normal law.

use crate::accounting::law::Direction;
use crate::accounting::mixture::{Mixture, log_ratio_of_one};
use crate::accounting::normal::LN_SQRT_2PI;

/// Logarithm of 1 / sqrt(2 pi).
pub(super) const LN_PHI_0: f64 = -LN_SQRT_2PI;

/// `p = phi R(y)` against `q = phi` (a mixture) or against `q = phi R(-y)` (two-sided).
#[derive(Clone, Copy, Debug)]
pub(super) enum Density<'a> {
    Mixture(&'a Mixture),
    TwoSided { rate: f64, ln_rate: f64, mu: f64 },
}

/// An output with `log p/phi` and `log q/phi` there.
#[derive(Clone, Copy, Debug)]
pub(super) struct At {
    pub y: f64,
    pub p: f64,
    pub q: f64,
}

/// Three powers `p^a q^b phi` with their factors, of which the excess integrand is made:
/// `own e^{tL} - (1 + t) own + t other`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Powers([(f64, f64, f64); 3]);

impl Powers {
    pub fn new(direction: Direction, t: f64) -> Self {
        let own = libm::log1p(t);
        let other = libm::log(t);
        Self(match direction {
            Direction::Remove => [(1.0 + t, -t, 0.0), (1.0, 0.0, own), (0.0, 1.0, other)],
            Direction::Add => [(-t, 1.0 + t, 0.0), (0.0, 1.0, own), (1.0, 0.0, other)],
        })
    }

    /// Logarithm of a bound on the integrand's modulus on the interval between two outputs; p rises, q doesn't.
    pub fn ln_bound(&self, low: &At, high: &At) -> f64 {
        let closest = low.y.max(0.0) + high.y.min(0.0);
        let mut top = f64::NEG_INFINITY;
        for (a, b, ln_factor) in self.0 {
            let p = if a > 0.0 { a * high.p } else { a * low.p };
            let q = if b > 0.0 { b * low.q } else { b * high.q };
            top = top.max(ln_factor + finite(p) + finite(q));
        }
        top + core::f64::consts::LN_2 + LN_PHI_0 - 0.5 * closest * closest + 0.5
    }

    /// Slopes of `log` of the powers that the integrand can have to the right and to the left.
    pub fn slopes(&self, density: &Density<'_>) -> (f64, f64) {
        let (slope, sides) = (density.slope(), density.sides());
        let (mut right, mut left) = (0.0f64, 0.0f64);
        for (a, b, _) in self.0 {
            right = right.max(slope * (a.max(0.0) + sides * (-b).max(0.0)));
            left = left.max(slope * ((-a).max(0.0) + sides * b.max(0.0)));
        }
        (right, left)
    }
}

/// `0 * infinity` stands for a power of zero.
fn finite(x: f64) -> f64 {
    if x.is_nan() { 0.0 } else { x }
}

impl<'a> Density<'a> {
    pub fn two_sided(rate: f64, mu: f64) -> Density<'a> {
        Density::TwoSided {
            rate,
            ln_rate: libm::log(rate),
            mu,
        }
    }

    /// Largest slope of the ratios' logarithms; on `Im y = eta` their terms are in a sector of that times eta.
    pub fn slope(&self) -> f64 {
        match self {
            Self::Mixture(pair) => pair.slope(),
            Self::TwoSided { mu, .. } => *mu,
        }
    }

    /// Whether q has a ratio of its own, 0 or 1.
    fn sides(&self) -> f64 {
        match self {
            Self::Mixture(_) => 0.0,
            Self::TwoSided { .. } => 1.0,
        }
    }

    pub fn at(&self, y: f64) -> At {
        let (p, q) = match *self {
            Self::Mixture(pair) => (pair.log_ratio(y).0, 0.0),
            Self::TwoSided { rate, ln_rate, mu } => {
                let one = |y: f64| {
                    let v = mu * (y - 0.5 * mu);
                    if rate == 1.0 {
                        v
                    } else {
                        log_ratio_of_one(rate, ln_rate, v).0
                    }
                };
                (one(y), one(-y))
            }
        };
        At { y, p, q }
    }

    /// Roundings in the logarithms of the weights: those of a binomial law are a sum of as many logarithms.
    pub fn weight_roundings(&self) -> f64 {
        match self {
            Self::Mixture(pair) if pair.one_record().is_none() => {
                let len = pair.len() as f64;
                let (_, ln_least) = pair.weight(pair.len() - 1);
                0.5 * len * len + 0.25 * ln_least.abs().min(1e5)
            }
            _ => 2.0,
        }
    }

    /// Outputs near which the integrand may have its largest value.
    pub fn candidate(&self, t: f64, i: u32) -> f64 {
        let slope = self.slope();
        match i {
            0 => 2.0,
            1 => -2.0,
            2 => (1.0 + t) * slope,
            3 => -t * slope,
            4 => (1.0 + 2.0 * t) * slope,
            5 => -(1.0 + 2.0 * t) * slope,
            6 => 0.5 * (1.0 + t) * slope,
            _ => 0.25 * (1.0 + t) * slope,
        }
    }

    /// How many of them.
    pub const CANDIDATES: u32 = 8;
}

impl At {
    /// Loss in one direction, and the logarithm of the density that it is drawn from, without that of phi(0).
    pub fn loss(&self, direction: Direction) -> (f64, f64) {
        let base = -0.5 * self.y * self.y;
        match direction {
            Direction::Remove => (self.p - self.q, base + self.p),
            Direction::Add => (self.q - self.p, base + self.q),
        }
    }
}
