//! Where the contour crosses the real line, and how fine its nodes must be.

use super::AccountingError;
use super::moment::{Cumulants, Run};

/// Natural digits that aliasing may not touch.
const DIGITS: f64 = 37.0;

/// A crossing point with the cumulants there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Saddle {
    pub t: f64,
    pub at: Cumulants,
    /// Epsilon whose integrand has its saddle at `t`.
    pub epsilon: f64,
    /// Second derivative of the exponent there.
    pub curvature: f64,
}

impl Saddle {
    fn new(run: &Run<'_>, t: f64) -> Result<Self, AccountingError> {
        let at = run.real(t)?;
        Ok(Self {
            t,
            at,
            epsilon: at.k1 - 1.0 / t - 1.0 / (1.0 + t),
            curvature: at.k2 + 1.0 / (t * t) + 1.0 / ((1.0 + t) * (1.0 + t)),
        })
    }

    /// Saddle-point approximation of log delta at `self.epsilon`: a guide, not a bound.
    fn ln_delta(&self) -> f64 {
        self.exponent(self.epsilon) - 0.5 * libm::log(2.0 * core::f64::consts::PI * self.curvature)
    }

    /// K(t) - t epsilon - log t - log(1 + t).
    fn exponent(&self, epsilon: f64) -> f64 {
        self.at.k0 - self.t * epsilon - libm::log(self.t) - libm::log1p(self.t)
    }

    /// A proven bound on log delta.
    pub fn ln_chernoff(&self, epsilon: f64) -> f64 {
        let guard = Guard {
            t: self.t,
            k0: self.at.k0,
        };
        guard.ln_chernoff(epsilon) + 1e-12 * (1.0 + self.at.k0.abs() + self.t * epsilon)
    }

    /// The saddle of a given epsilon.
    pub fn of_epsilon(run: &Run<'_>, epsilon: f64) -> Result<Self, AccountingError> {
        search(
            run,
            |saddle| (epsilon - saddle.epsilon) * saddle.t / (1.0 + epsilon * saddle.t),
            0.02,
        )
    }

    /// The saddle of the epsilon at which delta is about `e^ln_delta`.
    pub fn of_ln_delta(run: &Run<'_>, ln_delta: f64) -> Result<Self, AccountingError> {
        search(
            run,
            |saddle| (saddle.ln_delta() - ln_delta) / (1.0 - ln_delta),
            2e-3,
        )
    }
}

const MIN_T: f64 = 1e-12;
const MAX_T: f64 = 1e18;

/// Root in t of a function that falls with t, to `tolerance` in its value: rough is enough, since
/// the contour may cross anywhere near the saddle.
fn search(
    run: &Run<'_>,
    falling: impl Fn(&Saddle) -> f64,
    tolerance: f64,
) -> Result<Saddle, AccountingError> {
    let mut current = Saddle::new(run, 1.0)?;
    let mut value = falling(&current);
    let (mut low, mut high): (Option<(f64, f64)>, Option<(f64, f64)>) = (None, None);
    for _ in 0..200 {
        if value.is_nan() {
            return Err(AccountingError::OutOfRange { value: current.t });
        }
        if value.abs() <= tolerance {
            return Ok(current);
        }
        let u = libm::log(current.t);
        if value > 0.0 {
            low = Some((u, value));
        } else {
            high = Some((u, value));
        }
        let next = match (low, high) {
            (Some((a, _)), None) => a + 1.4,
            (None, Some((b, _))) => b - 1.4,
            (Some((a, fa)), Some((b, fb))) => {
                // Secant, kept off the ends so that the bracket always shrinks.
                let share = (fa / (fa - fb)).clamp(0.1, 0.9);
                a + share * (b - a)
            }
            (None, None) => u,
        };
        let t = libm::exp(next);
        if !(MIN_T..=MAX_T).contains(&t) || (next - u).abs() < 1e-9 {
            return Ok(current);
        }
        // Far right the moments overflow: come back half-way.
        match Saddle::new(run, t) {
            Ok(saddle) => {
                value = falling(&saddle);
                current = saddle;
            }
            Err(_) if high.is_none_or(|(b, _)| next < b) && value > 0.0 => {
                high = Some((next, -1.0));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(current)
}

/// A second real point that bounds one side's aliases: `delta(epsilon +- m Y) e^{+- m t Y}` is at
/// most `e^{K(t') + c(t') - t' epsilon} e^{-m |t' - t| Y}`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Guard {
    pub t: f64,
    pub k0: f64,
}

impl Guard {
    /// Bound on `log sum_m` of that side's aliases, relative to one, for period `y`.
    pub fn ln_alias(&self, t: f64, epsilon: f64, y: f64) -> f64 {
        let decay = (self.t - t).abs() * y;
        self.ln_chernoff(epsilon) - decay - libm::log1p(-libm::exp(-decay))
    }

    /// `log(E[e^{t' L}] e^{-t' epsilon} sup_x (1 - e^-x) e^{-t' x})`, a bound on log delta.
    fn ln_chernoff(&self, epsilon: f64) -> f64 {
        let t = self.t;
        let supremum = if t > 0.0 {
            t * libm::log(t / (1.0 + t)) - libm::log1p(t)
        } else {
            0.0
        };
        self.k0 - t * epsilon + supremum
    }
}

/// Step of the contour's nodes and the two guards that prove it fine enough.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spacing {
    pub h: f64,
    pub left: Guard,
    pub right: Guard,
}

impl Spacing {
    pub fn new(run: &Run<'_>, saddle: &Saddle, epsilon: f64) -> Result<Self, AccountingError> {
        let ln_delta = saddle.exponent(epsilon)
            - 0.5 * libm::log(2.0 * core::f64::consts::PI * saddle.curvature);
        let unit = 6.0 / libm::sqrt(saddle.curvature);
        // At distance d the period must reach (growth + digits) / d; the best d is where the
        // integrand has grown about as much as it must fall.
        let mut period = 0.0f64;
        let mut sides = [Guard { t: 0.0, k0: 0.0 }; 2];
        for (side, guard) in sides.iter_mut().enumerate() {
            let mut needed = f64::INFINITY;
            let mut d = if side == 0 {
                unit.min(0.9 * saddle.t)
            } else {
                unit
            };
            for _ in 0..12 {
                let t = if side == 0 {
                    saddle.t - d
                } else {
                    saddle.t + d
                };
                let k0 = run.real(t).map(|c| c.k0).unwrap_or(f64::INFINITY);
                let candidate = Guard { t, k0 };
                let growth = candidate.ln_chernoff(epsilon) - ln_delta;
                let reach = (growth + DIGITS).max(DIGITS) / d;
                if reach >= needed {
                    break;
                }
                (needed, *guard) = (reach, candidate);
                if growth < DIGITS {
                    break;
                }
                d *= 0.6;
            }
            period = period.max(needed);
        }
        let h = 2.0 * core::f64::consts::PI / period;
        if !(h > 0.0 && h.is_finite()) {
            return Err(AccountingError::OutOfRange { value: period });
        }
        let [left, right] = sides;
        Ok(Self { h, left, right })
    }
}
