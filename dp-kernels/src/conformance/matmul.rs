//! Matrix products by the routine that the device gets.

use super::bench::{Bench, F32, relative_error};
use super::{CheckError, Row};
use crate::{Transposes, matmul};
use cubecl::std::tensor::TensorHandle;

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
    for (i, (b, m, k, n)) in SHAPES.into_iter().enumerate() {
        for transposes in [Transposes::NONE, Transposes::LHS, Transposes::RHS] {
            let mut stream = bench.stream(i as u64);
            let (lhs, rhs) = (stream.bell(b * m * k), stream.bell(b * k * n));
            let lhs_shape = if transposes.lhs { [b, k, m] } else { [b, m, k] };
            let rhs_shape = if transposes.rhs { [b, n, k] } else { [b, k, n] };
            let out = TensorHandle::new_contiguous(
                vec![b, m, n],
                bench.client().empty(b * m * n * 4),
                F32,
            );
            matmul(
                &bench.launch(),
                &bench.upload(&lhs_shape, &lhs),
                &bench.upload(&rhs_shape, &rhs),
                &out,
                transposes,
                bench.tuning().routine,
            )?;
            let want = product(&lhs, &rhs, (b, m, k, n), transposes);
            let error = relative_error(&bench.download(&out)?, &want);
            let op = format!("matmul {:?} {transposes:?}", bench.tuning().routine);
            rows.push(Row::measured(
                op,
                "f32",
                format!("{b} x {m} x {k} x {n}"),
                error,
                1e-5,
            ));
        }
    }
    Ok(rows)
}

fn product(
    lhs: &[f32],
    rhs: &[f32],
    (b, m, k, n): (usize, usize, usize, usize),
    transposes: Transposes,
) -> Vec<f32> {
    let mut out = Vec::with_capacity(b * m * n);
    for batch in 0..b {
        for i in 0..m {
            for j in 0..n {
                let sum: f64 = (0..k)
                    .map(|l| {
                        let left = if transposes.lhs { l * m + i } else { i * k + l };
                        let right = if transposes.rhs { j * k + l } else { l * n + j };
                        f64::from(lhs[batch * m * k + left]) * f64::from(rhs[batch * k * n + right])
                    })
                    .sum();
                out.push(sum as f32);
            }
        }
    }
    out
}
