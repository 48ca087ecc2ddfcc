//! `cargo xtask`: set-up, checks, tests and the demonstration run.
//!
//! Every task does the set-up that it needs, so that one command works on a fresh machine.
//! `docs/building.md` tells what is fetched, from where, and which variables reach the tests.

mod check;
mod corpus;
mod digest;
mod layering;
mod miri;
mod mutants;
mod notes;
mod process;
mod proofs;
mod report;
mod run;
mod setup;
mod supply;
mod test;
mod threats;
mod tokenizer;
mod unsafe_code;
mod workspace;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What a task says when it can't be done: one message for a person to read.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    about = "Set-up, checks, tests and the demonstration run"
)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Put the LLVM bundle, a Vulkan driver, NVRTC and Rust's bare targets in place; does nothing where they are.
    Setup,
    /// Build dpcube, train with and without privacy, and write runs/demo.
    Run {
        /// Arguments for `dpcube demo`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Run every test on every backend that this machine has.
    Test {
        /// Arguments for `cargo test`, such as a filter.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Format, clippy, docs, layering, proof notes and what has none, the tests that the threat model names, the texts of the mutants, unsafe code, and
    /// the dependencies' licences and sources.
    Check,
    /// Plant bugs in the kernels, one at a time in a copy of the tree, and see whether the tests find them.
    Mutants {
        /// Write the tests of the mutants for a CUDA device to this folder as programs, with a script that runs them on a machine that has one.
        #[arg(long, value_name = "FOLDER")]
        cuda: Option<PathBuf>,
        /// Parts of names; every mutant if there are none.
        names: Vec<String>,
    },
    /// Run some of dp-core's tests under Miri, where a nightly compiler has it.
    Miri,
    /// Make corpus/wordnet.txt again from Debian's package.
    Corpus {
        /// The package, where it has been downloaded already.
        #[arg(long)]
        deb: Option<PathBuf>,
    },
    /// Train corpus/tokenizer-4096.json again.
    Tokenizer,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().task {
        Task::Setup => setup::everything().map(|_| println!("setup: done")),
        Task::Run { arguments } => run::run(&arguments),
        Task::Test { arguments } => test::test(&arguments),
        Task::Check => check::check(),
        Task::Mutants { cuda: None, names } => mutants::run(&names),
        Task::Mutants {
            cuda: Some(folder),
            names,
        } => mutants::write_programs(&folder, &names),
        Task::Miri => miri::run(),
        Task::Corpus { deb } => corpus::make(deb.as_deref()),
        Task::Tokenizer => tokenizer::make(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}
