//! Causal multi-head self-attention on the packed projection `qkv [B, T, 3 h e]`: no transposed copies.

use super::{buffer, empty, grid, lanes, row_of, settle, sum_lanes};
use burn::backend::TensorMetadata;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

/// Sizes of one call: examples, tokens, heads, elements a head.
struct Sizes {
    b: usize,
    t: usize,
    h: usize,
    e: usize,
}

impl Sizes {
    fn of(qkv: &CubeTensor, heads: usize) -> Self {
        let [b, t, packed] = qkv.shape().dims();
        Self {
            b,
            t,
            h: heads,
            e: packed / 3 / heads,
        }
    }

    fn rows(&self) -> usize {
        self.b * self.h * self.t
    }

    fn scale(&self) -> f32 {
        1.0 / (self.e as f32).sqrt()
    }
}

/// `(out [B, T, h e], probabilities [B, h, T, T])`; probabilities above the diagonal are never read.
pub(crate) fn forward(qkv: &CubeTensor, heads: usize) -> (CubeTensor, CubeTensor) {
    let s = Sizes::of(qkv, heads);
    let out = empty(qkv, [s.b, s.t, s.h * s.e]);
    let p = empty(qkv, [s.b, s.h, s.t, s.t]);
    let n = lanes(&[qkv, &out], s.e);
    let (count, dim) = grid(qkv, s.rows());
    attend::launch(
        &qkv.client,
        count,
        dim,
        n,
        buffer(qkv, n),
        buffer(&p, 1),
        buffer(&out, n),
        s.rows() as u32,
        s.t as u32,
        s.scale(),
        s.h,
        s.e / n,
    );
    settle("attention forward", &out);
    (out, p)
}

/// The gradient with respect to `qkv`, given `g`, that with respect to the output.
pub(crate) fn backward(
    g: &CubeTensor,
    qkv: &CubeTensor,
    p: &CubeTensor,
    heads: usize,
) -> CubeTensor {
    let s = Sizes::of(qkv, heads);
    let d_qkv = empty(qkv, qkv.shape());
    let d_scores = empty(qkv, [s.b, s.h, s.t, s.t]);
    let n = lanes(&[g, qkv, &d_qkv], s.e);
    let (count, dim) = grid(qkv, s.rows());
    attend_backward_queries::launch(
        &qkv.client,
        count.clone(),
        dim,
        n,
        buffer(g, n),
        buffer(qkv, n),
        buffer(p, 1),
        buffer(&d_scores, 1),
        buffer(&d_qkv, n),
        s.rows() as u32,
        s.t as u32,
        s.scale(),
        s.h,
        s.e / n,
    );
    attend_backward_keys::launch(
        &qkv.client,
        count,
        dim,
        n,
        buffer(g, n),
        buffer(qkv, n),
        buffer(p, 1),
        buffer(&d_scores, 1),
        buffer(&d_qkv, n),
        s.rows() as u32,
        s.t as u32,
        s.h,
        s.e / n,
    );
    settle("attention backward", &d_qkv);
    d_qkv
}

/// Example, head and token of a row.
#[cube]
fn place(row: usize, tokens: usize, #[comptime] heads: usize) -> (usize, usize, usize) {
    let t = row % tokens;
    let bh = row / tokens;
    (bh / heads, bh % heads, t)
}

#[cube(launch)]
fn attend<N: Size>(
    qkv: &[Vector<f32, N>],
    p: &mut [f32],
    out: &mut [Vector<f32, N>],
    rows: u32,
    tokens: u32,
    scale: f32,
    #[comptime] heads: usize,
    #[comptime] width: usize,
) {
    let row = row_of();
    if row < rows as usize {
        let tokens = tokens as usize;
        let (b, h, t) = place(row, tokens, heads);
        let pitch = comptime!(3 * heads * width);
        let head = h * width;
        let query = (b * tokens + t) * pitch + head;
        let keys = b * tokens * pitch + head + comptime!(heads * width);
        let values = keys + comptime!(heads * width);

        let mut q = Array::<Vector<f32, N>>::new(width);
        #[unroll]
        for i in 0..width {
            q[i] = qkv[query + i] * Vector::new(scale);
        }
        let mut peak = f32::min_value();
        for s in 0..t + 1 {
            let mut dots = Vector::<f32, N>::new(0.0f32);
            #[unroll]
            for i in 0..width {
                dots += q[i] * qkv[keys + s * pitch + i];
            }
            let score = sum_lanes::<N>(dots);
            p[row * tokens + s] = score;
            peak = max(peak, score);
        }
        let mut total = 0.0f32;
        for s in 0..t + 1 {
            let e = f32::exp(p[row * tokens + s] - peak);
            p[row * tokens + s] = e;
            total += e;
        }
        let inverse = 1.0f32 / total;
        let mut sums = Array::<Vector<f32, N>>::new(width);
        #[unroll]
        for i in 0..width {
            sums[i] = Vector::new(0.0f32);
        }
        for s in 0..t + 1 {
            let weight = p[row * tokens + s] * inverse;
            p[row * tokens + s] = weight;
            #[unroll]
            for i in 0..width {
                sums[i] += qkv[values + s * pitch + i] * Vector::new(weight);
            }
        }
        let target = (b * tokens + t) * comptime!(heads * width) + head;
        #[unroll]
        for i in 0..width {
            out[target + i] = sums[i];
        }
    }
}

/// The gradients of the scores and of the queries: one unit a query.
#[cube(launch)]
fn attend_backward_queries<N: Size>(
    g: &[Vector<f32, N>],
    qkv: &[Vector<f32, N>],
    p: &[f32],
    d_scores: &mut [f32],
    d_qkv: &mut [Vector<f32, N>],
    rows: u32,
    tokens: u32,
    scale: f32,
    #[comptime] heads: usize,
    #[comptime] width: usize,
) {
    let row = row_of();
    if row < rows as usize {
        let tokens = tokens as usize;
        let (b, h, t) = place(row, tokens, heads);
        let pitch = comptime!(3 * heads * width);
        let head = h * width;
        let query = (b * tokens + t) * pitch + head;
        let keys = b * tokens * pitch + head + comptime!(heads * width);
        let values = keys + comptime!(heads * width);
        let gradient = (b * tokens + t) * comptime!(heads * width) + head;

        let mut go = Array::<Vector<f32, N>>::new(width);
        let mut dq = Array::<Vector<f32, N>>::new(width);
        #[unroll]
        for i in 0..width {
            go[i] = g[gradient + i];
            dq[i] = Vector::new(0.0f32);
        }
        let mut mean = 0.0f32;
        for s in 0..t + 1 {
            let mut dots = Vector::<f32, N>::new(0.0f32);
            #[unroll]
            for i in 0..width {
                dots += go[i] * qkv[values + s * pitch + i];
            }
            let dp = sum_lanes::<N>(dots);
            d_scores[row * tokens + s] = dp;
            mean += dp * p[row * tokens + s];
        }
        for s in 0..t + 1 {
            let ds = p[row * tokens + s] * (d_scores[row * tokens + s] - mean) * scale;
            d_scores[row * tokens + s] = ds;
            #[unroll]
            for i in 0..width {
                dq[i] += qkv[keys + s * pitch + i] * Vector::new(ds);
            }
        }
        #[unroll]
        for i in 0..width {
            d_qkv[query + i] = dq[i];
        }
    }
}

/// The gradients of keys and values: one unit a key, over the queries that see it.
#[cube(launch)]
fn attend_backward_keys<N: Size>(
    g: &[Vector<f32, N>],
    qkv: &[Vector<f32, N>],
    p: &[f32],
    d_scores: &[f32],
    d_qkv: &mut [Vector<f32, N>],
    rows: u32,
    tokens: u32,
    #[comptime] heads: usize,
    #[comptime] width: usize,
) {
    let row = row_of();
    if row < rows as usize {
        let tokens = tokens as usize;
        let (b, h, s) = place(row, tokens, heads);
        let pitch = comptime!(3 * heads * width);
        let head = h * width;
        let queries = b * tokens * pitch + head;
        let key = queries + s * pitch + comptime!(heads * width);
        let gradients = b * tokens * comptime!(heads * width) + head;
        let scores = (row - s) * tokens + s;

        let mut dk = Array::<Vector<f32, N>>::new(width);
        let mut dv = Array::<Vector<f32, N>>::new(width);
        #[unroll]
        for i in 0..width {
            dk[i] = Vector::new(0.0f32);
            dv[i] = Vector::new(0.0f32);
        }
        for t in s..tokens {
            let ds = Vector::<f32, N>::new(d_scores[scores + t * tokens]);
            let weight = Vector::<f32, N>::new(p[scores + t * tokens]);
            #[unroll]
            for i in 0..width {
                dk[i] += qkv[queries + t * pitch + i] * ds;
                dv[i] += g[gradients + t * comptime!(heads * width) + i] * weight;
            }
        }
        #[unroll]
        for i in 0..width {
            d_qkv[key + i] = dk[i];
            d_qkv[key + comptime!(heads * width) + i] = dv[i];
        }
    }
}
