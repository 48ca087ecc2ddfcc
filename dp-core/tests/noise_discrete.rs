//! Discrete Gaussian noise: its frozen stream, its law, cuts that don't matter, refusals.

mod common;

use common::sized;
use dp_core::noise::discrete::{
    MAX_DISCRETE_ELEMENTS, MAX_DISCRETE_SIGMA, against_digit, fill_discrete_gaussian,
};
use dp_core::noise::{Key, NoiseError, RESERVED_TENSOR};
use proptest::prelude::*;

const WORDS: [u32; 8] = [
    0x0706_0504,
    0x1122_3344,
    0xdead_beef,
    0x0000_0001,
    0xffff_ffff,
    0x8000_0000,
    0x1357_9bdf,
    0x0246_8ace,
];

fn draw(len: usize, first: u64, sigma: u32, step: u64, tensor: u32) -> Vec<i32> {
    let mut out = vec![0; len];
    fill_discrete_gaussian(&mut out, first, sigma, &Key::new(WORDS), step, tensor).unwrap();
    out
}

/// By another implementation: Python, with fractions of big integers.
#[test]
fn values_are_those_of_the_frozen_stream() {
    let known: [(u32, [i32; 12]); 6] = [
        (1, [-1, 0, -2, 0, 1, 0, 0, 0, -1, 1, 0, 1]),
        (2, [1, -3, 1, -1, 3, 0, -3, 0, -1, -2, 0, 4]),
        (3, [-3, -4, -1, 0, 0, 5, -4, -7, -8, -2, 5, 1]),
        (
            1000,
            [
                -464, -1289, 727, 1043, 1647, 1646, -1305, -1050, -1968, -70, 1098, 265,
            ],
        ),
        (
            1 << 20,
            [
                28652, -1_079_585, -1_010_391, -666_667, 1_654_407, 1_292_934, -1_539_377,
                -1_248_095, -2_089_928, -1_058_363, 1_323_106, 239_881,
            ],
        ),
        (
            MAX_DISCRETE_SIGMA,
            [
                1_077_228,
                -30_439_713,
                -16_484_429,
                13_249_579,
                21_577_351,
                24_361_606,
                -21_462_321,
                -19_073_887,
                3_138_504,
                -6_647_878,
                24_391_778,
                -14_393_398,
            ],
        ),
    ];
    for (sigma, want) in known {
        assert_eq!(draw(12, 6, sigma, (1 << 32) + 2, 5), want, "{sigma}");
    }
    let ends = [0, u64::from(u32::MAX)].map(|first| draw(1, first, 12_345, (1 << 32) + 2, 5)[0]);
    assert_eq!(ends, [8704, 996]);
}

/// Chi-square of the counts of -5 sigma ..= 5 sigma, and what is beyond, against the law of parameter `sigma`; in standard
/// deviations above its mean.
fn chi_square(values: &[i32], sigma: f64) -> f64 {
    let reach = (5.0 * sigma).ceil() as i32;
    let weight = |x: i32| (-f64::from(x).powi(2) / (2.0 * sigma * sigma)).exp();
    let total: f64 = (-20 * reach..=20 * reach).map(weight).sum();
    let n = values.len() as f64;
    let (mut statistic, mut cells) = (0.0, 0.0);
    for x in -reach..=reach {
        let expected = n * weight(x) / total;
        if expected >= 5.0 {
            let count = values.iter().filter(|v| **v == x).count() as f64;
            statistic += (count - expected).powi(2) / expected;
            cells += 1.0;
        }
    }
    let freedom: f64 = cells - 1.0;
    (statistic - freedom) / (2.0 * freedom).sqrt()
}

#[test]
#[cfg_attr(miri, ignore = "statistics: its many draws are the test")]
fn the_law_is_the_discrete_gaussian() {
    for sigma in [1, 2, 5] {
        let values = draw(400_000, 0, sigma, 1, 0);
        let exact = chi_square(&values, f64::from(sigma));
        assert!(exact < 5.0, "{sigma}: {exact}");
        // Controls: the parameter a hundredth off either way, a value moved by one, a sign that is not fair.
        for wrong in [0.99, 1.01] {
            let off = chi_square(&values, f64::from(sigma) * wrong);
            assert!(off > 5.0, "{sigma} x {wrong}: {off}");
        }
        let moved: Vec<i32> = values
            .iter()
            .enumerate()
            .map(|(i, v)| v + i32::from(i % 10 == 0))
            .collect();
        assert!(chi_square(&moved, f64::from(sigma)) > 5.0, "{sigma}, moved");
        let positive: Vec<i32> = values
            .iter()
            .enumerate()
            .map(|(i, v)| if i % 10 == 0 { v.abs() } else { *v })
            .collect();
        assert!(
            chi_square(&positive, f64::from(sigma)) > 5.0,
            "{sigma}, signs"
        );
    }
}

/// Mean and variance within 4.42 standard errors, at a parameter that the hardened mode would have.
fn has_moments(values: &[i32], sigma: f64) -> bool {
    let n = values.len() as f64;
    let mean = values.iter().map(|x| f64::from(*x) / sigma).sum::<f64>() / n;
    let squares = values
        .iter()
        .map(|x| (f64::from(*x) / sigma).powi(2))
        .sum::<f64>()
        / n;
    mean.abs() <= 4.42 / n.sqrt() && (squares - mean * mean - 1.0).abs() <= 4.42 * (2.0 / n).sqrt()
}

#[test]
#[cfg_attr(miri, ignore = "statistics: its many draws are the test")]
fn mean_and_variance_of_a_wide_law() {
    const SIGMA: u32 = 1_000_003;
    let values = draw(1 << 19, 77, SIGMA, 7, 3);
    let sigma = f64::from(SIGMA);
    assert!(has_moments(&values, sigma));
    assert!(!has_moments(&values, sigma * 0.99) && !has_moments(&values, sigma * 1.01));
    let shifted: Vec<i32> = values.iter().map(|x| x + 10_000).collect();
    assert!(!has_moments(&shifted, sigma));
    // The last bit is even or odd as often.
    let odd = values.iter().filter(|x| *x & 1 == 1).count() as f64;
    let n = values.len() as f64;
    assert!((odd - 0.5 * n).abs() < 4.42 * 0.5 * n.sqrt(), "{odd}");
}

proptest! {
    /// Any cut of a range, down to single elements, draws what one call draws.
    #[test]
    fn shards_draw_what_one_device_draws(
        first in 0u64..1000,
        len in 1usize..sized(60, 10),
        cuts in prop::collection::vec(0usize..60, 0..6),
        sigma in 1u32..1 << 20,
    ) {
        let whole = draw(len, first, sigma, 4, 2);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut % (len + 1)).collect();
        cuts.extend([0, len]);
        cuts.sort_unstable();
        let parts = cuts.windows(2).flat_map(|ends| draw(ends[1] - ends[0], first + ends[0] as u64, sigma, 4, 2));
        prop_assert_eq!(parts.collect::<Vec<_>>(), whole);
    }

    /// Words about the digit of a ratio and any other, against a division of 64 bits; ratios that end with their first digit among them.
    #[test]
    fn a_word_is_compared_with_the_digit_of_the_ratio(
        b in prop_oneof![1u32..1 << 31, (0u32..31).prop_map(|bits| 1 << bits)],
        seed: u32,
        by in -2i32..=2,
        other: u32,
    ) {
        let a = seed % b;
        let wide = u64::from(a) << 32;
        let (digit, rest) = ((wide / u64::from(b)) as u32, (wide % u64::from(b)) as u32);
        for word in [digit.wrapping_add_signed(by), other, 0, u32::MAX] {
            let (less, equal, left) = against_digit(word, a, b);
            prop_assert_eq!((less, equal), (word < digit, word == digit));
            if equal {
                prop_assert_eq!(left, rest);
            }
        }
    }

    /// The word of which the product is one more than `2^32 a` lies beyond the digit, as near as a word can.
    #[test]
    fn a_word_one_beyond_the_ratio_is_not_less(half in 1u32..1 << 30) {
        let b = 2 * half + 1;
        // Newton's: an odd number is its own inverse modulo 8, and each round doubles the bits.
        let inverse = (0..4).fold(b, |x, _| x.wrapping_mul(2u32.wrapping_sub(b.wrapping_mul(x))));
        prop_assert_eq!(inverse.wrapping_mul(b), 1);
        let a = ((u64::from(inverse) * u64::from(b)) >> 32) as u32;
        let (less, equal, _) = against_digit(inverse, a, b);
        prop_assert_eq!((less, equal), (false, false));
    }
}

#[test]
fn every_coordinate_matters() {
    const LEN: usize = sized(100, 12);
    let base = draw(LEN, 0, 1 << 20, 1, 2);
    for other in [
        draw(LEN, LEN as u64, 1 << 20, 1, 2),
        draw(LEN, 0, 1 << 20, 2, 2),
        draw(LEN, 0, 1 << 20, 1 | 1 << 32, 2),
        draw(LEN, 0, 1 << 20, 1, 3),
    ] {
        let same = base.iter().zip(&other).filter(|(a, b)| a == b).count();
        assert!(same < 2, "{same}");
    }
    for word in 0..8 {
        let mut words = WORDS;
        words[word] ^= 0x8000_0000;
        let mut out = vec![0; LEN];
        fill_discrete_gaussian(&mut out, 0, 1 << 20, &Key::new(words), 1, 2).unwrap();
        assert_ne!(out, base, "key word {word}");
    }
}

#[test]
fn refusals_leave_the_buffer_alone() {
    let ask = |first, sigma, tensor| {
        let mut out = [7; 4];
        let answer = fill_discrete_gaussian(&mut out, first, sigma, &Key::new(WORDS), 0, tensor);
        assert_eq!(out == [7; 4], answer.is_err());
        answer
    };
    for sigma in [0, MAX_DISCRETE_SIGMA + 1, u32::MAX] {
        assert_eq!(ask(0, sigma, 0), Err(NoiseError::DiscreteSigma { sigma }));
    }
    assert_eq!(
        ask(0, 1000, RESERVED_TENSOR),
        Err(NoiseError::ReservedTensor)
    );
    for first in [MAX_DISCRETE_ELEMENTS - 3, u64::MAX] {
        let refused = NoiseError::DiscreteElements {
            first_element: first,
            len: 4,
        };
        assert_eq!(ask(first, 1000, 0), Err(refused));
    }
    assert_eq!(ask(MAX_DISCRETE_ELEMENTS - 4, 1000, 0), Ok(()));
}
