//! Where the contour crosses the real line, and how fine its nodes must be.

use super::cumulants::{Cumulants, Run};
use crate::accounting::AccountingError;

/// Natural digits that aliasing may not touch.
const DIGITS: f64 = 32.0;
/// Real moments spent on each side's guard.
const GUARD_STEPS: u32 = 6;

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
    /// The cumulants at `t > 0` and the epsilon that belongs to it.
    pub fn new(run: &mut Run<'_, '_>, t: f64) -> Result<Self, AccountingError> {
        let at = run.real(t)?;
        Ok(Self {
            t,
            at,
            epsilon: at.k1 - 1.0 / t - 1.0 / (1.0 + t),
            curvature: at.k2 + 1.0 / (t * t) + 1.0 / ((1.0 + t) * (1.0 + t)),
        })
    }

    /// Saddle-point approximation of log delta: a guide, not a bound.
    pub fn ln_delta(&self, epsilon: f64) -> f64 {
        self.exponent(epsilon) - 0.5 * libm::log(2.0 * core::f64::consts::PI * self.curvature)
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
    pub fn of_epsilon(run: &mut Run<'_, '_>, epsilon: f64) -> Result<Self, AccountingError> {
        search(
            run,
            |saddle| (epsilon - saddle.epsilon) * saddle.t / (1.0 + epsilon * saddle.t),
            0.02,
        )
    }

    /// The saddle of the epsilon at which delta is about `e^ln_delta`.
    pub fn of_ln_delta(run: &mut Run<'_, '_>, ln_delta: f64) -> Result<Self, AccountingError> {
        search(
            run,
            |saddle| (saddle.ln_delta(saddle.epsilon) - ln_delta) / (1.0 - ln_delta),
            2e-3,
        )
    }
}

const MIN_T: f64 = 1e-12;
const MAX_T: f64 = 1e18;

/// Root in t of a function that falls with t, to `tolerance` in its value: rough is enough, since
/// the contour may cross anywhere near the saddle.
fn search(
    run: &mut Run<'_, '_>,
    falling: impl Fn(&Saddle) -> f64,
    tolerance: f64,
) -> Result<Saddle, AccountingError> {
    let mut current = Saddle::new(run, 1.0)?;
    let mut value = falling(&current);
    // (log t, value) at each end of the bracket.
    let mut low: Option<(f64, f64)> = None;
    let mut high: Option<(f64, f64)> = None;
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
    pub fn ln_chernoff(&self, epsilon: f64) -> f64 {
        let t = self.t;
        let supremum = if t > 0.0 {
            -t * libm::log1p(1.0 / t) - libm::log1p(t)
        } else {
            0.0
        };
        self.k0 - t * epsilon + supremum
    }
}

/// Where the contour crosses, the step of its nodes, and the two guards that prove it fine enough.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spacing {
    pub t: f64,
    /// K at the crossing.
    pub k0: f64,
    pub h: f64,
    pub left: Guard,
    pub right: Guard,
}

/// How much larger than the result the integrand may be, natural digits.
const CANCELLATION: f64 = 16.0;
/// The same where the step would be tiny otherwise.
const CROWDED: f64 = 24.0;
/// The same where small losses are split off, which takes the cancellation out of the sum.
pub(super) const SPLIT_OFF: f64 = 60.0;
/// Crossings that are tried.
const CROSSINGS: u32 = 24;

impl Spacing {
    /// The crossing is the saddle, or a point left of it where rare large losses would make the
    /// right-hand aliases, and so the step, needlessly small. `split_off`: how much larger than the result the integrand may be
    /// then, if small losses are split off.
    pub fn new(
        run: &mut Run<'_, '_>,
        saddle: &Saddle,
        epsilon: f64,
        ln_delta: f64,
        split_off: Option<f64>,
    ) -> Result<Self, AccountingError> {
        let mut best: Option<Self> = None;
        let mut at = *saddle;
        for _ in 0..CROSSINGS {
            let (left_period, left) = guard(run, &at, epsilon, ln_delta, -1.0)?;
            let (right_period, right) = guard(run, &at, epsilon, ln_delta, 1.0)?;
            let h = 2.0 * core::f64::consts::PI / left_period.max(right_period);
            if best.is_none_or(|b| h > 1.1 * b.h) {
                let (t, k0) = (at.t, at.at.k0);
                best = Some(Self {
                    t,
                    k0,
                    h,
                    left,
                    right,
                });
            }
            if right_period < 1.5 * left_period {
                break;
            }
            let limit = match (split_off, right_period > 6.0 * left_period) {
                (Some(digits), _) => digits,
                (None, true) => CROWDED,
                (None, false) => CANCELLATION,
            };
            at = Saddle::new(run, 0.85 * at.t)?;
            if at.ln_delta(epsilon) - ln_delta > limit {
                break;
            }
        }
        match best {
            Some(spacing) if spacing.h > 0.0 && spacing.h.is_finite() => Ok(spacing),
            _ => Err(AccountingError::OutOfRange { value: saddle.t }),
        }
    }
}

/// The guard of one side that allows about the shortest period, and that period.
///
/// At distance d the period must be `(growth(d) + digits) / d`; with a convex growth that is least
/// where `d growth'(d) = growth(d) + digits`.
fn guard(
    run: &mut Run<'_, '_>,
    saddle: &Saddle,
    epsilon: f64,
    ln_delta: f64,
    side: f64,
) -> Result<(f64, Guard), AccountingError> {
    let mut best = (f64::INFINITY, Guard { t: 0.0, k0: 0.0 });
    if side < 0.0 {
        // Delta is at most one: the guard at zero is free.
        best.0 = (DIGITS - ln_delta).max(DIGITS) / saddle.t;
    }
    let (mut near, mut far) = (0.0, if side < 0.0 { saddle.t } else { f64::INFINITY });
    let mut d = (6.0 / libm::sqrt(saddle.curvature)).min(0.5 * far);
    for _ in 0..GUARD_STEPS {
        let t = saddle.t + side * d;
        let mut too_far = true;
        if let Ok(at) = run.real(t) {
            let candidate = Guard { t, k0: at.k0 };
            let growth = candidate.ln_chernoff(epsilon) - ln_delta;
            let reach = (growth + DIGITS).max(DIGITS) / d;
            if reach < best.0 {
                best = (reach, candidate);
            }
            let slope = side * (at.k1 - epsilon + libm::log(t / (1.0 + t)));
            too_far = d * slope > growth + DIGITS;
        }
        if too_far {
            far = d;
        } else {
            near = d;
        }
        d = if far.is_infinite() {
            2.0 * d
        } else if near == 0.0 {
            0.4 * d
        } else {
            libm::sqrt(near * far)
        };
    }
    Ok(best)
}

#[cfg(test)]
mod tests {
    use super::Guard;

    /// `sup (1 - e^-x) e^{-t x}` is about 1 / (e t): the logarithm of a quotient near one would lose it far right.
    #[test]
    fn a_bound_of_a_high_moment_is_not_too_low() {
        for t in [1.0, 1e3, 1e9, 1e15, 3e16, 1e18] {
            let guard = Guard { t, k0: 0.0 };
            let x: f64 = 1.0 / t;
            let reached = (-(-x).exp_m1()).ln() - t * x;
            let bound = guard.ln_chernoff(0.0);
            assert!(bound >= reached - 1e-12, "t {t}: {bound} below {reached}");
            assert!(bound <= reached + 0.4, "t {t}: {bound} above {reached}");
        }
    }
}
