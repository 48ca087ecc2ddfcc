//! What a run did: its events with counts, from flags or from a list in JSON.

use std::num::NonZeroU32;
use std::path::Path;
use std::{fmt, fs};

use dp_core::accounting::{Adjacency, Event, GaussianMixture, Run};
use serde::Deserialize;
use serde_json::Value;

use super::error::AccountError;
use super::fields::Fields;
use super::spec::Step;

/// Whose presence events hide, as the export of a ledger says it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Unit {
    /// One record.
    Record,
    /// One user with all their records.
    User {
        /// The most records of a user that a step uses.
        most_records: NonZeroU32,
        /// Fingerprint of whose each record is, where it is known.
        owners: Option<String>,
    },
}

impl Unit {
    /// The unit of events of both, where their costs add up: both hide a record, or the same users. How many of a user's records a step used is no
    /// matter.
    fn with(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            (Self::Record, Self::Record) => Some(Self::Record),
            (
                Self::User {
                    most_records,
                    owners,
                },
                Self::User {
                    most_records: more,
                    owners: others,
                },
            ) if owners == others => Some(Self::User {
                most_records: *most_records.max(more),
                owners: owners.clone(),
            }),
            _ => None,
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Record => f.write_str("one record"),
            Self::User { owners: None, .. } => f.write_str("one user"),
            Self::User {
                owners: Some(owners),
                ..
            } => write!(f, "one user (users {owners})"),
        }
    }
}

/// What a run did.
#[derive(Clone, Debug, PartialEq)]
pub struct History {
    pub adjacency: Adjacency,
    /// Whose presence all events hide.
    pub unit: Unit,
    pub events: Vec<(Event, u64)>,
    /// Each event with its count, in words.
    pub described: Vec<String>,
}

impl History {
    /// A run in which nothing happened yet.
    pub fn empty(adjacency: Adjacency) -> Self {
        Self {
            adjacency,
            unit: Unit::Record,
            events: Vec::new(),
            described: Vec::new(),
        }
    }

    /// A run of one step.
    pub fn of(adjacency: Adjacency, step: Step) -> Self {
        Self {
            events: vec![(step.event, step.count)],
            described: vec![step.described],
            ..Self::empty(adjacency)
        }
    }

    /// The run with one more step, about the same unit.
    pub fn with(&self, step: Step) -> Result<Self, AccountError> {
        let mut history = self.clone();
        history.push(step)?;
        Ok(history)
    }

    /// Adds a step that says itself whose presence it hides, which must be what the others say: what was charged for a record says nothing of a user with
    /// many.
    fn push_about(&mut self, unit: &Unit, step: Step) -> Result<(), AccountError> {
        if let (Unit::User { .. }, Event::GroupPoissonGaussian { group, .. }) = (unit, &step.event)
        {
            return Err(AccountError::problem(format!(
                "group {group} does not go with a unit of users, whose events are about all records of a user as they are: leave one of the two out"
            )));
        }
        let joined = if self.events.is_empty() {
            Some(unit.clone())
        } else {
            self.unit.with(unit)
        };
        self.unit = joined.ok_or_else(|| {
            AccountError::problem(format!(
                "\"{}\" is about {unit} and an event before it about {}, whose costs don't add up: ask for each apart (an event that says no unit is \
                 about one record)",
                step.described, self.unit
            ))
        })?;
        self.push(step)
    }

    /// Adds a step about the same unit, whose cost must be that of as many records as the others': costs of one record and of four don't add up to the
    /// cost of either.
    pub fn push(&mut self, step: Step) -> Result<(), AccountError> {
        let others = self
            .events
            .iter()
            .find_map(|(event, _)| records_of_one(event));
        match (others, records_of_one(&step.event)) {
            (Some(others), Some(records)) if others != records => {
                let records_of = |records| match records {
                    1 => self.unit.to_string(),
                    _ => format!("a group of {records} records"),
                };
                return Err(AccountError::problem(format!(
                    "\"{}\" is about {} and an event before it about {}, whose costs don't add up: give all the same group, or ask for \
                     each apart",
                    step.described,
                    records_of(records),
                    records_of(others)
                )));
            }
            _ => {}
        }
        self.events.push((step.event, step.count));
        self.described.push(step.described);
        Ok(())
    }

    /// As the accountant takes it.
    pub fn run(&self) -> Run<'_> {
        Run {
            adjacency: self.adjacency,
            events: &self.events,
        }
    }

    /// Whether an event is about all records of a person.
    pub fn has_groups(&self) -> bool {
        let group = |event: &Event| matches!(event, Event::GroupPoissonGaussian { .. });
        self.events.iter().any(|(event, _)| group(event))
    }
}

/// How many records of one person an event's cost is about; nothing where its values say it, which whoever gives them knows.
fn records_of_one(event: &Event) -> Option<u32> {
    match event {
        Event::GroupPoissonGaussian { group, .. } => Some(*group),
        Event::MixtureGaussian(_)
        | Event::ApproximateDp { .. }
        | Event::ZeroConcentratedDp { .. } => None,
        _ => Some(1),
    }
}

/// The events in a file, a JSON array.
pub fn read(path: &Path, adjacency: Adjacency) -> Result<History, AccountError> {
    let text = fs::read_to_string(path).map_err(|source| AccountError::Read {
        path: path.to_owned(),
        source,
        flag: "--events",
    })?;
    let named =
        |problem: AccountError| AccountError::problem(format!("{}, {problem}", path.display()));
    let value: Value = serde_json::from_str(&text).map_err(|error| {
        AccountError::problem(format!(
            "{} is not JSON ({error}); see --help for what --events takes",
            path.display()
        ))
    })?;
    list(value, adjacency).map_err(named)
}

/// The events in a JSON array.
pub fn list(value: Value, adjacency: Adjacency) -> Result<History, AccountError> {
    let Value::Array(items) = value else {
        return Err(AccountError::problem(
            "the events are not a JSON array: put the objects in [ ]",
        ));
    };
    let mut history = History::empty(adjacency);
    for (index, item) in items.into_iter().enumerate() {
        event(item, adjacency)
            .and_then(|(unit, step)| history.push_about(&unit, step))
            .map_err(|problem| AccountError::problem(format!("event {}: {problem}", index + 1)))?;
    }
    Ok(history)
}

/// An event, and whose presence it hides.
fn event(item: Value, adjacency: Adjacency) -> Result<(Unit, Step), AccountError> {
    let expected = "the mechanism's values, count and unit";
    let mut fields = Fields::of(item, expected)?;
    let unit = fields.unit()?;
    let Some(mechanism) = fields.take("mechanism") else {
        let spec = fields.spec()?;
        fields.finish("an event")?;
        return Ok((unit, spec.resolve(adjacency)?));
    };
    let count = fields.whole("count")?.unwrap_or(1);
    let times = if count == 1 { "time" } else { "times" };
    macro_rules! get {
        ($kind:ident $name:literal) => {{
            let value = fields.$kind($name)?;
            fields.required($name, value)?
        }};
    }
    let (event, words) = match mechanism.as_str() {
        Some("approximate-dp") => {
            let (epsilon, delta) = (get!(number "epsilon"), get!(number "delta"));
            let words = format!("({epsilon}, {delta})-DP mechanism");
            (Event::ApproximateDp { epsilon, delta }, words)
        }
        Some("zcdp") => {
            let rho = get!(number "rho");
            let words = format!("{rho}-zCDP mechanism");
            (Event::ZeroConcentratedDp { rho }, words)
        }
        Some("randomized-response") => {
            let (noise, buckets) = (get!(number "random_probability"), get!(small "buckets"));
            let words = format!(
                "randomised response of {buckets} answers, random with probability {noise}"
            );
            (Event::RandomizedResponse { noise, buckets }, words)
        }
        Some("mixture") => {
            let (shifts, parts) = (get!(numbers "shifts"), get!(numbers "probabilities"));
            let sigma = get!(number "sigma");
            let mixture = GaussianMixture::new(&shifts, &parts, sigma)?;
            let words = format!(
                "Gaussian mixture of {} parts, noise multiplier {sigma}",
                shifts.len()
            );
            (Event::MixtureGaussian(mixture), words)
        }
        _ => {
            return Err(AccountError::problem(format!(
                "mechanism {mechanism} is not approximate-dp, zcdp, randomized-response or mixture: \
                 name one, or leave it out for a sampler with noise"
            )));
        }
    };
    fields.finish(&format!("mechanism {mechanism}"))?;
    let step = Step {
        event,
        count,
        described: format!("{count} {times} a {words}"),
    };
    Ok((unit, step))
}
