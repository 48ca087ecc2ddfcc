//! GELU in its tanh form (Hendrycks and Gimpel 1606.08415, as GPT-2 has it).

use super::{buffer, empty, grid, grid_in_turn, lanes, owned, row_of, settle};
use burn::backend::TensorMetadata;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

const SQRT_2_OVER_PI: f32 = 0.797_884_6;
const CUBIC: f32 = 0.044_715;

/// `gelu(x)`, any shape.
pub(crate) fn forward(x: &CubeTensor) -> CubeTensor {
    let y = empty(x, x.shape());
    let (rows, columns, n) = cut(x, &[x, &y]);
    let (count, dim) = grid(x, rows);
    gelu::launch(
        &x.client,
        count,
        dim,
        n,
        buffer(x, n),
        buffer(&y, n),
        rows as u32,
        columns,
    );
    settle("gelu forward", &y);
    y
}

/// The gradient with respect to `x`, given `g`, the gradient with respect to `gelu(x)`: in its place where nobody else holds it.
pub(crate) fn backward(g: CubeTensor, x: &CubeTensor) -> CubeTensor {
    let dx = owned(g);
    let (rows, columns, n) = cut(x, &[x, &dx]);
    // Runs took 1.6 times as long on a processor, unlike every other kernel here (docs/performance.md).
    let (count, dim) = grid_in_turn(x, rows);
    gelu_backward::launch(
        &x.client,
        count,
        dim,
        n,
        buffer(x, n),
        buffer(&dx, n),
        rows as u32,
        columns,
    );
    settle("gelu backward", &dx);
    dx
}

/// Rows, vectors a row, and elements a vector.
fn cut(x: &CubeTensor, tensors: &[&CubeTensor]) -> (usize, usize, usize) {
    let shape = x.shape();
    let d = shape[shape.num_dims() - 1].max(1);
    let n = lanes(tensors, d);
    (shape.num_elements() / d, d / n, n)
}

/// `tanh` of the cubic, by one exponential; the clamp keeps it finite, and tanh(10) is 1 in f32.
#[cube]
fn tanh_of_cubic<N: Size>(v: Vector<f32, N>) -> Vector<f32, N> {
    let one = Vector::<f32, N>::new(1.0f32);
    let two = Vector::<f32, N>::new(2.0f32);
    let inner = (v + v * v * v * Vector::new(CUBIC)) * Vector::new(SQRT_2_OVER_PI);
    let clamped = clamp(inner, Vector::new(-10.0f32), Vector::new(10.0f32));
    one - two / ((clamped * two).exp() + one)
}

#[cube(launch)]
fn gelu<N: Size>(
    x: &[Vector<f32, N>],
    y: &mut [Vector<f32, N>],
    rows: u32,
    #[comptime] columns: usize,
) {
    let row = row_of();
    if row < rows as usize {
        let start = row * columns;
        for i in start..start + columns {
            let v = x[i];
            y[i] = v * Vector::new(0.5f32) * (tanh_of_cubic::<N>(v) + Vector::new(1.0f32));
        }
    }
}

#[cube(launch)]
fn gelu_backward<N: Size>(
    x: &[Vector<f32, N>],
    dx: &mut [Vector<f32, N>],
    rows: u32,
    #[comptime] columns: usize,
) {
    let row = row_of();
    if row < rows as usize {
        let start = row * columns;
        let one = Vector::<f32, N>::new(1.0f32);
        let half = Vector::<f32, N>::new(0.5f32);
        for i in start..start + columns {
            let v = x[i];
            let t = tanh_of_cubic::<N>(v);
            let slope = (one + v * v * Vector::new(3.0f32 * CUBIC)) * Vector::new(SQRT_2_OVER_PI);
            dx[i] = dx[i] * half * (one + t + v * (one - t * t) * slope);
        }
    }
}
