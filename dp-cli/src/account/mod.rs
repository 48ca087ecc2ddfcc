//! `dpcube account`: what a mechanism costs, and which one a budget allows.

mod args;
mod batch;
mod compare;
mod curve;
mod delta;
mod engine;
mod epsilon;
mod error;
mod events;
mod explain;
mod fields;
mod rate;
mod round;
mod search;
mod sigma;
mod spec;
mod steps;
mod text;
mod wait;

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, Subcommand};

pub use error::AccountError;

/// Arguments of `dpcube account`.
#[derive(Args, Debug)]
#[command(subcommand_negates_reqs = true, args_conflicts_with_subcommands = true)]
pub struct AccountArgs {
    /// Answer each line of a JSON-lines file ({"sigma", "rate", "steps", "delta"}) with one line of JSON, in order;
    /// "-" reads standard input. The first bad line ends the run with exit code 2, after the answers of the lines
    /// before it.
    ///
    /// A line may also hold "query": "epsilon", "delta", "sigma" or "steps" with what that query needs, the fields of
    /// other mechanisms (named as the flags of `dpcube account epsilon --help`, batch_size for --batch-size), a list
    /// of "events" as in --events, and "adjacency".
    #[arg(long, value_name = "FILE", required = true)]
    batch: Option<PathBuf>,

    #[command(subcommand)]
    query: Option<Query>,
}

#[derive(Debug, Subcommand)]
enum Query {
    /// The epsilon that a run costs, with proven bounds.
    Epsilon(epsilon::EpsilonArgs),
    /// The delta of a run at a given epsilon, with proven bounds.
    Delta(delta::DeltaArgs),
    /// The smallest noise multiplier that keeps a run within a budget.
    Sigma(sigma::SigmaArgs),
    /// The number of steps that a budget allows.
    Steps(steps::StepsArgs),
    /// The largest sampling rate that keeps a run within a budget.
    Rate(rate::RateArgs),
    /// Epsilon over the steps, for one or more noise multipliers: a table, a plot, a CSV file.
    Curve(curve::CurveArgs),
    /// One run by every engine: bounds, their distance, and the time that each took.
    Compare(compare::CompareArgs),
    /// What a run promises, in plain words, for whoever signs for it.
    Explain(explain::ExplainArgs),
}

/// Runs `dpcube account`.
///
/// # Errors
/// A value that has no answer; the program then ends with exit code 2.
pub fn run(args: AccountArgs) -> Result<(), AccountError> {
    let out = &mut io::stdout().lock();
    match (args.query, args.batch) {
        (Some(Query::Epsilon(args)), _) => epsilon::run(&args, out),
        (Some(Query::Delta(args)), _) => delta::run(&args, out),
        (Some(Query::Sigma(args)), _) => sigma::run(&args, out),
        (Some(Query::Steps(args)), _) => steps::run(&args, out),
        (Some(Query::Rate(args)), _) => rate::run(&args, out),
        (Some(Query::Curve(args)), _) => curve::run(&args, out),
        (Some(Query::Compare(args)), _) => compare::run(&args, out),
        (Some(Query::Explain(args)), _) => explain::run(&args, out),
        (None, Some(path)) => batch::run(&path, out),
        // clap asks for one of the two.
        (None, None) => Ok(()),
    }?;
    out.flush()?;
    Ok(())
}
