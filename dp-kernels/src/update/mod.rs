//! The private update: noise, division by the expected batch and an optimizer's step in one pass over the parameters.

mod kernel;

use crate::check::Arg;
use crate::launch::Room;
use crate::{KernelError, Launch, Tuning};
use cubecl::std::tensor::TensorHandle;
use dp_core::noise::{GaussianDraw, Generator};
use dp_core::update::UpdateRule;
use kernel::{Form, KeyWordsLaunch, NumbersLaunch, PlaceLaunch};

/// What [`noised_update`] reads and writes, all of one shape.
#[derive(Debug, Clone, Copy)]
pub struct Updated<'a> {
    /// The accumulator: the clipped sum of the logical batch, f32.
    pub sum: &'a TensorHandle,
    /// The parameter, f32: the master where there is a copy.
    pub parameter: &'a TensorHandle,
    /// The rule's moments, f32, zeros before the first step: as many as [`UpdateRule::moments`] says.
    pub moments: &'a [&'a TensorHandle],
    /// Where the new parameter goes once more, rounded to f16 or bf16 (or as it is, f32): what the forward pass reads.
    pub copy: Option<&'a TensorHandle>,
}

/// Adds the noise of `draw` to the clipped sum, divides by `expected_batch` and moves the parameter by `rule`, all in place and in one
/// pass. The sum becomes zeros if `zero_sum`, ready for the next logical batch, and stays as it was, un-noised, otherwise.
///
/// `expected_batch` is q N, a constant; never the number of examples drawn, which is private. Element `i` gets the noise
/// that [`add_gaussian_noise`](crate::add_gaussian_noise) of the same draw gives it, to the bit, so shards and the two ways of
/// working agree.
///
/// # Errors
/// A [`KernelError`] when shapes, types or layouts don't agree, the rule has another number of moments, a number is out of
/// range or the noise is refused; nothing is launched then.
///
/// # Privacy
/// One Gaussian mechanism, as [`add_gaussian_noise`](crate::add_gaussian_noise) says; the rest is post-processing, and moments and
/// parameters may be shown (docs/proofs/noised-update.md). Call it once the step is reserved. The sum holds what is private until it is zeroed.
///
/// # Precision
/// f32; against [`dp_core::reference::noised_update`], what contracting multiply and add and a device's division and root change.
#[allow(clippy::too_many_arguments)]
pub fn noised_update(
    launch: &Launch<'_>,
    updated: &Updated<'_>,
    draw: &GaussianDraw<'_>,
    expected_batch: f64,
    rule: UpdateRule,
    zero_sum: bool,
) -> Result<(), KernelError> {
    let Launch { client, tuning, .. } = *launch;
    let op = "noised_update";
    let c = rule
        .coefficients(expected_batch)
        .map_err(|source| KernelError::Update { op, source })?;
    let sum = Arg::new(op, "sum", updated.sum)?.is_f32()?;
    let shape = updated.sum.shape().to_vec();
    let like = |name, tensor| Arg::new(op, name, tensor)?.has_shape(&shape);
    let parameter = like("parameter", updated.parameter)?.is_f32()?;
    if updated.moments.len() != rule.moments() {
        return Err(KernelError::Moments {
            op,
            expected: rule.moments(),
            actual: updated.moments.len(),
        });
    }
    let moment = |place: usize, name| {
        let tensor = updated.moments.get(place);
        tensor.map(|t| like(name, *t)?.is_f32()).transpose()
    };
    let moment_1 = moment(0, "moment_1")?;
    let moment_2 = moment(1, "moment_2")?;
    let copy = updated
        .copy
        .map(|copy| like("copy", copy)?.is_float(client))
        .transpose()?;
    let len = sum.len();
    draw.check(len as u64)
        .map_err(|source| KernelError::Noise { op, source })?;
    if len == 0 {
        return Ok(());
    }

    let per_block = draw.generator.elements_per_block();
    let skip = draw.first_element % per_block;
    let blocks = (skip as usize + len).div_ceil(per_block as usize);
    let chacha = draw.generator == Generator::ChaCha20;
    let lanes = if tuning.is_cpu { tuning.lanes() } else { 1 };
    let args = [Some(sum), Some(parameter), moment_1, moment_2, copy];
    let vector = vector(
        &args,
        len,
        skip as usize,
        lanes * per_block as usize,
        tuning,
    );
    let place = PlaceLaunch::new(
        len as u32,
        blocks as u32,
        skip as u32,
        (draw.first_element / per_block) as u32,
        draw.tensor,
        draw.step as u32,
        (draw.step >> 32) as u32,
    );
    let [k0, k1, k2, k3, k4, k5, k6, k7] = *draw.key.words();
    let numbers = NumbersLaunch::new(
        draw.std, c.scale, c.rate, c.decay, c.beta_1, c.beta_2, c.unbias_1, c.unbias_2, c.epsilon,
    );
    let form = Form {
        chacha,
        adamw: matches!(rule, UpdateRule::AdamW { .. }),
        momentum: rule.moments() == 1,
        nesterov: matches!(rule, UpdateRule::Sgd { nesterov: true, .. }),
        copy: copy.is_some(),
        zero_sum,
    };
    let copy_type = copy.as_ref().map_or(sum.dtype(), Arg::dtype);
    // A buffer of one vector in the place of each that isn't there: the kernel does not touch it.
    let absent = if moment_2.is_some() && copy.is_some() {
        Vec::new()
    } else {
        let one = |dtype| Room::of(&[vector], dtype);
        let rooms = [one(sum.dtype()), one(sum.dtype()), one(copy_type)];
        launch.scratch(op, rooms)?.into()
    };
    let or_absent = |arg: Option<Arg<'_>>, place: usize| match arg {
        Some(arg) => Ok(arg.buffer(vector)),
        None => Ok(Arg::new(op, "workspace", &absent[place])?.buffer(vector)),
    };
    let (count, dim) = tuning.grid(blocks.div_ceil(lanes), 1);
    kernel::noised_update::launch(
        client,
        count,
        dim,
        lanes,
        vector,
        sum.buffer(vector),
        parameter.buffer(vector),
        or_absent(moment_1, 0)?,
        or_absent(moment_2, 1)?,
        or_absent(copy, 2)?,
        place,
        KeyWordsLaunch::new(k0, k1, k2, k3, k4, k5, k6, k7),
        numbers,
        form,
        copy_type,
    );
    Ok(())
}

/// The widest vector that all of the tensors can be moved by: it divides their length, the place in the first block where they
/// start, and the elements of a unit.
fn vector(
    args: &[Option<Arg<'_>>],
    len: usize,
    skip: usize,
    of_unit: usize,
    tuning: &Tuning,
) -> usize {
    let most = tuning.lanes().min(of_unit);
    let mut width = args
        .iter()
        .flatten()
        .fold(most, |width, arg| arg.vector(len, width));
    while !skip.is_multiple_of(width) {
        width /= 2;
    }
    width
}
