//! The ceilings against sums over nodes.

extern crate std;

use super::*;
use crate::accounting::exact::cumulants::{Kept, Parts, Tables};
use crate::accounting::exact::fill::fill;
use crate::accounting::exact::nodes::{Part, Scope};
use crate::accounting::law::{Direction, Law};
use crate::accounting::mixture::Mixture;
use crate::accounting::{Adjacency, Event};
use crate::common::sized;
use proptest::prelude::*;
use std::vec;
use std::vec::Vec;

/// `|E r^{a + i tau}|` in units of `e^level` as a sum over nodes that are fine enough for it.
fn size(nodes: &[Node], a: f64, level: f64, tau: f64, share: impl Fn(&Node) -> f64) -> f64 {
    let mut sum = Complex::ZERO;
    for node in nodes {
        let (sin, cos) = libm::sincos(tau * node.loss);
        let weight = share(node) * libm::exp(node.ln_weight + a * node.loss - level);
        sum = sum.add(Complex::new(cos, sin).scale(weight));
    }
    sum.abs()
}

fn table(law: &Law, a: f64, frequency: f64, part: Part) -> Option<(Vec<Node>, f64)> {
    let mut nodes = vec![Node::EMPTY; sized(1 << 17, 1 << 12)];
    let scope = Scope {
        low: a,
        high: a,
        frequency,
        digits: 38.0,
        part,
    };
    let len = fill(law, &scope, &mut nodes).ok()?;
    nodes.truncate(len);
    let level = moment(&nodes, a).k0;
    Some((nodes, level))
}

fn rates() -> impl Strategy<Value = f64> {
    (0.0f64..9.0).prop_map(|x| 0.9 * (-x).exp())
}

fn between(low: f64, high: f64) -> impl Strategy<Value = f64> {
    (low..high).prop_map(f64::exp)
}

fn laws() -> impl Strategy<Value = Law> {
    (rates(), between(-2.0, 2.0), 0u32..6).prop_map(|(rate, mu, kind)| match kind {
        0 => Law::Mixture(Mixture::record(rate, mu)),
        1 => Law::Mixture(Mixture::binomial(rate, 1.0 / mu, 3)),
        2 => Law::TwoSided { rate, mu },
        3 => Law::Truncated {
            rate,
            mu,
            share: 0.3,
            other_rate: 0.5 * rate,
        },
        4 => Law::Replaced { rate, mu },
        _ => Law::Laplace { rate, mu },
    })
}

fn events() -> impl Strategy<Value = (Event, Adjacency)> {
    (rates(), between(-2.0, 2.0), 0u32..5).prop_map(|(rate, sigma, kind)| match kind {
        0 => (Event::PoissonGaussian { rate, sigma }, Adjacency::AddRemove),
        1 => (
            Event::PoissonGaussian { rate, sigma },
            Adjacency::ReplaceOne,
        ),
        2 => (
            Event::FixedSizeGaussian {
                population: 10_000,
                batch: (rate * 1e4) as u64 + 1,
                sigma,
            },
            Adjacency::ReplaceOne,
        ),
        3 => (
            Event::PoissonLaplace { rate, scale: sigma },
            Adjacency::AddRemove,
        ),
        _ => (
            Event::GroupPoissonGaussian {
                rate,
                sigma,
                group: 3,
            },
            Adjacency::AddRemove,
        ),
    })
}

/// Where the sums are asked, in units of where the bound begins.
const TIMES: &[f64] = sized(&[1.0, 1.03, 1.3, 2.1, 4.7, 8.0], &[1.0]);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(sized(300, 1)))]

    #[test]
    fn no_moment_above_is_larger_than_on_a_turned_path(
        law in laws(),
        t in between(-2.0, 3.0),
        turns in between(-3.0, 5.0),
        enough in between(-5.0, 4.0),
        remove: bool,
    ) {
        let a = if remove { 1.0 + t } else { -t };
        let Some((plain, level)) = table(&law, a, 0.0, Part::Whole) else { return Ok(()); };
        let deviation = moment(&plain, a).k2.sqrt();
        let tau = turns / deviation.max(1e-12);
        let aim = Aim {
            a,
            level,
            tau,
            digits: 7.0 + enough,
            highest: turns.clamp(1e-3, 8.0),
            enough,
        };
        let bound = turned(&law, &aim);
        let Some((nodes, level)) = table(&law, a, 8.0 * tau, Part::Whole) else { return Ok(()); };
        for &times in TIMES {
            let here = size(&nodes, a, level, times * tau, |_| 1.0);
            prop_assert!(
                here <= bound + 1e-12,
                "{law:?} a {a} tau {tau} x {times}: {here:e} above {bound:e}"
            );
        }
    }

    #[test]
    fn nothing_above_an_edge_is_larger(
        law in laws(),
        t in between(-2.0, 2.0),
        at in between(-3.0, 1.0),
        turns in between(-2.0, sized(4.0, -1.0)),
        remove: bool,
    ) {
        prop_assume!(!matches!(law, Law::Laplace { .. }));
        let a = if remove { 1.0 + t } else { -t };
        let direction = if remove { Direction::Remove } else { Direction::Add };
        let edge = Edge { direction, loss: at };
        let tau = turns / at;
        let Some((_, level)) = table(&law, a, 0.0, Part::Whole) else { return Ok(()); };
        let above = Part::Above { edge, floor: level };
        let Some((nodes, _)) = table(&law, a, 4.0 * tau, above) else { return Ok(()); };
        let bound = turned_above(&law, a, level, tau, edge);
        for times in [1.0, 1.3, 2.1, 4.0] {
            let here = size(&nodes, a, level, times * tau, |node| edge.shares(node.loss).0);
            prop_assert!(
                here <= bound + 1e-13,
                "{law:?} a {a} edge {at} tau {tau} x {times}: {here:e} above {bound:e}"
            );
        }
    }

    #[test]
    fn a_look_covers_its_neighbourhood(
        law in laws(),
        t in between(-2.0, 3.0),
        turns in between(-2.0, 3.0),
        step in between(-5.0, 1.0),
        remove: bool,
    ) {
        let a = if remove { 1.0 + t } else { -t };
        let Some((plain, level)) = table(&law, a, 0.0, Part::Whole) else { return Ok(()); };
        let mut spread = Spread::new(&plain, a, 1.0);
        let (tau, distance) = (turns / spread.deviation, step / spread.deviation);
        let Some((nodes, _)) = table(&law, a, tau + distance, Part::Whole) else { return Ok(()); };
        spread.look(&nodes, a, tau);
        for times in [-1.0, -0.7, 0.0, 0.7, 1.0] {
            let here = size(&nodes, a, level, tau + times * distance, |_| 1.0).ln();
            prop_assert!(here <= spread.around(distance) + 1e-9, "{law:?} a {a} tau {tau} {times} x {distance}: {here:e}");
        }
    }

    #[test]
    fn no_moment_above_is_larger(
        (event, adjacency) in events(),
        t in between(-2.0, 3.0),
        turns in between(-1.0, sized(4.0, 1.0)),
        count in between(0.0, 14.0),
        remove: bool,
    ) {
        let count = count.floor();
        let Some(found) = ceiling(event, adjacency, count, t, turns, remove) else { return Ok(()); };
        prop_assert!(found.bound <= found.rounding);
        for &times in TIMES {
            let Some(here) = found.at(times) else { return Ok(()); };
            prop_assert!(
                here <= found.bound + found.rounding,
                "{event:?} x {count} t {t} tau {} x {times}: {here:e} above {:e}", found.tau, found.bound
            );
        }
    }
}

/// A ceiling from `turns` deviations of the run's loss on.
struct Found {
    law: Law,
    a: f64,
    count: f64,
    tau: f64,
    bound: f64,
    /// The two tables' levels may differ by that.
    rounding: f64,
}

impl Found {
    /// No more than what is left there: a sum of weights that cancel is only known to some ulps of one.
    fn at(&self, times: f64) -> Option<f64> {
        let (nodes, level) = table(&self.law, self.a, times * self.tau, Part::Whole)?;
        let size = size(&nodes, self.a, level, times * self.tau, |_| 1.0);
        Some(self.count * (size - 1e-12).max(f64::MIN_POSITIVE).ln())
    }
}

fn ceiling(
    event: Event,
    adjacency: Adjacency,
    count: f64,
    t: f64,
    turns: f64,
    remove: bool,
) -> Option<Found> {
    let a = if remove { 1.0 + t } else { -t };
    let law = event.law(adjacency).ok()?;
    let (plain, level) = table(&law, a, 0.0, Part::Whole)?;
    let tau = turns / (moment(&plain, a).k2 * count).sqrt();
    let mut nodes = vec![Node::EMPTY; sized(1 << 16, 1 << 12)];
    let events = [(event, count as u64)];
    let mut run = Run {
        parts: Parts {
            adjacency,
            events: &events,
            mu_sq: 0.0,
            others: 1,
            kept: Kept::default(),
        },
        direction: if remove {
            Direction::Remove
        } else {
            Direction::Add
        },
        tables: &mut Tables::new(&mut nodes, 1),
    };
    let bound = ln_ceiling(&mut run, t, tau).ok()? - count * level;
    Some(Found {
        law,
        a,
        count,
        tau,
        bound,
        rounding: 1e-9 + 1e-13 * count * (1.0 + level.abs()),
    })
}

/// A bound that says nothing would pass the others.
#[test]
fn the_bound_dies_down_nearly_as_the_moments_do() {
    let mut wide = Vec::new();
    for (rate, sigma, t) in [
        (0.01, 1.0, 8.0),
        (0.01, 1.0, 0.5),
        (0.001, 0.6, 6.0),
        (0.2, 4.0, 20.0),
        (0.004, 0.4, 3.0),
    ]
    .into_iter()
    .take(sized(5, 1))
    {
        // Few steps need some more of the line.
        for (count, turns) in [
            (10.0, 38.0),
            (100.0, 9.5),
            (1e4, 9.5),
            (1e6, 9.5),
            (1e9, 9.5),
        ]
        .into_iter()
        .skip(sized(0, 4))
        {
            for remove in [true, false] {
                let event = Event::PoissonGaussian { rate, sigma };
                let found =
                    ceiling(event, Adjacency::AddRemove, count, t, turns, remove).expect("nodes");
                let here = found.at(1.0).expect("nodes");
                if here < -5.0 && found.bound > 0.5 * here.max(-42.0) {
                    wide.push((rate, sigma, t, count, remove, here, found.bound));
                }
            }
        }
    }
    assert!(wide.is_empty(), "{wide:#?}");
}
