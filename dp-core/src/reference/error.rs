//! Arguments that do not fit together.

use core::fmt;

use crate::noise::NoiseError;
use crate::update::UpdateError;

/// Arguments that do not fit together; nothing has been written.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum ReferenceError {
    /// An operand has the wrong number of elements for the other operands' shapes.
    Length {
        /// Which one.
        operand: Operand,
        /// Elements it should have.
        expected: usize,
        /// Elements it has.
        actual: usize,
    },
    /// Two operands disagree about one of their three axes.
    Axis {
        /// The operand that disagrees with the one before it.
        operand: Operand,
        /// Axis, 0 to 2.
        axis: usize,
        /// Size it should have.
        expected: usize,
        /// Size it has.
        actual: usize,
    },
    /// A shape has more elements than memory can address.
    TooLarge {
        /// The shape.
        shape: [usize; 3],
    },
    /// A token is not in the vocabulary.
    Token {
        /// The token.
        id: u32,
        /// Rows of the embedding.
        vocabulary: usize,
    },
    /// The noise request was refused.
    Noise(NoiseError),
    /// A number of the update was refused.
    Update(UpdateError),
}

/// An argument of a reference function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operand {
    /// The data of a three-axis tensor.
    Data,
    /// Layer inputs, `a`.
    Inputs,
    /// Output gradients, `g`.
    Gradients,
    /// Normalised inputs, `xhat`.
    Normalised,
    /// Token numbers.
    Ids,
    /// Squared norms.
    Norms,
    /// The mask of real examples.
    Mask,
    /// Clip factors.
    Factors,
    /// The left matrix of a product.
    Left,
    /// The right matrix of a product.
    Right,
    /// The result.
    Out,
    /// A moment of an optimizer.
    Moment,
}

impl ReferenceError {
    pub(super) fn check_length(
        operand: Operand,
        actual: usize,
        expected: usize,
    ) -> Result<(), Self> {
        if actual == expected {
            Ok(())
        } else {
            Err(Self::Length {
                operand,
                expected,
                actual,
            })
        }
    }

    pub(super) fn check_axis(
        operand: Operand,
        axis: usize,
        actual: usize,
        expected: usize,
    ) -> Result<(), Self> {
        if actual == expected {
            Ok(())
        } else {
            Err(Self::Axis {
                operand,
                axis,
                expected,
                actual,
            })
        }
    }
}

impl From<NoiseError> for ReferenceError {
    fn from(error: NoiseError) -> Self {
        Self::Noise(error)
    }
}

impl From<UpdateError> for ReferenceError {
    fn from(error: UpdateError) -> Self {
        Self::Update(error)
    }
}

impl fmt::Display for ReferenceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Length {
                operand,
                expected,
                actual,
            } => write!(f, "{operand:?} has {actual} elements, not {expected}"),
            Self::Axis {
                operand,
                axis,
                expected,
                actual,
            } => write!(f, "axis {axis} of {operand:?} is {actual}, not {expected}"),
            Self::TooLarge { shape } => write!(f, "shape {shape:?} is too large"),
            Self::Token { id, vocabulary } => {
                write!(
                    f,
                    "token {id} is not below the vocabulary size {vocabulary}"
                )
            }
            Self::Noise(error) => write!(f, "{error}"),
            Self::Update(error) => write!(f, "{error}"),
        }
    }
}

impl core::error::Error for ReferenceError {}
