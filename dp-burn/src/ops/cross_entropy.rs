//! Cross-entropy of each token, weighted.

use super::{Arg, arg, integers, plain, wrap, wrap_graph};
use crate::kernels::cross_entropy::{backward, forward};
use burn::backend::autodiff::{
    checkpoint::{base::Checkpointer, strategy::NoCheckpointing},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::tensor::{Int, Tensor};
use burn_cubecl::{CubeBackend, kernel::into_contiguous, tensor::CubeTensor};

/// `weights[n] * -log softmax(logits[n])[targets[n]]` for each of N rows; `logits [N, V]`.
///
/// Weights carry no gradient: they are data. A row of weight 0 gives loss 0 and gradient 0, if its
/// logits are finite, whatever its target is (-100 is a usual one). With another weight, a target that is none of the V columns makes
/// the row's loss and gradient NaN, and private gradients leave its example out; other rows are not touched.
///
/// # Panics
/// Panics when the tensors live on different devices, aren't of f32 and i32, or `weights` records a graph; when there is no target and no weight for each row.
pub fn cross_entropy(logits: Tensor<2>, targets: Tensor<1, Int>, weights: Tensor<1>) -> Tensor<1> {
    let [rows, _] = logits.dims();
    let (given, weighed) = (targets.dims()[0], weights.dims()[0]);
    assert!(
        given == rows && weighed == rows,
        "cross_entropy: {rows} rows of logits, {given} targets and {weighed} weights: give one of each for every row"
    );
    let (targets, weights) = (integers(targets), plain(weights.inner()));
    let logits = match arg(logits) {
        Arg::Graph(logits) => logits,
        Arg::Plain(logits) => return wrap(forward(&into_contiguous(logits), &targets, &weights).0),
    };
    let prep = CrossEntropyBackward
        .prepare::<NoCheckpointing>([logits.node()])
        .compute_bound()
        .stateful();
    let logits = into_contiguous(logits.into_primitive());
    let (loss, log_sum) = forward(&logits, &targets, &weights);
    wrap_graph(match prep {
        OpsKind::Tracked(prep) => prep.finish((logits, targets, weights, log_sum), loss),
        OpsKind::UnTracked(prep) => prep.finish(loss),
    })
}

#[derive(Debug)]
struct CrossEntropyBackward;

impl Backward<CubeBackend, 1> for CrossEntropyBackward {
    type State = (CubeTensor, CubeTensor, CubeTensor, CubeTensor);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [node] = ops.parents;
        let g = into_contiguous(grads.consume::<CubeBackend>(&ops.node));
        let (logits, targets, weights, log_sum) = ops.state;
        if let Some(node) = node {
            grads.register::<CubeBackend>(
                node.id,
                backward(&g, logits, &targets, &weights, &log_sum),
            );
        }
    }
}
