//! A layer's inputs and output gradients as one backward pass left them, and the launchers that take them.

use crate::error::PrivacyError;
use crate::gradients::handle;
use crate::kernels::{empty, settle_of};
use crate::ops::{integers, plain, wrap};
use crate::tape::Site;
use burn::backend::TensorMetadata;
use burn::backend::ops::{FloatTensorOps, IntTensorOps};
use burn::module::ParamId;
use burn::tensor::{Gradients, Shape, Tensor};
use burn_cubecl::{CubeBackend, tensor::CubeTensor};
use cubecl::std::tensor::TensorHandle;
use dp_kernels::{self as kernels, KernelError, Launch, LayerPlan, LayerShape, LinearNorm};

/// A site with what its taps caught.
pub(crate) enum Traced {
    Linear {
        weight: ParamId,
        bias: ParamId,
        a: CubeTensor,
        g: CubeTensor,
    },
    /// A Linear whose examples' weight gradients were formed with their norms: A isn't needed any more.
    KeptLinear {
        weight: ParamId,
        bias: ParamId,
        gradients: CubeTensor,
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
    pub fn take(site: Site, gradients: &mut Gradients) -> Result<Self, PrivacyError> {
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
    pub fn by_example(self, rows: usize) -> Result<Self, PrivacyError> {
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
            // Made of whole examples, later.
            Self::KeptLinear { .. } => self,
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

    pub fn g(&self) -> &CubeTensor {
        match self {
            Self::Linear { g, .. }
            | Self::KeptLinear { g, .. }
            | Self::Embedding { g, .. }
            | Self::Position { g, .. }
            | Self::LayerNorm { g, .. } => g,
        }
    }

    pub fn rows(&self) -> usize {
        self.g().shape()[0]
    }

    /// What the choice of a Linear's way depends on.
    pub fn layer_shape(&self) -> Option<LayerShape> {
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
    pub fn names(&self) -> (&'static str, &'static str) {
        match self {
            Self::Linear { .. } => ("linear norm", "linear sum"),
            Self::KeptLinear { .. } => ("linear kept", "linear kept sum"),
            Self::Embedding { .. } => ("embedding norm", "embedding sum"),
            Self::Position { .. } => ("position norm", "position sum"),
            Self::LayerNorm { .. } => ("layer norm norm", "layer norm sum"),
        }
    }

    /// What a profile says of the site: `[B, T, d, p]` of a Linear, otherwise the extents of G.
    pub fn extents(&self) -> Vec<usize> {
        let g = self.g().shape();
        match self {
            Self::Linear { a, .. } => vec![g[0], g[1], a.shape()[2], g[2]],
            Self::KeptLinear { gradients, .. } => vec![g[0], g[1], gradients.shape()[1], g[2]],
            _ => g.to_vec(),
        }
    }

    /// Adds the squared norms of the examples' gradients at this site, as planned; gives what the weighted sum is to be taken of.
    ///
    /// A Linear's gradients that are kept take the place of A.
    pub fn with_norm_sq(
        self,
        launch: &Launch<'_>,
        norms_sq: &CubeTensor,
        plan: Option<&LayerPlan>,
    ) -> Result<Self, KernelError> {
        let norms = &handle(norms_sq);
        let g = &handle(self.g());
        let site = match (self, plan) {
            (Self::Linear { weight, bias, a, g }, Some(LayerPlan { kept: Some(_), .. })) => {
                let [rows, _, inputs] = a.shape().dims();
                let gradients = empty(&g, [rows, inputs, g.shape()[2]]);
                kernels::keep_linear_gradients(
                    launch,
                    &handle(&a),
                    &handle(&g),
                    &handle(&gradients),
                    norms,
                )?;
                kernels::bias_norm_sq(launch, &handle(&g), norms)?;
                Self::KeptLinear {
                    weight,
                    bias,
                    gradients,
                    g,
                }
            }
            (site, plan) => {
                match &site {
                    Self::Linear { a, .. } => {
                        let how = plan.map_or(LinearNorm::Auto, |plan| plan.how);
                        kernels::linear_and_bias_norm_sq(launch, &handle(a), g, norms, how)?;
                    }
                    // Its norm was added when its gradients were made.
                    Self::KeptLinear { .. } => {}
                    Self::Embedding { ids, .. } => {
                        kernels::embedding_norm_sq(launch, &handle(ids), g, norms)?;
                    }
                    Self::Position { .. } => kernels::position_norm_sq(launch, g, norms)?,
                    Self::LayerNorm { xhat, .. } => {
                        kernels::scale_and_bias_norm_sq(launch, &handle(xhat), g, norms)?;
                    }
                }
                site
            }
        };
        settle_of(site.names().0, norms_sq, &site.extents());
        Ok(site)
    }

    /// Adds `sum_b c_b g_b` of this site's parameters into their accumulators.
    pub fn add_weighted_sum(
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
            Self::KeptLinear {
                weight,
                bias,
                gradients,
                ..
            } => {
                let gradients = handle(gradients);
                kernels::weighted_sum_gradient(launch, &gradients, factors, &sum(*weight))?;
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
