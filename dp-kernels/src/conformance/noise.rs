//! Noise against the host's, bit for bit where it can be.

use super::bench::{Bench, first_difference};
use super::{CheckError, Row};
use crate::add_gaussian_noise;
use dp_core::noise::{GaussianDraw, Generator, Key, fill_gaussian};

const GENERATORS: [Generator; 2] = [Generator::ChaCha20, Generator::Philox4x32x10NotSecure];

/// Units in the last place between device and host: what contracting multiply and add can change.
const ULP_BUDGET: f64 = 3.0;

/// Units in the last place between device and the exact function of the bits.
const EXACT_BUDGET: f64 = 8.0;

fn key() -> Key {
    Key::new([
        0x0706_0504,
        0x1122_3344,
        0xdead_beef,
        0x0000_0001,
        0xffff_ffff,
        0x8000_0000,
        0x1357_9bdf,
        0x0246_8ace,
    ])
}

/// Where a draw sits: first element, how many, step, tensor.
const DRAWS: [(u64, usize, u64, u32); 13] = [
    (0, 1, 0, 0),
    (0, 8, 1, 3),
    (3, 2, 7, 1),
    (5, 1000, u64::MAX, 2),
    (0, 4099, 1 << 33, u32::MAX - 1),
    ((1 << 32) - 9, 77, 5, 9),
    ((1 << 33) - 40, 40, 5, 9),
    // Whole vectors, of any width that a device has: from the first group on, from within one, and up to the middle of the last unit.
    (0, 2048, 6, 4),
    (24, 1352, 1 << 32, 5),
    (4, 1028, 2, 6),
    (32, 1104, 3, 7),
    (256, 512, 4, 8),
    (264, 184, 4, 8),
];

/// Added to zeros at standard deviation 1, and added to what is there at another.
pub(super) fn against_host(bench: &Bench) -> Result<Vec<Row>, CheckError> {
    let mut rows = Vec::new();
    for generator in GENERATORS {
        for (first, len, step, tensor) in DRAWS {
            let shape = format!("{generator:?} {first}+{len} step {step} tensor {tensor}");
            let mut want = vec![0.0; len];
            host(&mut want, first, 1.0, generator, step, tensor)?;
            let got = draw(bench, &vec![0.0; len], first, 1.0, generator, step, tensor)?;
            let ulps = got
                .iter()
                .zip(&want)
                .map(|(g, w)| f64::from(ulp_distance(*g, *w)))
                .fold(0.0, f64::max);
            rows.push(Row::measured(
                "add_gaussian_noise",
                "f32",
                &shape,
                ulps,
                ULP_BUDGET,
            ));

            let start: Vec<f32> = (0..len).map(|i| i as f32 * 0.125 - 3.0).collect();
            host(&mut want, first, 0.75, generator, step, tensor)?;
            let got = draw(bench, &start, first, 0.75, generator, step, tensor)?;
            let error = (0..len)
                .map(|i| (f64::from(got[i]) - f64::from(start[i]) - f64::from(want[i])).abs())
                .fold(0.0, f64::max);
            let scale = start
                .iter()
                .map(|s| f64::from(s.abs()))
                .fold(10.0, f64::max);
            let op = "add_gaussian_noise into";
            rows.push(Row::measured(op, "f32", shape, error / scale, 1e-6));
        }
    }
    Ok(rows)
}

/// A target of the type of the sums gets what an f32 target of the rounded numbers gets, to the bit.
pub(super) fn as_f32(bench: &Bench) -> Result<Vec<Row>, CheckError> {
    let mut rows = Vec::new();
    for generator in GENERATORS {
        for (first, len, step, tensor) in DRAWS {
            let start = bench.stream(first ^ len as u64).numbers(len);
            let start: Vec<f64> = start.into_iter().map(|x| bench.round_sum(x)).collect();
            let target = bench.upload_sums(&[len], &start);
            let draw_of = GaussianDraw {
                first_element: first,
                std: 0.75,
                key: &key(),
                generator,
                step,
                tensor,
            };
            add_gaussian_noise(&bench.launch(), &target, draw_of)?;
            let got = bench.download_sums(&target)?;
            let narrow: Vec<f32> = start.iter().map(|x| *x as f32).collect();
            let want = draw(bench, &narrow, first, 0.75, generator, step, tensor)?;
            let want: Vec<f64> = want.into_iter().map(f64::from).collect();
            let shape = format!("{generator:?} {first}+{len}");
            let failure = first_difference(&got, &want);
            let op = "add_gaussian_noise as f32 has it";
            rows.push(Row::holds(op, bench.sum_name(), shape, failure));
        }
    }
    Ok(rows)
}

/// A tensor cut anywhere gets the bits that it gets whole; other steps, tensors and keys get others.
pub(super) fn shards(bench: &Bench) -> Result<Vec<Row>, CheckError> {
    let mut rows = Vec::new();
    let len = 701;
    for generator in GENERATORS {
        let zeros = vec![0.0; len];
        let whole = draw(bench, &zeros, 0, 1.5, generator, 4, 2)?;
        for cuts in [
            vec![0, 701],
            vec![0, 256, 701],
            vec![0, 48, 272, 640, 701],
            vec![0, 3, 4, 150, 701],
            vec![0, 1, 699, 701],
        ] {
            let mut joined = Vec::new();
            for ends in cuts.windows(2) {
                let zeros = vec![0.0; ends[1] - ends[0]];
                joined.extend(draw(bench, &zeros, ends[0] as u64, 1.5, generator, 4, 2)?);
            }
            let shape = format!("{generator:?} cut at {cuts:?}");
            let failure = first_difference(&joined, &whole);
            rows.push(Row::holds(
                "add_gaussian_noise shards",
                "f32",
                shape,
                failure,
            ));
        }
        for (what, step, tensor) in [
            ("step", 5, 2),
            ("tensor", 4, 3),
            ("high step", 4 | 1 << 32, 2),
        ] {
            let other = draw(bench, &zeros, 0, 1.5, generator, step, tensor)?;
            let same = other.iter().zip(&whole).filter(|(a, b)| a == b).count();
            let failure = (same > 0).then(|| format!("{same} values repeat"));
            let shape = format!("{generator:?} other {what}");
            rows.push(Row::holds(
                "add_gaussian_noise fresh",
                "f32",
                shape,
                failure,
            ));
        }
    }
    Ok(rows)
}

/// The frozen layout: these values may never change.
pub(super) fn known_values(bench: &Bench) -> Result<Vec<Row>, CheckError> {
    let mut rows = Vec::new();
    for (generator, first, want) in KNOWN {
        let got = draw(bench, &[0.0; 10], first, 1.0, generator, 0x1_0000_0002, 5)?;
        let ulps = got
            .iter()
            .zip(&want)
            .map(|(g, w)| f64::from(ulp_distance(*g, *w)))
            .fold(0.0, f64::max);
        let shape = format!("{generator:?} {first}+10 step 4294967298 tensor 5");
        rows.push(Row::measured(
            "add_gaussian_noise known",
            "f32",
            shape,
            ulps,
            EXACT_BUDGET,
        ));
    }
    Ok(rows)
}

/// Ten elements of tensor 5 at step 2^32 + 2 under the key above: across the end of a normal's 16 blocks, across that of a group, and about a normal
/// whose radius has further bits, for a uniform near 0 (the third) and near 1 (the fourth).
///
/// By another implementation: OpenSSL or integers and 60-digit arithmetic in Python, rounded to f32.
const KNOWN: [(Generator, u64, [f32; 10]); 8] = [
    (
        Generator::ChaCha20,
        11,
        [
            1.958456,
            0.7246409,
            -0.45684987,
            0.5179882,
            0.88607925,
            -0.55544657,
            1.0373902,
            0.7912341,
            -0.36589107,
            1.9106519,
        ],
    ),
    (
        Generator::ChaCha20,
        251,
        [
            -0.9406443,
            -0.4270834,
            -0.90863633,
            -0.70522374,
            1.2549969,
            1.7483402,
            -0.3873001,
            -1.6287282,
            -0.7088028,
            -0.17930566,
        ],
    ),
    (
        Generator::ChaCha20,
        9527812,
        [
            -0.07769581,
            -0.39436668,
            0.70501095,
            -2.9210956,
            0.13522086,
            -0.8778378,
            -0.3768718,
            -0.4271575,
            -0.34943277,
            0.64613426,
        ],
    ),
    (
        Generator::ChaCha20,
        7772464,
        [
            -1.5625131,
            -1.0385671,
            0.5476584,
            0.00045656099,
            0.10780395,
            -1.5030866,
            0.043955054,
            -1.1046543,
            0.8838292,
            1.3932986,
        ],
    ),
    (
        Generator::Philox4x32x10NotSecure,
        11,
        [
            -0.012585238,
            0.48596504,
            0.11247111,
            -1.5023106,
            -0.4464751,
            1.2655613,
            0.85125935,
            1.3238522,
            0.38047123,
            2.5431652,
        ],
    ),
    (
        Generator::Philox4x32x10NotSecure,
        59,
        [
            -0.9224597,
            -0.40831736,
            0.011769629,
            -1.3469634,
            0.19257508,
            0.053228352,
            0.9190288,
            -0.31452432,
            -0.788404,
            -0.31875053,
        ],
    ),
    (
        Generator::Philox4x32x10NotSecure,
        3615007,
        [
            -0.602292, 1.4745394, -1.5834318, 5.030445, -0.5602834, 1.5795051, -1.2092772,
            0.53940326, 1.5145576, 0.65842414,
        ],
    ),
    (
        Generator::Philox4x32x10NotSecure,
        315598,
        [
            1.1532173,
            -0.8752378,
            1.0859352,
            -0.0008440013,
            -1.6063486,
            1.6493384,
            -0.34026662,
            -0.22823282,
            -1.42024,
            -1.2266725,
        ],
    ),
];

fn draw(
    bench: &Bench,
    start: &[f32],
    first: u64,
    std: f32,
    generator: Generator,
    step: u64,
    tensor: u32,
) -> Result<Vec<f32>, CheckError> {
    let target = bench.upload(&[start.len()], start);
    let draw = GaussianDraw {
        first_element: first,
        std,
        key: &key(),
        generator,
        step,
        tensor,
    };
    add_gaussian_noise(&bench.launch(), &target, draw)?;
    bench.download(&target)
}

fn host(
    out: &mut [f32],
    first: u64,
    std: f32,
    generator: Generator,
    step: u64,
    tensor: u32,
) -> Result<(), CheckError> {
    fill_gaussian(out, first, std, &key(), generator, step, tensor)
        .map_err(|error| CheckError::Reference(error.to_string()))
}

/// How many floats apart; huge across a NaN.
fn ulp_distance(a: f32, b: f32) -> u32 {
    let ordered = |x: f32| {
        let bits = x.to_bits() as i32;
        if bits < 0 {
            i64::from(i32::MIN) - i64::from(bits)
        } else {
            i64::from(bits)
        }
    };
    if a.is_nan() || b.is_nan() {
        return u32::MAX;
    }
    ordered(a)
        .abs_diff(ordered(b))
        .try_into()
        .unwrap_or(u32::MAX)
}
