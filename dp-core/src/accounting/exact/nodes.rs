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
    /// Which outputs are summed.
    pub part: Part,
}

/// Which outputs a set of nodes sums: all, or those on one side of a soft edge, and then at no other powers than the scope's own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Part {
    Whole,
    /// Above the edge. It may be a tiny part of the whole: what isn't counted is below `e^(floor - digits)`, not `e^-digits`.
    Above {
        edge: Edge,
        floor: f64,
    },
    Below(Edge),
}

impl Part {
    /// The edge, if there is one.
    pub fn edge(&self) -> Option<Edge> {
        match *self {
            Self::Whole => None,
            Self::Above { edge, .. } | Self::Below(edge) => Some(edge),
        }
    }

    /// By how many of its widths an output with that loss is on the other side of the edge.
    pub fn depth(&self, loss: f64) -> f64 {
        match self {
            Self::Whole => f64::NEG_INFINITY,
            Self::Above { edge, .. } => -edge.distance(loss),
            Self::Below(edge) => edge.distance(loss),
        }
    }

    /// Logarithm of the share of an output with that loss that is summed.
    pub fn ln_share(&self, loss: f64) -> f64 {
        ln_share(self.depth(loss))
    }

    /// Logarithm of what sums are measured against.
    pub fn floor(&self) -> f64 {
        match *self {
            Self::Above { floor, .. } => floor,
            Self::Whole | Self::Below(_) => 0.0,
        }
    }
}

/// `log(erfc(depth) / 2)`, also where that itself underflows.
pub(super) fn ln_share(depth: f64) -> f64 {
    if depth > 20.0 {
        // Its asymptotic series, to an ulp from here on: a step in it would be a step in what is integrated.
        let s = 0.5 / (depth * depth);
        let series =
            1.0 - s * (1.0 - 3.0 * s * (1.0 - 5.0 * s * (1.0 - 7.0 * s * (1.0 - 9.0 * s))));
        let ln_2_sqrt_pi = 1.265_512_123_484_645_4;
        return -depth * depth - libm::log(depth) - ln_2_sqrt_pi + libm::log(series);
    }
    libm::log(0.5 * libm::erfc(depth))
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
            && self.part == other.part
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

#[cfg(test)]
mod tests {
    use super::ln_share;

    /// On both sides of where the series takes over, and far out (mpmath, 25 digits).
    #[test]
    fn a_share_has_no_step() {
        let below = ln_share(20.0);
        let above = ln_share(20.0 + 1e-9);
        let slope = -2.0 * 20.0 - 1.0 / 20.0;
        assert!((above - below - slope * 1e-9).abs() < 3e-13 * below.abs());
        for (depth, truth) in [
            (19.5, -384.4872372186604),
            (20.5, -424.5371232593511),
            (25.0, -629.4851863546317),
            (100.0, -10005.870732303225),
        ] {
            assert!((ln_share(depth) / truth - 1.0).abs() < 1e-15, "{depth}");
        }
    }
}
