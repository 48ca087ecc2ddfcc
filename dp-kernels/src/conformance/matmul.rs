//! Matrix products by the routine that the device gets, and by the crate's own where that is another.

use super::bench::{Bench, relative_error};
use super::data::Stream;
use super::{CheckError, Row};
use crate::{Routine, Transposes, matmul};

/// Batch, m, k, n.
const SHAPES: [(usize, usize, usize, usize); 9] = [
    (1, 1, 1, 1),
    (1, 16, 16, 16),
    (3, 7, 5, 9),
    (2, 64, 48, 32),
    (1, 33, 130, 65),
    (4, 1, 64, 32),
    (1, 128, 256, 128),
    (2, 24, 600, 40),
    (1, 520, 16, 33),
];

pub(super) fn products(bench: &Bench) -> Result<Vec<Row>, CheckError> {
    let mut rows = Vec::new();
    let mut routines = vec![bench.tuning().routine];
    if !bench.tuning().is_cpu {
        routines.push(Routine::Tiles);
    }
    // Operands are of the type of the sums.
    let numbers = |stream: &mut Stream, n: usize| -> Vec<f64> {
        let numbers = stream.numbers(n).into_iter();
        numbers.map(|x| bench.round_sum(x)).collect()
    };
    for (i, (b, m, k, n)) in SHAPES.into_iter().enumerate() {
        for transposes in [Transposes::NONE, Transposes::LHS, Transposes::RHS] {
            let mut stream = bench.stream(i as u64);
            let (lhs, rhs) = (
                numbers(&mut stream, b * m * k),
                numbers(&mut stream, b * k * n),
            );
            let lhs_shape = if transposes.lhs { [b, k, m] } else { [b, m, k] };
            let rhs_shape = if transposes.rhs { [b, n, k] } else { [b, k, n] };
            let want = product(&lhs, &rhs, (b, m, k, n), transposes);
            for routine in &routines {
                let out = bench.upload_sums(&[b, m, n], &vec![9.0; b * m * n]);
                matmul(
                    &bench.launch(),
                    &bench.upload_sums(&lhs_shape, &lhs),
                    &bench.upload_sums(&rhs_shape, &rhs),
                    &out,
                    transposes,
                    *routine,
                )?;
                let error = relative_error(&bench.download_sums(&out)?, &want);
                rows.push(Row::measured(
                    format!("matmul {routine:?} {transposes:?}"),
                    bench.sum_name(),
                    format!("{b} x {m} x {k} x {n}"),
                    error,
                    bench.budget(1e-5),
                ));
            }
        }
    }
    Ok(rows)
}

fn product(
    lhs: &[f64],
    rhs: &[f64],
    (b, m, k, n): (usize, usize, usize, usize),
    transposes: Transposes,
) -> Vec<f64> {
    let mut out = Vec::with_capacity(b * m * n);
    for batch in 0..b {
        for i in 0..m {
            for j in 0..n {
                let sum: f64 = (0..k)
                    .map(|l| {
                        let left = if transposes.lhs { l * m + i } else { i * k + l };
                        let right = if transposes.rhs { j * k + l } else { l * n + j };
                        lhs[batch * m * k + left] * rhs[batch * k * n + right]
                    })
                    .sum();
                out.push(sum);
            }
        }
    }
    out
}
