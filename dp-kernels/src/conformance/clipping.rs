//! Clip factors and dead rows.

use super::bench::{Bench, elementwise_error, first_difference};
use super::{CheckError, Row};
use crate::{clip_factors, zero_dead_rows as launch_zero_dead_rows};
use dp_core::clipping::{CLIP_SLACK, Clipping};

const POLICIES: [Clipping; 5] = [
    Clipping::Flat { clip: 1.0 },
    Clipping::Flat { clip: 0.37 },
    Clipping::Flat { clip: 1e4 },
    Clipping::Automatic {
        clip: 1.0,
        gamma: 0.01,
    },
    Clipping::Automatic {
        clip: 0.1,
        gamma: 1.0,
    },
];

/// Relative to the host's factor, in f32: the device may contract multiply and add.
pub(super) const FACTOR_BUDGET: f64 = 1e-6;

/// By how much a clipped norm may exceed the clipping norm, relatively: f64 keeps what its functions promise, 2^-49.
pub(super) fn slack(bench: &Bench) -> f64 {
    if bench.is_wide() {
        1.0 / (1u64 << 49) as f64
    } else {
        CLIP_SLACK
    }
}

/// The host's factor of a squared norm that the type of the sums holds.
fn factor_on_host(bench: &Bench, clipping: Clipping, norm_sq: f64) -> f64 {
    if bench.is_wide() {
        clipping.factor(norm_sq)
    } else {
        f64::from(clipping.factor(norm_sq as f32))
    }
}

/// Every factor near the host's, bounded in f64, exactly 0 for masked and unusable norms.
pub(super) fn factors(bench: &Bench) -> Result<Vec<Row>, CheckError> {
    let norms = norms(bench);
    let b = norms.len();
    let mask = mask(b);
    let mut rows = Vec::new();
    for clipping in POLICIES {
        let out = bench.upload_sums(&[b], &vec![f64::NAN; b]);
        clip_factors(
            &bench.launch(),
            &bench.upload_sums(&[b], &norms),
            &bench.upload(&[b], &mask),
            &out,
            clipping,
        )?;
        let got = bench.download_sums(&out)?;
        let want: Vec<f64> = norms
            .iter()
            .zip(&mask)
            .map(|(n, m)| match *m == 1.0 {
                true => factor_on_host(bench, clipping, *n),
                false => 0.0,
            })
            .collect();
        let error = elementwise_error(&got, &want);
        let shape = format!("{clipping:?}");
        rows.push(Row::measured(
            "clip_factors",
            bench.sum_name(),
            &shape,
            error,
            bench.budget(FACTOR_BUDGET),
        ));
        rows.push(Row::holds(
            "clip_factors zeros",
            bench.sum_name(),
            &shape,
            wrong_zero(&got, &want, &norms),
        ));
        let excess = norms
            .iter()
            .zip(&got)
            .filter(|(n, _)| n.is_finite() && **n >= 0.0)
            .map(|(n, c)| n.sqrt() * c / f64::from(clipping.clip()) - 1.0)
            .fold(0.0, f64::max);
        rows.push(Row::measured(
            "clip_factors bound",
            bench.sum_name(),
            shape,
            excess,
            slack(bench),
        ));
    }
    Ok(rows)
}

fn wrong_zero(got: &[f64], want: &[f64], norms: &[f64]) -> Option<String> {
    let place = (0..got.len()).find(|&i| (got[i] == 0.0) != (want[i] == 0.0))?;
    Some(format!(
        "factor of {:e} is {:e}, not {:e}",
        norms[place], got[place], want[place]
    ))
}

/// An example in seven is absent, in one way or another: only exactly 1 says that one is there.
pub(super) fn mask(examples: usize) -> Vec<f32> {
    let absent = [0.0, 0.5, 2.0, f32::NAN, -1.0, f32::INFINITY];
    (0..examples)
        .map(|i| {
            if i % 7 == 3 {
                absent[i / 7 % absent.len()]
            } else {
                1.0
            }
        })
        .collect()
}

/// Zero, tiny, huge, unusable, and a spread over all magnitudes that squared gradients have.
pub(super) fn norms(bench: &Bench) -> Vec<f64> {
    let mut norms = vec![0.0, -0.0, -1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
    let narrow = [
        f32::MAX,
        f32::MIN_POSITIVE,
        f32::from_bits(1),
        f32::from_bits(0x007f_ffff),
        1e30,
        1.0,
        1.0000001,
        0.9999999,
    ];
    norms.extend(narrow.map(f64::from));
    let mut decades = 60.0;
    if bench.is_wide() {
        decades = 600.0;
        norms.extend([
            f64::MAX,
            f64::MIN_POSITIVE,
            f64::from_bits(1),
            f64::from_bits(0x000f_ffff_ffff_ffff),
            1.0 + f64::EPSILON,
        ]);
    }
    let mut stream = bench.stream(6);
    norms.extend((0..300).map(|_| {
        let norm_sq = 10f64.powf(decades * (stream.unit() - 0.5));
        bench.round_sum(norm_sq)
    }));
    norms
}

/// Dead rows become zeros whatever they held, and no other bit changes.
pub(super) fn zero_dead_rows(bench: &Bench) -> Result<Vec<Row>, CheckError> {
    let mut rows = Vec::new();
    for shape in [
        vec![11],
        vec![5, 3],
        vec![7, 4, 16],
        vec![6, 33, 5],
        vec![0, 3],
        vec![4, 0],
    ] {
        let b = shape[0];
        let len: usize = shape.iter().product();
        let mut x = bench.stream(7).numbers(len);
        // Negative zero and NaN of unusual bits in live rows must survive too.
        for (i, value) in x.iter_mut().enumerate() {
            match i % 11 {
                3 => *value = -0.0,
                5 => *value = f64::INFINITY,
                8 => *value = f64::NAN,
                _ => *value = bench.round(*value),
            }
        }
        let dead = [0.0, -0.0, f64::NAN, -1.0, f64::INFINITY];
        let factors: Vec<f64> = (0..b)
            .map(|i| if i % 2 == 0 { 0.5 } else { dead[i / 2 % 5] })
            .collect();
        let tensor = bench.upload_input(&shape, &x);
        launch_zero_dead_rows(&bench.launch(), &tensor, &bench.upload_sums(&[b], &factors))?;
        let got = bench.download_input(&tensor)?;
        let row = len.checked_div(b).unwrap_or(0);
        let want: Vec<f64> = x
            .iter()
            .enumerate()
            .map(|(i, value)| if i / row % 2 == 0 { *value } else { 0.0 })
            .collect();
        let failure = first_difference(&got, &want);
        rows.push(Row::holds(
            "zero_dead_rows",
            bench.input_name(),
            format!("{shape:?}"),
            failure,
        ));
    }
    Ok(rows)
}
