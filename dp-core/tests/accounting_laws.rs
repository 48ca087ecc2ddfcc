//! What must hold for every run: monotone in each argument, blind to order and grouping, below the
//! Rényi bound, and a typed error for everything that is not a run.

mod common;

use common::sized;
use dp_core::accounting::{
    AccountingError, Bounds, Event, MAX_GROUP, calibrate_sigma, delta, epsilon, group_privacy,
};
use proptest::prelude::*;

fn sampled(rate: f64, sigma: f64) -> Event {
    Event::PoissonGaussian { rate, sigma }
}

/// Log of the Rényi moment E[(P/Q)^alpha] of one step at integer alpha, by the binomial expansion.
fn ln_moment(rate: f64, sigma: f64, alpha: u32) -> f64 {
    let mut terms = Vec::new();
    let mut ln_choose = 0.0f64;
    for k in 0..=alpha {
        if k > 0 {
            ln_choose += (f64::from(alpha - k + 1) / f64::from(k)).ln();
        }
        let (k, rest) = (f64::from(k), f64::from(alpha - k));
        terms.push(
            ln_choose
                + rest * (-rate).ln_1p()
                + k * rate.ln()
                + (k * k - k) / (2.0 * sigma * sigma),
        );
    }
    let top = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    top + terms.iter().map(|t| (t - top).exp()).sum::<f64>().ln()
}

/// Best delta that integer Rényi orders give (Canonne, Kamath, Steinke 2020, proposition 12).
fn renyi_delta(rate: f64, sigma: f64, steps: f64, epsilon: f64) -> f64 {
    (2..200u32)
        .map(|alpha| {
            let a = f64::from(alpha);
            steps * ln_moment(rate, sigma, alpha) - (a - 1.0) * epsilon
                + (a - 1.0) * (1.0 - 1.0 / a).ln()
                - a.ln()
        })
        .fold(0.0, f64::min)
        .exp()
}

#[test]
fn renyi_bound_is_above_the_exact_delta() {
    for (rate, sigma, steps, at) in [
        (0.01, 1.0, 10_000, 5.0),
        (0.004, 1.1, 14_000, 1.0),
        (0.1, 2.0, 500, 3.0),
        (0.001, 0.7, 100_000, 4.0),
        (0.5, 5.0, 100, 4.0),
    ]
    .into_iter()
    .take(sized(5, 1))
    {
        let exact = delta(&[(sampled(rate, sigma), steps)], at).expect("exact");
        let bound = renyi_delta(rate, sigma, steps as f64, at);
        assert!(bound >= exact.upper, "{bound} below {exact:?}");
        // It is a bound of the same quantity, not of something else.
        assert!(bound <= 100.0 * exact.lower, "{bound} far above {exact:?}");
    }
}

#[test]
fn order_and_grouping_do_not_matter() {
    // More steps are fewer nodes.
    let times = sized(1, 20);
    let (a, b, c) = (
        sampled(0.01, 1.0),
        sampled(0.05, 3.0),
        Event::Gaussian { sigma: 20.0 },
    );
    let whole = epsilon(&[(a, 600 * times), (b, 300 * times), (c, 2)], 1e-6).expect("epsilon");
    let split = epsilon(
        &[
            (c, 1),
            (b, 100 * times),
            (a, 600 * times - 1),
            (c, 1),
            (a, 1),
            (b, 200 * times),
        ],
        1e-6,
    )
    .expect("epsilon");
    assert!(
        (whole.estimate / split.estimate - 1.0).abs() < 1e-11,
        "{whole:?} {split:?}"
    );
    let unused = epsilon(
        &[
            (a, 600 * times),
            (sampled(0.5, 0.3), 0),
            (b, 300 * times),
            (c, 2),
        ],
        1e-6,
    )
    .expect("epsilon");
    assert_eq!(whole, unused);
    assert_eq!(
        epsilon(&[], 1e-6),
        Ok(Bounds {
            lower: 0.0,
            estimate: 0.0,
            upper: 0.0
        })
    );
}

#[test]
fn full_batch_is_the_gaussian_mechanism() {
    let full = epsilon(&[(sampled(1.0, 4.0), 100)], 1e-9).expect("epsilon");
    let gaussian = epsilon(&[(Event::Gaussian { sigma: 4.0 }, 100)], 1e-9).expect("epsilon");
    assert_eq!(full, gaussian);
    // A rate that is nearly one has to come near it through the contour.
    let nearly = epsilon(&[(sampled(1.0 - 1e-9, 4.0), 100)], 1e-9).expect("epsilon");
    assert!(
        (nearly.estimate / gaussian.estimate - 1.0).abs() < 1e-7,
        "{nearly:?} {gaussian:?}"
    );
    assert!(nearly.upper <= gaussian.upper);
}

/// One step has a closed form; the contour must agree with it when it is made to take the step
/// together with Gaussian noise too large to matter.
#[test]
fn contour_meets_the_single_step() {
    let rows = [(0.5, 2.0), (0.1, 1.0), (0.9, 5.0), (0.3, 0.5)];
    for (rate, sigma) in rows.into_iter().take(sized(4, 1)) {
        let closed = delta(&[(sampled(rate, sigma), 1)], 0.3).expect("closed form");
        let event = Event::Gaussian { sigma: 1e5 };
        let contour = delta(&[(sampled(rate, sigma), 1), (event, 1)], 0.3).expect("contour");
        assert!(contour.upper >= closed.lower);
        assert!(
            (contour.estimate / closed.estimate - 1.0).abs() < 1e-7,
            "{closed:?} {contour:?}"
        );
    }
}

#[test]
fn a_group_of_one_is_a_record() {
    let single = Event::GroupPoissonGaussian {
        rate: 0.01,
        sigma: 1.0,
        group: 1,
    };
    assert_eq!(
        epsilon(&[(single, 1000)], 1e-6),
        epsilon(&[(sampled(0.01, 1.0), 1000)], 1e-6)
    );
}

#[test]
fn a_group_costs_more_than_its_parts_and_less_than_the_generic_bound() {
    let (rate, sigma, steps) = (0.01, 2.0, 2000);
    let mut last = 0.0;
    for group in [1, 2, 4, 8, 16].into_iter().take(sized(5, 2)) {
        let event = Event::GroupPoissonGaussian { rate, sigma, group };
        let spent = epsilon(&[(event, steps)], 1e-6).expect("group");
        println!("group {group}: {spent:?}");
        assert!(spent.lower > last, "group {group}: {spent:?}");
        // All records at once in every sampled batch: rate as before, but k times the shift.
        let worst = epsilon(
            &[(
                sampled(
                    1.0 - (1.0 - rate).powi(group as i32),
                    sigma / f64::from(group),
                ),
                steps,
            )],
            1e-6,
        );
        if let Ok(worst) = worst {
            assert!(
                spent.upper <= worst.upper * (1.0 + 1e-9),
                "{spent:?} {worst:?}"
            );
        }
        last = spent.upper;
    }
    let record = epsilon(&[(sampled(rate, sigma), steps)], 1e-12).expect("record");
    let (generic, generic_delta) = group_privacy(record.upper, 1e-12, 4);
    let event = Event::GroupPoissonGaussian {
        rate,
        sigma,
        group: 4,
    };
    let tight = epsilon(&[(event, steps)], generic_delta).expect("group");
    assert!(tight.upper < generic, "{tight:?} {generic}");
}

/// A mixture by hand: the group's divergence of one step by summing the two tails directly.
#[test]
fn a_group_step_matches_direct_integration() {
    let (rate, sigma, group, at) = (0.2f64, 1.5f64, 3u32, 0.7f64);
    let density = |x: f64, mean: f64| {
        (-(x - mean) * (x - mean) / (2.0 * sigma * sigma)).exp()
            / (sigma * (2.0 * std::f64::consts::PI).sqrt())
    };
    let binomial = [0.512, 0.384, 0.096, 0.008];
    let (mut remove, mut add) = (0.0, 0.0);
    let nodes = sized(200_000, 4_000);
    let step = 20.0 / f64::from(nodes);
    for i in -nodes..nodes {
        let x = f64::from(i) * step;
        let q = density(x, 0.0);
        let p: f64 = (0..4).map(|j| binomial[j] * density(x, j as f64)).sum();
        remove += step * (p - at.exp() * q).max(0.0);
        add += step * (q - at.exp() * p).max(0.0);
    }
    let event = Event::GroupPoissonGaussian { rate, sigma, group };
    let exact = delta(&[(event, 1)], at).expect("closed form");
    let truth = f64::max(remove, add);
    assert!(
        (exact.estimate / truth - 1.0).abs() < sized(1e-6, 1e-4),
        "{exact:?} {truth}"
    );
}

/// A Gaussian event that does nothing takes a group's one step off its closed form.
#[test]
#[cfg_attr(miri, ignore = "its contour takes Miri many minutes")]
fn the_contour_meets_a_group_step() {
    let (rate, sigma, group, at) = (0.2, 1.5, 3, 0.7);
    let event = Event::GroupPoissonGaussian { rate, sigma, group };
    let exact = delta(&[(event, 1)], at).expect("closed form");
    let contour = delta(&[(event, 1), (Event::Gaussian { sigma: 1e6 }, 1)], at).expect("contour");
    assert!(
        (contour.estimate / exact.estimate - 1.0).abs() < 1e-8,
        "{contour:?} {exact:?}"
    );
}

#[test]
fn generic_group_bound_saturates() {
    assert_eq!(group_privacy(1.0, 1e-5, 1), (1.0, 1e-5));
    let (e, d) = group_privacy(0.5, 1e-6, 4);
    assert!((e - 2.0).abs() < 1e-12);
    assert!(d <= 4.0 * (1.5f64).exp() * 1e-6 && d > 4e-6);
    assert_eq!(group_privacy(1000.0, 1e-5, 16).1, 1.0);
    assert_eq!(group_privacy(f64::NAN, 1e-5, 16), (f64::INFINITY, 1.0));
    assert_eq!(
        group_privacy(0.0, 1e-3, 7).1.to_bits(),
        (7e-3f64 * (1.0 + 16.0 * f64::EPSILON)).to_bits()
    );
}

#[test]
fn what_is_not_a_run_is_refused() {
    let bad = [
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        -1.0,
        0.0,
        -0.0,
        5e-324,
        f64::MAX,
        f64::MIN,
    ];
    for x in bad {
        for event in [Event::Gaussian { sigma: x }, sampled(0.1, x)] {
            assert!(
                matches!(
                    epsilon(&[(event, 10)], 1e-5),
                    Err(AccountingError::InvalidSigma { .. })
                ),
                "{event:?}"
            );
        }
    }
    for x in [f64::NAN, f64::INFINITY, -1.0, 0.0, 1.0 + 1e-15, f64::MAX] {
        assert!(
            matches!(
                delta(&[(sampled(x, 1.0), 10)], 1.0),
                Err(AccountingError::InvalidRate { .. })
            ),
            "{x}"
        );
    }
    for x in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 0.0] {
        assert!(
            matches!(
                calibrate_sigma(x, 1e-5, 0.01, 100),
                Err(AccountingError::InvalidEpsilon { .. })
            ),
            "{x}"
        );
    }
    for x in [f64::NAN, f64::INFINITY, -1.0, 0.0, 1.0, 2.0] {
        let events = [(sampled(0.1, 1.0), 10)];
        assert!(calibrate_sigma(1.0, x, 0.01, 100).is_err(), "{x}");
        assert!(
            matches!(
                epsilon(&events, x),
                Err(AccountingError::InvalidDelta { .. })
            ),
            "{x}"
        );
    }
    for x in [f64::NAN, f64::INFINITY, -1.0, 0.0, f64::NEG_INFINITY] {
        assert!(
            matches!(
                calibrate_sigma(x, 1e-5, 0.01, 100),
                Err(AccountingError::InvalidEpsilon { .. })
            ),
            "{x}"
        );
    }
    for x in [f64::NAN, f64::INFINITY, -1e-300, f64::MAX] {
        let events = [(sampled(0.1, 1.0), 10)];
        assert!(
            matches!(
                delta(&events, x),
                Err(AccountingError::InvalidEpsilon { .. })
            ),
            "{x}"
        );
    }
    for group in [0, MAX_GROUP + 1, u32::MAX] {
        let event = Event::GroupPoissonGaussian {
            rate: 0.1,
            sigma: 1.0,
            group,
        };
        assert!(matches!(
            delta(&[(event, 1)], 1.0),
            Err(AccountingError::InvalidGroup { .. })
        ));
    }
    assert!(matches!(
        epsilon(&[(sampled(0.1, 1.0), u64::MAX)], 1e-5),
        Err(AccountingError::CountTooLarge { count: u64::MAX })
    ));
    assert!(matches!(
        calibrate_sigma(1e-12, 1e-300, 1.0, 1 << 53),
        Err(AccountingError::Unreachable { .. })
    ));
}

/// A finite ordered answer inside its bounds, or an error.
fn sound(result: Result<Bounds, AccountingError>) -> Result<Option<Bounds>, TestCaseError> {
    match result {
        Ok(b) => {
            prop_assert!(b.lower >= 0.0 && b.upper.is_finite(), "{:?}", b);
            prop_assert!(b.lower <= b.estimate && b.estimate <= b.upper, "{:?}", b);
            Ok(Some(b))
        }
        Err(_) => Ok(None),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(sized(64, 1)) })]

    #[test]
    fn monotone_in_every_argument(
        ln_rate in sized(-7.0f64, -4.0)..0.0,
        ln_sigma in sized(-0.7f64, 1.0)..3.0,
        ln_steps in sized(0.7f64, 8.0)..12.0,
        ln_delta in sized(-40.0f64, -15.0)..-5.0,
        more in 1.05f64..2.0,
    ) {
        let (rate, sigma) = (ln_rate.exp(), ln_sigma.exp());
        let (steps, target) = (ln_steps.exp() as u64, ln_delta.exp());
        let spend = |rate: f64, sigma: f64, steps: u64, target: f64| {
            sound(epsilon(&[(sampled(rate.min(1.0), sigma), steps)], target))
        };
        let Some(base) = spend(rate, sigma, steps, target)? else { return Ok(()) };
        let more_steps = (steps as f64 * more).ceil() as u64;
        for (worse, name) in [
            (spend(rate * more, sigma, steps, target)?, "rate"),
            (spend(rate, sigma / more, steps, target)?, "sigma"),
            (spend(rate, sigma, more_steps, target)?, "steps"),
            (spend(rate, sigma, steps, target / more)?, "delta"),
        ] {
            if let Some(worse) = worse {
                prop_assert!(worse.upper >= base.lower, "{} {:?} {:?}", name, base, worse);
                if base.relative_width() < 1e-6 && worse.relative_width() < 1e-6 {
                    prop_assert!(worse.estimate >= base.estimate * (1.0 - 1e-9), "{} {:?} {:?}", name, base, worse);
                }
            }
        }
        // The two queries invert each other.
        if base.lower > 0.0 && let Some(back) = sound(delta(&[(sampled(rate, sigma), steps)], base.upper))? {
            prop_assert!(back.lower <= target, "{:?} {:?} {}", base, back, target);
        }
    }

    #[test]
    fn delta_falls_with_epsilon(
        ln_rate in sized(-6.0f64, -4.0)..0.0,
        ln_sigma in sized(-0.5f64, 1.0)..3.0,
        ln_steps in sized(0.7f64, 8.0)..10.0,
        at in 0.0f64..8.0,
        more in 0.01f64..1.0,
    ) {
        let events = [(sampled(ln_rate.exp(), ln_sigma.exp()), ln_steps.exp() as u64)];
        let (low, high) = (sound(delta(&events, at))?, sound(delta(&events, at + more))?);
        if let (Some(low), Some(high)) = (low, high) {
            prop_assert!(high.lower <= low.upper, "{:?} {:?}", low, high);
        }
    }

    #[test]
    fn calibration_keeps_its_promise(
        ln_rate in -6.0f64..0.0,
        ln_steps in 2.0f64..10.0,
        target in 0.3f64..10.0,
        ln_delta in -25.0f64..-9.0,
    ) {
        // Miri gets the full batch, which has a closed form: a search asks a dozen times.
        let rate = sized(ln_rate.exp(), 1.0);
        let (steps, delta) = (ln_steps.exp() as u64, ln_delta.exp());
        if let Ok(sigma) = calibrate_sigma(target, delta, rate, steps) {
            let spent = epsilon(&[(sampled(rate, sigma), steps)], delta).expect("calibrated");
            prop_assert!(spent.upper <= target, "sigma {} {:?}", sigma, spent);
            prop_assert!(sigma <= 0.05001 || spent.upper >= target * (1.0 - 1e-6), "sigma {} {:?}", sigma, spent);
        }
    }

    #[test]
    fn any_bits_give_a_sound_answer_or_an_error(
        rate in any::<f64>(), sigma in any::<f64>(), group in any::<u32>(), count in any::<u64>(),
        at in any::<f64>(), small in 0.0f64..1.0,
    ) {
        for event in [
            Event::Gaussian { sigma },
            Event::PoissonGaussian { rate, sigma },
            Event::GroupPoissonGaussian { rate: small, sigma, group },
            Event::PoissonGaussian { rate: small, sigma: sigma.abs() },
        ] {
            sound(delta(&[(event, count)], at))?;
            sound(epsilon(&[(event, count)], small))?;
        }
    }
}
