//! A query in one direction: plan, compose on both sides, ask.

use super::super::law::Direction;
use super::super::{AccountingError, Bounds, Run};
use super::compose::Composed;
use super::discretise::Side;
use super::plan::{Plan, Query};
use super::query::{delta_at, epsilon_at};
use super::{Pld, reach};

/// Plans that a search for epsilon may draw.
const MAX_PLANS: u32 = 6;

impl Pld<'_> {
    /// Delta; its lower bound is left out where the upper one is not above `enough`.
    pub(super) fn delta_one_way(
        &mut self,
        run: &Run<'_>,
        direction: Direction,
        epsilon: f64,
        enough: f64,
    ) -> Result<Bounds, AccountingError> {
        let infinite = reach::infinite(run)? * (1.0 - 1e-12);
        let (loss, rest) = reach::largest_loss(run, direction)?;
        if epsilon >= loss {
            return Ok(between(infinite, rest).capped());
        }
        match self.delta_on_grid(run, direction, epsilon, enough) {
            Err(error) if out_of_reach(error) => {
                let basic = reach::basic_delta(run, direction, epsilon)?;
                Ok(between(infinite, basic).capped())
            }
            answer => answer,
        }
    }

    fn delta_on_grid(
        &mut self,
        run: &Run<'_>,
        direction: Direction,
        epsilon: f64,
        enough: f64,
    ) -> Result<Bounds, AccountingError> {
        let mut plan = Plan::new(run, direction, Query::Epsilon(epsilon))?;
        let mut ask = |side, plan: &Plan| {
            let one = |law: &Composed<'_>| delta_at(law, plan.top, epsilon);
            self.ask(run, direction, side, plan, one)
        };
        let outside = AccountingError::NotConverged {
            epsilon,
            relative_error: f64::INFINITY,
        };
        let mut upper = ask(Side::Above, &plan)?.ok_or(outside)?;
        for _ in 0..MAX_PLANS {
            // What was cut off as negligible was measured against too large a delta.
            if upper <= enough || libm::log(upper) > plan.ln_delta - 7.0 {
                break;
            }
            plan.ln_delta = libm::log(upper);
            upper = ask(Side::Above, &plan)?.unwrap_or(upper);
        }
        let lower = if upper <= enough {
            0.0
        } else {
            ask(Side::Below, &plan)?.unwrap_or(0.0)
        };
        Ok(between(lower, upper).capped())
    }

    /// Epsilon; its lower bound is left out where the upper one is not above `enough`.
    pub(super) fn epsilon_one_way(
        &mut self,
        run: &Run<'_>,
        direction: Direction,
        delta: f64,
        enough: f64,
    ) -> Result<Bounds, AccountingError> {
        let (loss, rest) = reach::largest_loss(run, direction)?;
        let loss = if rest <= delta { loss } else { f64::INFINITY };
        if loss <= enough {
            return Ok(between(0.0, loss));
        }
        match self.epsilon_on_grid(run, direction, delta, enough) {
            Err(error) if out_of_reach(error) => {
                let upper = loss.min(reach::basic_epsilon(run, direction, delta)?);
                if upper == f64::INFINITY {
                    return Err(error);
                }
                Ok(between(0.0, upper))
            }
            Ok(bounds) if bounds.upper > loss => Ok(between(bounds.lower, loss)),
            answer => answer,
        }
    }

    fn epsilon_on_grid(
        &mut self,
        run: &Run<'_>,
        direction: Direction,
        delta: f64,
        enough: f64,
    ) -> Result<Bounds, AccountingError> {
        let mut ask = |side, plan: &Plan| {
            let one = |law: &Composed<'_>| epsilon_at(law, plan.top, delta);
            self.ask(run, direction, side, plan, one)
        };
        let mut query = Query::LnDelta(libm::log(delta));
        let mut last = None;
        for _ in 0..MAX_PLANS {
            let plan = Plan::new(run, direction, query)?;
            let Some(upper) = ask(Side::Above, &plan)? else {
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
        let lower = if upper <= enough {
            0.0
        } else {
            ask(Side::Below, &plan)?.unwrap_or(0.0)
        };
        Ok(between(lower, upper))
    }
}

/// Whether the grid, not the question, is at fault.
fn out_of_reach(error: AccountingError) -> bool {
    matches!(
        error,
        AccountingError::NotConverged { .. } | AccountingError::OutOfRange { .. }
    )
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
    pub(super) fn capped(self) -> Self {
        Self {
            lower: self.lower.min(1.0),
            estimate: self.estimate.min(1.0),
            upper: self.upper.clamp(f64::MIN_POSITIVE, 1.0),
        }
    }
}
