//! The tilt and the grid for a query, from the run's cumulants by quadrature.
//!
//! Nothing here needs to be right for the bounds to be right: a bad plan makes them wide.

use super::super::hockey::hockey;
use super::super::law::{Direction, Law};
use super::super::normal::mills;
use super::super::reduce::MAX_COUNT;
use super::super::{AccountingError, Run};
use super::discretise::{Curve, opposite};

/// What is left out at each end, relative to the answer: `e^-24`, about 4e-11.
pub(super) const LN_NEGLIGIBLE: f64 = -24.0;
/// Number of tilts that bound the tails of the tilted law.
pub(super) const TAILS: usize = 16;
/// Excess of the exponent at the tilt over its least value that is tried: a smaller tilt can have a narrower law.
const EXCESS: [f64; 4] = [0.0, 1.5, 4.0, 8.0];
/// Tilts of one pass.
const LEN: usize = 48;
/// Nodes of the quadrature on each side of zero, and their distance in log epsilon.
const NODES: u32 = 260;
const STEP: f64 = 0.125;
/// Where a curve counts as zero.
const LN_NOTHING: f64 = -650.0;
const LN_SQRT_2PI: f64 = 0.918_938_533_204_672_8;

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

/// Log moment generating function at one tilt, with its first two derivatives.
#[derive(Clone, Copy, Debug, Default)]
struct Cumulant {
    value: f64,
    mean: f64,
    variance: f64,
}

impl Cumulant {
    /// `log delta` at `epsilon`, as if the tilted law were normal around it.
    fn ln_delta(&self, tilt: f64, epsilon: f64) -> f64 {
        let deviation = libm::sqrt(self.variance.max(0.0));
        let (low, high) = (tilt * deviation, (tilt + 1.0) * deviation);
        let difference = (mills(low) - mills(high)).max(f64::MIN_POSITIVE);
        self.value - tilt * epsilon + libm::log(difference) - LN_SQRT_2PI
    }

    fn good(&self) -> bool {
        self.value.is_finite() && self.variance > 0.0 && self.variance.is_finite()
    }
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
        let same = match event.law(run.adjacency)? {
            Law::Shift { .. }
            | Law::TwoSided { .. }
            | Law::Replaced { .. }
            | Law::DiscreteGaussian { .. }
            | Law::Lattice(_) => true,
            Law::Laplace { rate, .. } => rate == 1.0,
            _ => false,
        };
        if count > 0 && !same {
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
        let rough = best(&tilts, &cumulants(run, direction, &tilts)?, query)?;
        // Then a factor of two to both sides.
        for (k, tilt) in tilts.iter_mut().enumerate() {
            *tilt = rough.tilt * libm::exp2(2.0 * k as f64 / (LEN as f64 - 1.0) - 1.0);
        }
        let near = cumulants(run, direction, &tilts)?;
        let saddle = best(&tilts, &near, query)?;
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

/// The tilt that serves a query best.
fn best(
    tilts: &[f64; LEN],
    cumulants: &[Cumulant; LEN],
    query: Query,
) -> Result<Plan, AccountingError> {
    let mut best = (f64::INFINITY, None);
    for (&tilt, at) in tilts.iter().zip(cumulants) {
        if !at.good() {
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

/// Sums of `w`, times `e^scale`, for the value and two derivatives of `M - 1`.
#[derive(Clone, Copy)]
struct Sums {
    scale: f64,
    sums: [f64; 3],
}

impl Sums {
    fn add(&mut self, exponent: f64, weights: [f64; 3]) {
        if exponent > self.scale {
            let down = libm::exp(self.scale - exponent);
            self.sums = self.sums.map(|s| s * down);
            self.scale = exponent;
        }
        let size = libm::exp(exponent - self.scale);
        for (sum, weight) in self.sums.iter_mut().zip(weights) {
            *sum += weight * size;
        }
    }

    fn cumulant(&self) -> Cumulant {
        let [m0, m1, m2] = self.sums;
        // M = 1 + m0 e^scale; all is divided by e^scale where that is large.
        let (up, down) = if self.scale > 0.0 {
            (1.0, libm::exp(-self.scale))
        } else {
            (libm::exp(self.scale), 1.0)
        };
        let total = down + m0 * up;
        let value = if self.scale > 0.0 {
            self.scale + libm::log(total)
        } else {
            libm::log1p(m0 * up)
        };
        let mean = m1 * up / total;
        Cumulant {
            value,
            mean,
            variance: m2 * up / total - mean * mean,
        }
    }
}

/// The run's cumulants at every tilt, from
/// `M(t) - 1 = t (t + 1) (integral of e^(t e) h(e) + integral of e^(-(t + 1) e) h'(e))`, h' the other direction's curve.
fn cumulants(
    run: &Run<'_>,
    direction: Direction,
    tilts: &[f64; LEN],
) -> Result<[Cumulant; LEN], AccountingError> {
    let mut total = [Cumulant::default(); LEN];
    for &(event, count) in run.events {
        if count == 0 {
            continue;
        }
        let law = event.law(run.adjacency)?;
        let mut sums = [Sums {
            scale: f64::NEG_INFINITY,
            sums: [0.0; 3],
        }; LEN];
        for mirrored in [false, true] {
            let curve = Curve {
                law: &law,
                direction: if mirrored {
                    opposite(direction)
                } else {
                    direction
                },
            };
            quadrature(&curve, mirrored, tilts, &mut sums)?;
        }
        let count = count as f64;
        for (all, one) in total.iter_mut().zip(&sums) {
            let one = one.cumulant();
            all.value += count * one.value;
            all.mean += count * one.mean;
            all.variance += count * one.variance;
        }
    }
    Ok(total)
}

fn quadrature(
    curve: &Curve<'_>,
    mirrored: bool,
    tilts: &[f64; LEN],
    sums: &mut [Sums; LEN],
) -> Result<(), AccountingError> {
    let floor = curve.floor();
    let end = farthest(curve, -3000.0)?;
    for node in 0..NODES {
        let epsilon = end * libm::exp(-STEP * f64::from(node));
        let mut ln_height = curve.ln(epsilon)?;
        if floor > 0.0 {
            let finite = libm::exp(ln_height) - floor;
            ln_height = libm::log(if finite > 1e-12 * floor { finite } else { 0.0 });
        }
        if ln_height == f64::NEG_INFINITY {
            continue;
        }
        let ln_weight = ln_height + libm::log(STEP * epsilon);
        for (&tilt, sum) in tilts.iter().zip(sums.iter_mut()) {
            let factor = tilt * (tilt + 1.0);
            let slope = 2.0 * tilt + 1.0;
            let (loss, exponent) = if mirrored {
                (-epsilon, -(tilt + 1.0) * epsilon)
            } else {
                (epsilon, tilt * epsilon)
            };
            let weights = [
                factor,
                slope + factor * loss,
                2.0 + 2.0 * slope * loss + factor * loss * loss,
            ];
            sum.add(ln_weight + exponent, weights);
        }
    }
    Ok(())
}

/// Epsilon beyond which the finite part of the curve is below `e^ln_limit`, within an eighth.
fn farthest(curve: &Curve<'_>, ln_limit: f64) -> Result<f64, AccountingError> {
    let floor = curve.floor();
    let above = |epsilon: f64| -> Result<bool, AccountingError> {
        let ln = curve.ln(epsilon)?;
        Ok(ln > ln_limit && libm::exp(ln) >= floor * (1.0 + 1e-12))
    };
    let mut end = 1e-9;
    while end < 1e9 && above(end)? {
        end *= 2.0;
    }
    let (mut low, mut high) = (0.5 * end, end);
    for _ in 0..6 {
        let middle = 0.5 * (low + high);
        if above(middle)? {
            low = middle;
        } else {
            high = middle;
        }
    }
    Ok(high)
}

/// A loss that the composed run in this direction exceeds with at most the second number's probability, if that is next to
/// nothing: every event's loss is cut where its curve is below `e^-650`.
///
/// Proven: what is beyond the cut is at most that event's curve there, and the rest adds up to the loss.
pub(super) fn largest_loss(
    run: &Run<'_>,
    direction: Direction,
) -> Result<Option<(f64, f64)>, AccountingError> {
    let (mut loss, mut rest) = (0.0, 0.0);
    for &(event, count) in run.events {
        if count == 0 {
            continue;
        }
        let law = event.law(run.adjacency)?;
        let curve = Curve {
            law: &law,
            direction,
        };
        if curve.floor() > 0.0 {
            return Ok(None);
        }
        let mut high = 1e-12;
        while high < 1e9 && curve.ln(high)? > LN_NOTHING {
            high *= 2.0;
        }
        let mut low = 0.5 * high;
        for _ in 0..40 {
            let middle = 0.5 * (low + high);
            if curve.ln(middle)? > LN_NOTHING {
                low = middle;
            } else {
                high = middle;
            }
        }
        let count = count as f64;
        loss += count * high * (1.0 + 1e-12);
        let point = hockey(&law, direction, high)?;
        rest += count * libm::exp((point.ln_upper() + 1.0).max(LN_NOTHING));
    }
    Ok(Some((loss, rest)))
}

/// Number of cells, at most `most`, after which what is left of the curve is negligible for `plan`.
pub(super) fn cells(
    curve: &Curve<'_>,
    mirrored: bool,
    count: f64,
    plan: &Plan,
    interval: f64,
    most: usize,
) -> Result<usize, AccountingError> {
    let floor = curve.floor();
    let share = LN_NEGLIGIBLE - libm::log(count);
    let beyond = |j: usize| -> Result<bool, AccountingError> {
        let epsilon = j as f64 * interval;
        let ln = curve.ln(epsilon)?;
        if floor > 0.0 && libm::exp(ln) <= floor * (1.0 + 1e-13) {
            return Ok(true);
        }
        Ok(if mirrored {
            ln - (plan.tilt + 1.0) * epsilon <= share
        } else {
            ln <= share + plan.ln_delta && ln + plan.tilt * epsilon <= share
        })
    };
    let mut high = 2;
    while high < most && !beyond(high)? {
        high *= 2;
    }
    let mut low = high / 2;
    high = high.min(most);
    while high > low + 1 {
        let middle = low + (high - low) / 2;
        if beyond(middle)? {
            high = middle;
        } else {
            low = middle;
        }
    }
    Ok(high.max(2))
}

/// A span that all losses of the run's first discrete event are multiples of.
pub(super) fn span(run: &Run<'_>) -> Result<Option<f64>, AccountingError> {
    for &(event, count) in run.events {
        if count == 0 {
            continue;
        }
        match event.law(run.adjacency)? {
            // An odd number of atoms has one at zero; else they are at odd multiples of half a span.
            Law::Lattice(lattice) if lattice.top > 0.0 => {
                let half = if lattice.atoms % 2 == 1 { 1.0 } else { 0.5 };
                return Ok(Some(half * lattice.span()));
            }
            Law::DiscreteGaussian { sigma, sensitivity } => {
                let step = f64::from(sensitivity) / (sigma * sigma);
                let half = if sensitivity % 2 == 0 { 1.0 } else { 0.5 };
                return Ok(Some(half * step));
            }
            _ => {}
        }
    }
    Ok(None)
}
