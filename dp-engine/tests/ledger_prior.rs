//! A run that comes after others: what they spent counts in its noise, in its cap and in its report.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{CHARGE, HEADER, place, start};
use dp_core::accounting::{Event, Run};
use dp_core::ledger::{Charge, Header};
use dp_engine::accountant;
use dp_engine::checkpoint::Dataset;
use dp_engine::keys::RunKeys;
use dp_engine::ledger::{LedgerFile, LedgerFileError, PriorSpend};
use dp_engine::plan::{Plan, PlanError, PlanRequest, PrivacyTarget, Unit};
use dp_engine::report::{Disclosure, PrivacyStatement};
use dp_engine::run::PrivateRun;
use tempfile::TempDir;

const TARGET: PrivacyTarget = PrivacyTarget {
    epsilon: 3.0,
    delta: 1e-6,
};

const REQUEST: PlanRequest = PlanRequest {
    target: TARGET,
    unit: Unit::Record,
    units: 5000,
    batch: 64,
    steps: 200,
    clip: 1.0,
    eta: 1e-3,
};

/// A step of a tuning run: other settings, the same records.
const TUNING: Charge = Charge {
    event: Event::PoissonGaussian {
        rate: 0.02,
        sigma: 1.5,
    },
    ..CHARGE
};

/// A ledger of `steps` tuning steps.
fn tuning(path: &Path, steps: u64) {
    let header = Header {
        config: [9; 32],
        ..HEADER
    };
    let process = RunKeys::generate().unwrap().process;
    let mut ledger = LedgerFile::create(path, &header, TARGET, process).unwrap();
    spend(&mut ledger, 0..steps);
}

fn spend(ledger: &mut LedgerFile, steps: std::ops::Range<u64>) {
    for step in steps {
        let reservation = ledger.reserve(step, TUNING).unwrap();
        ledger.commit(reservation).unwrap();
    }
}

/// Another start of the tuning run spends more.
fn grow(path: &Path, steps: std::ops::Range<u64>) {
    let header = Header {
        config: [9; 32],
        ..HEADER
    };
    let process = RunKeys::generate().unwrap().process;
    let (mut ledger, _) = LedgerFile::open(path, &header, TARGET, process).unwrap();
    spend(&mut ledger, steps);
}

/// A tuning ledger of that many steps in a folder that goes away at the end.
fn tuned(steps: u64) -> (TempDir, PathBuf) {
    let (folder, own) = place();
    let path = own.with_file_name("tuning.bin");
    tuning(&path, steps);
    (folder, path)
}

fn read(paths: &[&PathBuf]) -> Result<PriorSpend, LedgerFileError> {
    let paths: Vec<PathBuf> = paths.iter().map(|&path| path.clone()).collect();
    PriorSpend::read(&paths, &HEADER.dataset, &HEADER.unit)
}

/// Steps of `plan` that a new ledger lets through, and the ledger after them.
fn all_steps(path: &Path, plan: &Plan) -> (u64, LedgerFile) {
    let process = RunKeys::generate().unwrap().process;
    let prior = plan.prior().clone();
    let mut ledger =
        LedgerFile::create_after(path, &HEADER, plan.target(), process, prior).unwrap();
    let mut steps = 0;
    loop {
        match ledger.reserve(steps, plan.charge()) {
            Ok(reservation) => ledger.commit(reservation).unwrap(),
            Err(LedgerFileError::OverBudget { .. }) => break,
            Err(error) => panic!("{error}"),
        }
        steps += 1;
    }
    (steps, ledger)
}

fn upper(events: &[(Event, u64)]) -> f64 {
    accountant::epsilon(Run::add_remove(events), TARGET.delta)
        .unwrap()
        .upper
}

#[test]
fn all_runs_together_are_within_the_target() {
    for steps in [1, 60, 250] {
        let (folder, tuning) = tuned(steps);
        let plan = Plan::after(&REQUEST, read(&[&tuning]).unwrap()).unwrap();
        let all = [(TUNING.event, steps), (plan.event(), REQUEST.steps)];
        assert!(upper(&all) <= 3.0, "{steps}: {}", upper(&all));
        // Nor is the budget wasted.
        let less = Event::PoissonGaussian {
            rate: plan.rate(),
            sigma: 0.99 * plan.sigma(),
        };
        assert!(upper(&[(TUNING.event, steps), (less, REQUEST.steps)]) > 3.0);
        assert!(plan.sigma() > Plan::new(&REQUEST).unwrap().sigma());
        assert_eq!(plan.epsilon(), plan.epsilon_after(REQUEST.steps).unwrap());

        let (done, ledger) = all_steps(&folder.path().join("run"), &plan);
        assert!((200..=202).contains(&done), "{done}");
        assert_eq!(ledger.spent(), [(plan.event(), done)]);
        assert_eq!(
            ledger.total(),
            [(TUNING.event, steps), (plan.event(), done)]
        );
        let epsilon = ledger.epsilon(TARGET.delta).unwrap();
        assert!(epsilon.upper <= 3.0 && epsilon.lower > 2.9, "{epsilon:?}");
    }
}

/// A plan that knows nothing of the tuning run, capped with what it spent: the cap is the accountant's.
#[test]
fn the_cap_counts_what_was_spent_before() {
    let (folder, tuning) = tuned(100);
    let charge = Plan::new(&REQUEST).unwrap().charge();
    let process = RunKeys::generate().unwrap().process;
    let prior = read(&[&tuning]).unwrap();
    let path = folder.path().join("run");
    let mut ledger = LedgerFile::create_after(&path, &HEADER, TARGET, process, prior).unwrap();
    let with = |steps| upper(&[(TUNING.event, 100), (charge.event, steps)]);
    let allowed = (1..)
        .take_while(|&steps| with(steps) <= 3.0)
        .last()
        .unwrap();
    assert!((10..190).contains(&allowed), "{allowed}");
    for step in 0..allowed {
        let reservation = ledger.reserve(step, charge).unwrap();
        ledger.commit(reservation).unwrap();
    }
    let bytes = fs::read(&path).unwrap();
    let error = ledger.reserve(allowed, charge).unwrap_err();
    assert!(
        matches!(error, LedgerFileError::OverBudget { with_step, .. } if with_step == with(allowed + 1)),
        "{error}"
    );
    assert!(error.to_string().contains("spent before"));
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

#[test]
fn a_ledger_given_twice_counts_once() {
    let (folder, tuning) = tuned(40);
    let copy = folder.path().join("copy");
    fs::copy(&tuning, &copy).unwrap();
    grow(&tuning, 40..50);
    for paths in [
        vec![&tuning, &tuning],
        vec![&copy, &tuning],
        vec![&tuning, &copy, &tuning],
    ] {
        let prior = read(&paths).unwrap();
        assert_eq!(prior.events(), [(TUNING.event, 50)]);
        assert_eq!(prior.ledgers().len(), 1);
        assert_eq!(prior.ledgers()[0].ledger, tuning);
    }
    // Two runs of the same settings count both.
    let other = folder.path().join("other");
    self::tuning(&other, 7);
    assert_eq!(
        read(&[&other, &tuning]).unwrap().events(),
        [(TUNING.event, 57)]
    );
    assert!(read(&[]).unwrap().is_empty());
}

#[test]
fn a_ledger_that_cannot_count_is_refused_by_name() {
    let (folder, tuning) = tuned(3);
    let refused = |paths: &[&PathBuf], words: &[&str]| {
        let error = read(paths).unwrap_err();
        let message = error.to_string();
        for word in words {
            assert!(message.contains(word), "{message:?} does not say {word:?}");
        }
        error
    };
    let strange = folder.path().join("strange");
    let header = Header {
        dataset: [0xA1; 32],
        ..HEADER
    };
    drop(LedgerFile::create(&strange, &header, TARGET, start()).unwrap());
    let both = ["strange", &"a1".repeat(32), &"d5".repeat(32)];
    let error = refused(&[&tuning, &strange], &both);
    assert!(matches!(error, LedgerFileError::PriorOtherDataset { .. }));

    let missing = folder.path().join("missing");
    refused(&[&missing], &["missing", "cannot open"]);
    let damaged = folder.path().join("damaged");
    let mut bytes = fs::read(&tuning).unwrap();
    bytes[300] ^= 1;
    fs::write(&damaged, bytes).unwrap();
    refused(&[&damaged], &["damaged", "byte 256"]);
}

/// What a run spends while another counts its ledger would be counted by neither.
#[test]
fn a_ledger_does_not_grow_while_it_is_counted() {
    let (_folder, tuning) = tuned(3);
    let header = Header {
        config: [9; 32],
        ..HEADER
    };
    let open = || LedgerFile::open(&tuning, &header, TARGET, start());
    let writing = open().unwrap();
    let error = read(&[&tuning]).unwrap_err();
    assert!(
        matches!(error, LedgerFileError::PriorBusy { .. }),
        "{error}"
    );
    drop(writing);

    let plan = Plan::after(&REQUEST, read(&[&tuning]).unwrap()).unwrap();
    assert!(matches!(
        open().unwrap_err(),
        LedgerFileError::Locked { .. }
    ));
    // Others may count it too.
    read(&[&tuning]).unwrap();
    drop(plan);
    open().unwrap();
}

/// What was charged for a record says nothing of a user, nor for other users; how many of a user's records a step used is no matter.
#[test]
fn ledgers_of_another_unit_are_refused() {
    let (folder, of_records) = tuned(3);
    let of = |most_records: u32, owner: u8| Unit::User {
        most_records: most_records.try_into().unwrap(),
        owners: [owner; 32],
    };
    let of_users = folder.path().join("users");
    let header = Header {
        unit: of(4, 7),
        ..HEADER
    };
    drop(LedgerFile::create(&of_users, &header, TARGET, start()).unwrap());
    let read =
        |path: &PathBuf, unit| PriorSpend::read(std::slice::from_ref(path), &HEADER.dataset, &unit);
    read(&of_records, Unit::Record).unwrap();
    read(&of_users, of(4, 7)).unwrap();
    read(&of_users, of(1, 7)).unwrap();
    for (path, unit, words) in [
        (
            &of_records,
            of(4, 7),
            ["is for one record", "is for one user"],
        ),
        (
            &of_users,
            Unit::Record,
            ["is for one user", "is for one record"],
        ),
        (&of_users, of(4, 8), ["0707", "0808"]),
    ] {
        let error = read(path, unit).unwrap_err();
        assert!(
            matches!(error, LedgerFileError::PriorOtherUnit { .. }),
            "{error}"
        );
        let message = error.to_string();
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
    }
}

#[test]
fn nothing_left_is_told_before_anything_else() {
    let (_folder, tuning) = tuned(250);
    let spent = upper(&[(TUNING.event, 250)]);
    for epsilon in [spent, 0.9 * spent] {
        let request = PlanRequest {
            target: PrivacyTarget { epsilon, ..TARGET },
            ..REQUEST
        };
        let error = Plan::after(&request, read(&[&tuning]).unwrap()).unwrap_err();
        assert_eq!(
            error,
            PlanError::SpentBefore {
                epsilon,
                delta: 1e-6,
                spent
            }
        );
    }
}

/// The noise of a run cannot change half way; what its forerunners spent since then takes steps from its end.
#[test]
fn a_resumed_run_counts_what_the_others_spent_since() {
    let (folder, tuning) = tuned(60);
    let plan = Plan::after(&REQUEST, read(&[&tuning]).unwrap()).unwrap();
    let path = folder.path().join("run");
    let process = RunKeys::generate().unwrap().process;
    let prior = plan.prior().clone();
    let mut ledger = LedgerFile::create_after(&path, &HEADER, TARGET, process, prior).unwrap();
    for step in 0..20 {
        let _lost = ledger.reserve(step, plan.charge()).unwrap();
    }
    drop(ledger);
    let planned = plan.prior().planned().to_vec();
    let sigma = plan.sigma();
    drop(plan);

    grow(&tuning, 60..110);
    // It may lie elsewhere by now.
    let moved = folder.path().join("moved");
    fs::rename(&tuning, &moved).unwrap();
    let again = PriorSpend::read_again(
        std::slice::from_ref(&moved),
        &HEADER.dataset,
        &HEADER.unit,
        &planned,
    );
    let again = again.unwrap();
    assert_eq!(again.planned(), planned);
    assert_eq!(again.planned_events(), [(TUNING.event, 60)]);
    assert_eq!(again.events(), [(TUNING.event, 110)]);
    assert_eq!(again.ledgers()[0].ledger, moved);
    let plan = Plan::after(&REQUEST, again).unwrap();
    assert_eq!(plan.sigma(), sigma);

    let charge = plan.charge();
    let process = RunKeys::generate().unwrap().process;
    let prior = plan.prior().clone();
    let (mut ledger, _) = LedgerFile::open_after(&path, &HEADER, TARGET, process, prior).unwrap();
    let with = |steps| upper(&[(TUNING.event, 110), (charge.event, steps)]);
    let mut steps = 20;
    while let Ok(reservation) = ledger.reserve(steps, charge) {
        ledger.commit(reservation).unwrap();
        steps += 1;
    }
    assert!((21..195).contains(&steps), "{steps}");
    assert!(with(steps) <= 3.0 && with(steps + 1) > 3.0, "{steps}");
}

#[test]
fn a_changed_list_is_refused_by_name() {
    let (folder, tuning) = tuned(5);
    let other = folder.path().join("other");
    self::tuning(&other, 5);
    let first = read(&[&tuning]).unwrap().planned().to_vec();
    let again = |paths: &[&PathBuf], planned: &[_]| {
        let paths: Vec<PathBuf> = paths.iter().map(|&path| path.clone()).collect();
        PriorSpend::read_again(&paths, &HEADER.dataset, &HEADER.unit, planned)
    };
    again(&[&tuning], &first).unwrap();
    for paths in [vec![], vec![&other]] {
        let error = again(&paths, &first).unwrap_err();
        assert!(
            matches!(&error, LedgerFileError::PriorMissing { path, records: 11 } if *path == tuning),
            "{error}"
        );
    }
    let error = again(&[&tuning, &other], &first).unwrap_err();
    assert!(
        matches!(&error, LedgerFileError::PriorAdded { path } if *path == other),
        "{error}"
    );
    let error = again(&[&tuning], &[]).unwrap_err();
    assert!(matches!(error, LedgerFileError::PriorAdded { .. }));
    // Cut, it no longer contains what was counted.
    let bytes = fs::read(&tuning).unwrap();
    fs::write(&tuning, &bytes[..bytes.len() - 256]).unwrap();
    let error = again(&[&tuning], &first).unwrap_err();
    assert!(matches!(error, LedgerFileError::PriorMissing { .. }));
}

#[test]
fn a_run_is_not_its_own_past() {
    let (folder, tuning) = tuned(5);
    let plan = Plan::after(&REQUEST, read(&[&tuning]).unwrap()).unwrap();
    let path = folder.path().join("run");
    let mut run = PrivateRun::create(&path, &HEADER, plan, 16).unwrap();
    run.draw(0);
    run.release(|_| Ok::<_, dp_engine::run::RunError>(()))
        .unwrap();
    drop(run);
    let copy = folder.path().join("copy");
    fs::copy(&path, &copy).unwrap();
    for own in [&path, &copy] {
        let prior = read(&[&tuning, own]).unwrap();
        let error = LedgerFile::open_after(&path, &HEADER, TARGET, start(), prior).unwrap_err();
        assert!(
            matches!(&error, LedgerFileError::OwnLedger { path } if path == own),
            "{error}"
        );
    }
}

#[test]
fn the_statement_covers_all_runs_and_names_their_ledgers() {
    let (folder, tuning) = tuned(60);
    let plan = Plan::after(&REQUEST, read(&[&tuning]).unwrap()).unwrap();
    let (done, ledger) = all_steps(&folder.path().join("run"), &plan);
    let disclosure = Disclosure {
        dataset: Dataset {
            fingerprint: HEADER.dataset,
            records: 5000,
        },
        rng: "ChaCha20".into(),
        without_noise: vec![],
        groups: vec![("patient".into(), 2)],
    };
    let stated = PrivacyStatement::new(&plan, &ledger, disclosure).unwrap();
    let all = [(TUNING.event, 60), (plan.event(), done)];
    assert_eq!(stated.upper, upper(&all));
    assert_eq!(stated.steps, done);
    let before = stated.before.as_ref().unwrap();
    assert_eq!(before.upper, upper(&all[..1]));
    assert_eq!(before.this_run, upper(&all[1..]));
    assert!(stated.upper > before.upper && stated.upper > before.this_run);
    // The sum of two runs is worth less than their composition.
    assert!(
        (before.sum - before.upper - before.this_run).abs() < 1e-9 && before.sum > stated.upper
    );
    assert!((before.sum_delta / 2e-6 - 1.0).abs() < 1e-12);
    assert_eq!((before.events[0].count, stated.events[0].count), (60, done));
    // A group has all of it against it too.
    let pair = |event: Event| match event {
        Event::PoissonGaussian { rate, sigma } => Event::GroupPoissonGaussian {
            rate,
            sigma,
            group: 2,
        },
        other => other,
    };
    let pairs = all.map(|(event, count)| (pair(event), count));
    assert_eq!(stated.groups[0].epsilon, Some(upper(&pairs)));

    let text = stated.to_string();
    let rounded_up = |epsilon: f64| format!("{:.4}", (epsilon * 1e4).ceil() / 1e4);
    for words in [
        "for one record (add or remove it), over this run and those before it.",
        &format!("epsilon at most {}", rounded_up(before.upper)),
        &format!("by this run alone: at most {}", rounded_up(before.this_run)),
        &format!("the sum of the runs: epsilon {}", rounded_up(before.sum)),
        "Before: 60 times sigma 1.5, rate 0.02",
        "tuning.bin: 121 records",
    ] {
        assert!(text.contains(words), "{text}\ndoes not say {words:?}");
    }
    let json = serde_json::to_value(&stated).unwrap();
    let back: PrivacyStatement = serde_json::from_value(json).unwrap();
    assert_eq!(back, stated);
}
