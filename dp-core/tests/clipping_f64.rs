//! What the clip factors over f64 promise, over the whole range of f64.

mod common;

use common::sized;
use dp_core::clipping::{
    Clipping, GroupClipping, MAX_CLIP, MIN_CLIP, automatic_factor_f64, centred_indicator_f64,
    flat_factor, flat_factor_f64,
};
use dp_core::reference::{LinearNorm, Tensor3};
use dp_core::reference::{
    add_quantile_counts, clip_factors, group_clip_factors, linear_norm_sq, weighted_sum_linear,
    zero_dead_rows,
};

/// The bound of the docs, which leaves the roundings of the evaluation below in it.
const SLACK: f64 = 1.0 / (1u64 << 49) as f64;

const CLIPS: [f64; 8] = [
    MIN_CLIP as f64,
    1e-3,
    0.75,
    1.0,
    1.0 + f64::EPSILON,
    17.3,
    MAX_CLIP as f64,
    1e150,
];

/// Both signs, every exponent, many mantissas, and the ends of each class.
fn all_sorts() -> impl Iterator<Item = f64> {
    let edges = [
        0u64,
        1,
        2,
        0x000f_ffff_ffff_ffff,
        0x0010_0000_0000_0000,
        0x7fef_ffff_ffff_ffff,
        0x7ff0_0000_0000_0000,
        0x7ff0_0000_0000_0001,
        0x7ff8_0000_0000_0000,
        0x7fff_ffff_ffff_ffff,
    ];
    let signed = edges.into_iter().flat_map(|bits| [bits, bits | 1 << 63]);
    // A step that is odd in the low bits, so that the mantissas are all sorts too.
    let step = sized(0x0000_1fff_1234_5677, 0x07ff_1234_5677_89ab);
    signed
        .chain((0..=u64::MAX).step_by(step))
        .map(f64::from_bits)
}

fn usable(norm_sq: f64) -> bool {
    norm_sq.is_finite() && norm_sq.is_sign_positive()
}

#[test]
fn flat_factor_bounds_every_norm_and_wastes_nothing() {
    let mut bounded = 0;
    for clip in CLIPS {
        for norm_sq in all_sorts() {
            let factor = flat_factor_f64(norm_sq, clip);
            if !usable(norm_sq) {
                assert_eq!(factor.to_bits(), 0, "{norm_sq:e} {clip:e}");
                continue;
            }
            let norm = norm_sq.sqrt();
            let clipped = norm * factor;
            let told = format!("{norm_sq:e} {clip:e}: {factor:e}");
            assert!(factor > 0.0 && factor <= 1.0, "{told}");
            assert!(clipped <= clip * (1.0 + SLACK), "{told}");
            assert!(clipped >= norm.min(clip) * (1.0 - SLACK), "{told}");
            if norm <= clip * (1.0 - SLACK) {
                assert_eq!(factor, 1.0, "{told}");
            }
            bounded += u32::from(norm > clip);
        }
    }
    assert!(bounded > sized(100_000, 50), "{bounded}");
}

/// Where the squared norm itself is subnormal.
#[test]
fn flat_factor_bounds_subnormal_squared_norms() {
    for clip in [1e-155, 1e-158, 1e-161] {
        for norm_sq in (1..sized(2000u64, 50))
            .chain(
                (0..0x0020_0000_0000_0000).step_by(sized(0xfff_1234_5677, 0x0001_fff1_2345_6777)),
            )
            .map(f64::from_bits)
        {
            let norm = norm_sq.sqrt();
            let clipped = norm * flat_factor_f64(norm_sq, clip);
            assert!(clipped <= clip * (1.0 + SLACK), "{norm_sq:e} {clip:e}");
            assert!(clipped >= norm.min(clip) * (1.0 - SLACK), "{norm_sq:e}");
        }
    }
}

#[test]
fn automatic_factor_stays_below_the_clip_and_is_accurate() {
    for clip in CLIPS {
        for gamma in [f64::from(MIN_CLIP), 0.01, 1.0, 1e10] {
            for norm_sq in all_sorts() {
                let factor = automatic_factor_f64(norm_sq, clip, gamma);
                if !usable(norm_sq) {
                    assert_eq!(factor.to_bits(), 0, "{norm_sq:e} {clip:e} {gamma:e}");
                    continue;
                }
                let norm = norm_sq.sqrt();
                let want = clip / (norm + gamma);
                assert!(norm * factor <= clip * (1.0 + SLACK), "{norm_sq:e}");
                let error = (factor / want - 1.0).abs();
                assert!(error <= SLACK, "{norm_sq:e} {clip:e} {gamma:e}: {factor:e}");
            }
        }
    }
}

#[test]
fn a_clip_or_gamma_that_is_no_positive_number_gives_zero() {
    for bad in [0.0, -1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert_eq!(flat_factor_f64(4.0, bad).to_bits(), 0, "{bad}");
        assert_eq!(automatic_factor_f64(4.0, bad, 1.0).to_bits(), 0, "{bad}");
        assert_eq!(automatic_factor_f64(4.0, 1.0, bad).to_bits(), 0, "{bad}");
    }
    assert_eq!(automatic_factor_f64(0.0, 1e300, 1e-300).to_bits(), 0);
}

/// A policy takes both types, and a norm that f32 holds gets the same factor to f32's rounding.
#[test]
fn both_types_agree() {
    let policies = [
        Clipping::Flat { clip: 0.37 },
        Clipping::Automatic {
            clip: 1.0,
            gamma: 0.01,
        },
    ];
    for policy in policies {
        for exponent in -100..100 {
            let norm_sq = 1.37 * f32::powi(2.0, exponent);
            let (narrow, wide) = (policy.factor(norm_sq), policy.factor(f64::from(norm_sq)));
            let error = (f64::from(narrow) / wide - 1.0).abs();
            assert!(error < 3e-7, "{norm_sq:e}: {narrow:e} {wide:e}");
        }
    }
    // Squares beyond f32 are no longer refused.
    assert_eq!(flat_factor(f32::INFINITY, 1.0), 0.0);
    assert!((Clipping::Flat { clip: 1.0 }.factor(1e80f64) * 1e40 - 1.0).abs() < SLACK);
}

#[test]
fn the_indicator_is_a_half_by_the_side_of_the_clip() {
    for (norm_sq, want) in [
        (0.0, 0.5),
        (4.0, 0.5),
        (4.0 + 1e-14, -0.5),
        (1e300, -0.5),
        (-0.0, 0.0),
        (f64::NAN, 0.0),
        (f64::INFINITY, 0.0),
    ] {
        assert_eq!(centred_indicator_f64(norm_sq, 2.0, true), want, "{norm_sq}");
        assert_eq!(centred_indicator_f64(norm_sq, 2.0, false), 0.0);
    }
}

/// The references over f64 keep what f32 would round away, from the norm to the sum.
#[test]
fn references_keep_f64() {
    let hair = 1.0 / (1u64 << 40) as f64;
    let a = [1.0 + hair, 2.0];
    let g = [1.0, 1.0 - hair];
    let a = Tensor3::new(&a, [2, 1, 1]).unwrap();
    let g = Tensor3::new(&g, [2, 1, 1]).unwrap();
    let mut norms = [0.0; 2];
    linear_norm_sq(a, g, &mut norms, LinearNorm::Gram).unwrap();
    assert_eq!(norms[0], (1.0 + hair) * (1.0 + hair));
    assert_eq!(norms[1], 4.0 * (1.0 - hair) * (1.0 - hair));

    let mut factors = [9.0f64; 2];
    let flat = Clipping::Flat { clip: 1.0 };
    clip_factors(&norms, &[1.0, 0.0], &mut factors, flat).unwrap();
    assert!((factors[0] * (1.0 + hair) - 1.0).abs() < SLACK && factors[0] != 1.0);
    assert_eq!(factors[1], 0.0);
    let mut sum = [0.0f64];
    weighted_sum_linear(a, g, &factors, &mut sum).unwrap();
    assert_eq!(sum[0], factors[0] * (1.0 + hair));
    let mut rows = [f64::NAN, 1.0];
    zero_dead_rows(&mut rows, &[0.0, factors[0]]).unwrap();
    assert_eq!(rows, [0.0, 1.0]);

    let clips = [1.0, 3.0];
    let norms = [4.0, f64::NAN, 4.0, 1.0];
    let mut grouped = [9.0; 4];
    let policy = GroupClipping::flat(&clips).unwrap();
    group_clip_factors(&norms, &[1.0, 1.0], &mut grouped, policy).unwrap();
    assert_eq!(grouped, [0.5, 0.0, 1.0, 0.0]);
    let mut counts = [0.0; 3];
    add_quantile_counts(&norms, &[1.0, 1.0], &grouped, &clips, &mut counts).unwrap();
    assert_eq!(counts, [-0.5, 0.5, 0.5]);
}
