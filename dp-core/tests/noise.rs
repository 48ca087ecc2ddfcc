//! Gaussian noise by coordinates: the frozen layout, cuts that don't matter, refusals, the key.

use dp_core::noise::{
    Generator, Key, MAX_STD, NoiseError, RESERVED_TENSOR, chacha20_normals, fill_gaussian,
    philox4x32x10_normals,
};
use proptest::prelude::*;

const GENERATORS: [Generator; 2] = [Generator::ChaCha20, Generator::Philox4x32x10NotSecure];

const WORDS: [u32; 8] = [
    0x0302_0100,
    0x0706_0504,
    0x0b0a_0908,
    0x0f0e_0d0c,
    0x1312_1110,
    0x1716_1514,
    0x1b1a_1918,
    0x1f1e_1d1c,
];
/// Both halves of the step differ from zero and from each other.
const STEP: u64 = 0x0000_0002_0000_0003;
const TENSOR: u32 = 5;

fn fill(out: &mut [f32], first: u64, generator: Generator) {
    fill_gaussian(out, first, 1.0, &Key::new(WORDS), generator, STEP, TENSOR).unwrap();
}

/// Element and value, made by OpenSSL's ChaCha20 and a 60-digit Box-Muller, not by this crate: of every normal of a block, of
/// first and last blocks of a group, of pairs whose radius has further bits (from 1795042 on; at either end of the uniform), and of the last element.
const CHACHA20: [(u64, f64); 33] = [
    (0, 0.19446626007782522),
    (1, -0.12672107929224646),
    (2, -1.2697743870730427),
    (15, 0.06038467884353697),
    (16, -0.2610768655104841),
    (17, -0.5264823431480605),
    (32, -0.9900227611655262),
    (63, 0.1355433746339361),
    (64, -0.6678464628255193),
    (80, 0.011226056693060073),
    (95, 0.2667260803031472),
    (112, -0.47047959039099074),
    (128, 0.12272668827495552),
    (144, -0.7735204964766405),
    (160, 0.021446546069272054),
    (176, 0.6497106133201008),
    (192, 2.9497498836855964),
    (208, -1.609949833002471),
    (224, -0.18088397829962183),
    (240, -1.079506628804063),
    (255, -0.5595793616683802),
    (256, 0.009276735583685655),
    (257, 0.6251244394313277),
    (272, -0.6662433212792821),
    (1_795_042, -0.00031031320838800314),
    (1_795_058, 0.00033168897677331085),
    (3_085_385, -4.502262972114293),
    (3_085_401, 3.005988206132349),
    (14_740_010, -6.41225912021977e-05),
    (14_740_026, -0.0002310200507175837),
    (15_676_905, 5.060404169916072),
    (15_676_921, 1.342497215474551),
    (34_359_738_367, 1.7087787706691173),
];

/// The same for Philox4x32-10, by a second implementation; further bits from 841059 on.
const PHILOX: [(u64, f64); 22] = [
    (0, -0.9108470415170974),
    (1, 1.185820187789686),
    (15, -0.3996227348357853),
    (16, -0.9301299016168657),
    (17, -0.10532132558574125),
    (32, 1.4446697946312712),
    (33, -1.8152679759666475),
    (48, 0.24349461427451585),
    (63, 0.568725397900248),
    (64, 0.7986994963856575),
    (65, 1.3444446891403579),
    (97, 0.9612251125952683),
    (113, 0.7109642807056943),
    (841059, 2.7017426437468877),
    (841075, -4.921801408183332),
    (1_018_250, 0.0006838958610186409),
    (1_018_266, 0.0017275463218657569),
    (2_082_665, 2.1634855484287514),
    (2_082_681, 5.309574408313622),
    (3_449_508, 0.0010013366152946926),
    (3_449_524, -0.0005084238914979404),
    (8_589_934_591, 0.5440968763034573),
];

#[test]
fn values_are_those_of_the_frozen_layout() {
    let tables = [
        (Generator::ChaCha20, &CHACHA20[..]),
        (Generator::Philox4x32x10NotSecure, &PHILOX[..]),
    ];
    for (generator, table) in tables {
        for (element, want) in table {
            let mut got = [0.0];
            fill(&mut got, *element, generator);
            let error = (f64::from(got[0]) / want - 1.0).abs();
            assert!(
                error < 5.0 * 2f64.powi(-23),
                "{generator:?} {element}: {got:?} {want}"
            );
        }
    }
}

/// The exact bits, which a change of a polynomial or of a sum's order would move.
#[test]
fn bits_are_frozen() {
    let checksum = |generator| {
        let mut out = vec![0.0; 1 << 16];
        fill(&mut out, 0, generator);
        out.iter().fold(0u64, |sum, value: &f32| {
            sum.rotate_left(5).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(value.to_bits())
        })
    };
    assert_eq!(
        GENERATORS.map(checksum),
        [6_148_065_849_583_524_940, 6_582_837_543_275_625_642],
        "value-breaking: released noise is no longer reproducible"
    );
}

proptest! {
    /// Any cut of a range, down to single elements, draws what one call draws.
    #[test]
    fn shards_draw_what_one_device_draws(
        first in 0u64..1000,
        len in 1usize..700,
        cuts in prop::collection::vec(0usize..700, 0..6),
        philox: bool,
    ) {
        let generator = GENERATORS[usize::from(philox)];
        let mut whole = vec![0.0; len];
        fill(&mut whole, first, generator);

        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut % (len + 1)).collect();
        cuts.extend([0, len]);
        cuts.sort_unstable();
        let mut sharded = vec![0.0; len];
        for ends in cuts.windows(2) {
            fill(&mut sharded[ends[0]..ends[1]], first + ends[0] as u64, generator);
        }
        prop_assert_eq!(&whole, &sharded);
    }
}

#[test]
fn every_coordinate_matters() {
    for generator in GENERATORS {
        let draw = |words: [u32; 8], step, tensor, first| {
            let mut out = [0.0; 16];
            fill_gaussian(
                &mut out,
                first,
                1.0,
                &Key::new(words),
                generator,
                step,
                tensor,
            )
            .unwrap();
            out
        };
        let base = draw(WORDS, 1, 2, 0);
        let mut other = WORDS;
        other[1] ^= 1;
        assert_ne!(draw(other, 1, 2, 0), base);
        assert_ne!(draw(WORDS, 2, 2, 0), base);
        assert_ne!(draw(WORDS, 1 | 1 << 32, 2, 0), base);
        assert_ne!(draw(WORDS, 1, 3, 0), base);
        assert_ne!(draw(WORDS, 1, 2, 16), base);
    }
    // ChaCha20 takes the whole key.
    for word in 0..8 {
        let mut other = WORDS;
        other[word] ^= 0x8000_0000;
        let mut out = [0.0];
        let key = Key::new(other);
        fill_gaussian(&mut out, 0, 1.0, &key, Generator::ChaCha20, STEP, TENSOR).unwrap();
        assert!(
            (f64::from(out[0]) - CHACHA20[0].1).abs() > 1e-4,
            "key word {word}"
        );
    }
}

/// What kernels call gives what the host fills: a block's normals belong to elements 16 apart.
#[test]
fn block_functions_give_every_16th_element() {
    let [k0, k1, k2, k3, k4, k5, k6, k7] = WORDS;
    let input = |block| (block, TENSOR, STEP as u32, (STEP >> 32) as u32);
    let mut out = [0.0; 256];

    // Block 19 is the fourth of the second group.
    fill(&mut out, 256, Generator::ChaCha20);
    let (a, b, c, d, e, f, g, h) = chacha20_normals((k0, k1, k2, k3), (k4, k5, k6, k7), input(19));
    let normals = [
        a.0, a.1, b.0, b.1, c.0, c.1, d.0, d.1, e.0, e.1, f.0, f.1, g.0, g.1, h.0, h.1,
    ];
    assert_eq!(std::array::from_fn(|j| out[16 * j + 3]), normals);

    fill(&mut out, 64, Generator::Philox4x32x10NotSecure);
    let (a, b) = philox4x32x10_normals(input(19), k0, k1);
    assert_eq!([out[3], out[19], out[35], out[51]], [a.0, a.1, b.0, b.1]);
}

#[test]
fn the_standard_deviation_multiplies() {
    let mut unit = [0.0; 100];
    fill(&mut unit, 0, Generator::ChaCha20);
    for std in [0.0, 1e-30, 0.37, 2.0, MAX_STD] {
        let mut out = [f32::NAN; 100];
        let key = Key::new(WORDS);
        fill_gaussian(&mut out, 0, std, &key, Generator::ChaCha20, STEP, TENSOR).unwrap();
        assert_eq!(out, unit.map(|z| z * std));
        assert!(out.iter().all(|x| x.is_finite()));
    }
}

#[test]
fn refusals_leave_the_buffer_alone() {
    let ask = |first, len: usize, std, generator, tensor| {
        let mut out = vec![7.0; len];
        let answer = fill_gaussian(&mut out, first, std, &Key::new(WORDS), generator, 0, tensor);
        if answer.is_err() {
            assert!(out.iter().all(|x| *x == 7.0));
        }
        answer
    };
    for generator in GENERATORS {
        let limit = match generator {
            Generator::ChaCha20 => 1 << 35,
            Generator::Philox4x32x10NotSecure => 1 << 33,
        };
        assert_eq!(generator.max_elements(), limit);
        assert_eq!(ask(limit - 4, 4, 1.0, generator, 0), Ok(()));
        for (first, len) in [(limit - 4, 5), (limit, 1), (u64::MAX, 1), (u64::MAX - 1, 2)] {
            assert_eq!(
                ask(first, len, 1.0, generator, 0),
                Err(NoiseError::ElementRange {
                    first_element: first,
                    len: len as u64,
                    generator
                })
            );
        }
        for std in [
            -1.0,
            -f32::MIN_POSITIVE,
            f32::INFINITY,
            f32::MAX,
            f32::NEG_INFINITY,
        ] {
            assert_eq!(
                ask(0, 3, std, generator, 0),
                Err(NoiseError::StandardDeviation { std })
            );
        }
        assert!(ask(0, 3, f32::NAN, generator, 0).is_err());
        assert_eq!(
            ask(0, 3, 1.0, generator, RESERVED_TENSOR),
            Err(NoiseError::ReservedTensor)
        );
        assert_eq!(ask(0, 3, 1.0, generator, RESERVED_TENSOR - 1), Ok(()));
    }
}

#[test]
fn a_key_shows_nothing() {
    let shown = format!("{:?} {:#?}", Key::new(WORDS), Key::new([7; 8]));
    assert!(!shown.contains(|c: char| c.is_ascii_digit()), "{shown}");
}

#[test]
fn a_key_is_wiped() {
    use zeroize::Zeroize;
    let mut key = Key::new(WORDS);
    key.zeroize();
    assert_eq!(key.words(), &[0; 8]);
    fn wiped_on_drop<T: zeroize::ZeroizeOnDrop>() {}
    wiped_on_drop::<Key>();
    assert!(std::mem::needs_drop::<Key>());
}

#[test]
fn a_generated_key_takes_every_word_from_the_generator() {
    use dp_core::noise::chacha::ChaCha20Rng;
    use rand_core::{Rng, SeedableRng};
    let mut words = [0; 8];
    let mut rng = ChaCha20Rng::from_seed([9; 32]);
    words.fill_with(|| rng.next_u32());
    let key = Key::generate(&mut ChaCha20Rng::from_seed([9; 32])).unwrap();
    assert_eq!(key.words(), &words);
}
