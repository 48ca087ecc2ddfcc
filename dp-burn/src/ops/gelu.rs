//! GELU.

use super::{Arg, arg, wrap, wrap_graph};
use crate::kernels::gelu::{backward, forward};
use burn::backend::autodiff::{
    NodeId,
    checkpoint::{base::Checkpointer, strategy::NoCheckpointing},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::tensor::Tensor;
use burn_cubecl::{CubeBackend, kernel::into_contiguous, tensor::CubeTensor};

/// `gelu(x)` in its tanh form.
pub fn gelu(x: Tensor<3>) -> Tensor<3> {
    let x = match arg(x) {
        Arg::Graph(x) => x,
        Arg::Plain(x) => return wrap(forward(&into_contiguous(x))),
    };
    let prep = GeluBackward
        .prepare::<NoCheckpointing>([x.node()])
        .compute_bound()
        .stateful();
    wrap_graph(match prep {
        OpsKind::Tracked(mut prep) => {
            let id = prep.checkpoint(&x);
            prep.finish(id, forward(&into_contiguous(x.into_primitive())))
        }
        OpsKind::UnTracked(prep) => prep.finish(forward(&into_contiguous(x.into_primitive()))),
    })
}

#[derive(Debug)]
struct GeluBackward;

impl Backward<CubeBackend, 1> for GeluBackward {
    type State = NodeId;

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let [nx] = ops.parents;
        let g = into_contiguous(grads.consume::<CubeBackend>(&ops.node));
        let x: CubeTensor = checkpointer.retrieve_node_output(ops.state);
        if let Some(node) = nx {
            grads.register::<CubeBackend>(node.id, backward(g, &into_contiguous(x)));
        }
    }
}
