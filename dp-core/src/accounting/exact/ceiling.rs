//! How large the moments may yet become on the rest of the line: proven, so that the line may end.
//!
//! From tau on, three bounds on `|E_Q r^{a + i tau}|` relay each other (docs/accounting.md, error 2). D is the difference of
//! two independent losses, tilted, so that `f = 1 - |M(tau)/M(0)|^2 = E[1 - cos(tau D)]`.
//! 1. `f >= tau^2 E D^2 / 2 - tau^4 E D^4 / 24`, which rises until `tau^2 = 6 E D^2 / E D^4`.
//! 2. `|f'| = |E D sin(tau D)| <= (E D^2)^(1/2) (2 f)^(1/2)`: the root of f changes by at most a standard deviation of the loss
//!    per unit of tau, and so does `|M(tau)/M(0)|` itself: a value covers a stretch of the line.
//! 3. With the path of y moved up to `Im y = eta` the ratio turns by angles of one sign, and
//!    `|r^w| = |r|^a e^{-tau angle}` falls with tau: a bound for this tau is one for every larger one ([`turned`]).

use super::above::turned_above;
use super::cumulants::{Cumulants, Run, moment};
use super::line::{BLOCK, Line};
use super::nodes::{Edge, Node, power};
use super::turned::{Aim, turned};
use crate::accounting::AccountingError;
use crate::accounting::complex::Complex;
use crate::accounting::law::Law;

/// Natural digits by which a product of moments dies down where nothing more is asked.
const ENOUGH: f64 = 42.0;
/// Where turned paths start at most: the normal density grows by `e^{eta^2/2}` there.
const HIGHEST: f64 = 9.5;
/// Share of the digits lost at tau that is kept for ever.
const KEPT: f64 = 0.75;
/// The same where that can't be proven.
const COME_BACK: f64 = 0.7;
/// Blocks of points on the way, of which each point must cover that share of tau, and by how much more than that the next are apart.
const STRIDES: u32 = 8;
const LEAST_STEP: f64 = 0.01;
const LONGER: f64 = 1.5;
/// The most that a point is asked to cover, so that a block doesn't need much finer nodes.
const FARTHEST: f64 = 1.0 / 24.0;
/// Bound on the rounding of a sum of turned weights that add up to one.
const SURE: f64 = 1e-13;
/// Laws that are looked at; others are taken not to die down.
const LAWS: usize = 8;

/// One law's loss at the real power of a line.
#[derive(Clone, Copy, Default)]
struct Spread {
    count: f64,
    /// Logarithm of the moment.
    level: f64,
    deviation: f64,
    /// `E D^2 / 2` and `E D^4 / 24`.
    square: f64,
    fourth: f64,
    /// `|M / M(0)|` and the root of f at the point last looked at.
    size: f64,
    root: f64,
}

impl Spread {
    fn new(nodes: &[Node], w: f64, count: f64) -> Self {
        let Cumulants {
            k0: level,
            k1: mean,
            k2: second,
        } = moment(nodes, w);
        let mut fourth = 0.0;
        for node in nodes {
            let square = (node.loss - mean) * (node.loss - mean);
            let ln = node.ln_weight + w * node.loss - level;
            if ln > -90.0 {
                fourth += libm::exp(ln) * square * square;
            }
        }
        // The nodes' own error is far below that.
        Self {
            count,
            level,
            deviation: libm::sqrt(second) * (1.0 + 1e-6),
            square: second * (1.0 - 1e-6),
            fourth: (2.0 * fourth + 6.0 * second * second) / 24.0 * (1.0 + 1e-6),
            size: 1.0,
            root: 0.0,
        }
    }

    /// Where the bound by moments ends to rise.
    fn reach(&self) -> f64 {
        libm::sqrt(0.5 * self.square / self.fourth)
    }

    /// `count log |M / M(0)|` at most, by moments, for tau up to `reach`.
    fn near(&self, tau: f64) -> f64 {
        let square = tau * tau;
        self.of(self.square * square - self.fourth * square * square)
    }

    /// `count log |M / M(0)|` where f is at least that.
    fn of(&self, f: f64) -> f64 {
        0.5 * self.count * libm::log1p(-f.clamp(0.0, 1.0 - 1e-15))
    }

    /// The same within `distance` of the point last looked at: f's root and the size change by a deviation per unit at most.
    fn around(&self, distance: f64) -> f64 {
        let change = distance * self.deviation;
        let root = (self.root - change).max(0.0);
        self.of(root * root)
            .min(self.count * libm::log(self.size + change).min(0.0))
    }

    /// Takes a look at tau.
    fn look(&mut self, nodes: &[Node], w: f64, tau: f64) {
        let mut sum = Complex::ZERO;
        for node in nodes {
            let weight = libm::exp(node.ln_weight + w * node.loss - self.level);
            let (sin, cos) = libm::sincos(tau * node.loss);
            sum = sum.add(Complex::new(weight * cos, weight * sin));
        }
        self.at(sum.abs());
    }

    /// The same where the size is known, but for ulps of the sum of the weights, which is one.
    fn at(&mut self, size: f64) {
        self.size = size + SURE;
        self.root = libm::sqrt((1.0 - size * size - 2.0 * SURE).max(0.0));
    }
}

/// Bound on `log |e^{K(t + i tau')}|` for all `tau' >= tau`.
pub(super) fn ln_ceiling(run: &mut Run<'_, '_>, t: f64, tau: f64) -> Result<f64, AccountingError> {
    let mut laws = [Spread::default(); LAWS];
    let mut len = 0;
    let (w, _) = power(run.direction, t);
    let parts = run.parts;
    let mut whole = 0.5 * (t * t + t) * parts.mu_sq;
    for (owner, (law, count)) in parts.others().enumerate() {
        let spread = Spread::new(run.table(owner, &law, count, t, 0.0)?, w, count);
        whole += count * spread.level;
        if let Some(place) = laws.get_mut(len) {
            *place = spread;
            len += 1;
        }
    }
    let laws = laws.get_mut(..len).unwrap_or(&mut []);
    Ok(whole + died_down(run, t, tau, laws)?)
}

/// The same relative to the real point: at most 0.
fn died_down(
    run: &mut Run<'_, '_>,
    t: f64,
    tau: f64,
    laws: &mut [Spread],
) -> Result<f64, AccountingError> {
    let mu_sq = run.parts.mu_sq;
    let normal = |tau: f64| -0.5 * tau * tau * mu_sq;
    let only_normal = normal(tau);
    if only_normal < -ENOUGH {
        return Ok(only_normal);
    }
    let reach = laws.iter().map(Spread::reach).fold(f64::INFINITY, f64::min);
    let near = if tau < reach {
        only_normal + laws.iter().map(|law| law.near(tau)).sum::<f64>()
    } else {
        0.0
    };
    let (mut at, mut target, mut here) = (reach, -KEPT * ENOUGH, near);
    if near > target {
        if look(run, t, tau, laws).is_err() {
            // The nodes that tell don't fit.
            return Ok(only_normal + far(run, t, tau, ENOUGH, laws)?);
        }
        here = only_normal + laws.iter().map(|law| law.around(0.0)).sum::<f64>();
        target = (KEPT * here).max(-ENOUGH);
        at = if near <= target { reach } else { tau };
    }
    // Between tau and where that bound was asked for, the moments' own bound holds.
    let here_to_there = if at == tau { f64::NEG_INFINITY } else { near };
    let first = far(run, t, at, (-here).min(ENOUGH), laws)? + normal(at);
    let both = first.max(here_to_there);
    if both <= target {
        return Ok(both.min(0.0));
    }
    // Where hardly anything is lost a walk would lead nowhere: few steps, or steps that rarely matter.
    if here < -2.0 {
        // What has died down may come back a little.
        for target in [target, COME_BACK * target] {
            if walk(run, t, at, target, laws)? {
                return Ok(target);
            }
        }
    }
    Ok(if at == tau { first } else { only_normal })
}

/// Whether what is left at `at`, the point last looked at, and everywhere above is at most `e^target`.
///
/// Blocks of equally spaced points, each of which covers half of the way to its neighbours.
fn walk(
    run: &mut Run<'_, '_>,
    t: f64,
    mut at: f64,
    target: f64,
    laws: &mut [Spread],
) -> Result<bool, AccountingError> {
    let normal = -0.5 * run.parts.mu_sq;
    let mut tried = at;
    // Nodes that don't fit tell nothing.
    if look(run, t, at, laws).is_err() {
        return Ok(false);
    }
    let mut step = LONGER * covered(at, target, normal, laws);
    for _ in 0..STRIDES {
        if step <= LEAST_STEP * at {
            return Ok(false);
        }
        let first = libm::floor(at / step);
        let Ok(points) = look_ahead(run, t, (step, first), laws) else {
            return Ok(false);
        };
        let mut reached = 0;
        for k in 0..BLOCK {
            let tau = step * (first + k as f64 + 0.5);
            take(laws, &points, k);
            let start = tau - 0.5 * step;
            let left =
                normal * start * start + laws.iter().map(|law| law.around(0.5 * step)).sum::<f64>();
            if left > target {
                break;
            }
            reached = k + 1;
        }
        if reached == 0 {
            step *= 0.4;
            continue;
        }
        // The last point that served is the one to go on from.
        take(laws, &points, reached - 1);
        at = step * (first + reached as f64 - 0.5);
        if at >= 1.5 * tried {
            tried = at;
            if normal * at * at + far(run, t, at, -target, laws)? <= target {
                return Ok(true);
            }
        }
        step = LONGER * covered(at, target, normal, laws);
    }
    Ok(false)
}

/// Takes point `k` of a block for the one last looked at.
fn take(laws: &mut [Spread], points: &[[f64; BLOCK]; LAWS], k: usize) {
    for (law, sizes) in laws.iter_mut().zip(points) {
        if let Some(&size) = sizes.get(k) {
            law.at(size);
        }
    }
}

/// How far around `at`, the point last looked at, what is left is at most `e^target`.
fn covered(at: f64, target: f64, normal: f64, laws: &[Spread]) -> f64 {
    let (mut low, mut high) = (0.0, FARTHEST * at);
    for _ in 0..24 {
        let middle = 0.5 * (low + high);
        let left = normal * (at - middle) * (at - middle)
            + laws.iter().map(|law| law.around(middle)).sum::<f64>();
        (low, high) = if left <= target {
            (middle, high)
        } else {
            (low, middle)
        };
    }
    low
}

/// Every law's size at `step (first + k + 1/2)`, k in a block.
fn look_ahead(
    run: &mut Run<'_, '_>,
    t: f64,
    (step, first): (f64, f64),
    laws: &[Spread],
) -> Result<[[f64; BLOCK]; LAWS], AccountingError> {
    let (w, _) = power(run.direction, t);
    let parts = run.parts;
    let line = Line {
        w,
        h: step,
        first: first as usize,
    };
    let mut all = [[1.0; BLOCK]; LAWS];
    for (owner, ((law, count), (spread, sizes))) in
        parts.others().zip(laws.iter().zip(&mut all)).enumerate()
    {
        let nodes = run.table(owner, &law, count, t, step * (first + BLOCK as f64))?;
        let (values, _) = line.shared(nodes, spread.level, |_| (1.0, 0.0));
        for (size, value) in sizes.iter_mut().zip(values) {
            *size = value.abs();
        }
    }
    Ok(all)
}

/// Looks at every law at tau.
fn look(
    run: &mut Run<'_, '_>,
    t: f64,
    tau: f64,
    laws: &mut [Spread],
) -> Result<(), AccountingError> {
    let (w, _) = power(run.direction, t);
    let parts = run.parts;
    for (owner, ((law, count), spread)) in parts.others().zip(laws).enumerate() {
        let nodes = run.table(owner, &law, count, t, tau)?;
        spread.look(nodes, w, tau);
    }
    Ok(())
}

/// Bound by turned paths for tau and everything above.
fn far(
    run: &Run<'_, '_>,
    t: f64,
    tau: f64,
    wanted: f64,
    laws: &[Spread],
) -> Result<f64, AccountingError> {
    let (w, _) = power(run.direction, t);
    let mut sum = 0.0;
    for ((law, count), spread) in run.parts.others().zip(laws) {
        let enough = (wanted + sum).max(0.0) / count;
        let aim = Aim {
            a: w,
            level: spread.level,
            tau,
            // Where a bound on |M| is good to a part in a few hundred, so is its power where that matters.
            digits: 7.0 + enough.min(ENOUGH),
            // The best path's height is about tau times the mean steepness, which is below the deviation.
            highest: (tau * spread.deviation).clamp(1e-3, HIGHEST),
            enough,
        };
        sum += count * libm::log(turned(&law, &aim)).min(0.0);
    }
    Ok(sum)
}

/// Bound on the logarithm of `|prod M^n - prod A^n|` at `t + i tau'` for all `tau' >= tau`, A the losses below an edge:
/// at most `prod |M|^n sum n |M - A| / |M|` at the real power.
pub(super) fn ln_ceiling_above(
    run: &mut Run<'_, '_>,
    t: f64,
    tau: f64,
    edge: Edge,
) -> Result<f64, AccountingError> {
    let (w, _) = power(run.direction, t);
    let parts = run.parts;
    let mut whole = 0.5 * (t * t + t - tau * tau) * parts.mu_sq;
    let mut above = 0.0;
    for (owner, (law, count)) in parts.others().enumerate() {
        let level = moment(run.table(owner, &law, count, t, 0.0)?, w).k0;
        whole += count * level;
        above += count * turned_above(&law, w, level, tau, edge);
    }
    Ok(whole + libm::log(above.min(2.0)))
}

/// The same as [`ln_ceiling`] for one law whose nodes are at hand, relative to the real power.
pub(super) fn turned_alone(law: &Law, w: f64, level: f64, tau: f64) -> f64 {
    let aim = Aim {
        a: w,
        level,
        tau,
        digits: 7.0 + ENOUGH,
        highest: HIGHEST,
        enough: ENOUGH,
    };
    libm::log(turned(law, &aim)).min(0.0)
}

#[cfg(test)]
#[path = "ceiling_tests.rs"]
mod tests;
