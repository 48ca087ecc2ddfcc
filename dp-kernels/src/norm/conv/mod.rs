//! Convolutions: a Linear whose tokens are the output positions, and whose input is unfolded as it is read.

mod gram;
mod materialised;

pub(crate) use materialised::Tiles;

use super::gram::{launch_finish, tiles_of};
use super::linear::LinearNorm;
use crate::check::Arg;
use crate::launch::Room;
use crate::reduce::launch_add_row_sums;
use crate::unfold::Convolution;
use crate::{ConvShape, KernelError, Launch};
use cubecl::std::tensor::TensorHandle;

/// Adds the squared norm of each example's weight gradient of a convolution into `norms_sq`.
///
/// `x [B, C_in, input..]`, `g [B, C_out, output..]` the gradient at its output (one type: f32, f16, bf16 or f64), with `N`
/// = 1, 2 or 3 spatial axes and sizes as [`ConvShape`] says, `norms_sq [B]` f32 (f64 beside f64), ADDED into. The bias is
/// [`channel_bias_norm_sq`](crate::channel_bias_norm_sq)'s.
///
/// Per group a Linear of `d = C_in / groups * kernel` inputs, `p = C_out / groups` outputs and a token for every output
/// position, taken by the same ways. Neither the unfolded input nor a per-example gradient is written: the workspace is
/// a copy of `x` and of `g`, channels last, and a table of positions that has no axis of examples or channels.
///
/// # Errors
/// A [`KernelError`] when shapes, types or layouts don't agree, [`KernelError::Conv`] when the geometry is
/// none of a convolution over this input; nothing is launched then.
///
/// # Privacy
/// As [`linear_norm_sq`](crate::linear_norm_sq), its floor included, group by group (docs/proofs/layer-norms.md).
///
/// # Precision
/// f32 throughout, f64 for f64 inputs. An example's norm has the same bits in every microbatch.
///
/// # References
/// Z. Bu, J. Mao, S. Xu, "Scalable and Efficient Training of Large Convolutional Neural Networks with Differential
/// Privacy", arXiv 2205.10683.
pub fn conv_norm_sq<const N: usize>(
    launch: &Launch<'_>,
    x: &TensorHandle,
    g: &TensorHandle,
    norms_sq: &TensorHandle,
    shape: &ConvShape<N>,
    how: LinearNorm,
) -> Result<(), KernelError> {
    let Launch { client, tuning, .. } = *launch;
    let op = "conv_norm_sq";
    let conv = Convolution::new(client, op, x, g, shape)?;
    let norms_sq = Arg::new(op, "norms_sq", norms_sq)?
        .has_shape(&[conv.examples])?
        .sums_of(&conv.x)?;
    if conv.is_empty() {
        return Ok(());
    }
    let way = how.resolve(conv.tokens, conv.rows(), conv.group_out);
    if tuning.is_cpu && way == LinearNorm::Gram && conv.is_pointwise() {
        return gram::launch_pointwise(launch, op, &conv, &norms_sq);
    }
    let tiles = match way {
        LinearNorm::Gram => tiles_of(conv.tokens, tuning),
        _ => Tiles::new(&conv, tuning).count,
    };
    let shape = [conv.examples, conv.groups, tiles];
    let [x, g, positions, geometry] = conv.workspace();
    let rooms = [
        x,
        g,
        positions,
        geometry,
        Room::of(&shape, norms_sq.dtype()),
        Room::of(&shape, norms_sq.dtype()),
    ];
    let [x, g, positions, geometry, products, bounds] = launch.scratch(op, rooms)?;
    let products = Arg::new(op, "workspace", &products)?;
    let bounds = Arg::new(op, "workspace", &bounds)?;
    let unfolded = conv.unfold(launch, [x, g, positions, geometry])?;
    if way == LinearNorm::Gram {
        gram::launch(launch, op, &conv, &unfolded, &products, &bounds)?;
        launch_finish(launch, &products, &bounds, &norms_sq, shape);
    } else {
        materialised::launch(launch, op, &conv, &unfolded, &products)?;
        let columns = conv.groups * tiles;
        launch_add_row_sums(launch, &products, &norms_sq, conv.examples, columns);
    }
    Ok(())
}
