//! Weighted cross-entropy of each row of logits against its target.

use super::{buffer, empty, grid, lanes, owned, row_of, settle, sum_lanes};
use burn::backend::TensorMetadata;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

/// `(loss, log_sum)`, both `[N]`: `loss = weight * (log_sum - logit[target])`.
///
/// `logits [N, V]`, `targets [N]` i32, `weights [N]`. A target that is none of the V columns gives NaN, or 0 where the weight is 0.
pub(crate) fn forward(
    logits: &CubeTensor,
    targets: &CubeTensor,
    weights: &CubeTensor,
) -> (CubeTensor, CubeTensor) {
    let [rows, v] = logits.shape().dims();
    let (loss, log_sum) = (empty(logits, [rows]), empty(logits, [rows]));
    let n = lanes(&[logits], v);
    let (count, dim) = grid(logits, rows);
    cross_entropy::launch(
        &logits.client,
        count,
        dim,
        n,
        buffer(logits, n),
        buffer(targets, 1),
        buffer(weights, 1),
        buffer(&loss, 1),
        buffer(&log_sum, 1),
        rows as u32,
        v / n,
    );
    settle("cross-entropy forward", &loss);
    (loss, log_sum)
}

/// The gradient `[N, V]` with respect to the logits, given `g [N]`, that with respect to the losses: in their place where nobody else holds them.
pub(crate) fn backward(
    g: &CubeTensor,
    logits: CubeTensor,
    targets: &CubeTensor,
    weights: &CubeTensor,
    log_sum: &CubeTensor,
) -> CubeTensor {
    let [rows, v] = logits.shape().dims();
    let d_logits = owned(logits);
    let n = lanes(&[&d_logits], v);
    let (count, dim) = grid(&d_logits, rows);
    cross_entropy_backward::launch(
        &d_logits.client,
        count,
        dim,
        n,
        buffer(g, 1),
        buffer(targets, 1),
        buffer(weights, 1),
        buffer(log_sum, 1),
        buffer(&d_logits, n),
        rows as u32,
        v / n,
    );
    settle("cross-entropy backward", &d_logits);
    d_logits
}

/// What a row without a target counts for: nothing where its weight is 0, and NaN otherwise, so that its example is left out and no other is touched.
#[cube]
fn without_target(weight: f32) -> f32 {
    // Made of the weight's bits, since shading languages refuse a NaN among their constants.
    let not_a_number = f32::from_bits(weight.to_bits() | 0x7fc0_0000u32);
    select(weight == 0.0, 0.0f32, not_a_number)
}

#[cube(launch)]
fn cross_entropy<N: Size>(
    logits: &[Vector<f32, N>],
    targets: &[i32],
    weights: &[f32],
    loss: &mut [f32],
    log_sum: &mut [f32],
    rows: u32,
    #[comptime] columns: usize,
) {
    let row = row_of();
    if row < rows as usize {
        let start = row * columns;
        let mut peaks = logits[start];
        for i in 1..columns {
            peaks = max(peaks, logits[start + i]);
        }
        let mut peak = peaks.extract(0usize);
        #[unroll]
        for lane in 1..N::value() {
            peak = max(peak, peaks.extract(lane));
        }
        let shift = Vector::<f32, N>::new(peak);
        let mut sums = Vector::<f32, N>::new(0.0f32);
        for i in 0..columns {
            sums += (logits[start + i] - shift).exp();
        }
        let total = peak + f32::ln(sum_lanes::<N>(sums));
        let target = targets[row];
        let weight = weights[row];
        let is_column = target >= 0 && (target as usize) < columns * N::value();
        // Another target's place would be in another row, which is another example's.
        let target = select(is_column, target as usize, 0usize);
        let block = logits[start + target / N::value()];
        let lane = target % N::value();
        let mut hit = 0.0f32;
        #[unroll]
        for l in 0..N::value() {
            if l == lane {
                hit = block.extract(l);
            }
        }
        let known = weight * (total - hit);
        loss[row] = select(is_column, known, without_target(weight));
        log_sum[row] = total;
    }
}

#[cube(launch)]
fn cross_entropy_backward<N: Size>(
    g: &[f32],
    targets: &[i32],
    weights: &[f32],
    log_sum: &[f32],
    d_logits: &mut [Vector<f32, N>],
    rows: u32,
    #[comptime] columns: usize,
) {
    let row = row_of();
    if row < rows as usize {
        let start = row * columns;
        let target = targets[row];
        let is_column = target >= 0 && (target as usize) < columns * N::value();
        let factor = select(
            is_column,
            g[row] * weights[row],
            without_target(weights[row]),
        );
        let scale = Vector::<f32, N>::new(factor);
        let shift = Vector::<f32, N>::new(log_sum[row]);
        for i in 0..columns {
            d_logits[start + i] = (d_logits[start + i] - shift).exp() * scale;
        }
        // Another target's place would be in another row, which is another example's.
        let target = select(is_column, target as usize, 0usize);
        let at = start + target / N::value();
        let lane = target % N::value();
        let mut block = d_logits[at];
        #[unroll]
        for l in 0..N::value() {
            if l == lane {
                block.insert(l, block.extract(l) - factor);
            }
        }
        d_logits[at] = block;
    }
}
