//! What must hold of an engine's answers, whatever the truth is.

use dp_core::accounting::{Accountant, AccountingError, Bounds, Event, Run, trade_off};

use super::case::{Case, Query};
use super::engines::{self, Lent};

/// Asks every engine, and compares each one's answer with itself, with what it says of related queries, and with the others.
pub(super) fn check(case: &Case) {
    let mut answers: Vec<(&str, Bounds)> = Vec::new();
    for (name, mut engine) in engines::all() {
        let fail = |what: &str, seen: &dyn std::fmt::Debug| -> ! {
            panic!("{name}: {what}: {seen:?}\n{case}")
        };
        let Ok(bounds) = ask(&mut *engine, case.run(), case.query) else {
            continue;
        };
        if !ordered(bounds) {
            fail("not 0 <= lower <= estimate <= upper", &bounds);
        }
        let most = match case.query {
            Query::Delta { .. } => 1.0,
            Query::Epsilon { .. } => f64::MAX,
            // Who guesses reaches this.
            Query::TradeOff {
                false_positive_rate,
            } => (1.0 - false_positive_rate) * (1.0 + 1e-12) + 1e-15,
        };
        if bounds.estimate > most || bounds.lower > most {
            fail("above the largest possible", &bounds);
        }
        if matches!(case.query, Query::Delta { .. }) && bounds.upper > 1.0 {
            fail("delta above one", &bounds);
        }
        if !valid(case) {
            fail("an answer to what is outside the domain", &bounds);
        }
        if let Err(seen) = inverse(&mut *engine, case, bounds) {
            fail("the inverse query contradicts", &(bounds, seen));
        }
        if let Err(seen) = shorter(&mut *engine, case, bounds) {
            fail("a shorter run is said to cost more", &(bounds, seen));
        }
        answers.push((name, bounds));
    }
    for (one, a) in &answers {
        for (other, b) in &answers {
            assert!(
                a.lower <= b.upper,
                "{one} has a lower bound above {other}'s upper one: {a:?} {b:?}\n{case}"
            );
        }
    }
}

fn ask(engine: &mut dyn Accountant, run: Run<'_>, query: Query) -> Result<Bounds, AccountingError> {
    match query {
        Query::Delta { epsilon } => engine.delta(run, epsilon),
        Query::Epsilon { delta } => engine.epsilon(run, delta),
        Query::TradeOff {
            false_positive_rate,
        } => trade_off(&mut Lent(engine), run, false_positive_rate),
    }
}

/// Finite, not a NaN, and in order.
fn ordered(bounds: Bounds) -> bool {
    let Bounds {
        lower,
        estimate,
        upper,
    } = bounds;
    0.0 <= lower && lower <= estimate && estimate <= upper && upper.is_finite()
}

/// The run is (`epsilon`, `delta`)-private with either number's upper bound, and not with its lower one: asked the other way
/// round, the answer's bounds must allow for the number that was given.
fn inverse(engine: &mut dyn Accountant, case: &Case, bounds: Bounds) -> Result<(), Bounds> {
    let (given, at_upper, at_lower) = match case.query {
        Query::Epsilon { delta } => (
            delta,
            engine.delta(case.run(), bounds.upper),
            engine.delta(case.run(), bounds.lower),
        ),
        // One end is enough of what takes longer.
        Query::Delta { epsilon } if bounds.upper < 1.0 => (
            epsilon,
            engine.epsilon(case.run(), bounds.upper),
            Err(AccountingError::UndefinedEngine),
        ),
        Query::Delta { .. } | Query::TradeOff { .. } => return Ok(()),
    };
    if let Ok(seen) = at_upper {
        // Private with (upper, given), so the smallest that could be given is not larger.
        if !ordered(seen) || seen.lower > given {
            return Err(seen);
        }
    }
    match at_lower {
        Ok(seen) if !ordered(seen) || (bounds.lower > 0.0 && seen.upper < given) => Err(seen),
        _ => Ok(()),
    }
}

/// A run leaks at least what it does without its last event.
fn shorter(engine: &mut dyn Accountant, case: &Case, bounds: Bounds) -> Result<(), Bounds> {
    let Some((_, rest)) = case.events.split_last() else {
        return Ok(());
    };
    let run = Run {
        events: rest,
        ..case.run()
    };
    match ask(engine, run, case.query) {
        Ok(seen) if !ordered(seen) => Err(seen),
        // A trade-off falls with what leaks.
        Ok(seen) if matches!(case.query, Query::TradeOff { .. }) && seen.upper < bounds.lower => {
            Err(seen)
        }
        Ok(seen) if !matches!(case.query, Query::TradeOff { .. }) && seen.lower > bounds.upper => {
            Err(seen)
        }
        _ => Ok(()),
    }
}

/// Whether query and events are in the widest domain that an engine could have.
fn valid(case: &Case) -> bool {
    let asked = match case.query {
        Query::Delta { epsilon } => positive(epsilon) || epsilon == 0.0,
        Query::Epsilon { delta } => delta > 0.0 && delta < 1.0,
        Query::TradeOff {
            false_positive_rate,
        } => (0.0..=1.0).contains(&false_positive_rate),
    };
    asked
        && case
            .events
            .iter()
            .all(|(event, count)| *count <= 1 << 53 && in_domain(event))
}

fn in_domain(event: &Event) -> bool {
    match *event {
        Event::Gaussian { sigma } | Event::ShuffledGaussian { sigma } => positive(sigma),
        Event::PoissonGaussian { rate, sigma } => share(rate) && positive(sigma),
        Event::GroupPoissonGaussian { rate, sigma, group } => {
            share(rate) && positive(sigma) && group > 0
        }
        Event::MixtureGaussian(mixture) => positive(mixture.sigma()),
        Event::FixedSizeGaussian {
            population,
            batch,
            sigma,
        } => (1..=population).contains(&batch) && positive(sigma),
        Event::TruncatedPoissonGaussian {
            population,
            rate,
            max_batch,
            sigma,
        } => population > 0 && share(rate) && max_batch > 0 && positive(sigma),
        Event::BallsInBinsGaussian {
            bins,
            epochs,
            sigma,
        } => bins > 0 && epochs > 0 && positive(sigma),
        Event::MatrixGaussian { sensitivity, sigma } => positive(sensitivity) && positive(sigma),
        Event::Laplace { scale } => positive(scale),
        Event::PoissonLaplace { rate, scale } => share(rate) && positive(scale),
        Event::DiscreteGaussian { sigma, sensitivity } => positive(sigma) && sensitivity > 0,
        Event::DiscreteLaplace { decay, sensitivity } => positive(decay) && sensitivity > 0,
        Event::RandomizedResponse { noise, buckets } => share(noise) && buckets > 1,
        Event::ApproximateDp { epsilon, delta } => {
            (epsilon == 0.0 || positive(epsilon)) && (0.0..1.0).contains(&delta)
        }
        Event::ZeroConcentratedDp { rho } => rho == 0.0 || positive(rho),
    }
}

fn positive(number: f64) -> bool {
    number > 0.0 && number.is_finite()
}

fn share(number: f64) -> bool {
    number > 0.0 && number <= 1.0
}
