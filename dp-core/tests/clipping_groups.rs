//! Groups with a clipping norm each: the bound over all of them, and that a bad part takes the rest along.

mod common;

use common::sized;
use dp_core::clipping::{
    CLIP_SLACK, ClippingError, GroupClipping, MAX_CLIP, MAX_GROUPS, MIN_CLIP, split_clip,
};
use dp_core::reference::{ReferenceError, group_clip_factors};
use proptest::prelude::*;

/// Any squared norm: all bit patterns, subnormals, the largest, ordinary ones.
fn norm_sq() -> impl Strategy<Value = f32> {
    prop_oneof![
        any::<u32>().prop_map(f32::from_bits),
        (0u32..0x0080_0000).prop_map(f32::from_bits),
        0.0f32..100.0,
        Just(1e30f32),
        Just(f32::MAX),
        Just(f32::from_bits(1)),
        Just(0.0f32),
    ]
}

fn usable(norm_sq: f32) -> bool {
    norm_sq.is_finite() && norm_sq.is_sign_positive()
}

proptest! {
    #[test]
    fn the_whole_gradient_is_in_bound_or_gone(
        rows in prop::collection::vec((norm_sq(), norm_sq(), norm_sq(), any::<bool>()), 1..12),
        clips in prop::array::uniform3(MIN_CLIP..1e6f32),
        automatic: bool,
        spare in 0usize..3,
    ) {
        let clipping = if automatic {
            GroupClipping::automatic(&clips, 0.01).unwrap()
        } else {
            GroupClipping::flat(&clips).unwrap()
        };
        let pitch = rows.len() + spare;
        let mut norms = vec![f32::NAN; 3 * pitch];
        let mut mask = vec![0.0; rows.len()];
        for (b, (x, y, z, there)) in rows.iter().enumerate() {
            (norms[b], norms[pitch + b], norms[2 * pitch + b]) = (*x, *y, *z);
            mask[b] = f32::from(u8::from(*there));
        }
        let mut factors = vec![7.0; 3 * pitch];
        group_clip_factors(&norms, &mask, &mut factors, clipping).unwrap();

        for (b, mask) in mask.iter().enumerate() {
            let at = |group: usize| (norms[group * pitch + b], factors[group * pitch + b]);
            if *mask == 0.0 || (0..3).any(|g| !usable(at(g).0)) {
                prop_assert!((0..3).all(|g| at(g).1.to_bits() == 0), "{b}: {factors:?}");
                continue;
            }
            let clipped = |g: usize| f64::from(at(g).0) * f64::from(at(g).1).powi(2);
            for (g, clip) in clips.iter().enumerate() {
                prop_assert!(at(g).1 > 0.0);
                prop_assert!(clipped(g).sqrt() <= f64::from(*clip) * (1.0 + CLIP_SLACK));
            }
            let whole = (0..3).map(clipped).sum::<f64>().sqrt();
            prop_assert!(whole <= clipping.sensitivity() * (1.0 + CLIP_SLACK));
        }
        for g in 0..3 {
            prop_assert!(factors[g * pitch + rows.len()..(g + 1) * pitch].iter().all(|f| *f == 7.0));
        }
    }

    #[test]
    fn a_split_keeps_within_the_total(
        total in 1e-3f32..1e6,
        weights in prop::collection::vec(1e-2f32..10.0, 1..sized(200, 20)),
    ) {
        let mut clips = vec![0.0; weights.len()];
        split_clip(total, &weights, &mut clips).unwrap();
        let sensitivity = GroupClipping::flat(&clips).unwrap().sensitivity();
        prop_assert!(sensitivity <= f64::from(total), "{sensitivity} {total}");
        prop_assert!(sensitivity >= f64::from(total) * (1.0 - 2f64.powi(-21)));
        // In proportion.
        let ratio = f64::from(clips[0]) / f64::from(weights[0]);
        for (clip, weight) in clips.iter().zip(&weights) {
            prop_assert!((f64::from(*clip) / f64::from(*weight) / ratio - 1.0).abs() < 1e-6);
        }
    }
}

#[test]
fn the_sensitivity_is_the_root_of_the_squares() {
    let clipping = GroupClipping::flat(&[3.0, 4.0]).unwrap();
    assert!((5.0..5.0 + 1e-10).contains(&clipping.sensitivity()));
    // One group is flat clipping.
    let one = GroupClipping::flat(&[2.5]).unwrap();
    assert!((2.5..2.5 + 1e-10).contains(&one.sensitivity()));
    let root = sized(256, 16);
    let many = vec![1.0; root * root];
    assert_eq!(root * root, sized(MAX_GROUPS, 256));
    let sensitivity = GroupClipping::flat(&many).unwrap().sensitivity();
    let root = root as f64;
    assert!((root..root + 1e-8).contains(&sensitivity));
}

#[test]
fn what_cannot_bound_is_refused() {
    let bad = |clip: f32| GroupClipping::flat(&[1.0, clip]).unwrap_err();
    for clip in [0.0, -1.0, f32::INFINITY, 2.0 * MAX_CLIP, 0.5 * MIN_CLIP] {
        assert_eq!(bad(clip), ClippingError::Clip { clip });
    }
    assert!(matches!(bad(f32::NAN), ClippingError::Clip { .. }));
    assert_eq!(
        GroupClipping::automatic(&[1.0], 0.0).unwrap_err(),
        ClippingError::Gamma { gamma: 0.0 }
    );
    let groups = ClippingError::Groups { groups: 0 };
    assert_eq!(GroupClipping::flat(&[]).unwrap_err(), groups);
    let many = vec![1.0; MAX_GROUPS + 1];
    assert!(GroupClipping::flat(&many).is_err());

    let mut clips = [9.0, 9.0];
    for weight in [-1.0, f32::NAN, f32::INFINITY] {
        assert!(split_clip(1.0, &[1.0, weight], &mut clips).is_err());
    }
    assert!(split_clip(1.0, &[0.0, 0.0], &mut clips).is_err());
    assert!(split_clip(1.0, &[1.0], &mut clips).is_err());
    assert_eq!(clips, [9.0, 9.0]);

    let clipping = GroupClipping::flat(&[1.0, 1.0]).unwrap();
    let refuse = |norms: &[f32], mask: &[f32], factors: &mut [f32]| {
        group_clip_factors(norms, mask, factors, clipping).unwrap_err()
    };
    for (norms, mask, factors) in [(3, 1, 3), (4, 3, 4), (4, 2, 5)] {
        let answer = refuse(&vec![1.0; norms], &vec![1.0; mask], &mut vec![0.0; factors]);
        assert!(matches!(answer, ReferenceError::Length { .. }));
    }
}
