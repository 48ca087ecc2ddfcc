//! `dpcube account sigma`.

use std::io::Write;

use clap::Args;
use dp_core::accounting::{AccountingError, Adjacency, MAX_SIGMA, MIN_SIGMA};
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
    check_budget(epsilon)?;
    let history = |sigma: f64| {
        let spec = Spec {
            sigma: Some(sigma),
            ..*spec
        };
        Ok::<_, AccountError>(History::empty(adjacency).with(spec.resolve(adjacency)?))
    };
    let cost =
        |sigma: f64| Ok::<_, AccountError>(engine::epsilon(history(sigma)?.run(), delta)?.upper);
    let fits = |sigma: f64| Ok::<_, AccountError>(cost(sigma)? <= epsilon);
    let sigma = match fits(1.0)? {
        true => {
            // The event itself says which is the least that it takes; where that fits, it is the answer.
            let least = match engine::epsilon(history(-1.0)?.run(), delta) {
                Err(AccountingError::InvalidSigma { min, .. }) => min,
                _ => MIN_SIGMA,
            };
            let (mut good, mut bad) = (1.0, 0.6);
            while bad > least && fits(bad)? {
                (good, bad) = (bad, (bad * 0.6_f64).max(least));
            }
            if bad == least && fits(bad)? {
                bad
            } else {
                search::edge(good, bad, fits)?
            }
        }
        false => {
            let (mut bad, mut good) = (1.0, 4.0);
            while !fits(good)? {
                if good >= MAX_SIGMA {
                    return Err(AccountingError::Unreachable {
                        epsilon,
                        reached: cost(good)?,
                        max_sigma: good,
                    }
                    .into());
                }
                (bad, good) = (good, (good * 4.0_f64).min(MAX_SIGMA));
            }
            search::edge(good, bad, fits)?
        }
    };
    Ok(Calibrated {
        sigma,
        spent: cost(sigma)?,
        history: history(sigma)?,
    })
}

/// Refuses a budget that nothing meets.
pub fn check_budget(epsilon: f64) -> Result<(), AccountError> {
    if epsilon > 0.0 && epsilon.is_finite() {
        Ok(())
    } else {
        Err(AccountingError::InvalidEpsilon { epsilon }.into())
    }
}
