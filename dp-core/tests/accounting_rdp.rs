//! The Rényi engine: reference values at 50 digits, the closed Gaussian form, and never below the exact engine.

mod common;

use common::sized;
use dp_core::accounting::{
    Accountant, AccountingError, Adjacency, Event, GaussianMixture, Rdp, Run, delta, epsilon, renyi,
};
use proptest::prelude::*;
use serde_json::Value;

fn rows(mechanism: &str) -> Vec<Value> {
    let file: Value = serde_json::from_str(include_str!("data/accounting_public.json")).unwrap();
    let rows = file["rows"].as_array().unwrap();
    rows.iter()
        .filter(|row| row["mechanism"] == mechanism)
        .cloned()
        .collect()
}

fn number(value: &Value, key: &str) -> f64 {
    value[key].as_f64().unwrap_or_else(|| panic!("{key}"))
}

fn poisson(rate: f64, sigma: f64) -> Event {
    Event::PoissonGaussian { rate, sigma }
}

#[test]
fn zcdp_rows() {
    let rows = rows("zcdp");
    assert_eq!(rows.len(), 3);
    for row in rows {
        let rho = number(&row["params"], "rho");
        let truth = number(&row, "truth");
        let events = [(Event::ZeroConcentratedDp { rho }, 1)];
        let spent = Rdp
            .epsilon(Run::add_remove(&events), number(&row["query"], "delta"))
            .unwrap();
        // The search's order is off by 1e-6, and epsilon by the square of that.
        assert!(
            (spent.upper / truth - 1.0).abs() < 1e-11,
            "{row}: {spent:?}"
        );
        assert!(
            spent.upper >= truth * (1.0 - f64::EPSILON),
            "{row}: {spent:?}"
        );
        assert_eq!(spent.lower, 0.0);
    }
}

#[test]
fn divergence_rows() {
    let rows = rows("rdp_poisson_gaussian");
    assert_eq!(rows.len(), 5);
    for row in rows {
        let events = [(
            poisson(number(&row["params"], "q"), number(&row["params"], "sigma")),
            1,
        )];
        let truth = number(&row, "truth");
        let found = renyi(Run::add_remove(&events), number(&row["params"], "alpha")).unwrap();
        assert!(
            found.lower <= truth * (1.0 + 2e-16) && truth * (1.0 - 2e-16) <= found.upper,
            "{row}: {found:?}"
        );
        assert!(found.relative_width() < 1e-9, "{row}: {found:?}");
    }
}

/// Every law whose rate or form makes it a Gaussian gives `alpha mu^2 / 2` per step.
#[test]
fn gaussian_laws_have_the_closed_form() {
    let one = GaussianMixture::new(&[1.0], &[1.0], 3.0).unwrap();
    let truncated = Event::TruncatedPoissonGaussian {
        population: 100,
        rate: 1.0,
        max_batch: 100,
        sigma: 3.0,
    };
    for (adjacency, event, mu) in [
        (
            Adjacency::AddRemove,
            Event::Gaussian { sigma: 3.0 },
            1.0 / 3.0,
        ),
        (
            Adjacency::ReplaceOne,
            Event::Gaussian { sigma: 3.0 },
            2.0 / 3.0,
        ),
        (Adjacency::AddRemove, Event::MixtureGaussian(one), 1.0 / 3.0),
        (Adjacency::ZeroOut, truncated, 1.0 / 3.0),
        (
            Adjacency::AddRemove,
            Event::DiscreteGaussian {
                sigma: 3.0,
                sensitivity: 1,
            },
            1.0 / 3.0,
        ),
    ] {
        let events = [(event, 7)];
        let run = Run {
            adjacency,
            events: &events,
        };
        for alpha in [1.001, 1.5, 2.0, 17.3, 1000.0] {
            let truth = 3.5 * alpha * mu * mu;
            let found = renyi(run, alpha).unwrap();
            assert!(
                found.lower <= truth * (1.0 + 1e-14) && truth <= found.upper * (1.0 + 1e-14),
                "{event:?} {alpha}: {found:?} {truth}"
            );
            assert!(
                found.relative_width() < 1e-9,
                "{event:?} {alpha}: {found:?}"
            );
        }
    }
}

/// Values by quadrature and sums at 30 digits (mpmath 1.3); the events that have no other reference.
#[test]
fn other_laws_match_mpmath() {
    for (name, adjacency, event, alpha, truth) in others() {
        let events = [(event, 1)];
        let found = renyi(
            Run {
                adjacency,
                events: &events,
            },
            alpha,
        )
        .unwrap();
        assert!(
            found.lower <= truth * (1.0 + 1e-13) && truth <= found.upper * (1.0 + 1e-13),
            "{name} {alpha}: {found:?} {truth}"
        );
        assert!(found.relative_width() < 1e-9, "{name} {alpha}: {found:?}");
    }
}

/// An approximate event's infinite loss comes off delta; its finite part composes.
#[test]
fn infinite_losses_come_off_delta() {
    let events = [(
        Event::ApproximateDp {
            epsilon: 0.1,
            delta: 1e-8,
        },
        100,
    )];
    let run = Run::add_remove(&events);
    let exact = 4.329_636_714_016_606; // r197
    let spent = Rdp.epsilon(run, 1e-5).unwrap().upper;
    assert!(spent >= exact && spent < 1.15 * exact, "{spent}");
    assert_eq!(renyi(run, 2.0).unwrap().upper, f64::INFINITY);
    assert!(matches!(
        Rdp.epsilon(run, 1e-7),
        Err(AccountingError::InfiniteLoss { .. })
    ));
    // With delta to spare the loss still can't exceed the sum.
    let pure = [(
        Event::ApproximateDp {
            epsilon: 0.1,
            delta: 0.0,
        },
        3,
    )];
    assert!(Rdp.epsilon(Run::add_remove(&pure), 1e-300).unwrap().upper <= 0.3 + 1e-12);
}

#[test]
fn extremes_are_errors_or_numbers() {
    // The divergence of a step this rare takes Miri minutes an order.
    let first = sized((poisson(1e-18, 0.05), 1 << 53), (poisson(0.1, 1.0), 100));
    let mixed = [first, (poisson(0.5, 1e9), 3)];
    for delta in [1e-300, 1e-9, 0.999_999].into_iter().take(sized(3, 1)) {
        let spent = Rdp.epsilon(Run::add_remove(&mixed), delta);
        assert!(spent.is_ok_and(|b| b.upper >= 0.0), "{spent:?}");
    }
    for epsilon in [0.0, 1e-9, 1.0, 1e9].into_iter().take(sized(4, 1)) {
        let spent = Rdp.delta(Run::add_remove(&mixed), epsilon);
        assert!(
            spent.is_ok_and(|b| b.upper > 0.0 && b.upper <= 1.0),
            "{spent:?}"
        );
    }
    let none: [(Event, u64); 1] = [(poisson(0.1, 1.0), 0)];
    assert_eq!(Rdp.epsilon(Run::add_remove(&none), 0.1).unwrap().upper, 0.0);
    assert_eq!(renyi(Run::add_remove(&[]), 2.0).unwrap().upper, 0.0);
    let run = Run::add_remove(&mixed);
    for bad in [f64::NAN, 1.0, 0.5, f64::INFINITY] {
        assert!(matches!(
            renyi(run, bad),
            Err(AccountingError::InvalidOrder { .. })
        ));
    }
    for bad in [f64::NAN, 0.0, 1.0, -1.0] {
        assert!(matches!(
            Rdp.epsilon(run, bad),
            Err(AccountingError::InvalidDelta { .. })
        ));
    }
    for bad in [f64::NAN, -1.0, f64::INFINITY] {
        assert!(matches!(
            Rdp.delta(run, bad),
            Err(AccountingError::InvalidEpsilon { .. })
        ));
    }
    let many = [(poisson(0.1, 1.0), u64::MAX)];
    assert!(matches!(
        Rdp.delta(Run::add_remove(&many), 1.0),
        Err(AccountingError::CountTooLarge { .. })
    ));
    let bins = [(
        Event::BallsInBinsGaussian {
            bins: 10,
            epochs: 1,
            sigma: 1.0,
        },
        1,
    )];
    assert_eq!(
        Rdp.delta(Run::add_remove(&bins), 1.0),
        Err(AccountingError::UndefinedEngine)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(sized(64, 1)))]

    /// The true delta and epsilon are never above the Rényi engine's, and not far below where they are small.
    #[test]
    fn never_below_the_exact_engine(
        ln_rate in sized(-9.0f64, -4.0)..-0.1,
        ln_sigma in -0.7f64..3.0,
        ln_steps in sized(3.0f64, 8.0)..12.0,
        ln_delta in -40.0f64..-3.0,
    ) {
        let events = [(poisson(ln_rate.exp(), ln_sigma.exp()), ln_steps.exp() as u64)];
        let target = ln_delta.exp();
        if let Ok(exact) = epsilon(&events, target) {
            let spent = Rdp.epsilon(Run::add_remove(&events), target).unwrap();
            prop_assert!(spent.upper >= exact.lower, "{spent:?} {exact:?}");
            let at = exact.estimate.max(1e-3);
            if let Ok(truth) = delta(&events, at) {
                let found = Rdp.delta(Run::add_remove(&events), at).unwrap();
                prop_assert!(found.upper >= truth.lower, "{found:?} {truth:?}");
            }
        }
    }

    /// The divergence rises with the order and with the count, and the count multiplies it.
    #[test]
    fn divergence_rises_with_the_order(
        rate in 1e-4f64..0.9,
        sigma in 0.4f64..20.0,
        ln_t in -6.0f64..4.0,
        factor in 1.01f64..3.0,
    ) {
        let events = [(poisson(rate, sigma), 1)];
        let thousand = [(poisson(rate, sigma), 600), (poisson(rate, sigma), 400)];
        let at = |alpha| renyi(Run::add_remove(&events), alpha).unwrap();
        let (low, high) = (at(1.0 + ln_t.exp()), at(1.0 + factor * ln_t.exp()));
        prop_assert!(low.lower <= high.upper);
        prop_assert!(low.relative_width() < 1e-9, "{low:?}");
        let sum = renyi(Run::add_remove(&thousand), 1.0 + ln_t.exp()).unwrap();
        prop_assert!((sum.estimate / (1e3 * low.estimate) - 1.0).abs() < 1e-12);
        let twice = renyi(Run::replace_one(&events), 1.0 + ln_t.exp()).unwrap();
        prop_assert!(twice.upper >= low.lower);
    }
}

/// Name, relation, event, order, divergence.
fn others() -> Vec<(&'static str, Adjacency, Event, f64, f64)> {
    let events = [
        ("two-sided", Adjacency::ReplaceOne, poisson(0.01, 1.0)),
        (
            "fixed size",
            Adjacency::ReplaceOne,
            Event::FixedSizeGaussian {
                population: 50_000,
                batch: 500,
                sigma: 1.0,
            },
        ),
        (
            "Laplace",
            Adjacency::AddRemove,
            Event::Laplace { scale: 2.0 },
        ),
        (
            "Poisson Laplace",
            Adjacency::AddRemove,
            Event::PoissonLaplace {
                rate: 0.01,
                scale: 0.5,
            },
        ),
        (
            "discrete Gaussian",
            Adjacency::AddRemove,
            Event::DiscreteGaussian {
                sigma: 0.75,
                sensitivity: 1,
            },
        ),
        (
            "group",
            Adjacency::AddRemove,
            Event::GroupPoissonGaussian {
                rate: 0.01,
                sigma: 4.0,
                group: 5,
            },
        ),
        (
            "discrete Laplace",
            Adjacency::AddRemove,
            Event::DiscreteLaplace {
                decay: 0.25,
                sensitivity: 3,
            },
        ),
        (
            "randomized response",
            Adjacency::ReplaceOne,
            Event::RandomizedResponse {
                noise: 0.5,
                buckets: 4,
            },
        ),
    ];
    // At orders 1.5 and 8.25.
    let truths = [
        (0.000_342_821_652_733_398_5, 0.002_096_236_179_311_804),
        (0.003_836_864_902_593_889, 11.259_633_926_318_068),
        (0.155_977_878_485_739_5, 0.413_069_191_188_967_95),
        (0.000_292_451_206_739_17, 0.001_796_816_220_329_460_3),
        (1.333_212_833_647_140_3, 7.333_329_178_234_327),
        (0.000_121_038_600_800_338_7, 0.000_680_831_664_523_580_8),
        (0.325_557_798_313_555_1, 0.671_206_159_402_085_1),
        (1.065_304_385_812_725, 1.544_610_297_911_813_3),
    ];
    events
        .into_iter()
        .zip(truths)
        .flat_map(|((name, adjacency, event), (low, high))| {
            [
                (name, adjacency, event, 1.5, low),
                (name, adjacency, event, 8.25, high),
            ]
        })
        .collect()
}
