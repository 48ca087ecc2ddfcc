//! Which mechanism a description means, and which values that one takes.

use super::words::{Noise, Sampler, value_name};
use super::{AccountError, Spec};

/// What a description turns out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Poisson,
    Full,
    FixedSize,
    Truncated,
    Bins,
    Shuffle,
    Matrix,
    Discrete,
}

impl Spec {
    pub(super) fn form(&self) -> Result<Form, AccountError> {
        let name = |name| self.voice.name(name);
        let sampler = self.sampler;
        match (self.noise, sampler) {
            (Noise::Gaussian, None | Some(Sampler::Full)) if self.sensitivity.is_some() => {
                Ok(Form::Matrix)
            }
            (_, Some(Sampler::Full)) if self.noise.is_discrete() => Ok(Form::Discrete),
            (Noise::DiscreteGaussian | Noise::DiscreteLaplace, _) => {
                Err(AccountError::problem(format!(
                    "{} {} has no proven cost with sampling: add {} full",
                    name("noise"),
                    value_name(&self.noise),
                    name("sampler")
                )))
            }
            (_, None | Some(Sampler::Poisson)) => Ok(Form::Poisson),
            (_, Some(Sampler::Full)) => Ok(Form::Full),
            (Noise::Laplace, Some(sampler)) => Err(AccountError::problem(format!(
                "{} laplace has no proven cost with {} {}: use poisson or full",
                name("noise"),
                name("sampler"),
                value_name(&sampler)
            ))),
            (_, Some(Sampler::FixedSize)) => Ok(Form::FixedSize),
            (_, Some(Sampler::TruncatedPoisson)) => Ok(Form::Truncated),
            (_, Some(Sampler::BallsInBins)) => Ok(Form::Bins),
            (_, Some(Sampler::Shuffle)) => Ok(Form::Shuffle),
        }
    }
}

impl Form {
    /// What the form needs, and what it takes besides.
    pub(super) fn fields(self, noise: Noise) -> (&'static [&'static str], &'static [&'static str]) {
        let group: &[_] = if noise == Noise::Gaussian {
            &["group"]
        } else {
            &[]
        };
        match self {
            Self::Poisson => (&["rate", "sigma", "steps"], group),
            Self::Full if noise == Noise::Gaussian => (&["sigma", "steps"], &["rate", "group"]),
            Self::Full => (&["sigma", "steps"], &["rate"]),
            Self::FixedSize => (&["population", "batch-size", "sigma", "steps"], &[]),
            Self::Truncated => (&["rate", "population", "max-batch", "sigma", "steps"], &[]),
            Self::Bins => (&["bins", "epochs", "sigma"], &[]),
            Self::Shuffle => (&["epochs", "sigma"], &[]),
            Self::Matrix => (&["sensitivity", "sigma"], &[]),
            Self::Discrete => (&["sigma", "steps"], &["rate", "sensitivity"]),
        }
    }

    /// The form as the one who described it would call it.
    pub(super) fn name(self, spec: &Spec) -> String {
        let sampler = |name: &str| format!("{} {name}", spec.voice.name("sampler"));
        match self {
            Self::Poisson => sampler("poisson"),
            Self::Full => sampler("full"),
            Self::FixedSize => sampler("fixed-size"),
            Self::Truncated => sampler("truncated-poisson"),
            Self::Bins => sampler("balls-in-bins"),
            Self::Shuffle => sampler("shuffle"),
            Self::Matrix => format!(
                "{} (a matrix mechanism, one event for the whole run)",
                spec.voice.name("sensitivity")
            ),
            Self::Discrete => {
                format!("{} {}", spec.voice.name("noise"), value_name(&spec.noise))
            }
        }
    }
}
