//! Per-example gradients of a Linear that are kept: they are right, their norms are of what was written, and examples are alone.

use super::bench::{Bench, elementwise_error, first_difference, relative_error};
use super::data::{BROAD, CASES, Case, Host, MANY, TILES, UNEVEN};
use super::norms::NORM_BUDGET;
use super::sums::SUM_BUDGET;
use super::{CheckError, Row};
use crate::keep_linear_gradients;
use cubecl::ir::FloatKind;

const OP: &str = "keep_linear_gradients";

pub(super) fn gradients(bench: &Bench) -> Result<Vec<Row>, CheckError> {
    let mut rows = Vec::new();
    let more = [&TILES, &UNEVEN, &MANY, &BROAD];
    for (i, case) in CASES.iter().chain(more).enumerate() {
        let host = bench.host(*case, 40 + i as u64);
        let start: Vec<f64> = (0..case.b).map(|b| 0.25 * b as f64).collect();
        let (kept, norms) = run(bench, &host, &start)?;
        let row = |what, error, budget| {
            let op = format!("{OP} {what}");
            Row::measured(op, bench.input_name(), case.words(), error, budget)
        };
        let error = relative_error(&kept, &products(&host));
        rows.push(row(
            "elements",
            error,
            bench.budget(SUM_BUDGET) + roundoff(bench),
        ));
        // Of the numbers as they were written, whatever their type.
        let squares = |b: usize| {
            let example = &kept[b * case.d * case.p..(b + 1) * case.d * case.p];
            start[b] + example.iter().map(|x| x * x).sum::<f64>()
        };
        let want: Vec<f64> = (0..case.b).map(squares).collect();
        let error = elementwise_error(&norms, &want);
        rows.push(row("norms", error, bench.budget(NORM_BUDGET)));
        if case.b > 1 {
            rows.push(alone(bench, &host, &start, &kept, &norms)?);
        }
    }
    Ok(rows)
}

/// The last example by itself has the bits that it has among the others.
fn alone(
    bench: &Bench,
    host: &Host,
    start: &[f64],
    kept: &[f64],
    norms: &[f64],
) -> Result<Row, CheckError> {
    let Case { b, d, p, .. } = host.case;
    let (own, norm) = run(bench, &host.examples(b - 1, b), &start[b - 1..])?;
    let failure = first_difference(&own, &kept[(b - 1) * d * p..])
        .or_else(|| first_difference(&norm, &norms[b - 1..]));
    let op = format!("{OP} alone");
    Ok(Row::holds(
        op,
        bench.input_name(),
        host.case.words(),
        failure,
    ))
}

/// What the launcher wrote, and the norms that it added to `start`.
fn run(bench: &Bench, host: &Host, start: &[f64]) -> Result<(Vec<f64>, Vec<f64>), CheckError> {
    let Case { b, t, d, p, .. } = host.case;
    let a = bench.upload_input(&[b, t, d], &host.a);
    let g = bench.upload_input(&[b, t, p], &host.g);
    // What is not overwritten shows.
    let kept = bench.upload_input(&[b, d, p], &vec![7.0; b * d * p]);
    let norms = bench.upload_sums(&[b], start);
    keep_linear_gradients(&bench.launch(), &a, &g, &kept, &norms)?;
    Ok((bench.download_input(&kept)?, bench.download_sums(&norms)?))
}

/// `A_b^T G_b` of every example.
fn products(host: &Host) -> Vec<f64> {
    let Case { b, t, d, p, .. } = host.case;
    let mut products = vec![0.0; b * d * p];
    for row in 0..b * t {
        let example = &mut products[row / t * d * p..(row / t + 1) * d * p];
        for i in 0..d {
            for j in 0..p {
                example[i * p + j] += host.a[row * d + i] * host.g[row * p + j];
            }
        }
    }
    products
}

/// The unit roundoff of the inputs' type where it is more than that of the sums.
fn roundoff(bench: &Bench) -> f64 {
    match bench.input {
        FloatKind::F16 => 2f64.powi(-11),
        FloatKind::BF16 => 2f64.powi(-8),
        _ => 0.0,
    }
}
