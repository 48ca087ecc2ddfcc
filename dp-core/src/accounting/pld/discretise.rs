//! One event's law on a grid of losses, from its hockey-stick curve alone.
//!
//! In `x = e^epsilon` the curve h is convex and falls. A measure on the grid has a curve that is linear between grid
//! points; its mass under P at a point is the bend there times x. Two curves composed with the same nonnegative law keep
//! their order, so any nonnegative measure with a curve above h is pessimistic and any below it is optimistic: neither
//! needs to sum to one.

use super::super::AccountingError;
use super::super::hockey::hockey;
use super::super::law::{Direction, Law};

/// Which side of the truth a measure is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Pessimistic: the curve through h at all grid points ("connect the dots").
    Above,
    /// Optimistic: below one supporting line of h in every cell.
    Below,
}

/// Half the distance of the two points that a cell's supporting line is drawn through, in cells.
const NEAR: f64 = 1.0 / 128.0;
/// Points of a cell in which the curve falls too fast, and how their distances from its end fall.
const STAIRS: u32 = 24;
const STAIR: f64 = 0.8;
const U: f64 = 1.2e-16;

/// The curve of an event in one direction, for epsilons from zero up.
pub(super) struct Curve<'a> {
    pub law: &'a Law,
    pub direction: Direction,
}

impl Curve<'_> {
    /// The curve's limit: the probability of an infinite loss.
    pub fn floor(&self) -> f64 {
        match self.law {
            Law::Lattice(lattice) => lattice.infinite,
            _ => 0.0,
        }
    }

    /// `log h`, as it is computed.
    pub fn ln(&self, epsilon: f64) -> Result<f64, AccountingError> {
        Ok(hockey(self.law, self.direction, epsilon)?.ln_delta)
    }

    /// h and a bound on its error.
    fn value(&self, epsilon: f64) -> Result<(f64, f64), AccountingError> {
        let point = hockey(self.law, self.direction, epsilon)?;
        if point.ln_delta == f64::NEG_INFINITY {
            return Ok((0.0, 0.0));
        }
        let value = libm::exp(point.ln_delta);
        let error = point.error + 4.0 * U * (2.0 + point.ln_delta.abs());
        if value.is_nan() || error.is_nan() {
            return Err(AccountingError::OutOfRange { value: epsilon });
        }
        Ok((value, value * error))
    }

    /// Not below h at `j` grid steps, however the product with the interval was rounded.
    fn upper(&self, j: usize, interval: f64) -> Result<f64, AccountingError> {
        let (value, error) = self.value(j as f64 * interval * (1.0 - 4.0 * U))?;
        Ok((value + error).min(1.0))
    }

    /// A line that is below h all over cell `j`: its values at the cell's ends, none below the floor.
    ///
    /// It goes through h at two points near the middle and is then lowered: h is below that secant only between the two
    /// points, and there above the chords from the cell's ends, so by no more than a quarter of their distance times the
    /// chords' difference in slope.
    fn line(
        &self,
        j: usize,
        ends: [(f64, f64); 2],
        interval: f64,
    ) -> Result<[f64; 2], AccountingError> {
        let floor = self.floor();
        let at = |share: f64| self.value((j as f64 + share) * interval);
        let a = at(0.5 - NEAR)?;
        let b = at(0.5 + NEAR)?;
        // Abscissas relative to the cell's start.
        let x_a = libm::expm1((0.5 - NEAR) * interval);
        let x_b = libm::expm1((0.5 + NEAR) * interval);
        let x_end = libm::expm1(interval);
        let width = x_b - x_a;
        let slope = (b.0 - a.0) / width;
        let before = (a.0 - ends[0].0) / x_a;
        let after = (ends[1].0 - b.0) / (x_end - x_b);
        // Every abscissa is known to some ulp of epsilon; h is nowhere steeper than the chord before it.
        let jitter = 4.0 * U * (j as f64 + 1.0) * interval * (1.0 + x_end) * before.abs();
        let error = a.1.max(b.1).max(ends[0].1) + jitter;
        let reach = (x_end / width).max(1.0);
        let sag = 0.25 * width * (after - before).max(0.0);
        let loss = sag + error * (4.0 * reach + 4.0) + 8.0 * U * a.0 * (2.0 + reach);
        let first = a.0 - slope * x_a - loss;
        let last = a.0 + slope * (x_end - x_a) - loss;
        if last > floor && first > last {
            return Ok([first, last]);
        }
        // The curve falls too fast for that: the steepest line that ends at the floor. Between two points, h is not below
        // its value at the right one.
        let mut steepest = f64::INFINITY;
        let mut left = x_end;
        for step in 1..=STAIRS {
            let rest = x_end * libm::pow(STAIR, f64::from(step));
            let rest = if step == STAIRS { 0.0 } else { rest };
            let share = libm::log1p(x_end - rest) / interval;
            let (value, error) = at(share.min(1.0) * (1.0 + 4.0 * U))?;
            steepest = steepest.min((value - error - floor).max(0.0) / left);
            left = rest;
        }
        Ok([floor + steepest * x_end * (1.0 - 1e-12), floor])
    }
}

/// One half of a law: losses at `0, 1, .. cells` steps of `interval`.
pub(super) struct Half<'a> {
    pub curve: Curve<'a>,
    pub side: Side,
    pub interval: f64,
    pub cells: usize,
}

/// The end of a half at loss zero.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    /// The curve's value at zero.
    pub value: f64,
    /// What the half's finite losses above zero amount to, without the value: the slope of its first line.
    pub slope: f64,
    /// Value beyond the last loss.
    pub rest: f64,
}

impl Half<'_> {
    /// Rounding of the masses: their curve is off by at most this, relative to itself.
    fn slack(&self) -> f64 {
        4.0 * U * (self.cells as f64 + 16.0)
    }

    fn end(&self, j: usize) -> Result<(f64, f64), AccountingError> {
        self.curve.value(j as f64 * self.interval)
    }

    /// What this half allows at loss zero.
    pub fn first(&self) -> Result<f64, AccountingError> {
        let slack = self.slack();
        match self.side {
            Side::Above => Ok((self.curve.upper(0, self.interval)? * (1.0 + slack)).min(1.0)),
            Side::Below => {
                let ends = [self.end(0)?, self.end(1)?];
                let [first, _] = self.curve.line(0, ends, self.interval)?;
                Ok(first * (1.0 - slack))
            }
        }
    }

    /// Fills `values[..=cells]`: what a curve with bends at the grid points only may be there.
    fn values(&self, first: f64, values: &mut [f64]) -> Result<(), AccountingError> {
        let slack = self.slack();
        match self.side {
            Side::Above => {
                for (j, value) in values.iter_mut().enumerate() {
                    *value = (self.curve.upper(j, self.interval)? * (1.0 + slack)).min(1.0);
                }
            }
            Side::Below => {
                let mut start = self.end(0)?;
                let mut last = f64::INFINITY;
                for (j, value) in values.iter_mut().enumerate().take(self.cells) {
                    let end = self.end(j + 1)?;
                    let [low, high] = self.curve.line(j, [start, end], self.interval)?;
                    *value = low.min(last) * (1.0 - slack);
                    (last, start) = (high, end);
                }
                // Beyond the last loss the curve is flat, so it must be below everything.
                if let Some(value) = values.last_mut() {
                    *value = self.curve.floor() * (1.0 - slack);
                }
            }
        }
        if let Some(value) = values.first_mut() {
            *value = first;
        }
        Ok(())
    }

    /// Hands every grid point above zero with its bend times x (its mass under the direction's P) to `emit`.
    ///
    /// `values` and `at` are scratch of `cells + 1` each. The largest convex curve below the values is taken: the true
    /// interpolant is convex, so what is above it stays so, and what is below h only falls.
    pub fn masses(
        &self,
        first: f64,
        values: &mut [f64],
        at: &mut [f64],
        mut emit: impl FnMut(usize, f64),
    ) -> Result<Start, AccountingError> {
        let values = values.get_mut(..=self.cells).unwrap_or_default();
        let at = at.get_mut(..=self.cells).unwrap_or_default();
        self.values(first, values)?;
        let bends = Bends::new(self.interval);
        let vertices = hull(values, at, &bends);
        let corner = |k: usize| match (at.get(k), values.get(k)) {
            (Some(&place), Some(&value)) if k < vertices => Some((place, value)),
            _ => None,
        };
        let mut start = Start {
            value: first,
            slope: 0.0,
            rest: first,
        };
        for k in 0..vertices {
            let (Some(here), next) = (corner(k), corner(k + 1)) else {
                break;
            };
            let right = next.map_or(0.0, |next| bends.after(here, next));
            match k.checked_sub(1).and_then(corner) {
                None => start.slope = right,
                Some(previous) => {
                    let mass = bends.before(previous, here) - right;
                    if mass > 0.0 {
                        emit(here.0 as usize, mass);
                    }
                }
            }
            start.rest = here.1;
        }
        Ok(start)
    }
}

/// Slopes of lines between grid points, in units of 1/x at one end.
struct Bends {
    interval: f64,
    after: f64,
    before: f64,
}

impl Bends {
    fn new(interval: f64) -> Self {
        Self {
            interval,
            after: 1.0 / libm::expm1(interval),
            before: -1.0 / libm::expm1(-interval),
        }
    }

    /// Steepness of the line times x at its left end.
    fn after(&self, left: (f64, f64), right: (f64, f64)) -> f64 {
        let steps = right.0 - left.0;
        let factor = if steps == 1.0 {
            self.after
        } else {
            1.0 / libm::expm1(steps * self.interval)
        };
        (left.1 - right.1) * factor
    }

    /// Steepness of the line times x at its right end.
    fn before(&self, left: (f64, f64), right: (f64, f64)) -> f64 {
        let steps = right.0 - left.0;
        let factor = if steps == 1.0 {
            self.before
        } else {
            -1.0 / libm::expm1(-steps * self.interval)
        };
        (left.1 - right.1) * factor
    }
}

/// Vertices of the lower convex hull, packed to the front of `values`, their places in `at`; how many there are.
fn hull(values: &mut [f64], at: &mut [f64], bends: &Bends) -> usize {
    let mut len = 0;
    for j in 0..values.len() {
        let next = (j as f64, values[j]);
        while len >= 2 {
            let middle = (at[len - 1], values[len - 1]);
            let first = (at[len - 2], values[len - 2]);
            if bends.before(first, middle) > bends.after(middle, next) {
                break;
            }
            len -= 1;
        }
        (at[len], values[len]) = next;
        len += 1;
    }
    len
}

/// The direction with the two data sets exchanged.
pub(super) fn opposite(direction: Direction) -> Direction {
    match direction {
        Direction::Remove => Direction::Add,
        Direction::Add => Direction::Remove,
    }
}
