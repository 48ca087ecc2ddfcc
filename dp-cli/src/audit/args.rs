//! What `dpcube audit` can be asked.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::args::Device;

/// Arguments of `dpcube audit`. Exit code 0: no lower bound is above its claim; 1: one is, the claim is false; 2: nothing was audited.
#[derive(Clone, Debug, Args)]
pub struct AuditArgs {
    /// What to attack.
    #[command(subcommand)]
    pub what: What,
}

/// What `dpcube audit` attacks.
#[derive(Clone, Debug, Subcommand)]
pub enum What {
    /// One private step, released thousands of times with a canary and without it: a tight lower bound.
    Step(StepArgs),
    /// One private training run with thousands of canaries, each in or out by a fair coin.
    Run(RunArgs),
    /// A trained model: who was in the training data, and what it kept of planted secrets.
    Model(ModelArgs),
}

/// Where the report goes.
#[derive(Clone, Debug, Args)]
pub struct Sink {
    /// Folder for report.html and audit.jsonl. What is there of these two is overwritten.
    #[arg(long, value_name = "DIR", default_value = "runs/audit")]
    pub out: PathBuf,

    /// Confidence of each bound and interval.
    #[arg(
        long,
        value_name = "P",
        default_value_t = 0.95,
        allow_negative_numbers = true
    )]
    pub confidence: f64,
}

/// Arguments of `dpcube audit step`.
#[derive(Clone, Debug, Args)]
pub struct StepArgs {
    /// Where to compute.
    #[arg(long, value_enum, default_value_t = Device::Cpu)]
    pub device: Device,

    /// Noise multiplier of the step.
    #[arg(
        long,
        value_name = "SIGMA",
        default_value_t = 1.0,
        allow_negative_numbers = true
    )]
    pub sigma: f64,

    /// Clipping norm.
    #[arg(
        long,
        value_name = "C",
        default_value_t = 1.0,
        allow_negative_numbers = true
    )]
    pub clip: f64,

    /// Delta at which the claim and the lower bound are given.
    #[arg(
        long,
        value_name = "D",
        default_value_t = 1e-5,
        allow_negative_numbers = true
    )]
    pub delta: f64,

    /// Releases with the canary, and as many without. Half of each choose the threshold, the other half are judged.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub releases: u32,

    /// Seed of the noise's key: the audit repeats. A private run's key comes from the operating system.
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    pub seed: u64,

    /// Where the report goes.
    #[command(flatten)]
    pub sink: Sink,
}

/// Arguments of `dpcube audit run`.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// Where to compute.
    #[arg(long, value_enum, default_value_t = Device::Cpu)]
    pub device: Device,

    /// Epsilon that the run is planned for.
    #[arg(
        long,
        value_name = "E",
        default_value_t = 4.0,
        allow_negative_numbers = true
    )]
    pub epsilon: f64,

    /// Delta of the guarantee.
    #[arg(
        long,
        value_name = "D",
        default_value_t = 1e-5,
        allow_negative_numbers = true
    )]
    pub delta: f64,

    /// Number of canaries. More let the guesses be surer, and so the bound be larger.
    #[arg(long, value_name = "M", default_value_t = 10_000)]
    pub canaries: usize,

    /// Share of the canaries that are guessed in, and as many out; the rest are abstained from.
    #[arg(
        long,
        value_name = "SHARE",
        default_value_t = 0.03,
        allow_negative_numbers = true
    )]
    pub guesses: f64,

    /// Number of steps. More draw each canary more evenly, and so let the bound be larger at the same epsilon.
    #[arg(long, value_name = "T", default_value_t = 400)]
    pub steps: u64,

    /// Seed of the coins, of the records and of the initial weights. The run's noise and sample never depend on it.
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    pub seed: u64,

    /// Where the report goes.
    #[command(flatten)]
    pub sink: Sink,
}

/// Arguments of `dpcube audit model`.
#[derive(Clone, Debug, Args)]
pub struct ModelArgs {
    /// Folder of a trained model: what --out named in training.
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,

    /// Folder of a second model of the same data, such as the same training without privacy: both stand side by side.
    #[arg(long, value_name = "DIR")]
    pub compare: Option<PathBuf>,

    /// The records that were trained on. Default: the file that the model's train.json names.
    #[arg(long, value_name = "FILE")]
    pub data: Option<PathBuf>,

    /// Most records to score of either kind, trained on and held out.
    #[arg(long, value_name = "N", default_value_t = 2000)]
    pub records: usize,

    /// Where to compute.
    #[arg(long, value_enum, default_value_t = Device::Cpu)]
    pub device: Device,

    /// Where the report goes.
    #[command(flatten)]
    pub sink: Sink,
}
