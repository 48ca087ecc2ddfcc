//! `dpcube audit`: attacks on a step, a run and a model, and what they achieve beside what is claimed.
//!
//! Exit code 0 where no lower bound is above its claim, 1 where one is, 2 where nothing was audited.

mod args;
mod membership;
mod one_run;
mod page;
mod step;

use dp_audit::AuditError;
use dp_core::accounting::{Event, Run};

use crate::error::Failure;
pub use args::AuditArgs;
use args::What;

/// Attacks what is asked for, and writes the report.
///
/// # Errors
/// A number of the command line is out of range; the device can't be opened; a folder holds no model or other records; the report can't be
/// written; a lower bound is above its claim.
pub fn run(args: &AuditArgs) -> Result<(), Failure> {
    match &args.what {
        What::Step(args) => step::run(args),
        What::Run(args) => one_run::run(args),
        What::Model(args) => membership::run(args),
    }
}

/// What every report of an audit ends with.
const NOT_COVERED: &str = "This result was computed from the canaries or records themselves, without noise. It is not covered by the epsilon that it \
                           audits: don't publish it for records that matter.";

/// Refuses a confidence before the work is done.
fn check_confidence(confidence: f64) -> Result<(), Failure> {
    if confidence > 0.0 && confidence < 1.0 {
        return Ok(());
    }
    Err(Failure::new(format!(
        "--confidence: {}",
        AuditError::Confidence { confidence }
    )))
}

/// The accountant's upper bound on epsilon of `events` at `delta`: the claim.
fn claimed(events: &[(Event, u64)], delta: f64) -> Result<f64, Failure> {
    Ok(dp_engine::accountant::epsilon(Run::add_remove(events), delta)?.upper)
}

/// The end of an audit with a claim.
fn verdict(lower: f64, claim: f64) -> Result<(), Failure> {
    if lower <= claim {
        return Ok(());
    }
    Err(Failure::unmet(format!(
        "the lower bound {lower} is above the claimed epsilon {claim}: the claim is false, or this is one of the few audits that err at the \
         confidence asked for; repeat it with another --seed, and report it where it stays"
    )))
}
