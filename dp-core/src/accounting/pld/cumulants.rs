//! A run's cumulants, roughly: they only serve to plan, so nothing here can make a bound wrong.

use super::super::law::{Direction, Lattice, Law};
use super::super::normal::LN_SQRT_2PI;
use super::super::normal::mills;
use super::super::{AccountingError, Run};
use super::discretise::{Curve, opposite};

/// Nodes of the quadrature: log odds of epsilon in its range, from `TOP` down by `STEP`.
const NODES: u32 = 372;
const STEP: f64 = 0.125;
const TOP: f64 = 14.0;
/// Most atoms that are summed one by one.
const FEW: u32 = 512;
/// Logarithm of a curve's value that counts as zero.
const LN_LIMIT: f64 = -3000.0;
/// The least variance, relative to the squared mean: below it is what cancellation leaves.
const VARIANCE: f64 = 1e-13;

/// Log moment generating function at one tilt, with its first two derivatives.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cumulant {
    pub value: f64,
    pub mean: f64,
    pub variance: f64,
}

impl Cumulant {
    /// `log delta` at `epsilon`, as if the tilted law were normal around it.
    pub fn ln_delta(&self, tilt: f64, epsilon: f64) -> f64 {
        let deviation = libm::sqrt(self.variance.max(0.0));
        let (low, high) = (tilt * deviation, (tilt + 1.0) * deviation);
        let difference = (mills(low) - mills(high)).max(f64::MIN_POSITIVE);
        self.value - tilt * epsilon + libm::log(difference) - LN_SQRT_2PI
    }

    pub fn good(&self) -> bool {
        self.value.is_finite() && self.variance > 0.0 && self.variance.is_finite()
    }
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

    /// Of `base + M`, with the sums those of M.
    fn cumulant(&self, base: f64) -> Cumulant {
        let [m0, m1, m2] = self.sums;
        // All is divided by e^scale where that is large.
        let (up, down) = if self.scale > 0.0 {
            (1.0, libm::exp(-self.scale))
        } else {
            (libm::exp(self.scale), 1.0)
        };
        let total = base * down + m0 * up;
        let value = if self.scale > 0.0 || base == 0.0 {
            self.scale + libm::log(total / up)
        } else {
            libm::log1p(m0 * up)
        };
        let mean = m1 * up / total;
        let square = m2 * up / total;
        Cumulant {
            value,
            mean,
            variance: (square - mean * mean).max(VARIANCE * square),
        }
    }
}

/// The run's cumulants at every tilt.
///
/// Few atoms are summed; else
/// `M(t) - 1 = t (t + 1) (integral of e^(t e) h(e) + integral of e^(-(t + 1) e) h'(e))`, h' the other direction's curve.
pub(super) fn cumulants<const N: usize>(
    run: &Run<'_>,
    direction: Direction,
    tilts: &[f64; N],
) -> Result<[Cumulant; N], AccountingError> {
    let mut total = [Cumulant::default(); N];
    for &(event, count) in run.events {
        if count == 0 {
            continue;
        }
        let law = event.law(run.adjacency)?;
        let mut sums = [Sums {
            scale: f64::NEG_INFINITY,
            sums: [0.0; 3],
        }; N];
        let base = match &law {
            Law::Lattice(lattice) if lattice.atoms <= FEW => {
                atoms(lattice, tilts, &mut sums);
                0.0
            }
            _ => {
                for mirrored in [false, true] {
                    let direction = if mirrored {
                        opposite(direction)
                    } else {
                        direction
                    };
                    let curve = Curve {
                        law: &law,
                        direction,
                    };
                    quadrature(&curve, mirrored, tilts, &mut sums)?;
                }
                1.0
            }
        };
        let count = count as f64;
        for (all, one) in total.iter_mut().zip(&sums) {
            let one = one.cumulant(base);
            all.value += count * one.value;
            all.mean += count * one.mean;
            all.variance += count * one.variance;
        }
    }
    Ok(total)
}

/// Largest tilt at which the quadrature still sees every event's largest losses.
pub(super) fn largest_tilt(run: &Run<'_>, direction: Direction) -> Result<f64, AccountingError> {
    let mut end = 0.0f64;
    for &(event, count) in run.events {
        let law = event.law(run.adjacency)?;
        if count > 0 {
            let curve = Curve {
                law: &law,
                direction,
            };
            end = end.max(farthest(&curve, LN_LIMIT)?);
        }
    }
    Ok(1e5 / end)
}

fn atoms(lattice: &Lattice, tilts: &[f64], sums: &mut [Sums]) {
    let ln_finite = libm::log1p(-lattice.infinite);
    for i in 0..lattice.atoms {
        let (loss, mass) = lattice.atom(i);
        if mass > 0.0 {
            for (&tilt, sum) in tilts.iter().zip(sums.iter_mut()) {
                let exponent = ln_finite + libm::log(mass) + tilt * loss;
                sum.add(exponent, [1.0, loss, loss * loss]);
            }
        }
    }
}

fn quadrature(
    curve: &Curve<'_>,
    mirrored: bool,
    tilts: &[f64],
    sums: &mut [Sums],
) -> Result<(), AccountingError> {
    let floor = curve.floor();
    let end = farthest(curve, LN_LIMIT)?;
    for node in 0..NODES {
        // Many near zero, and many near the largest loss.
        let odds = libm::exp(TOP - STEP * f64::from(node));
        let rest = 1.0 / (1.0 + odds);
        let epsilon = end * odds * rest;
        let mut ln_height = curve.ln(epsilon)?;
        if floor > 0.0 {
            let finite = libm::exp(ln_height) - floor;
            ln_height = libm::log(if finite > 1e-12 * floor { finite } else { 0.0 });
        }
        if ln_height == f64::NEG_INFINITY {
            continue;
        }
        let ln_weight = ln_height + libm::log(STEP * epsilon * rest);
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

/// Epsilon beyond which the finite part of the curve is below `e^ln_limit`, within a billionth.
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
    for _ in 0..30 {
        let middle = 0.5 * (low + high);
        if above(middle)? {
            low = middle;
        } else {
            high = middle;
        }
    }
    Ok(high)
}
