//! Embedding: tokens with one id share a row of the table, so their gradients add before they are squared.

mod chains;
mod rows;

use crate::check::Arg;
use crate::launch::Room;
use crate::reduce::launch_add_row_sums;
use crate::{KernelError, Launch, Tuning};
use cubecl::{
    ir::{ElemType, UIntKind},
    std::tensor::TensorHandle,
};

/// Adds the squared norm of each example's embedding gradient,
/// `sum_{t,t'} [id_t = id_t'] <g_t, g_t'>`, into `norms_sq`.
///
/// `ids [B, T]` (i32 or u32), `g [B, T, p]` (f32, f16, bf16 or f64), `norms_sq [B]` f32 (f64 beside f64), ADDED into.
///
/// # Errors
/// A [`KernelError`] when shapes, types or layouts don't agree; nothing is launched then.
///
/// # Privacy
/// Part of the norm of the whole gradient (docs/proofs/layer-norms.md): tokens of one id are added before they are squared. Without that an
/// example of T equal tokens could count for a T-th of its square.
///
/// # Precision
/// Computed as `sum over distinct ids of |sum of their g|^2`, in f32 (f64 for f64 inputs) and in a fixed order: no
/// cancellation between squares, unlike the double sum above. An example's norm has the same bits in every microbatch.
pub fn embedding_norm_sq(
    launch: &Launch<'_>,
    ids: &TensorHandle,
    g: &TensorHandle,
    norms_sq: &TensorHandle,
) -> Result<(), KernelError> {
    let Launch { client, tuning, .. } = *launch;
    let op = "embedding_norm_sq";
    let g = Arg::new(op, "g", g)?.is_float(client)?;
    let [b, t, p] = g.dims()?;
    let ids = Arg::new(op, "ids", ids)?.has_shape(&[b, t])?.is_index()?;
    let norms_sq = Arg::new(op, "norms_sq", norms_sq)?
        .has_shape(&[b])?
        .sums_of(&g)?;
    if b * t * p == 0 {
        return Ok(());
    }
    let scratch = launch.scratch(op, rooms(&g, [b, t, p], tuning))?;
    let [partials, links, slots] = &scratch;
    let partials = Arg::new(op, "workspace", partials)?;
    let links = Arg::new(op, "workspace", links)?;
    let slots = Arg::new(op, "workspace", slots)?;
    if tuning.is_cpu && tuning.takes_whole_examples(b) {
        chains::launch(
            launch,
            &ids,
            &g,
            [&links, &slots],
            &norms_sq,
            [b, t, p],
            true,
        );
        return Ok(());
    }
    launch_parts(launch, &ids, &g, [&partials, &links, &slots], [b, t, p]);
    launch_add_row_sums(launch, &partials, &norms_sq, b, parts(&g, t, p, tuning));
    Ok(())
}

/// In how many parts [`launch_parts`] gives an example's squared norm.
pub(super) fn parts(g: &Arg<'_>, t: usize, p: usize, tuning: &Tuning) -> usize {
    if tuning.is_cpu {
        chains::Cut::new(g, p, tuning).parts
    } else {
        t
    }
}

/// What [`launch_parts`] takes: the [`parts`] of the norms, and on a processor the chains of equal ids with the table that finds them.
pub(super) fn rooms(g: &Arg<'_>, [b, t, p]: [usize; 3], tuning: &Tuning) -> [Room; 3] {
    let parts = parts(g, t, p, tuning);
    let index = ElemType::UInt(UIntKind::U32);
    let (tokens, slots) = if tuning.is_cpu {
        (t, chains::slots(t))
    } else {
        (0, 0)
    };
    [
        Room::of(&[b, parts], g.accumulator()),
        Room::of(&[b, parts, tokens], index),
        Room::of(&[b, parts, slots], index),
    ]
}

/// Writes the parts of the norms `[B, parts]`, by way of the buffers of [`rooms`], of which they are the first.
pub(super) fn launch_parts(
    launch: &Launch<'_>,
    ids: &Arg<'_>,
    g: &Arg<'_>,
    [partials, links, slots]: [&Arg<'_>; 3],
    extents: [usize; 3],
) {
    if launch.tuning.is_cpu {
        chains::launch(launch, ids, g, [links, slots], partials, extents, false);
    } else {
        rows::launch(launch, ids, g, partials, extents);
    }
}
