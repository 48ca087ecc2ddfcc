//! The optimizer that draws the noise.

use crate::error::PrivacyError;
use crate::gradients::{PrivateGradients, handle};
use crate::kernels::{filled, settle};
use crate::ops::{plain, wrap};
use crate::optimizer::AdamW;
use crate::state::{NamedTensor, StateError, export, import};
use burn::backend::TensorMetadata;
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{Device, Tensor};
use burn_cubecl::tensor::CubeTensor;
use dp_core::noise::Generator;
use dp_core::update::UpdateRule;
use dp_engine::keys::StepNoise;
use dp_kernels::{self as kernels, Launch, Tuning, Updated};
use std::collections::HashMap;

/// AdamW that takes the clipped sums themselves: noise, division and update in one pass over the parameters, in place
/// ([`dp_kernels::noised_update`]).
///
/// The other way, [`PrivateGradients::release`] and any burn optimizer, makes a pass for each of the three.
///
/// ```no_run
/// # use dp_burn::{AdamW, PrivacyError, PrivateAdamW, PrivateGradients, Tape, Transformer};
/// # fn step(model: Transformer, sums: &mut PrivateGradients, noise: dp_engine::keys::StepNoise<'_>)
/// # -> Result<Transformer, PrivacyError> {
/// let mut optimizer = PrivateAdamW::new(AdamW::default());
/// // ... `sums.add` for each microbatch, then the ledger's reservation, then:
/// let model = optimizer.step(1e-3, model, sums, 64.0, noise, dp_core::noise::Generator::ChaCha20)?;
/// # Ok(model)
/// # }
/// ```
pub struct PrivateAdamW {
    rule: AdamW,
    time: u64,
    moments: HashMap<ParamId, [CubeTensor; 2]>,
}

impl PrivateAdamW {
    /// An optimizer before its first step.
    #[must_use]
    pub fn new(rule: AdamW) -> Self {
        Self {
            rule,
            time: 0,
            moments: HashMap::new(),
        }
    }

    /// Steps done.
    #[must_use]
    pub fn time(&self) -> u64 {
        self.time
    }

    /// Releases the sums and moves `model` by them; the sums are zeros afterwards, ready for the next logical batch.
    ///
    /// `divisor` is q * N, a constant; never the number of examples drawn, which is private. A batch of no examples is
    /// released all the same, as pure noise. `noise` proves that the ledger has charged this step, and is used up.
    ///
    /// # Errors
    /// [`PrivacyError`] when the sums belong to another module or to more than `model`, a parameter was frozen or thawed since they were made, the divisor
    /// is out of range or the step was charged for something else: before anything moves. When a kernel refuses, part of the
    /// parameters may have moved, by what the ledger has paid for: go back to the last checkpoint, and to new sums, since these refuse all from then on
    /// ([`PrivacyError::HalfDone`]).
    ///
    /// # Privacy
    /// As [`PrivateGradients::release`], with the same noise for the same key, step and parameter, to the bit. The un-noised
    /// sum leaves no trace: it is zeroed in the pass that reads it. With an adaptive clipping norm the counts get their noise first, and
    /// [`PrivateGradients::next_clip`] is to be called before the next batch.
    pub fn step<M: Module>(
        &mut self,
        rate: f64,
        model: M,
        sums: &mut PrivateGradients,
        divisor: f64,
        mut noise: StepNoise<'_>,
        generator: Generator,
    ) -> Result<M, PrivacyError> {
        if !(divisor.is_finite() && divisor > 0.0) {
            return Err(PrivacyError::Divisor(divisor));
        }
        sums.check_whole()?;
        sums.check_module(&model)?;
        sums.release_counts(&mut noise, generator)?;
        let tuning = sums.tuning()?;
        self.time += 1;
        let rule = UpdateRule::AdamW {
            rate: rate as f32,
            beta_1: self.rule.beta_1,
            beta_2: self.rule.beta_2,
            epsilon: self.rule.epsilon,
            weight_decay: self.rule.weight_decay,
            time: self.time,
        };
        sums.half_done = true;
        let mut step = Step {
            sums: &*sums,
            tuning,
            moments: &mut self.moments,
            rule,
            divisor,
            noise,
            generator,
            failed: None,
        };
        let model = model.map(&mut step);
        if let Some(error) = step.failed {
            return Err(error);
        }
        sums.half_done = false;
        Ok(model)
    }

    /// The moments by the names of `model`'s parameters, `moment_1.NAME` and `moment_2.NAME`; none before the first step.
    ///
    /// # Errors
    /// [`StateError::Read`] when the device fails.
    pub fn state<M: Module>(&self, model: &M) -> Result<Vec<NamedTensor>, StateError> {
        let mut tensors = Vec::new();
        if self.time == 0 {
            return Ok(tensors);
        }
        for (place, prefix) in PREFIXES.into_iter().enumerate() {
            let moments = model.clone().map(&mut InPlaceOf {
                moments: &self.moments,
                place,
            });
            let named = export(&moments)?.into_iter().map(|tensor| NamedTensor {
                name: format!("{prefix}{}", tensor.name),
                ..tensor
            });
            tensors.extend(named);
        }
        Ok(tensors)
    }

    /// The optimizer as it was after `time` steps, from what [`PrivateAdamW::state`] gave.
    ///
    /// # Errors
    /// [`StateError`] when a name or a shape doesn't fit `model`.
    pub fn load<M: Module>(
        mut self,
        model: &M,
        time: u64,
        tensors: Vec<NamedTensor>,
    ) -> Result<Self, StateError> {
        self.time = time;
        self.moments.clear();
        if time == 0 {
            return Ok(self);
        }
        let mut halves = PREFIXES.map(|_| Vec::new());
        for mut tensor in tensors {
            let place = PREFIXES
                .iter()
                .position(|prefix| tensor.name.starts_with(prefix))
                .ok_or_else(|| StateError::Unknown(tensor.name.clone()))?;
            tensor.name = tensor.name[PREFIXES[place].len()..].to_owned();
            halves[place].push(tensor);
        }
        let [first, second] = halves.map(|half| {
            let mut values = Values::default();
            import(model.clone(), half).map(|moments| {
                moments.visit(&mut values);
                values.0
            })
        });
        self.moments = first?
            .into_iter()
            .zip(second?)
            .map(|((id, first), (_, second))| (id, [first, second]))
            .collect();
        Ok(self)
    }
}

const PREFIXES: [&str; 2] = ["moment_1.", "moment_2."];

/// One step, parameter by parameter.
struct Step<'a> {
    sums: &'a PrivateGradients,
    tuning: Tuning,
    moments: &'a mut HashMap<ParamId, [CubeTensor; 2]>,
    rule: UpdateRule,
    divisor: f64,
    noise: StepNoise<'a>,
    generator: Generator,
    failed: Option<PrivacyError>,
}

impl Step<'_> {
    /// Moves `parameter`, in place where nothing else holds its buffer.
    fn update(&mut self, id: ParamId, parameter: &mut CubeTensor) -> Result<(), PrivacyError> {
        let sum = self.sums.sum(id)?;
        if !parameter.can_mut() {
            *parameter = parameter.copy();
        }
        let moments = self
            .moments
            .entry(id)
            .or_insert_with(|| [(); 2].map(|()| filled(parameter, parameter.shape(), 0.0)));
        let [first, second] = [handle(&moments[0]), handle(&moments[1])];
        kernels::noised_update(
            &Launch::new(&parameter.client, &self.tuning),
            &Updated {
                sum: &handle(sum),
                parameter: &handle(parameter),
                moments: &[&first, &second],
                copy: None,
            },
            self.noise.draw(self.generator),
            self.divisor,
            self.rule,
            true,
        )?;
        settle("noised update", parameter);
        Ok(())
    }
}

impl ModuleMapper for Step<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, tensor, mapper) = param.consume();
        if self.failed.is_some() || self.sums.is_frozen(id) {
            return Param::from_mapped_value(id, tensor, mapper);
        }
        let is_tracked = tensor.is_require_grad();
        let device = tensor.device();
        // The leaf is dropped here: a buffer that two tensors hold can't be written in place.
        let mut value = plain(tensor.inner());
        if let Err(error) = self.update(id, &mut value) {
            self.failed = Some(error);
        }
        Param::from_mapped_value(id, on(wrap(value), &device, is_tracked), mapper)
    }
}

/// The plain `tensor` as a parameter has it: on an autodiff device, and a leaf there, if the old one was.
fn on<const D: usize>(tensor: Tensor<D>, device: &Device, is_tracked: bool) -> Tensor<D> {
    if !device.is_autodiff() {
        return tensor;
    }
    let tensor = Tensor::from_inner(tensor);
    if is_tracked {
        tensor.require_grad()
    } else {
        tensor
    }
}

/// A module of moments in place of its parameters.
struct InPlaceOf<'a> {
    moments: &'a HashMap<ParamId, [CubeTensor; 2]>,
    place: usize,
}

impl ModuleMapper for InPlaceOf<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, tensor, mapper) = param.consume();
        let value = match self.moments.get(&id) {
            Some(moments) => wrap(moments[self.place].clone()),
            // A frozen parameter has none: zeros, which is where it begins if it is trained one day.
            None => tensor.zeros_like(),
        };
        Param::from_mapped_value(id, value, mapper)
    }
}

/// The values of a module's parameters, in the order in which burn visits them.
#[derive(Default)]
struct Values(Vec<(ParamId, CubeTensor)>);

impl ModuleVisitor for Values {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.push((param.id, plain(param.val().inner())));
    }
}
