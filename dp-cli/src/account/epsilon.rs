//! `dpcube account epsilon`.

use std::io::Write;

use clap::Args;

use super::args::{DeltaFlag, Format, FormatFlag, MechanismArgs, RateFlag, SigmaFlag, StepsFlag};
use super::engine;
use super::error::AccountError;
use super::round::given;
use super::text;

#[derive(Args, Debug)]
pub struct EpsilonArgs {
    #[command(flatten)]
    sigma: SigmaFlag,
    #[command(flatten)]
    rate: RateFlag,
    #[command(flatten)]
    steps: StepsFlag,
    #[command(flatten)]
    delta: DeltaFlag,
    #[command(flatten)]
    format: FormatFlag,
    #[command(flatten)]
    mechanism: MechanismArgs,
}

pub fn run(args: &EpsilonArgs, out: &mut impl Write) -> Result<(), AccountError> {
    let history = (args.mechanism).history(args.sigma.sigma, args.rate.rate, args.steps.steps)?;
    let delta = args.delta.delta;
    let bounds = engine::epsilon(history.run(), delta)?;
    match args.format.format {
        Format::Json => writeln!(out, "{}", text::bounds_json("epsilon", &bounds))?,
        Format::Text => {
            text::write_bounds(out, "epsilon", &bounds)?;
            text::write_run(out, &history, &format!(", delta {}", given(delta)))?;
        }
    }
    Ok(())
}
