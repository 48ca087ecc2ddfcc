//! Layer normalisation with gain and bias.

use super::{Arg, arg, ordinary, wrap, wrap_graph};
use crate::kernels::empty;
use crate::kernels::layer_norm::{Normalised, backward, forward};
use burn::backend::TensorMetadata;
use burn::backend::autodiff::{
    checkpoint::{base::Checkpointer, strategy::NoCheckpointing},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::tensor::Tensor;
use burn_cubecl::{CubeBackend, kernel::into_contiguous, tensor::CubeTensor};
use dp_kernels::{Launch, Tuning, scale_and_bias_gradients};

/// `(x - mean) / sqrt(var + epsilon) * gain + bias` over the last axis of `x [B, T, d]`.
///
/// With tracked taps the backward pass registers each example's gradients of gain and bias, `[B, d]`, on `tap_gain` and `tap_bias`, and forms no sum of
/// them: rows of one number where the gradient with respect to the output and the normalised input, from which they could be formed later, have one a
/// token, and need not be kept.
///
/// # Panics
/// Panics when the tensors live on different devices.
pub fn layer_norm(
    x: Tensor<3>,
    gain: Tensor<1>,
    bias: Tensor<1>,
    epsilon: f32,
    tap_gain: Tensor<1>,
    tap_bias: Tensor<1>,
) -> Tensor<3> {
    let (x, gain, bias, tap_gain, tap_bias) =
        match (arg(x), arg(gain), arg(bias), arg(tap_gain), arg(tap_bias)) {
            (
                Arg::Graph(x),
                Arg::Graph(gain),
                Arg::Graph(bias),
                Arg::Graph(tap_gain),
                Arg::Graph(tap_bias),
            ) => (x, gain, bias, tap_gain, tap_bias),
            (Arg::Plain(x), Arg::Plain(gain), Arg::Plain(bias), _, _) => {
                return wrap(forward(&into_contiguous(x), &gain, &bias, epsilon).y);
            }
            _ => panic!("layer_norm: all tensors must live on the same device"),
        };
    let prep = LayerNormBackward
        .prepare::<NoCheckpointing>([
            x.node(),
            gain.node(),
            bias.node(),
            tap_gain.node(),
            tap_bias.node(),
        ])
        .compute_bound()
        .stateful();
    let x = into_contiguous(x.into_primitive());
    let gain = gain.into_primitive();
    let out = forward(&x, &gain, &bias.into_primitive(), epsilon);
    wrap_graph(match prep {
        OpsKind::Tracked(prep) => {
            let y = out.y.clone();
            prep.finish((out, gain), y)
        }
        OpsKind::UnTracked(prep) => prep.finish(out.y),
    })
}

#[derive(Debug)]
struct LayerNormBackward;

impl Backward<CubeBackend, 5> for LayerNormBackward {
    type State = (Normalised, CubeTensor);

    fn backward(self, ops: Ops<Self::State, 5>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [nx, n_gain, n_bias, n_tap_gain, n_tap_bias] = ops.parents;
        let g = into_contiguous(grads.consume::<CubeBackend>(&ops.node));
        let (out, gain) = ops.state;
        if let Some(node) = nx {
            grads.register::<CubeBackend>(node.id, backward(&g, &out.xhat, &out.rstd, &gain));
        }
        let wanted = [&n_gain, &n_bias, &n_tap_gain, &n_tap_bias];
        if wanted.into_iter().all(Option::is_none) {
            return;
        }
        let [of_gain, of_bias] = gain_and_bias_by_example(&out.xhat, &g);
        if let (Some(tap_gain), Some(tap_bias)) = (n_tap_gain, n_tap_bias) {
            grads.register::<CubeBackend>(tap_gain.id, of_gain);
            grads.register::<CubeBackend>(tap_bias.id, of_bias);
            return;
        }
        if let Some(node) = n_gain {
            grads.register::<CubeBackend>(node.id, ordinary::rows("gain gradient", &of_gain));
        }
        if let Some(node) = n_bias {
            grads.register::<CubeBackend>(node.id, ordinary::rows("bias gradient", &of_bias));
        }
    }
}

/// Each example's gradients of gain and bias, `[B, d]`, of `xhat` and `G`, both `[B, T, d]`.
///
/// # Panics
/// When the device can't run it: the shapes are one layer's own.
fn gain_and_bias_by_example(xhat: &CubeTensor, g: &CubeTensor) -> [CubeTensor; 2] {
    let [b, _, d] = g.shape().dims();
    let (gain, bias) = (empty(g, [b, d]), empty(g, [b, d]));
    let tuning = Tuning::for_client(&g.client);
    let formed = scale_and_bias_gradients(
        &Launch::new(&g.client, &tuning),
        &xhat.clone().into(),
        &g.clone().into(),
        &gain.clone().into(),
        &bias.clone().into(),
    );
    ordinary::done("gain and bias by example", formed, &bias);
    [gain, bias]
}
