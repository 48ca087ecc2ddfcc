//! Plans: every bad request is refused with the value and the way out; every good one meets its target.

mod common;

use common::{HEADER, place, start};
use dp_core::accounting::{self, Event, Run};
use dp_core::ledger::Charge;
use dp_engine::accountant;
use dp_engine::ledger::{LedgerFile, PriorSpend};
use dp_engine::plan::{Plan, PlanError, PlanRequest, PlanWarning, PrivacyTarget, Unit};
use proptest::prelude::*;

const GOOD: PlanRequest = PlanRequest {
    target: PrivacyTarget {
        epsilon: 8.0,
        delta: 1e-5,
    },
    unit: Unit::Record,
    units: 20_000,
    batch: 128,
    steps: 500,
    clip: 1.5,
    eta: 1e-3,
};

fn target(epsilon: f64, delta: f64) -> PlanRequest {
    PlanRequest {
        target: PrivacyTarget { epsilon, delta },
        ..GOOD
    }
}

/// The error of a request, whose message must contain every one of `words`.
fn refused(request: PlanRequest, words: &[&str]) -> PlanError {
    let error = Plan::new(&request).expect_err("a bad request was planned");
    let message = error.to_string();
    for word in words {
        assert!(message.contains(word), "{message:?} does not say {word:?}");
    }
    assert!(!message.contains('\n'));
    error
}

#[test]
fn a_plan_meets_its_target_and_wastes_little() {
    let plan = Plan::new(&GOOD).unwrap();
    let spent = [(plan.event(), 500)];
    assert_eq!(
        plan.event(),
        Event::PoissonGaussian {
            rate: 0.0064,
            sigma: plan.sigma()
        }
    );
    assert!(accounting::epsilon(&spent, 1e-5).unwrap().upper <= 8.0);
    let one_percent_less = Event::PoissonGaussian {
        rate: 0.0064,
        sigma: plan.sigma() * 0.99,
    };
    assert!(
        accounting::epsilon(&[(one_percent_less, 500)], 1e-5)
            .unwrap()
            .lower
            > 8.0
    );
    assert_eq!(plan.epsilon(), plan.epsilon_after(500).unwrap());
    assert_eq!(plan.epsilon_after(0).unwrap().upper, 0.0);
    assert!(plan.epsilon_after(100).unwrap().upper < plan.epsilon().lower);
    assert_eq!(plan.warnings(), []);
}

#[test]
fn noise_is_scaled_to_clip_and_eta_and_divided_by_the_expected_batch() {
    let plan = Plan::new(&GOOD).unwrap();
    assert_eq!(plan.noise_std(), plan.sigma() * 1.5 * (1.0 + 1e-3));
    assert_eq!(plan.divisor(), 128.0);
    assert_eq!(plan.rate(), 128.0 / 20_000.0);
    assert_eq!(plan.charge().noise_std(), plan.noise_std());
    assert_eq!(plan.charge().count, 1);
}

#[test]
fn the_whole_data_set_as_a_batch_is_not_sampled() {
    let plan = Plan::new(&PlanRequest {
        batch: 20_000,
        steps: 3,
        ..GOOD
    })
    .unwrap();
    assert_eq!(
        plan.event(),
        Event::Gaussian {
            sigma: plan.sigma()
        }
    );
    // Analytic Gaussian: three times sigma is once sigma / sqrt(3).
    let once = [(
        Event::Gaussian {
            sigma: plan.sigma() / 3f64.sqrt(),
        },
        1,
    )];
    let estimate = accounting::epsilon(&once, 1e-5).unwrap().estimate;
    assert!((estimate - plan.epsilon().estimate).abs() < 1e-9);
}

/// A value that noise can't reach tells who moved it there.
#[test]
fn deltas_below_what_the_ends_of_the_noise_leave_are_refused() {
    for (epsilon, delta) in [(8.0, 1e-15), (8.0, 1e-300), (200.0, 1e-9)] {
        let error = refused(target(epsilon, delta), &["delta", "9.49", "larger delta"]);
        let PlanError::BeyondTheNoise { beyond, .. } = error else {
            panic!("{error:?}")
        };
        assert!(delta < beyond && beyond <= 1.0, "{beyond}");
    }
    for (epsilon, delta) in [(8.0, 1e-10), (0.5, 1e-10), (30.0, 1e-6)] {
        assert!(
            Plan::new(&target(epsilon, delta)).is_ok(),
            "{epsilon}, {delta}"
        );
    }
}

/// Delta is for all runs on the data set, and so is what the ends of their noise leave.
#[test]
fn two_runs_that_are_just_within_the_ends_of_the_noise_are_beyond_them_together() {
    // One run leaves more than 0.7 of this delta bare: of 0.7 of it, where it has more noise, it leaves too much.
    let mut delta = 1e-12;
    let beyond = loop {
        match Plan::new(&target(8.0, 0.7 * delta)) {
            Ok(_) => delta *= 0.7,
            Err(PlanError::BeyondTheNoise { beyond, .. }) => break beyond,
            Err(error) => panic!("{error}"),
        }
    };
    assert!(0.7 * delta < beyond && beyond <= delta, "{beyond}, {delta}");
    let first = Plan::new(&target(8.0, delta)).unwrap();

    let (_folder, path) = place();
    let mut ledger = LedgerFile::create(&path, &HEADER, first.target(), start()).unwrap();
    let all = Charge {
        count: first.steps(),
        ..first.charge()
    };
    drop(ledger.reserve(0, all).unwrap());
    drop(ledger);
    // The second has the first one's settings and hardly more noise, so it leaves less bare, by itself.
    let second = |delta| {
        let both = [(first.event(), 2 * first.steps())];
        let epsilon = accountant::epsilon(Run::add_remove(&both), delta)
            .unwrap()
            .upper;
        let paths = std::slice::from_ref(&path);
        let prior = PriorSpend::read(paths, &HEADER.dataset, &HEADER.unit).unwrap();
        let plan = Plan::after(&target(0.99 * epsilon, delta), prior);
        if let Ok(plan) = &plan {
            assert!((1.0..1.1).contains(&(plan.sigma() / first.sigma())));
        }
        plan
    };
    let error = second(delta).expect_err("more than delta is bare");
    let PlanError::BeyondTheNoise { beyond, .. } = error else {
        panic!("{error:?}")
    };
    assert!(delta < beyond && beyond < 2.0 * delta, "{beyond}, {delta}");
    assert!(error.to_string().contains("and those before it"), "{error}");
    second(2.0 * delta).unwrap();
}

#[test]
fn bad_values_are_named_with_the_way_out() {
    for epsilon in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let error = refused(
            target(epsilon, 1e-5),
            &["epsilon", &format!("{epsilon:?}"), "above 0"],
        );
        assert!(matches!(error, PlanError::Epsilon { .. }));
    }
    for delta in [0.0, -0.1, 1.0, 1.5, f64::NAN] {
        let error = refused(
            target(8.0, delta),
            &["delta", &format!("{delta:?}"), "1/N = 5e-5"],
        );
        assert!(matches!(error, PlanError::Delta { .. }));
    }
    let user = Unit::User {
        most_records: 4.try_into().unwrap(),
        owners: [7; 32],
    };
    for (units, unit) in [(0, Unit::Record), (1, Unit::Record), (1, user)] {
        let request = PlanRequest {
            unit,
            units,
            batch: 1,
            ..GOOD
        };
        refused(request, &[&format!("{units} {unit}(s)"), "at least 2"]);
    }
    let request = PlanRequest {
        unit: user,
        batch: 20_001,
        ..GOOD
    };
    refused(request, &["above the 20000 users"]);
    refused(
        PlanRequest { batch: 0, ..GOOD },
        &["batch size is 0", "1 to the 20000"],
    );
    let error = refused(
        PlanRequest {
            batch: 20_001,
            ..GOOD
        },
        &["20001", "at most 20000"],
    );
    assert_eq!(
        error,
        PlanError::BatchAboveUnits {
            unit: Unit::Record,
            batch: 20_001,
            units: 20_000
        }
    );
    refused(
        PlanRequest { steps: 0, ..GOOD },
        &["steps is 0", "at least 1"],
    );
    for clip in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-60, 1e300] {
        refused(
            PlanRequest { clip, ..GOOD },
            &["clipping norm", &format!("{clip:?}"), "must be from"],
        );
    }
    for eta in [-0.1, f64::NAN, f64::INFINITY] {
        refused(
            PlanRequest { eta, ..GOOD },
            &["eta", &eta.to_string(), "at least 0"],
        );
    }
}

#[test]
fn an_unreachable_target_says_what_would_help() {
    let request = PlanRequest {
        target: PrivacyTarget {
            epsilon: 1e-9,
            delta: 1e-300,
        },
        steps: 1 << 50,
        batch: 20_000,
        ..GOOD
    };
    let error = refused(request, &["1e-9", "1e-300", "raise epsilon", "fewer steps"]);
    assert!(matches!(error, PlanError::Unreachable { .. }));
}

#[test]
fn delta_of_one_over_n_or_more_is_a_warning() {
    let warnings = |delta| Plan::new(&target(8.0, delta)).unwrap().warnings().to_vec();
    assert_eq!(warnings(4.9e-5), []);
    for delta in [5e-5, 0.01] {
        let expected = PlanWarning::DeltaNotBelowOneOverN {
            delta,
            unit: Unit::Record,
            units: 20_000,
        };
        assert_eq!(warnings(delta), [expected]);
        let message = expected.to_string();
        assert!(message.contains(&format!("{delta:?}")) && message.contains("smaller delta"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_plan_is_within_its_target(
        epsilon in 0.2..20.0,
        log_delta in -9.0..-3.0,
        records in 1_000u64..1_000_000,
        share in 0.001..1.0,
        steps in 1u64..10_000,
    ) {
        let target = PrivacyTarget { epsilon, delta: 10f64.powf(log_delta) };
        let batch = ((records as f64 * share) as u64).max(1);
        let plan = Plan::new(&PlanRequest { target, units: records, batch, steps, ..GOOD }).unwrap();
        let bounds = accounting::epsilon(&[(plan.event(), steps)], target.delta).unwrap();
        prop_assert!(bounds.upper <= epsilon, "{bounds:?}");
        prop_assert!(bounds.lower > 0.98 * epsilon, "{bounds:?} wastes the budget");
    }
}
