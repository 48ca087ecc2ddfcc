//! A run whose clipping norm follows a quantile: what its steps are charged, what noise they get, and where the norm goes.

mod common;

use std::path::Path;

use common::{HEADER, place};
use dp_core::accounting::{self, Event};
use dp_core::clipping::{AdaptiveQuantile, MAX_CLIP, MAX_COUNTED, NoisedCounts};
use dp_core::ledger::{Charge, Entry};
use dp_core::noise::{Generator, fill_gaussian};
use dp_core::reference::add_quantile_counts;
use dp_engine::checkpoint::Dataset;
use dp_engine::keys::StepNoise;
use dp_engine::ledger::{LedgerFile, inspect};
use dp_engine::plan::{Plan, PlanError, PlanRequest, PrivacyTarget, Unit};
use dp_engine::report::{AdaptiveClip, Disclosure, PrivacyStatement};
use dp_engine::run::{PrivateRun, RunError};

const REQUEST: PlanRequest = PlanRequest {
    target: PrivacyTarget {
        epsilon: 8.0,
        delta: 1e-5,
    },
    unit: Unit::Record,
    units: 2000,
    batch: 200,
    steps: 150,
    clip: 40.0,
    eta: 1e-3,
};

fn policy(quantile: f64, count_std: f32) -> AdaptiveQuantile {
    AdaptiveQuantile::new(quantile, 0.2, count_std, REQUEST.batch as f64, 1).unwrap()
}

fn plan(count_std: f32) -> Plan {
    let plan = Plan::new(&REQUEST).unwrap();
    plan.with_adaptive_clip(policy(0.5, count_std)).unwrap()
}

/// The noise multiplier of what a step lets out, by theorem 1 of Andrew et al., from the noise that it truly gets.
fn released(charge: &Charge, counts: NoisedCounts) -> f64 {
    let moved_sum = charge.clip * (1.0 + charge.eta) / charge.noise_std();
    let moved_counts = 0.5 / f64::from(counts.std());
    1.0 / moved_sum.hypot(moved_counts)
}

/// Epsilon of all steps, if each had this multiplier.
fn epsilon(sigma: f64) -> f64 {
    let rate = REQUEST.batch as f64 / REQUEST.units as f64;
    let steps = [(Event::PoissonGaussian { rate, sigma }, REQUEST.steps)];
    let bounds = accounting::epsilon(&steps, REQUEST.target.delta).unwrap();
    bounds.upper
}

/// All steps, whatever their clipping norms, compose to the target; and a charge that forgets the counts would not.
#[test]
fn a_planned_run_stays_within_its_epsilon() {
    let plan = plan(2.5);
    let counts = plan.adaptive_clip().unwrap().counts();
    assert_eq!(plan.event(), Plan::new(&REQUEST).unwrap().event());
    assert!(plan.noise_multiplier() > plan.sigma());
    for clip in [plan.clip() as f32, 1e-3, 0.1, 7.25, 1e6] {
        let charge = plan.charge_at(clip);
        assert_eq!(
            (charge.event, charge.clip),
            (plan.event(), f64::from(clip)),
            "{clip}"
        );
        let sigma = released(&charge, counts);
        assert!((sigma / plan.sigma() - 1.0).abs() < 1e-13, "{sigma}");
        assert!(epsilon(sigma) <= 8.0 * (1.0 + 1e-10), "{}", epsilon(sigma));

        let forgetful = Charge {
            counts: None,
            ..charge
        };
        assert!(epsilon(released(&forgetful, counts)) > 8.1);
    }
    assert_eq!(plan.charge(), plan.charge_at(40.0));
    assert_eq!(plan.noise_std(), plan.charge().noise_std());
}

#[test]
fn counts_that_cannot_be_charged_are_refused() {
    let sigma = Plan::new(&REQUEST).unwrap().sigma();
    let refused = |policy| Plan::new(&REQUEST).unwrap().with_adaptive_clip(policy);
    let little = policy(0.5, (sigma * 0.49) as f32);
    let error = refused(little).unwrap_err();
    assert!(
        matches!(error, PlanError::CountStd { count_std, .. } if count_std == little.count_std())
    );
    let message = error.to_string();
    for said in [
        format!("standard deviation {}", little.count_std()),
        format!("above {:.4}", sigma / 2.0),
    ] {
        assert!(message.contains(&said), "{message} does not say {said}");
    }
    assert!(refused(policy(0.5, (sigma * 0.51) as f32)).is_ok());

    let large = PlanRequest {
        units: MAX_COUNTED * 4,
        batch: MAX_COUNTED / 2 + 1,
        ..REQUEST
    };
    let error = Plan::new(&large).unwrap();
    let error = error.with_adaptive_clip(policy(0.5, 1e5)).unwrap_err();
    assert_eq!(error, PlanError::Counted { batch: large.batch });
}

/// One reservation, two kinds of noise: each of its own deviation, under numbers that don't meet, the counts' once.
#[test]
fn sum_and_counts_have_their_own_noise() {
    let (_folder, path) = place();
    let mut run = PrivateRun::create(&path, &HEADER, plan(2.5), 16).unwrap();
    let charge = run.plan().charge();
    run.draw(3);
    run.release(|mut noise| {
        assert_eq!((noise.std(), noise.clip()), (charge.noise_std(), 40.0));
        assert_eq!(noise.counts(), charge.counts);
        let sum = noise.draw(Generator::ChaCha20);
        let counts = noise.draw_counts(Generator::ChaCha20).unwrap();
        assert_eq!((counts.std, counts.step, counts.first_element), (2.5, 3, 0));
        assert_eq!(counts.key.words(), sum.key.words());
        assert_eq!((sum.tensor, counts.tensor), (0, u32::MAX - 1));
        assert!(noise.draw_counts(Generator::ChaCha20).is_none());
        assert_eq!(noise.draw(Generator::ChaCha20).tensor, 1);
        Ok::<_, RunError>(())
    })
    .unwrap();

    // A step that is charged for a sum alone has no noise for counts.
    let (_folder, path) = place();
    let plain = Plan::new(&REQUEST).unwrap();
    let mut run = PrivateRun::create(&path, &HEADER, plain, 16).unwrap();
    run.draw(0);
    run.release(|mut noise| {
        assert!(noise.draw_counts(Generator::ChaCha20).is_none());
        Ok::<_, RunError>(())
    })
    .unwrap();
}

/// What a step gives a framework: the next clipping norm, from the counts of made norms and the noise of the reservation.
fn next_clip(policy: AdaptiveQuantile, norms: &[f32], clip: f32, mut noise: StepNoise<'_>) -> f32 {
    let squares: Vec<f32> = norms.iter().map(|norm| norm * norm).collect();
    let there = vec![1.0; norms.len()];
    let mut counts = [0.0; 2];
    add_quantile_counts(&squares, &there, &there, &[clip], &mut counts).unwrap();
    let draw = noise.draw_counts(Generator::ChaCha20).unwrap();
    let mut noised = [0.0; 2];
    let (tensor, step) = (draw.tensor, draw.step);
    fill_gaussian(
        &mut noised,
        0,
        draw.std,
        draw.key,
        draw.generator,
        step,
        tensor,
    )
    .unwrap();
    policy.next_clip(clip, counts[0] + noised[0])
}

fn charged_clips(path: &Path) -> Vec<f64> {
    let records = inspect(path).unwrap().records;
    let charges = records.iter().filter_map(|record| match record.entry {
        Entry::Reserve { charge, .. } => Some(charge),
        _ => None,
    });
    charges
        .map(|charge| {
            assert!(charge.counts.is_some());
            charge.clip
        })
        .collect()
}

/// Norms from 0 to 2 evenly, the clipping norm far above at first: it finds the median, is charged at every step as it was, and goes on where
/// it stood when the run was cut off.
#[test]
fn the_clipping_norm_finds_the_quantile_and_a_resumed_run_goes_on_from_it() {
    let (_folder, path) = place();
    let policy = policy(0.5, 10.0);
    let norm = |record: usize| record as f32 / (REQUEST.units as f32 / 2.0);
    let plan = plan(10.0);
    let mut run = PrivateRun::create(&path, &HEADER, plan.clone(), 16).unwrap();
    let mut clips = vec![run.clip()];
    for step in 0..REQUEST.steps {
        if step == 60 {
            drop(run);
            run = PrivateRun::open(&path, &HEADER, plan.clone(), 16)
                .unwrap()
                .0;
            // Without the checkpoint's it would be the plan's.
            assert_eq!(run.clip(), 40.0);
            run.set_clip(clips[60]).unwrap();
        }
        let mut norms = Vec::new();
        for microbatch in run.draw(step).microbatches() {
            norms.extend(microbatch.present().map(|(_, record)| norm(record)));
        }
        let clip = run.clip();
        let next = run
            .release(|noise| Ok::<_, RunError>(next_clip(policy, &norms, clip, noise)))
            .unwrap();
        run.set_clip(next).unwrap();
        clips.push(next);
    }
    let stored: Vec<f64> = clips[..150].iter().copied().map(f64::from).collect();
    assert_eq!(charged_clips(&path), stored);
    let ending = clips[90..].iter().map(|clip| f64::from(*clip).ln());
    let mean = ending.sum::<f64>() / (clips.len() - 90) as f64;
    assert!(mean.abs() < 0.15, "e^{mean} is not near the median 1");
    assert!(run.epsilon().unwrap().upper <= 8.0);
}

#[test]
fn the_clipping_norm_moves_between_steps_only() {
    let (_folder, path) = place();
    let mut run = PrivateRun::create(&path, &HEADER, plan(10.0), 16).unwrap();
    run.set_clip(2.0).unwrap();
    run.draw(0);
    let refused = run.set_clip(1.0).unwrap_err();
    assert!(refused.to_string().contains("release it first"));
    run.release(|_| Ok::<_, RunError>(())).unwrap();
    run.set_clip(1.0).unwrap();
    for clip in [0.0, -1.0, f32::NAN, MAX_CLIP * 2.0] {
        let refused = run.set_clip(clip).unwrap_err();
        assert!(refused.to_string().contains("out of range"), "{refused}");
    }
    assert_eq!(run.clip(), 1.0);

    let (_folder, path) = place();
    let plain = Plan::new(&REQUEST).unwrap();
    let mut run = PrivateRun::create(&path, &HEADER, plain, 16).unwrap();
    let refused = run.set_clip(1.0).unwrap_err();
    assert!(refused.to_string().contains("adaptive"), "{refused}");
}

#[test]
fn the_statement_says_both_noises() {
    let (_folder, path) = place();
    let plan = plan(2.5);
    let start = common::start();
    let mut ledger = LedgerFile::create(&path, &HEADER, plan.target(), start).unwrap();
    for (step, clip) in [(0, 40.0), (1, 38.5)] {
        let paid = ledger.reserve(step, plan.charge_at(clip)).unwrap();
        ledger.commit(paid).unwrap();
    }
    let dataset = Dataset {
        fingerprint: HEADER.dataset,
        records: 2000,
    };
    let disclosure = Disclosure {
        dataset,
        rng: "ChaCha20".into(),
        without_noise: vec![],
        groups: vec![],
    };
    let stated = PrivacyStatement::new(&plan, &ledger, disclosure).unwrap();
    let adaptive = AdaptiveClip {
        quantile: 0.5,
        rate: 0.2,
        groups: 1,
        count_std: 2.5,
        sum_sigma: plan.noise_multiplier(),
    };
    assert_eq!(stated.adaptive_clip, Some(adaptive));
    assert_eq!((stated.sigma, stated.events.len()), (plan.sigma(), 1));
    let text = stated.to_string();
    for words in [
        &format!("noise added: {} times C", plan.noise_multiplier()),
        &format!("deviation 2.5; together that is sigma = {}.", plan.sigma()),
        "C began at 40 and follows quantile 0.5",
    ] {
        assert!(text.contains(words), "{text}\ndoes not say {words:?}");
    }
    let json = serde_json::to_value(&stated).unwrap();
    assert_eq!(
        serde_json::from_value::<PrivacyStatement>(json).unwrap(),
        stated
    );
}
