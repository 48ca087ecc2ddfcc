//! The optimizer of a run, with what it keeps in a checkpoint.

use std::borrow::Cow;

use burn::optim::{ModuleOptimizer, OptimizerRecord};
use burn::tensor::Bytes;
use dp_burn::{AdamW, NamedTensor, PrivateAdamW, Transformer};
use dp_engine::checkpoint::{Dtype, Tensor};

use crate::error::Failure;
use crate::model::named;

/// AdamW's second-moment decay: half-life of a few hundred steps, as short runs need.
const BETA_2: f32 = 0.99;

/// AdamW, of a private run or of an ordinary one.
pub enum Optimizer {
    /// Takes clipped sums and draws the noise in its own pass.
    Private(PrivateAdamW),
    /// Takes ordinary gradients.
    Ordinary(ModuleOptimizer),
}

impl Optimizer {
    /// The optimizer of a run at its start.
    pub fn new(private: bool) -> Self {
        let rule = AdamW {
            beta_2: BETA_2,
            ..AdamW::default()
        };
        if private {
            Self::Private(PrivateAdamW::new(rule))
        } else {
            Self::Ordinary(rule.into())
        }
    }

    /// What a checkpoint keeps of it.
    pub fn save(&self, model: &Transformer) -> Result<Vec<Tensor<'static>>, Failure> {
        match self {
            Self::Private(optimizer) => {
                let state = optimizer.state(model)?.into_iter();
                Ok(state
                    .map(|tensor| {
                        let NamedTensor {
                            name,
                            shape,
                            values,
                        } = tensor;
                        Tensor::from_f32(name, shape, &values)
                    })
                    .collect())
            }
            Self::Ordinary(optimizer) => {
                let bytes = optimizer.to_record().into_bytes().map_err(|error| {
                    Failure::new(format!(
                        "the optimizer's state cannot be written: {error:?}"
                    ))
                })?;
                Ok(vec![Tensor {
                    name: "burnpack".into(),
                    dtype: Dtype::U8,
                    shape: vec![bytes.len()],
                    bytes: Cow::Owned(bytes.to_vec()),
                }])
            }
        }
    }

    /// This optimizer, as it was after `steps` steps.
    pub fn load(
        self,
        model: &Transformer,
        steps: u64,
        tensors: Vec<Tensor<'_>>,
    ) -> Result<Self, Failure> {
        match self {
            Self::Private(optimizer) => {
                let named = tensors.iter().map(named).collect::<Result<_, _>>()?;
                Ok(Self::Private(optimizer.load(model, steps, named)?))
            }
            Self::Ordinary(optimizer) => {
                let Some(state) = tensors.into_iter().next() else {
                    return Err(Failure::new(
                        "the checkpoint holds no optimizer state; start again with another --out",
                    ));
                };
                let bytes = Bytes::from_bytes_vec(state.bytes.into_owned());
                let record = OptimizerRecord::from_bytes(bytes).map_err(|error| {
                    Failure::new(format!("the optimizer's state cannot be read: {error:?}"))
                })?;
                Ok(Self::Ordinary(optimizer.load_record(record)))
            }
        }
    }
}
