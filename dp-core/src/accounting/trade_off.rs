//! The trade-off function (f-DP) of a run, from any engine.
//!
//! The argument is in `docs/proofs/accounting-trade-off.md`.

use super::{Accountant, AccountingError, Bounds, Run};

/// The smallest type-II error (missing that the record is in) that a test of type-I error (false alarm) at most
/// `false_positive_rate` can have against this run.
///
/// The number bounded is `f(alpha) = sup_eps max(0, 1 - delta(eps) - e^eps alpha, e^-eps (1 - delta(eps) - alpha))`, the
/// symmetric trade-off function that says the same as all (eps, delta) of the run together.
///
/// # Privacy
/// No test between the two neighbouring data sets, in either direction, has both errors below `(false_positive_rate, lower)`.
/// `upper` is not below f: an adversary for whom either data set may be the null hypothesis reaches it.
///
/// # Errors
/// [`AccountingError::InvalidProbability`] outside [0, 1], and what the accountant answers.
///
/// # Precision
/// About 30 queries of delta. The width is that of the accountant's delta plus about 1e-8 (a kink of f costs more).
///
/// # References
/// Wasserman, Zhou, arXiv:0811.2501; Dong, Roth, Su, arXiv:1905.02383.
///
/// ```
/// use dp_core::accounting::{Event, Gdp, Run, trade_off};
/// let events = [(Event::Gaussian { sigma: 1.0 }, 1)];
/// let miss = trade_off(&mut Gdp, Run::add_remove(&events), 0.05)?;
/// assert!(miss.lower <= 0.7404889771585558 && 0.7404889771585558 <= miss.upper);
/// # Ok::<(), dp_core::accounting::AccountingError>(())
/// ```
pub fn trade_off(
    accountant: &mut impl Accountant,
    run: Run<'_>,
    false_positive_rate: f64,
) -> Result<Bounds, AccountingError> {
    let mut search = Search::new(accountant, run)?;
    search.at(false_positive_rate)
}

/// [`trade_off`] at each of `alphas`, into `betas` of the same length; faster than one by one if the alphas are in order.
///
/// # Errors
/// [`AccountingError::WrongLength`] if the lengths differ; else as [`trade_off`].
pub fn trade_off_curve(
    accountant: &mut impl Accountant,
    run: Run<'_>,
    alphas: &[f64],
    betas: &mut [Bounds],
) -> Result<(), AccountingError> {
    if alphas.len() != betas.len() {
        return Err(AccountingError::WrongLength {
            expected: alphas.len(),
            given: betas.len(),
        });
    }
    let mut search = Search::new(accountant, run)?;
    for (alpha, beta) in alphas.iter().zip(betas) {
        *beta = search.at(*alpha)?;
    }
    Ok(())
}

/// `G(x) = 1 - H(x) - x alpha` at `x = e^e`, between bounds; H is the divergence of either data set from x times the other.
#[derive(Clone, Copy, Debug)]
struct Line {
    e: f64,
    lower: f64,
    upper: f64,
}

struct Search<'a, 'r, A> {
    accountant: &'a mut A,
    run: Run<'r>,
    at_zero: Bounds,
    /// Where the last search ended, and a scale of epsilon.
    near: f64,
    scale: f64,
}

/// Rounding of one line, with room.
const ROUNDING: f64 = 4.0 * f64::EPSILON;
/// Largest epsilon that is asked for; `e^-600` times anything is nothing here.
const MAX_EPSILON: f64 = 600.0;
/// Above `e^-600`.
const TINY: f64 = 1e-259;
/// Strides that look for the top.
const STRIDES: u32 = 60;
/// Steps that close in on it.
const STEPS: u32 = 30;

impl<'a, 'r, A: Accountant> Search<'a, 'r, A> {
    fn new(accountant: &'a mut A, run: Run<'r>) -> Result<Self, AccountingError> {
        let at_zero = accountant.delta(run, 0.0)?;
        // Losses are about as large as the total variation, as long as that is far from one.
        Ok(Self {
            accountant,
            run,
            at_zero,
            near: 0.0,
            scale: at_zero.upper.clamp(1e-9, 1.0),
        })
    }

    fn at(&mut self, alpha: f64) -> Result<Bounds, AccountingError> {
        if !(0.0..=1.0).contains(&alpha) {
            return Err(AccountingError::InvalidProbability { value: alpha });
        }
        if alpha == 1.0 {
            return Ok(Bounds::ZERO);
        }
        let [left, top, right] = self.climb(alpha)?;
        let (left, top, right) = self.close_in(alpha, left, top, right)?;
        self.near = top.e;
        let lower = left.lower.max(top.lower).max(right.lower).max(0.0);
        let ceiling = if lower == 0.0 && self.exhausted(alpha)? {
            TINY
        } else {
            self.ceiling(alpha, &left, &top, &right)?
        };
        let upper = ceiling.min(1.0 - alpha).max(lower);
        Ok(Bounds {
            lower,
            estimate: (0.5 * (top.lower + top.upper)).clamp(lower, upper),
            upper,
        })
    }

    /// The line at one epsilon of either sign.
    ///
    /// For x < 1, `H(x) = 1 - x + x delta(-e)`: the roles of the data sets change, and f is symmetric.
    fn line(&mut self, alpha: f64, e: f64) -> Result<Line, AccountingError> {
        let delta = if e == 0.0 {
            self.at_zero
        } else {
            self.accountant.delta(self.run, e.abs())?
        };
        let value = |delta: f64| {
            if e >= 0.0 {
                let slope = libm::exp(e) * alpha;
                let room = ROUNDING * (1.0 + slope * (1.0 + e));
                (1.0 - delta - slope, room)
            } else {
                let x = libm::exp(e);
                (x * ((1.0 - alpha) - delta), ROUNDING * x * (1.0 - e))
            }
        };
        let (lower, room) = value(delta.upper);
        let (upper, _) = value(delta.lower);
        Ok(Line {
            e,
            lower: lower - room,
            upper: upper + room,
        })
    }

    /// The same, where an engine that can't answer there counts as knowing nothing.
    fn try_line(&mut self, alpha: f64, e: f64) -> Result<Line, AccountingError> {
        match self.line(alpha, e) {
            Err(AccountingError::NotConverged { .. } | AccountingError::OutOfRange { .. }) => {
                Ok(Line {
                    e,
                    lower: f64::NEG_INFINITY,
                    upper: 1.0,
                })
            }
            other => other,
        }
    }

    /// Three points, the middle one the highest: G is concave in x, so it has one top.
    fn climb(&mut self, alpha: f64) -> Result<[Line; 3], AccountingError> {
        let mut stride = self.scale;
        let start = self.near;
        let mut top = self.try_line(alpha, start)?;
        let mut right = self.try_line(alpha, (start + stride).min(MAX_EPSILON))?;
        let mut left = if right.lower > top.lower {
            top
        } else {
            self.try_line(alpha, (start - stride).max(-MAX_EPSILON))?
        };
        for _ in 0..STRIDES {
            if right.lower > top.lower && right.e < MAX_EPSILON {
                stride *= 2.0;
                (left, top) = (top, right);
                right = self.try_line(alpha, (top.e + stride).min(MAX_EPSILON))?;
            } else if left.lower > top.lower && left.e > -MAX_EPSILON {
                stride *= 2.0;
                (right, top) = (top, left);
                left = self.try_line(alpha, (top.e - stride).max(-MAX_EPSILON))?;
            } else {
                break;
            }
        }
        self.scale = (0.25 * (right.e - left.e)).clamp(1e-9, 16.0);
        Ok([left, top, right])
    }

    /// Golden sections and parabolas until the bracket is short against what G can tell.
    fn close_in(
        &mut self,
        alpha: f64,
        mut left: Line,
        mut top: Line,
        mut right: Line,
    ) -> Result<(Line, Line, Line), AccountingError> {
        let short = 3e-5 * (right.e - left.e);
        for step in 0..STEPS {
            if right.e - left.e <= 2.0 * short {
                break;
            }
            let vertex = vertex(&left, &top, &right);
            let e = place(&left, &top, &right, vertex, 0.5 * short, step % 3 == 2);
            let tried = self.try_line(alpha, e)?;
            if tried.lower > top.lower {
                if e > top.e {
                    left = top;
                } else {
                    right = top;
                }
                top = tried;
            } else if e > top.e {
                right = tried;
            } else {
                left = tried;
            }
        }
        Ok((left, top, right))
    }

    /// Whether a loss without bound alone leaves no second error, so that f is no more than [`TINY`].
    ///
    /// With `1 - alpha <= delta(600) <= delta(e)` both families of lines are at most zero for all e up to there; beyond, the
    /// first is below `1 - e^600 alpha` and the second below `e^-600`.
    fn exhausted(&mut self, alpha: f64) -> Result<bool, AccountingError> {
        let far = self.accountant.delta(self.run, MAX_EPSILON)?;
        Ok(far.lower >= 1.0 - alpha && alpha > TINY)
    }

    /// A bound on G everywhere, and so on f.
    ///
    /// Between the outer two points G is below the lines through the top and the other side's point; beyond them it
    /// is below their values where these are provably below the top's (G is concave in x).
    fn ceiling(
        &mut self,
        alpha: f64,
        left: &Line,
        top: &Line,
        right: &Line,
    ) -> Result<f64, AccountingError> {
        if self.at_zero.lower == 0.0 {
            // The engine knows nothing from below.
            return Ok(1.0 - alpha);
        }
        let (mut left, mut right) = (*left, *right);
        let mut width = (right.e - left.e).max(1e-9);
        for _ in 0..24 {
            let proven = left.upper <= top.lower && right.upper <= top.lower;
            if proven {
                return Ok(cap(&left, top, &right));
            }
            width *= 3.0;
            if width > 4.0 * MAX_EPSILON {
                break;
            }
            if left.upper > top.lower && top.e - width >= -MAX_EPSILON {
                left = self.try_line(alpha, top.e - width)?;
            }
            if right.upper > top.lower && top.e + width <= MAX_EPSILON {
                right = self.try_line(alpha, top.e + width)?;
            }
        }
        Ok(1.0 - alpha)
    }
}

/// Highest point of the parabola through three points.
fn vertex(left: &Line, top: &Line, right: &Line) -> f64 {
    let (a, b) = (top.e - left.e, top.e - right.e);
    let (p, q) = (top.lower - right.lower, top.lower - left.lower);
    top.e - 0.5 * (a * a * p - b * b * q) / (a * p - b * q)
}

/// The parabola's proposal where it is of use, else a golden section of the longer side; never on the top itself.
fn place(left: &Line, top: &Line, right: &Line, vertex: f64, least: f64, golden: bool) -> f64 {
    let (down, up) = (top.e - left.e, right.e - top.e);
    let longer = if up >= down {
        top.e + 0.381_966_011_250_105_1 * up
    } else {
        top.e - 0.381_966_011_250_105_1 * down
    };
    if golden || !(vertex > left.e && vertex < right.e) {
        return longer;
    }
    if (vertex - top.e).abs() < least {
        // The top is found: bring the farther end in.
        return if up >= down {
            top.e + least
        } else {
            top.e - least
        };
    }
    vertex
}

/// With the outer values below the top's, the highest that a concave function through the three intervals can be.
fn cap(left: &Line, top: &Line, right: &Line) -> f64 {
    // x relative to the top's: only ratios of distances count.
    let down = -libm::expm1(left.e - top.e);
    let up = libm::expm1(right.e - top.e);
    if !(down > 0.0 && up > 0.0) {
        return f64::INFINITY;
    }
    // Right of the top G is below the line from the left point through it, left of the top likewise.
    let beyond_right = (top.upper - left.lower) * up / down;
    let beyond_left = (top.upper - right.lower) * down / up;
    let rise = beyond_right.max(beyond_left).max(0.0);
    top.upper + rise * (1.0 + 1e-12) + ROUNDING * top.upper.abs()
}
