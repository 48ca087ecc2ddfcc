//! Composition of a run's events on the grid: tilted measures, powers of their transforms, and every error of it.
//!
//! Each event's measure is multiplied by `e^(tilt loss)` and divided by its sum, so that the composed one has its bulk
//! where delta is asked and the transform's rounding is relative to that.

use super::super::law::Direction;
use super::super::{AccountingError, Run};
use super::cumulants::cumulants;
use super::discretise::{Curve, Half, Side, opposite};
use super::fft;
use super::plan::{Plan, TAILS};
use super::reach::cells;

/// Times that an optimistic measure is lowered at zero, until it is one.
const MAX_PASSES: u32 = 6;
/// Exponent from which on a tilted measure is scaled, lest it overflow.
const LARGE: f64 = 300.0;
/// Share of a sum that underflow can have taken from its moments.
const LOST: f64 = 1e-280;
const U: f64 = 1.2e-16;

/// The parts of a caller's workspace.
pub(super) struct Workspace<'a> {
    /// N: one event's measure, then the composed one.
    pub measure: &'a mut [f64],
    /// N: twiddles.
    pub table: &'a mut [f64],
    /// N/2 + 1 each: log modulus and phase of the product, and log of what errors may multiply it by.
    pub modulus: &'a mut [f64],
    pub phase: &'a mut [f64],
    pub error: &'a mut [f64],
    /// N + 1 each: a half's curve, and its vertices.
    pub values: &'a mut [f64],
    pub at: &'a mut [f64],
}

/// The composed, tilted measure: bucket l (modulo N) has the losses `l interval`.
pub(super) struct Composed<'a> {
    pub measure: &'a [f64],
    pub side: Side,
    pub interval: f64,
    /// Tilt of one bucket.
    pub theta: f64,
    /// Logarithm of the factor that undoes the normalisation.
    pub ln_scale: f64,
    /// Probability of an infinite loss.
    pub infinite: f64,
    /// Bound on the error of each bucket, wrap-around aside.
    pub noise: f64,
    /// Bound on the relative error of the whole.
    pub relative: f64,
    /// Tilts of one bucket, relative to `theta`, and the log moments of the composed tilted measure there.
    pub tails: [(f64, f64); TAILS],
}

/// Composes `run` in one direction.
pub(super) fn compose<'a>(
    run: &Run<'_>,
    direction: Direction,
    side: Side,
    plan: &Plan,
    interval: f64,
    work: &'a mut Workspace<'_>,
) -> Result<Composed<'a>, AccountingError> {
    let len = work.measure.len();
    let theta = plan.tilt * interval;
    for part in [&mut *work.modulus, &mut *work.phase, &mut *work.error] {
        part.fill(0.0);
    }
    let mut all = Composed {
        measure: &[],
        side,
        interval,
        theta,
        ln_scale: 0.0,
        infinite: 0.0,
        noise: 0.0,
        relative: 0.0,
        tails: plan.tails.map(|tail| (tail * interval, 0.0)),
    };
    let mut ln_finite = 0.0;
    for &(event, count) in run.events {
        if count == 0 {
            continue;
        }
        let law = event.law(run.adjacency)?;
        let count = count as f64;
        let half = |mirrored: bool| -> Result<Half<'_>, AccountingError> {
            let curve = Curve {
                law: &law,
                direction: if mirrored {
                    opposite(direction)
                } else {
                    direction
                },
            };
            let cells = cells(&curve, mirrored, count, plan, interval, len)?;
            Ok(Half {
                curve,
                side,
                interval,
                cells,
            })
        };
        let halves = [half(false)?, half(true)?];
        let scale = if theta * halves[0].cells as f64 > LARGE {
            let one = [(event, 1)];
            let run = Run {
                adjacency: run.adjacency,
                events: &one,
            };
            let [moment] = cumulants(&run, direction, &[plan.tilt])?;
            if moment.value.is_finite() {
                moment.value
            } else {
                0.0
            }
        } else {
            0.0
        };
        let tilt = Tilt { theta, scale };
        let infinite = fill(&halves, tilt, &mut all, count, work)?;
        ln_finite += count * libm::log1p(-infinite.min(1.0));
        multiply(count, work);
    }
    all.infinite = -libm::expm1(ln_finite);
    all.noise = invert(work);
    all.measure = work.measure;
    Ok(all)
}

/// Masses are multiplied by `e^(theta place - scale)`.
#[derive(Clone, Copy)]
struct Tilt {
    theta: f64,
    scale: f64,
}

/// Writes one event's tilted measure into the workspace; gives its mass at infinity.
fn fill(
    halves: &[Half<'_>; 2],
    tilt: Tilt,
    all: &mut Composed<'_>,
    count: f64,
    work: &mut Workspace<'_>,
) -> Result<f64, AccountingError> {
    let [right, left] = halves;
    let (a, b) = (right.first()?, left.first()?);
    let optimistic = right.side == Side::Below;
    let mut first = if optimistic { a.min(b) } else { a.max(b) };
    let mut passes = 0;
    let (sink, up, zero) = loop {
        work.measure.fill(0.0);
        let mut sink = Sink::new(work.measure, tilt, all.tails.map(|(apart, _)| apart));
        let up = right.masses(first, work.values, work.at, |j, mass| {
            sink.add(j as i64, mass);
        })?;
        let down = left.masses(first, work.values, work.at, |j, mass| {
            // The mirrored half's bends are the other data set's masses.
            let place = j as f64 * right.interval;
            sink.add(-(j as i64), mass * libm::exp(-place));
        })?;
        let zero = 1.0 - up.value - up.slope - down.slope;
        passes += 1;
        if !optimistic || -zero * count < 1e-12 || passes > MAX_PASSES {
            sink.add(0, zero.max(0.0));
            break (sink, up, zero);
        }
        // The halves bend the wrong way at zero. The bend falls with the value there, no slower than this.
        first += zero / (1.0 + 2.0 / libm::expm1(right.interval));
        first = first.max(right.curve.floor());
    };
    let total = sink.total;
    if !(total > 0.0 && total.is_finite()) {
        return Err(AccountingError::OutOfRange { value: total });
    }
    // Where an optimistic measure still bends the wrong way at zero, what is too much is scaled away: with the total at
    // one the curve stays below h, as h is at least 1 - x.
    let excess = if optimistic { (-zero).max(0.0) } else { 0.0 };
    let scale = 1.0 / (1.0 + excess);
    let interval = right.interval;
    let reach = right.cells.max(left.cells) as f64;
    for ((_, sum), tail) in all.tails.iter_mut().zip(sink.tails) {
        *sum += count * (libm::log(tail / total + LOST) + U * (reach + 128.0));
    }
    for x in work.measure.iter_mut() {
        *x /= total;
    }
    all.ln_scale += count * (libm::log(total) + tilt.scale + libm::log(scale));
    // Tilt, sum of wrapped cells, quotient, the mass at zero; the mirrored half's factor; the logarithm.
    let factor = interval * left.cells as f64;
    let rounding = U
        * (40.0
            + 3.0 * (tilt.theta * reach).abs()
            + 3.0 * factor
            + 4.0 * libm::log(total).abs()
            + 4.0 * tilt.scale.abs());
    all.relative += count * rounding;
    Ok(up.rest * scale)
}

/// Gathers masses into buckets modulo N, tilted, and their moments at the other tilts.
struct Sink<'a> {
    measure: &'a mut [f64],
    tilt: Tilt,
    apart: [f64; TAILS],
    total: f64,
    tails: [f64; TAILS],
    /// `e^(apart last)`, kept up by products.
    powers: [f64; TAILS],
    steps: [[f64; TAILS]; 2],
    last: i64,
    since: u32,
}

impl<'a> Sink<'a> {
    fn new(measure: &'a mut [f64], tilt: Tilt, apart: [f64; TAILS]) -> Self {
        Self {
            measure,
            tilt,
            apart,
            total: 0.0,
            tails: [0.0; TAILS],
            powers: [1.0; TAILS],
            steps: [apart.map(libm::exp), apart.map(|a| libm::exp(-a))],
            last: 0,
            since: 0,
        }
    }

    fn add(&mut self, place: i64, mass: f64) {
        let exponent = self.tilt.theta * place as f64 - self.tilt.scale;
        let tilted = if exponent.abs() < 600.0 {
            mass * libm::exp(exponent)
        } else {
            libm::exp(exponent + libm::log(mass))
        };
        self.total += tilted;
        let bucket = place.rem_euclid(self.measure.len() as i64) as usize;
        if let Some(x) = self.measure.get_mut(bucket) {
            *x += tilted;
        }
        let [up, down] = &self.steps;
        let step = match place - self.last {
            1 => Some(up),
            -1 => Some(down),
            _ => None,
        };
        match step {
            // Products drift by an ulp each.
            Some(step) if self.since < 32 => {
                for (power, factor) in self.powers.iter_mut().zip(step) {
                    *power *= factor;
                }
                self.since += 1;
            }
            _ => {
                self.powers = self.apart.map(|a| libm::exp(a * place as f64));
                self.since = 0;
            }
        }
        self.last = place;
        for (tail, power) in self.tails.iter_mut().zip(&self.powers) {
            if tilted > 0.0 {
                *tail += tilted * power;
            }
        }
    }
}

/// Multiplies the product of transforms by the `count`-th power of the measure's.
fn multiply(count: f64, work: &mut Workspace<'_>) {
    let norm: f64 = work.measure.iter().sum();
    fft::forward(work.measure, work.table);
    let room = fft::rounding(work.measure.len()) * norm * 1.000_001;
    let half = work.measure.len() / 2;
    let parts = work
        .modulus
        .iter_mut()
        .zip(work.phase.iter_mut())
        .zip(work.error.iter_mut());
    for (k, ((modulus, phase), error)) in parts.enumerate() {
        let (re, im) = spectrum(work.measure, half, k);
        let size = libm::sqrt(re * re + im * im);
        // Below the rounding the modulus is not known: a number within twice the rounding of it is taken.
        let (size, room) = if size < room {
            (room, 2.0 * room)
        } else {
            (size, room)
        };
        let ln = libm::log(size);
        *modulus += count * ln;
        let turn = count * libm::atan2(im, re) + *phase;
        *phase = turn - core::f64::consts::TAU * libm::round(turn / core::f64::consts::TAU);
        // Power in polar form: a few ulp of the logarithm and of the angle, both below 40, `count` times.
        *error += count * (libm::log1p(room / size) + U * (32.0 + 2.0 * ln.abs()));
    }
}

fn spectrum(data: &[f64], half: usize, k: usize) -> (f64, f64) {
    let at = |k: usize| data.get(k).copied().unwrap_or(0.0);
    match k {
        0 => (at(0), 0.0),
        k if k == half => (at(1), 0.0),
        k => (at(2 * k), at(2 * k + 1)),
    }
}

/// Transforms the product back into the measure; the bound on every bucket's error.
///
/// With a factor known to `e`, `|a^n - b^n| <= (|a| + e)^n - |a|^n`; a bucket's error is at most the mean over all
/// frequencies, plus the rounding of the inverse transform.
fn invert(work: &mut Workspace<'_>) -> f64 {
    let half = work.measure.len() / 2;
    let (mut error, mut norm) = (0.0, 0.0);
    for k in 0..=half {
        let at = |part: &[f64]| part.get(k).copied().unwrap_or(0.0);
        let (ln, phase, ln_error) = (at(work.modulus), at(work.phase), at(work.error));
        let size = libm::exp(ln);
        let weight = if k == 0 || k == half { 1.0 } else { 2.0 };
        let apart = if ln_error < 1.0 {
            size * libm::expm1(ln_error)
        } else {
            libm::exp(ln + ln_error)
        };
        error += weight * (apart + 8.0 * U * (1.0 + ln.abs()) * size);
        norm += weight * size;
        let (re, im) = (size * libm::cos(phase), size * libm::sin(phase));
        let (first, second) = match k {
            0 => (0, None),
            k if k == half => (1, None),
            k => (2 * k, Some(2 * k + 1)),
        };
        if let Some(x) = work.measure.get_mut(first) {
            *x = re;
        }
        if let Some(x) = second.and_then(|second| work.measure.get_mut(second)) {
            *x = im;
        }
    }
    fft::inverse(work.measure, work.table);
    let len = work.measure.len() as f64;
    1.001 * (error + norm * fft::rounding(work.measure.len())) / len
}
