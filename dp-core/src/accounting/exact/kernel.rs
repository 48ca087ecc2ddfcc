//! What turns the law of the loss into delta: the transform of `(1 - e^{-x})_+`.

use crate::accounting::complex::Complex;

/// The transform's kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kernel {
    /// The loss may be any number: `1 / (z (z + 1))`.
    Line,
    /// The loss is `offset + k span`: the sum over the losses above epsilon, on one period.
    Lattice { span: f64, offset: f64 },
}

impl Kernel {
    /// Where the transform has run through half its period.
    pub fn half_period(&self) -> Option<f64> {
        match *self {
            Self::Line => None,
            Self::Lattice { span, .. } => Some(core::f64::consts::PI / span),
        }
    }

    /// The kernel at `z`, and how many units in the last place it may be off.
    ///
    /// Lattice: with u the distance from epsilon up to the next loss,
    /// `span sum_{j >= 0} e^{-z (u + j span)} (1 - e^{-(u + j span)})`.
    pub fn at(&self, z: Complex, epsilon: f64) -> (Complex, f64) {
        match *self {
            Self::Line => (Complex::ONE.div(z.mul(z).add(z)), 4.0),
            Self::Lattice { span, offset } => {
                let place = (epsilon - offset) / span;
                let u = (libm::floor(place) + 1.0 - place) * span;
                let series = |z: Complex| {
                    // 1 - e^{-z span} = -(e^{x} - 1), without loss for small steps.
                    let step = z.scale(-span).exp_m1().scale(-1.0);
                    z.scale(-u).exp().div(step)
                };
                let (first, second) = (series(z), series(z.add(Complex::ONE)));
                let value = first.add(second.scale(-1.0));
                // u itself is known to the rounding of the place.
                let place_error = (place.abs() + 1.0) * span * z.abs();
                let loss = (first.abs() + second.abs()) / value.abs() * (8.0 + place_error);
                (value.scale(span), loss)
            }
        }
    }
}
