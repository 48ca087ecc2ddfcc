//! From delta as a function of epsilon to epsilon as a function of delta.

use super::{AccountingError, Bounds};

/// `log delta` at one epsilon, with a bound on the error of delta, relative to `delta`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    pub ln_delta: f64,
    pub error: f64,
}

impl Point {
    /// A delta known as `(value +- error) e^ln_scale`; where the value is no better than its error
    /// only the upper bound is of use.
    pub fn scaled(value: f64, error: f64, ln_scale: f64) -> Self {
        // `max` below would make the least delta of a NaN.
        if value.is_nan() || error.is_nan() || ln_scale.is_nan() {
            return Self {
                ln_delta: 0.0,
                error: f64::INFINITY,
            };
        }
        // A value inside its error is replaced by the largest that it can be, as an error of one.
        if value > error {
            Self {
                ln_delta: libm::log(value) + ln_scale,
                error: error / value,
            }
        } else {
            let most = 0.5 * (value.max(0.0) + error).max(f64::MIN_POSITIVE);
            Self {
                ln_delta: libm::log(most) + ln_scale,
                error: 1.0,
            }
        }
    }

    /// Logarithm of a delta that is not below the truth.
    pub fn ln_upper(&self) -> f64 {
        self.ln_delta + libm::log1p(self.error)
    }

    /// Logarithm of a delta that is not above the truth.
    pub fn ln_lower(&self) -> f64 {
        if self.error < 1.0 {
            self.ln_delta + libm::log1p(-self.error)
        } else {
            f64::NEG_INFINITY
        }
    }

    /// Delta itself, rounded outward.
    pub fn bounds(&self) -> Bounds {
        // An underflow, or nothing above epsilon: the smallest number is above both.
        if self.ln_delta == f64::NEG_INFINITY {
            return Bounds {
                upper: f64::MIN_POSITIVE,
                ..Bounds::ZERO
            };
        }
        let room = 4e-16 * (1.0 + self.ln_delta.abs());
        Bounds {
            lower: libm::exp(self.ln_lower() - room).min(1.0),
            estimate: libm::exp(self.ln_delta).min(1.0),
            // Never zero: an underflow is not a proof that nothing leaks.
            upper: libm::exp(self.ln_upper() + room).clamp(f64::MIN_POSITIVE, 1.0),
        }
    }
}

/// Most evaluations that a search takes.
const MAX_STEPS: u32 = 400;

/// Epsilon at which a falling `log delta` curve meets `ln_target`, never below zero.
///
/// `guess` and `slope` (of log delta by epsilon, negative) need only be roughly right. A guess of
/// zero has the curve asked at zero first; any other is trusted to be near the answer.
pub(super) fn invert(
    mut curve: impl FnMut(f64) -> Result<Point, AccountingError>,
    ln_target: f64,
    guess: f64,
    slope: f64,
) -> Result<Bounds, AccountingError> {
    let mut start = guess;
    if guess == 0.0 {
        let at_zero = curve(0.0)?;
        if at_zero.ln_upper() <= ln_target {
            return Ok(Bounds::ZERO);
        }
        start = (ln_target - at_zero.ln_delta) / slope;
    }
    let (estimate, wide) = if start > 0.0 {
        root(&mut curve, ln_target, start, slope)?
    } else {
        (0.0, 0.0)
    };
    // A quarter of what the curve's own error makes of it, so that few steps outward suffice.
    let first = (4.0 * f64::EPSILON * estimate.max(1e-12 / -slope)).max(0.25 * wide);
    let mut upper = estimate;
    let mut step = first;
    for _ in 0..60 {
        if upper > estimate && curve(upper)?.ln_upper() <= ln_target {
            let lower = lower_end(&mut curve, ln_target, estimate, first)?;
            return Ok(Bounds {
                lower,
                estimate,
                upper: upper * (1.0 + 2.0 * f64::EPSILON),
            });
        }
        upper = estimate + step;
        step *= 2.0;
    }
    Err(AccountingError::NotConverged {
        epsilon: estimate,
        relative_error: curve(estimate)?.error,
    })
}

fn lower_end(
    curve: &mut impl FnMut(f64) -> Result<Point, AccountingError>,
    ln_target: f64,
    estimate: f64,
    first: f64,
) -> Result<f64, AccountingError> {
    let mut step = first;
    for _ in 0..60 {
        let lower = estimate - step;
        if lower <= 0.0 {
            return Ok(0.0);
        }
        if curve(lower)?.ln_lower() >= ln_target {
            return Ok(lower * (1.0 - 2.0 * f64::EPSILON));
        }
        step *= 2.0;
    }
    Ok(0.0)
}

/// Root by secant steps inside a bracket that only shrinks, and the curve's error there in epsilon.
fn root(
    curve: &mut impl FnMut(f64) -> Result<Point, AccountingError>,
    ln_target: f64,
    guess: f64,
    slope: f64,
) -> Result<(f64, f64), AccountingError> {
    let (mut low, mut high) = (0.0f64, f64::INFINITY);
    let (mut last_x, mut last_g) = (f64::NAN, f64::NAN);
    let mut x = guess;
    let (mut local, mut wide) = (slope, 0.0);
    for step in 0..MAX_STEPS {
        let point = curve(x)?;
        let g = point.ln_delta - ln_target;
        if g.is_nan() {
            return Err(AccountingError::OutOfRange { value: x });
        }
        if g > 0.0 {
            low = low.max(x);
        } else {
            high = high.min(x);
        }
        let closed = high.is_finite() && high - low <= 2.0 * f64::EPSILON * high;
        if point.error < 0.5 {
            wide = (point.error / -local).min(0.1 * x);
        }
        // Below its own error the curve is noise. An exact meeting may be a flat piece: its start is looked for.
        if g.abs() < 1e-3 * point.error || closed {
            return Ok((x, wide));
        }
        let secant = (g - last_g) / (x - last_x);
        if secant.is_finite() && secant < 0.0 {
            local = secant;
        }
        (last_x, last_g) = (x, g);
        let newton = x - g / local;
        if g != 0.0 && (newton - x).abs() <= 2.0 * f64::EPSILON * x {
            return Ok((x, wide));
        }
        // Every third step halves the bracket, so that a bad slope can't stall the search.
        let halve = step % 3 == 2 && step > 8;
        x = if newton > low && newton < high && !halve {
            newton
        } else if high.is_finite() {
            0.5 * (low + high)
        } else {
            2.0 * low.max(-1.0 / slope)
        };
    }
    Ok((x, wide))
}

#[cfg(test)]
mod tests {
    use super::Point;

    #[test]
    fn a_delta_of_zero_has_bounds() {
        let zero = Point {
            ln_delta: f64::NEG_INFINITY,
            error: 1e-12,
        };
        let bounds = zero.bounds();
        assert_eq!((bounds.lower, bounds.upper), (0.0, f64::MIN_POSITIVE));
    }
}
