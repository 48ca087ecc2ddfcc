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

/// Relative to the host's factor: the device may contract multiply and add.
pub(super) const FACTOR_BUDGET: f64 = 1e-6;

/// Every factor near the host's, bounded in f64, exactly 0 for masked and unusable norms.
pub(super) fn factors(bench: &Bench) -> Result<Vec<Row>, CheckError> {
    let norms = norms(bench);
    let b = norms.len();
    let mask: Vec<f32> = (0..b).map(|i| if i % 7 == 3 { 0.0 } else { 1.0 }).collect();
    let mut rows = Vec::new();
    for clipping in POLICIES {
        let out = bench.upload(&[b], &vec![f32::NAN; b]);
        clip_factors(
            &bench.launch(),
            &bench.upload(&[b], &norms),
            &bench.upload(&[b], &mask),
            &out,
            clipping,
        )?;
        let got = bench.download(&out)?;
        let want: Vec<f32> = norms
            .iter()
            .zip(&mask)
            .map(|(n, m)| if *m == 1.0 { clipping.factor(*n) } else { 0.0 })
            .collect();
        let error = elementwise_error(&got, &want);
        let shape = format!("{clipping:?}");
        rows.push(Row::measured(
            "clip_factors",
            "f32",
            &shape,
            error,
            FACTOR_BUDGET,
        ));
        rows.push(Row::holds(
            "clip_factors zeros",
            "f32",
            &shape,
            wrong_zero(&got, &want, &norms),
        ));
        let excess = norms
            .iter()
            .zip(&got)
            .filter(|(n, _)| n.is_finite() && **n >= 0.0)
            .map(|(n, c)| f64::from(*n).sqrt() * f64::from(*c) / f64::from(clipping.clip()) - 1.0)
            .fold(0.0, f64::max);
        rows.push(Row::measured(
            "clip_factors bound",
            "f32",
            shape,
            excess,
            CLIP_SLACK,
        ));
    }
    Ok(rows)
}

fn wrong_zero(got: &[f32], want: &[f32], norms: &[f32]) -> Option<String> {
    let place = (0..got.len()).find(|&i| (got[i] == 0.0) != (want[i] == 0.0))?;
    Some(format!(
        "factor of {:e} is {:e}, not {:e}",
        norms[place], got[place], want[place]
    ))
}

/// Zero, tiny, huge, unusable, and a spread over all magnitudes that squared gradients have.
pub(super) fn norms(bench: &Bench) -> Vec<f32> {
    let mut norms = vec![
        0.0,
        -0.0,
        -1.0,
        f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::MAX,
        f32::MIN_POSITIVE,
        f32::from_bits(1),
        f32::from_bits(0x007f_ffff),
        1e30,
        1.0,
        1.0000001,
        0.9999999,
    ];
    let mut stream = bench.stream(6);
    norms.extend((0..300).map(|_| 10f64.powf(60.0 * stream.unit() - 30.0) as f32));
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
        let mut x = bench.stream(7).bell(len);
        // Negative zero and NaN of unusual bits in live rows must survive too.
        for (i, value) in x.iter_mut().enumerate() {
            match i % 11 {
                3 => *value = -0.0,
                5 => *value = f32::INFINITY,
                8 => *value = f32::NAN,
                _ => *value = bench.round(*value),
            }
        }
        let dead = [0.0, -0.0, f32::NAN, -1.0, f32::INFINITY];
        let factors: Vec<f32> = (0..b)
            .map(|i| if i % 2 == 0 { 0.5 } else { dead[i / 2 % 5] })
            .collect();
        let tensor = bench.upload_input(&shape, &x);
        launch_zero_dead_rows(&bench.launch(), &tensor, &bench.upload(&[b], &factors))?;
        let got = bench.download_input(&tensor)?;
        let row = len.checked_div(b).unwrap_or(0);
        let want: Vec<f32> = x
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
