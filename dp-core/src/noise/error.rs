//! What a request for noise can get wrong.

use core::fmt;

use super::discrete::{MAX_DISCRETE_ELEMENTS, MAX_DISCRETE_SIGMA};
use super::{Generator, RESERVED_TENSOR};

/// A request for noise that was refused; nothing has been written.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum NoiseError {
    /// The elements asked for reach beyond what the generator's counter can tell apart.
    ElementRange {
        /// Index of the first element asked for.
        first_element: u64,
        /// Number of elements asked for.
        len: u64,
        /// The generator.
        generator: Generator,
    },
    /// The standard deviation is negative, NaN, infinite, or so large that noise could overflow.
    StandardDeviation {
        /// The value given.
        std: f32,
    },
    /// The parameter of discrete noise is 0 or too large.
    DiscreteSigma {
        /// The value given, in grid steps.
        sigma: u32,
    },
    /// The elements asked for reach beyond what discrete noise can tell apart.
    DiscreteElements {
        /// Index of the first element asked for.
        first_element: u64,
        /// Number of elements asked for.
        len: u64,
    },
    /// The tensor number [`RESERVED_TENSOR`] belongs to the derivation of other keys.
    ReservedTensor,
}

impl fmt::Display for NoiseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::ElementRange {
                first_element,
                len,
                generator,
            } => write!(
                f,
                "noise elements {first_element} and the {len} from there pass the limit of {} elements a tensor with {generator:?}",
                generator.max_elements()
            ),
            Self::StandardDeviation { std } => write!(
                f,
                "noise standard deviation {std} is not between 0 and {}",
                super::MAX_STD
            ),
            Self::DiscreteSigma { sigma } => write!(
                f,
                "discrete noise of parameter {sigma}, not between 1 and {MAX_DISCRETE_SIGMA}"
            ),
            Self::DiscreteElements { first_element, len } => write!(
                f,
                "noise elements {first_element} and the {len} from there pass the limit of {MAX_DISCRETE_ELEMENTS} elements a tensor"
            ),
            Self::ReservedTensor => {
                write!(f, "tensor number {RESERVED_TENSOR} is reserved")
            }
        }
    }
}

impl core::error::Error for NoiseError {}
