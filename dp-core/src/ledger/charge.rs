use crate::accounting::Event;

use super::error::{Fault, Field};

/// What one step costs: an event, how often it happens, and the sensitivity its noise was scaled to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Charge {
    /// The mechanism, with sigma relative to the sensitivity `clip * (1 + eta)`.
    pub event: Event,
    /// Clipping norm: bound on the L2 norm of one unit's contribution, a record's or a user's.
    pub clip: f64,
    /// Share of the clipping norm allowed for the rounding of clip, sum and noise.
    pub eta: f64,
    /// How many times the event happens in the step, at least 1.
    pub count: u64,
}

impl Charge {
    /// The noise multiplier of the event: its sigma.
    #[must_use]
    pub fn noise_multiplier(&self) -> f64 {
        sigma(&self.event)
    }

    /// Standard deviation of the noise on each coordinate: `sigma * clip * (1 + eta)`.
    #[must_use]
    pub fn noise_std(&self) -> f64 {
        self.noise_multiplier() * self.clip * (1.0 + self.eta)
    }

    /// Checks every field.
    ///
    /// # Errors
    /// [`Fault::Invalid`] with the field: rate outside (0, 1]; an event that the record format does not know; sigma or clip not finite or not above 0; eta not
    /// finite or below 0; count or group 0.
    pub fn check(&self) -> Result<(), Fault> {
        let (rate, group) = match self.event {
            Event::Gaussian { .. } => (1.0, 1),
            Event::PoissonGaussian { rate, .. } => (rate, 1),
            Event::GroupPoissonGaussian { rate, group, .. } => (rate, group),
            // The record format has no code for another sampler yet.
            _ => return Err(Fault::Invalid(Field::Sampler)),
        };
        let positive = |x: f64| x.is_finite() && x > 0.0;
        let faults = [
            (positive(rate) && rate <= 1.0, Field::Rate),
            (group > 0, Field::Group),
            (positive(sigma(&self.event)), Field::Sigma),
            (positive(self.clip), Field::Clip),
            (self.eta.is_finite() && self.eta >= 0.0, Field::Eta),
            (self.count > 0, Field::Count),
        ];
        match faults.into_iter().find(|(holds, _)| !holds) {
            Some((_, field)) => Err(Fault::Invalid(field)),
            None => Ok(()),
        }
    }
}

fn sigma(event: &Event) -> f64 {
    match *event {
        Event::Gaussian { sigma }
        | Event::PoissonGaussian { sigma, .. }
        | Event::GroupPoissonGaussian { sigma, .. } => sigma,
        // Refused by `check`.
        _ => f64::NAN,
    }
}
