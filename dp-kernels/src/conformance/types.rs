//! The element type is how numbers are stored, not what they are: inputs that two types hold give the same results in both.

use super::bench::{Bench, elementwise_error, relative_error};
use super::data::Case;
use super::norms::{self, NORM_BUDGET};
use super::ops::{NORMS, SUMS};
use super::sums::{self, SUM_BUDGET};
use super::{CheckError, Row};
use cubecl::ir::FloatKind;

const CASE: Case = Case::new(3, 7, 12, 20, 9);

/// So many tokens that their sum leaves the range of f16 too.
const BEYOND: Case = Case::new(3, 40, 12, 20, 9);

/// Every norm and sum of numbers that f32 and the type of the inputs hold, in both: equal within the budget of f32.
///
/// With f32 inputs these are two runs of one thing, which give the same bits.
pub(super) fn agree(bench: &Bench) -> Result<Vec<Row>, CheckError> {
    let plain = Bench::new(bench.backend.clone()).with_seed(bench.seed);
    let narrower = if bench.is_wide() { &plain } else { bench };
    let host = narrower.host(CASE, 12);
    let shape = format!("{} as in f32", CASE.words());
    let same = bench.input == plain.input;
    let mut rows = Vec::new();
    for op in &NORMS {
        let start = vec![0.0; CASE.b];
        let got = op.run(bench, &host, &start)?;
        let error = elementwise_error(&got, &op.run(&plain, &host, &start)?);
        let budget = if same { 0.0 } else { NORM_BUDGET };
        rows.push(Row::measured(
            op.name,
            bench.input_name(),
            &shape,
            error,
            budget,
        ));
    }
    for op in &SUMS {
        let start = vec![0.0; op.gradient.shape(CASE).iter().product()];
        let got = op.run(bench, &host, &start)?;
        let error = relative_error(&got, &op.run(&plain, &host, &start)?);
        let budget = if same { 0.0 } else { SUM_BUDGET };
        rows.push(Row::measured(
            op.name,
            bench.input_name(),
            &shape,
            error,
            budget,
        ));
    }
    if bench.input == FloatKind::F16 {
        rows.extend(beyond_the_range(bench)?);
    }
    Ok(rows)
}

/// Numbers up to 2^15, which f16 holds as it does not hold their products and sums: nothing on the way to a norm or a sum may be of the inputs' type.
///
/// They are other rows' times a power of two, so that no more rounds than there.
fn beyond_the_range(bench: &Bench) -> Result<Vec<Row>, CheckError> {
    let mut host = bench.host(BEYOND, 14);
    for value in host.inputs_mut() {
        *value *= f64::powi(2.0, 14);
    }
    let shape = format!("{} beyond the range of f16", BEYOND.words());
    let mut rows = Vec::new();
    for op in &NORMS {
        rows.push(norms::of_host(bench, op, &host, &shape)?);
    }
    for op in &SUMS {
        rows.push(sums::of_host(bench, op, &host, &shape)?);
    }
    Ok(rows)
}
