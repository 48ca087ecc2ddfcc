//! The program `dpcube`: train a language model with differential privacy, use it, answer what privacy
//! costs, read ledgers, verify and time the kernels on this machine, and attack what privacy promises.

mod account;
mod args;
mod audit;
mod bench;
mod date;
mod demo;
mod device;
mod error;
mod files;
mod generate;
mod interrupt;
mod ledger;
mod memory;
mod model;
mod output;
mod progress;
mod report;
mod train;
mod verify;

use std::process::ExitCode;

use args::{Cli, Command};
use error::Failure;

fn main() -> ExitCode {
    let cli = match Cli::from_command_line() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let done = match cli.command {
        Command::Train(args) => train::run(&args),
        Command::Generate(args) => generate::run(&args),
        Command::Account(args) => account::run(args).map_err(Failure::from),
        Command::Demo(args) => demo::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Ledger(args) => ledger::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Audit(args) => audit::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
