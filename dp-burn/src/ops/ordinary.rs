//! Summed gradients of ordinary training: the products and sums that the private step makes too, without factors.

use crate::kernels::{empty, filled, settle, zeros};
use burn::backend::TensorMetadata;
use burn::backend::ops::FloatTensorOps;
use burn::tensor::Shape;
use burn_cubecl::{CubeBackend, tensor::CubeTensor};
use dp_kernels::{
    KernelError, Launch, Transposes, Tuning, matmul, weighted_sum_bias, weighted_sum_embedding,
    weighted_sum_gradient, weighted_sum_position,
};

/// `sum_b A_b^T G_b`, `A [B, T, d]`, `G [B, T, p]`: one product over all tokens.
///
/// # Panics
/// As all of this file: when the shapes don't fit, which the layers rule out, or the device can't run its routine.
pub(crate) fn weight(a: &CubeTensor, g: &CubeTensor) -> CubeTensor {
    let ([b, t, d], [_, _, p]) = (a.shape().dims(), g.shape().dims());
    let out = empty(a, [d, p]);
    let tuning = Tuning::for_client(&a.client);
    let flat = |tensor: &CubeTensor, columns| {
        CubeBackend::float_reshape(tensor.clone(), Shape::from([b * t, columns]))
    };
    done(
        "weight gradient",
        matmul(
            &Launch::new(&a.client, &tuning),
            &flat(a, d).into(),
            &flat(g, p).into(),
            &out.clone().into(),
            Transposes::LHS,
            tuning.routine,
        ),
        &out,
    );
    out
}

/// `sum_b sum_t g_t`, `[p]`, of `G [B, T, p]`.
pub(crate) fn bias(g: &CubeTensor) -> CubeTensor {
    let [b, _, p] = g.shape().dims();
    let (factors, out) = (filled(g, [b], 1.0), filled(g, [p], 0.0));
    let tuning = Tuning::for_client(&g.client);
    let summed = weighted_sum_bias(
        &Launch::new(&g.client, &tuning),
        &g.clone().into(),
        &factors.into(),
        &out.clone().into(),
    );
    done("bias gradient", summed, &out);
    out
}

/// `sum_b g_b`, `[p]`, of `G [B, p]`.
pub(crate) fn rows(name: &'static str, g: &CubeTensor) -> CubeTensor {
    let [b, p] = g.shape().dims();
    let (factors, out) = (filled(g, [b], 1.0), filled(g, [p], 0.0));
    let tuning = Tuning::for_client(&g.client);
    let summed = weighted_sum_gradient(
        &Launch::new(&g.client, &tuning),
        &g.clone().into(),
        &factors.into(),
        &out.clone().into(),
    );
    done(name, summed, &out);
    out
}

/// The rows of `G [B, T, p]` added up by `ids [B, T]`, `[V, p]`.
pub(crate) fn table(ids: &CubeTensor, g: &CubeTensor, vocabulary: usize) -> CubeTensor {
    let [b, _, p] = g.shape().dims();
    let (factors, out) = (filled(g, [b], 1.0), zeros(g, [vocabulary, p]));
    let tuning = Tuning::for_client(&g.client);
    let summed = weighted_sum_embedding(
        &Launch::new(&g.client, &tuning),
        &ids.clone().into(),
        &g.clone().into(),
        &factors.into(),
        &out.clone().into(),
    );
    done("embedding gradient", summed, &out);
    out
}

/// `sum_b G_b`, in the first rows of `[places, p]`.
pub(crate) fn places(g: &CubeTensor, places: usize) -> CubeTensor {
    let [b, _, p] = g.shape().dims();
    let (factors, out) = (filled(g, [b], 1.0), filled(g, [places, p], 0.0));
    let tuning = Tuning::for_client(&g.client);
    let summed = weighted_sum_position(
        &Launch::new(&g.client, &tuning),
        &g.clone().into(),
        &factors.into(),
        &out.clone().into(),
    );
    done("position gradient", summed, &out);
    out
}

/// Panics with what a launcher refused, which says `name`; notes for a profile that it has run.
pub(super) fn done(name: &'static str, launched: Result<(), KernelError>, out: &CubeTensor) {
    if let Err(error) = launched {
        panic!("{name}: {error}");
    }
    settle(name, out);
}
