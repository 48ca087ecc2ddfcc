//! A layer's inputs and output gradients as one backward pass left them, what is kept of them once their norms are known, and the launchers that take
//! both.

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
    Embedding {
        table: ParamId,
        ids: CubeTensor,
        g: CubeTensor,
    },
    Position {
        table: ParamId,
        g: CubeTensor,
    },
    /// The backward pass formed each example's gradients, `[B, p]`.
    LayerNorm {
        gain: Formed,
        bias: Formed,
    },
}

/// Each example's gradient of a parameter, `[B, ..]`.
pub(crate) struct Formed {
    parameter: ParamId,
    gradients: CubeTensor,
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
                weight: weight.id,
                bias: bias.id,
                a: plain(input),
                g: caught(&tap, weight.id)?,
            },
            Site::Embedding { table, ids, tap } => Self::Embedding {
                table: table.id,
                ids: integers(ids),
                g: caught(&tap, table.id)?,
            },
            Site::Position { table, tap } => Self::Position {
                table: table.id,
                g: caught(&tap, table.id)?,
            },
            Site::LayerNorm {
                gain,
                bias,
                tap_gain,
                tap_bias,
            } => Self::LayerNorm {
                gain: Formed {
                    parameter: gain.id,
                    gradients: caught(&tap_gain, gain.id)?,
                },
                bias: Formed {
                    parameter: bias.id,
                    gradients: caught(&tap_bias, bias.id)?,
                },
            },
        })
    }

    /// The same, with so many rows in turn as one example: `[B k, T, ..]` as `[B, k T, ..]`. A position's gradients are added up over
    /// the rows, since it is the same parameter in each, and so are gradients that are formed.
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
            Self::LayerNorm { gain, bias } => Self::LayerNorm {
                gain: gain.by_example(rows),
                bias: bias.by_example(rows),
            },
        })
    }

    pub fn rows(&self) -> usize {
        match self {
            Self::Linear { g, .. } | Self::Embedding { g, .. } | Self::Position { g, .. } => {
                g.shape()[0]
            }
            Self::LayerNorm { gain, .. } => gain.gradients.shape()[0],
        }
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

    /// Adds the squared norms of the examples' gradients at this site, as planned; gives what the weighted sum is to be taken of.
    pub fn with_norm_sq(
        self,
        launch: &Launch<'_>,
        norms_sq: &CubeTensor,
        plan: Option<&LayerPlan>,
    ) -> Result<Summand, KernelError> {
        let norms = &handle(norms_sq);
        let (of_norm, summand) = match self {
            Self::Linear { weight, bias, a, g } => {
                let [b, t, d] = a.shape().dims();
                let extents = vec![b, t, d, g.shape()[2]];
                if plan.is_some_and(|plan| plan.kept.is_some()) {
                    let formed = keep(launch, [weight, bias], &a, &g, norms)?;
                    let sum = ("linear kept sum", extents);
                    ("linear kept", Summand::of(None, formed, sum))
                } else {
                    let how = plan.map_or(LinearNorm::Auto, |plan| plan.how);
                    let bias = with_bias(launch, bias, &a, &g, norms, how)?;
                    let of_tokens = OfTokens::Linear { weight, a, g };
                    let sum = ("linear sum", extents);
                    ("linear norm", Summand::of(Some(of_tokens), [bias], sum))
                }
            }
            Self::Embedding { table, ids, g } => {
                kernels::embedding_norm_sq(launch, &handle(&ids), &handle(&g), norms)?;
                let sum = ("embedding sum", g.shape().to_vec());
                let of_tokens = OfTokens::Embedding { table, ids, g };
                ("embedding norm", Summand::of(Some(of_tokens), [], sum))
            }
            Self::Position { table, g } => {
                kernels::position_norm_sq(launch, &handle(&g), norms)?;
                let sum = ("position sum", g.shape().to_vec());
                let of_tokens = OfTokens::Position { table, g };
                ("position norm", Summand::of(Some(of_tokens), [], sum))
            }
            Self::LayerNorm { gain, bias } => {
                gain.add_norm_sq(launch, norms)?;
                bias.add_norm_sq(launch, norms)?;
                let sum = ("layer norm sum", gain.gradients.shape().to_vec());
                ("layer norm norm", Summand::of(None, [gain, bias], sum))
            }
        };
        settle_of(of_norm, norms_sq, &summand.extents);
        Ok(summand)
    }
}

/// The norm of a Linear's weight and bias together, with the bias's gradients, which are no more than a row an example.
fn with_bias(
    launch: &Launch<'_>,
    bias: ParamId,
    a: &CubeTensor,
    g: &CubeTensor,
    norms: &TensorHandle,
    how: LinearNorm,
) -> Result<Formed, KernelError> {
    let [b, t, p] = g.shape().dims();
    let (handle_a, handle_g) = (handle(a), handle(g));
    if t == 1 {
        // G are the bias's gradients.
        kernels::linear_and_bias_norm_sq(launch, &handle_a, &handle_g, norms, None, how)?;
        return Ok(Formed {
            parameter: bias,
            gradients: CubeBackend::float_reshape(g.clone(), Shape::from([b, p])),
        });
    }
    let gradients = empty(g, [b, p]);
    let kept = handle(&gradients);
    kernels::linear_and_bias_norm_sq(launch, &handle_a, &handle_g, norms, Some(&kept), how)?;
    Ok(Formed {
        parameter: bias,
        gradients,
    })
}

/// Both of a Linear's gradients formed, with their norms.
fn keep(
    launch: &Launch<'_>,
    [weight, bias]: [ParamId; 2],
    a: &CubeTensor,
    g: &CubeTensor,
    norms: &TensorHandle,
) -> Result<[Formed; 2], KernelError> {
    let ([b, _, d], [_, _, p]) = (a.shape().dims(), g.shape().dims());
    let weight = Formed {
        parameter: weight,
        gradients: empty(g, [b, d, p]),
    };
    let bias = Formed {
        parameter: bias,
        gradients: empty(g, [b, p]),
    };
    let of_weight = handle(&weight.gradients);
    kernels::keep_linear_gradients(launch, &handle(a), &handle(g), &of_weight, norms)?;
    kernels::bias_gradients(launch, &handle(g), &handle(&bias.gradients))?;
    bias.add_norm_sq(launch, norms)?;
    Ok([weight, bias])
}

impl Formed {
    fn by_example(self, rows: usize) -> Self {
        let [all, width] = self.gradients.shape().dims();
        let apart = wrap::<2>(self.gradients).reshape([all / rows, rows, width]);
        Self {
            gradients: plain(apart.sum_dim(1).reshape([all / rows, width])),
            ..self
        }
    }

    fn add_norm_sq(&self, launch: &Launch<'_>, norms: &TensorHandle) -> Result<(), KernelError> {
        kernels::gradient_norm_sq(launch, &handle(&self.gradients), norms)
    }

    fn add_weighted_sum(
        &self,
        launch: &Launch<'_>,
        factors: &TensorHandle,
        sum: impl Fn(ParamId) -> TensorHandle,
    ) -> Result<(), KernelError> {
        let (gradients, sum) = (handle(&self.gradients), sum(self.parameter));
        kernels::weighted_sum_gradient(launch, &gradients, factors, &sum)
    }
}

/// What the weighted sum of a site is taken of, once its norms are known.
pub(crate) struct Summand {
    of_tokens: Option<OfTokens>,
    /// Gradients that are formed: of a LayerNorm, of a Linear's bias, and of its weight where they are kept.
    formed: Vec<Formed>,
    /// What a profile calls the sum, and says of it.
    name: &'static str,
    extents: Vec<usize>,
}

/// A parameter whose sum takes every token again.
enum OfTokens {
    Linear {
        weight: ParamId,
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
}

impl Summand {
    fn of<const N: usize>(
        of_tokens: Option<OfTokens>,
        formed: [Formed; N],
        (name, extents): (&'static str, Vec<usize>),
    ) -> Self {
        Self {
            of_tokens,
            formed: formed.into(),
            name,
            extents,
        }
    }

    /// Adds `sum_b c_b g_b` of this site's parameters into their accumulators.
    pub fn add_weighted_sum(
        &self,
        launch: &Launch<'_>,
        factors: &CubeTensor,
        sum: impl Fn(ParamId) -> TensorHandle,
    ) -> Result<(), KernelError> {
        let c = &handle(factors);
        match &self.of_tokens {
            Some(OfTokens::Linear { weight, a, g }) => {
                kernels::weighted_sum_linear(launch, &handle(a), &handle(g), c, &sum(*weight))?;
            }
            Some(OfTokens::Embedding { table, ids, g }) => {
                let (ids, g, table) = (handle(ids), handle(g), sum(*table));
                kernels::weighted_sum_embedding(launch, &ids, &g, c, &table)?;
            }
            Some(OfTokens::Position { table, g }) => {
                kernels::weighted_sum_position(launch, &handle(g), c, &sum(*table))?;
            }
            None => {}
        }
        for formed in &self.formed {
            formed.add_weighted_sum(launch, c, &sum)?;
        }
        settle_of(self.name, factors, &self.extents);
        Ok(())
    }
}
