//! Where a line may well end: what one event's moment seems to come to further up.
//!
//! A sum may only end where nothing comes back. The moment of a density dies down; atoms turn for ever, and may meet again after
//! they have cancelled. So each event has an envelope: what `log |E r^w|` is at this point and, most likely, at most above it, which
//! takes atoms by their whole weight. On the period of a lattice that is proven; elsewhere it only tells where to ask for
//! the proof ([`ceiling`](super::ceiling)).

use super::nodes::Node;
use crate::accounting::complex::Complex;
use crate::accounting::law::Law;

/// The weights of a law's atoms at one power, for the envelopes of a line.
pub(super) struct Atoms<'n> {
    nodes: &'n [Node],
    w: f64,
    /// Units of the weights: log of the whole moment at the real power.
    level: f64,
    /// Sum of the atoms' weights in these units.
    sum: f64,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// No atoms.
    Density,
    /// Nothing but atoms, on one lattice with all else, up to half of its period: a theta function falls there.
    Theta,
    /// The same with few atoms: neighbours are taken in pairs, each of which falls.
    Pairs,
    /// Nothing but atoms, for ever.
    Forever,
    /// Some atoms beside a density.
    Both,
}

impl<'n> Atoms<'n> {
    /// `periodic`: the line ends with half of the period of all atoms.
    pub fn new(law: &Law, nodes: &'n [Node], w: f64, level: f64, periodic: bool) -> Self {
        let kind = match law {
            Law::Lattice(_) if periodic => Kind::Pairs,
            Law::DiscreteGaussian { .. } if periodic => Kind::Theta,
            Law::Lattice(_) | Law::DiscreteGaussian { .. } => Kind::Forever,
            Law::Replaced { .. } | Law::Laplace { .. } => Kind::Both,
            _ => Kind::Density,
        };
        let mut atoms = Self {
            nodes,
            w,
            level,
            sum: 0.0,
            kind,
        };
        if kind == Kind::Both {
            atoms.sum = atoms.each().map(|(weight, _)| weight).sum();
        }
        atoms
    }

    /// Each atom's weight at the power and its loss.
    fn each(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        self.nodes.iter().filter(|node| node.atom).map(|node| {
            let ln = node.ln_weight + self.w * node.loss - self.level;
            (libm::exp(ln), node.loss)
        })
    }

    /// The envelope at imaginary part `tau`, where the moment's logarithm is `ln_moment`.
    pub fn at(&self, tau: f64, ln_moment: Complex) -> f64 {
        match self.kind {
            Kind::Density | Kind::Theta => ln_moment.re,
            Kind::Forever => self.level,
            Kind::Pairs => self.level + libm::log(self.pairs(tau)),
            Kind::Both => {
                let mut rest = ln_moment.add(Complex::new(-self.level, 0.0)).exp();
                for (weight, loss) in self.each() {
                    let (sin, cos) = libm::sincos(tau * loss);
                    rest = rest.add(Complex::new(-weight * cos, -weight * sin));
                }
                self.level + libm::log(self.sum + rest.abs())
            }
        }
    }

    /// `sum |a_i + a_{i+1} e^{i tau span}|` over disjoint pairs of neighbours.
    fn pairs(&self, tau: f64) -> f64 {
        let mut sum = 0.0;
        let mut atoms = self.each();
        while let Some((a, first)) = atoms.next() {
            let Some((b, second)) = atoms.next() else {
                sum += a;
                break;
            };
            let half = libm::sin(0.5 * tau * (second - first));
            // |a + b e^{ix}|^2 = (a + b)^2 - 4 a b sin^2(x/2)
            sum += libm::sqrt(((a + b) * (a + b) - 4.0 * a * b * half * half).max(0.0));
        }
        sum
    }
}
