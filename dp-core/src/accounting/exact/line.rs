//! One event's moments at equally spaced points of a vertical line.

use super::nodes::Node;
use crate::accounting::complex::{Complex, expi_m1};

/// Points that one pass over the nodes serves.
pub(super) const BLOCK: usize = 32;
/// Nodes that turn together, so that the processor does several at once.
const LANES: usize = 8;
/// Below this `log E r^w` the moment is summed as its excess over one.
const NEAR_ONE: f64 = 0.7;
/// Rounding of one inner sum, in units of its absolute sum: pairwise errors of exp, log and the
/// rotation over a block.
pub(super) const SUM_ROUNDING: f64 = 64.0 * f64::EPSILON;
/// Terms of a sum of about one that don't count: `e^-90`.
const NEGLIGIBLE: f64 = 8e-40;

/// Powers `w + i h (k + 1/2)`, k from `first`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    pub w: f64,
    pub h: f64,
    pub first: usize,
}

impl Line {
    fn frequency(&self) -> f64 {
        self.h.abs() * (self.first + BLOCK) as f64
    }

    /// Adds `count * log E r^w` of one law to a block's values, and its error to the errors; the logarithms themselves.
    ///
    /// `level` is `log E r^w` at the real part; the nodes' own quadrature error is `e^-digits`.
    pub fn add(
        &self,
        nodes: &[Node],
        level: f64,
        count: f64,
        digits: f64,
        values: &mut [Complex; BLOCK],
        errors: &mut [f64; BLOCK],
    ) -> [Complex; BLOCK] {
        let mut logarithms = [Complex::ZERO; BLOCK];
        let near_one = level < NEAR_ONE;
        let (sums, size) = if near_one {
            self.excess(nodes)
        } else {
            self.scaled(nodes, level)
        };
        // Size bounds the absolute sum, so rounding and quadrature error are relative to it.
        let sum_error = size * (SUM_ROUNDING + 4.0 * libm::exp(-digits));
        for (k, ((value, error), sum)) in values
            .iter_mut()
            .zip(errors.iter_mut())
            .zip(sums)
            .enumerate()
        {
            let (mut ln, mut modulus) = if near_one {
                (sum.ln_1p(), libm::hypot(1.0 + sum.re, sum.im))
            } else {
                (sum.ln().add(Complex::new(level, 0.0)), sum.abs())
            };
            let mut sum_error = sum_error;
            if modulus < sum_error {
                // All that is known is that it is small: one number of that size is as good as another.
                modulus = sum_error;
                sum_error *= 2.0;
                ln = Complex::new(libm::log(modulus) + if near_one { 0.0 } else { level }, 0.0);
            }
            logarithms[k] = ln;
            *value = value.add(ln.scale(count));
            // |m'^n - m^n| <= (|m| + e)^n - |m|^n for any m' within e of m.
            *error += count * (libm::log1p(sum_error / modulus) + 4.0 * f64::EPSILON * ln.abs());
        }
        logarithms
    }

    /// `E[r^w - 1 - w (r - 1)] = E r^w - 1`: what cancels in the mean is taken out of every term.
    fn excess(&self, nodes: &[Node]) -> ([Complex; BLOCK], f64) {
        let frequency = self.frequency();
        let half = self.first as f64 + 0.5;
        let mut turns = Turns::new();
        let (mut size, mut real, mut linear) = (0.0, 0.0, 0.0);
        for node in nodes {
            // weight (r^w - 1); far out a factor alone leaves the range.
            let growth = self.w * node.loss;
            let gain = if growth < 1.0 {
                node.weight * libm::expm1(growth)
            } else {
                libm::exp(node.ln_weight + growth) - node.weight
            };
            let whole = node.weight + gain;
            size += gain.abs()
                + whole * frequency * node.loss.abs()
                + (self.w.abs() + frequency) * node.gain.abs();
            real += gain - self.w * node.gain;
            linear += node.gain;
            turns.push(whole, self.h * node.loss, half);
        }
        turns.flush();
        let mut sums = turns.sums;
        for (k, sum) in sums.iter_mut().enumerate() {
            // e^{u} - 1 = growth + (1 + growth)(e^{i angle} - 1)
            sum.re += real;
            sum.im -= self.h * (half + k as f64) * linear;
        }
        (sums, size)
    }

    /// `e^-level E r^w`.
    fn scaled(&self, nodes: &[Node], level: f64) -> ([Complex; BLOCK], f64) {
        self.shared(nodes, level, |_| (1.0, 0.0))
    }

    /// `e^-level` times the sum of `share e^{w loss}` over the nodes, and the sum of the terms' sizes, each as many times as
    /// it may have lost precision in units of [`SUM_ROUNDING`].
    ///
    /// `share` gives a node's share, and of how many units its logarithm's rounding is.
    pub fn shared(
        &self,
        nodes: &[Node],
        level: f64,
        share: impl Fn(&Node) -> (f64, f64),
    ) -> ([Complex; BLOCK], f64) {
        let frequency = self.frequency();
        let half = self.first as f64 + 0.5;
        let mut turns = Turns::new();
        let (mut size, mut total) = (0.0, 0.0);
        for node in nodes {
            let ln = node.ln_weight + self.w * node.loss - level;
            let (part, unsure) = share(node);
            let weight = part * libm::exp(ln);
            if weight < NEGLIGIBLE {
                continue;
            }
            // The exponent's own rounding grows with its terms.
            let argument = (self.w.abs() + frequency) * node.loss.abs()
                + node.ln_weight.abs()
                + level.abs()
                + unsure;
            size += weight * (1.0 + 0.03 * argument);
            total += weight;
            turns.push(weight, self.h * node.loss, half);
        }
        turns.flush();
        let mut sums = turns.sums;
        for sum in &mut sums {
            sum.re += total;
        }
        (sums, size)
    }
}

/// `sum weight (e^{i turn (half + k)} - 1)` for every k of a block, by rotation.
struct Turns {
    sums: [Complex; BLOCK],
    filled: usize,
    weight: [f64; LANES],
    angle: [Complex; LANES],
    turn: [Complex; LANES],
}

impl Turns {
    fn new() -> Self {
        Self {
            sums: [Complex::ZERO; BLOCK],
            filled: 0,
            weight: [0.0; LANES],
            angle: [Complex::ZERO; LANES],
            turn: [Complex::ZERO; LANES],
        }
    }

    fn push(&mut self, weight: f64, turn: f64, half: f64) {
        let lane = self.filled % LANES;
        self.weight[lane] = weight;
        self.angle[lane] = expi_m1(turn * half);
        self.turn[lane] = expi_m1(turn);
        self.filled += 1;
        if self.filled == LANES {
            self.rotate();
        }
    }

    fn flush(&mut self) {
        if self.filled > 0 {
            self.rotate();
        }
    }

    /// Turns the lanes through the block. Angles are kept minus one, so that small ones lose nothing.
    fn rotate(&mut self) {
        let mut re = [0.0; LANES];
        let mut im = [0.0; LANES];
        let mut turn_re = [0.0; LANES];
        let mut turn_im = [0.0; LANES];
        for lane in 0..LANES {
            re[lane] = self.angle[lane].re;
            im[lane] = self.angle[lane].im;
            turn_re[lane] = self.turn[lane].re;
            turn_im[lane] = self.turn[lane].im;
        }
        let weight = self.weight;
        for sum in &mut self.sums {
            let mut parts_re = [0.0; LANES];
            let mut parts_im = [0.0; LANES];
            for lane in 0..LANES {
                parts_re[lane] = weight[lane] * re[lane];
                parts_im[lane] = weight[lane] * im[lane];
                let (a, b) = (re[lane], im[lane]);
                re[lane] = a + turn_re[lane] + (a * turn_re[lane] - b * turn_im[lane]);
                im[lane] = b + turn_im[lane] + (a * turn_im[lane] + b * turn_re[lane]);
            }
            sum.re += pairwise(&parts_re);
            sum.im += pairwise(&parts_im);
        }
        self.weight = [0.0; LANES];
        self.filled = 0;
    }
}

fn pairwise(x: &[f64; LANES]) -> f64 {
    ((x[0] + x[4]) + (x[1] + x[5])) + ((x[2] + x[6]) + (x[3] + x[7]))
}
