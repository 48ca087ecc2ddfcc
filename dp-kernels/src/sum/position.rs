//! The positional embedding: a parameter of its own for every token's place.

use crate::check::Arg;
use crate::live::is_live;
use crate::reduce::row_of;
use crate::{KernelError, Tuning};
use cubecl::{client::Client, prelude::*, std::tensor::TensorHandle};

/// Adds `sum_b c_b g_b` into `out`.
///
/// `g [B, T, p]` (f32, f16 or bf16), `factors [B]` f32, `out [T, p]` f32, ADDED into.
///
/// # Errors
/// A [`KernelError`] when shapes, types or layouts don't agree; nothing is launched then.
///
/// # Privacy
/// As [`weighted_sum_bias`](crate::weighted_sum_bias).
///
/// # Precision
/// f32, examples in order.
pub fn weighted_sum_position(
    client: &Client,
    g: &TensorHandle,
    factors: &TensorHandle,
    out: &TensorHandle,
    tuning: &Tuning,
) -> Result<(), KernelError> {
    let op = "weighted_sum_position";
    let g = Arg::new(op, "g", g)?.is_float(client)?;
    let [b, t, p] = g.dims()?;
    let factors = Arg::new(op, "factors", factors)?
        .has_shape(&[b])?
        .is_f32()?;
    let out = Arg::new(op, "out", out)?.has_shape(&[t, p])?.is_f32()?;
    if b * t * p == 0 {
        return Ok(());
    }
    let most = tuning.lanes();
    let vector = g.vector(t * p, most).min(out.vector(t * p, most));
    let columns = t * p / vector;
    let (count, dim) = tuning.grid(columns, 1);
    weighted_positions::launch(
        client,
        count,
        dim,
        vector,
        g.buffer(vector),
        factors.buffer(1),
        out.buffer(vector),
        b as u32,
        columns as u32,
        g.dtype(),
    );
    Ok(())
}

/// `out[i] += sum over live b of c_b g[b, i]`.
#[cube(launch)]
pub(crate) fn weighted_positions<F: Float, N: Size>(
    g: &[Vector<F, N>],
    factors: &[f32],
    out: &mut [Vector<f32, N>],
    examples: u32,
    columns: u32,
    #[define(F)] _dtype: ElemType,
) {
    let i = row_of(1u32);
    if i < columns as usize {
        let mut sum = Vector::<f32, N>::new(0.0f32);
        for b in 0..examples as usize {
            let factor = factors[b];
            if is_live(factor) {
                let value = Vector::<f32, N>::cast_from(g[b * columns as usize + i]);
                sum += value * Vector::<f32, N>::new(factor);
            }
        }
        out[i] += sum;
    }
}
