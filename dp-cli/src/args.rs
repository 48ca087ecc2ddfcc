//! The command line of `dpcube`: what can be asked, with defaults and units.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::account::AccountArgs;
use crate::audit::AuditArgs;
use crate::bench::BenchArgs;
use crate::error::Failure;
use crate::ledger::LedgerArgs;

/// Train a language model on records about people, with differential privacy.
#[derive(Debug, Parser)]
#[command(name = "dpcube", version, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What `dpcube` does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train a model on a file of records, privately unless told otherwise.
    Train(TrainArgs),
    /// Continue a prompt with a trained model.
    Generate(GenerateArgs),
    /// Answer what a noise multiplier costs, or which one a budget needs, without training.
    Account(AccountArgs),
    /// Train twice on a shipped corpus with planted secrets, with and without privacy, and compare.
    Demo(DemoArgs),
    /// Compare every kernel with its reference, on the devices of this machine.
    Verify(VerifyArgs),
    /// Show, check or export the privacy ledgers of runs.
    Ledger(LedgerArgs),
    /// Time the kernels at the shapes of known models, on one device: verified first, then timed.
    Bench(BenchArgs),
    /// Attack a step, a run or a trained model, and show what that achieves beside the claimed epsilon.
    Audit(AuditArgs),
}

/// A size of model. Its context is the number of tokens of a record that it sees; records longer
/// than that are cut, and how many is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Model {
    /// 2 layers of width 128, 4 heads, a context of 64 tokens.
    Tiny,
    /// 4 layers of width 256, 4 heads, a context of 128 tokens.
    Small,
}

/// Where to compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Device {
    /// The processor.
    Cpu,
    /// A GPU by Vulkan, Metal, DirectX 12 or WebGPU.
    Wgpu,
    /// An NVIDIA GPU.
    Cuda,
}

/// How the per-record norm of a Linear layer's gradient is taken. It changes speed, nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Norms {
    /// The quicker way for each layer, by rates that are measured on the device at the start.
    Measured,
    /// By a rule of thumb (products of tokens where 2 T^2 <= d p), nothing measured.
    Rule,
    /// By products of tokens.
    Gram,
    /// By forming each record's gradient, tile by tile.
    Materialised,
}

/// How to train, whatever the data.
#[derive(Clone, Debug, Args)]
pub struct Settings {
    /// Size of the model.
    #[arg(long, value_enum, default_value_t = Model::Tiny)]
    pub model: Model,

    /// Where to compute.
    #[arg(long, value_enum, default_value_t = Device::Cpu)]
    pub device: Device,

    /// Number of optimizer steps. More steps need more noise for the same guarantee.
    #[arg(long, value_name = "T", default_value_t = 800)]
    pub steps: u64,

    /// Expected batch size, in records: the sampling rate times the number of training records.
    /// Private batches vary around it, because each record enters by its own coin flip. In users with --user-field.
    #[arg(long, value_name = "RECORDS", default_value_t = 128)]
    pub batch: u64,

    /// Rows computed at once; a batch is cut into pieces of this size. It changes memory and
    /// speed, nothing else.
    #[arg(long, value_name = "ROWS", default_value_t = 32)]
    pub microbatch: usize,

    /// How the per-record norms of Linear layers are taken. It changes speed, nothing else.
    #[arg(long, value_enum, value_name = "HOW", default_value_t = Norms::Measured)]
    pub norms: Norms,

    /// Memory of the device in which the per-record gradients of Linear layers may be kept from the norm to the sum. A layer that is kept
    /// forms its product once, not twice, which is quicker for long contexts; only layers are kept that save time by what was measured, or by
    /// the rule. It changes speed and memory, nothing else. 256 with --norms measured, otherwise 0.
    #[arg(long, value_name = "MIB")]
    pub keep_memory: Option<u64>,

    /// Clipping norm: the largest L2 norm that one record's gradient, or one user's, may have.
    #[arg(
        long,
        value_name = "C",
        default_value_t = 1.0,
        allow_negative_numbers = true
    )]
    pub clip: f64,

    /// Learning rate of AdamW.
    #[arg(
        long,
        value_name = "RATE",
        default_value_t = 3e-3,
        allow_negative_numbers = true
    )]
    pub lr: f64,

    /// Seed of the initial weights, the held-out split, the planted secrets and, without privacy, the
    /// order of the data. The noise and the sampling of a private run never depend on it.
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    pub seed: u64,

    /// Tokenizer: `bytes`, `wordnet-4096` (shipped), or a HuggingFace tokenizer.json. One that was
    /// trained on the private records would itself release them without noise. Default: `bytes` for
    /// the tiny model, `wordnet-4096` for the small one.
    #[arg(long, value_name = "NAME|FILE")]
    pub tokenizer: Option<PathBuf>,
}

/// The guarantee to keep.
#[derive(Clone, Debug, Args)]
pub struct Target {
    /// Epsilon of the guarantee for one record, or one user with --user-field: the noise is chosen so that the whole run spends at
    /// most this. Smaller is more private.
    #[arg(
        long,
        value_name = "E",
        default_value_t = 8.0,
        allow_negative_numbers = true
    )]
    pub epsilon: f64,

    /// Delta of the guarantee: the probability left over. It must be well below one over the number
    /// of records. Default: the largest power of ten that is at most half of that.
    #[arg(long, value_name = "D", allow_negative_numbers = true)]
    pub delta: Option<f64>,
}

/// Arguments of `dpcube train`.
#[derive(Clone, Debug, Args)]
pub struct TrainArgs {
    /// Records to train on: plain text with one record a line, or .jsonl with a `text` field.
    #[arg(long, value_name = "FILE")]
    pub data: PathBuf,

    /// Folder for the model, the checkpoint, the privacy ledger and train.json. It must be new or
    /// empty unless --resume is given.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,

    /// The guarantee to keep.
    #[command(flatten)]
    pub target: Target,

    /// Train without clipping and noise. Nothing is promised about any record.
    // All that only a private run takes, each by itself: where a flag is required that conflicts, clap asks for it no more.
    #[arg(long, conflicts_with_all = [
        "epsilon", "delta", "clip", "clip_quantile", "clip_rate", "clip_count_std", "after",
    ])]
    pub non_private: bool,

    /// Let the clipping norm follow this quantile of the gradients' norms, from --clip on; 0.5 is the median. How many are within it is counted
    /// in each step and released with noise, which --epsilon covers: the gradients get a little more noise for it.
    #[arg(long, value_name = "Q", allow_negative_numbers = true)]
    pub clip_quantile: Option<f64>,

    /// How fast it follows: the learning rate of the clipping norm's logarithm.
    #[arg(
        long,
        value_name = "RATE",
        default_value_t = 0.2,
        requires = "clip_quantile",
        allow_negative_numbers = true
    )]
    pub clip_rate: f64,

    /// Standard deviation of the noise on the count, in records, or users with --user-field. Default: a twentieth of --batch.
    #[arg(
        long,
        value_name = "RECORDS",
        requires = "clip_quantile",
        allow_negative_numbers = true
    )]
    pub clip_count_std: Option<f32>,

    /// Ledgers of earlier runs on the same records, or their folders: all of them, since each holds its own run only. What they spent
    /// counts: --epsilon is then for them and this run together.
    #[arg(long, value_name = "LEDGER|RUN", num_args = 1..)]
    pub after: Vec<PathBuf>,

    /// How to train.
    #[command(flatten)]
    pub settings: Settings,

    /// Go on with the run in --out from its last checkpoint. The other arguments must be the same.
    #[arg(long)]
    pub resume: bool,

    /// Steps between checkpoints.
    #[arg(long, value_name = "STEPS", default_value_t = 100)]
    pub checkpoint_every: u64,

    /// Plant this many invented patients with a secret code, in 16 records each, and measure after
    /// training what the model remembers of them.
    #[arg(long, value_name = "K", default_value_t = 0)]
    pub canaries: usize,

    /// Field of a .jsonl file that says whose record it is. The guarantee is then for a user with all their records: users
    /// enter a batch as a whole, and a user's gradient is clipped as one. --batch and --epsilon are of users.
    #[arg(long, value_name = "NAME")]
    pub user_field: Option<String>,

    /// The most records of a user that a step uses, drawn anew for each step. Each user takes this many rows of a microbatch.
    #[arg(long, value_name = "K", default_value_t = 4, requires = "user_field")]
    pub records_per_user: u32,
}

/// Arguments of `dpcube generate`.
#[derive(Clone, Debug, Args)]
pub struct GenerateArgs {
    /// Folder of a trained model: what --out named in training.
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,

    /// Text to continue.
    #[arg(long, value_name = "TEXT")]
    pub prompt: String,

    /// Most tokens to generate; the end of the record or of the context ends it earlier.
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub max_tokens: usize,

    /// 0 takes the likeliest token each time; 1 draws as the model says; more is wilder.
    #[arg(
        long,
        value_name = "T",
        default_value_t = 0.0,
        allow_negative_numbers = true
    )]
    pub temperature: f64,

    /// Seed of the draws.
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    pub seed: u64,

    /// Where to compute.
    #[arg(long, value_enum, default_value_t = Device::Cpu)]
    pub device: Device,
}

/// Arguments of `dpcube demo`.
#[derive(Clone, Debug, Args)]
pub struct DemoArgs {
    /// Folder for both runs and the report.
    #[arg(long, value_name = "DIR", default_value = "runs/demo")]
    pub out: PathBuf,

    /// Records to use in place of the shipped dictionary entries.
    #[arg(long, value_name = "FILE")]
    pub data: Option<PathBuf>,

    /// How many of the shipped entries to use, from the first. They stand in random order, so the first are an
    /// even sample; fewer entries mean more passes over them in the same time.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 16_000,
        conflicts_with = "data"
    )]
    pub records: usize,

    /// The guarantee of the private run.
    #[command(flatten)]
    pub target: Target,

    /// How to train both.
    #[command(flatten)]
    pub settings: Settings,

    /// Number of invented patients to plant, in 16 records each.
    #[arg(long, value_name = "K", default_value_t = 8)]
    pub canaries: usize,
}

/// Which devices to verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Devices {
    /// The processor.
    Cpu,
    /// The default adapter of Vulkan, Metal, DirectX 12 or WebGPU.
    Wgpu,
    /// The first NVIDIA GPU.
    Cuda,
    /// Every one that this build has a runtime for and this machine a device.
    All,
}

/// Arguments of `dpcube verify`. Exit code 0: every comparison is within its budget; 1: some are not; 2: nothing was
/// verified.
#[derive(Clone, Debug, Args)]
pub struct VerifyArgs {
    /// Which devices. One that is named must be there; `all` tells which were skipped, and why: they aren't there, or have no row that --filter selects.
    #[arg(long, value_enum, default_value_t = Devices::All)]
    pub device: Devices,

    /// Only the checks with this in their name; after a slash, only their rows with this in the words "op dtype shape":
    /// `linear_sums`, `norms`, `linear_sums/bf16`.
    #[arg(long, value_name = "CHECK[/ROW]")]
    pub filter: Option<String>,

    /// Print every comparison as a line of JSON in place of the table.
    #[arg(long)]
    pub json: bool,

    /// Other numbers in the inputs; the shapes, the noise and the known answers stay.
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    pub seed: u64,

    /// Write the table to a Markdown file too, with device, driver, date and commit.
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
}

impl Cli {
    /// The command line of this process. What `--help` and `--version` ask for is printed here.
    ///
    /// # Errors
    /// The exit code to end with: 0 after help, 2 after one line about what cannot be understood.
    pub fn from_command_line() -> Result<Self, ExitCode> {
        Self::parse_one_line(std::env::args_os()).map_err(|refusal| match refusal {
            Refusal::Wrong(failure) => failure.report(),
            Refusal::Shown(text) => {
                // A reader that closed the pipe, as `head` does, has seen enough.
                let _ = text.print();
                ExitCode::SUCCESS
            }
        })
    }

    fn parse_one_line(
        arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    ) -> Result<Self, Refusal> {
        Self::try_parse_from(arguments).map_err(|error| match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Refusal::Shown(error),
            ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
                Refusal::Wrong(Failure::new("no command given; dpcube --help lists them"))
            }
            _ => Refusal::Wrong(Failure::new(shortened(&error.to_string()))),
        })
    }
}

#[derive(Debug)]
enum Refusal {
    Shown(clap::Error),
    Wrong(Failure),
}

/// What clap says, without its heading and the usage that follows.
fn shortened(message: &str) -> String {
    let message = message.trim_start_matches("error:");
    let lines = message
        .lines()
        .take_while(|line| !line.starts_with("Usage:"));
    let lines = lines.filter(|line| !line.starts_with("For more information"));
    lines.collect::<Vec<_>>().join(" ") + " (--help lists what there is)"
}

impl Target {
    /// The delta asked for, or the default for `records` training records: the largest power of ten
    /// that is at most `1 / (2 records)`.
    pub fn delta(&self, records: u64) -> f64 {
        self.delta.unwrap_or_else(|| {
            let digits = (2.0 * records.max(1) as f64).log10().ceil() as i32;
            10_f64.powi(-digits)
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Cli, Refusal> {
        Cli::parse_one_line(line.split_whitespace())
    }

    fn train(line: &str) -> TrainArgs {
        match parse(&format!("dpcube train --data d --out o {line}"))
            .unwrap()
            .command
        {
            Command::Train(args) => args,
            other => panic!("{other:?}"),
        }
    }

    fn refusal(line: &str) -> String {
        match parse(line).unwrap_err() {
            Refusal::Wrong(failure) => format!("{failure:?}"),
            Refusal::Shown(text) => panic!("{text}"),
        }
    }

    #[test]
    fn the_definitions_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn training_is_private_by_default() {
        let args = train("");
        assert!(!args.non_private && !args.resume);
        assert_eq!(
            (args.target.epsilon, args.settings.clip, args.canaries),
            (8.0, 1.0, 0)
        );
        assert_eq!(
            (args.settings.model, args.settings.device),
            (Model::Tiny, Device::Cpu)
        );
        let args =
            train("--model small --device cuda --epsilon 3 --delta 1e-7 --canaries 8 --resume");
        assert_eq!(
            (args.settings.model, args.settings.device),
            (Model::Small, Device::Cuda)
        );
        assert_eq!((args.target.epsilon, args.target.delta), (3.0, Some(1e-7)));
        assert!(args.resume && train("--non-private").non_private);
    }

    /// Values out of range reach the checks that name them, rather than clap's usage.
    #[test]
    fn negative_numbers_are_values() {
        let args = train("--epsilon -1 --delta -2 --clip -3 --lr -4");
        assert_eq!((args.target.epsilon, args.target.delta), (-1.0, Some(-2.0)));
        assert_eq!((args.settings.clip, args.settings.lr), (-3.0, -4.0));
    }

    #[test]
    fn a_run_without_privacy_has_no_budget() {
        for given in [
            "--epsilon 3",
            "--delta 1e-6",
            "--clip 1",
            "--clip-quantile 0.5",
            "--clip-rate nan",
            "--clip-count-std 5",
            "--after l",
        ] {
            let message = refusal(&format!(
                "dpcube train --data d --out o --non-private {given}"
            ));
            let flag = given.split(' ').next().unwrap();
            assert!(
                message.contains("--non-private") && message.contains(flag),
                "{message}"
            );
        }
    }

    #[test]
    fn what_cannot_be_understood_is_one_line() {
        for (line, named) in [
            ("dpcube", "no command"),
            ("dpcube fly", "fly"),
            ("dpcube train --out o", "--data"),
            ("dpcube train --data d --out o --epsilon abc", "abc"),
            ("dpcube train --data d --out o --steps -1", "-1"),
            (
                "dpcube train --data d --out o --device gpu",
                "cpu, wgpu, cuda",
            ),
            ("dpcube demo --what", "--what"),
        ] {
            let message = refusal(line);
            assert!(message.contains(named), "{line}: {message}");
            assert!(
                !message.contains("\\n") && !message.contains("Usage"),
                "{line}: {message}"
            );
            assert!(
                message.contains("dpcube: error: ") && message.contains("code: 2"),
                "{message}"
            );
        }
        assert!(matches!(
            parse("dpcube train --help"),
            Err(Refusal::Shown(_))
        ));
        assert!(matches!(parse("dpcube --version"), Err(Refusal::Shown(_))));
    }

    #[test]
    fn the_default_delta_is_well_below_one_over_n() {
        let target = train("").target;
        for records in [1, 2, 5, 6, 50, 51, 20_000, 49_999, 50_000, 50_001, u64::MAX] {
            let delta = target.delta(records);
            let half = 0.5 / records as f64;
            assert!(
                delta <= half * (1.0 + 1e-12) && delta > half / 10.0,
                "{records}: {delta}"
            );
        }
        assert_eq!(target.delta(20_000), 1e-5);
        assert_eq!(train("--delta 0.25").target.delta(20_000), 0.25);
    }
}
