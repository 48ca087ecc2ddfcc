//! Delta of a composed run by an integral on a vertical line of the complex plane.
//!
//! `delta(eps) = (1 / 2 pi i) integral over Re z = t > 0 of e^{K(z) - z eps} / (z (z + 1)) dz`, by
//! the midpoint rule. docs/accounting.md derives it and every error term that [`Contour::at`] adds.

use super::cumulants::Run;
use super::kernel::Kernel;
use super::line::BLOCK;
use super::saddle::{Guard, Saddle, Spacing};
use super::smoothing::Smoothing;
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
/// Natural digits below the sum at which the end of a line no longer counts.
const DIED_DOWN: f64 = 34.0;

/// The run's cumulants at one point of a contour.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
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
    /// The line ends with the period of a lattice: nothing lies beyond.
    complete: bool,
    /// Points at the end of which the largest stands for what follows.
    window: usize,
    /// The line was cut before the integrand had died down, and the curve was smoothed for it.
    smoothed: bool,
    /// What was split off and may yet reach epsilon.
    leak: Option<Guard>,
}

/// What a contour is drawn for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub kernel: Kernel,
    pub epsilon: f64,
    /// What log delta is expected to be there; the bounds hold whatever it is.
    pub ln_delta: f64,
    /// Splits and smooths where the integrand doesn't die down, or leaves it at that.
    pub thorough: bool,
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
            thorough,
        } = plan;
        let mut spacing = Spacing::new(run, &saddle, epsilon, ln_delta, thorough)?;
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
            complete: false,
            window: BLOCK,
            smoothed: false,
            leak: None,
        };
        let mut short = 0;
        for stop in [FIRST_STOP, limit / 4, limit] {
            let stop = stop.min(limit);
            if stop <= contour.count {
                continue;
            }
            let end = contour.extend(run, stop, epsilon)?;
            contour.complete = complete && contour.count == limit;
            if end == End::DiedDown {
                contour.window = QUIET as usize;
                return Ok(contour);
            }
            if contour.complete || contour.at(epsilon)?.error <= ENOUGH {
                return Ok(contour);
            }
            let last = stop == limit || end == End::NoRoom;
            if !thorough {
                if last {
                    return Ok(contour);
                }
                continue;
            }
            let spacing = contour.spacing;
            contour.leak = split::apply(run, &spacing, epsilon, ln_delta, contour.line_mut());
            if contour.leak.is_none() && short > 0 && last {
                // The nodes for so long a line don't fit: back to one that they did fit.
                contour.count = short;
                contour.leak = split::apply(run, &spacing, epsilon, ln_delta, contour.line_mut());
            }
            if contour.leak.is_some() {
                short = contour.count;
                if contour.at(epsilon)?.error <= ENOUGH {
                    return Ok(contour);
                }
            }
            if last {
                let excess = contour.tail(epsilon);
                Smoothing::new(spacing.t, spacing.h, contour.count, excess)
                    .apply(contour.line_mut())?;
                contour.smoothed = true;
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

    /// Lengthens the line up to `stop` points.
    fn extend(
        &mut self,
        run: &mut Run<'_, '_>,
        stop: usize,
        epsilon: f64,
    ) -> Result<End, AccountingError> {
        let mut quiet = 0;
        let mut sum: f64 = (0..self.count).map(|k| self.term(k, epsilon).0.re).sum();
        while self.count < stop {
            if self.count >= self.reach {
                self.reach *= 2;
            }
            let (t, h, first) = (self.spacing.t, self.spacing.h, self.count);
            let periodic = self.kernel.half_period().is_some();
            let mut block = run.block((t, h), first, self.reach, periodic);
            if matches!(block, Err(AccountingError::WorkspaceTooSmall { .. })) {
                block = run.block((t, h), first, first + BLOCK, periodic);
            }
            let block = match block {
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
                if quiet >= QUIET {
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

    /// Whether the line was long enough by itself.
    pub fn is_whole(&self) -> bool {
        self.complete || self.window == QUIET as usize
    }

    /// Real part of the line.
    pub fn crossing(&self) -> f64 {
        self.spacing.t
    }

    /// `log delta(epsilon)` with a bound on the relative error of delta.
    pub fn at(&self, epsilon: f64) -> Result<Point, AccountingError> {
        // As it is, and between the smoothed curves above and below.
        let (mut plain, mut above, mut below) = (0.0, 0.0, 0.0);
        let (mut plain_error, mut error, mut last, mut last_smoothed) = (0.0, 0.0, 0.0f64, 0.0);
        for (k, mark) in self.line().iter().enumerate() {
            let (term, loss) = self.term(k, epsilon);
            let term = term.mul(mark.factor);
            let size = term.abs();
            let phase = mark.value.im.abs() + self.spacing.h * (k as f64 + 0.5) * epsilon;
            let rounding = 4.0
                * f64::EPSILON
                * (4.0 + loss + phase + mark.value.re.abs() + self.spacing.k0.abs());
            let unsure = size * (libm::expm1(mark.error) + mark.factor_error + rounding);
            plain += term.re;
            plain_error += unsure;
            let ending = k + self.window >= self.count;
            // The terms may swing: the end of the line counts as its largest term.
            // A split leaves nothing but densities, each term with one that dies down.
            let yet = match (ending, self.leak) {
                (false, _) => 0.0,
                (true, Some(_)) => size,
                (true, None) => self.envelope(k, epsilon),
            };
            last = last.max(yet);
            if self.smoothed {
                above += term.mul(mark.above).re;
                below += term.mul(mark.below).re;
                let most = mark.above.abs().max(mark.below.abs());
                error += most * unsure;
                last_smoothed = most * yet.max(size);
            }
        }
        let scale = self.spacing.h / core::f64::consts::PI;
        let base = self.spacing.k0 - self.spacing.t * epsilon + libm::log(scale);
        let period = 2.0 * core::f64::consts::PI / self.spacing.h;
        let mut common = 8.0
            * f64::EPSILON
            * (1.0 + self.spacing.k0.abs() + self.spacing.t * epsilon)
            * plain.abs();
        for guard in [self.spacing.left, self.spacing.right] {
            common += libm::exp(guard.ln_alias(self.spacing.t, epsilon, period) - base);
        }
        if let Some(leak) = self.leak {
            common += libm::exp(leak.ln_chernoff(epsilon) - base);
        }
        // What lies beyond the last node: the terms fall at least like 1 / k^2 from here.
        let beyond = if self.complete {
            0.0
        } else {
            2.0 * self.count as f64
        };
        let (mut low, mut high) = (
            plain - plain_error - common - beyond * last,
            plain + plain_error + common + beyond * last,
        );
        if self.smoothed {
            let room = error + common + beyond * last_smoothed;
            if above - below + 2.0 * room < high - low {
                (low, high) = (below - room, above + room);
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
