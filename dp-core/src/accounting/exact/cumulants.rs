//! `K(z) = sum_i n_i log E[e^{z L_i}]`, the cumulants of the whole run, on and off the real line.

use super::envelope::Atoms;
use super::fill::fill;
use super::line::{BLOCK, Line};
use super::nodes::{Node, Part, Scope, WIDE, power};
use crate::accounting::complex::Complex;
use crate::accounting::law::{Direction, Lattice, Law};
use crate::accounting::{AccountingError, Adjacency, Event};

/// Laws whose nodes are kept.
const SLOTS: usize = 4;

/// K, K' and K'' at a real point.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cumulants {
    pub k0: f64,
    pub k1: f64,
    pub k2: f64,
}

/// Laws that took long to make: binomial tails over a large population. Each with its place in the list of events.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Kept {
    laws: [Option<(usize, Tails)>; SLOTS],
}

/// What a truncated batch's pair is made of.
#[derive(Clone, Copy, Debug)]
struct Tails {
    rate: f64,
    mu: f64,
    share: f64,
    other_rate: f64,
}

impl Kept {
    /// Keeps the law of event number `at`, if it is worth it and there is room.
    pub fn add(&mut self, at: usize, law: &Law) {
        let Law::Truncated {
            rate,
            mu,
            share,
            other_rate,
        } = *law
        else {
            return;
        };
        if let Some(place) = self.laws.iter_mut().find(|place| place.is_none()) {
            let tails = Tails {
                rate,
                mu,
                share,
                other_rate,
            };
            *place = Some((at, tails));
        }
    }

    fn get(&self, at: usize) -> Option<Law> {
        let (_, tails) = self.laws.iter().flatten().find(|(place, _)| *place == at)?;
        Some(Law::Truncated {
            rate: tails.rate,
            mu: tails.mu,
            share: tails.share,
            other_rate: tails.other_rate,
        })
    }
}

/// The events of a run that need a sum or an integral, and the square of the shift that the others come to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts<'a> {
    pub adjacency: Adjacency,
    pub events: &'a [(Event, u64)],
    /// Sum of mu^2 of the Gaussian events.
    pub mu_sq: f64,
    /// How many events are not Gaussian.
    pub others: usize,
    pub kept: Kept,
}

impl Parts<'_> {
    /// Each event that is not Gaussian nor taken for one, with its count.
    pub fn others(&self) -> impl Iterator<Item = (Law, f64)> + '_ {
        self.events
            .iter()
            .enumerate()
            .filter_map(|(at, &(event, count))| {
                if let Some(law) = self.kept.get(at) {
                    return (count > 0).then_some((law, count as f64));
                }
                // Bad events were refused before.
                match event.law(self.adjacency) {
                    Ok(Law::Shift { .. } | Law::Bins { .. }) | Err(_) => None,
                    // Infinite losses are accounted for apart.
                    Ok(Law::Lattice(part)) => {
                        let finite = Law::Lattice(Lattice {
                            infinite: 0.0,
                            ..part
                        });
                        (count > 0).then_some((finite, count as f64))
                    }
                    Ok(law) => (count > 0).then_some((law, count as f64)),
                }
            })
    }
}

/// What is in one slot of the workspace.
#[derive(Clone, Copy, Debug)]
struct Slot {
    owner: usize,
    scope: Scope,
    len: usize,
}

/// The nodes of the events' laws, in the caller's memory, made when they are needed.
pub(super) struct Tables<'w> {
    nodes: &'w mut [Node],
    slots: [Option<Slot>; SLOTS],
    shares: usize,
}

impl<'w> Tables<'w> {
    pub fn new(nodes: &'w mut [Node], others: usize) -> Self {
        Self {
            nodes,
            slots: [None; SLOTS],
            shares: others.clamp(1, SLOTS),
        }
    }

    /// Nodes of the law of event number `owner` that serve `scope`.
    fn get(&mut self, owner: usize, law: &Law, scope: &Scope) -> Result<&[Node], AccountingError> {
        let share = self.nodes.len() / self.shares;
        let at = owner.min(self.shares - 1);
        let (Some(slot), Some(nodes)) = (
            self.slots.get_mut(at),
            self.nodes.get_mut(at * share..(at + 1) * share),
        ) else {
            return Err(AccountingError::WorkspaceTooSmall { nodes: share });
        };
        match slot {
            Some(known) if known.owner == owner && known.scope.covers(scope) => {
                Ok(nodes.get(..known.len).unwrap_or(&[]))
            }
            _ => {
                *slot = None;
                let len = fill(law, scope, nodes)?;
                *slot = Some(Slot {
                    owner,
                    scope: *scope,
                    len,
                });
                Ok(nodes.get(..len).unwrap_or(&[]))
            }
        }
    }
}

/// A stretch of the line.
pub(super) struct Block {
    /// K.
    pub values: [Complex; BLOCK],
    /// K is off by at most that much.
    pub errors: [f64; BLOCK],
    /// K's real part is at most that much, here and further up.
    pub envelopes: [f64; BLOCK],
}

/// A run in one direction.
pub(super) struct Run<'a, 'w> {
    pub parts: Parts<'a>,
    pub direction: Direction,
    pub tables: &'a mut Tables<'w>,
}

impl Run<'_, '_> {
    /// Cumulants at real `t > 0`.
    pub fn real(&mut self, t: f64) -> Result<Cumulants, AccountingError> {
        let mu_sq = self.parts.mu_sq;
        let mut total = Cumulants {
            k0: 0.5 * (t * t + t) * mu_sq,
            k1: (t + 0.5) * mu_sq,
            k2: mu_sq,
        };
        let (w, sign) = power(self.direction, t);
        for (owner, (law, count)) in self.parts.others().enumerate() {
            let scope = real_scope(&law, w, digits(count));
            let one = moment(self.tables.get(owner, &law, &scope)?, w);
            total.k0 += count * one.k0;
            total.k1 += count * sign * one.k1;
            total.k2 += count * one.k2;
        }
        if total.k0.is_finite() && total.k1.is_finite() && total.k2.is_finite() {
            Ok(total)
        } else {
            Err(AccountingError::OutOfRange { value: t })
        }
    }

    /// K at `t + i h (k + 1/2)`, k = first..first + BLOCK. `periodic`: the line ends with half of the period of
    /// a lattice that all losses are on.
    pub fn block(
        &mut self,
        (t, h): (f64, f64),
        first: usize,
        reach: usize,
        periodic: bool,
    ) -> Result<Block, AccountingError> {
        let mut block = Block {
            values: [Complex::ZERO; BLOCK],
            errors: [0.0; BLOCK],
            envelopes: [0.0; BLOCK],
        };
        let tau = |k: usize| h * ((first + k) as f64 + 0.5);
        if self.parts.mu_sq > 0.0 {
            for k in 0..BLOCK {
                let z = Complex::new(t, tau(k));
                block.values[k] = z.mul(z).add(z).scale(0.5 * self.parts.mu_sq);
                block.envelopes[k] = block.values[k].re;
            }
        }
        let (w, sign) = power(self.direction, t);
        for (owner, (law, count)) in self.parts.others().enumerate() {
            let line = Line {
                w,
                h: sign * h,
                first,
            };
            let digits = digits(count);
            let scope = Scope {
                low: w,
                high: w,
                frequency: h * reach.max(first + BLOCK) as f64,
                digits,
                part: Part::Whole,
            };
            let nodes = self.tables.get(owner, &law, &scope)?;
            let level = moment(nodes, w).k0;
            let (values, errors) = (&mut block.values, &mut block.errors);
            let logarithms = line.add(nodes, level, count, digits, values, errors);
            let atoms = Atoms::new(&law, nodes, w, level, periodic);
            for (k, ln) in logarithms.into_iter().enumerate() {
                block.envelopes[k] += count * atoms.at(sign * tau(k), ln);
            }
        }
        Ok(block)
    }

    /// The nodes of one law for the power of `t + i tau`.
    pub fn table(
        &mut self,
        owner: usize,
        law: &Law,
        count: f64,
        t: f64,
        tau: f64,
    ) -> Result<&[Node], AccountingError> {
        let (w, _) = power(self.direction, t);
        let scope = Scope {
            low: w,
            high: w,
            frequency: tau,
            digits: digits(count),
            part: Part::Whole,
        };
        self.tables.get(owner, law, &scope)
    }

    /// The nodes of one law on one side of an edge, for the powers of a line up to `frequency`.
    pub fn part(
        &mut self,
        owner: usize,
        law: &Law,
        (t, frequency): (f64, f64),
        digits: f64,
        part: Part,
    ) -> Result<&[Node], AccountingError> {
        let (w, _) = power(self.direction, t);
        let scope = Scope {
            low: w,
            high: w,
            frequency,
            digits,
            part,
        };
        self.tables.get(owner, law, &scope)
    }

    /// A number that the privacy loss never exceeds; infinite where there is none.
    pub fn largest_loss(&self) -> f64 {
        if self.parts.mu_sq > 0.0 {
            return f64::INFINITY;
        }
        let sum: f64 = self
            .parts
            .others()
            .map(|(law, count)| count * largest_loss(&law, self.direction))
            .sum();
        sum * (1.0 + 1e-12)
    }
}

/// Natural digits that one inner sum must keep so that `count` of them together lose nothing.
pub(super) fn digits(count: f64) -> f64 {
    38.0 + libm::log(count)
}

/// A scope for real powers that will serve the next ones too, while that is cheap.
fn real_scope(law: &Law, w: f64, digits: f64) -> Scope {
    let slope = match law {
        Law::Mixture(pair) => pair.slope(),
        Law::TwoSided { mu, .. } | Law::Replaced { mu, .. } | Law::Laplace { mu, .. } => 2.0 * mu,
        Law::Truncated { mu, .. } => 4.0 * mu,
        Law::DiscreteGaussian { sigma, sensitivity } => f64::from(*sensitivity) / sigma,
        _ => 0.0,
    };
    let (mut low, mut high) = (w, w);
    if (2.0 * w * slope).abs() <= WIDE {
        // Powers of two, so that a search doesn't make nodes anew at each of its steps.
        let widest = libm::exp2(libm::ceil(libm::log2(w.abs().max(1.0) * 1.5)));
        (low, high) = if w > 0.0 {
            (0.0, widest)
        } else {
            (-widest, 1.0)
        };
    }
    Scope {
        low,
        high,
        frequency: 0.0,
        digits,
        part: Part::Whole,
    }
}

/// `log sum weight e^{w loss}` and its first two derivatives by w.
pub(super) fn moment(nodes: &[Node], w: f64) -> Cumulants {
    let mut top = f64::NEG_INFINITY;
    for node in nodes {
        top = top.max(node.ln_weight + w * node.loss);
    }
    let (mut s0, mut s1, mut s2) = (0.0, 0.0, 0.0);
    for node in nodes {
        let ln = node.ln_weight + w * node.loss - top;
        if ln < -46.0 {
            continue;
        }
        let term = libm::exp(ln);
        s0 += term;
        s1 += term * node.loss;
        s2 += term * node.loss * node.loss;
    }
    let (mean, square) = (s1 / s0, s2 / s0);
    Cumulants {
        k0: top + libm::log(s0),
        k1: mean,
        k2: (square - mean * mean).max(0.0),
    }
}

/// Supremum of one event's loss.
fn largest_loss(law: &Law, direction: Direction) -> f64 {
    let remove = direction == Direction::Remove;
    match law {
        Law::Mixture(pair) if !remove => -pair.ln_floor(),
        Law::Laplace { rate, mu } => {
            if remove {
                libm::log1p(rate * libm::expm1(*mu)).min(*mu)
            } else {
                -libm::log1p(rate * libm::expm1(-mu))
            }
        }
        Law::Lattice(lattice) => lattice.top,
        _ => f64::INFINITY,
    }
}
