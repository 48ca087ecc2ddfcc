//! The element types that numbers come in: f32 and f64.

use core::ops::{Add, Div, Mul, Sub};

use crate::clipping::{
    Clipping, automatic_factor, automatic_factor_f64, centred_indicator, centred_indicator_f64,
    flat_factor, flat_factor_f64,
};

/// What a reference reads and writes, and what a squared norm may be: f32 or f64.
///
/// Inputs and results of one reference have one type. Numbers of f16 and bf16 are given as the f32 that they are.
pub trait Real:
    Copy
    + From<f32>
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + sealed::Sealed
{
    /// The same number.
    fn widen(self) -> f64;
    /// The nearest number of this type.
    fn round(value: f64) -> Self;
    /// The square root, correctly rounded.
    #[must_use]
    fn square_root(self) -> Self;
    /// The clip factor of an example with this squared norm, by the function that kernels of this type call.
    #[must_use]
    fn clip_factor(self, clipping: Clipping) -> Self;
    /// What an example with this squared norm adds to the centred count of its group.
    fn centred_indicator(self, clip: f32, live: bool) -> f32;
}

impl Real for f32 {
    fn widen(self) -> f64 {
        f64::from(self)
    }

    fn round(value: f64) -> Self {
        value as Self
    }

    fn square_root(self) -> Self {
        libm::sqrtf(self)
    }

    fn clip_factor(self, clipping: Clipping) -> Self {
        match clipping {
            Clipping::Flat { clip } => flat_factor(self, clip),
            Clipping::Automatic { clip, gamma } => automatic_factor(self, clip, gamma),
        }
    }

    fn centred_indicator(self, clip: f32, live: bool) -> f32 {
        centred_indicator(self, clip, live)
    }
}

impl Real for f64 {
    fn widen(self) -> f64 {
        self
    }

    fn round(value: f64) -> Self {
        value
    }

    fn square_root(self) -> Self {
        libm::sqrt(self)
    }

    fn clip_factor(self, clipping: Clipping) -> Self {
        match clipping {
            Clipping::Flat { clip } => flat_factor_f64(self, Self::from(clip)),
            Clipping::Automatic { clip, gamma } => {
                automatic_factor_f64(self, Self::from(clip), Self::from(gamma))
            }
        }
    }

    fn centred_indicator(self, clip: f32, live: bool) -> f32 {
        centred_indicator_f64(self, Self::from(clip), live)
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}
