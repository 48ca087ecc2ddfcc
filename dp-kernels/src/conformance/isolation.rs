//! Examples are alone: what one holds changes no bit of another's norm, and a dead one changes no bit of a sum.

use super::bench::{Bench, first_difference};
use super::data::Case;
use super::ops::{NORMS, SUMS};
use super::oracle::Gradient;
use super::{CheckError, Row};

/// In the last a GPU has enough tiles of Gram matrices in the batch to take each whole, and cuts one of an example by itself.
const CASES: [Case; 6] = [
    Case::new(5, 7, 9, 12, 4),
    Case::new(4, 72, 32, 64, 30),
    Case::new(2, 300, 20, 36, 7),
    Case::new(6, 1, 16, 10, 3),
    Case::new(15, 2, 9, 12, 4),
    Case::new(280, 2, 8, 520, 3),
];

/// The shapes to ask `gradient` about; of a convolution's, only the examples count.
fn cases(gradient: Gradient) -> &'static [Case] {
    match gradient {
        Gradient::Conv(_) => &CASES[..1],
        _ => &CASES,
    }
}

/// Another example in row `j`: every other norm keeps its bits, and the new one's is another number.
pub(super) fn perturbation(bench: &Bench) -> Result<Vec<Row>, CheckError> {
    let mut rows = Vec::new();
    for op in &NORMS {
        for &case in cases(op.gradient) {
            let host = bench.host(case, 1);
            let j = case.b / 2;
            let mut other = host.clone();
            other.replace_example(j, &bench.host(case, 99));
            let zeros = vec![0.0; case.b];
            let mut before = op.run(bench, &host, &zeros)?;
            let mut after = op.run(bench, &other, &zeros)?;
            let moved = before[j] != after[j];
            before[j] = 0.0;
            after[j] = 0.0;
            let failure = first_difference(&after, &before)
                .or_else(|| (!moved).then(|| format!("norm {j} did not move")));
            rows.push(Row::holds(
                op.name,
                bench.input_name(),
                case.words(),
                failure,
            ));
        }
    }
    Ok(rows)
}

/// Norms of two microbatches: the bits of one batch.
pub(super) fn microbatches(bench: &Bench) -> Result<Vec<Row>, CheckError> {
    let mut rows = Vec::new();
    for op in &NORMS {
        for &case in cases(op.gradient) {
            let host = bench.host(case, 2);
            let whole = op.run(bench, &host, &vec![0.0; case.b])?;
            let cut = case.b - 1;
            let mut parts = op.run(bench, &host.examples(0, cut), &vec![0.0; cut])?;
            parts.extend(op.run(bench, &host.examples(cut, case.b), &[0.0])?);
            let failure = first_difference(&parts, &whole);
            rows.push(Row::holds(
                op.name,
                bench.input_name(),
                case.words(),
                failure,
            ));
        }
    }
    Ok(rows)
}

/// A NaN or an infinity in one row: its norm is no finite number, the others keep their bits.
pub(super) fn bad_rows(bench: &Bench) -> Result<Vec<Row>, CheckError> {
    let mut rows = Vec::new();
    for op in &NORMS {
        for &case in cases(op.gradient) {
            for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
                let host = bench.host(case, 3);
                let j = case.b - 2;
                let mut bad = host.clone();
                bad.poison(j, value);
                let zeros = vec![0.0; case.b];
                let mut clean = op.run(bench, &host, &zeros)?;
                let mut got = op.run(bench, &bad, &zeros)?;
                let unnoticed = got[j].is_finite();
                clean[j] = 0.0;
                got[j] = 0.0;
                let failure = first_difference(&got, &clean)
                    .or_else(|| unnoticed.then(|| format!("norm {j} is finite")));
                let shape = format!("{} {value} in row {j}", case.words());
                rows.push(Row::holds(op.name, bench.input_name(), shape, failure));
            }
        }
    }
    Ok(rows)
}

/// Dead examples full of NaN and infinities: the sum has the bits it has when they are zeros.
pub(super) fn dead_examples(bench: &Bench) -> Result<Vec<Row>, CheckError> {
    let mut rows = Vec::new();
    for op in &SUMS {
        for &case in cases(op.gradient) {
            let mut clean = bench.host(case, 4);
            let mut bad = clean.clone();
            for (j, value) in [(0, f64::NAN), (case.b - 1, f64::INFINITY)] {
                for host in [&mut clean, &mut bad] {
                    host.factors[j] = 0.0;
                }
                bad.poison(j, value);
            }
            let len: usize = op.gradient.shape(case).iter().product();
            let start = vec![1.0; len];
            let want = op.run(bench, &clean, &start)?;
            let got = op.run(bench, &bad, &start)?;
            let failure = first_difference(&got, &want).or_else(|| {
                want.iter()
                    .any(|w| !w.is_finite())
                    .then(|| "not finite".to_owned())
            });
            rows.push(Row::holds(
                op.name,
                bench.input_name(),
                case.words(),
                failure,
            ));
        }
    }
    Ok(rows)
}
