//! Any parameter whose per-example gradients the caller has formed: `[B, P]`.

use crate::check::Arg;
use crate::live::is_live;
use crate::norm::columns::chunk;
use crate::outer::zeros;
use crate::reduce::row_of;
use crate::{KernelError, Launch};
use cubecl::{prelude::*, std::tensor::TensorHandle};

/// Adds `sum_b c_b g_b` into `out`: for a parameter of any kind whose per-example gradients lie in memory.
///
/// `g [B, ..]` (f32, f16, bf16 or f64), `factors [B]` and `out [..]` f32 (f64 beside f64) with `g`'s axes after the
/// first, ADDED into. One pass over the live examples of `g`; a dead one's is not read.
///
/// # Errors
/// A [`KernelError`] when shapes, types or layouts don't agree, [`KernelError::TooLarge`] as
/// [`gradient_norm_sq`](crate::gradient_norm_sq); nothing is launched then.
///
/// # Privacy
/// As [`weighted_sum_bias`](crate::weighted_sum_bias).
///
/// # Precision
/// f32, f64 for f64 inputs; examples in order.
pub fn weighted_sum_gradient(
    launch: &Launch<'_>,
    g: &TensorHandle,
    factors: &TensorHandle,
    out: &TensorHandle,
) -> Result<(), KernelError> {
    let client = launch.client;
    let op = "weighted_sum_gradient";
    let shape: &[usize] = g.shape();
    let g = Arg::new(op, "g", g)?.is_float(client)?;
    let Some((&b, rest)) = shape.split_first() else {
        return Err(KernelError::Rank {
            op,
            argument: "g",
            expected: 1,
            actual: 0,
        });
    };
    launch_sums(launch, op, &g, b, rest, factors, out)
}

/// Adds the weighted sum of `rows` rows of the shape of `out`.
#[allow(clippy::too_many_arguments)]
pub(super) fn launch_sums(
    launch: &Launch<'_>,
    op: &'static str,
    g: &Arg<'_>,
    rows: usize,
    parameter: &[usize],
    factors: &TensorHandle,
    out: &TensorHandle,
) -> Result<(), KernelError> {
    let factors = Arg::new(op, "factors", factors)?
        .has_shape(&[rows])?
        .sums_of(g)?;
    let out = Arg::new(op, "out", out)?.has_shape(parameter)?.sums_of(g)?;
    let row: usize = parameter.iter().product();
    if rows * row > 0 {
        add_weighted_rows(launch, g, &factors, &out, [rows, row]);
    }
    Ok(())
}

/// Launches [`weighted_rows`] of `g [rows, row]`.
pub(super) fn add_weighted_rows(
    launch: &Launch<'_>,
    g: &Arg<'_>,
    factors: &Arg<'_>,
    out: &Arg<'_>,
    [rows, row]: [usize; 2],
) {
    let Launch { client, tuning, .. } = *launch;
    let most = tuning.lanes_of(out.dtype());
    let vector = g.vector(row, most).min(out.vector(row, most));
    let columns = row / vector;
    let chunk = chunk(columns, tuning);
    let (count, dim) = tuning.grid(columns / chunk, 1);
    weighted_rows::launch(
        client,
        count,
        dim,
        vector,
        g.buffer(vector),
        factors.buffer(1),
        out.buffer(vector),
        rows as u32,
        columns as u32,
        chunk,
        g.dtype(),
        out.dtype(),
    );
}

/// `out[i] += sum over live b of c_b g[b, i]`; a unit owns `chunk` vectors.
#[cube(launch)]
pub(crate) fn weighted_rows<F: Float, E: Float, N: Size>(
    g: &[Vector<F, N>],
    factors: &[E],
    out: &mut [Vector<E, N>],
    examples: u32,
    columns: u32,
    #[comptime] chunk: usize,
    #[define(F)] _dtype: ElemType,
    #[define(E)] _accumulator: ElemType,
) {
    let first = row_of(1u32) * chunk;
    if first < columns as usize {
        let mut sums = zeros::<E, N>(chunk);
        for b in 0..examples as usize {
            let factor = factors[b];
            if is_live::<E>(factor) {
                let start = b * columns as usize + first;
                #[unroll]
                for i in 0..chunk {
                    let value = Vector::<E, N>::cast_from(g[start + i]);
                    sums[i] += value * Vector::<E, N>::new(factor);
                }
            }
        }
        #[unroll]
        for i in 0..chunk {
            out[first + i] += sums[i];
        }
    }
}
