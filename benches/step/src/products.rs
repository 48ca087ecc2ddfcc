//! The Linears' products beside those of the `gemm` crate: how good the routine is that both steps are built of.

use crate::mlp::WIDTHS;
use crate::time::median;
use crate::workload::Workload;
use cubecl::future::block_on;
use cubecl::std::tensor::TensorHandle;
use dp_kernels::{Backend, KernelError, Launch, ReadError, Transposes, Workspace, matmul};
use std::time::Instant;

/// One product, by both.
#[derive(Debug, Clone)]
pub struct ProductRow {
    /// Which of a Linear's three.
    pub name: &'static str,
    /// Rows, depth and columns.
    pub shape: [usize; 3],
    /// Median seconds of `dp_kernels::matmul`, by the device's own routine, launch and waiting included.
    pub ours: f64,
    /// Median seconds of `gemm::gemm` on all threads.
    pub gemm: f64,
    /// The median over the rounds of ours / gemm.
    pub ratio: f64,
}

/// Why two products could not be compared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProductError {
    /// A kernel refused.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The device failed.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// They don't agree, so that a time would be of no meaning.
    #[error("{name} {shape:?}: element {at} is {ours}, by gemm {gemm}")]
    Differ {
        /// Which product.
        name: &'static str,
        /// Rows, depth and columns.
        shape: [usize; 3],
        /// The element that is furthest off.
        at: usize,
        /// By dp-kernels.
        ours: f32,
        /// By the crate.
        gemm: f32,
    },
}

/// The products of each Linear of `workload` on a processor, `rounds` of each in turn after one that verifies.
///
/// # Errors
/// [`ProductError`].
pub fn against_gemm(
    backend: &Backend,
    workload: Workload,
    rounds: usize,
) -> Result<Vec<ProductRow>, ProductError> {
    let tokens = workload.examples() * workload.tokens();
    let mut rows = Vec::new();
    for [d, p] in linears(workload) {
        for (name, shape, transposes) in [
            ("forward", [tokens, d, p], Transposes::NONE),
            ("input gradient", [tokens, p, d], Transposes::RHS),
            ("weight gradient", [d, tokens, p], Transposes::LHS),
        ] {
            rows.push(row(backend, name, shape, transposes, rounds)?);
        }
    }
    Ok(rows)
}

/// Inputs and outputs of a workload's Linears, each pair once.
fn linears(workload: Workload) -> Vec<[usize; 2]> {
    match workload.transformer() {
        Some(sizes) => vec![
            [sizes.width, 3 * sizes.width],
            [sizes.width, sizes.width],
            [sizes.width, sizes.hidden],
            [sizes.hidden, sizes.width],
            [sizes.width, sizes.vocabulary],
        ],
        None => WIDTHS.windows(2).map(|pair| [pair[0], pair[1]]).collect(),
    }
}

fn row(
    backend: &Backend,
    name: &'static str,
    shape: [usize; 3],
    transposes: Transposes,
    rounds: usize,
) -> Result<ProductRow, ProductError> {
    let [m, k, n] = shape;
    let a = Matrix::new(m, k, transposes.lhs, 1);
    let b = Matrix::new(k, n, transposes.rhs, 2);
    let workspace = Workspace::growing();
    let launch = Launch::new(&backend.client, &backend.tuning).with_workspace(&workspace);
    let (a_handle, b_handle) = (a.upload(&launch)?, b.upload(&launch)?);
    let out_handle = launch.zeros(&[m, n])?;
    let mut out = vec![0.0f32; m * n];
    let ours = || {
        let routine = backend.tuning.routine;
        let done = matmul(
            &launch,
            &a_handle,
            &b_handle,
            &out_handle,
            transposes,
            routine,
        );
        block_on(backend.client.sync()).map_err(|error| ReadError::Device(format!("{error:?}")))?;
        Ok::<(), ProductError>(done?)
    };

    ours()?;
    gemm_product(&a, &b, &mut out);
    let got = launch.read(&out_handle)?;
    let off = |at: &usize| (got[*at] - out[*at]).abs();
    let worst = (0..m * n).max_by(|x, y| off(x).total_cmp(&off(y)));
    // Sums of k products of numbers below 1/2 in any order.
    let differs = |at: &usize| off(at).is_nan() || off(at) > 1e-6 * k as f32;
    if let Some(at) = worst.filter(differs) {
        return Err(ProductError::Differ {
            name,
            shape,
            at,
            ours: got[at],
            gemm: out[at],
        });
    }

    let mut times = [Vec::new(), Vec::new()];
    for round in 0..rounds {
        for which in [round % 2, 1 - round % 2] {
            let start = Instant::now();
            match which {
                0 => ours()?,
                _ => gemm_product(&a, &b, &mut out),
            }
            times[which].push(start.elapsed().as_secs_f64());
        }
    }
    let ratios = times[0]
        .iter()
        .zip(&times[1])
        .map(|(ours, gemm)| ours / gemm);
    let ratio = median(ratios.collect());
    let [ours, gemm] = times.map(median);
    Ok(ProductRow {
        name,
        shape,
        ours,
        gemm,
        ratio,
    })
}

/// A factor of `rows` by `columns`, in memory by rows, or by columns where it is transposed.
struct Matrix {
    rows: usize,
    columns: usize,
    transposed: bool,
    values: Vec<f32>,
}

impl Matrix {
    fn new(rows: usize, columns: usize, transposed: bool, seed: u32) -> Self {
        let mut state = seed;
        let values = (0..rows * columns).map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1u32 << 24) as f32 - 0.5
        });
        Self {
            rows,
            columns,
            transposed,
            values: values.collect(),
        }
    }

    fn upload(&self, launch: &Launch<'_>) -> Result<TensorHandle, KernelError> {
        let shape = if self.transposed {
            [self.columns, self.rows]
        } else {
            [self.rows, self.columns]
        };
        launch.upload(&shape, &self.values)
    }

    /// How far the next column is, and the next row.
    fn strides(&self) -> (isize, isize) {
        if self.transposed {
            (self.rows as isize, 1)
        } else {
            (1, self.columns as isize)
        }
    }
}

/// `out = A B` by the crate, on all threads.
fn gemm_product(a: &Matrix, b: &Matrix, out: &mut [f32]) {
    let (m, k, n) = (a.rows, a.columns, b.columns);
    assert!(b.rows == k && out.len() == m * n, "factors that fit");
    let ((a_column, a_row), (b_column, b_row)) = (a.strides(), b.strides());
    // SAFETY: A matrix has rows * columns values, by whose strides every element of it lies within them; `out` has m * n,
    // and is borrowed by this call alone.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            n as isize,
            false,
            a.values.as_ptr(),
            a_column,
            a_row,
            b.values.as_ptr(),
            b_column,
            b_row,
            0.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::Rayon(0),
        );
    }
}
