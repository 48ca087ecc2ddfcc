//! Weighted sums against the reference.

use super::bench::{Bench, relative_error};
use super::data::{BROAD, CASES, Case, Host, LONG, MANY, TILES, UNEVEN};
use super::ops::{SUMS, SumOp};
use super::oracle::Gradient;
use super::{CheckError, Row};

/// Relative to the largest element, in f32: elements may cancel.
pub(super) const SUM_BUDGET: f64 = 1e-5;

pub(super) fn linear(bench: &Bench) -> Result<Vec<Row>, CheckError> {
    let mut rows = with(bench, &[Gradient::Linear], TILES)?;
    for op in SUMS.iter().filter(|op| op.gradient == Gradient::Linear) {
        rows.push(row(bench, op, UNEVEN, 9)?);
        rows.push(row(bench, op, MANY, 10)?);
        rows.push(row(bench, op, BROAD, 11)?);
    }
    Ok(rows)
}

pub(super) fn columns(bench: &Bench) -> Result<Vec<Row>, CheckError> {
    compare(
        bench,
        &[Gradient::Bias, Gradient::Scale, Gradient::Position],
    )
}

pub(super) fn embedding(bench: &Bench) -> Result<Vec<Row>, CheckError> {
    compare(bench, &[Gradient::Embedding])
}

pub(super) fn given(bench: &Bench) -> Result<Vec<Row>, CheckError> {
    with(bench, &[Gradient::Given], LONG)
}

pub(super) fn channels(bench: &Bench) -> Result<Vec<Row>, CheckError> {
    let gradients = [Gradient::ChannelBias, Gradient::ChannelScale];
    with(bench, &gradients, LONG)
}

pub(super) fn tied(bench: &Bench) -> Result<Vec<Row>, CheckError> {
    compare(bench, &[Gradient::Tied])
}

pub(super) fn lora(bench: &Bench) -> Result<Vec<Row>, CheckError> {
    compare(bench, &[Gradient::LoraA, Gradient::LoraB])
}

/// Over `case` too.
fn with(bench: &Bench, gradients: &[Gradient], case: Case) -> Result<Vec<Row>, CheckError> {
    let mut rows = compare(bench, gradients)?;
    for op in SUMS.iter().filter(|op| gradients.contains(&op.gradient)) {
        rows.push(row(bench, op, case, 7)?);
    }
    Ok(rows)
}

fn compare(bench: &Bench, gradients: &[Gradient]) -> Result<Vec<Row>, CheckError> {
    let mut rows = Vec::new();
    for op in SUMS.iter().filter(|op| gradients.contains(&op.gradient)) {
        for (i, case) in CASES.iter().enumerate() {
            rows.push(row(bench, op, *case, i as u64)?);
        }
    }
    Ok(rows)
}

/// One comparison.
pub(super) fn row(bench: &Bench, op: &SumOp, case: Case, seed: u64) -> Result<Row, CheckError> {
    of_host(bench, op, &bench.host(case, seed), &case.words())
}

/// One comparison of inputs that `shape` tells; the sum is added into numbers that are already there.
pub(super) fn of_host(
    bench: &Bench,
    op: &SumOp,
    host: &Host,
    shape: &str,
) -> Result<Row, CheckError> {
    let len: usize = op.gradient.shape(host.case).iter().product();
    let start: Vec<f64> = (0..len).map(|i| (i % 5) as f64 * 0.5 - 1.0).collect();
    let mut want = start.clone();
    op.gradient.weighted_sum(host, &mut want)?;
    let got = op.run(bench, host, &start)?;
    let error = relative_error(&got, &want);
    Ok(Row::measured(
        op.name,
        bench.input_name(),
        shape,
        error,
        bench.budget(SUM_BUDGET),
    ))
}
