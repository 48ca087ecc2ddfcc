//! A learned vector for every place in the sequence, added.

use super::{Arg, arg, ordinary, wrap, wrap_graph};
use burn::backend::TensorMetadata;
use burn::backend::autodiff::{
    checkpoint::{base::Checkpointer, strategy::NoCheckpointing},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::backend::ops::FloatTensorOps;
use burn::tensor::{Shape, Slice, Tensor};
use burn_cubecl::{CubeBackend, kernel::into_contiguous, tensor::CubeTensor};

/// `x [B, T, d]` plus the first T rows of `table [T_max, d]`.
///
/// With a tracked `tap` the backward pass registers the gradient with respect to the output there and
/// forms no gradient of the table.
///
/// # Panics
/// Panics when T is above `T_max`, or the tensors live on different devices.
pub fn position(x: Tensor<3>, table: Tensor<2>, tap: Tensor<1>) -> Tensor<3> {
    let (x, table, tap) = match (arg(x), arg(table), arg(tap)) {
        (Arg::Graph(x), Arg::Graph(table), Arg::Graph(tap)) => (x, table, tap),
        (Arg::Plain(x), Arg::Plain(table), _) => return wrap(forward(x, table)),
        _ => panic!("position: all tensors must live on the same device"),
    };
    let prep = PositionBackward
        .prepare::<NoCheckpointing>([x.node(), table.node(), tap.node()])
        .compute_bound()
        .stateful();
    wrap_graph(match prep {
        OpsKind::Tracked(prep) => {
            let table = table.into_primitive();
            let [t_max, _] = table.shape().dims();
            prep.finish(t_max, forward(x.into_primitive(), table))
        }
        OpsKind::UnTracked(prep) => {
            prep.finish(forward(x.into_primitive(), table.into_primitive()))
        }
    })
}

fn forward(x: CubeTensor, table: CubeTensor) -> CubeTensor {
    let [_, t, d] = x.shape().dims();
    let used = CubeBackend::float_slice(table, &[Slice::from(0..t), Slice::from(0..d)]);
    CubeBackend::float_add(x, CubeBackend::float_reshape(used, Shape::from([1, t, d])))
}

#[derive(Debug)]
struct PositionBackward;

impl Backward<CubeBackend, 3> for PositionBackward {
    /// Rows of the table.
    type State = usize;

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [nx, n_table, n_tap] = ops.parents;
        let g = into_contiguous(grads.consume::<CubeBackend>(&ops.node));
        let t_max = ops.state;
        if let Some(node) = nx {
            grads.register::<CubeBackend>(node.id, g.clone());
        }
        if let Some(node) = n_tap {
            grads.register::<CubeBackend>(node.id, g);
        } else if let Some(node) = n_table {
            grads.register::<CubeBackend>(node.id, ordinary::places(&g, t_max));
        }
    }
}
