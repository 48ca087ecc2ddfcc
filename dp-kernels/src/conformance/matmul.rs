//! Matrix products by the routine that the device gets, and by the crate's own where that is another.

use super::bench::{Bench, relative_error};
use super::data::Stream;
use super::{CheckError, Row};
use crate::{Routine, Transposes, matmul};
use cubecl::ir::FloatKind;

/// Batch, m, k, n.
const SHAPES: [(usize, usize, usize, usize); 10] = [
    (1, 1, 1, 1),
    (1, 16, 16, 16),
    (3, 7, 5, 9),
    (2, 64, 48, 32),
    (1, 33, 130, 65),
    (4, 1, 64, 32),
    (1, 128, 256, 128),
    (2, 24, 600, 40),
    (1, 520, 16, 33),
    (1, 394, 300, 530),
];

/// The same for matrix units, whose rows are whole loads: several tiles, ragged ones, several stretches, so many that they are taken beside each
/// other, more tiles than run at once, and wide ones.
const UNIT_SHAPES: [(usize, usize, usize, usize); 8] = [
    (1, 8, 8, 8),
    (2, 64, 48, 32),
    (3, 24, 600, 40),
    (1, 264, 136, 144),
    (1, 520, 16, 40),
    (2, 24, 2056, 40),
    (270, 16, 72, 24),
    (1, 136, 72, 400),
];

pub(super) fn products(bench: &Bench) -> Result<Vec<Row>, CheckError> {
    let mut rows = on_matrix_units(bench)?;
    let routines = match bench.tuning().is_cpu {
        true => vec![bench.tuning().routine],
        false => vec![Routine::Tiles, Routine::Units],
    };
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

/// 16-bit floats on matrix units, where the device has them; results are rounded to the type.
fn on_matrix_units(bench: &Bench) -> Result<Vec<Row>, CheckError> {
    let mut rows = Vec::new();
    let roundoff = match bench.input {
        FloatKind::F16 => 2f64.powi(-11),
        FloatKind::BF16 => 2f64.powi(-8),
        _ => return Ok(rows),
    };
    if bench.tuning().matrix_units.is_none() {
        return Ok(rows);
    }
    for (i, (b, m, k, n)) in UNIT_SHAPES.into_iter().enumerate() {
        for transposes in [Transposes::NONE, Transposes::LHS, Transposes::RHS] {
            let mut stream = bench.stream(60 + i as u64);
            let mut numbers = |n: usize| -> Vec<f64> {
                let numbers = stream.numbers(n).into_iter();
                numbers.map(|x| bench.round(x)).collect()
            };
            let (lhs, rhs) = (numbers(b * m * k), numbers(b * k * n));
            let lhs_shape = if transposes.lhs { [b, k, m] } else { [b, m, k] };
            let rhs_shape = if transposes.rhs { [b, n, k] } else { [b, k, n] };
            let out = bench.upload_input(&[b, m, n], &vec![9.0; b * m * n]);
            matmul(
                &bench.launch(),
                &bench.upload_input(&lhs_shape, &lhs),
                &bench.upload_input(&rhs_shape, &rhs),
                &out,
                transposes,
                Routine::MatrixUnits,
            )?;
            let want = product(&lhs, &rhs, (b, m, k, n), transposes);
            let error = relative_error(&bench.download_input(&out)?, &want);
            rows.push(Row::measured(
                format!("matmul MatrixUnits {transposes:?}"),
                bench.input_name(),
                format!("{b} x {m} x {k} x {n}"),
                error,
                1e-5 + roundoff,
            ));
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
