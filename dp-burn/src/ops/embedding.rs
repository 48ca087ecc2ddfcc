//! Rows of a table by index.

use super::{Arg, arg, integers, ordinary, wrap, wrap_graph};
use burn::backend::TensorMetadata;
use burn::backend::autodiff::{
    checkpoint::{base::Checkpointer, strategy::NoCheckpointing},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::backend::ops::{FloatTensorOps, IntTensorOps};
use burn::tensor::{Int, Shape, Tensor};
use burn_cubecl::{CubeBackend, kernel::into_contiguous, tensor::CubeTensor};

/// Row `ids[b, t]` of `table [V, d]`, `[B, T, d]`; every id must be below V.
///
/// With a tracked `tap` the backward pass registers the gradient with respect to the output there and
/// forms no gradient of the table.
///
/// # Panics
/// Panics when table and ids live on different devices.
pub fn embedding(table: Tensor<2>, ids: Tensor<2, Int>, tap: Tensor<1>) -> Tensor<3> {
    let ids = integers(ids);
    let (table, tap) = match (arg(table), arg(tap)) {
        (Arg::Graph(table), Arg::Graph(tap)) => (table, tap),
        (Arg::Plain(table), _) => return wrap(forward(table, ids)),
        _ => panic!("embedding: all tensors must live on the same device"),
    };
    let prep = EmbeddingBackward
        .prepare::<NoCheckpointing>([table.node(), tap.node()])
        .compute_bound()
        .stateful();
    wrap_graph(match prep {
        OpsKind::Tracked(prep) => {
            let weights = table.into_primitive();
            let y = forward(weights.clone(), ids.clone());
            prep.finish((weights, ids), y)
        }
        OpsKind::UnTracked(prep) => prep.finish(forward(table.into_primitive(), ids)),
    })
}

fn forward(table: CubeTensor, ids: CubeTensor) -> CubeTensor {
    let ([b, t], [_, d]) = (ids.shape().dims(), table.shape().dims());
    let flat = CubeBackend::int_reshape(ids, Shape::from([b * t]));
    CubeBackend::float_reshape(
        CubeBackend::float_select(table, 0, flat),
        Shape::from([b, t, d]),
    )
}

#[derive(Debug)]
struct EmbeddingBackward;

impl Backward<CubeBackend, 2> for EmbeddingBackward {
    type State = (CubeTensor, CubeTensor);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [n_table, n_tap] = ops.parents;
        let g = into_contiguous(grads.consume::<CubeBackend>(&ops.node));
        let (table, ids) = ops.state;
        if let Some(node) = n_tap {
            grads.register::<CubeBackend>(node.id, g);
        } else if let Some(node) = n_table {
            let [vocabulary, _] = table.shape().dims();
            grads.register::<CubeBackend>(node.id, ordinary::table(&ids, &g, vocabulary));
        }
    }
}
