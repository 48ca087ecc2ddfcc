//! `dpcube account steps`.

use std::io::Write;

use clap::Args;
use dp_core::accounting::{AccountingError, Target};
use serde_json::json;

use super::args::{BudgetFlag, DeltaFlag, Format, FormatFlag, MechanismArgs, RateFlag, SigmaFlag};
use super::engine;
use super::error::AccountError;
use super::events::{self, History};
use super::round::given;
use super::search;
use super::spec::Spec;
use super::text;

/// With --events, the events in the file are spent already, and the answer is how many steps are left, for the unit of the file.
#[derive(Args, Debug)]
pub struct StepsArgs {
    #[command(flatten)]
    budget: BudgetFlag,
    #[command(flatten)]
    sigma: SigmaFlag,
    #[command(flatten)]
    rate: RateFlag,
    #[command(flatten)]
    delta: DeltaFlag,
    #[command(flatten)]
    format: FormatFlag,
    #[command(flatten)]
    mechanism: MechanismArgs,
}

/// The largest count that the accountant takes.
const MOST_STEPS: u64 = 1 << 53;

/// How far a budget goes.
pub struct Allowed {
    /// Steps, or epochs where the sampler goes by epochs.
    pub units: u64,
    pub unit: &'static str,
    /// Upper bound of epsilon after them.
    pub spent: f64,
    pub history: History,
}

pub fn run(args: &StepsArgs, out: &mut impl Write) -> Result<(), AccountError> {
    let adjacency = args.mechanism.adjacency();
    let before = match &args.mechanism.events {
        Some(path) => events::read(path, adjacency)?,
        None => History::empty(adjacency),
    };
    let spec = args.mechanism.spec(args.sigma.sigma, args.rate.rate, None);
    let (epsilon, delta) = (args.budget.epsilon, args.delta.delta);
    let allowed = allow(&spec, &before, epsilon, delta)?;
    let Allowed {
        units, unit, spent, ..
    } = allowed;
    match args.format.format {
        Format::Json => writeln!(out, "{}", json!({unit: units, "epsilon": spent}))?,
        Format::Text => {
            let more = if before.events.is_empty() {
                ""
            } else {
                " more"
            };
            let rounded = if units == MOST_STEPS {
                "as many as can be counted"
            } else {
                "rounded down"
            };
            writeln!(out, "{unit:<10}{units}{more}, {rounded}")?;
            writeln!(out, "epsilon   {spent}, of {epsilon} allowed")?;
            if units == 0 {
                let one = spec.with_units(1)?.resolve(adjacency)?;
                let one = engine::epsilon(before.with(one)?.run(), delta)?.upper;
                writeln!(out, "one more  would make epsilon {one}")?;
            }
            text::write_run(out, &allowed.history, &format!(", delta {}", given(delta)))?;
        }
    }
    Ok(())
}

/// The largest number of steps after `before` with a cost of at most `epsilon` at `delta`.
pub fn allow(
    spec: &Spec,
    before: &History,
    epsilon: f64,
    delta: f64,
) -> Result<Allowed, AccountError> {
    let Some(unit) = spec.unit()? else {
        return Err(AccountError::problem(format!(
            "{} makes the whole run one event, which has no number of steps: ask for sigma instead",
            spec.voice.name("sensitivity")
        )));
    };
    if (unit == "epochs" && spec.epochs.is_some()) || spec.steps.is_some() {
        return Err(AccountError::problem(format!(
            "{} is what is asked for: leave it out",
            spec.voice.name(unit)
        )));
    }
    let describe = |units: u64| spec.with_units(units)?.resolve(before.adjacency);
    before.with(describe(1)?)?;
    let most = if unit == "epochs" {
        u64::from(u32::MAX)
    } else {
        MOST_STEPS
    };
    let target = Target { epsilon, delta };
    let units = search::steps(before, target, most, describe).map_err(|error| match error {
        AccountError::Refused(AccountingError::BudgetExceeded { reached, .. }) => {
            AccountError::problem(format!(
                "the events cost epsilon {reached} already, more than the {epsilon} allowed: give a larger epsilon \
                 or delta"
            ))
        }
        other => other,
    })?;
    let history = if units == 0 {
        before.clone()
    } else {
        before.with(describe(units)?)?
    };
    let spent = engine::epsilon(history.run(), delta)?.upper;
    Ok(Allowed {
        units,
        unit,
        spent,
        history,
    })
}
