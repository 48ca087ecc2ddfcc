//! Delta of a composed run by an integral on a vertical line of the complex plane.
//!
//! `delta(eps) = (1 / 2 pi i) integral over Re z = t > 0 of e^{K(z) - z eps} / (z (z + 1)) dz`, by
//! the midpoint rule. docs/accounting.md derives it and every error term that [`Contour::at`] adds.

use super::ceiling::{ln_ceiling, ln_ceiling_above};
use super::cumulants::Run;
use super::kernel::Kernel;
use super::line::BLOCK;
use super::nodes::Edge;
use super::saddle::{Guard, Saddle, Spacing};
use super::smoothing::{Smoothed, Smoothing};
use super::split;
use crate::accounting::AccountingError;
use crate::accounting::complex::Complex;
use crate::accounting::invert::Point;

/// Relative size of a node that no longer counts.
const NEGLIGIBLE: f64 = 1e-17;
/// How many of them in a row end the sum.
const QUIET: u32 = 6;
/// Points after which it is first asked whether a split would do.
const FIRST_STOP: usize = 192;
/// Relative error of delta at which a line is long enough, if it didn't die down.
const ENOUGH: f64 = 2e-8;
/// Relative size, of all that follows, at which the end is proven.
const PROVEN: f64 = 1e-13;
/// Natural digits below the sum at which the end of a line no longer counts.
const DIED_DOWN: f64 = 34.0;

/// One place for a point of the contour, in memory lent to [`Exact`](super::Exact); 96 bytes.
///
/// It holds the run's cumulants there.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    pub(super) value: Complex,
    pub(super) error: f64,
    /// A bound on the value's real part from here on.
    pub(super) envelope: f64,
    /// What a split leaves of it, and how sure that is, relatively.
    pub(super) factor: Complex,
    pub(super) factor_error: f64,
    /// Factors of the smoothed curves above and below.
    pub(super) above: Complex,
    pub(super) below: Complex,
}

impl Mark {
    /// An unused point.
    pub const EMPTY: Self = Self {
        value: Complex::ZERO,
        error: 0.0,
        envelope: 0.0,
        factor: Complex::ONE,
        factor_error: 0.0,
        above: Complex::ONE,
        below: Complex::ONE,
    };
}

/// The cumulants on a contour; answers every epsilon near the one that it was made for.
pub(super) struct Contour<'m> {
    spacing: Spacing,
    kernel: Kernel,
    marks: &'m mut [Mark],
    /// Points in use.
    count: usize,
    /// Points for which the laws' nodes are fine enough.
    reach: usize,
    /// Points for which they don't fit.
    too_far: usize,
    /// The line ends with the period of a lattice: nothing lies beyond.
    complete: bool,
    /// The integrand died down.
    quiet: bool,
    /// Logarithm of a bound on `e^{K(z) - k0}` (what a split leaves of it) beyond the last point.
    ceiling: f64,
    /// How the curve was smoothed, where the line was cut before the integrand had died down.
    smoothed: Option<Smoothed>,
    /// What was split off, and may yet reach epsilon.
    leak: Option<Guard>,
}

/// What a contour is drawn for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub kernel: Kernel,
    pub epsilon: f64,
    /// What log delta is expected to be there; the bounds hold whatever it is.
    pub ln_delta: f64,
    /// Splits and smooths where the integrand doesn't die down, and may be that many natural digits larger than the result; or
    /// leaves it at that.
    pub split_off: Option<f64>,
}

/// Why a line ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// What follows doesn't count.
    DiedDown,
    /// As long as was asked for.
    Stopped,
    /// The laws' nodes don't fit any more.
    NoRoom,
}

impl<'m> Contour<'m> {
    /// A contour through (about) its saddle point.
    pub fn new(
        run: &mut Run<'_, '_>,
        plan: Plan,
        saddle: Saddle,
        marks: &'m mut [Mark],
    ) -> Result<Self, AccountingError> {
        let Plan {
            kernel,
            epsilon,
            ln_delta,
            split_off,
        } = plan;
        let mut spacing = Spacing::new(run, &saddle, epsilon, ln_delta, split_off)?;
        let mut limit = marks.len();
        let mut complete = false;
        if let Some(half_period) = kernel.half_period() {
            let nodes = libm::ceil(half_period / spacing.h);
            spacing.h = half_period / nodes;
            complete = nodes <= limit as f64;
            limit = nodes.min(limit as f64) as usize;
        }
        // Where a bell of the saddle's width dies down: the nodes are made fine enough for that far.
        let bell = 9.5 / (libm::sqrt(saddle.curvature) * spacing.h);
        let mut contour = Self {
            spacing,
            kernel,
            marks,
            count: 0,
            reach: (libm::ceil(bell.min(1e6) / BLOCK as f64) as usize + 1) * BLOCK,
            too_far: usize::MAX,
            complete: false,
            quiet: false,
            ceiling: 0.0,
            smoothed: None,
            leak: None,
        };
        let mut cut = None;
        let mut short = 0;
        for stop in [FIRST_STOP, limit / 4, limit] {
            let stop = stop.min(limit);
            if stop <= contour.count {
                continue;
            }
            let end = contour.extend(run, stop, epsilon, true)?;
            contour.complete = complete && contour.count == limit;
            contour.prove(run, None)?;
            contour.quiet = end == End::DiedDown;
            if contour.quiet {
                contour = contour.proven(run, epsilon, limit)?;
            }
            if contour.complete || contour.at(epsilon)?.error <= ENOUGH {
                return Ok(contour);
            }
            // What has died down may have cancelled: then a split makes it smaller.
            let last = stop == limit || end != End::Stopped;
            if split_off.is_none() {
                if last {
                    return Ok(contour);
                }
                continue;
            }
            let cut =
                *cut.get_or_insert_with(|| split::find(run, contour.spacing.t, epsilon, ln_delta));
            if let Some(cut) = cut {
                contour.split(run, cut)?;
                while last && contour.leak.is_none() && contour.count > short.max(BLOCK) {
                    // The nodes for so long a line don't fit: back towards one that they did fit.
                    contour.count = (contour.count / 4 * 3).max(short);
                    contour.split(run, cut)?;
                }
            }
            if contour.leak.is_some() {
                (short, contour.quiet) = (contour.count, false);
                if contour.at(epsilon)?.error <= ENOUGH {
                    return Ok(contour);
                }
            }
            if contour.quiet {
                return Ok(contour);
            }
            if last {
                let excess = contour.tail(epsilon);
                let spacing = contour.spacing;
                let smoothing = Smoothing::new(spacing.t, spacing.h, contour.count, excess);
                contour.smoothed = Some(smoothing.apply(contour.line_mut())?);
                return Ok(contour);
            }
            // Not long enough even so: as before, and further.
            contour.leak = None;
            for mark in contour.line_mut() {
                (mark.factor, mark.factor_error) = (Complex::ONE, 0.0);
            }
        }
        Ok(contour)
    }

    /// Splits small losses off, if the nodes for it fit.
    fn split(
        &mut self,
        run: &mut Run<'_, '_>,
        (edge, leak): (Edge, Guard),
    ) -> Result<(), AccountingError> {
        let spacing = self.spacing;
        self.leak = split::apply(run, &spacing, edge, self.line_mut()).then_some(leak);
        self.prove(run, self.leak.map(|_| edge))
    }

    /// Bounds what lies beyond the last point.
    fn prove(&mut self, run: &mut Run<'_, '_>, edge: Option<Edge>) -> Result<(), AccountingError> {
        if self.kernel == Kernel::Line {
            let Spacing { t, h, k0, .. } = self.spacing;
            let tau = h * (self.count as f64 + 0.5);
            let ceiling = match edge {
                Some(edge) => ln_ceiling_above(run, t, tau, edge)?,
                None => ln_ceiling(run, t, tau)?,
            };
            self.ceiling = ceiling - k0;
        }
        Ok(())
    }

    /// Lengthens a line whose integrand has died down until that is proven.
    fn proven(
        mut self,
        run: &mut Run<'_, '_>,
        epsilon: f64,
        limit: usize,
    ) -> Result<Self, AccountingError> {
        while self.count < limit {
            let sum: f64 = (0..self.count).map(|k| self.term(k, epsilon).0.re).sum();
            if self.beyond(epsilon) <= PROVEN * sum.abs() {
                break;
            }
            let stop = (self.count + self.count / 4 + 1).min(limit);
            if self.extend(run, stop, epsilon, false)? == End::NoRoom {
                break;
            }
            self.prove(run, None)?;
        }
        Ok(self)
    }

    /// Lengthens the line up to `stop` points, or until it has died down.
    fn extend(
        &mut self,
        run: &mut Run<'_, '_>,
        stop: usize,
        epsilon: f64,
        until_quiet: bool,
    ) -> Result<End, AccountingError> {
        let mut quiet = 0;
        let mut sum: f64 = (0..self.count).map(|k| self.term(k, epsilon).0.re).sum();
        while self.count < stop {
            let (t, h, first) = (self.spacing.t, self.spacing.h, self.count);
            if first >= self.reach {
                // Twice as far, or half-way to where the nodes didn't fit.
                let middle = first + (self.too_far - first) / 2;
                self.reach = (2 * self.reach).min(middle).max(first + BLOCK);
            }
            let periodic = self.kernel.half_period().is_some();
            let block = match run.block((t, h), first, self.reach, periodic) {
                Err(AccountingError::WorkspaceTooSmall { .. }) if self.reach > first + BLOCK => {
                    self.too_far = self.reach;
                    self.reach = (first + (self.reach - first) / 2).max(first + BLOCK);
                    continue;
                }
                Err(AccountingError::WorkspaceTooSmall { .. }) if first >= BLOCK => {
                    return Ok(End::NoRoom);
                }
                block => block?,
            };
            for k in 0..BLOCK.min(stop - first) {
                let Some(mark) = self.marks.get_mut(self.count) else {
                    break;
                };
                *mark = Mark {
                    value: block.values[k],
                    error: block.errors[k],
                    envelope: block.envelopes[k],
                    ..Mark::EMPTY
                };
                let term = self.term(self.count, epsilon).0;
                let yet = self.envelope(self.count, epsilon);
                self.count += 1;
                sum += term.re;
                quiet = if yet < NEGLIGIBLE * sum.abs() {
                    quiet + 1
                } else {
                    0
                };
                if until_quiet && quiet >= QUIET {
                    return Ok(End::DiedDown);
                }
            }
        }
        Ok(End::Stopped)
    }

    fn line(&self) -> &[Mark] {
        self.marks.get(..self.count).unwrap_or(&[])
    }

    fn line_mut(&mut self) -> &mut [Mark] {
        self.marks.get_mut(..self.count).unwrap_or(&mut [])
    }

    /// Node `k`: `e^{K(z) - z eps} kernel(z)` divided by `e^{K(t) - t eps}`, and the units in which the kernel
    /// may have lost precision.
    fn term(&self, k: usize, epsilon: f64) -> (Complex, f64) {
        let z = self.point(k);
        let value = self.marks.get(k).map_or(Complex::ZERO, |mark| mark.value);
        let exponent = Complex::new(value.re - self.spacing.k0, value.im - z.im * epsilon);
        let (kernel, loss) = self.kernel.at(z, epsilon);
        (exponent.exp().mul(kernel), loss)
    }

    /// What a term at node `k` or further up may be, but for the falling kernel.
    fn envelope(&self, k: usize, epsilon: f64) -> f64 {
        let envelope = self.marks.get(k).map_or(0.0, |mark| mark.envelope);
        libm::exp(envelope - self.spacing.k0) * self.kernel.at(self.point(k), epsilon).0.abs()
    }

    fn point(&self, k: usize) -> Complex {
        Complex::new(self.spacing.t, self.spacing.h * (k as f64 + 0.5))
    }

    /// Natural digits by which the end of the line is above what no longer counts.
    fn tail(&self, epsilon: f64) -> f64 {
        let from = self.count.saturating_sub(BLOCK);
        let (mut sum, mut rest) = (0.0, 0.0f64);
        for (k, mark) in self.line().iter().enumerate() {
            let term = self.term(k, epsilon).0.mul(mark.factor);
            sum += term.re;
            if k >= from {
                rest = rest.max(term.abs());
            }
        }
        let ratio = rest / sum.abs() * self.count as f64;
        (libm::log(ratio.max(f64::MIN_POSITIVE)) + DIED_DOWN).max(0.0)
    }

    /// A bound on the sum of the terms beyond the last point, in the units of the terms.
    fn beyond(&self, epsilon: f64) -> f64 {
        if self.complete {
            return 0.0;
        }
        let Spacing { t, h, .. } = self.spacing;
        let n = self.count as f64;
        match self.kernel {
            // sum_{k >= n} 1 / |z (z + 1)| <= sum 1 / (t^2 + tau^2), convex in tau: below its integral from tau = h n on.
            Kernel::Line => libm::exp(self.ceiling) * libm::atan2(t, h * n) / (h * t),
            // Falls like the kernel up to half of the period.
            Kernel::Lattice { .. } => {
                let window = if self.quiet { QUIET as usize } else { BLOCK };
                let last = (self.count.saturating_sub(window)..self.count)
                    .map(|k| self.envelope(k, epsilon))
                    .fold(0.0, f64::max);
                2.0 * n * last
            }
        }
    }

    /// Whether the line was long enough by itself.
    pub fn is_whole(&self) -> bool {
        self.complete || self.quiet
    }

    /// The memory that was lent.
    pub fn into_marks(self) -> &'m mut [Mark] {
        self.marks
    }

    /// Real part of the line.
    pub fn crossing(&self) -> f64 {
        self.spacing.t
    }

    /// `log delta(epsilon)` with a bound on the relative error of delta.
    pub fn at(&self, epsilon: f64) -> Result<Point, AccountingError> {
        // As it is, and between the smoothed curves above and below.
        let (mut plain, mut above, mut below) = (0.0, 0.0, 0.0);
        let (mut plain_error, mut error) = (0.0, 0.0);
        for (k, mark) in self.line().iter().enumerate() {
            let (term, loss) = self.term(k, epsilon);
            let term = term.mul(mark.factor);
            let size = term.abs();
            let phase = mark.value.im.abs() + self.spacing.h * (k as f64 + 0.5) * epsilon;
            let rounding = 4.0
                * f64::EPSILON
                * (4.0 + loss + phase + mark.value.re.abs() + self.spacing.k0.abs());
            let unsure = libm::expm1(mark.error) * (1.0 + mark.factor_error);
            let unsure = size * (unsure + mark.factor_error + rounding);
            plain += term.re;
            plain_error += unsure;
            if let Some(smoothed) = self.smoothed {
                above += term.mul(mark.above).re;
                below += term.mul(mark.below).re;
                let unsure = unsure + size * smoothed.rounding(self.point(k));
                error += mark.above.abs().max(mark.below.abs()) * unsure;
            }
        }
        let scale = self.spacing.h / core::f64::consts::PI;
        let base = self.spacing.k0 - self.spacing.t * epsilon + libm::log(scale);
        let period = 2.0 * core::f64::consts::PI / self.spacing.h;
        let multiple =
            8.0 * f64::EPSILON * (1.0 + self.spacing.k0.abs() + self.spacing.t * epsilon);
        let Spacing { left, right, t, .. } = self.spacing;
        // What the sum counts in error: its aliases, and what was split off.
        let strangers = [
            (left, left.ln_alias(t, epsilon, period)),
            (right, right.ln_alias(t, epsilon, period)),
        ]
        .into_iter()
        .chain(self.leak.map(|leak| (leak, leak.ln_chernoff(epsilon))));
        let (mut strange, mut strange_smoothed) = (0.0, 0.0);
        for (guard, ln) in strangers {
            strange += libm::exp(ln - base);
            let grown = self.smoothed.map_or(0.0, |s| s.ln_growth(guard.t));
            strange_smoothed += libm::exp(ln + grown - base);
        }
        let beyond = self.beyond(epsilon);
        let room = plain_error + multiple * plain.abs() + strange + beyond;
        let (mut low, mut high) = (plain - room, plain + room);
        if let Some(smoothed) = self.smoothed {
            let room = error
                + multiple * above.abs().max(below.abs())
                + strange_smoothed
                + beyond * smoothed.end;
            let (lowest, highest) = (below - room, above + room);
            if highest - lowest < high - low && lowest <= highest {
                (low, high) = (lowest, highest);
            }
        }
        if !(low.is_finite() && high.is_finite()) {
            return Err(AccountingError::NotConverged {
                epsilon,
                relative_error: f64::INFINITY,
            });
        }
        Ok(Point::scaled(0.5 * (low + high), 0.5 * (high - low), base))
    }

    /// Derivative of log delta by epsilon, without a bound.
    pub fn slope(&self, epsilon: f64) -> f64 {
        let (mut sum, mut derivative) = (0.0, 0.0);
        for (k, mark) in self.line().iter().enumerate() {
            let z = self.point(k);
            let term = self.term(k, epsilon).0.mul(mark.factor);
            sum += term.re;
            derivative -= z.mul(term).re;
        }
        derivative / sum
    }
}
