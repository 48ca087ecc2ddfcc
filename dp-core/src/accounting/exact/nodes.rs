//! The law of one event's loss as weighted points: what every moment is a sum over.
//!
//! A [`Scope`] says which moments they must serve; [`fill`](super::fill) makes them.

use crate::accounting::law::Direction;

/// One place for a point of an event's law, in memory lent to [`Exact`](super::Exact); 40 bytes.
///
/// Probability `weight` under Q, loss log p/q.
#[derive(Clone, Copy, Debug)]
pub struct Node {
    pub(super) ln_weight: f64,
    pub(super) weight: f64,
    pub(super) loss: f64,
    /// `weight (e^loss - 1)`, what P has more than Q here.
    pub(super) gain: f64,
    /// Whether the law has this point itself, not a density around it.
    pub(super) atom: bool,
}

impl Node {
    /// An unused node.
    pub const EMPTY: Self = Self {
        ln_weight: f64::NEG_INFINITY,
        weight: 0.0,
        loss: 0.0,
        gain: 0.0,
        atom: false,
    };

    /// An atom of that weight and loss.
    pub fn atom(ln_weight: f64, loss: f64) -> Self {
        let weight = libm::exp(ln_weight);
        let gain = if loss < 1.0 {
            weight * libm::expm1(loss)
        } else {
            libm::exp(ln_weight + loss) - weight
        };
        Self {
            ln_weight,
            weight,
            loss,
            gain,
            atom: true,
        }
    }
}

/// Which powers `w` of the ratio a set of nodes must serve: real part between `low` and `high`, modulus
/// of the imaginary part up to `frequency`; 0 and 1 are always served.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scope {
    pub low: f64,
    pub high: f64,
    pub frequency: f64,
    pub digits: f64,
    /// An edge that may be put on the nodes' weights.
    pub edge: Option<Edge>,
    /// Serve only the outputs below the edge, and nothing but the given powers.
    pub below: bool,
}

/// Where [`split`](super::split) cuts a law in two, and how softly.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Edge {
    pub direction: Direction,
    /// The loss, in that direction, at which half of the law is on each side.
    pub loss: f64,
}

/// Width of an edge, relative to its place: at loss zero `erfc(6.25)/2`, 5e-19, is on the other side.
const SOFTNESS: f64 = 0.16;

impl Edge {
    /// Distance of a node's loss (log p/q) from the edge, in its widths.
    pub fn distance(&self, loss: f64) -> f64 {
        let loss = match self.direction {
            Direction::Remove => loss,
            Direction::Add => -loss,
        };
        (loss - self.loss) / (SOFTNESS * self.loss)
    }

    /// One over the edge's width.
    pub fn sharpness(&self) -> f64 {
        1.0 / (SOFTNESS * self.loss)
    }

    /// The share of an output with that loss that is above the edge, and the share below.
    pub fn shares(&self, loss: f64) -> (f64, f64) {
        let distance = self.distance(loss);
        (0.5 * libm::erfc(-distance), 0.5 * libm::erfc(distance))
    }
}

impl Scope {
    /// Whether nodes for this scope serve another.
    pub fn covers(&self, other: &Self) -> bool {
        self.low <= other.low
            && self.high >= other.high
            && self.frequency >= other.frequency
            && self.digits >= other.digits
            && (self.edge == other.edge || other.edge.is_none() && !self.below)
            && self.below == other.below
    }
}

/// Above this power times slope the nodes are chosen for one power alone.
pub(super) const WIDE: f64 = 40.0;

/// The power of the ratio whose mean under Q is `E[e^{z L}]`, and its derivative by z.
pub(super) fn power(direction: Direction, t: f64) -> (f64, f64) {
    match direction {
        Direction::Remove => (1.0 + t, 1.0),
        Direction::Add => (-t, -1.0),
    }
}
