//! The fields of a JSON object that describe a mechanism or a question, each taken once.

use clap::ValueEnum;
use dp_core::accounting::Adjacency;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::args::Relation;
use super::error::AccountError;
use super::events::Unit;
use super::spec::{Noise, Spec, Voice};

/// The fields of one object. What is left at the end was of no use, and is refused.
pub struct Fields {
    map: Map<String, Value>,
    source: String,
}

/// All names that an object may hold, in the order in which messages list them.
const NAMES: [&str; 25] = [
    "sigma",
    "rate",
    "steps",
    "delta",
    "epsilon",
    "query",
    "events",
    "adjacency",
    "sampler",
    "noise",
    "population",
    "batch_size",
    "max_batch",
    "bins",
    "epochs",
    "group",
    "sensitivity",
    "count",
    "unit",
    "mechanism",
    "rho",
    "random_probability",
    "buckets",
    "shifts",
    "probabilities",
];

impl Fields {
    /// The fields of an object; `expected` says what it should hold.
    pub fn of(value: Value, expected: &str) -> Result<Self, AccountError> {
        let source = excerpt(&value.to_string());
        let Value::Object(map) = value else {
            return Err(AccountError::problem(format!(
                "{source} is not an object with {expected}"
            )));
        };
        let fields = Self { map, source };
        match fields.map.keys().find(|k| !NAMES.contains(&k.as_str())) {
            None => Ok(fields),
            Some(name) => Err(AccountError::problem(format!(
                "unknown field {name:?}; the fields are {expected}"
            ))),
        }
    }

    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.map.remove(name)
    }

    pub fn number(&mut self, name: &str) -> Result<Option<f64>, AccountError> {
        self.taken(name, "a number", |value| value.as_f64())
    }

    pub fn whole(&mut self, name: &str) -> Result<Option<u64>, AccountError> {
        self.taken(name, "a whole number of at least 0", |value| value.as_u64())
    }

    pub fn small(&mut self, name: &str) -> Result<Option<u32>, AccountError> {
        self.taken(name, "a whole number from 0 to 4294967295", |value| {
            value.as_u64().and_then(|whole| u32::try_from(whole).ok())
        })
    }

    pub fn numbers(&mut self, name: &str) -> Result<Option<Vec<f64>>, AccountError> {
        self.taken(name, "a list of numbers", |value| {
            value.as_array()?.iter().map(Value::as_f64).collect()
        })
    }

    /// One of the names that the flag of the same name takes.
    pub fn word<T: ValueEnum>(&mut self, name: &str) -> Result<Option<T>, AccountError> {
        let names: Vec<_> = T::value_variants()
            .iter()
            .filter_map(|variant| Some(variant.to_possible_value()?.get_name().to_owned()))
            .collect();
        self.taken(name, &format!("one of {}", names.join(", ")), |value| {
            T::from_str(value.as_str()?, false).ok()
        })
    }

    pub fn required<T>(&self, name: &str, value: Option<T>) -> Result<T, AccountError> {
        value.ok_or_else(|| AccountError::problem(format!("{name} is missing in {}", self.source)))
    }

    pub fn adjacency(&mut self) -> Result<Option<Adjacency>, AccountError> {
        Ok(self.word::<Relation>("adjacency")?.map(Into::into))
    }

    /// Whose presence the object's event hides: a record's where it doesn't say, as those did that were written before there were others.
    pub fn unit(&mut self) -> Result<Unit, AccountError> {
        let kind = r#""record" or {"user": {"most_records": K}}, with "owners" or without"#;
        let unit = self.taken("unit", kind, |value| Unit::deserialize(value).ok())?;
        Ok(unit.unwrap_or(Unit::Record))
    }

    /// The mechanism that the object describes.
    pub fn spec(&mut self) -> Result<Spec, AccountError> {
        Ok(Spec {
            voice: Voice::Fields,
            sampler: self.word("sampler")?,
            noise: self.word("noise")?.unwrap_or(Noise::Gaussian),
            sigma: self.number("sigma")?,
            rate: self.number("rate")?,
            steps: self.whole("steps")?,
            population: self.whole("population")?,
            batch_size: self.whole("batch_size")?,
            max_batch: self.whole("max_batch")?,
            bins: self.small("bins")?,
            epochs: self.small("epochs")?,
            group: self.small("group")?,
            sensitivity: self.number("sensitivity")?,
            count: self.whole("count")?,
        })
    }

    /// Refuses what nobody took.
    pub fn finish(self, owner: &str) -> Result<(), AccountError> {
        match self.map.keys().next() {
            None => Ok(()),
            Some(name) => Err(AccountError::problem(format!(
                "{name} does not go with {owner}: leave it out"
            ))),
        }
    }

    fn taken<T>(
        &mut self,
        name: &str,
        kind: &str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<Option<T>, AccountError> {
        let Some(value) = self.map.remove(name) else {
            return Ok(None);
        };
        match read(&value) {
            Some(read) => Ok(Some(read)),
            None => Err(AccountError::problem(format!(
                "{name} {} is not {kind}",
                excerpt(&value.to_string())
            ))),
        }
    }
}

/// The start of a text, for a message.
pub fn excerpt(line: &str) -> String {
    const LENGTH: usize = 60;
    let mut text: String = line.chars().take(LENGTH).collect();
    if text.len() < line.len() {
        text.push_str("...");
    }
    text
}
