//! Proven curves above and below delta whose transforms die down fast, for losses that are nearly discrete.
//!
//! As a function of `u = e^eps` delta is convex. With `W = e^{s N - s^2/2}`, N standard normal, of mean one,
//! Jensen's inequality gives `delta(u) <= E delta(u W)`; and because `u V`, `V = (1 + W)/2`, is half-way from u to u W,
//! `delta(u) >= 2 E delta(u V) - E delta(u W)`. Both are off by a term in s^2. On the contour they are factors:
//! `E W^{-z} = e^{(z^2 + z) s^2/2}`, and `E V^{-z}` is the moment of one record at rate 1/2 and multiplier 1/s.

use super::ceiling::turned_alone;
use super::contour::Mark;
use super::cumulants::moment;
use super::fill::fill;
use super::line::{BLOCK, Line};
use super::nodes::{Node, Part, Scope};
use crate::accounting::AccountingError;
use crate::accounting::complex::Complex;
use crate::accounting::law::Law;
use crate::accounting::mixture::Mixture;

/// Nodes for one smoothing factor.
const NODES: usize = 512;
const DIGITS: f64 = 40.0;

/// The width s that makes a line of `count` nodes long enough.
#[derive(Clone, Copy, Debug)]
pub(super) struct Smoothing {
    t: f64,
    h: f64,
    s: f64,
}

/// What smoothing does to the rest of the line and to the errors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Smoothed {
    s: f64,
    /// A bound on both factors beyond the last point.
    pub end: f64,
}

impl Smoothed {
    /// Logarithm of the most by which a bound `e^(K(t) - t eps)` on what doesn't belong to the curve grows, in both curves.
    ///
    /// Smoothed, it is a bound at `eps - log W`: `E W^-t` times as much, and `E V^-t` is no more, since it is at most
    /// `(1 + E W^-t) / 2`. The lower curve has it three times.
    pub fn ln_growth(&self, t: f64) -> f64 {
        0.5 * self.s * self.s * (t * t + t) + libm::log(3.0)
    }

    /// Relative rounding of the factors at `z`: of their exponents, with room.
    pub fn rounding(&self, z: Complex) -> f64 {
        let size = z.abs();
        8.0 * f64::EPSILON * (1.0 + self.s * self.s * (size * size + size))
    }
}

impl Smoothing {
    /// `excess` natural digits remain to be lost at the end of the line; V, half as wide as W, loses
    /// `(s/2)^2 tau^2 / 2` there.
    pub fn new(t: f64, h: f64, count: usize, excess: f64) -> Self {
        let end = h * count as f64;
        Self {
            t,
            h,
            s: libm::sqrt(8.0 * excess.max(0.0)) / end,
        }
    }

    /// Puts the factors on the points of the line.
    pub fn apply(&self, marks: &mut [Mark]) -> Result<Smoothed, AccountingError> {
        if self.s == 0.0 {
            return Ok(Smoothed { s: 0.0, end: 1.0 });
        }
        let mut nodes = [Node::EMPTY; NODES];
        let law = Law::Mixture(Mixture::record(0.5, self.s));
        let scope = Scope {
            low: -self.t,
            high: -self.t,
            frequency: self.h * (marks.len() + BLOCK) as f64,
            digits: DIGITS,
            part: Part::Whole,
        };
        let len = fill(&law, &scope, &mut nodes)?;
        let nodes = nodes.get(..len).unwrap_or(&[]);
        let level = moment(nodes, -self.t).k0;
        let half = 0.5 * self.s * self.s;
        for (at, chunk) in marks.chunks_mut(BLOCK).enumerate() {
            let line = Line {
                w: -self.t,
                h: -self.h,
                first: at * BLOCK,
            };
            let (mut values, mut errors) = ([Complex::ZERO; BLOCK], [0.0; BLOCK]);
            line.add(nodes, level, 1.0, DIGITS, &mut values, &mut errors);
            for (k, mark) in chunk.iter_mut().enumerate() {
                let z = Complex::new(self.t, self.h * ((line.first + k) as f64 + 0.5));
                let wide = z.mul(z).add(z).scale(half).exp();
                let middle = values[k].exp();
                mark.below = middle.scale(2.0).add(wide.scale(-1.0));
                mark.above = wide;
                mark.error += 3.0 * errors[k];
            }
        }
        // |below| <= 2 |middle| + |above|, both of which fall.
        let end = self.h * marks.len() as f64;
        let z = Complex::new(self.t, end);
        let wide = libm::exp(half * z.mul(z).add(z).re);
        let middle = level + turned_alone(&law, -self.t, level, end);
        Ok(Smoothed {
            s: self.s,
            end: 2.0 * libm::exp(middle) + wide,
        })
    }
}
