//! Norms against the reference.

use super::bench::{Bench, elementwise_error};
use super::data::{BROAD, CASES, Case, Host, LONG, MANY, PARTS, RAGGED, TEXT, TILES, UNEVEN, WIDE};
use super::ops::{NORMS, NormOp};
use super::oracle::Gradient;
use super::{CheckError, Row};

/// Relative, of each example's squared norm in f32.
pub(super) const NORM_BUDGET: f64 = 1e-5;

pub(super) fn linear(bench: &Bench) -> Result<Vec<Row>, CheckError> {
    let gradients = [Gradient::Linear, Gradient::LinearAndBias];
    let mut rows = with(bench, &gradients, TILES)?;
    for op in NORMS.iter().filter(|op| gradients.contains(&op.gradient)) {
        rows.push(row(bench, op, WIDE, 8)?);
        rows.push(row(bench, op, UNEVEN, 9)?);
        rows.push(row(bench, op, MANY, 10)?);
        rows.push(row(bench, op, RAGGED, 11)?);
        rows.push(row(bench, op, BROAD, 12)?);
        rows.push(row(bench, op, TEXT, 13)?);
    }
    Ok(rows)
}

pub(super) fn columns(bench: &Bench) -> Result<Vec<Row>, CheckError> {
    compare(
        bench,
        &[
            Gradient::Bias,
            Gradient::Scale,
            Gradient::ScaleAndBias,
            Gradient::Position,
        ],
    )
}

pub(super) fn embedding(bench: &Bench) -> Result<Vec<Row>, CheckError> {
    with(bench, &[Gradient::Embedding], PARTS)
}

pub(super) fn given(bench: &Bench) -> Result<Vec<Row>, CheckError> {
    with(bench, &[Gradient::Given], LONG)
}

pub(super) fn channels(bench: &Bench) -> Result<Vec<Row>, CheckError> {
    let gradients = [Gradient::ChannelBias, Gradient::ChannelScale];
    with(bench, &gradients, LONG)
}

pub(super) fn tied(bench: &Bench) -> Result<Vec<Row>, CheckError> {
    let mut rows = with(bench, &[Gradient::Tied], TILES)?;
    for op in NORMS.iter().filter(|op| op.gradient == Gradient::Tied) {
        rows.push(row(bench, op, UNEVEN, 9)?);
        rows.push(row(bench, op, MANY, 10)?);
    }
    Ok(rows)
}

pub(super) fn lora(bench: &Bench) -> Result<Vec<Row>, CheckError> {
    compare(bench, &[Gradient::LoraA])
}

/// Over `case` too.
fn with(bench: &Bench, gradients: &[Gradient], case: Case) -> Result<Vec<Row>, CheckError> {
    let mut rows = compare(bench, gradients)?;
    for op in NORMS.iter().filter(|op| gradients.contains(&op.gradient)) {
        rows.push(row(bench, op, case, 7)?);
    }
    Ok(rows)
}

fn compare(bench: &Bench, gradients: &[Gradient]) -> Result<Vec<Row>, CheckError> {
    let mut rows = Vec::new();
    for op in NORMS.iter().filter(|op| gradients.contains(&op.gradient)) {
        for (i, case) in CASES.iter().enumerate() {
            rows.push(row(bench, op, *case, i as u64)?);
        }
    }
    Ok(rows)
}

/// One comparison.
pub(super) fn row(bench: &Bench, op: &NormOp, case: Case, seed: u64) -> Result<Row, CheckError> {
    of_host(bench, op, &bench.host(case, seed), &case.words())
}

/// One comparison of inputs that `shape` tells; the norms are added into numbers that are already there.
pub(super) fn of_host(
    bench: &Bench,
    op: &NormOp,
    host: &Host,
    shape: &str,
) -> Result<Row, CheckError> {
    let start: Vec<f64> = (0..host.case.b).map(|b| 0.25 * b as f64).collect();
    let mut want = start.clone();
    op.gradient.norms_sq(host, &mut want)?;
    let got = op.run(bench, host, &start)?;
    let error = elementwise_error(&got, &want);
    Ok(Row::measured(
        op.name,
        bench.input_name(),
        shape,
        error,
        bench.budget(NORM_BUDGET),
    ))
}
