//! `dpcube account --batch`: one question a line, one answer a line.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;

use dp_core::accounting::Adjacency;
use serde_json::{Value, json};

use super::engine;
use super::error::AccountError;
use super::events::{self, History};
use super::fields::{Fields, excerpt};
use super::spec::Spec;
use super::{sigma, steps, text};

pub fn run(path: &Path, out: &mut impl Write) -> Result<(), AccountError> {
    let unreadable = |source| AccountError::Read {
        path: path.to_owned(),
        source,
        flag: "--batch",
    };
    let input: Box<dyn BufRead> = if path.as_os_str() == "-" {
        Box::new(io::stdin().lock())
    } else {
        Box::new(BufReader::new(File::open(path).map_err(unreadable)?))
    };
    for (index, line) in input.lines().enumerate() {
        let bad = |problem: String| AccountError::Line {
            line: index + 1,
            problem,
        };
        let line = line.map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => bad("the line is not UTF-8".to_owned()),
            _ => unreadable(error),
        })?;
        if line.trim().is_empty() {
            continue;
        }
        let answer = answer(&line).map_err(|problem| bad(problem.to_string()))?;
        writeln!(out, "{answer}")?;
    }
    Ok(())
}

/// The answer to a line.
fn answer(line: &str) -> Result<Value, AccountError> {
    let value: Value = serde_json::from_str(line).map_err(|error| {
        AccountError::problem(format!("{} is not JSON ({error})", excerpt(line)))
    })?;
    let mut fields = Fields::of(value, "sigma, rate, steps and delta")?;
    let query = fields.take("query").unwrap_or_else(|| "epsilon".into());
    let adjacency = fields.adjacency()?.unwrap_or(Adjacency::AddRemove);
    let epsilon = fields.number("epsilon")?;
    let delta = fields.number("delta")?;
    let events = match fields.take("events") {
        Some(list) => Some(events::list(list, adjacency)?),
        None => None,
    };
    let spec = fields.spec()?;
    let owner = format!("query {query}");
    let needed = |name, value| fields.required(name, value);
    let spare = |name: &str, given: bool| match given {
        false => Ok(()),
        true => Err(AccountError::problem(format!(
            "{name} does not go with {owner}: leave it out"
        ))),
    };
    let answer = match query.as_str() {
        Some("epsilon") => {
            spare("epsilon", epsilon.is_some())?;
            let history = history(&spec, events, adjacency)?;
            let bounds = engine::epsilon(history.run(), needed("delta", delta)?)?;
            text::bounds_json("epsilon", &bounds)
        }
        Some("delta") => {
            spare("delta", delta.is_some())?;
            let history = history(&spec, events, adjacency)?;
            let bounds = engine::delta(history.run(), needed("epsilon", epsilon)?)?;
            text::bounds_json("delta", &bounds)
        }
        Some("sigma") => {
            spare("sigma", spec.sigma.is_some())?;
            spare("events", events.is_some())?;
            let (epsilon, delta) = (needed("epsilon", epsilon)?, needed("delta", delta)?);
            let found = sigma::calibrate(&spec, adjacency, epsilon, delta)?;
            json!({"sigma": found.sigma, "epsilon": found.spent})
        }
        Some("steps") => {
            let before = events.unwrap_or_else(|| History::empty(adjacency));
            let (epsilon, delta) = (needed("epsilon", epsilon)?, needed("delta", delta)?);
            let allowed = steps::allow(&spec, &before, epsilon, delta)?;
            json!({allowed.unit: allowed.units, "epsilon": allowed.spent})
        }
        _ => {
            return Err(AccountError::problem(format!(
                "query {query} is not epsilon, delta, sigma or steps"
            )));
        }
    };
    fields.finish(&owner)?;
    Ok(answer)
}

/// The events of the line, or the mechanism that its fields describe.
fn history(
    spec: &Spec,
    events: Option<History>,
    adjacency: Adjacency,
) -> Result<History, AccountError> {
    match (events, spec.any_given()) {
        (None, _) => Ok(History::of(adjacency, spec.resolve(adjacency)?)),
        (Some(events), None) => Ok(events),
        (Some(_), Some(name)) => Err(AccountError::problem(format!(
            "{name} does not go with events, which say it: leave one of the two out"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_needs_exactly_its_fields() {
        let good = r#"{"sigma": 1.0, "rate": 0.01, "steps": 100, "delta": 1e-6}"#;
        assert!(answer(good).unwrap()["epsilon"].as_f64().unwrap() > 0.0);
        for (bad, names) in [
            ("{", "{"),
            ("[1]", "[1]"),
            (
                r#"{"sigma": 1.0, "rate": 0.01, "steps": 100}"#,
                "delta is missing",
            ),
            (
                r#"{"sigma": 1.0, "rate": 0.01, "delta": 0.1}"#,
                "needs steps",
            ),
            (
                r#"{"sigma": "one", "rate": 0.01, "steps": 100, "delta": 1e-6}"#,
                "\"one\"",
            ),
            (
                r#"{"sigma": 1.0, "rate": 0.01, "steps": 1.5, "delta": 1e-6}"#,
                "1.5",
            ),
            (
                r#"{"sigma": 1.0, "rate": 0.01, "steps": -3, "delta": 1e-6}"#,
                "-3",
            ),
            (
                r#"{"sigma": 1.0, "rate": 0.01, "steps": 3, "delta": 1e-6, "Delta": 1}"#,
                "Delta",
            ),
            (
                r#"{"sigma": 1.0, "rate": 0.01, "steps": 3, "delta": 1e-6, "bins": 1}"#,
                "bins",
            ),
            (
                r#"{"sigma": 1.0, "rate": 0.01, "steps": 3, "delta": 1e-6, "rho": 1}"#,
                "rho",
            ),
            (
                r#"{"sigma": 1.0, "rate": 0.01, "steps": 3, "delta": 1e-6, "epsilon": 1}"#,
                "epsilon",
            ),
            (r#"{"query": "fun", "sigma": 1.0}"#, "\"fun\""),
            (
                r#"{"query": "delta", "sigma": 1.0, "rate": 0.01, "steps": 3}"#,
                "epsilon is missing",
            ),
            (
                r#"{"query": "sigma", "sigma": 1.0, "epsilon": 1, "delta": 0.1}"#,
                "sigma",
            ),
            (
                r#"{"query": "steps", "steps": 9, "sigma": 1.0, "rate": 0.1, "epsilon": 1, "delta": 0.1}"#,
                "steps",
            ),
            (
                r#"{"events": [{"sigma": 1}], "delta": 0.1}"#,
                "event 1: sampler poisson needs rate",
            ),
            (r#"{"events": 5, "delta": 0.1}"#, "not a JSON array"),
            (
                r#"{"events": [], "sigma": 1, "delta": 0.1}"#,
                "sigma does not go with events",
            ),
        ] {
            let problem = answer(bad).expect_err(bad).to_string();
            assert!(problem.contains(names), "{problem}");
        }
    }
}
