//! Answers for a person: what all of them say the same way.

use std::io::{self, Write};

use dp_core::accounting::{Adjacency, Bounds};
use serde_json::{Value, json};

use super::events::{History, Unit};

/// The three numbers under the name of the middle one.
pub fn bounds_json(name: &str, bounds: &Bounds) -> Value {
    json!({name: bounds.estimate, "lower": bounds.lower, "upper": bounds.upper})
}

/// What is promised, and where the truth lies.
pub fn write_bounds(out: &mut impl Write, name: &str, bounds: &Bounds) -> io::Result<()> {
    writeln!(out, "{name:<10}{}", bounds.upper)?;
    writeln!(
        out,
        "bounds    {} to {}, the truth lies between",
        bounds.lower, bounds.upper
    )
}

/// What the answer is about.
pub fn write_run(out: &mut impl Write, history: &History, rest: &str) -> io::Result<()> {
    let last = history.described.len().saturating_sub(1);
    for (index, described) in history.described.iter().enumerate() {
        let head = if index == 0 { "run" } else { "" };
        let tail = if index == last { rest } else { "" };
        writeln!(out, "{head:<10}{described}{tail}")?;
    }
    writeln!(out, "holds for  {}", relation(history))
}

/// The neighbouring relation, with who is protected.
pub fn relation(history: &History) -> String {
    let one = match &history.unit {
        Unit::User { most_records, .. } => {
            format!("one user with all their records (of which a step uses at most {most_records})")
        }
        Unit::Record if history.has_groups() => "one person's records".to_owned(),
        Unit::Record => "one record".to_owned(),
    };
    match history.adjacency {
        Adjacency::AddRemove => {
            format!("add/remove adjacency: {one} more or less in the data, the worse direction")
        }
        Adjacency::ZeroOut => {
            format!(
                "zero-out adjacency: {one} replaced by a contribution of zero, the worse direction"
            )
        }
        Adjacency::ReplaceOne => format!("replace-one adjacency: {one} replaced by another"),
    }
}
