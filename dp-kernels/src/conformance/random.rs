//! Random shapes, for property tests.

use super::bench::Bench;
use super::data::Case;
use super::ops::{NORMS, SUMS};
use super::{CheckError, Row, conv, norms, sums};

/// Compares every norm and every sum for one random shape: `[B, T, d, p, V]` as given, inputs of `seed`, and a
/// convolution of a geometry of `seed`.
///
/// # Errors
/// [`CheckError`] when a launcher refuses or the device fails.
pub fn random_case(bench: &Bench, shape: [usize; 5], seed: u64) -> Result<Vec<Row>, CheckError> {
    let [b, t, d, p, v] = shape;
    let case = Case { b, t, d, p, v };
    let mut rows = Vec::new();
    for op in &NORMS {
        rows.push(norms::row(bench, op, case, seed)?);
    }
    for op in &SUMS {
        rows.push(sums::row(bench, op, case, seed)?);
    }
    rows.extend(conv::random_rows(bench, b, seed)?);
    Ok(rows)
}
