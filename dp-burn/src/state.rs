//! Parameters out of a module and back into it, by name.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{Tensor, TensorData};
use std::collections::HashMap;
use thiserror::Error;

/// A parameter's values on the host, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedTensor {
    /// The path in the module, parts joined by dots.
    pub name: String,
    /// The extents.
    pub shape: Vec<usize>,
    /// The elements.
    pub values: Vec<f32>,
}

/// Why parameters don't fit into a module.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum StateError {
    /// The module has a parameter that the tensors lack.
    #[error("parameter {0} is missing from the saved model")]
    Missing(String),
    /// The shapes differ.
    #[error(
        "parameter {name} has shape {expected:?} in this model and {actual:?} in the saved one: use the sizes that it was trained with"
    )]
    Shape {
        /// The parameter.
        name: String,
        /// The module's.
        expected: Vec<usize>,
        /// The saved one's.
        actual: Vec<usize>,
    },
    /// The tensors have a parameter that the module lacks.
    #[error(
        "the saved model has a parameter {0} that this model lacks: use the sizes that it was trained with"
    )]
    Unknown(String),
    /// The device could not give a tensor's values.
    #[error("parameter {name} could not be read from the device: {reason}")]
    Read {
        /// The parameter.
        name: String,
        /// What the device said.
        reason: String,
    },
}

/// The float parameters of `module`, in the order in which burn visits them.
///
/// # Errors
/// [`StateError::Read`] when the device fails.
pub fn export<M: Module>(module: &M) -> Result<Vec<NamedTensor>, StateError> {
    let mut exporter = Exporter {
        path: Vec::new(),
        tensors: Vec::new(),
        error: None,
    };
    module.visit(&mut exporter);
    exporter.error.map_or(Ok(exporter.tensors), Err)
}

/// `module` with the values of `tensors`.
///
/// # Errors
/// [`StateError`] when a name or a shape doesn't fit.
pub fn import<M: Module>(module: M, tensors: Vec<NamedTensor>) -> Result<M, StateError> {
    let tensors = tensors.into_iter().map(|t| (t.name.clone(), t)).collect();
    let mut importer = Importer {
        path: Vec::new(),
        tensors,
        error: None,
    };
    let module = module.map(&mut importer);
    if let Some(error) = importer.error {
        return Err(error);
    }
    match importer.tensors.into_keys().min() {
        Some(name) => Err(StateError::Unknown(name)),
        None => Ok(module),
    }
}

struct Exporter {
    path: Vec<String>,
    tensors: Vec<NamedTensor>,
    error: Option<StateError>,
}

impl ModuleVisitor for Exporter {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let name = self.path.join(".");
        let tensor = param.val();
        let shape = tensor.dims().to_vec();
        match tensor.into_data().try_to_vec::<f32>() {
            Ok(values) => self.tensors.push(NamedTensor {
                name,
                shape,
                values,
            }),
            Err(e) => {
                self.error = Some(StateError::Read {
                    name,
                    reason: format!("{e:?}"),
                })
            }
        }
    }
}

struct Importer {
    path: Vec<String>,
    tensors: HashMap<String, NamedTensor>,
    error: Option<StateError>,
}

impl ModuleMapper for Importer {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let name = self.path.join(".");
        let (id, tensor, mapper): (ParamId, Tensor<D>, _) = param.consume();
        let expected = tensor.dims().to_vec();
        let loaded = match self.tensors.remove(&name) {
            None => Err(StateError::Missing(name)),
            Some(saved) if saved.shape != expected => Err(StateError::Shape {
                name,
                expected,
                actual: saved.shape,
            }),
            Some(saved) => {
                let data = TensorData::new(saved.values, saved.shape);
                let loaded = Tensor::<D>::from_data(data, &tensor.device());
                Ok(if tensor.is_require_grad() {
                    loaded.require_grad()
                } else {
                    loaded
                })
            }
        };
        let value = loaded.unwrap_or_else(|error| {
            self.error.get_or_insert(error);
            tensor
        });
        Param::from_mapped_value(id, value, mapper)
    }
}
