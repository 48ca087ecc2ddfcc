//! `dpcube account`: what a noise multiplier costs, and which one a budget needs.
//!
//! All answers are for add/remove adjacency of one record, by dp-core's exact accountant.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use dp_core::accounting::{AccountingError, Bounds, Event, calibrate_sigma, epsilon};
use serde_json::{Value, json};
use thiserror::Error;

/// Arguments of `dpcube account`.
#[derive(Args, Debug)]
#[command(subcommand_negates_reqs = true, args_conflicts_with_subcommands = true)]
pub struct AccountArgs {
    /// Answer each line of a JSON-lines file ({"sigma", "rate", "steps", "delta"}) with one line of
    /// JSON, in order; "-" reads standard input. The first bad line ends the run with exit code 2,
    /// after the answers of the lines before it.
    #[arg(long, value_name = "FILE", required = true)]
    batch: Option<PathBuf>,

    #[command(subcommand)]
    query: Option<Query>,
}

#[derive(Debug, Subcommand)]
enum Query {
    /// The epsilon that a run costs, with proven bounds.
    Epsilon(EpsilonArgs),
    /// The smallest noise multiplier that keeps a run within a budget.
    Sigma(SigmaArgs),
}

#[derive(Args, Debug)]
struct EpsilonArgs {
    /// Noise multiplier: standard deviation of the noise divided by the clipping norm.
    #[arg(long, allow_negative_numbers = true)]
    sigma: f64,
    /// Sampling rate: probability with which a record is in a batch.
    #[arg(
        long,
        allow_negative_numbers = true,
        required_unless_present = "sampler"
    )]
    rate: Option<f64>,
    /// Number of steps.
    #[arg(long)]
    steps: u64,
    /// Delta of the guarantee; keep it well below one over the number of records.
    #[arg(long, allow_negative_numbers = true)]
    delta: f64,
    /// How batches are drawn. Shuffled or fixed-size batches are neither of the two.
    #[arg(long, value_enum, default_value_t = Sampler::Poisson)]
    sampler: Sampler,
    /// How the answer is written.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Args, Debug)]
struct SigmaArgs {
    /// The epsilon that may be spent.
    #[arg(long, allow_negative_numbers = true)]
    epsilon: f64,
    /// Sampling rate: probability with which a record is in a batch; 1 is the full batch.
    #[arg(long, allow_negative_numbers = true)]
    rate: f64,
    /// Number of steps.
    #[arg(long)]
    steps: u64,
    /// Delta of the guarantee; keep it well below one over the number of records.
    #[arg(long, allow_negative_numbers = true)]
    delta: f64,
    /// How the answer is written.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Sampler {
    /// Each record is in each batch with probability `rate`, independently.
    Poisson,
    /// Every record is in every batch; the rate is 1.
    Full,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A few lines for a person.
    Text,
    /// One JSON object.
    Json,
}

/// Why there is no answer; each message names the value and what to do.
#[derive(Debug, Error)]
pub enum AccountError {
    /// The accountant refused a value.
    #[error("{}", advice(.0))]
    Refused(AccountingError),
    /// A rate other than 1 beside `--sampler full`.
    #[error(
        "--rate {rate} contradicts --sampler full, which uses every record: leave --rate out or give 1"
    )]
    FullRate {
        /// The rate that was given.
        rate: f64,
    },
    /// No rate beside `--sampler poisson`.
    #[error("--sampler poisson needs --rate, the probability with which a record is in a batch")]
    NoRate,
    /// The batch file can't be read.
    #[error("cannot read {path}: {source}; check the path given to --batch", path = .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A line of the batch file has no answer.
    #[error("line {line}: {problem}; correct it and run the batch again")]
    Line {
        /// Number of the line, from 1.
        line: usize,
        /// What is wrong with it, with the value.
        problem: String,
    },
    /// Standard output is gone.
    #[error("cannot write the answer: {0}; check where standard output leads")]
    Write(#[from] io::Error),
}

impl From<AccountingError> for AccountError {
    fn from(error: AccountingError) -> Self {
        Self::Refused(error)
    }
}

/// The accountant's error with the way out.
fn advice(error: &AccountingError) -> String {
    let hint = match error {
        AccountingError::InvalidSigma { .. } => "give a noise multiplier in that range",
        AccountingError::InvalidRate { .. } => {
            "give the batch size divided by the number of records"
        }
        AccountingError::InvalidEpsilon { .. } => "give a positive budget, for example 8",
        AccountingError::InvalidDelta { .. } => "give a small probability, for example 1e-6",
        AccountingError::CountTooLarge { .. } => "give fewer steps",
        AccountingError::Unreachable { .. } => "allow a larger epsilon or delta, or fewer steps",
        _ => "give more steps, or a larger rate or delta",
    };
    format!("{error}; {hint}")
}

/// One question about a cost.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Cost {
    sigma: f64,
    rate: f64,
    steps: u64,
    delta: f64,
}

impl Cost {
    fn answer(&self) -> Result<Bounds, AccountingError> {
        let event = Event::PoissonGaussian {
            rate: self.rate,
            sigma: self.sigma,
        };
        epsilon(&[(event, self.steps)], self.delta)
    }
}

/// Runs `dpcube account`.
///
/// # Errors
/// A value that has no answer; the program then ends with exit code 2.
pub fn run(args: AccountArgs) -> Result<(), AccountError> {
    let out = &mut io::stdout().lock();
    match (args.query, args.batch) {
        (Some(Query::Epsilon(query)), _) => write_epsilon(&query, out),
        (Some(Query::Sigma(query)), _) => write_sigma(&query, out),
        (None, Some(path)) => batch(&path, out),
        // clap asks for one of the two.
        (None, None) => Ok(()),
    }
}

fn write_epsilon(query: &EpsilonArgs, out: &mut impl Write) -> Result<(), AccountError> {
    let rate = match (query.sampler, query.rate) {
        (Sampler::Full, None) => 1.0,
        (Sampler::Full, Some(rate)) if rate != 1.0 => return Err(AccountError::FullRate { rate }),
        (_, Some(rate)) => rate,
        (Sampler::Poisson, None) => return Err(AccountError::NoRate),
    };
    let cost = Cost {
        sigma: query.sigma,
        rate,
        steps: query.steps,
        delta: query.delta,
    };
    let bounds = cost.answer()?;
    match query.format {
        Format::Json => writeln!(out, "{}", bounds_json(&bounds))?,
        Format::Text => {
            writeln!(out, "epsilon   {}", bounds.upper)?;
            writeln!(
                out,
                "bounds    {} to {}, the truth lies between",
                bounds.lower, bounds.upper
            )?;
            writeln!(out, "run       {}", describe(&cost))?;
            writeln!(out, "{}", ADJACENCY)?;
        }
    }
    Ok(())
}

fn write_sigma(query: &SigmaArgs, out: &mut impl Write) -> Result<(), AccountError> {
    let sigma = calibrate_sigma(query.epsilon, query.delta, query.rate, query.steps)?;
    let cost = Cost {
        sigma,
        rate: query.rate,
        steps: query.steps,
        delta: query.delta,
    };
    // What is promised is the upper bound.
    let spent = cost.answer()?.upper;
    match query.format {
        Format::Json => writeln!(out, "{}", json!({"sigma": sigma, "epsilon": spent}))?,
        Format::Text => {
            writeln!(out, "sigma     {sigma}, rounded up")?;
            writeln!(out, "epsilon   {spent}, of {} allowed", query.epsilon)?;
            writeln!(out, "run       {}", describe(&cost))?;
            writeln!(out, "{}", ADJACENCY)?;
        }
    }
    Ok(())
}

const ADJACENCY: &str =
    "holds for  add/remove adjacency: one record more or less in the data, the worse direction";

fn describe(cost: &Cost) -> String {
    let Cost {
        sigma,
        rate,
        steps,
        delta,
    } = cost;
    let sampler = if *rate == 1.0 {
        "the full batch".to_owned()
    } else {
        format!("Poisson batches at rate {rate}")
    };
    format!("{steps} steps of {sampler}, noise multiplier {sigma}, delta {delta}")
}

fn bounds_json(bounds: &Bounds) -> Value {
    json!({"epsilon": bounds.estimate, "lower": bounds.lower, "upper": bounds.upper})
}

fn batch(path: &Path, out: &mut impl Write) -> Result<(), AccountError> {
    let unreadable = |source| AccountError::Read {
        path: path.to_owned(),
        source,
    };
    let input: Box<dyn BufRead> = if path.as_os_str() == "-" {
        Box::new(io::stdin().lock())
    } else {
        Box::new(BufReader::new(File::open(path).map_err(unreadable)?))
    };
    for (index, line) in input.lines().enumerate() {
        let bad = |problem: String| AccountError::Line {
            line: index + 1,
            problem,
        };
        let line = line.map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => bad("the line is not UTF-8".to_owned()),
            _ => unreadable(error),
        })?;
        if line.trim().is_empty() {
            continue;
        }
        let cost = parse(&line).map_err(bad)?;
        let bounds = cost.answer().map_err(|error| bad(advice(&error)))?;
        writeln!(out, "{}", bounds_json(&bounds))?;
    }
    out.flush()?;
    Ok(())
}

/// A line of the batch: the four values and nothing else, so that a misspelt one can't be missed.
fn parse(line: &str) -> Result<Cost, String> {
    let value: Value = serde_json::from_str(line)
        .map_err(|error| format!("{} is not JSON ({error})", excerpt(line)))?;
    let Value::Object(fields) = value else {
        return Err(format!(
            "{} is not an object with sigma, rate, steps and delta",
            excerpt(line)
        ));
    };
    if let Some(name) = fields
        .keys()
        .find(|name| !["sigma", "rate", "steps", "delta"].contains(&name.as_str()))
    {
        return Err(format!(
            "unknown field {name:?}; the fields are sigma, rate, steps and delta"
        ));
    }
    let field = |name: &str| {
        fields
            .get(name)
            .ok_or_else(|| format!("{name} is missing in {}", excerpt(line)))
    };
    let number = |name: &str| {
        let value = field(name)?;
        value
            .as_f64()
            .ok_or_else(|| format!("{name} {value} is not a number"))
    };
    let steps = field("steps")?;
    Ok(Cost {
        sigma: number("sigma")?,
        rate: number("rate")?,
        steps: steps
            .as_u64()
            .ok_or_else(|| format!("steps {steps} is not a whole number of at least 0"))?,
        delta: number("delta")?,
    })
}

/// The start of a line, for a message.
fn excerpt(line: &str) -> String {
    const LENGTH: usize = 60;
    let mut text: String = line.chars().take(LENGTH).collect();
    if text.len() < line.len() {
        text.push_str("...");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_needs_exactly_its_four_fields() {
        let good = r#"{"sigma": 1.0, "rate": 0.01, "steps": 100, "delta": 1e-6}"#;
        let cost = Cost {
            sigma: 1.0,
            rate: 0.01,
            steps: 100,
            delta: 1e-6,
        };
        assert_eq!(parse(good), Ok(cost));
        for (bad, names) in [
            ("{", "{"),
            ("[1]", "[1]"),
            (
                r#"{"sigma": 1.0, "rate": 0.01, "steps": 100}"#,
                "delta is missing",
            ),
            (
                r#"{"sigma": "one", "rate": 0.01, "steps": 100, "delta": 1e-6}"#,
                "\"one\"",
            ),
            (
                r#"{"sigma": 1.0, "rate": 0.01, "steps": 1.5, "delta": 1e-6}"#,
                "1.5",
            ),
            (
                r#"{"sigma": 1.0, "rate": 0.01, "steps": -3, "delta": 1e-6}"#,
                "-3",
            ),
            (
                r#"{"sigma": 1.0, "rate": 0.01, "steps": 3, "delta": 1e-6, "Delta": 1}"#,
                "Delta",
            ),
        ] {
            let problem = parse(bad).expect_err(bad);
            assert!(problem.contains(names), "{problem}");
        }
    }

    #[test]
    fn every_refusal_names_the_value_and_a_way_out() {
        let error = AccountError::from(AccountingError::InvalidRate { rate: 1.5 });
        assert_eq!(
            error.to_string(),
            "sampling rate 1.5 is not in (0, 1]; give the batch size divided by the number of records"
        );
    }
}
