//! Policies that cannot bound anything.

use core::fmt;

use super::{MAX_CLIP, MAX_GROUPS, MIN_CLIP};

/// A clipping policy whose numbers cannot bound anything.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum ClippingError {
    /// The clipping norm is out of range or not a number.
    Clip {
        /// The value given.
        clip: f32,
    },
    /// The stability constant is out of range or not a number.
    Gamma {
        /// The value given.
        gamma: f32,
    },
    /// No groups, or too many.
    Groups {
        /// How many.
        groups: usize,
    },
    /// A group's weight is negative, infinite or not a number, or all are 0.
    Weight {
        /// The group.
        group: usize,
        /// The value given.
        weight: f32,
    },
}

impl fmt::Display for ClippingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, value) = match *self {
            Self::Clip { clip } => ("clipping norm", clip),
            Self::Gamma { gamma } => ("stability constant gamma", gamma),
            Self::Groups { groups } => {
                return write!(f, "{groups} groups, not between 1 and {MAX_GROUPS}");
            }
            Self::Weight { group, weight } => {
                return write!(
                    f,
                    "weight {weight} of group {group}: weights are finite, not negative, and not all 0"
                );
            }
        };
        write!(f, "{name} {value} is not between {MIN_CLIP} and {MAX_CLIP}")
    }
}

impl core::error::Error for ClippingError {}
