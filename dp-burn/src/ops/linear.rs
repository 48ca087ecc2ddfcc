//! `y = x W + b`.

use super::gemm::{product, times_transposed, weight_gradient};
use super::{Arg, arg, wrap, wrap_graph};
use burn::backend::TensorMetadata;
use burn::backend::autodiff::{
    NodeId,
    checkpoint::{base::Checkpointer, strategy::NoCheckpointing},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::backend::ops::FloatTensorOps;
use burn::tensor::{Shape, Tensor};
use burn_cubecl::{CubeBackend, kernel::into_contiguous, tensor::CubeTensor};

/// `x [B, T, d]` times `weight [d, p]` plus `bias [p]`, `[B, T, p]`.
///
/// With a tracked `tap` the backward pass registers the gradient with respect to the output there,
/// `[B, T, p]`, and forms neither the gradient of `weight` nor that of `bias`; without it, it forms both.
///
/// # Panics
/// Panics when the shapes don't fit, as burn's own layers do.
pub fn linear(x: Tensor<3>, weight: Tensor<2>, bias: Tensor<1>, tap: Tensor<1>) -> Tensor<3> {
    let (x, w, b, tap) = match (arg(x), arg(weight), arg(bias), arg(tap)) {
        (Arg::Graph(x), Arg::Graph(w), Arg::Graph(b), Arg::Graph(tap)) => (x, w, b, tap),
        (Arg::Plain(x), Arg::Plain(w), Arg::Plain(b), _) => return wrap(forward(x, w, b)),
        _ => panic!("linear: all tensors must live on the same device"),
    };

    let prep = LinearBackward
        .prepare::<NoCheckpointing>([x.node(), w.node(), b.node(), tap.node()])
        .compute_bound()
        .stateful();
    wrap_graph(match prep {
        OpsKind::Tracked(mut prep) => {
            let x_id = prep.checkpoint(&x);
            let weight = w.into_primitive();
            let y = forward(x.into_primitive(), weight.clone(), b.into_primitive());
            prep.finish((x_id, weight), y)
        }
        OpsKind::UnTracked(prep) => prep.finish(forward(
            x.into_primitive(),
            w.into_primitive(),
            b.into_primitive(),
        )),
    })
}

fn forward(x: CubeTensor, w: CubeTensor, b: CubeTensor) -> CubeTensor {
    let ([batch, t, _], [d, p]) = (x.shape().dims(), w.shape().dims());
    let x = CubeBackend::float_reshape(into_contiguous(x), Shape::from([batch * t, d]));
    let y = product("linear forward", &x, &into_contiguous(w));
    let y = CubeBackend::float_add(y, CubeBackend::float_reshape(b, Shape::from([1, p])));
    CubeBackend::float_reshape(y, Shape::from([batch, t, p]))
}

#[derive(Debug)]
struct LinearBackward;

impl Backward<CubeBackend, 4> for LinearBackward {
    type State = (NodeId, CubeTensor);

    fn backward(
        self,
        ops: Ops<Self::State, 4>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let [nx, nw, nb, n_tap] = ops.parents;
        let g = into_contiguous(grads.consume::<CubeBackend>(&ops.node));
        let (x_id, w) = ops.state;
        let ([batch, t, p], [d, _]) = (g.shape().dims(), w.shape().dims());
        let flat = CubeBackend::float_reshape(g.clone(), Shape::from([batch * t, p]));

        if let Some(node) = nx {
            let dx = times_transposed(&flat, w);
            grads.register::<CubeBackend>(
                node.id,
                CubeBackend::float_reshape(dx, Shape::from([batch, t, d])),
            );
        }
        if let Some(node) = n_tap {
            grads.register::<CubeBackend>(node.id, g);
            return;
        }
        if let Some(node) = nw {
            let x: CubeTensor = checkpointer.retrieve_node_output(x_id);
            grads.register::<CubeBackend>(node.id, weight_gradient(&into_contiguous(x), &g));
        }
        if let Some(node) = nb {
            let db = CubeBackend::float_sum_dim(flat.clone(), 0);
            grads
                .register::<CubeBackend>(node.id, CubeBackend::float_reshape(db, Shape::from([p])));
        }
    }
}
