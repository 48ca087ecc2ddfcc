//! A private run draws, pays, releases and commits in that order, and in no other.

use std::fs;
use std::path::Path;

use dp_core::ledger::{HEADER_LEN, Header, Unit};
use dp_core::noise::Generator;
use dp_engine::keys::StepNoise;
use dp_engine::ledger::{LedgerFileError, inspect};
use dp_engine::plan::{Plan, PlanRequest, PrivacyTarget};
use dp_engine::run::{PrivateRun, RunError};

const HEADER: Header = Header {
    dataset: [1; 32],
    config: [2; 32],
    unit: Unit::Record,
};

fn plan(steps: u64) -> Plan {
    let target = PrivacyTarget {
        epsilon: 4.0,
        delta: 1e-5,
    };
    let request = PlanRequest {
        target,
        unit: Unit::Record,
        units: 1000,
        batch: 50,
        steps,
        clip: 1.0,
        eta: 0.0,
    };
    Plan::new(&request).unwrap()
}

fn commits(path: &Path) -> (u64, u64) {
    let state = inspect(path).unwrap().summary.state;
    (state.reservations(), state.commits())
}

fn nothing(_noise: StepNoise<'_>) -> Result<(), RunError> {
    Ok(())
}

#[test]
fn every_step_is_drawn_paid_and_committed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger");
    let plan = plan(5);
    let mut run = PrivateRun::create(&path, &HEADER, plan.clone(), 16).unwrap();
    let mut drawn = 0;
    for step in 0..5 {
        for microbatch in run.draw(step).microbatches() {
            assert_eq!(microbatch.mask.len(), 16);
            for (row, record) in microbatch.present() {
                assert_eq!(microbatch.records[row], Some(record as u32));
                assert_eq!(microbatch.mask[row], 1.0);
                drawn += 1;
            }
        }
        let paid = commits(&path);
        let before_the_noise = run
            .release(|mut noise| {
                for tensor in 0..3 {
                    let draw = noise.draw(Generator::ChaCha20);
                    assert_eq!(
                        (draw.step, draw.tensor, draw.first_element),
                        (step, tensor, 0)
                    );
                    assert_eq!(draw.std, noise.std_f32());
                }
                let left = noise.draws(Generator::ChaCha20).take(2);
                assert_eq!(left.map(|draw| draw.tensor).collect::<Vec<_>>(), [3, 4]);
                Ok::<_, RunError>(commits(&path))
            })
            .unwrap();
        assert_eq!(before_the_noise, (paid.0 + 1, paid.1));
        assert_eq!(commits(&path), (step + 1, step + 1));
    }
    // Five steps tell no rate. Of 2000 at a rate of 0.05 the number drawn has a standard deviation of 308: six of them are 1.8% of it.
    drawn += (5..2000).map(|step| run.draw(step).len()).sum::<usize>();
    run.discard();
    let (expected, std) = (100_000.0, (100_000.0f64 * 0.95).sqrt());
    assert!((drawn as f64 - expected).abs() < 6.0 * std, "{drawn}");
    let spent = run.epsilon().unwrap();
    assert!(spent.upper <= 4.0 && spent.upper > 3.5, "{spent:?}");
    assert_eq!(run.plan(), &plan);
}

#[test]
fn a_batch_is_released_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger");
    let mut run = PrivateRun::create(&path, &HEADER, plan(5), 16).unwrap();
    assert!(matches!(run.release(nothing), Err(RunError::NotDrawn)));
    run.draw(0);
    run.release(nothing).unwrap();
    assert!(matches!(run.release(nothing), Err(RunError::NotDrawn)));
    assert_eq!(commits(&path), (1, 1));
}

/// A record could be in each of the batches, and the charge is for one.
#[test]
fn several_batches_are_not_one_release() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger");
    let mut run = PrivateRun::create(&path, &HEADER, plan(5), 16).unwrap();
    for second in [1, 0] {
        run.draw(0);
        run.draw(second);
        for _ in 0..2 {
            let refused = run.release(nothing);
            let Err(error @ RunError::DrawnTwice { .. }) = refused else {
                panic!("{refused:?}")
            };
            let words = error.to_string();
            assert!(words.contains(&format!("steps 0 and {second}")), "{words}");
        }
        run.discard();
        assert!(matches!(run.release(nothing), Err(RunError::NotDrawn)));
    }
    assert_eq!(commits(&path), (0, 0));
    run.draw(0);
    run.release(nothing).unwrap();
    assert_eq!(commits(&path), (1, 1));
}

/// Without the head of its checkpoint a run would go on with an older copy of its ledger, and spend again what is not in it.
#[test]
fn a_run_resumes_with_the_ledger_that_its_checkpoint_saw() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger");
    let step = |run: &mut PrivateRun, step| {
        run.draw(step);
        run.release(nothing).unwrap();
        run.head().unwrap()
    };
    let mut run = PrivateRun::create(&path, &HEADER, plan(5), 16).unwrap();
    let early = step(&mut run, 0);
    drop(run);
    let older = fs::read(&path).unwrap();
    let resume = |head| PrivateRun::resume(&path, &HEADER, plan(5), 16, head);
    let (mut run, _) = resume(&early).unwrap();
    let late = step(&mut run, 1);
    drop(run);
    let whole = fs::read(&path).unwrap();

    let cut = whole[..HEADER_LEN / 2].to_vec();
    for other in [older, cut, Vec::new()] {
        fs::write(&path, &other).unwrap();
        let refused = resume(&late);
        assert!(
            matches!(
                refused,
                Err(RunError::Ledger(LedgerFileError::RolledBack { .. }))
            ),
            "{refused:?}"
        );
        assert_eq!(fs::read(&path).unwrap(), other, "it was written to");
    }
    fs::write(&path, &whole).unwrap();
    let (run, recovery) = resume(&late).unwrap();
    assert_eq!((recovery.reservations, recovery.unconfirmed), (2, 0));
    assert_eq!(run.ledger().state().commits(), 2);
}

#[test]
fn a_release_that_fails_stays_paid() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger");
    let mut run = PrivateRun::create(&path, &HEADER, plan(5), 16).unwrap();
    run.draw(0);
    let failed: Result<(), Box<dyn std::error::Error>> = run.release(|_| Err("the device".into()));
    assert_eq!(failed.unwrap_err().to_string(), "the device");
    assert_eq!(commits(&path), (1, 0));

    // The sums may hold the batch of step 0 still: with another on top of it they would be two.
    for _ in 0..2 {
        run.draw(1);
        let refused = run.release(nothing);
        assert!(
            matches!(refused, Err(RunError::HalfReleased { step: 0 })),
            "{refused:?}"
        );
    }
    assert_eq!(commits(&path), (1, 0));
    run.discard();
    run.draw(1);
    run.release(nothing).unwrap();
    assert_eq!(commits(&path), (2, 1));

    drop(run);
    let (mut run, recovery) = PrivateRun::open(&path, &HEADER, plan(5), 16).unwrap();
    assert_eq!((recovery.reservations, recovery.unconfirmed), (2, 1));
    run.draw(2);
    run.release(nothing).unwrap();
    assert_eq!(commits(&path), (3, 2));
}

#[test]
fn a_step_past_the_budget_draws_no_noise() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger");
    let mut run = PrivateRun::create(&path, &HEADER, plan(1), 16).unwrap();
    run.draw(0);
    run.release(nothing).unwrap();
    run.draw(1);
    let answer: Result<(), RunError> = run.release(|_| panic!("noise for a step that is not paid"));
    let over = matches!(
        answer,
        Err(RunError::Ledger(LedgerFileError::OverBudget { .. }))
    );
    assert!(over, "{answer:?}");
    // Its batch was not let go of: one more in the same sums would be two in one release.
    run.draw(2);
    let refused = run.release(nothing);
    assert!(
        matches!(
            refused,
            Err(RunError::DrawnTwice {
                first: 1,
                second: 2
            })
        ),
        "{refused:?}"
    );
}

/// A guarantee for users on a ledger that says records would be read as one for records.
#[test]
fn a_header_of_another_unit_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger");
    let unit = Unit::User {
        most_records: 4.try_into().unwrap(),
        owners: [7; 32],
    };
    let error = PrivateRun::create(&path, &Header { unit, ..HEADER }, plan(1), 16).unwrap_err();
    assert!(matches!(error, RunError::Unit { .. }), "{error}");
    assert!(error.to_string().contains("user") && !path.exists());
}
