use crate::accounting::Event;
use crate::clipping::NoisedCounts;

use super::error::{Fault, Field};

/// What one step costs: an event, how often it happens, and the sensitivity its noise was scaled to.
///
/// # Privacy
/// The event is of all that the step releases. Where that is a clipped sum alone, the sum's noise multiplier is the event's sigma.
/// Where counts are released with it ([`NoisedCounts`]), the two together have sigma, and the sum has more noise than
/// sigma says: [`noise_multiplier`](Self::noise_multiplier) and [`noise_std`](Self::noise_std) are the sum's own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Charge {
    /// The mechanism: what the accountant counts.
    pub event: Event,
    /// Clipping norm: bound on the L2 norm of one unit's contribution, a record's or a user's.
    pub clip: f64,
    /// Share of the clipping norm allowed for the rounding of clip, sum and noise.
    pub eta: f64,
    /// How many times the event happens in the step, at least 1.
    pub count: u64,
    /// The counts that are released with the sum, for a clipping norm that follows a quantile; `None` where the sum is all.
    pub counts: Option<NoisedCounts>,
}

impl Charge {
    /// The noise multiplier of the clipped sum, relative to `clip * (1 + eta)`: the event's sigma, or what the sum needs so that it has sigma
    /// together with the counts ([`NoisedCounts::gradient_multiplier`], rounded up). NaN for a charge that [`check`](Self::check) refuses.
    #[must_use]
    pub fn noise_multiplier(&self) -> f64 {
        let sigma = sigma(&self.event);
        match self.counts {
            None => sigma,
            Some(counts) => counts.gradient_multiplier(sigma).unwrap_or(f64::NAN),
        }
    }

    /// Standard deviation of the noise on each coordinate of the clipped sum: its noise multiplier times `clip * (1 + eta)`. That of the
    /// counts, which are exact, is [`NoisedCounts::std`].
    #[must_use]
    pub fn noise_std(&self) -> f64 {
        self.noise_multiplier() * self.clip * (1.0 + self.eta)
    }

    /// Checks every field.
    ///
    /// # Errors
    /// [`Fault::Invalid`] with the field: rate outside (0, 1]; an event that the record format does not know; sigma or clip not finite or not above 0; eta not
    /// finite or below 0; count or group 0. [`Fault::Counts`] where the counts have so little noise that they alone cost what the event says.
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
        if let Some((_, field)) = faults.into_iter().find(|(holds, _)| !holds) {
            return Err(Fault::Invalid(field));
        }
        let sigma = sigma(&self.event);
        match self.counts {
            Some(counts) if counts.gradient_multiplier(sigma).is_err() => Err(Fault::Counts {
                sigma,
                counts: counts.multiplier(),
            }),
            _ => Ok(()),
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
