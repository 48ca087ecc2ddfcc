//! The private update: noise, division by the expected batch and an optimizer's step in one pass over the parameters.

mod kernel;

use crate::check::Arg;
use crate::launch::Room;
use crate::noise::{Cut, key_words};
use crate::{KernelError, Launch, Tuning};
use cubecl::{ir::ElemType, std::tensor::TensorHandle};
use dp_core::noise::{GaussianDraw, Generator};
use dp_core::update::{Coefficients, UpdateRule};
use kernel::{Form, NumbersLaunch};

/// What [`noised_update`] reads and writes, all of one shape.
#[derive(Debug, Clone, Copy)]
pub struct Updated<'a> {
    /// The accumulator: the clipped sum of the logical batch, f32 or f64.
    pub sum: &'a TensorHandle,
    /// The parameter, of the sum's type: the master where there is a copy.
    pub parameter: &'a TensorHandle,
    /// The rule's moments, of the sum's type, zeros before the first step: as many as [`UpdateRule::moments`] says.
    pub moments: &'a [&'a TensorHandle],
    /// Where the new parameter goes once more, rounded to f16, bf16 or f32 (or as it is): what the forward pass reads.
    pub copy: Option<&'a TensorHandle>,
}

impl<'a> Updated<'a> {
    /// For a rule that keeps no moments, and a parameter without a copy.
    #[must_use]
    pub fn plain(sum: &'a TensorHandle, parameter: &'a TensorHandle) -> Self {
        Self {
            sum,
            parameter,
            moments: &[],
            copy: None,
        }
    }
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
/// f32, or f64 from the noised sum on, which is an f32 either way (see [`add_gaussian_noise`](crate::add_gaussian_noise)); against
/// [`dp_core::reference::noised_update`], what contracting multiply and add and a device's division and root change.
#[allow(clippy::too_many_arguments)]
pub fn noised_update(
    launch: &Launch<'_>,
    updated: &Updated<'_>,
    draw: GaussianDraw<'_>,
    expected_batch: f64,
    rule: UpdateRule,
    zero_sum: bool,
) -> Result<(), KernelError> {
    let update = Update::new(launch, updated, draw, expected_batch, rule, zero_sum)?;
    let absent = launch.scratches(OP, update.rooms(launch.tuning))?;
    update.launch(launch, &absent)
}

/// [`noised_update`] of all parameters of a model, each with a draw of its own from `draws`, of which as many are taken as there are parameters.
///
/// # Errors
/// As [`noised_update`], of any of them, and [`KernelError::Draws`] for too few; nothing is launched then, for none.
///
/// # Privacy
/// As [`noised_update`]: one Gaussian mechanism over all of them, where no two draws have one tensor number.
///
/// # Precision
/// The bits of [`noised_update`], one by one.
pub fn noised_updates<'d>(
    launch: &Launch<'_>,
    updated: &[Updated<'_>],
    draws: impl IntoIterator<Item = GaussianDraw<'d>>,
    expected_batch: f64,
    rule: UpdateRule,
    zero_sum: bool,
) -> Result<(), KernelError> {
    let mut updates = Vec::with_capacity(updated.len());
    let mut rooms = Vec::new();
    let mut draws = draws.into_iter();
    for (place, parameter) in updated.iter().enumerate() {
        let draw = draws.next().ok_or(KernelError::Draws {
            op: OP,
            expected: updated.len(),
            actual: place,
        })?;
        let update = Update::new(launch, parameter, draw, expected_batch, rule, zero_sum)?;
        let first = rooms.len();
        rooms.extend(update.rooms(launch.tuning));
        updates.push((update, first..rooms.len()));
    }
    let absent = launch.scratches(OP, rooms)?;
    for (update, absences) in updates {
        update.launch(launch, &absent[absences])?;
    }
    Ok(())
}

const OP: &str = "noised_update";

/// The checked request.
struct Update<'a> {
    sum: Arg<'a>,
    parameter: Arg<'a>,
    moments: [Option<Arg<'a>>; 2],
    copy: Option<Arg<'a>>,
    draw: GaussianDraw<'a>,
    numbers: Coefficients,
    rule: UpdateRule,
    zero_sum: bool,
}

impl<'a> Update<'a> {
    fn new(
        launch: &Launch<'_>,
        updated: &Updated<'a>,
        draw: GaussianDraw<'a>,
        expected_batch: f64,
        rule: UpdateRule,
        zero_sum: bool,
    ) -> Result<Self, KernelError> {
        let numbers = rule
            .coefficients(expected_batch)
            .map_err(|source| KernelError::Update { op: OP, source })?;
        let sum = Arg::new(OP, "sum", updated.sum)?.is_sum(launch.client)?;
        let shape = updated.sum.shape();
        let like = |name, tensor| Arg::new(OP, name, tensor)?.has_shape(shape);
        let parameter = like("parameter", updated.parameter)?.same_type(&sum)?;
        if updated.moments.len() != rule.moments() {
            return Err(KernelError::Moments {
                op: OP,
                expected: rule.moments(),
                actual: updated.moments.len(),
            });
        }
        let moment = |place: usize, name| {
            let tensor = updated.moments.get(place);
            tensor.map(|t| like(name, *t)?.same_type(&sum)).transpose()
        };
        let moments = [moment(0, "moment_1")?, moment(1, "moment_2")?];
        let copy = updated
            .copy
            .map(|copy| like("copy", copy)?.is_float(launch.client))
            .transpose()?;
        draw.check(sum.len() as u64)
            .map_err(|source| KernelError::Noise { op: OP, source })?;
        Ok(Self {
            sum,
            parameter,
            moments,
            copy,
            draw,
            numbers,
            rule,
            zero_sum,
        })
    }

    /// How the noise is cut.
    fn cut(&self, tuning: &Tuning) -> Cut {
        Cut::new(&self.draw, self.sum.len(), tuning)
    }

    fn vector(&self, tuning: &Tuning) -> usize {
        let [moment_1, moment_2] = self.moments;
        let args = [
            Some(self.sum),
            Some(self.parameter),
            moment_1,
            moment_2,
            self.copy,
        ];
        let most = tuning.lanes_of(self.sum.dtype());
        self.cut(tuning).vector(&args, self.sum.len(), most)
    }

    fn copy_type(&self) -> ElemType {
        self.copy.as_ref().map_or(self.sum.dtype(), Arg::dtype)
    }

    /// A buffer of one vector in the place of each that isn't there: the kernel does not touch it.
    fn rooms(&self, tuning: &Tuning) -> Vec<Room> {
        let one = |dtype| Room::of(&[self.vector(tuning)], dtype);
        let [moment_1, moment_2] = self.moments;
        let mut rooms = Vec::new();
        for moment in [moment_1, moment_2] {
            if moment.is_none() {
                rooms.push(one(self.sum.dtype()));
            }
        }
        if self.copy.is_none() {
            rooms.push(one(self.copy_type()));
        }
        rooms
    }

    /// Moves the parameter, with `absent` the buffers of [`rooms`](Self::rooms).
    fn launch(&self, launch: &Launch<'_>, absent: &[TensorHandle]) -> Result<(), KernelError> {
        let Launch { client, tuning, .. } = *launch;
        let (sum, draw, c) = (&self.sum, &self.draw, self.numbers);
        let len = sum.len();
        if len == 0 {
            return Ok(());
        }
        let mut absent = absent.iter();
        let mut or_absent = |arg: Option<Arg<'_>>| match arg {
            Some(arg) => Ok(arg.buffer(self.vector(tuning))),
            None => {
                let absent = absent.next().expect("a buffer for each that isn't there");
                Ok(Arg::new(OP, "workspace", absent)?.buffer(self.vector(tuning)))
            }
        };
        let [moment_1, moment_2] = self.moments;
        let (moment_1, moment_2) = (or_absent(moment_1)?, or_absent(moment_2)?);
        let copy = or_absent(self.copy)?;

        let (cut, vector) = (self.cut(tuning), self.vector(tuning));
        let numbers = NumbersLaunch::new(
            draw.std, c.scale, c.rate, c.decay, c.beta_1, c.beta_2, c.unbias_1, c.unbias_2,
            c.epsilon,
        );
        let form = Form {
            chacha: draw.generator == Generator::ChaCha20,
            adamw: matches!(self.rule, UpdateRule::AdamW { .. }),
            momentum: self.rule.moments() == 1,
            nesterov: matches!(self.rule, UpdateRule::Sgd { nesterov: true, .. }),
            copy: self.copy.is_some(),
            zero_sum: self.zero_sum,
        };
        let (count, dim) = tuning.grid(cut.units(), 1);
        kernel::noised_update::launch(
            client,
            count,
            dim,
            cut.lanes,
            vector,
            sum.buffer(vector),
            self.parameter.buffer(vector),
            moment_1,
            moment_2,
            copy,
            cut.place(draw, len),
            key_words(draw.key),
            numbers,
            form,
            sum.dtype(),
            self.copy_type(),
        );
        Ok(())
    }
}
