//! The hardened mode: what rounding to the grid moves, what the plan leaves, what is released.

mod common;

use common::sized;
use dp_core::clipping::MIN_CLIP;
use dp_core::noise::discrete::fill_discrete_gaussian;
use dp_core::noise::hardened::{MAX_GRID_STEPS, to_grid};
use dp_core::noise::{Hardened, HardenedDraw, HardenedError, Key};
use dp_core::reference::release_hardened;
use proptest::prelude::*;

/// Any float: all bit patterns, and those near halves of a step.
fn value() -> impl Strategy<Value = f32> {
    prop_oneof![
        any::<u32>().prop_map(f32::from_bits),
        -20.0f32..20.0,
        (-40i32..40, -2i32..3).prop_map(|(half, ulps)| {
            let value = half as f32 * 0.5;
            f32::from_bits((value.to_bits() as i32 + ulps).max(0) as u32)
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(sized(20_000, 50)))]

    #[test]
    fn a_step_is_the_nearest(x in value(), exponent in -20i32..20) {
        let grid = 2f64.powi(exponent);
        let got = to_grid(x, (1.0 / grid) as f32);
        let exact = f64::from(x) / grid;
        if exact.is_nan() {
            prop_assert_eq!(got, 0);
        } else if exact.abs() >= f64::from(MAX_GRID_STEPS) {
            prop_assert_eq!(got, if exact > 0.0 { MAX_GRID_STEPS } else { -MAX_GRID_STEPS });
        } else {
            prop_assert!((f64::from(got) - exact).abs() <= 0.5, "{} {}", got, exact);
        }
    }

    /// Between any two values: their distance and one step, no more.
    #[test]
    fn two_values_move_apart_by_a_step_at_most(x in -1e4f32..1e4, y in -1e4f32..1e4) {
        let moved = (f64::from(to_grid(x, 1.0)) - f64::from(to_grid(y, 1.0))).abs();
        prop_assert!(moved <= (f64::from(x) - f64::from(y)).abs() + 1.0);
    }
}

/// Neighbouring sums just below and just above halves: the plan's bound holds, and is all but reached. Half of it, `sqrt(d) grid / 2`,
/// which would do if each example were rounded by itself, does not.
#[test]
fn the_rounding_of_two_sums_is_charged_whole() {
    let d = 10_000usize;
    let plan = Hardened::plan(1.0, 1.0, 0.0, d as u64, -8).unwrap();
    let grid = f64::from(plan.grid());
    let root = (d as f64).sqrt();
    // The example's gradient is the same in every coordinate: a little over one step, and within the clipping norm.
    let norm = 1.001 * grid * root;
    assert!(norm <= f64::from(plan.clip()));
    let inverse = (1.0 / grid) as f32;
    let moved = |from: f64| {
        let ends = [from, from + norm / root].map(|x| to_grid(x as f32, inverse));
        f64::from(ends[1] - ends[0]) * grid * root
    };
    let worst = (0..2000)
        .step_by(sized(1, 499))
        .map(|offset| moved(f64::from(offset) * grid / 1000.0))
        .fold(0.0, f64::max);
    let whole = norm + root * grid;
    assert!(worst <= whole && worst > 0.999 * whole, "{worst} {whole}");
    let half = norm + 0.5 * root * grid;
    assert!(worst > 1.3 * half, "{worst} {half}");
    assert!(f64::from(plan.clip()) + root * grid <= 1.0);
}

#[test]
fn a_plan_leaves_what_it_says() {
    // sqrt(10^6) 2^-14 = 0.061 of a sensitivity of 1.
    let plan = Hardened::plan(1.1, 1.0, 0.01, 1_000_000, -14).unwrap();
    let left = (1.0 - 1000.0 / 16384.0) / 1.01;
    assert!(f64::from(plan.clip()) <= left && f64::from(plan.clip()) > left * 0.999_999);
    assert_eq!(plan.sigma(), 18_023); // ceil(1.1 * 16384)
    assert!(plan.noise_multiplier() >= 1.1 && plan.noise_multiplier() < 1.1001);
    assert_eq!(plan.grid(), 2f32.powi(-14));
    let distance = 1000.0 * 10.0 / (12.0 * 18_023f64.powi(2));
    assert!((plan.distance_from_gaussian(10) / distance - 1.0).abs() < 1e-9);
    let narrow = Hardened::plan(1.0, 1.0, 0.0, 1, -1).unwrap();
    // A step more than 2, since 1 / 0.5 may have been rounded down.
    assert_eq!((narrow.sigma(), narrow.clip() < 0.5), (3, true));
    assert_eq!(narrow.distance_from_gaussian(1), f64::INFINITY);
}

#[test]
fn plans_that_cannot_be_are_refused() {
    let plan = Hardened::plan;
    let coarse = |answer| matches!(answer, Err(HardenedError::GridTooCoarse { .. }));
    assert!(coarse(plan(1.0, 1.0, 0.0, 1_000_000, -9)));
    assert!(coarse(plan(1.0, 1.0, 0.0, 1, 0)));
    assert!(coarse(plan(1.0, f64::from(MIN_CLIP), 0.5, 1, -60)));
    let fine = plan(1.0, 1.0, 0.0, 100, -25);
    assert_eq!(
        fine,
        Err(HardenedError::GridTooFine {
            steps: 33_554_433.0
        })
    );
    assert!(plan(0.9, 1.0, 0.0, 100, -24).is_ok());
    for (sigma, sensitivity, eta, elements, exponent) in [
        (0.0, 1.0, 0.0, 1, -10),
        (f64::NAN, 1.0, 0.0, 1, -10),
        (1.0, 0.0, 0.0, 1, -10),
        (1.0, f64::INFINITY, 0.0, 1, -10),
        (1.0, 1.0, -0.1, 1, -10),
        (1.0, 1.0, f64::NAN, 1, -10),
        (1.0, 1.0, 0.0, 0, -10),
        (1.0, 1.0, 0.0, 1, -61),
    ] {
        let answer = plan(sigma, sensitivity, eta, elements, exponent);
        assert!(
            matches!(answer, Err(HardenedError::Number { .. })),
            "{answer:?}"
        );
    }
}

#[test]
fn what_is_released_is_the_noised_step() {
    const LEN: usize = sized(300, 20);
    let plan = Hardened::plan(1.0, 1.0, 0.0, 300, -10).unwrap();
    let key = Key::new([9; 8]);
    let sum: Vec<f32> = (0..LEN).map(|i| (i as f32 - 150.0) * 0.013).collect();
    let mut released = sum.clone();
    let draw = HardenedDraw {
        first_element: 40,
        plan,
        key: &key,
        step: 3,
        tensor: 4,
    };
    release_hardened(&mut released, &draw).unwrap();
    let mut noise = [0; LEN];
    fill_discrete_gaussian(&mut noise, 40, plan.sigma(), &key, 3, 4).unwrap();
    for i in 0..LEN {
        let step = f64::from(released[i]) * 1024.0;
        assert_eq!(step.fract(), 0.0, "on the grid");
        let exact = (f64::from(sum[i]) * 1024.0).round();
        assert_eq!(step, exact + f64::from(noise[i]));
    }
}

/// An f64 sum is rounded to f32 before it is rounded to the grid: here that makes a half of what was below it, and so another step.
#[test]
fn an_f64_sum_is_released_as_the_f32_that_it_rounds_to() {
    let plan = Hardened::plan(1.0, 1.0, 0.0, 300, -10).unwrap();
    let key = Key::new([9; 8]);
    let draw = || HardenedDraw {
        first_element: 0,
        plan,
        key: &key,
        step: 3,
        tensor: 4,
    };
    let grid = f64::from(plan.grid());
    let below_a_half = |i: i32| (f64::from(i) + 0.5 - 1e-12) * grid;
    let mut wide: Vec<f64> = (0..64).map(below_a_half).collect();
    let mut narrow: Vec<f32> = wide.iter().map(|x| *x as f32).collect();
    release_hardened(&mut wide, &draw()).unwrap();
    release_hardened(&mut narrow, &draw()).unwrap();
    let mut noise = [0; 64];
    fill_discrete_gaussian(&mut noise, 0, plan.sigma(), &key, 3, 4).unwrap();
    for i in 0..64 {
        assert_eq!(wide[i], f64::from(narrow[i]));
        let step = wide[i] / grid - f64::from(noise[i]);
        assert_eq!(step, f64::from(i as u32 + 1));
    }
}

/// The bound on the distance to a rounded Gaussian, against the distance itself, for one element.
#[test]
fn the_distance_from_a_rounded_gaussian_is_bounded() {
    for (sensitivity, sigma) in [(1.0, 4u32), (2.0, 8), (8.0, 32)] {
        let plan = Hardened::plan(1.0, sensitivity, 0.0, 1, -2).unwrap();
        assert_eq!(plan.sigma(), sigma + 1);
        let s = f64::from(plan.sigma());
        let cdf = |x: f64| 0.5 * libm::erfc(-x / (s * std::f64::consts::SQRT_2));
        let reach = 12 * i64::from(plan.sigma());
        let weight = |k: i64| (-(k as f64).powi(2) / (2.0 * s * s)).exp();
        let total: f64 = (-reach..=reach).map(weight).sum();
        let distance: f64 = (-reach..=reach)
            .map(|k| (weight(k) / total - (cdf(k as f64 + 0.5) - cdf(k as f64 - 0.5))).abs())
            .sum::<f64>()
            / 2.0;
        let bound = plan.distance_from_gaussian(1);
        assert!(
            distance <= bound && distance > bound / 10.0,
            "{s}: {distance:e} {bound:e}"
        );
    }
}
