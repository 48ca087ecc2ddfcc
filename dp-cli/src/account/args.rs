//! The flags of `dpcube account`. What a person needs for Poisson batches and Gaussian noise comes first; the rest
//! is for `--help` only.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use dp_core::accounting::Adjacency;

use super::error::AccountError;
use super::events;
use super::spec::{Noise, Sampler, Spec, Voice};

/// Noise multiplier of one step.
#[derive(Args, Clone, Copy, Debug)]
pub struct SigmaFlag {
    /// Noise multiplier: standard deviation of the noise divided by the clipping norm.
    #[arg(long, allow_negative_numbers = true)]
    pub sigma: Option<f64>,
}

/// Sampling rate of one step.
#[derive(Args, Clone, Copy, Debug)]
pub struct RateFlag {
    /// Sampling rate: probability with which a record is in a batch; 1 is the full batch.
    #[arg(long, allow_negative_numbers = true)]
    pub rate: Option<f64>,
}

/// Length of the run.
#[derive(Args, Clone, Copy, Debug)]
pub struct StepsFlag {
    /// Number of steps.
    #[arg(long)]
    pub steps: Option<u64>,
}

/// The failure probability.
#[derive(Args, Clone, Copy, Debug)]
pub struct DeltaFlag {
    /// Delta of the guarantee; keep it well below one over the number of records.
    #[arg(long, allow_negative_numbers = true)]
    pub delta: f64,
}

/// The budget.
#[derive(Args, Clone, Copy, Debug)]
pub struct BudgetFlag {
    /// The epsilon that may be spent.
    #[arg(long, allow_negative_numbers = true)]
    pub epsilon: f64,
}

/// How an answer is written.
#[derive(Args, Clone, Copy, Debug)]
pub struct FormatFlag {
    /// How the answer is written.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A few lines for a person.
    Text,
    /// One JSON value.
    Json,
}

/// Everything but multiplier, rate and steps.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Other mechanisms (see --help)")]
pub struct MechanismArgs {
    /// How batches are drawn. A shuffle into batches is not Poisson sampling.
    #[arg(long, value_enum, hide_short_help = true)]
    pub sampler: Option<Sampler>,

    /// Number of records in the data set, for fixed-size and truncated-poisson.
    #[arg(long, value_name = "N", hide_short_help = true)]
    pub population: Option<u64>,

    /// Number of records in a batch, for fixed-size.
    #[arg(long, value_name = "N", hide_short_help = true)]
    pub batch_size: Option<u64>,

    /// Size above which a batch is cut at random, for truncated-poisson.
    #[arg(long, value_name = "N", hide_short_help = true)]
    pub max_batch: Option<u64>,

    /// Number of batches in an epoch, for balls-in-bins.
    #[arg(long, value_name = "N", hide_short_help = true)]
    pub bins: Option<u32>,

    /// Number of epochs, for balls-in-bins and shuffle, which take no --steps.
    #[arg(long, value_name = "N", hide_short_help = true)]
    pub epochs: Option<u32>,

    /// Law of the noise. Laplace: --sigma is its scale divided by the L1 sensitivity. The discrete two: --sigma is in
    /// grid steps, and --sensitivity is a whole number of them (1 if left out). discrete-gaussian is for one coordinate,
    /// which a record moves by that many; a vector that moves as far in L2 norm costs more: put it into --events as
    /// zcdp, with rho = L2^2 / (2 sigma^2), L2 and sigma in grid steps. discrete-laplace takes an L1 norm.
    #[arg(long, value_enum, default_value_t = Noise::Gaussian, hide_short_help = true)]
    pub noise: Noise,

    /// With Gaussian noise: a matrix (correlated-noise) mechanism whose encoded stream one record moves by at most
    /// this L2 norm, in clipping norms. It is the whole run, so it takes no --rate and no --steps. With discrete-gaussian:
    /// the whole number of grid steps by which one record moves one coordinate, the only one. With discrete-laplace: the
    /// whole number of them by which it moves a vector in L1 norm.
    #[arg(
        long,
        value_name = "S",
        allow_negative_numbers = true,
        hide_short_help = true
    )]
    pub sensitivity: Option<f64>,

    /// Number of records that one person has, all of them added or removed together.
    #[arg(long, value_name = "K", hide_short_help = true)]
    pub group: Option<u32>,

    /// Which data sets the guarantee makes hard to tell apart [default: add-remove].
    #[arg(long, value_enum, hide_short_help = true)]
    pub adjacency: Option<Relation>,

    /// A mix of mechanisms instead: a JSON array of objects such as
    /// {"sampler": "poisson", "rate": 0.01, "sigma": 1, "count": 100}, with the names of these flags (batch_size for
    /// --batch-size), or {"mechanism": M, ..., "count": N} where M is approximate-dp (with epsilon, delta), zcdp (rho),
    /// randomized-response (random_probability, buckets) or mixture (shifts, probabilities, sigma). "unit" in an object says
    /// whose presence it hides: "record", which it is where left out, or {"user": {"most_records": K}}; all of a file hide
    /// the same. `dpcube ledger export --format events` writes such a file.
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    pub events: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Relation {
    /// One record more or less.
    AddRemove,
    /// A record's contribution is replaced by nothing; the number of records stays.
    ZeroOut,
    /// A record is replaced by another.
    ReplaceOne,
}

impl From<Relation> for Adjacency {
    fn from(relation: Relation) -> Self {
        match relation {
            Relation::AddRemove => Self::AddRemove,
            Relation::ZeroOut => Self::ZeroOut,
            Relation::ReplaceOne => Self::ReplaceOne,
        }
    }
}

impl MechanismArgs {
    /// The neighbouring relation.
    pub fn adjacency(&self) -> Adjacency {
        self.adjacency.map_or(Adjacency::AddRemove, Into::into)
    }

    /// The mechanism that the flags describe, with the given multiplier, rate and steps.
    pub fn spec(&self, sigma: Option<f64>, rate: Option<f64>, steps: Option<u64>) -> Spec {
        Spec {
            voice: Voice::Flags,
            sampler: self.sampler,
            noise: self.noise,
            sigma,
            rate,
            steps,
            population: self.population,
            batch_size: self.batch_size,
            max_batch: self.max_batch,
            bins: self.bins,
            epochs: self.epochs,
            group: self.group,
            sensitivity: self.sensitivity,
            count: None,
        }
    }

    /// The run that the flags describe, or the one in `--events`.
    pub fn history(
        &self,
        sigma: Option<f64>,
        rate: Option<f64>,
        steps: Option<u64>,
    ) -> Result<events::History, AccountError> {
        let adjacency = self.adjacency();
        let spec = self.spec(sigma, rate, steps);
        match &self.events {
            None => Ok(events::History::of(adjacency, spec.resolve(adjacency)?)),
            Some(path) => match spec.any_given() {
                Some(name) => Err(AccountError::problem(format!(
                    "{name} does not go with --events, whose file says it: leave one of the two out"
                ))),
                None => events::read(path, adjacency),
            },
        }
    }
}
