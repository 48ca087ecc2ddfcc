//! Bugs that break the guarantee, planted one at a time, and the audit that catches each; the true step passes them all.
//!
//! Each bug is a step that differs from the true one in one place ([`step`]). It is test code: no feature turns it on and no program links
//! it. Keys are numbers here, so every run of these tests is the same.

mod audits;
mod step;

use audits::{ATTACKS, Attack, SEEDS};
use step::{
    DrawnBatchAsDivisor, LayerWithoutNoise, NoNoiseOnAnEmptyBatch, NoiseOfTheAverage,
    OneAndAHalfClip, SIGMA, SameKeyOnEachShard, SameNoiseAtEveryStep, Step, TrueStep,
};

/// What the accountant was told: a Gaussian step is 1/sigma-GDP.
const CLAIMED: f64 = 1.0 / SIGMA;

/// In every one of the seeds the attack proves more than was claimed.
fn assert_caught(step: &dyn Step, attack: Attack) {
    for seed in 0..SEEDS {
        let found = attack.run(step, seed);
        assert!(
            found.mu > CLAIMED,
            "{attack:?}, seed {seed}: not caught, {found:?}"
        );
    }
}

#[test]
fn the_true_step_passes_every_audit() {
    for attack in ATTACKS {
        for seed in 0..SEEDS {
            let found = attack.run(&TrueStep, seed);
            assert!(
                found.mu <= CLAIMED,
                "{attack:?}, seed {seed}: a false alarm, {found:?}"
            );
            // An audit that sees nothing would pass anything.
            let least = if attack.is_tight() { 0.7 } else { 0.4 };
            assert!(
                found.mu > least * CLAIMED,
                "{attack:?}, seed {seed}: blind, {found:?}"
            );
        }
    }
}

#[test]
fn noise_of_the_average_is_caught() {
    assert_caught(&NoiseOfTheAverage, Attack::Canary { layer: 0 });
}

#[test]
fn one_and_a_half_clip_is_caught() {
    assert_caught(&OneAndAHalfClip, Attack::Canary { layer: 0 });
}

#[test]
fn a_layer_without_noise_is_caught() {
    assert_caught(&LayerWithoutNoise, Attack::Canary { layer: 1 });
}

#[test]
fn the_same_noise_at_every_step_is_caught() {
    assert_caught(&SameNoiseAtEveryStep, Attack::TwoSteps);
}

#[test]
fn the_same_key_on_each_shard_is_caught() {
    assert_caught(&SameKeyOnEachShard, Attack::TwoShards);
}

#[test]
fn an_empty_batch_without_noise_is_caught() {
    assert_caught(&NoNoiseOnAnEmptyBatch, Attack::EmptyBatch);
}

#[test]
fn the_drawn_batch_as_divisor_is_caught() {
    assert_caught(&DrawnBatchAsDivisor, Attack::AgainstTheRest);
}
