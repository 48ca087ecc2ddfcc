//! Clipped, summed and noised gradients of a logical batch.

use crate::error::PrivacyError;
use crate::kernels::{filled, settle, settle_of};
use crate::ops::{integers, plain, wrap};
use crate::tape::{Site, Tape};
use burn::backend::TensorMetadata;
use burn::backend::ops::{FloatTensorOps, IntTensorOps};
use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{Gradients, Shape, Tensor};
use burn_cubecl::{CubeBackend, tensor::CubeTensor};
use cubecl::std::tensor::TensorHandle;
use dp_core::clipping::Clipping;
use dp_core::noise::Generator;
use dp_engine::keys::StepNoise;
use dp_kernels::{
    self as kernels, KernelError, Launch, LayerPlan, LayerShape, LinearNorm, Planner, Tuning,
    Workspace,
};
use std::collections::HashMap;

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
    tuning: Option<Tuning>,
    planner: Planner,
    asked: LinearNorm,
    plans: Vec<LayerPlan>,
    rows_of_example: usize,
    /// What the launchers write and read back themselves; it grows in the first microbatch.
    workspace: Workspace,
}

/// One parameter's accumulator; its place in the list is its tensor number in the noise's counter.
struct Sum {
    id: ParamId,
    value: CubeTensor,
}

impl PrivateGradients {
    /// Zero sums for every parameter of `module`, in the order in which burn visits them.
    ///
    /// # Panics
    /// Panics when the module's device is not a CubeCL device.
    #[must_use]
    pub fn new<M: Module>(module: &M, clipping: Clipping) -> Self {
        let mut gradients = Self {
            clipping,
            sums: Vec::new(),
            index: HashMap::new(),
            tuning: None,
            planner: Planner::by_rule(),
            asked: LinearNorm::Auto,
            plans: Vec::new(),
            rows_of_example: 1,
            workspace: Workspace::growing(),
        };
        module.visit(&mut gradients);
        gradients.tuning = gradients
            .sums
            .first()
            .map(|sum| Tuning::for_client(&sum.value.client));
        gradients
    }

    /// The same, with each Linear's norm taken the way that `planner` chooses for its shape; anything but
    /// [`LinearNorm::Auto`] as `asked` overrides it. Without this it is the rule of [`LinearNorm::Auto`].
    ///
    /// Either way gives the same norm to rounding: a choice changes time, never the guarantee.
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

    /// What was chosen so far, once for each shape, in the order in which they were met.
    #[must_use]
    pub fn plans(&self) -> &[LayerPlan] {
        &self.plans
    }

    /// The way of a Linear's norm; of no meaning for another layer.
    fn plan(&mut self, site: &Traced) -> LinearNorm {
        let Some(shape) = site.layer_shape() else {
            return LinearNorm::Auto;
        };
        if let Some(known) = self.plans.iter().find(|plan| plan.shape == shape) {
            return known.how;
        }
        let plan = self.planner.plan(shape, self.asked);
        self.plans.push(plan);
        plan.how
    }

    /// Adds a microbatch: runs the backward pass of `losses` and adds each example's clipped gradient.
    ///
    /// `losses` is the sum of the per-example losses, which `tape` recorded; `mask [B]` is 1 for examples that are there and 0 for
    /// padding.
    ///
    /// # Errors
    /// [`PrivacyError`] when a parameter of the module has no private gradient, is shared, or a kernel
    /// refuses. The accumulator is then unchanged or unusable: drop it, release nothing.
    pub fn add(
        &mut self,
        tape: Tape,
        losses: Tensor<1>,
        mask: Tensor<1>,
    ) -> Result<(), PrivacyError> {
        self.check_coverage(&tape)?;
        let mut gradients = losses.backward();
        let sites = tape
            .sites
            .into_iter()
            .map(|site| Traced::take(site, &mut gradients)?.by_example(self.rows_of_example))
            .collect::<Result<Vec<_>, _>>()?;
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
        let hows: Vec<_> = sites.iter().map(|site| self.plan(site)).collect();
        let launch = &Launch::new(&mask.client, &tuning).with_workspace(&self.workspace);
        let norms_sq = filled(&mask, [rows], 0.0);
        for (site, how) in sites.iter().zip(hows) {
            site.add_norm_sq(launch, &handle(&norms_sq), how)?;
            settle_of(site.names().0, &norms_sq, &site.extents());
        }
        let factors = filled(&mask, [rows], 0.0);
        kernels::clip_factors(
            launch,
            &handle(&norms_sq),
            &handle(&mask),
            &handle(&factors),
            self.clipping,
        )?;
        settle("clip factors", &factors);
        for site in &sites {
            site.add_weighted_sum(launch, &handle(&factors), |id| {
                handle(&self.sums[self.index[&id]].value)
            })?;
            settle_of(site.names().1, &factors, &site.extents());
        }
        Ok(())
    }

    /// Adds the noise, divides by the expected batch size, and gives the gradients to an optimizer.
    ///
    /// `divisor` is q * N, a constant; never the number of examples drawn, which is private. A batch of no
    /// examples is released all the same, as pure noise. `noise` proves that the ledger has charged this
    /// step: it can be had from a reservation only, and is used up.
    ///
    /// # Errors
    /// [`PrivacyError`] when a number is out of range or a kernel refuses; nothing is released then.
    ///
    /// # Privacy
    /// One Gaussian mechanism on the sum of clipped gradients. The noise of element i of parameter k is
    /// a pure function of (key, step, k, i), with the reservation's step: no two releases of a process
    /// share it.
    pub fn release(
        self,
        divisor: f64,
        mut noise: StepNoise<'_>,
        generator: Generator,
    ) -> Result<GradientsParams, PrivacyError> {
        if !(divisor.is_finite() && divisor > 0.0) {
            return Err(PrivacyError::Divisor(divisor));
        }
        let tuning = self.tuning()?;
        for sum in &self.sums {
            kernels::add_gaussian_noise(
                &Launch::new(&sum.value.client, &tuning),
                &handle(&sum.value),
                noise.draw(generator),
            )?;
            settle("noise", &sum.value);
        }
        Ok(self.divided(divisor))
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

    /// How launches are cut on the module's device.
    pub(crate) fn tuning(&self) -> Result<Tuning, PrivacyError> {
        self.tuning.clone().ok_or(PrivacyError::EmptyModule)
    }

    /// Every parameter of the module exactly once.
    fn check_coverage(&self, tape: &Tape) -> Result<(), PrivacyError> {
        if tape.sites.is_empty() {
            return Err(PrivacyError::EmptyTape);
        }
        let mut used = vec![false; self.sums.len()];
        for id in tape.sites.iter().flat_map(Site::parameters) {
            let at = *self.index.get(&id).ok_or(PrivacyError::Unknown(id))?;
            if std::mem::replace(&mut used[at], true) {
                return Err(PrivacyError::Shared(id));
            }
        }
        match used.iter().position(|used| !used) {
            Some(at) => Err(PrivacyError::Uncovered(self.sums[at].id)),
            None => Ok(()),
        }
    }
}

impl ModuleVisitor for PrivateGradients {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = plain(param.val().inner());
        self.index.insert(param.id, self.sums.len());
        self.sums.push(Sum {
            id: param.id,
            value: filled(&value, value.shape(), 0.0),
        });
    }
}

/// A site with what its taps caught.
enum Traced {
    Linear {
        weight: ParamId,
        bias: ParamId,
        a: CubeTensor,
        g: CubeTensor,
    },
    Embedding {
        table: ParamId,
        ids: CubeTensor,
        g: CubeTensor,
    },
    Position {
        table: ParamId,
        g: CubeTensor,
    },
    LayerNorm {
        gain: ParamId,
        bias: ParamId,
        xhat: CubeTensor,
        g: CubeTensor,
    },
}

impl Traced {
    fn take(site: Site, gradients: &mut Gradients) -> Result<Self, PrivacyError> {
        let mut caught = |tap: &Tensor<1>, id: ParamId| {
            tap.grad_remove(gradients)
                .map(plain)
                .ok_or(PrivacyError::Unreached(id))
        };
        Ok(match site {
            Site::Linear {
                weight,
                bias,
                input,
                tap,
            } => Self::Linear {
                weight,
                bias,
                a: plain(input),
                g: caught(&tap, weight)?,
            },
            Site::Embedding { table, ids, tap } => Self::Embedding {
                table,
                ids: integers(ids),
                g: caught(&tap, table)?,
            },
            Site::Position { table, tap } => Self::Position {
                table,
                g: caught(&tap, table)?,
            },
            Site::LayerNorm {
                gain,
                bias,
                tap,
                tap_input,
            } => Self::LayerNorm {
                gain,
                bias,
                xhat: caught(&tap_input, gain)?,
                g: caught(&tap, gain)?,
            },
        })
    }

    /// The same, with so many rows in turn as one example: `[B k, T, ..]` as `[B, k T, ..]`. A position's gradients are added up over
    /// the rows, since it is the same parameter in each.
    fn by_example(self, rows: usize) -> Result<Self, PrivacyError> {
        let all = self.rows();
        if rows == 1 {
            return Ok(self);
        }
        if !all.is_multiple_of(rows) {
            return Err(PrivacyError::RowsOfExample {
                rows: all,
                of_example: rows,
            });
        }
        let examples = all / rows;
        let joined = |tensor: CubeTensor| {
            let [_, tokens, width] = tensor.shape().dims();
            CubeBackend::float_reshape(tensor, Shape::from([examples, rows * tokens, width]))
        };
        Ok(match self {
            Self::Linear { weight, bias, a, g } => Self::Linear {
                weight,
                bias,
                a: joined(a),
                g: joined(g),
            },
            Self::Embedding { table, ids, g } => {
                let [_, tokens] = ids.shape().dims();
                let shape = Shape::from([examples, rows * tokens]);
                Self::Embedding {
                    table,
                    ids: CubeBackend::int_reshape(ids, shape),
                    g: joined(g),
                }
            }
            Self::Position { table, g } => {
                let [_, tokens, width] = g.shape().dims();
                let apart = wrap::<3>(g).reshape([examples, rows, tokens * width]);
                let sum = apart.sum_dim(1).reshape([examples, tokens, width]);
                Self::Position {
                    table,
                    g: plain(sum),
                }
            }
            Self::LayerNorm {
                gain,
                bias,
                xhat,
                g,
            } => Self::LayerNorm {
                gain,
                bias,
                xhat: joined(xhat),
                g: joined(g),
            },
        })
    }

    fn g(&self) -> &CubeTensor {
        match self {
            Self::Linear { g, .. }
            | Self::Embedding { g, .. }
            | Self::Position { g, .. }
            | Self::LayerNorm { g, .. } => g,
        }
    }

    fn rows(&self) -> usize {
        self.g().shape()[0]
    }

    /// What the choice of a Linear's way depends on.
    fn layer_shape(&self) -> Option<LayerShape> {
        let Self::Linear { a, g, .. } = self else {
            return None;
        };
        let ([examples, tokens, inputs], [_, _, outputs]) = (a.shape().dims(), g.shape().dims());
        Some(LayerShape {
            examples,
            tokens,
            inputs,
            outputs,
            element_bytes: size_of::<f32>(),
        })
    }

    /// What a profile calls the site's norm and its weighted sum.
    fn names(&self) -> (&'static str, &'static str) {
        match self {
            Self::Linear { .. } => ("linear norm", "linear sum"),
            Self::Embedding { .. } => ("embedding norm", "embedding sum"),
            Self::Position { .. } => ("position norm", "position sum"),
            Self::LayerNorm { .. } => ("layer norm norm", "layer norm sum"),
        }
    }

    /// What a profile says of the site: `[B, T, d, p]` of a Linear, otherwise the extents of G.
    fn extents(&self) -> Vec<usize> {
        let g = self.g().shape();
        match self {
            Self::Linear { a, .. } => vec![g[0], g[1], a.shape()[2], g[2]],
            _ => g.to_vec(),
        }
    }

    /// Adds the squared norms of the examples' gradients at this site.
    fn add_norm_sq(
        &self,
        launch: &Launch<'_>,
        norms_sq: &TensorHandle,
        how: LinearNorm,
    ) -> Result<(), KernelError> {
        let g = &handle(self.g());
        match self {
            Self::Linear { a, .. } => {
                kernels::linear_norm_sq(launch, &handle(a), g, norms_sq, how)?;
                kernels::bias_norm_sq(launch, g, norms_sq)
            }
            Self::Embedding { ids, .. } => {
                kernels::embedding_norm_sq(launch, &handle(ids), g, norms_sq)
            }
            Self::Position { .. } => kernels::position_norm_sq(launch, g, norms_sq),
            Self::LayerNorm { xhat, .. } => {
                kernels::scale_norm_sq(launch, &handle(xhat), g, norms_sq)?;
                kernels::bias_norm_sq(launch, g, norms_sq)
            }
        }
    }

    /// Adds `sum_b c_b g_b` of this site's parameters into their accumulators.
    fn add_weighted_sum(
        &self,
        launch: &Launch<'_>,
        factors: &TensorHandle,
        sum: impl Fn(ParamId) -> TensorHandle,
    ) -> Result<(), KernelError> {
        let g = &handle(self.g());
        match self {
            Self::Linear {
                weight, bias, a, ..
            } => {
                kernels::weighted_sum_linear(launch, &handle(a), g, factors, &sum(*weight))?;
                kernels::weighted_sum_bias(launch, g, factors, &sum(*bias))
            }
            Self::Embedding { table, ids, .. } => {
                kernels::weighted_sum_embedding(launch, &handle(ids), g, factors, &sum(*table))
            }
            Self::Position { table, .. } => {
                kernels::weighted_sum_position(launch, g, factors, &sum(*table))
            }
            Self::LayerNorm {
                gain, bias, xhat, ..
            } => {
                kernels::weighted_sum_scale(launch, &handle(xhat), g, factors, &sum(*gain))?;
                kernels::weighted_sum_bias(launch, g, factors, &sum(*bias))
            }
        }
    }
}

impl Site {
    fn parameters(&self) -> impl Iterator<Item = ParamId> {
        let (first, second) = match self {
            Self::Linear { weight, bias, .. } => (*weight, Some(*bias)),
            Self::LayerNorm { gain, bias, .. } => (*gain, Some(*bias)),
            Self::Embedding { table, .. } | Self::Position { table, .. } => (*table, None),
        };
        std::iter::once(first).chain(second)
    }
}

/// The tensor as dp-kernels takes it; it shares the buffer.
pub(crate) fn handle(tensor: &CubeTensor) -> TensorHandle {
    tensor.clone().into()
}
