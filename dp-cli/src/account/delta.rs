//! `dpcube account delta`.

use std::io::Write;

use clap::Args;

use super::args::{Format, FormatFlag, MechanismArgs, RateFlag, SigmaFlag, StepsFlag};
use super::engine;
use super::error::AccountError;
use super::text;

#[derive(Args, Debug)]
pub struct DeltaArgs {
    /// The epsilon at which delta is asked for.
    #[arg(long, allow_negative_numbers = true)]
    epsilon: f64,
    #[command(flatten)]
    sigma: SigmaFlag,
    #[command(flatten)]
    rate: RateFlag,
    #[command(flatten)]
    steps: StepsFlag,
    #[command(flatten)]
    format: FormatFlag,
    #[command(flatten)]
    mechanism: MechanismArgs,
}

pub fn run(args: &DeltaArgs, out: &mut impl Write) -> Result<(), AccountError> {
    let history = (args.mechanism).history(args.sigma.sigma, args.rate.rate, args.steps.steps)?;
    let bounds = engine::delta(history.run(), args.epsilon)?;
    match args.format.format {
        Format::Json => writeln!(out, "{}", text::bounds_json("delta", &bounds))?,
        Format::Text => {
            text::write_bounds(out, "delta", &bounds)?;
            text::write_run(out, &history, &format!(", epsilon {}", args.epsilon))?;
        }
    }
    Ok(())
}
