//! `dpcube account rate`.

use std::io::Write;

use clap::Args;
use dp_core::accounting::{AccountingError, Target};
use serde_json::json;

use super::args::{BudgetFlag, DeltaFlag, Format, FormatFlag, MechanismArgs, SigmaFlag, StepsFlag};
use super::engine;
use super::error::AccountError;
use super::events::History;
use super::round::given;
use super::search;
use super::spec::Spec;
use super::text;

#[derive(Args, Debug)]
pub struct RateArgs {
    #[command(flatten)]
    budget: BudgetFlag,
    #[command(flatten)]
    sigma: SigmaFlag,
    #[command(flatten)]
    steps: StepsFlag,
    #[command(flatten)]
    delta: DeltaFlag,
    #[command(flatten)]
    format: FormatFlag,
    #[command(flatten)]
    mechanism: MechanismArgs,
}

/// Below this a rate is of no use: it is one record out of a billion.
const LEAST: f64 = 1e-9;

pub fn run(args: &RateArgs, out: &mut impl Write) -> Result<(), AccountError> {
    let (epsilon, delta) = (args.budget.epsilon, args.delta.delta);
    if args.mechanism.events.is_some() {
        return Err(AccountError::problem(
            "--events does not go with rate, which looks for the rate of a single mechanism: give that by flags",
        ));
    }
    let spec = (args.mechanism).spec(args.sigma.sigma, None, args.steps.steps);
    if !spec.takes_rate()? {
        return Err(AccountError::problem(
            "only the samplers poisson and truncated-poisson have a rate: choose one, or ask for sigma or steps",
        ));
    }
    let adjacency = args.mechanism.adjacency();
    let describe = |rate: f64| {
        let spec = Spec {
            rate: Some(rate),
            ..spec
        };
        spec.resolve(adjacency)
    };
    let target = Target { epsilon, delta };
    let found = search::rate(adjacency, target, LEAST..=1.0, describe);
    let rate = found.map_err(|error| match error {
        AccountError::Refused(AccountingError::BudgetExceeded { reached, .. }) => {
            AccountError::problem(format!(
                "even sampling rate {LEAST} costs epsilon {reached}, more than the {epsilon} allowed: give a larger \
                 epsilon, delta or sigma, or fewer steps"
            ))
        }
        other => other,
    })?;
    let history = History::of(adjacency, describe(rate)?);
    let spent = engine::epsilon(history.run(), delta)?.upper;
    match args.format.format {
        Format::Json => writeln!(out, "{}", json!({"rate": rate, "epsilon": spent}))?,
        Format::Text => {
            writeln!(out, "rate      {rate}, rounded down")?;
            writeln!(out, "epsilon   {spent}, of {epsilon} allowed")?;
            text::write_run(out, &history, &format!(", delta {}", given(delta)))?;
        }
    }
    Ok(())
}
