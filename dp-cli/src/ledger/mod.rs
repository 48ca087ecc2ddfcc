//! `dpcube ledger`: what the privacy ledgers of runs hold, whether they are whole, and what they add up to.

mod export;
pub(crate) mod read;
mod show;
mod verify;
mod words;

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::error::Failure;

/// Arguments of `dpcube ledger`.
#[derive(Clone, Debug, Args)]
pub struct LedgerArgs {
    #[command(subcommand)]
    query: Query,
}

#[derive(Clone, Debug, Subcommand)]
enum Query {
    /// What was spent: each ledger by itself, and all ledgers of one data set together.
    Show(ShowArgs),
    /// Check every record of every ledger, and that it holds what the run's checkpoint saw. Exit code 1 where one does not.
    Verify(VerifyArgs),
    /// Write a ledger's records, or its events for `dpcube account epsilon --events`.
    Export(ExportArgs),
}

/// How to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For a person.
    Text,
    /// One JSON value.
    Json,
}

#[derive(Clone, Debug, Args)]
struct ShowArgs {
    /// Ledgers, or folders of runs (what --out named in training).
    #[arg(required = true, value_name = "LEDGER|RUN")]
    ledgers: Vec<PathBuf>,

    /// Give epsilon at this delta. A ledger holds events, from which epsilon follows for any delta.
    #[arg(long, value_name = "D", allow_negative_numbers = true)]
    delta: Option<f64>,

    /// How to answer.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Debug, Args)]
struct VerifyArgs {
    /// Ledgers, or folders of runs (what --out named in training).
    #[arg(required = true, value_name = "LEDGER|RUN")]
    ledgers: Vec<PathBuf>,
}

/// What to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Export {
    /// A line of JSON with data set, settings, unit and head, then one for each record.
    Jsonl,
    /// A line for each record, under a heading.
    Csv,
    /// What was spent and for whom, as a JSON array that `dpcube account epsilon --events` takes.
    Events,
}

#[derive(Clone, Debug, Args)]
struct ExportArgs {
    /// A ledger, or the folder of a run (what --out named in training).
    #[arg(value_name = "LEDGER|RUN")]
    ledger: PathBuf,

    /// What to write.
    #[arg(long, value_enum, default_value_t = Export::Jsonl)]
    format: Export,

    /// Write to this file, whole or not at all, in place of the terminal.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Runs `dpcube ledger`. Nothing is written to a ledger, and no lock is taken: a run may be writing it.
///
/// # Errors
/// A ledger that cannot be read or, but for `verify`, that is damaged.
pub fn run(args: &LedgerArgs) -> Result<(), Failure> {
    match &args.query {
        Query::Show(args) => show::run(args),
        Query::Verify(args) => verify::run(args),
        Query::Export(args) => export::run(args),
    }
}
