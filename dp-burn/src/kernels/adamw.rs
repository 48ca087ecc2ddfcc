//! AdamW in one pass over a parameter (Loshchilov and Hutter 1711.05101).

use super::{buffer, empty, grid, lanes, row_of, settle};
use burn::backend::TensorMetadata;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

/// Vectors that one unit of a processor takes in a row; a unit of a GPU takes one.
const RUN: usize = 256;

/// The numbers of one step; `unbias_1` and `unbias_2` are `1 / (1 - beta^time)`.
pub(crate) struct Coefficients {
    pub rate: f32,
    pub decay: f32,
    pub beta_1: f32,
    pub beta_2: f32,
    pub unbias_1: f32,
    pub unbias_2: f32,
    pub epsilon: f32,
}

/// What comes out of a step.
pub(crate) struct Updated {
    pub parameter: CubeTensor,
    pub moment_1: CubeTensor,
    pub moment_2: CubeTensor,
}

/// `m = b1 m + (1 - b1) g`, `v = b2 v + (1 - b2) g^2`, `p = (1 - decay) p - rate m u1 / (sqrt(v u2) + epsilon)`;
/// all four of one shape, contiguous.
pub(crate) fn step(
    parameter: &CubeTensor,
    gradient: &CubeTensor,
    moment_1: &CubeTensor,
    moment_2: &CubeTensor,
    c: &Coefficients,
) -> Updated {
    let shape = parameter.shape();
    let out = Updated {
        parameter: empty(parameter, shape.clone()),
        moment_1: empty(parameter, shape.clone()),
        moment_2: empty(parameter, shape.clone()),
    };
    let len = shape.num_elements();
    let n = lanes(
        &[
            parameter,
            gradient,
            moment_1,
            moment_2,
            &out.parameter,
            &out.moment_1,
            &out.moment_2,
        ],
        len,
    );
    let is_cpu = parameter
        .client
        .properties()
        .hardware
        .num_cpu_cores
        .is_some();
    let run = if is_cpu { RUN } else { 1 };
    let vectors = len / n;
    let (count, dim) = grid(parameter, vectors.div_ceil(run));
    adamw::launch(
        &parameter.client,
        count,
        dim,
        n,
        buffer(parameter, n),
        buffer(gradient, n),
        buffer(moment_1, n),
        buffer(moment_2, n),
        buffer(&out.parameter, n),
        buffer(&out.moment_1, n),
        buffer(&out.moment_2, n),
        vectors as u32,
        c.rate,
        1.0 - c.decay,
        c.beta_1,
        c.beta_2,
        c.unbias_1,
        c.unbias_2,
        c.epsilon,
        run,
    );
    settle("optimizer", &out.parameter);
    out
}

#[cube(launch)]
fn adamw<N: Size>(
    parameter: &[Vector<f32, N>],
    gradient: &[Vector<f32, N>],
    moment_1: &[Vector<f32, N>],
    moment_2: &[Vector<f32, N>],
    parameter_out: &mut [Vector<f32, N>],
    moment_1_out: &mut [Vector<f32, N>],
    moment_2_out: &mut [Vector<f32, N>],
    vectors: u32,
    rate: f32,
    keep: f32,
    beta_1: f32,
    beta_2: f32,
    unbias_1: f32,
    unbias_2: f32,
    epsilon: f32,
    #[comptime] run: usize,
) {
    let start = row_of() * run;
    let end = min(start + run, vectors as usize);
    for i in start..end {
        let g = gradient[i];
        let m = moment_1[i] * Vector::new(beta_1) + g * Vector::new(1.0f32 - beta_1);
        let v = moment_2[i] * Vector::new(beta_2) + g * g * Vector::new(1.0f32 - beta_2);
        let spread = Vector::<f32, N>::sqrt(v * Vector::new(unbias_2)) + Vector::new(epsilon);
        let move_by = m * Vector::new(unbias_1 * rate) / spread;
        parameter_out[i] = parameter[i] * Vector::new(keep) - move_by;
        moment_1_out[i] = m;
        moment_2_out[i] = v;
    }
}
