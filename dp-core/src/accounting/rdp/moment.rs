//! `log E[e^{t L}]` of one event's loss, with a bound on its error, for any real `t > 0`.
//!
//! Everything is summed as the excess over one, `E[e^{tL}] - 1 = E[g(tL) + t g(-L)]` with `g(x) = e^x - 1 - x >= 0`, which
//! holds because `E[e^{-L}] = 1`. All terms are positive, so a moment next to one keeps its relative precision.

use super::density::Density;
use super::line::line;
use super::panel;
use crate::accounting::AccountingError;
use crate::accounting::law::{Direction, Lattice, Law};
use crate::accounting::mixture::Mixture;

/// A positive number as its logarithm, and a bound on its relative error.
#[derive(Clone, Copy, Debug)]
pub(super) struct Excess {
    pub ln: f64,
    pub error: f64,
}

impl Excess {
    /// Sum of two, each times a weight.
    pub fn mix(self, ln_weight: f64, other: Self, ln_other: f64) -> Self {
        let (a, b) = (self.ln + ln_weight, other.ln + ln_other);
        let top = a.max(b);
        if top == f64::NEG_INFINITY {
            return self;
        }
        Self {
            ln: top + libm::log(libm::exp(a - top) + libm::exp(b - top)),
            error: self.error.max(other.error) + ROUNDING,
        }
    }

    /// `log(1 + excess)` and its absolute error.
    fn ln_moment(self) -> Result<(f64, f64), AccountingError> {
        if self.ln == f64::NEG_INFINITY {
            return Ok((0.0, f64::MIN_POSITIVE));
        }
        // Also refuses a NaN.
        if !(self.error < 0.5 && self.ln < f64::INFINITY) {
            return Err(AccountingError::OutOfRange { value: self.ln });
        }
        let value = if self.ln > 30.0 {
            self.ln + libm::log1p(libm::exp(-self.ln))
        } else {
            libm::log1p(libm::exp(self.ln))
        };
        // d log(1 + x) = x / (1 + x) dx / x, and the logarithm's own rounding; what underflows is below the least number.
        let share = if self.ln > 0.0 {
            1.0
        } else {
            libm::exp(self.ln)
        };
        let rounding = ROUNDING * value * (1.0 + self.ln.abs());
        Ok((
            value,
            -libm::log1p(-self.error) * share + rounding + f64::MIN_POSITIVE,
        ))
    }
}

/// A few units in the last place.
pub(super) const ROUNDING: f64 = 8.0 * f64::EPSILON;

/// `e^x - 1 - x`, without cancellation.
fn second(x: f64) -> f64 {
    if x.abs() < 0.5 {
        let mut tail = 1.0;
        for k in (3..=16).rev() {
            tail = 1.0 + x / f64::from(k) * tail;
        }
        0.5 * x * x * tail
    } else {
        libm::expm1(x) - x
    }
}

/// Exponents beyond this are kept as logarithms.
const LARGE: f64 = 300.0;

/// `log(g(t loss) + t g(-loss))`, the logarithm of what an output adds to the excess.
pub(super) fn ln_gain(t: f64, loss: f64) -> f64 {
    let (a, b) = (t * loss, -loss);
    if a < LARGE && b < LARGE {
        return libm::log(second(a) + t * second(b));
    }
    // Only one of the two is positive; the other one's g is at most its modulus.
    let (large, ln_factor, rest) = if a >= LARGE {
        (a, 0.0, t * second(b))
    } else {
        (b, libm::log(t), second(a))
    };
    let ln = large + ln_factor + libm::log1p(-(1.0 + large) * libm::exp(-large));
    ln + libm::log1p(rest * libm::exp(-ln))
}

/// `log E[e^{t L}]` and a bound on its absolute error.
///
/// The infinite losses of a [`Lattice`] are left out: the moment is that of the finite ones, given that the loss is finite.
pub(super) fn ln_moment(
    law: &Law,
    direction: Direction,
    t: f64,
) -> Result<(f64, f64), AccountingError> {
    let excess = match law {
        Law::Shift { mu } => return Ok(gaussian(*mu, t)),
        Law::ZeroConcentrated { rho } => {
            let value = rho * t * (1.0 + t);
            return Ok((value, ROUNDING * value));
        }
        Law::DiscreteGaussian { sigma, sensitivity } => {
            return Ok(discrete_gaussian(*sigma, f64::from(*sensitivity), t));
        }
        Law::Mixture(pair) => line(&Density::Mixture(pair), direction, t)?,
        Law::TwoSided { rate, mu } => line(&Density::two_sided(*rate, *mu), direction, t)?,
        Law::Truncated {
            rate,
            mu,
            share,
            other_rate,
        } => {
            let full = line(&Density::two_sided(*other_rate, 2.0 * mu), direction, t)?;
            if *share >= 1.0 {
                full
            } else {
                let rest = if *rate == 1.0 {
                    Mixture::new(&[1.0], &[1.0], 1.0 / mu)
                } else {
                    Mixture::binomial(*rate, 1.0 / mu, 1)
                };
                let rest = line(&Density::Mixture(&rest), direction, t)?;
                full.mix(libm::log(*share), rest, libm::log1p(-share))
            }
        }
        Law::Replaced { rate, mu } => panel::replaced(*rate, *mu, t)?,
        Law::Laplace { rate, mu } => panel::laplace(*rate, *mu, direction, t)?,
        Law::Lattice(lattice) => atoms(lattice, t),
        Law::Bins { .. } => return Err(AccountingError::UndefinedEngine),
    };
    excess.ln_moment()
}

fn gaussian(mu: f64, t: f64) -> (f64, f64) {
    let value = 0.5 * mu * mu * t * (1.0 + t);
    (value, ROUNDING * value)
}

/// With `theta(a) = sum_x e^{-(x - a)^2 / (2 sigma^2)}` the moment is that of the normal law times
/// `theta(w sensitivity) / theta(0)`, `w = 1 + t`, which is at most one.
fn discrete_gaussian(sigma: f64, sensitivity: f64, t: f64) -> (f64, f64) {
    let (value, error) = gaussian(sensitivity / sigma, t);
    let place = (1.0 + t) * sensitivity;
    let offset = place - libm::rint(place);
    // By Poisson's summation formula 1 - theta(a)/theta(0) <= 4 sum_k e^{-2 pi^2 sigma^2 k^2}; it is far below
    // the rounding from sigma = 2 on. An offset that rounding has swallowed counts as unknown.
    if sigma >= 2.0 || place > 1e12 {
        let pi = core::f64::consts::PI;
        let most = 4.1 * libm::exp(-2.0 * pi * pi * sigma * sigma);
        let lost = if most < 0.5 {
            -libm::log1p(-most)
        } else {
            value
        };
        return (value, error + lost);
    }
    let theta = |a: f64| {
        let mut sum = 0.0;
        for x in -80..=80 {
            let d = (f64::from(x) - a) / sigma;
            sum += libm::exp(-0.5 * d * d);
        }
        sum
    };
    let ratio = libm::log(theta(offset) / theta(0.0));
    // The offset is off by an ulp of the place; the ratio's logarithm has a slope of at most (sigma + 1/2) / sigma^2.
    let slip = 2.5 / (sigma * sigma) * f64::EPSILON * place;
    let rounding = 64.0 * f64::EPSILON + ROUNDING * (0.25 / (sigma * sigma));
    ((value + ratio).max(0.0), error + slip + rounding)
}

/// Atoms that are summed one by one; beyond, the geometric series of the inner ones is summed in closed form.
const MAX_ATOMS: u32 = 4096;

fn atoms(lattice: &Lattice, t: f64) -> Excess {
    if lattice.top == 0.0 {
        return Excess {
            ln: f64::NEG_INFINITY,
            error: 0.0,
        };
    }
    let term = |i: u32| {
        let (loss, mass) = lattice.atom(i);
        libm::log(mass) + ln_gain(t, loss)
    };
    if lattice.atoms <= MAX_ATOMS {
        let (mut top, mut sum) = (f64::NEG_INFINITY, 0.0);
        for i in 0..lattice.atoms {
            let ln = term(i);
            if ln > top {
                sum *= libm::exp(top - ln);
                top = ln;
            }
            if ln > f64::NEG_INFINITY {
                sum += libm::exp(ln - top);
            }
        }
        return Excess {
            ln: top + libm::log(sum),
            error: ROUNDING
                * (8.0 + f64::from(lattice.atoms) / 8.0 + (1.0 + 2.0 * t) * lattice.top),
        };
    }
    long_lattice(lattice, t)
}

/// `E e^{tL} - 1`, the moments of the inner atoms as `sum_i inner e^{-decay i} e^{t loss_i}`, a geometric series.
fn long_lattice(lattice: &Lattice, t: f64) -> Excess {
    let last = f64::from(lattice.atoms - 1);
    let ratio = lattice.decay + t * lattice.span();
    let inner = lattice.inner * libm::exp(-ratio) * libm::expm1(-ratio * (last - 1.0))
        / libm::expm1(-ratio);
    // Everything relative to e^{t top}.
    let scale = t * lattice.top;
    let moment = lattice.edge.0 + lattice.edge.1 * libm::exp(-2.0 * scale) + inner;
    let one = libm::exp(-scale);
    let excess = (moment - one).max(f64::MIN_POSITIVE);
    Excess {
        ln: libm::log(excess) + scale,
        error: ROUNDING * (16.0 + scale + (1.0 + t) * lattice.top) * (moment + one) / excess,
    }
}
