//! Checks of the arguments, and the configuration that a resumed run must repeat.

use dp_burn::ModelConfig;
use dp_core::clipping::{AdaptiveQuantile, Clipping, MAX_CLIP, MIN_CLIP, QuantileError};
use dp_core::ledger::Unit;
use dp_engine::fingerprint::hex;
use dp_engine::plan::Plan;
use dp_text::tokenizer::Tokenizer;
use serde_json::{Value, json};

use crate::args::TrainArgs;
use crate::error::Failure;

/// Where the configuration says which ledgers the run was planned after; absent where none.
pub const AFTER: &str = "after";

/// Checks what no later part of the run checks.
///
/// # Errors
/// One line that names the value and what to do.
pub fn check(args: &TrainArgs) -> Result<(), Failure> {
    let settings = &args.settings;
    let refuse = |message: String| Err(Failure::new(message));
    if !(settings.lr.is_finite() && settings.lr > 0.0) {
        return refuse(format!(
            "--lr is {}: it must be a finite number above 0, for example 0.002",
            settings.lr
        ));
    }
    if settings.steps == 0 {
        return refuse("--steps is 0: train for at least 1".into());
    }
    if settings.batch == 0 {
        return refuse("--batch is 0: choose an expected batch size of at least 1".into());
    }
    if settings.microbatch == 0 || settings.microbatch > 4096 {
        return refuse(format!(
            "--microbatch is {}: choose from 1 to 4096 rows",
            settings.microbatch
        ));
    }
    let (epsilon, delta) = (args.target.epsilon, args.target.delta);
    if !(epsilon.is_finite() && epsilon > 0.0) {
        return refuse(format!(
            "--epsilon is {epsilon:?}: it must be a finite number above 0, for example 8"
        ));
    }
    if let Some(delta) = delta.filter(|delta| !(*delta > 0.0 && *delta < 1.0)) {
        return refuse(format!(
            "--delta is {delta:?}: it must be above 0 and below 1, and should be below 1 / number of records"
        ));
    }
    let clip = settings.clip;
    if (Clipping::Flat { clip: clip as f32 }).validate().is_err() {
        return refuse(format!(
            "--clip is {clip:?}: it must be from {MIN_CLIP:?} to {MAX_CLIP:?}, for example 1"
        ));
    }
    if args.user_field.is_some() {
        let (most, rows) = (args.records_per_user as usize, settings.microbatch);
        if most == 0 {
            return refuse("--records-per-user is 0: use at least 1 record of a user".into());
        }
        if most > rows {
            return refuse(format!(
                "--records-per-user is {most}, above the {rows} rows of --microbatch: the records of a user are computed together, so \
                 raise --microbatch or use fewer"
            ));
        }
    }
    if args.checkpoint_every == 0 {
        return refuse(
            "--checkpoint-every is 0: choose at least 1 step between checkpoints".into(),
        );
    }
    adaptive_clip(args).map(drop)
}

/// How the clipping norm follows a quantile, where --clip-quantile asks for it.
///
/// # Errors
/// A quantile, a rate or a standard deviation out of range.
pub fn adaptive_clip(args: &TrainArgs) -> Result<Option<AdaptiveQuantile>, Failure> {
    let Some(quantile) = args.clip_quantile else {
        return Ok(None);
    };
    let batch = args.settings.batch as f64;
    // The paper's, which barely adds to the gradients' noise.
    let count_std = args.clip_count_std.unwrap_or((batch / 20.0) as f32);
    let policy = AdaptiveQuantile::new(quantile, args.clip_rate, count_std, batch, 1);
    policy.map(Some).map_err(|error| {
        Failure::new(match error {
            QuantileError::Quantile { .. } => format!(
                "--clip-quantile is {quantile}: it must be above 0 and below 1, for example 0.5 for the median"
            ),
            QuantileError::Rate { rate } => {
                format!("--clip-rate is {rate}: it must be above 0 and at most 10, for example 0.2")
            }
            QuantileError::CountStd { count_std } => format!(
                "--clip-count-std is {count_std}: it must be from 0.05 to 1e9, for example a twentieth of --batch"
            ),
            other => other.to_string(),
        })
    })
}

/// Everything that decides what the run computes. Kept in the checkpoint; its digest in the ledger.
pub fn config(
    args: &TrainArgs,
    unit: Unit,
    sizes: &ModelConfig,
    tokenizer: &Tokenizer,
    plan: Option<&Plan>,
) -> Value {
    let settings = &args.settings;
    let guarantee = plan.map(|plan| {
        let mut guarantee = json!({
            "epsilon": plan.target().epsilon,
            "delta": plan.target().delta,
            "sigma": plan.sigma(),
            "clip": plan.clip(),
            "eta": plan.request().eta,
        });
        if let Some(policy) = plan.adaptive_clip() {
            guarantee["clip_quantile"] = json!(policy.quantile());
            guarantee["clip_rate"] = json!(policy.rate());
            guarantee["clip_count_std"] = json!(policy.count_std());
        }
        guarantee
    });
    let mut config = json!({
        "sizes": sizes,
        "tokenizer": tokenizer.fingerprint(),
        "steps": settings.steps,
        "batch": settings.batch,
        "microbatch": settings.microbatch,
        "lr": settings.lr,
        "seed": settings.seed,
        "canaries": args.canaries,
        "user_field": args.user_field,
        "privacy": guarantee,
    });
    if let Unit::User {
        most_records,
        owners,
    } = unit
    {
        config["users"] = json!({"most_records": most_records, "owners": hex(&owners)});
    }
    let after = plan.map_or(&[][..], |plan| plan.prior().planned());
    if !after.is_empty() {
        config[AFTER] = json!(after);
    }
    config
}

/// The learning rate of a step: a linear warm-up over the first twentieth, then linearly down to a tenth.
pub fn learning_rate(peak: f64, step: u64, steps: u64) -> f64 {
    let warm = (steps / 20).max(1);
    if step < warm {
        return peak * (step + 1) as f64 / warm as f64;
    }
    let done = (step - warm) as f64 / (steps - warm).max(1) as f64;
    peak * (1.0 - 0.9 * done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_warms_up_and_comes_down() {
        let rate = |step| learning_rate(1.0, step, 100);
        assert_eq!((rate(0), rate(4), rate(5)), (0.2, 1.0, 1.0));
        assert!(rate(50) < rate(20) && rate(99) < 0.12 && rate(99) > 0.1);
        assert_eq!(learning_rate(1.0, 0, 1), 1.0);
    }
}
