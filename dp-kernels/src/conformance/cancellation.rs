//! Sums of products where an example's tokens cancel: it may report too much, never too little.

use super::bench::{Bench, elementwise_error};
use super::data::{Case, Host};
use super::norms::NORM_BUDGET;
use super::ops::{NORMS, NormOp};
use super::oracle::Gradient;
use super::{CheckError, Row};
use crate::{GRAM_FLOOR, GRAM_FLOOR_F64};

const CASES: [Case; 3] = [
    Case::new(2, 2, 64, 64, 2),
    Case::new(2, 64, 48, 32, 2),
    Case::new(2, 130, 20, 40, 2),
];

/// Two tiles of a GPU's matrix units.
const TILES: Case = Case::new(2, 136, 24, 40, 2);

/// Tokens in pairs of one input and opposite gradients, the second a hair off: the true norm is that
/// of the hairs, the double sum subtracts numbers up to 2^40 times as large.
pub(super) fn gram(bench: &Bench) -> Result<Vec<Row>, CheckError> {
    let gradients = [Gradient::Linear, Gradient::LinearAndBias];
    let mut rows = compare(bench, &gradients, "pairs", pairs)?;
    for op in NORMS.iter().filter(|op| gradients.contains(&op.gradient)) {
        // Of f16 nothing comes near the ends of f32.
        if bench.input_name() != "f16" {
            rows.push(at_the_end_of_the_range(bench, op)?);
        }
        if op.name.contains("gram") {
            for case in CASES.into_iter().chain([TILES]) {
                rows.push(floor(bench, op, case)?);
            }
        }
    }
    Ok(rows)
}

/// Pairs that cancel to nothing: what the Gram way reports then is its floor, of all tokens.
fn floor(bench: &Bench, op: &NormOp, case: Case) -> Result<Row, CheckError> {
    let host = pairs(bench, case, 0.0);
    let Case { b, t, d, p, .. } = case;
    let length = |row: &[f64]| row.iter().map(|x| x * x).sum::<f64>().sqrt();
    let floor_of = |example: usize| {
        let tokens = example * t..(example + 1) * t;
        let products = tokens.map(|token| {
            let a = length(&host.a[token * d..(token + 1) * d]);
            a * length(&host.g[token * p..(token + 1) * p])
        });
        let share = if bench.is_wide() {
            GRAM_FLOOR_F64
        } else {
            f64::from(GRAM_FLOOR)
        };
        share * products.sum::<f64>().powi(2)
    };
    let want: Vec<f64> = (0..b).map(floor_of).collect();
    let got = op.run(bench, &host, &vec![0.0; b])?;
    Ok(Row::measured(
        op.name,
        bench.input_name(),
        format!("{} pairs that cancel", case.words()),
        elementwise_error(&got, &want),
        bench.budget(NORM_BUDGET),
    ))
}

/// Two tokens that cancel, of inputs whose dot product is above half of the largest number, and a third: no number that is formed on the way may overflow
/// and leave less than the third's norm. What a clip factor leaves out is no less.
fn at_the_end_of_the_range(bench: &Bench, op: &NormOp) -> Result<Row, CheckError> {
    let case = Case::new(2, 3, 48, 64, 2);
    let mut host = bench.host(case, 5);
    let exponent = if bench.is_wide() { 509 } else { 61 };
    for token in 0..case.b * case.t {
        let (a, g) = match token % case.t {
            0 => (f64::powi(2.0, exponent), f64::powi(2.0, 1 - exponent)),
            1 => (-f64::powi(2.0, exponent), f64::powi(2.0, 1 - exponent)),
            _ => (128.0, 128.0),
        };
        host.a[token * case.d..(token + 1) * case.d].fill(a);
        host.g[token * case.p..(token + 1) * case.p].fill(g);
    }
    let mut want = vec![0.0; case.b];
    op.gradient.norms_sq(&host, &mut want)?;
    let got = op.run(bench, &host, &vec![0.0; case.b])?;
    let is_left_out = |norm_sq: f64| !norm_sq.is_finite() || norm_sq.is_sign_negative();
    let short = got
        .iter()
        .zip(&want)
        .filter(|(g, _)| !is_left_out(**g))
        .map(|(g, w)| 1.0 - g / w)
        .fold(0.0, f64::max);
    let shape = format!("{} at the end of the range", case.words());
    Ok(Row::measured(
        op.name,
        bench.input_name(),
        shape,
        short,
        SHORT_BUDGET,
    ))
}

/// A head that takes back what the embedding gives, token by token, but for a hair.
pub(super) fn tied(bench: &Bench) -> Result<Vec<Row>, CheckError> {
    compare(bench, &[Gradient::Tied], "embedding and head", take_back)
}

fn compare(
    bench: &Bench,
    gradients: &[Gradient],
    what: &str,
    inputs: fn(&Bench, Case, f64) -> Host,
) -> Result<Vec<Row>, CheckError> {
    let mut rows = Vec::new();
    for op in NORMS.iter().filter(|op| gradients.contains(&op.gradient)) {
        for case in CASES {
            for &exponent in exponents(bench) {
                let host = inputs(bench, case, f64::powi(2.0, -exponent));
                let mut want = vec![0.0; case.b];
                op.gradient.norms_sq(&host, &mut want)?;
                let got = op.run(bench, &host, &vec![0.0; case.b])?;
                // How far the reported norm lies below the true one.
                let short = got
                    .iter()
                    .zip(&want)
                    // A narrow type may hold no hair: then there is nothing to fall short of.
                    .filter(|(_, w)| **w > 0.0)
                    .map(|(g, w)| 1.0 - g / w)
                    .fold(0.0, f64::max);
                let shape = format!("{} {what} off by 2^-{exponent}", case.words());
                rows.push(Row::measured(
                    op.name,
                    bench.input_name(),
                    shape,
                    short,
                    SHORT_BUDGET,
                ));
            }
        }
    }
    Ok(rows)
}

/// How far off the tokens are, in powers of two: until rounding hides all of it.
fn exponents(bench: &Bench) -> &'static [i32] {
    if bench.is_wide() {
        &[0, 16, 20, 22, 24, 26, 28, 32]
    } else {
        &[0, 4, 8, 12, 16, 20]
    }
}

/// How far below the true squared norm a reported one may lie, relatively.
const SHORT_BUDGET: f64 = 0.1;

fn pairs(bench: &Bench, case: Case, hair: f64) -> Host {
    let mut host = bench.host(case, 5);
    let Case { b, t, d, p, .. } = case;
    for pair in 0..b * t / 2 {
        let (first, second) = (2 * pair, 2 * pair + 1);
        for i in 0..d {
            host.a[second * d + i] = host.a[first * d + i];
        }
        for j in 0..p {
            // Multiples of 2^-10, so that in f32 the sum of the pair is the hair exactly.
            let g = bench.round((host.g[first * p + j] * 1024.0).round() / 1024.0);
            host.g[first * p + j] = g;
            let hair = hair * if j % 2 == 0 { 1.0 } else { -0.5 };
            host.g[second * p + j] = bench.round(hair - g);
        }
    }
    host
}

/// `delta_t` picks the token's own row, and `h_t` is `-g_t` and a hair.
fn take_back(bench: &Bench, case: Case, hair: f64) -> Host {
    let mut host = bench.host(case, 6);
    let Case { p, v, .. } = case;
    host.delta.fill(0.0);
    for (token, id) in host.ids.iter().enumerate() {
        host.delta[token * v + *id as usize] = 1.0;
    }
    for (i, (g, h)) in host.g.iter_mut().zip(&mut host.xhat).enumerate() {
        *g = bench.round((*g * 1024.0).round() / 1024.0);
        let hair = hair * if i % p % 2 == 0 { 1.0 } else { -0.5 };
        *h = bench.round(hair - *g);
    }
    host
}
