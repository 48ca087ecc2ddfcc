//! Keys: fresh at every start, open only with a reservation of the same start, never shown.

mod common;

use common::{BUDGET, CHARGE, HEADER, create, place};
use dp_core::ledger::Charge;
use dp_core::noise::{Generator, Hardened};
use dp_engine::keys::{KeyError, NoiseKey, RunKeys};
use dp_engine::ledger::{LedgerFile, Reservation};
use dp_engine::plan::{Plan, PlanRequest, Unit};

fn words(key: &NoiseKey, reservation: Reservation) -> [u32; 8] {
    let (mut noise, _receipt) = key.for_step(reservation).unwrap();
    *noise.draw(Generator::ChaCha20).key.words()
}

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
    assert_ne!(a.process(), b.process());
    let (a, b) = (words(&first, a), words(&second, b));
    assert_ne!(a, b);
    // All 256 bits are drawn: no word is left zero.
    assert!(a.iter().all(|&word| word != 0));
}

#[test]
fn noise_is_that_of_the_reservation() {
    let (_directory, path) = place();
    let (mut ledger, key) = create(&path);
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
    let (noise, _receipt) = key.for_step(reservation).unwrap();
    assert_eq!((noise.step(), noise.std()), (42, plan.noise_std()));
}

/// Up, by less than one unit in the last place.
#[test]
fn the_f32_standard_deviation_is_rounded_up() {
    let (_directory, path) = place();
    let (mut ledger, key) = create(&path);
    for step in 0..50 {
        let clip = 0.1 + step as f64 / 7.0;
        let reservation = ledger.reserve(step, Charge { clip, ..CHARGE }).unwrap();
        let (noise, _receipt) = key.for_step(reservation).unwrap();
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
    let error = stranger.noise.for_step(reservation).unwrap_err();
    assert_eq!(error, KeyError::OtherStart { step: 3 });
    assert!(error.to_string().contains("step 3"));
}

/// Tensors are numbered by the noise itself, whoever asks and by whichever generator.
#[test]
fn no_two_draws_of_a_step_have_one_number() {
    let (_directory, path) = place();
    let (mut ledger, key) = create(&path);
    for step in [5, 6] {
        let reservation = ledger.reserve(step, CHARGE).unwrap();
        let (mut noise, receipt) = key.for_step(reservation).unwrap();
        for tensor in 0..4 {
            let generator = [Generator::ChaCha20, Generator::Philox4x32x10NotSecure][tensor % 2];
            let draw = noise.draw(generator);
            assert_eq!((draw.step, draw.tensor), (step, tensor as u32));
            assert_eq!((draw.first_element, draw.generator), (0, generator));
            assert_eq!(draw.std, noise.std_f32());
        }
        let left = noise.draws(Generator::ChaCha20).take(3);
        assert_eq!(left.map(|draw| draw.tensor).collect::<Vec<_>>(), [4, 5, 6]);
        ledger.commit(receipt).unwrap();
    }
}

/// A hardened draw is of the same coordinates, and numbered in one row with the others.
#[test]
fn hardened_draws_are_numbered_with_the_others() {
    let (_directory, path) = place();
    let (mut ledger, key) = create(&path);
    let reservation = ledger.reserve(7, CHARGE).unwrap();
    let (mut noise, _receipt) = key.for_step(reservation).unwrap();
    let plan = hardened(CHARGE.noise_multiplier(), CHARGE.clip * (1.0 + CHARGE.eta)).unwrap();
    let first = noise.draw(Generator::ChaCha20);
    let second = noise.draw_hardened(plan).unwrap();
    let third = noise.draw(Generator::ChaCha20);
    assert_eq!((first.tensor, second.tensor, third.tensor), (0, 1, 2));
    assert_eq!((second.step, second.first_element), (7, 0));
    assert_eq!((second.plan, second.key.words()), (plan, first.key.words()));
    second.check(100).unwrap();
}

/// Less noise than was charged for is refused, in the sum's unit or relative to the plan's own sensitivity.
#[test]
fn a_hardened_plan_has_the_noise_that_was_charged() {
    let (_directory, path) = place();
    let (mut ledger, key) = create(&path);
    let reservation = ledger.reserve(7, CHARGE).unwrap();
    let (mut noise, _receipt) = key.for_step(reservation).unwrap();
    let (sigma, sensitivity) = (CHARGE.noise_multiplier(), CHARGE.clip * (1.0 + CHARGE.eta));
    for (multiplier, scale) in [(0.99, 1.0), (1.0, 0.99), (0.99, 1.02), (1.01, 0.98)] {
        let plan = hardened(sigma * multiplier, sensitivity * scale).unwrap();
        let (weak_multiplier, weak_std) = (multiplier < 1.0, multiplier * scale < 1.0);
        assert!(weak_multiplier || weak_std);
        let refused = noise.draw_hardened(plan).unwrap_err();
        assert!(
            matches!(refused, KeyError::WeakPlan { charged_std, .. } if charged_std == noise.std()),
            "{refused}"
        );
    }
    for (multiplier, scale) in [(1.0, 1.0), (1.01, 1.0), (1.0, 1.01)] {
        let plan = hardened(sigma * multiplier, sensitivity * scale).unwrap();
        drop(noise.draw_hardened(plan).unwrap());
    }
    assert_eq!(noise.draw(Generator::ChaCha20).tensor, 3);
}

fn hardened(multiplier: f64, sensitivity: f64) -> Result<Hardened, dp_core::noise::HardenedError> {
    Hardened::plan(multiplier, sensitivity, CHARGE.eta, 100, -10)
}

#[test]
fn nothing_shows_a_key() {
    let (_directory, path) = place();
    let keys = RunKeys::generate().unwrap();
    let shown_first = format!("{keys:?}");
    let mut ledger = LedgerFile::create(&path, &HEADER, BUDGET, keys.process).unwrap();
    let reservation = ledger.reserve(0, CHARGE).unwrap();
    let shown_first = format!("{shown_first} {ledger:?} {reservation:?}");
    let (mut noise, receipt) = keys.noise.for_step(reservation).unwrap();
    let draw = noise.draw(Generator::ChaCha20);
    let shown = format!("{shown_first} {noise:?} {receipt:?} {draw:?}");
    for word in draw.key.words() {
        assert!(!shown.contains(&word.to_string()) && !shown.contains(&format!("{word:x}")));
    }
    let bytes = std::fs::read(&path).unwrap();
    for word in draw.key.words() {
        assert!(!bytes.windows(4).any(|window| window == word.to_le_bytes()));
    }
}
