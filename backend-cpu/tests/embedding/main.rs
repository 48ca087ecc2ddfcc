//! The guide `docs/embedding.md`: its program is `training.rs`, and that trains.

mod training;

use dp_engine::ledger::inspect;
use dp_engine::plan::PrivacyTarget;
use training::Record;

const TARGET: PrivacyTarget = PrivacyTarget {
    epsilon: 2.0,
    delta: 1e-5,
};

#[test]
fn the_guide_shows_the_program_that_is_tested() {
    let guide = include_str!("../../../docs/embedding.md");
    let (_, code) = guide.split_once("```rust\n").unwrap();
    let (code, _) = code.split_once("```").unwrap();
    assert!(
        code == include_str!("training.rs"),
        "copy backend-cpu/tests/embedding/training.rs into docs/embedding.md"
    );
}

/// A held-out accuracy far above chance, within the budget, every step paid and committed.
#[test]
fn the_program_learns_within_its_budget() {
    let device = dp_backend_cpu::open().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let ledger = directory.path().join("ledger.bin");
    let (model, epsilon) = training::train(&device, &records(1, 1000), TARGET, &ledger).unwrap();
    assert!(epsilon > 1.5 && epsilon <= TARGET.epsilon, "{epsilon}");
    let accuracy = accuracy(&model, &records(2, 1000));
    println!("held-out accuracy {accuracy} at epsilon {epsilon}");
    assert!(accuracy > 0.8, "{accuracy}");
    // The negative control: a model that learned nothing.
    assert!((0.4..0.6).contains(&self::accuracy(&[0.0; 9], &records(2, 1000))));

    let contents = inspect(&ledger).unwrap();
    assert_eq!(contents.summary.state.reservations(), 60);
    assert_eq!(contents.summary.state.commits(), 60);
}

/// Two clouds whose centres are apart along every feature.
fn records(seed: u64, count: usize) -> Vec<Record> {
    let mut state = seed;
    let mut uniform = || {
        // Knuth's constants.
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u32 << 24) as f32 - 0.5
    };
    (0..count)
        .map(|_| {
            let class = uniform() > 0.0;
            let centre = if class { 0.25 } else { -0.25 };
            (core::array::from_fn(|_| centre + 2.0 * uniform()), class)
        })
        .collect()
}

fn accuracy(model: &[f32], records: &[Record]) -> f64 {
    let right = records.iter().filter(|(x, class)| {
        let logit = model[8] + x.iter().zip(model).map(|(x, w)| x * w).sum::<f32>();
        (logit > 0.0) == *class
    });
    right.count() as f64 / records.len() as f64
}
