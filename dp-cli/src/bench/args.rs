//! What `dpcube bench` can be asked.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::args::Device;

/// More samples than this tell nothing new.
pub const SAMPLES: usize = 100;
/// Fewer samples than this are no row.
pub const FEWEST: usize = 3;

/// Arguments of `dpcube bench`. Exit code 0: every row that was measured is verified; 1: some are not; 2: nothing was
/// measured; 130: stopped by Ctrl-C, what was measured is kept.
#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct BenchArgs {
    /// What to do with results; without it, measure.
    #[command(subcommand)]
    pub command: Option<BenchCommand>,

    /// Which device. The times are worth most where nothing else runs on it.
    #[arg(long, value_enum, default_value_t = Device::Cpu)]
    pub device: Device,

    /// A few rows of every op, in two minutes on two cores. What does not fit in that is told.
    #[arg(long)]
    pub quick: bool,

    /// Only the rows with this in their words "op model layer dtype shape": `weighted_sum`, `gpt2-xl`, `T 8192`.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub filter: String,

    /// Folder for report.html and, unless --json names another file, bench.jsonl. What is there is overwritten.
    #[arg(long, value_name = "DIR", default_value = "runs/bench")]
    pub out: PathBuf,

    /// File for the rows as lines of JSON; each is written as soon as it is measured.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// Element types of what differs per example. Default: f32, and without --quick bf16 where the device has it.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "TYPES")]
    pub dtype: Vec<Dtype>,

    /// Seconds of measuring for each row. A launch too long for it is left out, and the row says so. Default: 0.35 with
    /// --quick, else 1.
    #[arg(long, value_name = "S", allow_negative_numbers = true)]
    pub seconds_per_row: Option<f64>,

    /// Most samples of a row; it takes three at least.
    #[arg(long, value_name = "N", default_value_t = SAMPLES)]
    pub samples: usize,

    /// Most memory for buffers at a time, in GiB. Default: half of what is free.
    #[arg(long, value_name = "GIB", allow_negative_numbers = true)]
    pub memory: Option<f64>,

    /// What readers should know of the machine: `idle`, `shared with other jobs`, `at 300 W`. It stands in the result.
    #[arg(long, value_name = "TEXT")]
    pub note: Option<String>,
}

/// What `dpcube bench` does with results.
#[derive(Clone, Debug, Subcommand)]
pub enum BenchCommand {
    /// Put two results side by side, of two devices or two commits: the ratio of medians for every row that both have.
    Compare {
        /// The first result.
        #[arg(value_name = "A.jsonl")]
        first: PathBuf,
        /// The second.
        #[arg(value_name = "B.jsonl")]
        second: PathBuf,
    },
    /// Set every row of a result beside its bound, as a Markdown table: bytes and FLOP by count, the least time that the
    /// ceilings of the same run allow for them, the median, and the gap between the two.
    Bounds {
        /// The result.
        #[arg(value_name = "RESULT.jsonl")]
        result: PathBuf,
    },
}

/// An element type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Dtype {
    /// 32 bits.
    F32,
    /// 16 bits, 11 of them precision.
    F16,
    /// 16 bits, 8 of them precision.
    Bf16,
}
