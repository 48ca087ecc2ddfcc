//! Nodes against a rule that is far finer than they are.

extern crate std;

use super::*;
use crate::accounting::exact::nodes::Edge;
use crate::accounting::law::Direction;
use proptest::prelude::*;
use std::vec;
use std::vec::Vec;

/// Half-width of a panel that is fine for anything here.
const FINE: f64 = 0.02;

fn between(low: f64, high: f64) -> impl Strategy<Value = f64> {
    (low..high).prop_map(f64::exp)
}

fn laws() -> impl Strategy<Value = Law> {
    (between(-9.0, -0.1), between(-2.0, 1.0), 0u32..5).prop_map(|(rate, mu, kind)| match kind {
        0 => Law::Mixture(Mixture::record(rate, mu)),
        1 => Law::Mixture(Mixture::binomial(rate, 1.0 / mu, 3)),
        2 => Law::TwoSided { rate, mu },
        3 => Law::Truncated {
            rate,
            mu,
            share: 0.3,
            other_rate: 0.5 * rate,
        },
        _ => Law::Replaced { rate, mu },
    })
}

/// `log sum share r^w` over all outputs, by panels of one small width as far as anything can count.
fn by_hand(law: &Law, w: f64, share: impl Fn(f64) -> f64) -> f64 {
    let mut terms = Vec::new();
    let mut line = |density: &Density<'_>, ln_part: f64, from: f64, mirrored: bool| {
        let (low, to) = density.range(160.0, w.min(1.0 - w), w.max(1.0 - w));
        let mut y = from.max(low);
        while y < to {
            for (node, weight) in panel::rule() {
                let at = density.at(y + FINE * (1.0 + node));
                let ln = ln_part + at.ln_base + libm::log(FINE * weight);
                terms.push(ln + w * at.loss + share(at.loss));
                if mirrored {
                    terms.push(ln + (1.0 - w) * at.loss + share(-at.loss));
                }
            }
            y += 2.0 * FINE;
        }
    };
    let everywhere = f64::NEG_INFINITY;
    match law {
        Law::Mixture(pair) => line(&Density::Mixture(pair), 0.0, everywhere, false),
        Law::TwoSided { rate, mu } => line(&two_sided(*rate, *mu), 0.0, everywhere, false),
        Law::Truncated {
            rate,
            mu,
            share,
            other_rate,
        } => {
            let first = Mixture::record(*rate, *mu);
            line(
                &Density::Mixture(&first),
                (-share).ln_1p(),
                everywhere,
                false,
            );
            let second = two_sided(*other_rate, 2.0 * mu);
            line(&second, share.ln(), everywhere, false);
        }
        Law::Replaced { rate, mu } => {
            let pair = Mixture::record(*rate, *mu);
            line(&Density::Mixture(&pair), 0.0, 0.5 * mu, true);
            let rest = (1.0 - rate) * libm::erf(0.5 * mu * core::f64::consts::FRAC_1_SQRT_2);
            terms.push(rest.ln() + share(0.0));
        }
        _ => {}
    }
    let top = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    top + terms.iter().map(|ln| (ln - top).exp()).sum::<f64>().ln()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// However little is above an edge or below it, its nodes know it to the digits that are asked of them.
    #[test]
    #[cfg_attr(miri, ignore = "a rule that is far finer than the nodes takes Miri many minutes")]
    fn one_side_of_an_edge_is_known_against_itself(
        law in laws(),
        t in between(-2.0, 4.5),
        at in between(-2.5, 1.5),
        frequency in between(-1.0, 3.0),
        remove: bool,
    ) {
        let (w, direction) = if remove { (1.0 + t, Direction::Remove) } else { (-t, Direction::Add) };
        let edge = Edge { direction, loss: at };
        let whole = by_hand(&law, w, |_| 0.0);
        let above = Part::Above { edge, floor: 0.0 };
        let true_above = by_hand(&law, w, |loss| above.ln_share(loss));
        let true_below = by_hand(&law, w, |loss| Part::Below(edge).ln_share(loss));
        for (part, truth, digits) in [
            (Part::Above { edge, floor: true_above.max(whole - 60.0) }, true_above, 38.0),
            (Part::Below(edge), true_below, 24.0),
        ] {
            let mut nodes = vec![Node::EMPTY; 1 << 16];
            let scope = Scope { low: w, high: w, frequency, digits, part };
            let Ok(len) = fill(&law, &scope, &mut nodes) else { return Ok(()); };
            let sum: f64 = nodes[..len]
                .iter()
                .map(|node| (node.ln_weight + w * node.loss + part.ln_share(node.loss) - truth).exp())
                .sum();
            // What isn't counted is small against the floor; what is is off by ulps of its logarithms.
            let missed = 8.0 * (part.floor() - truth - digits).exp();
            let ulps = 16.0 * f64::EPSILON * (500.0 + 2.0 * truth.abs() + 30.0 * w.abs());
            prop_assert!(
                (sum - 1.0).abs() <= missed + ulps,
                "{law:?} w {w} {part:?}: {sum} of e^{truth}, whole e^{whole}, may miss {missed:e}"
            );
        }
    }
}
