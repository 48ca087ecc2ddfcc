//! Layer normalisation with gain and bias.

use super::{Arg, arg, ordinary, wrap, wrap_graph};
use crate::kernels::layer_norm::{Normalised, backward, forward};
use burn::backend::autodiff::{
    checkpoint::{base::Checkpointer, strategy::NoCheckpointing},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::tensor::Tensor;
use burn_cubecl::{CubeBackend, kernel::into_contiguous, tensor::CubeTensor};

/// `(x - mean) / sqrt(var + epsilon) * gain + bias` over the last axis of `x [B, T, d]`.
///
/// With tracked taps the backward pass registers the gradient with respect to the output on `tap`, the
/// normalised input on `tap_input`, and forms no gradient of gain and bias.
///
/// # Panics
/// Panics when the tensors live on different devices.
pub fn layer_norm(
    x: Tensor<3>,
    gain: Tensor<1>,
    bias: Tensor<1>,
    epsilon: f32,
    tap: Tensor<1>,
    tap_input: Tensor<1>,
) -> Tensor<3> {
    let (x, gain, bias, tap, tap_input) =
        match (arg(x), arg(gain), arg(bias), arg(tap), arg(tap_input)) {
            (
                Arg::Graph(x),
                Arg::Graph(gain),
                Arg::Graph(bias),
                Arg::Graph(tap),
                Arg::Graph(tap_input),
            ) => (x, gain, bias, tap, tap_input),
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
            tap.node(),
            tap_input.node(),
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
        let [nx, n_gain, n_bias, n_tap, n_tap_input] = ops.parents;
        let g = into_contiguous(grads.consume::<CubeBackend>(&ops.node));
        let (out, gain) = ops.state;
        if let Some(node) = nx {
            grads.register::<CubeBackend>(node.id, backward(&g, &out.xhat, &out.rstd, &gain));
        }
        if let (Some(tap), Some(tap_input)) = (n_tap, n_tap_input) {
            grads.register::<CubeBackend>(tap.id, g);
            grads.register::<CubeBackend>(tap_input.id, out.xhat);
            return;
        }
        if let Some(node) = n_gain {
            grads.register::<CubeBackend>(node.id, ordinary::gain(&out.xhat, &g));
        }
        if let Some(node) = n_bias {
            grads.register::<CubeBackend>(node.id, ordinary::bias(&g));
        }
    }
}
