//! A mechanism as flags or JSON fields describe it, and the accountant's event for it.

mod check;
mod form;
mod words;

use dp_core::accounting::{Adjacency, Event};

use super::error::AccountError;
use form::Form;
pub use words::{Noise, Sampler, Voice, adjective};

/// What was said about a mechanism.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spec {
    pub voice: Voice,
    pub sampler: Option<Sampler>,
    pub noise: Noise,
    pub sigma: Option<f64>,
    pub rate: Option<f64>,
    pub steps: Option<u64>,
    pub population: Option<u64>,
    pub batch_size: Option<u64>,
    pub max_batch: Option<u64>,
    pub bins: Option<u32>,
    pub epochs: Option<u32>,
    pub group: Option<u32>,
    pub sensitivity: Option<f64>,
    /// How often all this happens; in a list of events it stands for the steps.
    pub count: Option<u64>,
}

/// The accountant's event, how often it happens, and both in words.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    pub event: Event,
    pub count: u64,
    pub described: String,
}

impl Spec {
    /// The event and its count under `adjacency`.
    ///
    /// # Errors
    /// What is missing, too much, or has no proven cost under that relation; each with the way out.
    pub fn resolve(&self, adjacency: Adjacency) -> Result<Step, AccountError> {
        let form = self.form()?;
        let (needed, possible) = form.fields(self.noise);
        self.check_fields(form, needed, possible)?;
        self.check_relation(form, adjacency)?;
        let event = self.event(form);
        let count = self.occurrences(form)?;
        let described = self.describe(form, count);
        Ok(Step {
            event,
            count,
            described,
        })
    }

    /// What a step is called: `steps`, or `epochs` where the sampler goes by epochs; `None` where the event is the whole run.
    pub fn unit(&self) -> Result<Option<&'static str>, AccountError> {
        Ok(match self.form()? {
            Form::Matrix => None,
            Form::Bins | Form::Shuffle => Some("epochs"),
            _ => Some("steps"),
        })
    }

    /// The description with another number of steps, or of epochs where the sampler goes by epochs.
    pub fn with_units(&self, units: u64) -> Result<Self, AccountError> {
        Ok(match self.unit()? {
            Some("epochs") => Self {
                epochs: Some(u32::try_from(units).map_err(|_| {
                    AccountError::problem(format!(
                        "{} {units} is above {}: give fewer",
                        self.voice.name("epochs"),
                        u32::MAX
                    ))
                })?),
                ..*self
            },
            _ => Self {
                steps: Some(units),
                ..*self
            },
        })
    }

    /// Whether a sampling rate is part of the description.
    pub fn takes_rate(&self) -> Result<bool, AccountError> {
        Ok(matches!(self.form()?, Form::Poisson | Form::Truncated))
    }

    /// Name of a value that was given, if one was.
    pub fn any_given(&self) -> Option<String> {
        let noise = (self.noise != Noise::Gaussian).then_some("noise");
        let sampler = self.sampler.map(|_| "sampler");
        let given = self.given().into_iter().find(|(_, given)| *given);
        let name = given.map(|(name, _)| name).or(sampler).or(noise)?;
        Some(self.voice.name(name))
    }

    /// Every value but sampler and noise, and whether it was given.
    fn given(&self) -> [(&'static str, bool); 10] {
        [
            ("sigma", self.sigma.is_some()),
            ("rate", self.rate.is_some()),
            ("steps", self.steps.is_some()),
            ("population", self.population.is_some()),
            ("batch-size", self.batch_size.is_some()),
            ("max-batch", self.max_batch.is_some()),
            ("bins", self.bins.is_some()),
            ("epochs", self.epochs.is_some()),
            ("group", self.group.is_some()),
            ("sensitivity", self.sensitivity.is_some()),
        ]
    }

    fn event(&self, form: Form) -> Event {
        // check_fields has seen all that the form needs.
        let sigma = self.sigma.unwrap_or(f64::NAN);
        let rate = self.rate.unwrap_or(1.0);
        let sensitivity = self.sensitivity.unwrap_or(1.0);
        let population = self.population.unwrap_or(0);
        match form {
            Form::Poisson | Form::Full if self.noise == Noise::Laplace => {
                if form == Form::Full {
                    Event::Laplace { scale: sigma }
                } else {
                    Event::PoissonLaplace { rate, scale: sigma }
                }
            }
            Form::Poisson | Form::Full => match self.group {
                Some(group) if group != 1 => Event::GroupPoissonGaussian { rate, sigma, group },
                // A full batch is Poisson sampling at rate one.
                _ => Event::PoissonGaussian { rate, sigma },
            },
            Form::FixedSize => Event::FixedSizeGaussian {
                population,
                batch: self.batch_size.unwrap_or(0),
                sigma,
            },
            Form::Truncated => Event::TruncatedPoissonGaussian {
                population,
                rate,
                max_batch: self.max_batch.unwrap_or(0),
                sigma,
            },
            Form::Bins => Event::BallsInBinsGaussian {
                bins: self.bins.unwrap_or(0),
                epochs: self.epochs.unwrap_or(0),
                sigma,
            },
            Form::Shuffle => Event::ShuffledGaussian { sigma },
            Form::Matrix => Event::MatrixGaussian { sensitivity, sigma },
            Form::Discrete => {
                // A saturated value is one that the accountant refuses; a part of a step counts as a whole one. The discrete Gaussian's is of one
                // coordinate: the same L2 norm spread over several costs more.
                let sensitivity = sensitivity.ceil() as u32;
                if self.noise == Noise::DiscreteGaussian {
                    Event::DiscreteGaussian { sigma, sensitivity }
                } else {
                    Event::DiscreteLaplace {
                        decay: 1.0 / sigma,
                        sensitivity,
                    }
                }
            }
        }
    }

    fn occurrences(&self, form: Form) -> Result<u64, AccountError> {
        let each = match form {
            Form::Matrix | Form::Bins => 1,
            Form::Shuffle => u64::from(self.epochs.unwrap_or(0)),
            _ => self.steps.unwrap_or(1),
        };
        let count = self.count.unwrap_or(1);
        each.checked_mul(count)
            .ok_or_else(|| AccountError::problem(format!("count {count} is too large: give less")))
    }
}
