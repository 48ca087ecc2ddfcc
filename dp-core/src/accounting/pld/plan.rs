//! The tilt and the grid for a query, from the run's cumulants by quadrature.
//!
//! Nothing here needs to be right for the bounds to be right: a bad plan makes them wide.

use super::super::law::{Direction, Law};
use super::super::reduce::MAX_COUNT;
use super::super::{AccountingError, Run};
use super::cumulants::{Cumulant, cumulants, largest_tilt};

/// What is left out at each end, relative to the answer: `e^-24`, about 4e-11.
pub(super) const LN_NEGLIGIBLE: f64 = -24.0;
/// Number of tilts that bound the tails of the tilted law.
pub(super) const TAILS: usize = 16;
/// Excess of the exponent at the tilt over its least value that is tried: a smaller tilt can have a narrower law.
const EXCESS: [f64; 4] = [0.0, 1.5, 4.0, 8.0];
/// Tilts of one pass.
const LEN: usize = 48;

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub(super) enum Query {
    Epsilon(f64),
    LnDelta(f64),
}

/// How a direction of a run is to be composed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// Tilt: the law is multiplied by `e^(tilt loss)`.
    pub tilt: f64,
    /// Where the answer is expected.
    pub epsilon: f64,
    /// Logarithm of delta there.
    pub ln_delta: f64,
    /// Standard deviation of the tilted composed loss.
    pub deviation: f64,
    /// Loss up to which the sum for delta goes.
    pub top: f64,
    /// Width of the losses that the grid must hold.
    pub width: f64,
    /// Tilts that bound the tails, relative to `tilt`.
    pub tails: [f64; TAILS],
}

/// Checks the run's counts; whether it has any event.
pub(super) fn check(run: &Run<'_>) -> Result<bool, AccountingError> {
    let mut any = false;
    for &(event, count) in run.events {
        if count > MAX_COUNT {
            return Err(AccountingError::CountTooLarge { count });
        }
        if matches!(event.law(run.adjacency)?, Law::ZeroConcentrated { .. }) {
            return Err(AccountingError::UndefinedEngine);
        }
        any |= count > 0;
    }
    Ok(any)
}

/// Whether both directions of every event are the same.
pub(super) fn symmetric(run: &Run<'_>) -> Result<bool, AccountingError> {
    for &(event, count) in run.events {
        if count > 0 && !event.law(run.adjacency)?.is_symmetric() {
            return Ok(false);
        }
    }
    Ok(true)
}

impl Plan {
    pub fn new(run: &Run<'_>, direction: Direction, query: Query) -> Result<Self, AccountingError> {
        // Powers of two from 2^-14 up.
        let mut tilts = [0.0; LEN];
        for (k, tilt) in tilts.iter_mut().enumerate() {
            *tilt = libm::ldexp(1.0, k as i32 - 14);
        }
        let most = largest_tilt(run, direction)?;
        let rough = best(&tilts, &cumulants(run, direction, &tilts)?, query, most)?;
        // Then a factor of two to both sides.
        for (k, tilt) in tilts.iter_mut().enumerate() {
            *tilt = rough.tilt * libm::exp2(2.0 * k as f64 / (LEN as f64 - 1.0) - 1.0);
        }
        let near = cumulants(run, direction, &tilts)?;
        let saddle = best(&tilts, &near, query, most)?;
        let height = |tilt: f64, at: &Cumulant| at.value - tilt * saddle.epsilon + ln_peak(tilt);
        let least = tilts
            .iter()
            .zip(&near)
            .filter(|(_, at)| at.good())
            .map(|(&tilt, at)| height(tilt, at))
            .fold(f64::INFINITY, f64::min);
        let mut narrowest: Option<Self> = None;
        let mut last = 0.0;
        for excess in EXCESS {
            // The smallest tilt with no more than this excess.
            let found = tilts
                .iter()
                .zip(&near)
                .find(|(tilt, at)| at.good() && height(**tilt, at) <= least + excess);
            let Some((&tilt, at)) = found else { continue };
            let tilt = if excess == 0.0 { saddle.tilt } else { tilt };
            if tilt == last {
                continue;
            }
            last = tilt;
            let deviation = if excess == 0.0 {
                saddle.deviation
            } else {
                libm::sqrt(at.variance)
            };
            let plan = Self {
                tilt,
                deviation,
                ..saddle
            };
            let plan = plan.measured(run, direction, LN_NEGLIGIBLE - excess)?;
            if plan.width.is_finite() && narrowest.is_none_or(|n| plan.width < 0.9 * n.width) {
                narrowest = Some(plan);
            }
        }
        narrowest.ok_or(AccountingError::OutOfRange { value: saddle.tilt })
    }

    /// The plan with the width that its tilt needs.
    fn measured(
        mut self,
        run: &Run<'_>,
        direction: Direction,
        ln_negligible: f64,
    ) -> Result<Self, AccountingError> {
        let (tilt, unit) = (self.tilt, 1.0 / self.deviation);
        // Where the law is like a normal one, distances of deviations; where it is not, shares of the tilt.
        self.tails = [
            -0.25 * tilt,
            -0.5 * tilt,
            -tilt,
            -tilt - 0.5,
            -4.0 * unit,
            -7.0 * unit,
            -9.0 * unit,
            -40.0 * unit,
            2.0 * unit,
            4.0 * unit,
            7.0 * unit,
            9.0 * unit,
            16.0 * unit,
            40.0 * unit,
            tilt,
            4.0 * tilt,
        ];
        let mut tilts = [tilt; LEN];
        for (other, apart) in tilts.iter_mut().zip(self.tails) {
            *other += apart;
        }
        let near = cumulants(run, direction, &tilts)?;
        let own = near.get(TAILS).copied().unwrap_or_default().value;
        let (mut down, mut up) = (f64::INFINITY, f64::INFINITY);
        for (apart, at) in self.tails.iter().zip(&near) {
            // Chernoff: where this tilt's bound on the tilted tail is negligible.
            let far = (at.value - own - apart * self.epsilon - ln_negligible) / apart.abs();
            if far.is_nan() {
                continue;
            }
            let side = if *apart < 0.0 { &mut down } else { &mut up };
            *side = side.min(far.max(0.0));
        }
        let needed = up.min(-ln_negligible / tilt);
        self.top = self.epsilon + needed;
        self.width = (down + needed).max(up);
        Ok(self)
    }
}

/// The tilt, up to `most`, that serves a query best.
fn best(
    tilts: &[f64; LEN],
    cumulants: &[Cumulant; LEN],
    query: Query,
    most: f64,
) -> Result<Plan, AccountingError> {
    let mut best = (f64::INFINITY, None);
    for (&tilt, at) in tilts.iter().zip(cumulants) {
        if !at.good() || tilt > most {
            continue;
        }
        let deviation = libm::sqrt(at.variance);
        let (score, epsilon) = match query {
            Query::Epsilon(epsilon) => (at.value - tilt * epsilon + ln_peak(tilt), epsilon),
            Query::LnDelta(ln_delta) => {
                // Chernoff's bound on epsilon; it holds whatever the law, where a normal guess can be far off.
                let bound = (at.value + ln_peak(tilt) - ln_delta) / tilt;
                let guess = at.mean + (at.ln_delta(tilt, at.mean) - ln_delta) / tilt;
                let near = guess <= bound && guess >= bound - 2.0 * deviation;
                (bound, if near { guess } else { bound }.max(0.0))
            }
        };
        if score < best.0 {
            let plan = Plan {
                tilt,
                epsilon,
                ln_delta: match query {
                    Query::LnDelta(ln_delta) => ln_delta,
                    Query::Epsilon(_) => (at.value - tilt * epsilon + ln_peak(tilt)).min(0.0),
                },
                deviation,
                top: epsilon,
                width: deviation,
                tails: [0.0; TAILS],
            };
            best = (score, Some(plan));
        }
    }
    best.1.ok_or(AccountingError::OutOfRange { value: best.0 })
}

/// `log sup_x (1 - e^-x) e^(-t x)`, Chernoff's factor for delta.
fn ln_peak(tilt: f64) -> f64 {
    -libm::log1p(tilt) - tilt * libm::log1p(1.0 / tilt)
}
