//! Accounting by privacy loss distributions on a grid, in a caller's workspace.

mod compose;
mod cumulants;
mod discretise;
mod fft;
mod one_way;
mod plan;
mod query;
mod reach;

use self::compose::{Workspace, compose};
use self::discretise::Side;
use self::plan::Plan;
use super::hockey::hockey;
use super::invert::invert;
use super::law::{DIRECTIONS, Direction, Law};
use super::{Accountant, AccountingError, Bounds, Run};

/// Fewest buckets of a grid.
const MIN_BUCKETS: usize = 1 << 8;
/// Largest epsilon that is answered.
const MAX_EPSILON: f64 = 1e9;
/// Room by which the grid is wider than the plan.
const ROOM: f64 = 1.02;

/// Length of the workspace, in numbers, that a [`Pld`] needs for `buckets` (a power of two, at least 256).
///
/// ```
/// use dp_core::accounting::pld_workspace_len;
/// assert_eq!(pld_workspace_len(1024), 5637);
/// ```
#[must_use]
pub const fn pld_workspace_len(buckets: usize) -> usize {
    // Measure, twiddles, two halves of a curve, three numbers a frequency.
    2 * buckets + 2 * (buckets + 1) + 3 * (buckets / 2 + 1)
}

/// The accountant by privacy loss distributions: a second opinion that shares nothing with the contour integral but the
/// events' own curves.
///
/// Every event's loss is put on a grid twice, by a law that dominates it and by one that it dominates; both are composed by
/// FFT, tilted to where the answer is, so that small deltas (tested to 1e-100) keep their digits. Time and memory don't depend
/// on the counts.
///
/// # Privacy
/// Both directions; `upper` is a promise, [`Accountant`] says under which relation.
///
/// # Precision
/// The width falls with the square of the number of buckets. `estimate` is the point between the bounds at which their
/// leading errors cancel.
///
/// # References
/// Doroshenko et al., arXiv:2207.04380 (connect the dots); Koskela, Jälkö, Honkela, arXiv:1906.03049 (FFT).
///
/// ```
/// use dp_core::accounting::{Accountant, Event, Pld, Run, pld_workspace_len};
/// let mut workspace = vec![0.0; pld_workspace_len(1 << 14)];
/// let mut pld = Pld::new(&mut workspace)?;
/// let step = Event::PoissonGaussian { rate: 0.01, sigma: 1.0 };
/// let spent = pld.epsilon(Run::add_remove(&[(step, 1000)]), 1e-6)?;
/// assert!(spent.relative_width() < 0.01);
/// # Ok::<(), dp_core::accounting::AccountingError>(())
/// ```
#[derive(Debug)]
pub struct Pld<'w> {
    workspace: &'w mut [f64],
    buckets: usize,
    interval: Option<f64>,
}

impl<'w> Pld<'w> {
    /// With the most buckets that fit into the workspace; each query picks the finest grid that holds its losses.
    ///
    /// # Errors
    /// [`AccountingError::InvalidWorkspace`] if 256 buckets don't fit.
    pub fn new(workspace: &'w mut [f64]) -> Result<Self, AccountingError> {
        let mut buckets = MIN_BUCKETS;
        let length = workspace.len();
        if length < pld_workspace_len(buckets) {
            return Err(AccountingError::InvalidWorkspace {
                length,
                needed: pld_workspace_len(buckets),
            });
        }
        while buckets < 1 << 30 && pld_workspace_len(2 * buckets) <= length {
            buckets *= 2;
        }
        let mut pld = Self {
            workspace,
            buckets,
            interval: None,
        };
        if let Some(work) = pld.parts() {
            fft::twiddles(work.table);
        }
        Ok(pld)
    }

    /// As [`Pld::new`], on a grid of this distance in losses (no unit). Where the buckets then don't hold a run's losses the
    /// bounds are wide, but true.
    ///
    /// # Errors
    /// As [`Pld::new`]; [`AccountingError::OutOfRange`] unless the interval is in [1e-12, 10].
    pub fn with_interval(workspace: &'w mut [f64], interval: f64) -> Result<Self, AccountingError> {
        if !(1e-12..=10.0).contains(&interval) {
            return Err(AccountingError::OutOfRange { value: interval });
        }
        let mut pld = Self::new(workspace)?;
        pld.interval = Some(interval);
        Ok(pld)
    }

    /// Number of buckets.
    #[must_use]
    pub const fn buckets(&self) -> usize {
        self.buckets
    }

    fn parts(&mut self) -> Option<Workspace<'_>> {
        let buckets = self.buckets;
        let (measure, rest) = self.workspace.split_at_mut_checked(buckets)?;
        let (table, rest) = rest.split_at_mut_checked(buckets)?;
        let (values, rest) = rest.split_at_mut_checked(buckets + 1)?;
        let (at, rest) = rest.split_at_mut_checked(buckets + 1)?;
        let (modulus, rest) = rest.split_at_mut_checked(buckets / 2 + 1)?;
        let (phase, rest) = rest.split_at_mut_checked(buckets / 2 + 1)?;
        let (error, _) = rest.split_at_mut_checked(buckets / 2 + 1)?;
        Some(Workspace {
            measure,
            table,
            modulus,
            phase,
            error,
            values,
            at,
        })
    }

    fn interval(&self, run: &Run<'_>, plan: &Plan) -> Result<f64, AccountingError> {
        if let Some(interval) = self.interval {
            return Ok(interval);
        }
        // No coarser than what one cell of e^epsilon can carry.
        let interval = (ROOM * plan.width / self.buckets as f64).clamp(1e-12, 10.0);
        Ok(match reach::span(run)? {
            // Losses that are on the grid are not moved.
            Some(span) if span >= interval => span / libm::floor(span / interval),
            _ => interval,
        })
    }

    /// Composes on one side and asks.
    fn ask<T>(
        &mut self,
        run: &Run<'_>,
        direction: Direction,
        side: Side,
        plan: &Plan,
        question: impl Fn(&compose::Composed<'_>) -> T,
    ) -> Result<T, AccountingError> {
        let interval = self.interval(run, plan)?;
        let Some(mut work) = self.parts() else {
            return Err(AccountingError::UndefinedEngine);
        };
        let law = compose(run, direction, side, plan, interval, &mut work)?;
        Ok(question(&law))
    }

    /// The worse direction; the other is left out where it is the same, or its upper bound is below this one's lower.
    fn worse(
        &mut self,
        run: &Run<'_>,
        mut one_way: impl FnMut(&mut Self, Direction, f64) -> Result<Bounds, AccountingError>,
    ) -> Result<Bounds, AccountingError> {
        if !plan::check(run)? {
            return Ok(Bounds::ZERO);
        }
        let [remove, add] = DIRECTIONS;
        let worse = one_way(self, remove, 0.0)?;
        if plan::symmetric(run)? {
            return Ok(worse);
        }
        let other = one_way(self, add, worse.lower)?;
        if other.upper <= worse.lower {
            return Ok(worse);
        }
        Ok(worse.max(other))
    }
}

/// The law of a run of one event: its own curve is the answer.
fn alone(run: &Run<'_>) -> Result<Option<Law>, AccountingError> {
    let mut found = None;
    for &(event, count) in run.events {
        if count > 1 || (count == 1 && found.is_some()) {
            return Ok(None);
        }
        if count == 1 {
            found = Some(event.law(run.adjacency)?);
        }
    }
    Ok(found)
}

impl Accountant for Pld<'_> {
    fn delta(&mut self, run: Run<'_>, epsilon: f64) -> Result<Bounds, AccountingError> {
        if !(0.0..=MAX_EPSILON).contains(&epsilon) {
            return Err(AccountingError::InvalidEpsilon { epsilon });
        }
        if let Some(law) = alone(&run)? {
            let [remove, add] = DIRECTIONS;
            let worse = hockey(&law, remove, epsilon)?.bounds();
            return worse.max(hockey(&law, add, epsilon)?.bounds()).checked();
        }
        self.worse(&run, |pld, direction, enough| {
            pld.delta_one_way(&run, direction, epsilon, enough)
        })?
        .checked()
    }

    fn epsilon(&mut self, run: Run<'_>, delta: f64) -> Result<Bounds, AccountingError> {
        if !(delta > 0.0 && delta < 1.0) {
            return Err(AccountingError::InvalidDelta { delta });
        }
        let probability = reach::infinite(&run)?;
        if probability > delta * (1.0 + 1e-14) {
            return Err(AccountingError::InfiniteLoss { delta, probability });
        }
        if let Some(law) = alone(&run)? {
            let mut worse = Bounds::ZERO;
            for direction in DIRECTIONS {
                let curve = |e| hockey(&law, direction, e);
                worse = worse.max(invert(curve, libm::log(delta), 0.0, -1.0)?);
            }
            return worse.checked();
        }
        self.worse(&run, |pld, direction, enough| {
            pld.epsilon_one_way(&run, direction, delta, enough)
        })?
        .checked()
    }
}

#[cfg(test)]
mod tests;
