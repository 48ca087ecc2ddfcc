//! Layer normalisation over the last axis (Ba et al. 1607.06450).

use super::{buffer, empty, grid, lanes, row_of, settle, sum_lanes};
use burn::backend::TensorMetadata;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

/// What the forward pass leaves behind.
#[derive(Debug, Clone)]
pub(crate) struct Normalised {
    /// `xhat * gain + bias`, `[.., d]`.
    pub y: CubeTensor,
    /// `(x - mean) / sqrt(var + epsilon)`, `[.., d]`.
    pub xhat: CubeTensor,
    /// `1 / sqrt(var + epsilon)`, one for each row.
    pub rstd: CubeTensor,
}

/// Normalises the rows of `x [.., d]`; `gain` and `bias` are `[d]`.
pub(crate) fn forward(
    x: &CubeTensor,
    gain: &CubeTensor,
    bias: &CubeTensor,
    epsilon: f32,
) -> Normalised {
    let shape = x.shape();
    let d = shape[shape.num_dims() - 1];
    let rows = shape.num_elements() / d.max(1);
    let out = Normalised {
        y: empty(x, shape.clone()),
        xhat: empty(x, shape),
        rstd: empty(x, [rows]),
    };
    let n = lanes(&[x, gain, bias, &out.y, &out.xhat], d);
    let (count, dim) = grid(x, rows);
    layer_norm::launch(
        &x.client,
        count,
        dim,
        n,
        buffer(x, n),
        buffer(gain, n),
        buffer(bias, n),
        buffer(&out.y, n),
        buffer(&out.xhat, n),
        buffer(&out.rstd, 1),
        rows as u32,
        d / n,
        epsilon,
    );
    settle("layer norm forward", &out.y);
    out
}

/// The gradient with respect to `x`, given `g`, the gradient with respect to `y`.
pub(crate) fn backward(
    g: &CubeTensor,
    xhat: &CubeTensor,
    rstd: &CubeTensor,
    gain: &CubeTensor,
) -> CubeTensor {
    let shape = g.shape();
    let d = shape[shape.num_dims() - 1];
    let rows = shape.num_elements() / d.max(1);
    let dx = empty(g, shape);
    let n = lanes(&[g, xhat, gain, &dx], d);
    let (count, dim) = grid(g, rows);
    layer_norm_backward::launch(
        &g.client,
        count,
        dim,
        n,
        buffer(g, n),
        buffer(xhat, n),
        buffer(rstd, 1),
        buffer(gain, n),
        buffer(&dx, n),
        rows as u32,
        d / n,
    );
    settle("layer norm backward", &dx);
    dx
}

#[cube(launch)]
fn layer_norm<N: Size>(
    x: &[Vector<f32, N>],
    gain: &[Vector<f32, N>],
    bias: &[Vector<f32, N>],
    y: &mut [Vector<f32, N>],
    xhat: &mut [Vector<f32, N>],
    rstd: &mut [f32],
    rows: u32,
    #[comptime] columns: usize,
    epsilon: f32,
) {
    let row = row_of();
    if row < rows as usize {
        let start = row * columns;
        let scale = 1.0f32 / f32::cast_from(columns * N::value());
        let mut sums = Vector::<f32, N>::new(0.0f32);
        for i in 0..columns {
            sums += x[start + i];
        }
        let mean = Vector::<f32, N>::new(sum_lanes::<N>(sums) * scale);
        let mut squares = Vector::<f32, N>::new(0.0f32);
        for i in 0..columns {
            let centred = x[start + i] - mean;
            squares += centred * centred;
        }
        let inverse = 1.0f32 / f32::sqrt(sum_lanes::<N>(squares) * scale + epsilon);
        let factor = Vector::<f32, N>::new(inverse);
        for i in 0..columns {
            let v = (x[start + i] - mean) * factor;
            xhat[start + i] = v;
            y[start + i] = v * gain[i] + bias[i];
        }
        rstd[row] = inverse;
    }
}

#[cube(launch)]
fn layer_norm_backward<N: Size>(
    g: &[Vector<f32, N>],
    xhat: &[Vector<f32, N>],
    rstd: &[f32],
    gain: &[Vector<f32, N>],
    dx: &mut [Vector<f32, N>],
    rows: u32,
    #[comptime] columns: usize,
) {
    let row = row_of();
    if row < rows as usize {
        let start = row * columns;
        let scale = 1.0f32 / f32::cast_from(columns * N::value());
        let mut sums = Vector::<f32, N>::new(0.0f32);
        let mut dots = Vector::<f32, N>::new(0.0f32);
        for i in 0..columns {
            let v = g[start + i] * gain[i];
            sums += v;
            dots += v * xhat[start + i];
        }
        let mean = Vector::<f32, N>::new(sum_lanes::<N>(sums) * scale);
        let slope = Vector::<f32, N>::new(sum_lanes::<N>(dots) * scale);
        let factor = Vector::<f32, N>::new(rstd[row]);
        for i in 0..columns {
            let v = g[start + i] * gain[i];
            dx[start + i] = (v - mean - xhat[start + i] * slope) * factor;
        }
    }
}
