//! What the clip factors promise, over the whole range of f32 and over vectors of each dtype.

mod common;

use common::sized;
use dp_core::clipping::{
    CLIP_SLACK, Clipping, ClippingError, MAX_CLIP, MIN_CLIP, automatic_factor, flat_factor,
};
use half::{bf16, f16};
use proptest::prelude::*;

const CLIPS: [f32; 9] = [
    MIN_CLIP,
    1e-3,
    0.75,
    1.0,
    1.0 + f32::EPSILON,
    17.3,
    1e6,
    MAX_CLIP,
    1.5e19,
];

/// Bit patterns over all of f32, both signs, every exponent, and the ends of each class.
fn all_sorts() -> impl Iterator<Item = f32> {
    let edges = [
        0u32,
        1,
        2,
        0x007f_ffff,
        0x0080_0000,
        0x7f7f_ffff,
        0x7f80_0000,
        0x7f80_0001,
        0x7fc0_0000,
        0x7fff_ffff,
    ];
    let signed = edges
        .into_iter()
        .flat_map(|bits| [bits, bits | 0x8000_0000]);
    signed
        .chain((0..=u32::MAX).step_by(sized(8191, 134_217_689)))
        .map(f32::from_bits)
}

fn usable(norm_sq: f32) -> bool {
    norm_sq.is_finite() && norm_sq.is_sign_positive()
}

#[test]
fn flat_factor_bounds_every_norm_and_wastes_nothing() {
    for clip in CLIPS {
        let clip64 = f64::from(clip);
        for norm_sq in all_sorts() {
            let factor = flat_factor(norm_sq, clip);
            if !usable(norm_sq) {
                assert_eq!(factor.to_bits(), 0, "{norm_sq:e} {clip:e}");
                continue;
            }
            let norm = f64::from(norm_sq).sqrt();
            let clipped = norm * f64::from(factor);
            assert!(
                factor > 0.0 && factor <= 1.0,
                "{norm_sq:e} {clip:e}: {factor:e}"
            );
            assert!(
                clipped <= clip64 * (1.0 + CLIP_SLACK),
                "{norm_sq:e} {clip:e}: {clipped:e}"
            );
            assert!(
                clipped >= norm.min(clip64) * (1.0 - CLIP_SLACK),
                "{norm_sq:e} {clip:e}"
            );
            if norm <= clip64 * (1.0 - CLIP_SLACK) {
                assert_eq!(factor, 1.0, "{norm_sq:e} {clip:e}");
            }
        }
    }
}

/// Clipping norms below what a policy may have, where the squared norm itself is subnormal.
#[test]
fn flat_factor_bounds_subnormal_squared_norms() {
    let mut clipped_some = 0;
    for clip in [1e-17f32, 1e-21, 1e-22, 1e-25] {
        for norm_sq in (0..0x0180_0000)
            .step_by(sized(17, 250_007))
            .chain(0..sized(5000, 50))
            .map(f32::from_bits)
        {
            let norm = f64::from(norm_sq).sqrt();
            let clipped = norm * f64::from(flat_factor(norm_sq, clip));
            let want = norm.min(f64::from(clip));
            assert!(
                clipped <= f64::from(clip) * (1.0 + CLIP_SLACK),
                "{norm_sq:e} {clip:e}"
            );
            assert!(clipped >= want * (1.0 - CLIP_SLACK), "{norm_sq:e} {clip:e}");
            clipped_some += u32::from(norm > f64::from(clip));
        }
    }
    assert!(clipped_some > sized(1_000_000, 100));
}

#[test]
fn automatic_factor_stays_below_the_clip_and_is_accurate() {
    for clip in CLIPS {
        for gamma in [MIN_CLIP, 0.01, 1.0, 1e10] {
            let (clip64, gamma64) = (f64::from(clip), f64::from(gamma));
            for norm_sq in all_sorts() {
                let factor = automatic_factor(norm_sq, clip, gamma);
                if !usable(norm_sq) {
                    assert_eq!(factor.to_bits(), 0, "{norm_sq:e} {clip:e} {gamma:e}");
                    continue;
                }
                let norm = f64::from(norm_sq).sqrt();
                let want = clip64 / (norm + gamma64);
                assert!(norm * f64::from(factor) <= clip64 * (1.0 + CLIP_SLACK));
                let error = (f64::from(factor) / want - 1.0).abs();
                assert!(
                    error <= CLIP_SLACK,
                    "{norm_sq:e} {clip:e} {gamma:e}: {factor:e} {want:e}"
                );
            }
        }
    }
}

#[test]
fn parameters_that_cannot_bound_give_zero() {
    let bad = [0.0, -0.0, -1.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
    for clip in bad {
        assert_eq!(flat_factor(4.0, clip).to_bits(), 0, "{clip}");
        assert_eq!(automatic_factor(4.0, clip, 0.01).to_bits(), 0, "{clip}");
        assert_eq!(
            automatic_factor(4.0, 1.0, clip).to_bits(),
            0,
            "gamma {clip}"
        );
        assert!(Clipping::Flat { clip }.validate().is_err());
        assert!(
            Clipping::Automatic { clip, gamma: 0.01 }
                .validate()
                .is_err()
        );
        assert!(
            Clipping::Automatic {
                clip: 1.0,
                gamma: clip
            }
            .validate()
            .is_err()
        );
    }
    // A factor that overflows f32.
    assert_eq!(automatic_factor(0.0, 1e30, 1e-30).to_bits(), 0);
}

#[test]
fn a_policy_is_checked_at_its_ends() {
    for clip in [MIN_CLIP, 1.0, MAX_CLIP] {
        assert_eq!(Clipping::Flat { clip }.validate(), Ok(()));
        assert_eq!(Clipping::Automatic { clip, gamma: clip }.validate(), Ok(()));
        assert_eq!(Clipping::Flat { clip }.clip(), clip);
        assert_eq!(Clipping::Flat { clip }.factor(9.0), flat_factor(9.0, clip));
        let automatic = Clipping::Automatic { clip, gamma: 0.5 };
        assert_eq!(automatic.factor(9.0), automatic_factor(9.0, clip, 0.5));
    }
    let clip = f32::from_bits(MIN_CLIP.to_bits() - 1);
    assert_eq!(
        Clipping::Flat { clip }.validate(),
        Err(ClippingError::Clip { clip })
    );
    let gamma = f32::from_bits(MAX_CLIP.to_bits() + 1);
    assert_eq!(
        Clipping::Automatic { clip: 1.0, gamma }.validate(),
        Err(ClippingError::Gamma { gamma })
    );
}

/// The squared norm in f64, rounded once, as the reference twins hand it over.
fn norm_sq(gradient: &[f32]) -> f32 {
    gradient
        .iter()
        .map(|x| f64::from(*x) * f64::from(*x))
        .sum::<f64>() as f32
}

fn clipped_norm(gradient: &[f32], factor: f32) -> f64 {
    let scaled = gradient.iter().map(|x| f64::from(*x) * f64::from(factor));
    scaled.map(|x| x * x).sum::<f64>().sqrt()
}

fn check_vector(gradient: &[f32], clip: f32) -> Result<(), TestCaseError> {
    let norm_sq = norm_sq(gradient);
    for clipping in [
        Clipping::Flat { clip },
        Clipping::Automatic { clip, gamma: 0.01 },
    ] {
        let factor = clipping.factor(norm_sq);
        if gradient.iter().all(|x| x.is_finite()) && norm_sq.is_finite() {
            let norm = clipped_norm(gradient, factor);
            prop_assert!(
                norm <= f64::from(clip) * (1.0 + CLIP_SLACK),
                "{norm:e} {clip:e}"
            );
        } else {
            // Infinities, NaN, and norms beyond 1.8e19.
            prop_assert_eq!(factor.to_bits(), 0);
        }
    }
    Ok(())
}

/// Any bit pattern, with small magnitudes and huge ones as likely as ordinary ones.
fn f32_bits() -> impl Strategy<Value = f32> {
    prop_oneof![
        any::<u32>().prop_map(f32::from_bits),
        (0u32..0x0080_0000).prop_map(f32::from_bits),
        -10.0f32..10.0,
        Just(1e30f32),
        Just(f32::MAX),
        Just(f32::from_bits(1)),
    ]
}

proptest! {
    #[test]
    fn clipped_f32_vectors_are_in_bound(
        gradient in prop::collection::vec(f32_bits(), 1..40),
        clip in MIN_CLIP..1e6f32,
    ) {
        check_vector(&gradient, clip)?;
    }

    /// Every finite f16 squares into f32 without overflow: the factor is a real one.
    #[test]
    fn clipped_f16_vectors_are_in_bound(
        bits in prop::collection::vec(any::<u16>(), 1..40),
        clip in MIN_CLIP..1e6f32,
    ) {
        let gradient: Vec<f32> = bits.iter().map(|b| f16::from_bits(*b).to_f32()).collect();
        check_vector(&gradient, clip)?;
        if gradient.iter().all(|x| x.is_finite()) {
            prop_assert!(flat_factor(norm_sq(&gradient), clip) > 0.0);
        }
    }

    #[test]
    fn clipped_bf16_vectors_are_in_bound(
        bits in prop::collection::vec(any::<u16>(), 1..40),
        clip in MIN_CLIP..1e6f32,
    ) {
        let gradient: Vec<f32> = bits.iter().map(|b| bf16::from_bits(*b).to_f32()).collect();
        check_vector(&gradient, clip)?;
    }
}
