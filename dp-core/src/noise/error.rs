//! What a request for noise can get wrong.

use core::fmt;

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
    /// The tensor number [`RESERVED_TENSOR`] belongs to the sampler's key derivation.
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
            Self::ReservedTensor => {
                write!(f, "tensor number {RESERVED_TENSOR} is reserved")
            }
        }
    }
}

impl core::error::Error for NoiseError {}
