//! Accounting by privacy loss distributions on a grid, in a caller's workspace.

mod compose;
mod discretise;
mod fft;
mod plan;
mod query;

use self::compose::{Workspace, compose};
use self::discretise::Side;
use self::plan::{Plan, Query};
use self::query::{delta_at, epsilon_at};
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
/// Plans that a search for epsilon may draw.
const MAX_PLANS: u32 = 6;

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
        Ok(match plan::span(run)? {
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

    fn delta_one_way(
        &mut self,
        run: &Run<'_>,
        direction: Direction,
        epsilon: f64,
        enough: f64,
    ) -> Result<Bounds, AccountingError> {
        if let Some((loss, rest)) = plan::largest_loss(run, direction)?
            && epsilon >= loss
        {
            return Ok(between(0.0, rest).capped());
        }
        let mut plan = Plan::new(run, direction, Query::Epsilon(epsilon))?;
        let outside = AccountingError::NotConverged {
            epsilon,
            relative_error: f64::INFINITY,
        };
        let one = |law: &compose::Composed<'_>| delta_at(law, plan.top, epsilon);
        let mut upper = self
            .ask(run, direction, Side::Above, &plan, one)?
            .ok_or(outside)?;
        for _ in 0..MAX_PLANS {
            // What was cut off as negligible was measured against too large a delta.
            if upper <= enough || libm::log(upper) > plan.ln_delta - 7.0 {
                break;
            }
            plan.ln_delta = libm::log(upper);
            let one = |law: &compose::Composed<'_>| delta_at(law, plan.top, epsilon);
            upper = self
                .ask(run, direction, Side::Above, &plan, one)?
                .unwrap_or(upper);
        }
        let one = |law: &compose::Composed<'_>| delta_at(law, plan.top, epsilon);
        if upper <= enough {
            return Ok(between(0.0, upper).capped());
        }
        let lower = self
            .ask(run, direction, Side::Below, &plan, one)?
            .unwrap_or(0.0);
        Ok(between(lower, upper).capped())
    }

    fn epsilon_one_way(
        &mut self,
        run: &Run<'_>,
        direction: Direction,
        delta: f64,
        enough: f64,
    ) -> Result<Bounds, AccountingError> {
        let largest = plan::largest_loss(run, direction)?
            .filter(|(_, rest)| *rest <= delta)
            .map(|(loss, _)| loss);
        if let Some(loss) = largest
            && loss <= enough
        {
            return Ok(between(0.0, loss));
        }
        let mut query = Query::LnDelta(libm::log(delta));
        let mut last = None;
        for _ in 0..MAX_PLANS {
            let plan = match (Plan::new(run, direction, query), largest) {
                (Err(_), Some(loss)) => return Ok(between(0.0, loss)),
                (plan, _) => plan?,
            };
            let one = |law: &compose::Composed<'_>| epsilon_at(law, plan.top, delta);
            let Some(upper) = self.ask(run, direction, Side::Above, &plan, one)? else {
                // The answer is above the window.
                query = Query::Epsilon(plan.top);
                continue;
            };
            let moved = (upper - plan.epsilon).abs() > plan.deviation;
            last = Some((plan, upper));
            if !moved {
                break;
            }
            query = Query::Epsilon(upper);
        }
        let Some((plan, upper)) = last else {
            return Err(AccountingError::NotConverged {
                epsilon: f64::INFINITY,
                relative_error: f64::INFINITY,
            });
        };
        if upper <= enough {
            return Ok(between(0.0, upper));
        }
        let one = |law: &compose::Composed<'_>| epsilon_at(law, plan.top, delta);
        let lower = self
            .ask(run, direction, Side::Below, &plan, one)?
            .unwrap_or(0.0);
        Ok(between(lower, upper))
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

/// Where the truth is between the bounds, for a curve that is smooth in a cell: a supporting line is then 1/24 of the second
/// derivative times the squared cell below it (and 1/512 for the two points that it goes through), a chord 1/12 above.
const BETWEEN: f64 = 0.344;

fn between(lower: f64, upper: f64) -> Bounds {
    let lower = lower.min(upper);
    Bounds {
        lower,
        estimate: lower + (upper - lower) * BETWEEN,
        upper,
    }
}

impl Bounds {
    fn capped(self) -> Self {
        Self {
            lower: self.lower.min(1.0),
            estimate: self.estimate.min(1.0),
            upper: self.upper.clamp(f64::MIN_POSITIVE, 1.0),
        }
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
mod tests {
    extern crate std;
    use super::super::normal::ln_delta;
    use super::super::{Event, Run};
    use super::compose::{Composed, compose};
    use super::discretise::Side;
    use super::plan::{Plan, Query};
    use super::query::delta_at;
    use super::{DIRECTIONS, Pld, pld_workspace_len};
    use std::vec;

    const EPSILON: f64 = 4.3;
    const EVENTS: [(Event, u64); 1] = [(Event::Gaussian { sigma: 10.0 }, 100)];

    /// Delta on one side, with the composed measure moved by some buckets and another tilt.
    fn delta(side: Side, moved: i32, tilt: Option<f64>) -> f64 {
        let run = Run::add_remove(&EVENTS);
        let mut workspace = vec![0.0; pld_workspace_len(1 << 14)];
        let mut pld = Pld::new(&mut workspace).expect("workspace");
        let mut plan = Plan::new(&run, DIRECTIONS[0], Query::Epsilon(EPSILON)).expect("plan");
        // Twice as wide as the plan wants, so that another tilt's law fits too.
        let interval = 2.0 * pld.interval(&run, &plan).expect("interval");
        if let Some(tilt) = tilt {
            // Without the tilt more of the tail beyond the window counts.
            plan.tilt = tilt;
            plan.top += 3.0;
        }
        let mut work = pld.parts().expect("parts");
        let law = compose(&run, DIRECTIONS[0], side, &plan, interval, &mut work).expect("law");
        let mut measure = law.measure.to_vec();
        let len = measure.len() as i32;
        measure.rotate_right(moved.rem_euclid(len) as usize);
        // A loss that moves takes its mass along, not its tilted mass.
        for mass in &mut measure {
            *mass *= libm::exp(law.theta * f64::from(moved));
        }
        let law = Composed {
            measure: &measure,
            ..law
        };
        delta_at(&law, plan.top, EPSILON).expect("inside")
    }

    fn truth() -> f64 {
        libm::exp(ln_delta(EPSILON, 1.0))
    }

    #[test]
    fn one_bucket_is_seen() {
        assert!(delta(Side::Above, 0, None) >= truth());
        assert!(delta(Side::Below, 0, None) <= truth());
        // Losses one bucket too low, or too high.
        assert!(delta(Side::Above, -1, None) < truth());
        assert!(delta(Side::Below, 1, None) > truth());
    }

    #[test]
    fn the_tilt_does_not_matter_where_rounding_does_not() {
        let tilted = delta(Side::Above, 0, None);
        let plain = delta(Side::Above, 0, Some(1.0));
        assert!(plain >= truth());
        assert!((plain / tilted - 1.0).abs() < 1e-4, "{plain} {tilted}");
    }
}
