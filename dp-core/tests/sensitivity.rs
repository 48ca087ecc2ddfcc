//! Sums of clipped vectors in f32: how far neighbouring sums lie apart, against `eta`.

mod common;

use common::sized;
use dp_core::clipping::{CLIP_SLACK, flat_factor};
use dp_core::sensitivity::{ClippedSum, Order, SensitivityError};
use proptest::prelude::*;

fn sequential(terms: u64) -> ClippedSum {
    ClippedSum {
        terms,
        // One more for the product with the clip factor.
        sum_depth: Order::Sequential.depth(terms) + 1,
        norm_depth: 2,
        cancellation: 1.0,
    }
}

fn sum(order: Order, terms: &[f32]) -> f32 {
    match order {
        Order::Sequential => terms.iter().fold(0.0, |sum, x| sum + x),
        Order::Pairwise => match terms {
            [] => 0.0,
            [x] => *x,
            _ => {
                let (left, right) = terms.split_at(terms.len().next_power_of_two() / 2);
                sum(order, left) + sum(order, right)
            }
        },
        Order::Blocked { block } => terms
            .chunks(block as usize)
            .map(|terms| sum(Order::Sequential, terms))
            .fold(0.0, |sum, x| sum + x),
    }
}

/// Terms just above half a unit in the last place of 1, and the example that moves the sum to 2,
/// where they round up instead of down: the textbook sensitivity is exceeded, `eta` holds.
#[test]
fn f32_sums_exceed_the_textbook_sensitivity_but_not_eta() {
    const SMALL: usize = 10_000;
    let small = 1.4 * 2f32.powi(-23);
    let mut terms = vec![small; SMALL + 2];
    terms[..2].fill(1.0);
    let with = f64::from(sum(Order::Sequential, &terms));
    let without = f64::from(sum(Order::Sequential, &terms[1..]));
    let moved = (with - without).abs();
    assert!(
        moved > 1.0 + 500.0 * CLIP_SLACK,
        "the construction must bite: {moved}"
    );

    let eta = sequential(terms.len() as u64).eta().unwrap();
    assert!(moved <= 1.0 + eta, "{moved} {eta}");
}

fn order() -> impl Strategy<Value = Order> {
    prop_oneof![
        Just(Order::Sequential),
        Just(Order::Pairwise),
        (1u64..20).prop_map(|block| Order::Blocked { block }),
    ]
}

proptest! {
    /// Random vectors with coordinates of very different sizes, clipped, with and without one of them.
    #[test]
    fn neighbouring_sums_are_within_eta(
        examples in prop::collection::vec(
            prop::collection::vec((-1.0f32..1.0, -20i32..20), 3), 2..40),
        left_out in 0usize..40,
        clip in 0.001f32..10.0,
        order in order(),
    ) {
        let left_out = left_out % examples.len();
        let clipped: Vec<Vec<f32>> = examples.iter().map(|example| {
            let g: Vec<f32> = example.iter().map(|(x, e)| x * 2f32.powi(*e)).collect();
            let factor = flat_factor(g.iter().map(|x| x * x).sum(), clip);
            g.iter().map(|x| x * factor).collect()
        }).collect();
        let (mut moved, n) = (0.0, examples.len());
        for coordinate in 0..3 {
            let column = |skip: usize| -> Vec<f32> {
                let kept = clipped.iter().enumerate().filter(|(i, _)| *i != skip);
                kept.map(|(_, g)| g[coordinate]).collect()
            };
            let difference =
                f64::from(sum(order, &column(n))) - f64::from(sum(order, &column(left_out)));
            moved += difference * difference;
        }
        let eta = ClippedSum {
            terms: n as u64,
            sum_depth: order.depth(n as u64) + 1,
            norm_depth: 1 + 3,
            cancellation: 1.0,
        }.eta().unwrap();
        prop_assert!(moved.sqrt() <= f64::from(clip) * (1.0 + eta), "{} {eta}", moved.sqrt());
    }
}

/// Counts the additions that a term goes through, by summing depths instead of numbers.
fn counted_depth(order: Order, n: u64) -> u64 {
    fn chain(depths: &[u64]) -> u64 {
        depths
            .iter()
            .copied()
            .reduce(|sum, x| sum.max(x) + 1)
            .unwrap_or(0)
    }
    fn tree(n: u64) -> u64 {
        if n <= 1 { 0 } else { 1 + tree(n.div_ceil(2)) }
    }
    match order {
        Order::Sequential => chain(&vec![0; n as usize]),
        Order::Pairwise => tree(n),
        Order::Blocked { block } => {
            let sums: Vec<u64> = vec![0; n as usize]
                .chunks(block as usize)
                .map(chain)
                .collect();
            chain(&sums)
        }
    }
}

#[test]
fn depths_are_those_of_the_order() {
    for n in (0..200).step_by(sized(1, 19)) {
        assert_eq!(
            Order::Sequential.depth(n),
            counted_depth(Order::Sequential, n)
        );
        assert_eq!(
            Order::Pairwise.depth(n),
            counted_depth(Order::Pairwise, n),
            "{n}"
        );
        for block in (1..30).step_by(sized(1, 7)) {
            let order = Order::Blocked { block };
            assert!(order.depth(n) >= counted_depth(order, n), "{n} {block}");
            assert!(order.depth(n) <= counted_depth(order, n) + 1, "{n} {block}");
        }
    }
    assert_eq!(
        Order::Blocked { block: 0 }.depth(5),
        Order::Sequential.depth(5)
    );
    assert_eq!(Order::Pairwise.depth(u64::MAX), 64);
}

#[test]
fn eta_grows_with_each_argument_and_has_a_floor() {
    let base = ClippedSum {
        terms: 100,
        sum_depth: 10,
        norm_depth: 20,
        cancellation: 2.0,
    };
    let eta = base.eta().unwrap();
    for larger in [
        ClippedSum { terms: 101, ..base },
        ClippedSum {
            sum_depth: 11,
            ..base
        },
        ClippedSum {
            norm_depth: 21,
            ..base
        },
        ClippedSum {
            cancellation: 2.1,
            ..base
        },
    ] {
        assert!(larger.eta().unwrap() > eta, "{larger:?}");
    }
    // Without any rounding only the slack of the clip factor is left.
    let exact = ClippedSum {
        terms: 1,
        sum_depth: 0,
        norm_depth: 0,
        cancellation: 1.0,
    };
    let eta = exact.eta().unwrap();
    assert!((CLIP_SLACK..CLIP_SLACK * 1.001).contains(&eta), "{eta}");
    // A batch of a thousand in a tree costs a little over a tenth of a per cent.
    let tree = ClippedSum {
        terms: 1000,
        sum_depth: 11,
        norm_depth: 30,
        cancellation: 1.0,
    };
    assert!((0.0013..0.0014).contains(&tree.eta().unwrap()));
}

#[test]
fn sums_without_a_bound_are_refused() {
    let base = ClippedSum {
        terms: 100,
        sum_depth: 10,
        norm_depth: 20,
        cancellation: 1.0,
    };
    assert_eq!(
        ClippedSum { terms: 0, ..base }.eta(),
        Err(SensitivityError::Terms)
    );
    let depth = 1 << 22;
    assert!(
        ClippedSum {
            sum_depth: depth - 1,
            ..base
        }
        .eta()
        .is_ok()
    );
    for deep in [
        ClippedSum {
            sum_depth: depth,
            ..base
        },
        ClippedSum {
            norm_depth: depth,
            ..base
        },
    ] {
        assert_eq!(deep.eta(), Err(SensitivityError::Depth { depth }));
    }
    for cancellation in [0.99, 0.0, -1.0, f64::INFINITY, f64::NAN] {
        assert!(
            ClippedSum {
                cancellation,
                ..base
            }
            .eta()
            .is_err()
        );
    }
}
