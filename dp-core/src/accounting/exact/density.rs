//! Losses on a line: a base density and a likelihood ratio, both analytic in a strip around the reals.

use crate::accounting::mixture::{Mixture, log_ratio_of_one, turned_ratio_of_one};
use crate::accounting::normal::LN_SQRT_2PI;

/// Logarithm of the normal density at 0.
pub(super) const LN_PHI_0: f64 = -LN_SQRT_2PI;

/// A pair over one Gaussian coordinate y.
#[derive(Clone, Copy, Debug)]
pub(super) enum Density<'a> {
    /// A mixture against `N(0, 1)`.
    Mixture(&'a Mixture),
    /// One record that is in with probability `rate`, against the same record mirrored.
    TwoSided { rate: f64, ln_rate: f64, mu: f64 },
}

/// A point of the law of the loss.
#[derive(Clone, Copy, Debug)]
pub(super) struct At {
    /// Logarithm of Q's density.
    pub ln_base: f64,
    /// log p/q.
    pub loss: f64,
    /// p/q - 1, infinite where it leaves the range.
    pub excess: f64,
}

/// The two factors of the likelihood ratio `up / down` at `y + i eta`, Q's density being normal times `down`.
///
/// For `0 <= eta sector <= pi/2`, `up` turns by an angle of at least 0, which rises with y and with eta, and `down` by at
/// most 0, which rises towards 0 with y; `|up|` rises with y, `|down|` falls.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turned {
    pub ln_up: f64,
    pub ln_down: f64,
    pub angle_up: f64,
    /// Minus the angle by which `down` turns.
    pub angle_down: f64,
}

impl Density<'_> {
    pub fn turned(&self, y: f64, eta: f64) -> Turned {
        match *self {
            Self::Mixture(pair) => {
                let (ln_up, angle_up) = pair.turned_ratio(y, eta);
                Turned {
                    ln_up,
                    ln_down: 0.0,
                    angle_up,
                    angle_down: 0.0,
                }
            }
            Self::TwoSided { rate, mu, .. } => {
                let (ln_up, angle_up) = turned_ratio_of_one(rate, mu * (y - 0.5 * mu), eta * mu);
                // The conjugate of the ratio at -eta.
                let (ln_down, angle_down) =
                    turned_ratio_of_one(rate, -mu * (y + 0.5 * mu), eta * mu);
                Turned {
                    ln_up,
                    ln_down,
                    angle_up,
                    angle_down,
                }
            }
        }
    }

    pub fn at(&self, y: f64) -> At {
        let normal = LN_PHI_0 - 0.5 * y * y;
        match *self {
            Self::Mixture(pair) => {
                let (loss, excess) = pair.log_ratio(y);
                At {
                    ln_base: normal,
                    loss,
                    excess,
                }
            }
            Self::TwoSided { rate, ln_rate, mu } => {
                let (up, up_excess) = log_ratio_of_one(rate, ln_rate, mu * (y - 0.5 * mu));
                let (down, down_excess) = log_ratio_of_one(rate, ln_rate, -mu * (y + 0.5 * mu));
                let loss = up - down;
                // a/b - 1 = (a - b)/b keeps its precision while both are finite.
                let excess = if up_excess.is_finite() && down_excess.is_finite() {
                    (up_excess - down_excess) / (1.0 + down_excess)
                } else if loss < 0.0 {
                    libm::expm1(loss)
                } else {
                    f64::INFINITY
                };
                At {
                    ln_base: normal + down,
                    loss,
                    excess,
                }
            }
        }
    }

    /// Slope of the arguments of the ratio's terms: on `Im y = eta` they lie in a sector of angle `eta slope`.
    pub fn sector(&self) -> f64 {
        match *self {
            Self::Mixture(pair) => pair.slope(),
            Self::TwoSided { mu, .. } => mu,
        }
    }

    /// A bound on `|d loss / dy|` for real y in `[from, to]`, and in a complex neighbourhood of half-height eta
    /// after division by `cos(eta sector / 2)`.
    pub fn steepness(&self, from: f64, to: f64) -> f64 {
        match *self {
            // The mean shift rises with y.
            Self::Mixture(pair) => pair.mean_shift(to),
            Self::TwoSided { rate, ln_rate, mu } => {
                let share = |v: f64| {
                    let (ln_ratio, _) = log_ratio_of_one(rate, ln_rate, v);
                    libm::exp(ln_rate + v - ln_ratio)
                };
                mu * (share(mu * (to - 0.5 * mu)) + share(-mu * (from + 0.5 * mu)))
            }
        }
    }

    /// A bound on the steepness anywhere.
    pub fn slope(&self) -> f64 {
        match *self {
            Self::Mixture(pair) => pair.slope(),
            Self::TwoSided { mu, .. } => 2.0 * mu,
        }
    }

    /// How much `|q r^w|` may grow off the real line by the moduli of ratios: exponents of
    /// `sec(eta sector / 2)` for a real power w.
    pub fn fall(&self, w: f64) -> f64 {
        match self {
            Self::Mixture(_) => (-w).max(0.0),
            // up^w down^(1-w)
            Self::TwoSided { .. } => (-w).max(0.0) + (w - 1.0).max(0.0),
        }
    }

    /// Infimum and supremum exponents: an interval outside which `q r^w` is below `e^{-digits}` of one
    /// for all w between the two given.
    pub fn range(&self, digits: f64, low: f64, high: f64) -> (f64, f64) {
        match *self {
            Self::Mixture(pair) => {
                let slope = pair.slope();
                // r^w <= e^{w slope y} times a constant of at most one where r > 1 and w > 0.
                let right = (high.max(0.0)) * slope;
                let mut from = -libm::sqrt(2.0 * digits);
                if low < 0.0 {
                    let floor = pair.ln_floor();
                    from = if floor.is_finite() {
                        -libm::sqrt(2.0 * (digits + low * floor))
                    } else {
                        // No component without shift: r falls like its least one.
                        let least = -low * pair.shift(1);
                        -(least + libm::sqrt(least * least + 2.0 * digits))
                    };
                }
                (
                    from,
                    (right + libm::sqrt(right * right + 2.0 * digits)).max(0.5 * slope) + 0.5,
                )
            }
            Self::TwoSided { rate, mu, .. } => {
                // q r^w = phi up^w down^(1-w). For w >= 1 the left side is below phi; on the right
                // up <= e^{mu y} and down >= 1 - rate, or down >= rate e^{-mu y}. Mirrored for w <= 0.
                let out = -libm::log1p(-rate);
                let reach = |power: f64| {
                    let (p, rest) = if out <= 5.0 {
                        (power, (power - 1.0) * out)
                    } else {
                        (2.0 * power, -(power - 1.0) * libm::log(rate))
                    };
                    let s = p * mu;
                    s + libm::sqrt(s * s + 2.0 * (digits + rest)) + 0.5 * mu + 0.5
                };
                (-reach((1.0 - low).max(1.0)), reach(high.max(1.0)))
            }
        }
    }
}
