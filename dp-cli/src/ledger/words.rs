//! Events, fingerprints and endings in words and in JSON.

use dp_core::accounting::Event;
use dp_core::ledger::{Torn, Unit};
use dp_engine::fingerprint::hex;
use serde_json::{Value, json};

/// An event with its count, for a person.
pub fn event(event: &Event, count: u64) -> String {
    let times = if count == 1 { "step" } else { "steps" };
    match event {
        Event::Gaussian { sigma } => {
            format!("{count} {times} of full batches, noise multiplier {sigma}")
        }
        Event::PoissonGaussian { rate, sigma } => {
            format!("{count} {times} of Poisson batches of rate {rate}, noise multiplier {sigma}")
        }
        Event::GroupPoissonGaussian { rate, sigma, group } => format!(
            "{count} {times} of Poisson batches of rate {rate}, noise multiplier {sigma}, for a person with {group} records"
        ),
        other => format!("{count} {times} of {other:?}"),
    }
}

/// The same as an object that `dpcube account epsilon --events` takes, with whose presence it hides: without the unit a step of users would read as one
/// of records. None for an event that no ledger holds.
pub fn event_json(event: &Event, count: u64, unit: &Unit) -> Option<Value> {
    let mut object = mechanism_json(event)?;
    object["steps"] = json!(count);
    object["unit"] = unit_json(unit);
    Some(object)
}

/// An event's own values.
pub fn mechanism_json(event: &Event) -> Option<Value> {
    Some(match event {
        Event::Gaussian { sigma } => json!({"sampler": "full", "sigma": sigma}),
        Event::PoissonGaussian { rate, sigma } => {
            json!({"sampler": "poisson", "rate": rate, "sigma": sigma})
        }
        Event::GroupPoissonGaussian { rate, sigma, group } => {
            json!({"sampler": "poisson", "rate": rate, "sigma": sigma, "group": group})
        }
        _ => return None,
    })
}

/// What an incomplete last record means.
pub fn torn(torn: &Torn) -> String {
    format!(
        "the last record, from byte {} on, is incomplete ({} bytes): a crash, or a run that is writing; it paid for nothing yet",
        torn.offset, torn.bytes
    )
}

/// Whose presence a ledger's events hide, for a person.
pub fn unit(unit: &Unit) -> String {
    match unit {
        Unit::Record => "one record".into(),
        Unit::User {
            most_records,
            owners,
        } => format!(
            "one user with all their records, of which a step uses at most {most_records} (users {})",
            hex(owners)
        ),
    }
}

/// The same as JSON.
pub fn unit_json(unit: &Unit) -> Value {
    match unit {
        Unit::Record => json!("record"),
        Unit::User {
            most_records,
            owners,
        } => json!({"user": {"most_records": most_records, "owners": hex(owners)}}),
    }
}
