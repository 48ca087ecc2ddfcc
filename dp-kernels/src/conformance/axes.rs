//! Launches of more cubes than an axis takes: the axes that they go on along change no bit.

use super::bench::{Bench, first_difference};
use super::data::Case;
use super::ops::{NORMS, SUMS};
use super::oracle::Gradient;
use super::{CheckError, Row};

/// Cubes along an axis. A device takes 65535 or more, so that in no other check a launch goes on along a third.
const CUBES: u32 = 3;

/// Every norm and sum in launches of so short axes: the bits that it has in the device's own.
pub(super) fn short(bench: &Bench) -> Result<Vec<Row>, CheckError> {
    let mut backend = bench.backend.clone();
    backend.tuning.max_cubes = CUBES;
    let short = Bench::with_input(backend, bench.input).with_seed(bench.seed);
    let tuning = bench.tuning();
    // Rows for these fill more cubes: on a processor where a unit takes one, on a GPU where many share one.
    let examples = if tuning.is_cpu {
        (CUBES * tuning.units) as usize + 1
    } else {
        70
    };
    let host = bench.host(Case::new(examples, 9, 40, 70, 7), 15);
    // A convolution's rows are its groups' and positions' too.
    let few = host.examples(0, examples.min(24));
    let host_of = |gradient: Gradient| match gradient {
        Gradient::Conv(_) => &few,
        _ => &host,
    };
    let row = |op: &str, case: Case, failure| {
        let shape = format!("{} in {CUBES} cubes an axis", case.words());
        Row::holds(op, bench.input_name(), shape, failure)
    };
    let mut rows = Vec::new();
    // The short axes first: a row that is left out there must not find in memory what the other launch left.
    for op in &NORMS {
        let host = host_of(op.gradient);
        let start = vec![0.0; host.case.b];
        let got = op.run(&short, host, &start)?;
        let want = op.run(bench, host, &start)?;
        rows.push(row(op.name, host.case, first_difference(&got, &want)));
    }
    for op in &SUMS {
        let host = host_of(op.gradient);
        let start = vec![1.0; op.gradient.shape(host.case).iter().product()];
        let got = op.run(&short, host, &start)?;
        let want = op.run(bench, host, &start)?;
        rows.push(row(op.name, host.case, first_difference(&got, &want)));
    }
    Ok(rows)
}
