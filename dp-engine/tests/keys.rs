//! Keys: fresh at every start, open only with a reservation of the same start, never shown.

mod common;

use common::{CHARGE, create, place};
use dp_core::ledger::Charge;
use dp_engine::keys::{KeyError, RunKeys};
use dp_engine::plan::{Plan, PlanRequest, Unit};

#[test]
fn every_start_has_other_keys() {
    let (_directory, path) = place();
    let (mut ledger, first) = create(&path);
    let (_other_directory, other_path) = place();
    let (mut other_ledger, second) = create(&other_path);
    let (a, b) = (
        ledger.reserve(0, CHARGE).unwrap(),
        other_ledger.reserve(0, CHARGE).unwrap(),
    );
    let (a, b) = (
        first.noise.for_step(&a).unwrap(),
        second.noise.for_step(&b).unwrap(),
    );
    assert_ne!(a.key().words(), b.key().words());
    assert_ne!(first.process, second.process);
    // All 256 bits are drawn: no word is left zero.
    assert!(a.key().words().iter().all(|&word| word != 0));
}

#[test]
fn noise_is_that_of_the_reservation() {
    let (_directory, path) = place();
    let (mut ledger, keys) = create(&path);
    let request = PlanRequest {
        target: common::BUDGET,
        unit: Unit::Record,
        units: 10_000,
        batch: 100,
        steps: 10,
        clip: 0.7,
        eta: 1e-3,
    };
    let plan = Plan::new(&request).unwrap();
    let reservation = ledger.reserve(42, plan.charge()).unwrap();
    let noise = keys.noise.for_step(&reservation).unwrap();
    assert_eq!((noise.step(), noise.std()), (42, plan.noise_std()));
}

/// Up, by less than one unit in the last place.
#[test]
fn the_f32_standard_deviation_is_rounded_up() {
    let (_directory, path) = place();
    let (mut ledger, keys) = create(&path);
    for step in 0..50 {
        let clip = 0.1 + step as f64 / 7.0;
        let reservation = ledger.reserve(step, Charge { clip, ..CHARGE }).unwrap();
        let noise = keys.noise.for_step(&reservation).unwrap();
        assert!(f64::from(noise.std_f32()) >= noise.std());
        assert!(f64::from(noise.std_f32().next_down()) < noise.std());
    }
}

#[test]
fn a_reservation_of_another_start_opens_nothing() {
    let (_directory, path) = place();
    let (mut ledger, _keys) = create(&path);
    let reservation = ledger.reserve(3, CHARGE).unwrap();
    let stranger = RunKeys::generate().unwrap();
    let error = stranger.noise.for_step(&reservation).unwrap_err();
    assert_eq!(error, KeyError::OtherStart { step: 3 });
    assert!(error.to_string().contains("step 3"));
}

#[test]
fn nothing_shows_a_key() {
    let (_directory, path) = place();
    let (mut ledger, keys) = create(&path);
    let reservation = ledger.reserve(0, CHARGE).unwrap();
    let noise = keys.noise.for_step(&reservation).unwrap();
    let shown = format!(
        "{keys:?} {noise:?} {:?} {ledger:?} {reservation:?}",
        noise.key()
    );
    for word in noise.key().words() {
        assert!(!shown.contains(&word.to_string()) && !shown.contains(&format!("{word:x}")));
    }
    let bytes = std::fs::read(&path).unwrap();
    for word in noise.key().words() {
        assert!(!bytes.windows(4).any(|window| window == word.to_le_bytes()));
    }
}
