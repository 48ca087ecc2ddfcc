//! Adaptive quantile clipping: what its counts can show of an example, what they cost, and where they lead.

use dp_core::accounting::{Accountant, Event, Exact, Run, Workspace};
use dp_core::clipping::{
    AdaptiveQuantile, Clipping, GroupClipping, MAX_CLIP, MIN_CLIP, QuantileError, centred_indicator,
};
use dp_core::noise::{Generator, Key, fill_gaussian};
use dp_core::reference::{add_quantile_counts, group_clip_factors};
use proptest::prelude::*;

fn policy(count_std: f32, groups: usize) -> AdaptiveQuantile {
    AdaptiveQuantile::new(0.5, 0.2, count_std, 100.0, groups).unwrap()
}

/// The counts of a batch, `[groups + 1]`, from rows of squared norms, NaN and all.
fn counts(rows: &[Vec<f32>], clips: &[f32]) -> Vec<f32> {
    let (b, groups) = (rows.len(), clips.len());
    let mut norms = vec![0.0; b * groups];
    for (place, row) in rows.iter().enumerate() {
        for (group, norm) in row.iter().enumerate() {
            norms[group * b + place] = *norm;
        }
    }
    let mask = vec![1.0; b];
    let mut factors = vec![0.0; b * groups];
    let clipping = GroupClipping::flat(clips).unwrap();
    group_clip_factors(&norms, &mask, &mut factors, clipping).unwrap();
    let mut counts = vec![0.0; groups + 1];
    add_quantile_counts(&norms, &mask, &factors, clips, &mut counts).unwrap();
    counts
}

fn norm_sq() -> impl Strategy<Value = f32> {
    prop_oneof![
        4 => 0.0f32..9.0,
        1 => any::<u32>().prop_map(f32::from_bits),
        1 => Just(f32::NAN),
    ]
}

proptest! {
    /// One example more moves the counts by sqrt(groups)/2 at most, and by exactly that where it is finite.
    #[test]
    fn the_counts_move_by_half_a_root_of_the_groups(
        rows in prop::collection::vec(prop::collection::vec(norm_sq(), 3), 1..20),
        clips in prop::array::uniform3(0.1f32..4.0),
    ) {
        let (more, less) = (counts(&rows, &clips), counts(&rows[1..], &clips));
        let moved: f64 = more.iter().zip(&less).map(|(m, l)| f64::from(m - l).powi(2)).sum();
        let finite = rows[0].iter().all(|n| n.is_finite() && n.is_sign_positive());
        let expected = if finite { 3.0 } else { 1.0 } / 4.0;
        prop_assert_eq!(moved, expected, "{:?}", rows[0]);
    }

    /// The sum's noise and the counts' noise apart cost what the one combined event costs.
    #[test]
    fn two_gaussians_are_one(
        combined in 0.4f64..4.0,
        slack in 1.05f64..20.0,
        groups in 1usize..40,
        epsilon in 0.1f64..3.0,
    ) {
        let count_std = (0.5 * (groups as f64).sqrt() * combined * slack) as f32;
        let policy = policy(count_std.max(0.05), groups);
        let counts = 2.0 * f64::from(policy.count_std()) / (groups as f64).sqrt();
        let gradient = policy.gradient_multiplier(combined).unwrap();
        prop_assert!(gradient > combined);

        let mut memory = Workspace::<2048, 1024>::new();
        let apart = [(Event::Gaussian { sigma: gradient }, 1), (Event::Gaussian { sigma: counts }, 1)];
        let apart = Exact::new(&mut memory).delta(Run::add_remove(&apart), epsilon).unwrap();
        let together = [(Event::Gaussian { sigma: combined }, 1)];
        let together = Exact::new(&mut memory).delta(Run::add_remove(&together), epsilon).unwrap();
        let error = (apart.estimate / together.estimate - 1.0).abs();
        prop_assert!(error < 1e-8, "{:?} {:?}", apart, together);

        // There and back, never upwards.
        let back = policy.combined_multiplier(gradient).unwrap();
        prop_assert!((back / combined - 1.0).abs() < 1e-11);
        match policy.event(0.01, gradient).unwrap() {
            Event::PoissonGaussian { rate, sigma } => prop_assert_eq!((rate, sigma), (0.01, back)),
            other => prop_assert!(false, "{:?}", other),
        }
        prop_assert_eq!(policy.event(1.0, gradient), Ok(Event::Gaussian { sigma: back }));
    }
}

/// The paper's own numbers: a batch of 100, sigma_b = 100/20 and z = 1 give z_delta = 1.00504.
#[test]
fn the_papers_example() {
    let gradient = policy(5.0, 1).gradient_multiplier(1.0).unwrap();
    assert!((gradient - 1.0 / 0.99f64.sqrt()).abs() < 1e-12);
}

#[test]
fn an_indicator_is_half_or_nothing() {
    assert_eq!(centred_indicator(4.0, 2.0, true), 0.5);
    assert_eq!(centred_indicator(4.1, 2.0, true), -0.5);
    assert_eq!(centred_indicator(0.0, 2.0, true), 0.5);
    assert_eq!(centred_indicator(4.0, 2.0, false).to_bits(), 0);
    for refused in [f32::NAN, f32::INFINITY, -1.0] {
        assert_eq!(centred_indicator(refused, 2.0, true).to_bits(), 0);
    }
}

/// Norms drawn from a law with a known median: the clipping norm finds it from far below and far above, and the 0.8 quantile.
#[test]
#[cfg_attr(miri, ignore = "statistics: its many draws are the test")]
fn the_clipping_norm_finds_the_quantile() {
    let key = Key::new([5; 8]);
    // |z| of a normal: quantiles 0.6745 and 1.2816.
    for (quantile, want) in [(0.5, 0.674_49), (0.8, 1.281_55)] {
        for start in [0.01f32, 40.0] {
            let policy = AdaptiveQuantile::new(quantile, 0.2, 10.0, 200.0, 1).unwrap();
            let (mut clip, mut log_mean) = (start, 0.0);
            for step in 0..300 {
                let mut values = [0.0f32; 200];
                fill_gaussian(&mut values, 0, 1.0, &key, Generator::ChaCha20, step, 0).unwrap();
                let rows: Vec<Vec<f32>> = values.iter().map(|v| vec![v * v]).collect();
                let mut noise = [0.0];
                let std = policy.count_std();
                fill_gaussian(&mut noise, 0, std, &key, Generator::ChaCha20, step, 1).unwrap();
                clip = policy.next_clip(clip, counts(&rows, &[clip])[0] + noise[0]);
                if step >= 100 {
                    log_mean += f64::from(clip).ln() / 200.0;
                }
            }
            let found = log_mean.exp();
            assert!(
                (found / want - 1.0).abs() < 0.03,
                "{quantile} from {start}: {found}"
            );
        }
    }
}

#[test]
fn the_clipping_norm_stays_valid() {
    let policy = policy(5.0, 1);
    for noised in [f32::MAX, f32::INFINITY, 1e30] {
        assert_eq!(policy.next_clip(1.0, noised), MIN_CLIP);
        assert_eq!(policy.next_clip(1.0, -noised), MAX_CLIP);
    }
    assert_eq!(policy.next_clip(3.0, f32::NAN), 3.0);
    let clip = policy.next_clip(1.0, 50.0);
    assert!((f64::from(clip) - (-0.1f64).exp()).abs() < 1e-6);
    assert!(Clipping::Flat { clip }.validate().is_ok());
}

#[test]
fn numbers_out_of_range_are_refused() {
    let new = AdaptiveQuantile::new;
    for bad in [0.0, 1.0, -0.1, f64::NAN] {
        assert!(matches!(
            new(bad, 0.2, 5.0, 100.0, 1),
            Err(QuantileError::Quantile { .. })
        ));
    }
    for bad in [0.0, 10.5, f64::NAN] {
        assert!(matches!(
            new(0.5, bad, 5.0, 100.0, 1),
            Err(QuantileError::Rate { .. })
        ));
    }
    for bad in [0.0, 0.01, -1.0, f32::NAN, f32::INFINITY] {
        assert!(matches!(
            new(0.5, 0.2, bad, 100.0, 1),
            Err(QuantileError::CountStd { .. })
        ));
    }
    for bad in [0.0, -1.0, f64::INFINITY, f64::NAN] {
        assert!(matches!(
            new(0.5, 0.2, 5.0, bad, 1),
            Err(QuantileError::ExpectedBatch { .. })
        ));
    }
    assert_eq!(
        new(0.5, 0.2, 5.0, 100.0, 0),
        Err(QuantileError::Groups { groups: 0 })
    );

    let policy = policy(5.0, 4);
    for bad in [0.0, -1.0, 5.0, 6.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(
            policy.gradient_multiplier(bad),
            Err(QuantileError::Multiplier { counts, .. }) if (counts - 5.0).abs() < 1e-9
        ));
    }
    for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(policy.combined_multiplier(bad).is_err());
    }
}
