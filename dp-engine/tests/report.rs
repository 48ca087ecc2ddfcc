//! The privacy statement: the figures are the ledger's and the accountant's, and the words say them.

mod common;

use common::{HEADER, place, start};
use dp_core::accounting::{self, Event};
use dp_core::ledger::{Charge, Header};
use dp_engine::checkpoint::Dataset;
use dp_engine::fingerprint::hex;
use dp_engine::ledger::LedgerFile;
use dp_engine::plan::{Plan, PlanRequest, PrivacyTarget, Unit};
use dp_engine::report::{Disclosure, GroupStatement, PrivacyStatement, Sampler, SpentBefore};

const REQUEST: PlanRequest = PlanRequest {
    target: PrivacyTarget {
        epsilon: 8.0,
        delta: 1e-5,
    },
    unit: Unit::Record,
    units: 20_000,
    batch: 256,
    steps: 400,
    clip: 1.5,
    eta: 1e-3,
};

fn disclosure() -> Disclosure {
    Disclosure {
        dataset: Dataset {
            fingerprint: HEADER.dataset,
            records: 20_000,
        },
        rng: "ChaCha20 (RFC 8439), key from the operating system".into(),
        without_noise: vec!["number of records".into()],
        groups: vec![("patient".into(), 4)],
    }
}

/// A statement after `steps` steps, of which the last `unconfirmed` were not committed.
fn statement(
    request: &PlanRequest,
    steps: u64,
    unconfirmed: u64,
    disclosure: Disclosure,
) -> PrivacyStatement {
    let plan = Plan::new(request).unwrap();
    let (_directory, path) = place();
    let header = Header {
        unit: request.unit,
        ..HEADER
    };
    let mut ledger = LedgerFile::create(&path, &header, request.target, start()).unwrap();
    for step in 0..steps {
        let reservation = ledger.reserve(step, plan.charge()).unwrap();
        if step + unconfirmed < steps {
            ledger.commit(reservation).unwrap();
        }
    }
    PrivacyStatement::new(&plan, &ledger, disclosure).unwrap()
}

#[test]
fn figures_are_those_of_what_was_spent() {
    let stated = statement(&REQUEST, 300, 2, disclosure());
    let plan = Plan::new(&REQUEST).unwrap();
    let bounds = accounting::epsilon(&[(plan.event(), 300)], 1e-5).unwrap();
    assert_eq!(
        (stated.lower, stated.epsilon, stated.upper),
        (bounds.lower, bounds.estimate, bounds.upper)
    );
    assert!(stated.upper < 8.0);
    assert_eq!(
        (stated.steps, stated.unconfirmed, stated.steps_planned),
        (300, 2, 400)
    );
    assert_eq!(
        (stated.sigma, stated.rate, stated.clip, stated.delta),
        (plan.sigma(), 0.0128, 1.5, 1e-5)
    );
    assert_eq!(stated.events.len(), 1);
    assert_eq!(
        (stated.events[0].count, stated.events[0].sigma),
        (300, plan.sigma())
    );
    assert_eq!(stated.ledger_records, 1 + 300 + 298);
    assert_eq!(stated.dataset, hex(&HEADER.dataset));
    assert_eq!(stated.warnings, Vec::<String>::new());
}

#[test]
fn a_group_of_records_has_a_weaker_guarantee() {
    let stated = statement(&REQUEST, 400, 0, disclosure());
    let plan = Plan::new(&REQUEST).unwrap();
    let event = Event::GroupPoissonGaussian {
        rate: 0.0128,
        sigma: plan.sigma(),
        group: 4,
    };
    let expected = accounting::epsilon(&[(event, 400)], 1e-5).unwrap().upper;
    let group = &stated.groups[0];
    assert_eq!(group.epsilon, Some(expected));
    assert!(expected > 2.0 * stated.upper, "{expected}");
    let (epsilon, delta) = accounting::group_privacy(stated.upper, 1e-5, 4);
    assert_eq!(
        (group.generic_epsilon, group.generic_delta),
        (epsilon, delta)
    );
    // A group of one is a record.
    let one = GroupStatement::new(
        "record".into(),
        1,
        &[(plan.event(), 400)],
        stated.upper,
        1e-5,
    );
    assert!((one.epsilon.unwrap() - stated.upper).abs() < 1e-6);
    // In a full batch, k records move the sum by k clipping norms.
    let full = [(Event::Gaussian { sigma: 8.0 }, 1)];
    let two = GroupStatement::new("pair".into(), 2, &full, 1.0, 1e-5);
    let expected = accounting::epsilon(&[(Event::Gaussian { sigma: 4.0 }, 1)], 1e-5)
        .unwrap()
        .upper;
    assert_eq!(two.epsilon, Some(expected));
    // A size that the accountant has no figure for is not given one.
    let many = GroupStatement::new(
        "town".into(),
        1_000_000,
        &[(plan.event(), 400)],
        stated.upper,
        1e-5,
    );
    assert_eq!(many.epsilon, None);
    assert!(many.to_string().contains("no figure"));
}

#[test]
fn words_say_the_figures_and_never_less() {
    let stated = statement(&REQUEST, 300, 1, disclosure());
    let text = stated.to_string();
    let rounded_up = format!("{:.4}", (stated.upper * 1e4).ceil() / 1e4);
    for words in [
        &format!("({rounded_up}, 1e-5)-differential privacy for one record (add or remove it)"),
        "300 of 400 planned (1 reserved without a confirmed release: counted as spent)",
        "Poisson; each of 20000 records is in a step with probability 0.0128",
        &format!("sigma = {} times 1.5", stated.sigma),
        "ChaCha20",
        "WITHOUT noise",
        "  - number of records",
        "A patient with 4 records has a weaker guarantee",
        &hex(&HEADER.dataset),
        &stated.ledger_digest,
    ] {
        assert!(text.contains(words), "{text}\ndoes not say {words:?}");
    }
    assert!(rounded_up.parse::<f64>().unwrap() >= stated.upper);
    let without = Disclosure {
        without_noise: vec![],
        groups: vec![],
        ..disclosure()
    };
    let text = statement(&REQUEST, 300, 0, without).to_string();
    assert!(text.contains("without noise: nothing"));
    assert!(text.contains("Steps spent: 300 of 400 planned.\n"));
}

/// Rounded to the nearest, bounds could exclude the truth.
#[test]
fn bounds_are_rounded_outward() {
    let stated = statement(&REQUEST, 3, 0, disclosure());
    for (lower, upper, shown) in [
        (1.999_999_6, 2.000_000_4, "between 1.999999 and 2.000001;"),
        (1.999_999_4, 1.999_999_6, "between 1.999999 and 2.000000;"),
        (0.0, 0.000_000_1, "between 0.000000 and 0.000001;"),
        (0.5, 0.5, "between 0.500000 and 0.500000;"),
        (0.0, 0.0, "between 0.000000 and 0.000000;"),
    ] {
        let text = PrivacyStatement {
            lower,
            upper,
            ..stated.clone()
        }
        .to_string();
        assert!(text.contains(shown), "{text}\ndoes not say {shown:?}");
    }
}

/// What is nearly as likely without a record at epsilon 1 is not at 8.
#[test]
fn the_words_for_a_guarantee_are_no_better_than_its_epsilon() {
    let stated = statement(&REQUEST, 3, 0, disclosure());
    for (upper, factor, about_as_well) in [
        (0.0, "1.00", true),
        (0.5, "1.65", true),
        (1.0, "2.72", true),
        (1.001, "2.73", false),
        (3.0, "20.1", false),
        (5.0, "149", false),
        (8.0, "2981", false),
        (20.0, "10^9", false),
        (1000.0, "10^435", false),
    ] {
        let text = PrivacyStatement {
            upper,
            ..stated.clone()
        }
        .to_string();
        let words = format!(
            "by a factor of at most {factor} than it would be without that one record, give or take a probability of 1e-5."
        );
        assert!(text.contains(&words), "{text}\ndoes not say {words:?}");
        let same = "they would have learnt about as well without that one record";
        assert_eq!(text.contains(same), about_as_well, "{text}");
    }
}

/// A sum that grew with what earlier runs released was never a bound.
#[test]
fn the_sum_of_the_runs_is_promised_under_its_condition() {
    let before = SpentBefore {
        ledgers: vec![],
        events: vec![],
        upper: 1.0,
        this_run: 1.5,
        sum: 2.5,
        sum_delta: 2e-5,
    };
    let text = before.to_string();
    for words in [
        "the sum of the runs: epsilon 2.5000 at delta 2e-5, if that total was fixed before the first of them.",
        "If a larger one was, rely on that; if none was, no figure is proven.",
    ] {
        assert!(text.contains(words), "{text}\ndoes not say {words:?}");
    }
}

/// Whose loss is nearly discrete, as that of a handful of steps at a small rate, has no figure of the contour integral worth calling exact.
#[test]
fn the_accountant_is_the_engine_that_answered() {
    let usual = statement(&REQUEST, 300, 0, disclosure()).accountant;
    assert!(
        usual.starts_with("exact: ") && usual.contains("contour integral"),
        "{usual}"
    );

    let target = PrivacyTarget {
        epsilon: 8.0,
        delta: 1e-12,
    };
    let plan = Plan::new(&PlanRequest { target, ..REQUEST }).unwrap();
    let (_directory, path) = place();
    // Bounds of a few steps may be far above what these cost.
    let budget = PrivacyTarget {
        epsilon: 20.0,
        ..target
    };
    let mut ledger = LedgerFile::create(&path, &HEADER, budget, start()).unwrap();
    let few = Charge {
        event: Event::PoissonGaussian {
            rate: 1e-9,
            sigma: 1.0,
        },
        count: 3,
        ..plan.charge()
    };
    drop(ledger.reserve(0, few).unwrap());
    let disclosure = Disclosure {
        groups: vec![],
        ..disclosure()
    };
    let stated = PrivacyStatement::new(&plan, &ledger, disclosure).unwrap();
    let said = &stated.accountant;
    assert!(!said.contains("exact"), "{said}");
    assert!(stated.to_string().contains(&format!("Accountant: {said}.")));
}

/// Where the unit is the user, nothing promises anything of a record.
#[test]
fn a_guarantee_for_users_says_users() {
    let request = PlanRequest {
        unit: Unit::User {
            most_records: 3.try_into().unwrap(),
            owners: [7; 32],
        },
        units: 5000,
        ..REQUEST
    };
    let disclosure = Disclosure {
        groups: vec![],
        ..disclosure()
    };
    let stated = statement(&request, 300, 0, disclosure.clone());
    // The same events as of records: what a user is charged.
    let records = PlanRequest {
        unit: Unit::Record,
        ..request
    };
    assert_eq!(stated.upper, statement(&records, 300, 0, disclosure).upper);
    assert_eq!((stated.units, stated.records), (5000, 20_000));
    let text = stated.to_string();
    for words in [
        "for one user with all their records (add or remove them)",
        "without that one user's records",
        "each of 5000 users is in a step with probability 0.0512",
        "at most 3 records are used",
        "each user's gradient, the mean over the records that are used, as one clipped",
        "Data set: 20000 records",
        "Users: 5000",
        &"07".repeat(32),
    ] {
        assert!(text.contains(words), "{text}\ndoes not say {words:?}");
    }
    assert!(!text.contains("for one record") && !text.contains("each record's gradient"));
    let json = serde_json::to_value(&stated).unwrap();
    assert_eq!(json["unit"]["user"]["most_records"], 3);
    assert_eq!(
        serde_json::from_value::<PrivacyStatement>(json).unwrap(),
        stated
    );
}

#[test]
fn the_full_batch_and_a_large_delta_are_said() {
    let target = PrivacyTarget {
        epsilon: 8.0,
        delta: 1e-3,
    };
    let request = PlanRequest {
        target,
        batch: 20_000,
        steps: 5,
        ..REQUEST
    };
    let stated = statement(&request, 5, 0, disclosure());
    assert_eq!(stated.sampler, Sampler::Full);
    let text = stated.to_string();
    assert!(text.contains("Sampler: none; all 20000 records"));
    assert!(text.contains("Warning: delta 0.001 is not below 1/N"));
}

#[test]
fn nothing_spent_is_said_too() {
    let stated = statement(&REQUEST, 0, 0, disclosure());
    assert_eq!((stated.upper, stated.steps), (0.0, 0));
    assert_eq!(stated.groups[0].epsilon, Some(0.0));
}

#[test]
fn json_has_the_agreed_fields_and_reads_back() {
    let stated = statement(&REQUEST, 50, 0, disclosure());
    let json = serde_json::to_value(&stated).unwrap();
    for field in [
        "epsilon", "lower", "upper", "delta", "sigma", "rate", "steps", "clip",
    ] {
        assert!(json[field].is_number(), "{field}");
    }
    assert_eq!(json["adjacency"], "add_remove");
    assert_eq!(json["sampler"], "poisson");
    assert_eq!(json["unit"], "record");
    assert_eq!(
        serde_json::from_value::<PrivacyStatement>(json).unwrap(),
        stated
    );
}
