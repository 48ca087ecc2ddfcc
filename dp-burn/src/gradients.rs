//! Clipped, summed and noised gradients of a logical batch.

use crate::adaptive::AdaptiveClip;
use crate::error::PrivacyError;
use crate::kernels::{filled, settle};
use crate::ops::{plain, wrap};
use crate::tape::{Leaf, Site, Tape};
use crate::traced::Traced;
use burn::backend::TensorMetadata;
use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use burn_cubecl::tensor::CubeTensor;
use cubecl::{client::Client, std::tensor::TensorHandle};
use dp_core::clipping::{AdaptiveQuantile, Clipping};
use dp_core::noise::Generator;
use dp_engine::keys::StepNoise;
use dp_kernels::{
    self as kernels, Launch, LayerPlan, LayerShape, LinearNorm, Planner, Tuning, Workspace,
};
use std::collections::{HashMap, HashSet};

/// The accumulator of one logical batch: `sum_b c_b g_b` over all its microbatches, f32, on the device.
///
/// # Privacy
/// Under add/remove adjacency of one example the sum changes by at most C in L2 norm (flat and
/// automatic clipping), up to the rounding that `dp_core::sensitivity` bounds. An example is one row of
/// a microbatch, or so many in turn as [`with_rows_of_example`](Self::with_rows_of_example) says; rows are independent in every
/// layer of this crate. An example whose norm is not
/// finite contributes exactly zero. The proof is in docs/proofs/private-gradients.md.
pub struct PrivateGradients {
    clipping: Clipping,
    sums: Vec<Sum>,
    index: HashMap<ParamId, usize>,
    /// Parameters that are not trained.
    frozen: HashSet<ParamId>,
    tuning: Option<Tuning>,
    planner: Planner,
    asked: LinearNorm,
    /// Of the Linears of a microbatch, in the order of the tape.
    planned: Vec<LayerPlan>,
    rows_of_example: usize,
    adaptive: Option<AdaptiveClip>,
    /// Whether a call that writes sums began and did not end.
    pub(crate) half_done: bool,
    /// What the launchers write and read back themselves; it grows in the first microbatch.
    workspace: Workspace,
}

/// One parameter's accumulator; its place in the list is its tensor number in the noise's counter.
struct Sum {
    id: ParamId,
    value: CubeTensor,
}

impl PrivateGradients {
    /// Zero sums for every parameter of `module` that is trained, in the order in which burn visits them.
    ///
    /// A parameter on an autodiff device that needs no gradient (`no_grad`) is frozen: neither norm nor sum has a part for it, no noise is drawn for it, and
    /// [`PrivateAdamW`](crate::PrivateAdamW) leaves it as it is. A layer is frozen as a whole or not at all.
    ///
    /// # Panics
    /// Panics when the module's device is not a CubeCL device, or a parameter is not of f32.
    #[must_use]
    pub fn new<M: Module>(module: &M, clipping: Clipping) -> Self {
        let mut gradients = Self {
            clipping,
            sums: Vec::new(),
            index: HashMap::new(),
            frozen: HashSet::new(),
            tuning: None,
            planner: Planner::by_rule(),
            asked: LinearNorm::Auto,
            planned: Vec::new(),
            rows_of_example: 1,
            adaptive: None,
            half_done: false,
            workspace: Workspace::growing(),
        };
        module.visit(&mut gradients);
        gradients.tuning = gradients
            .sums
            .first()
            .map(|sum| Tuning::for_client(&sum.value.client));
        gradients
    }

    /// The same, with each Linear's norm taken the way that `planner` chooses for its shape, and its examples' gradients kept from the norm
    /// to the sum where it says so; anything but [`LinearNorm::Auto`] as `asked` overrides it. Without this it is the rule of
    /// [`LinearNorm::Auto`], and nothing is kept.
    ///
    /// All ways give the same norm and sum to rounding, for examples whose tokens cancel no further than was charged ([`Planner`]): a choice changes time
    /// and memory.
    #[must_use]
    pub fn planned(self, planner: Planner, asked: LinearNorm) -> Self {
        Self {
            planner,
            asked,
            ..self
        }
    }

    /// The same, with every `rows` rows of a microbatch in turn as one example: the records of one user. Their gradients are added
    /// before the norm is taken, which so has the products between them, and the sum is clipped as one.
    ///
    /// The kernels see it as an example of `rows * T` tokens; nothing of the forward pass does, so attention stays within a row and
    /// positions count from the start of each.
    ///
    /// # Privacy
    /// The bound C is then one user's, whatever their rows hold. A row without a record must have loss weights of 0.
    ///
    /// # Panics
    /// Panics for 0 rows.
    #[must_use]
    pub fn with_rows_of_example(self, rows: usize) -> Self {
        assert!(rows > 0, "an example has at least one row");
        Self {
            rows_of_example: rows,
            ..self
        }
    }

    /// The same, with a clipping norm that follows a quantile of the norms, from that of the flat clipping on: how many examples of a logical
    /// batch are within it is counted on the device and released with the sum. [`next_clip`](Self::next_clip) then moves it.
    ///
    /// # Privacy
    /// The counts can't be read: they leave with the noise that the step was charged for ([`StepNoise::draw_counts`]). A step must be charged
    /// with these counts and for the norm of [`clip`](Self::clip), or its release is refused.
    ///
    /// # Errors
    /// [`PrivacyError::NotFlat`] unless the clipping is flat, [`PrivacyError::Groups`] unless the policy has one group,
    /// [`PrivacyError::EmptyModule`].
    pub fn with_adaptive_clip(mut self, policy: AdaptiveQuantile) -> Result<Self, PrivacyError> {
        if !matches!(self.clipping, Clipping::Flat { .. }) {
            return Err(PrivacyError::NotFlat);
        }
        let tuning = self.tuning()?;
        let adaptive = AdaptiveClip::new(&Launch::new(self.client()?, &tuning), policy)?;
        self.adaptive = Some(adaptive);
        Ok(self)
    }

    /// The clipping norm of the logical batch that is being added up: what its step is to be charged for.
    #[must_use]
    pub fn clip(&self) -> f32 {
        match self.clipping {
            Clipping::Flat { clip } | Clipping::Automatic { clip, .. } => clip,
        }
    }

    /// Moves an adaptive clipping norm by the noised counts of the step that was released last, and gives it; a run that is resumed goes on with it.
    /// Between a release and the next batch, once. Waits for the device.
    ///
    /// # Privacy
    /// It follows from noised counts, which the ledger has charged: it may be stored, shown and used.
    ///
    /// # Errors
    /// [`PrivacyError::NextClip`] where no counts were released since the last call, [`PrivacyError::Read`] where the device fails.
    pub fn next_clip(&mut self) -> Result<f32, PrivacyError> {
        let (tuning, clip) = (self.tuning()?, self.clip());
        let client = self.client()?.clone();
        let adaptive = self.adaptive.as_mut().ok_or(PrivacyError::NextClip)?;
        let clip = adaptive.next_clip(&Launch::new(&client, &tuning), clip)?;
        self.clipping = Clipping::Flat { clip };
        Ok(clip)
    }

    /// What was chosen for the last microbatch, each different choice once, in the order of the layers; none before the first.
    #[must_use]
    pub fn plans(&self) -> Vec<LayerPlan> {
        let mut once: Vec<LayerPlan> = Vec::new();
        for plan in &self.planned {
            if !once.contains(plan) {
                once.push(*plan);
            }
        }
        once
    }

    /// Chooses the ways of a microbatch's Linears, unless its shapes are those of the last one.
    fn choose(&mut self, shapes: &[LayerShape]) {
        let known = self.planned.iter().map(|plan| &plan.shape);
        if !known.eq(shapes) {
            self.planned = self.planner.plan_step(shapes, self.asked);
        }
    }

    /// Adds a microbatch: runs the backward pass of `losses` and adds each example's clipped gradient.
    ///
    /// `losses` is the sum of the per-example losses, which `tape` recorded; `mask [B]` is 1 for examples that are there and 0 for
    /// padding.
    ///
    /// # Errors
    /// [`PrivacyError`] when a parameter of the module has no private gradient, is shared or used outside its layer too, was frozen or thawed since
    /// [`new`](Self::new), a layer is frozen in part, or a kernel refuses. The accumulator is then unchanged, or refuses everything from then on
    /// ([`PrivacyError::HalfDone`]): drop it.
    pub fn add(
        &mut self,
        tape: Tape,
        losses: Tensor<1>,
        mask: Tensor<1>,
    ) -> Result<(), PrivacyError> {
        self.check_whole()?;
        self.check_coverage(&tape)?;
        let mut gradients = losses.backward();
        for leaf in tape.sites.iter().flat_map(Site::leaves) {
            if leaf.has_gradient(&gradients) {
                return Err(PrivacyError::Outside(leaf.id));
            }
        }
        let sites: Vec<_> = tape
            .sites
            .into_iter()
            .filter(|site| site.leaves().any(|leaf| !self.is_frozen(leaf.id)))
            .map(|site| Traced::take(site, &mut gradients)?.by_example(self.rows_of_example))
            .collect::<Result<_, _>>()?;
        drop(gradients);

        let mask = plain(mask.inner());
        let rows = sites.first().map_or(0, Traced::rows);
        if mask.shape().num_elements() != rows {
            return Err(PrivacyError::Mask {
                mask: mask.shape().num_elements(),
                rows,
            });
        }
        let tuning = self.tuning()?;
        let shapes: Vec<_> = sites.iter().filter_map(Traced::layer_shape).collect();
        self.choose(&shapes);
        let launch = &Launch::new(&mask.client, &tuning).with_workspace(&self.workspace);
        let norms_sq = filled(&mask, [rows], 0.0);
        let mut plans = self.planned.iter();
        let summands = sites
            .into_iter()
            .map(|site| {
                let plan = site.layer_shape().and_then(|_| plans.next());
                site.with_norm_sq(launch, &norms_sq, plan)
            })
            .collect::<Result<Vec<_>, _>>()?;
        let factors = filled(&mask, [rows], 0.0);
        kernels::clip_factors(
            launch,
            &handle(&norms_sq),
            &handle(&mask),
            &handle(&factors),
            self.clipping,
        )?;
        settle("clip factors", &factors);
        let clip = self.clip();
        self.half_done = true;
        if let Some(adaptive) = &mut self.adaptive {
            adaptive.add(launch, &norms_sq, &handle(&mask), &factors, clip)?;
        }
        for summand in &summands {
            summand.add_weighted_sum(launch, &factors, |id| {
                handle(&self.sums[self.index[&id]].value)
            })?;
        }
        self.half_done = false;
        Ok(())
    }

    /// Adds the noise, divides by the expected batch size, and gives the gradients to an optimizer.
    ///
    /// `divisor` is q * N, a constant; never the number of examples drawn, which is private. A batch of no
    /// examples is released all the same, as pure noise. `noise` proves that the ledger has charged this
    /// step: it can be had from a reservation only, and is used up.
    ///
    /// # Errors
    /// [`PrivacyError`] when a number is out of range or a kernel refuses, for a step that was charged for a smaller clipping norm than these sums have
    /// ([`PrivacyError::ChargedClip`]), and for sums with an adaptive clipping norm; nothing is released then.
    ///
    /// # Privacy
    /// One Gaussian mechanism on the sum of clipped gradients. The noise of element i of parameter k is
    /// a pure function of (key, step, k, i), with the reservation's step: no two releases of a process
    /// share it.
    pub fn release(
        mut self,
        divisor: f64,
        noise: StepNoise<'_>,
        generator: Generator,
    ) -> Result<GradientsParams, PrivacyError> {
        if self.adaptive.is_some() {
            return Err(PrivacyError::WithClip);
        }
        self.add_noise(divisor, noise, generator)?;
        Ok(self.divided(divisor))
    }

    /// As [`release`](Self::release), for sums with an adaptive clipping norm: their counts are released too, and the next clipping norm is
    /// given with the gradients. Waits for the device.
    ///
    /// # Errors
    /// As there; [`PrivacyError::Counts`] and [`PrivacyError::ChargedClip`] where the step was charged for something else.
    ///
    /// # Privacy
    /// One Gaussian mechanism on the sum and the counts together, of the charge's event (docs/proofs/clipping-quantile.md).
    pub fn release_with_clip(
        mut self,
        divisor: f64,
        noise: StepNoise<'_>,
        generator: Generator,
    ) -> Result<(GradientsParams, f32), PrivacyError> {
        self.add_noise(divisor, noise, generator)?;
        let clip = self.next_clip()?;
        Ok((self.divided(divisor), clip))
    }

    fn add_noise(
        &mut self,
        divisor: f64,
        mut noise: StepNoise<'_>,
        generator: Generator,
    ) -> Result<(), PrivacyError> {
        if !(divisor.is_finite() && divisor > 0.0) {
            return Err(PrivacyError::Divisor(divisor));
        }
        self.check_whole()?;
        self.release_counts(&mut noise, generator)?;
        let tuning = self.tuning()?;
        for sum in &self.sums {
            kernels::add_gaussian_noise(
                &Launch::new(&sum.value.client, &tuning),
                &handle(&sum.value),
                noise.draw(generator),
            )?;
            settle("noise", &sum.value);
        }
        Ok(())
    }

    /// Noise into the counts of an adaptive clipping norm, before any into the sums; nothing where there are none.
    ///
    /// # Errors
    /// [`PrivacyError`] where the step was not charged for what these sums are, before anything is released.
    pub(crate) fn release_counts(
        &mut self,
        noise: &mut StepNoise<'_>,
        generator: Generator,
    ) -> Result<(), PrivacyError> {
        let (tuning, clip) = (self.tuning()?, self.clip());
        let client = self.client()?.clone();
        let charged = noise.clip();
        // Gradients are clipped to an f32: half a unit in its last place is what the slack of a clip factor leaves (docs/proofs/clipping.md).
        if (charged as f32) < clip || charged.is_nan() {
            return Err(PrivacyError::ChargedClip { clip, charged });
        }
        let Some(adaptive) = &mut self.adaptive else {
            return match noise.counts() {
                None => Ok(()),
                charged => Err(PrivacyError::Counts {
                    charged,
                    counted: None,
                }),
            };
        };
        adaptive.release(&Launch::new(&client, &tuning), noise, generator)
    }

    /// The clipped sums divided by `divisor`, WITHOUT NOISE: not private. For tests and for
    /// measuring what clipping alone does.
    #[must_use]
    pub fn without_noise_not_private(self, divisor: f64) -> GradientsParams {
        self.divided(divisor)
    }

    fn divided(self, divisor: f64) -> GradientsParams {
        let mut gradients = GradientsParams::new();
        for Sum { id, value } in self.sums {
            let scale = 1.0 / divisor;
            match value.shape().num_dims() {
                1 => gradients.register(id, wrap::<1>(value) * scale),
                2 => gradients.register(id, wrap::<2>(value) * scale),
                3 => gradients.register(id, wrap::<3>(value) * scale),
                _ => gradients.register(id, wrap::<4>(value) * scale),
            }
        }
        gradients
    }

    /// The accumulator of a parameter.
    pub(crate) fn sum(&self, id: ParamId) -> Result<&CubeTensor, PrivacyError> {
        let at = *self.index.get(&id).ok_or(PrivacyError::Unknown(id))?;
        Ok(&self.sums[at].value)
    }

    /// Whether a parameter is not trained.
    pub(crate) fn is_frozen(&self, id: ParamId) -> bool {
        self.frozen.contains(&id)
    }

    fn client(&self) -> Result<&Client, PrivacyError> {
        let first = self.sums.first().ok_or(PrivacyError::EmptyModule)?;
        Ok(&first.value.client)
    }

    /// How launches are cut on the module's device.
    pub(crate) fn tuning(&self) -> Result<Tuning, PrivacyError> {
        self.tuning.clone().ok_or(PrivacyError::EmptyModule)
    }

    /// # Errors
    /// [`PrivacyError::HalfDone`] after a call that failed on its way.
    pub(crate) fn check_whole(&self) -> Result<(), PrivacyError> {
        if self.half_done {
            return Err(PrivacyError::HalfDone);
        }
        Ok(())
    }

    /// Every trained parameter of the module exactly once, and no frozen one beside it in its layer.
    fn check_coverage(&self, tape: &Tape) -> Result<(), PrivacyError> {
        if tape.sites.is_empty() {
            return Err(PrivacyError::EmptyTape);
        }
        let is_trained = |leaf: &Leaf| !self.is_frozen(leaf.id);
        let mut used = vec![false; self.sums.len()];
        for site in &tape.sites {
            if let Some(leaf) = site
                .leaves()
                .find(|leaf| leaf.is_tracked() != is_trained(leaf))
            {
                // One that isn't in the module at all has a clearer error below.
                if !is_trained(leaf) || self.index.contains_key(&leaf.id) {
                    return Err(PrivacyError::FrozenSince(leaf.id));
                }
            }
            if !site.leaves().any(is_trained) {
                continue;
            }
            for leaf in site.leaves() {
                if !is_trained(leaf) {
                    return Err(PrivacyError::PartlyFrozen(leaf.id));
                }
                let at = *self
                    .index
                    .get(&leaf.id)
                    .ok_or(PrivacyError::Unknown(leaf.id))?;
                if std::mem::replace(&mut used[at], true) {
                    return Err(PrivacyError::Shared(leaf.id));
                }
            }
        }
        match used.iter().position(|used| !used) {
            Some(at) => Err(PrivacyError::Uncovered(self.sums[at].id)),
            None => Ok(()),
        }
    }

    /// That `module` has a parameter for each sum, and no trained one besides, trained or frozen as it was.
    ///
    /// # Errors
    /// [`PrivacyError::Absent`], [`PrivacyError::Unknown`], [`PrivacyError::FrozenSince`].
    pub(crate) fn check_module<M: Module>(&self, module: &M) -> Result<(), PrivacyError> {
        let mut there = Parameters::default();
        module.visit(&mut there);
        for (id, is_frozen) in &there.0 {
            let was_frozen = self.is_frozen(*id);
            match is_frozen {
                _ if !was_frozen && !self.index.contains_key(id) => {
                    return Err(PrivacyError::Unknown(*id));
                }
                Some(is_frozen) if *is_frozen != was_frozen => {
                    return Err(PrivacyError::FrozenSince(*id));
                }
                _ => {}
            }
        }
        let absent = |sum: &&Sum| !there.0.iter().any(|(id, _)| *id == sum.id);
        match self.sums.iter().find(absent) {
            Some(sum) => Err(PrivacyError::Absent(sum.id)),
            None => Ok(()),
        }
    }
}

/// A module's float parameters, and whether each is frozen, where its device can tell.
#[derive(Default)]
struct Parameters(Vec<(ParamId, Option<bool>)>);

impl ModuleVisitor for Parameters {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.val();
        let is_frozen = value
            .device()
            .is_autodiff()
            .then(|| !value.is_require_grad());
        self.0.push((param.id, is_frozen));
    }
}

impl ModuleVisitor for PrivateGradients {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.val();
        if value.device().is_autodiff() && !value.is_require_grad() {
            self.frozen.insert(param.id);
            return;
        }
        let value = plain(value.inner());
        self.index.insert(param.id, self.sums.len());
        self.sums.push(Sum {
            id: param.id,
            value: filled(&value, value.shape(), 0.0),
        });
    }
}

/// The tensor as dp-kernels takes it; it shares the buffer.
pub(crate) fn handle(tensor: &CubeTensor) -> TensorHandle {
    tensor.clone().into()
}
