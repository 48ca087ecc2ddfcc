//! The words for a mechanism and its parts.

use clap::ValueEnum;
use dp_core::accounting::Adjacency;

use super::Spec;
use super::form::Form;
use crate::account::round::given;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Sampler {
    /// Each record is in each batch with probability --rate, independently (the default). Needs --rate.
    Poisson,
    /// Every record is in every batch.
    Full,
    /// A batch of exactly --batch-size of the --population records, drawn anew in each step. Replace-one only.
    FixedSize,
    /// As poisson, with batches above --max-batch cut at random. Needs --rate, --population, --max-batch.
    TruncatedPoisson,
    /// Each record goes into one of --bins batches at random, and stays there for all --epochs.
    BallsInBins,
    /// Batches of a shuffled data set: no amplification is known to hold, each of the --epochs counts in full.
    Shuffle,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Noise {
    /// Normal.
    Gaussian,
    /// Two-sided exponential; samplers poisson and full.
    Laplace,
    /// Normal on the integers, for one coordinate; sampler full.
    DiscreteGaussian,
    /// Two-sided geometric, of decay 1 / --sigma; sampler full.
    DiscreteLaplace,
}

/// How messages call a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voice {
    /// `--batch-size`.
    Flags,
    /// `batch_size`.
    Fields,
}

impl Voice {
    pub fn name(self, name: &str) -> String {
        match self {
            Self::Flags => format!("--{name}"),
            Self::Fields => name.replace('-', "_"),
        }
    }
}

impl Noise {
    pub(super) fn is_discrete(self) -> bool {
        matches!(self, Self::DiscreteGaussian | Self::DiscreteLaplace)
    }
}

impl Spec {
    /// The mechanism in words.
    pub(super) fn describe(&self, form: Form, count: u64) -> String {
        let sigma = self.sigma.unwrap_or(f64::NAN);
        let rate = self.rate.unwrap_or(1.0);
        let number = |value: Option<u64>| value.unwrap_or(0);
        let small = |value: Option<u32>| value.unwrap_or(0);
        let batches = match form {
            Form::Poisson if rate < 1.0 => {
                format!("{count} steps of Poisson batches at rate {}", given(rate))
            }
            Form::Poisson | Form::Full => format!("{count} steps of the full batch"),
            Form::FixedSize => format!(
                "{count} steps of batches of exactly {} out of {} records",
                number(self.batch_size),
                number(self.population)
            ),
            Form::Truncated => format!(
                "{count} steps of Poisson batches at rate {} out of {} records, cut at {}",
                given(rate),
                number(self.population),
                number(self.max_batch)
            ),
            Form::Bins => format!(
                "{} epochs of {} batches, each record in one of them at random{}",
                small(self.epochs),
                small(self.bins),
                if count == 1 {
                    String::new()
                } else {
                    format!(", {count} times")
                }
            ),
            Form::Shuffle => format!("{count} epochs of shuffled batches (no amplification)"),
            Form::Matrix => format!(
                "{count} {} of a matrix mechanism of sensitivity {}",
                if count == 1 { "run" } else { "runs" },
                self.sensitivity.unwrap_or(1.0)
            ),
            Form::Discrete => {
                let (what, norm) = if self.noise == Noise::DiscreteGaussian {
                    ("one coordinate", "")
                } else {
                    ("a vector", " in L1 norm")
                };
                let steps = self.sensitivity.unwrap_or(1.0).ceil();
                let unit = if steps == 1.0 { "step" } else { "steps" };
                format!(
                    "{count} steps of the full batch, where a record moves {what} by up to {steps} grid {unit}{norm}"
                )
            }
        };
        let noise = match self.noise {
            Noise::Gaussian => format!("noise multiplier {sigma}"),
            Noise::Laplace => format!("Laplace noise of scale {sigma}"),
            Noise::DiscreteGaussian => format!("discrete Gaussian noise of parameter {sigma}"),
            Noise::DiscreteLaplace => format!("discrete Laplace noise of scale {sigma}"),
        };
        match self.group {
            Some(group) if group != 1 => {
                format!("{batches}, {noise}, {group} records of one person")
            }
            _ => format!("{batches}, {noise}"),
        }
    }
}

/// The relation as flags and fields call it.
pub fn adjective(relation: Adjacency) -> &'static str {
    match relation {
        Adjacency::AddRemove => "add-remove",
        Adjacency::ZeroOut => "zero-out",
        Adjacency::ReplaceOne => "replace-one",
    }
}

/// The name of a value on the command line.
pub(super) fn value_name(value: &impl ValueEnum) -> String {
    value
        .to_possible_value()
        .map_or_else(String::new, |value| value.get_name().to_owned())
}

pub(super) fn meaning(field: &str) -> &'static str {
    match field {
        "rate" => "the probability with which a record is in a batch",
        "sigma" => {
            "the noise multiplier: the noise's standard deviation divided by the clipping norm"
        }
        "steps" => "the number of steps",
        "population" => "the number of records in the data set",
        "batch-size" => "the number of records in a batch",
        "max-batch" => "the size above which a batch is cut",
        "bins" => "the number of batches in an epoch",
        "epochs" => "the number of epochs",
        _ => {
            "how far one record moves what is noised: in L2 norm with a matrix mechanism, by a whole number of grid steps of one coordinate \
             with discrete-gaussian"
        }
    }
}

pub(super) fn other_home(field: &str) -> &'static str {
    match field {
        "population" => " (fixed-size and truncated-poisson take it)",
        "batch-size" => " (fixed-size takes it)",
        "max-batch" => " (truncated-poisson takes it)",
        "bins" => " (balls-in-bins takes it)",
        "epochs" => " (balls-in-bins and shuffle take it)",
        "group" => " (poisson and full with Gaussian noise take it)",
        "sensitivity" => " (sampler full takes it)",
        _ => "",
    }
}
