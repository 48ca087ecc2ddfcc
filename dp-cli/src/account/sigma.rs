//! `dpcube account sigma`.

use std::io::Write;

use clap::Args;
use dp_core::accounting::{AccountingError, Adjacency, MAX_SIGMA, MIN_SIGMA, Target};
use serde_json::json;

use super::args::{BudgetFlag, DeltaFlag, Format, FormatFlag, MechanismArgs, RateFlag, StepsFlag};
use super::engine;
use super::error::AccountError;
use super::events::History;
use super::round::given;
use super::search;
use super::spec::Spec;
use super::text;

#[derive(Args, Debug)]
pub struct SigmaArgs {
    #[command(flatten)]
    budget: BudgetFlag,
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

/// A noise multiplier and what it costs.
pub struct Calibrated {
    pub sigma: f64,
    /// Upper bound of epsilon.
    pub spent: f64,
    pub history: History,
}

pub fn run(args: &SigmaArgs, out: &mut impl Write) -> Result<(), AccountError> {
    if args.mechanism.events.is_some() {
        return Err(AccountError::problem(
            "--events does not go with sigma, which looks for the one multiplier of a single mechanism: \
             give that by flags",
        ));
    }
    let spec = (args.mechanism).spec(None, args.rate.rate, args.steps.steps);
    let (epsilon, delta) = (args.budget.epsilon, args.delta.delta);
    let found = calibrate(&spec, args.mechanism.adjacency(), epsilon, delta)?;
    let Calibrated { sigma, spent, .. } = found;
    match args.format.format {
        Format::Json => writeln!(out, "{}", json!({"sigma": sigma, "epsilon": spent}))?,
        Format::Text => {
            writeln!(out, "sigma     {sigma}, rounded up")?;
            writeln!(out, "epsilon   {spent}, of {epsilon} allowed")?;
            text::write_run(out, &found.history, &format!(", delta {}", given(delta)))?;
        }
    }
    Ok(())
}

/// The smallest multiplier, rounded up, at which the mechanism costs at most `epsilon` at `delta`.
pub fn calibrate(
    spec: &Spec,
    adjacency: Adjacency,
    epsilon: f64,
    delta: f64,
) -> Result<Calibrated, AccountError> {
    let describe = |sigma: f64| {
        let spec = Spec {
            sigma: Some(sigma),
            ..*spec
        };
        spec.resolve(adjacency)
    };
    let history = |sigma: f64| Ok::<_, AccountError>(History::of(adjacency, describe(sigma)?));
    // The event itself says which is the least that it takes.
    let least = match engine::epsilon(history(-1.0)?.run(), delta) {
        Err(AccountingError::InvalidSigma { min, .. }) => min,
        _ => MIN_SIGMA,
    };
    let target = Target { epsilon, delta };
    let sigma = search::noise(adjacency, target, least..=MAX_SIGMA, describe)?;
    let history = history(sigma)?;
    Ok(Calibrated {
        sigma,
        spent: engine::epsilon(history.run(), delta)?.upper,
        history,
    })
}
