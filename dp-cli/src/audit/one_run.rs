//! The audit by one training run: canaries of the largest gradient that clipping allows, each in the data by a fair coin.

mod training;

use dp_audit::{OneRun, Roc, coins};
use dp_core::accounting::Event;
use serde_json::json;

use super::args::RunArgs;
use super::page::{Curves, Found, number, roc, thinned};
use super::{check_confidence, verdict};
use crate::error::Failure;
use crate::output::note;
use training::{Seen, Setting};

/// Trains once, guesses the coins from all that the run releases, and bounds epsilon by how many guesses are right.
///
/// # Errors
/// A number out of range, a device that can't be opened or fails; a bound above the claim.
pub fn run(args: &RunArgs) -> Result<(), Failure> {
    let guesses = check(args)?;
    let included = coins(args.canaries, args.seed);
    let setting = Setting {
        device: args.device,
        epsilon: args.epsilon,
        delta: args.delta,
        steps: args.steps,
        seed: args.seed,
    };
    note!(
        "training once on {} canaries, each in by a fair coin, and {} records",
        args.canaries,
        training::RECORDS
    );
    let seen = training::train(&setting, &included)?;
    let found = OneRun::by_score(&seen.scores, &included, guesses, guesses)?;
    let lower = found.epsilon_lower_bound(args.delta, args.sink.confidence)?;
    report(args, &found, lower, &seen, &included)?.write(&args.sink)?;
    verdict(lower, seen.epsilon)
}

/// The number of canaries to guess in, and out, decided before anything is seen.
fn check(args: &RunArgs) -> Result<usize, Failure> {
    check_confidence(args.sink.confidence)?;
    if !(10..=1_000_000).contains(&args.canaries) {
        return Err(Failure::new(format!(
            "--canaries is {}: choose from 10 to 1000000",
            args.canaries
        )));
    }
    if !(args.guesses > 0.0 && args.guesses <= 0.5) {
        return Err(Failure::new(format!(
            "--guesses is {}: it is a share of the canaries, above 0 and at most 0.5",
            args.guesses
        )));
    }
    Ok(((args.canaries as f64 * args.guesses) as usize).max(1))
}

fn report(
    args: &RunArgs,
    found: &OneRun,
    lower: f64,
    seen: &Seen,
    included: &[bool],
) -> Result<Found, Failure> {
    let of = |coin: bool| -> Vec<f64> {
        let scores = seen.scores.iter().zip(included);
        scores
            .filter(|&(_, &is_in)| is_in == coin)
            .map(|(&score, _)| score)
            .collect()
    };
    let (out, within) = (of(false), of(true));
    // All coins on one side leave nothing to draw.
    let points = Roc::new(&out, &within).map(|roc| thinned(roc.points()));
    let audited = points.unwrap_or_default();
    let curves = Curves {
        audited: &audited,
        other: &[],
        allowed: &[],
    };
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let claim = seen.epsilon;
    let Event::PoissonGaussian { rate, sigma } = seen.event else {
        return Err(Failure::new(
            "the plan has no Poisson-sampled Gaussian steps",
        ));
    };
    Ok(Found {
        audit: "run",
        title: "Audit by one training run",
        verdict: format!(
            "Lower bound on epsilon {lower:.4}, claimed {claim:.4} at delta {:e}: {}.",
            args.delta,
            if lower <= claim { "the claim stands" } else { "THE CLAIM IS FALSE" }
        ),
        heads: vec![String::new(), "Value".into()],
        rows: vec![
            row("epsilon, lower bound", format!("{lower:.6}")),
            row("epsilon, claimed", format!("{claim:.6}")),
            row("delta", format!("{:e}", args.delta)),
            row("confidence", args.sink.confidence.to_string()),
            row("canaries", format!("{}, {} of them in", found.canaries, within.len())),
            row("guesses", format!("{}, {} of them right", found.guesses, found.correct)),
            row("steps", format!("{} at sampling rate {rate}", args.steps)),
            row("noise multiplier", format!("{sigma:.6}")),
            row("accuracy on held-out records", format!("{:.3}", seen.accuracy)),
            row("device", seen.device.clone()),
        ],
        notes: vec![
            "One run through the sampler, the ledger, fresh keys, private layers, clipping, noise and the optimizer that dpcube train uses, with plain \
             gradient descent. A canary is a record whose gradient lies along one row of an embedding that no other record reads, longer than the \
             clipping norm: the largest influence that clipping allows."
                .into(),
            "The attacker sees the released gradient of every step, and scores a canary by the likelihood ratio of its coordinate. The highest scores \
             are guessed in, the lowest out; how many was decided before the run (Steinke et al. 2023, arXiv 2305.08846, Algorithm 1, Theorem 5.2)."
                .into(),
            "A lower bound below the claim does not prove the claim: with one run it stays well below, however tight the accounting is.".into(),
        ],
        figures: vec![(
            roc(&curves)?,
            "What the attack tells".into(),
            "<span class=\"key private\"></span> canaries that were in against canaries that were not. The straight line knows nothing.".into(),
        )],
        json: json!({
            "lower": number(lower),
            "claimed": number(claim),
            "delta": args.delta,
            "confidence": args.sink.confidence,
            "canaries": found.canaries,
            "included": within.len(),
            "guesses": found.guesses,
            "correct": found.correct,
            "steps": args.steps,
            "rate": rate,
            "sigma": sigma,
            "accuracy": number(seen.accuracy),
            "seed": args.seed,
            "device": seen.device,
        }),
    })
}
