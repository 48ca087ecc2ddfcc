//! Causal multi-head self-attention.

use super::{Arg, arg, wrap, wrap_graph};
use crate::kernels::attention::{backward, forward};
use burn::backend::autodiff::{
    checkpoint::{base::Checkpointer, strategy::NoCheckpointing},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::tensor::Tensor;
use burn_cubecl::{CubeBackend, kernel::into_contiguous, tensor::CubeTensor};

/// Attends with `heads` heads over the packed projection `qkv [B, T, 3 d]` (queries, keys, values, each
/// head by head); `[B, T, d]`. Token t sees tokens 0 to t.
///
/// # Panics
/// Panics when the last axis is not a multiple of `3 * heads`.
pub fn causal_attention(qkv: Tensor<3>, heads: usize) -> Tensor<3> {
    let [_, _, packed] = qkv.dims();
    assert!(
        heads > 0 && packed.is_multiple_of(3 * heads),
        "causal_attention: the packed width {packed} is not a multiple of 3 * {heads} heads"
    );
    let qkv = match arg(qkv) {
        Arg::Graph(qkv) => qkv,
        Arg::Plain(qkv) => return wrap(forward(&into_contiguous(qkv), heads).0),
    };
    let prep = AttentionBackward
        .prepare::<NoCheckpointing>([qkv.node()])
        .compute_bound()
        .stateful();
    let qkv = into_contiguous(qkv.into_primitive());
    let (out, probabilities) = forward(&qkv, heads);
    wrap_graph(match prep {
        OpsKind::Tracked(prep) => prep.finish((qkv, probabilities, heads), out),
        OpsKind::UnTracked(prep) => prep.finish(out),
    })
}

#[derive(Debug)]
struct AttentionBackward;

impl Backward<CubeBackend, 1> for AttentionBackward {
    type State = (CubeTensor, CubeTensor, usize);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [node] = ops.parents;
        let g = into_contiguous(grads.consume::<CubeBackend>(&ops.node));
        let (qkv, probabilities, heads) = ops.state;
        if let Some(node) = node {
            grads.register::<CubeBackend>(node.id, backward(&g, &qkv, &probabilities, heads));
        }
    }
}
