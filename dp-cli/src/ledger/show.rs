//! `dpcube ledger show`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use dp_core::accounting::{Bounds, Event, Run};
use dp_core::ledger::Unit;
use dp_engine::accountant;
use dp_engine::fingerprint::hex;
use dp_engine::ledger::{DatasetSpend, LedgerContents, spent_by_dataset};
use serde_json::{Value, json};

use super::{Format, ShowArgs, read, words};
use crate::error::Failure;
use crate::output::say;

pub fn run(args: &ShowArgs) -> Result<(), Failure> {
    if let Some(delta) = args.delta
        && !(delta > 0.0 && delta < 1.0)
    {
        return Err(Failure::new(format!(
            "delta {delta} is not between 0 and 1: give --delta below 1/N"
        )));
    }
    let ledgers = args
        .ledgers
        .iter()
        .map(|named| read::one(named))
        .collect::<Result<Vec<_>, _>>()?;
    let spends = spent_by_dataset(&ledgers);
    match args.format {
        Format::Text => text(&ledgers, &spends, args.delta),
        Format::Json => {
            let value = in_json(&ledgers, &spends, args.delta)?;
            say!("{}", serde_json::to_string_pretty(&value)?)?;
            Ok(())
        }
    }
}

fn epsilon(events: &[(Event, u64)], delta: Option<f64>) -> Result<Option<Bounds>, Failure> {
    let answer = delta.map(|delta| accountant::epsilon(Run::add_remove(events), delta));
    Ok(answer.transpose()?)
}

fn text(
    ledgers: &[(PathBuf, LedgerContents)],
    spends: &[DatasetSpend],
    delta: Option<f64>,
) -> Result<(), Failure> {
    for (path, contents) in ledgers {
        let (header, state) = (&contents.summary.header, &contents.summary.state);
        say!("ledger    {}", path.display())?;
        say!("data set  {}", hex(&header.dataset))?;
        say!("settings  {}", hex(&header.config))?;
        say!("unit      {}", words::unit(&header.unit))?;
        say!(
            "records   {}: {} starts, {} steps reserved, {} of them confirmed",
            contents.records.len(),
            state.starts(),
            state.reservations(),
            state.commits(),
        )?;
        if let Some(torn) = &contents.summary.torn {
            say!("ending    {}", words::torn(torn))?;
        }
        print_spent(&contents.spent, delta)?;
        say!("")?;
    }
    for spend in spends {
        for copy in &spend.copies {
            say!(
                "{} is an older copy of another of these ledgers: not counted twice\n",
                copy.display()
            )?;
        }
        if spend.counted.len() > 1 {
            say!(
                "together  {} ledgers of the data set {}, for one {}",
                spend.counted.len(),
                hex(&spend.dataset),
                spend.unit
            )?;
            print_spent(&spend.events, delta)?;
            say!("")?;
        }
    }
    for of_two in spends.iter().enumerate().filter_map(|(at, spend)| {
        let others = &spends[..at];
        others
            .iter()
            .any(|other| other.dataset == spend.dataset)
            .then_some(spend.dataset)
    }) {
        say!(
            "The ledgers of the data set {} are for different units, a record or a user, or for other users: they do not add up\n",
            hex(&of_two)
        )?;
    }
    let datasets: BTreeSet<_> = spends.iter().map(|spend| spend.dataset).collect();
    if datasets.len() > 1 {
        say!(
            "These are of {} data sets (another file, --seed or --canaries makes another), which are not added up: who is in several loses the sum of \
             their epsilons and deltas\n",
            datasets.len()
        )?;
    }
    if delta.is_none() {
        say!("for epsilon give --delta")?;
    }
    Ok(())
}

fn print_spent(events: &[(Event, u64)], delta: Option<f64>) -> Result<(), Failure> {
    if events.is_empty() {
        say!("spent     nothing")?;
    }
    for (index, (event, count)) in events.iter().enumerate() {
        let head = if index == 0 { "spent" } else { "" };
        say!("{head:<10}{}", words::event(event, *count))?;
    }
    if let (Some(bounds), Some(delta)) = (epsilon(events, delta)?, delta) {
        say!("epsilon   {} at delta {delta:?}", bounds.upper)?;
        say!(
            "bounds    {} to {}, the truth lies between",
            bounds.lower,
            bounds.upper
        )?;
    }
    Ok(())
}

fn in_json(
    ledgers: &[(PathBuf, LedgerContents)],
    spends: &[DatasetSpend],
    delta: Option<f64>,
) -> Result<Value, Failure> {
    let ledgers = ledgers
        .iter()
        .map(|(path, contents)| {
            let (header, state) = (&contents.summary.header, &contents.summary.state);
            let torn = contents.summary.torn;
            Ok(json!({
                "ledger": path.display().to_string(),
                "dataset": hex(&header.dataset),
                "config": hex(&header.config),
                "unit": words::unit_json(&header.unit),
                "records": contents.records.len(),
                "head": hex(&state.head().digest),
                "starts": state.starts(),
                "reserved": state.reservations(),
                "confirmed": state.commits(),
                "torn": torn.map(|torn| json!({"offset": torn.offset, "bytes": torn.bytes})),
                "spent": spent_json(&contents.spent, &header.unit, delta)?,
            }))
        })
        .collect::<Result<Vec<_>, Failure>>()?;
    let together = spends
        .iter()
        .map(|spend| {
            Ok(json!({
                "dataset": hex(&spend.dataset),
                "unit": words::unit_json(&spend.unit),
                "ledgers": names(&spend.counted),
                "older_copies": names(&spend.copies),
                "spent": spent_json(&spend.events, &spend.unit, delta)?,
            }))
        })
        .collect::<Result<Vec<_>, Failure>>()?;
    Ok(json!({"ledgers": ledgers, "datasets": together}))
}

/// Paths for a person to read: what isn't UTF-8 in them is replaced.
fn names(paths: &[PathBuf]) -> Vec<String> {
    let name = |path: &PathBuf| path.display().to_string();
    paths.iter().map(name).collect()
}

fn spent_json(events: &[(Event, u64)], unit: &Unit, delta: Option<f64>) -> Result<Value, Failure> {
    let list: Vec<Value> = events
        .iter()
        .filter_map(|(event, count)| words::event_json(event, *count, unit))
        .collect();
    Ok(match (epsilon(events, delta)?, delta) {
        (Some(bounds), Some(delta)) => json!({
            "events": list,
            "delta": delta,
            "epsilon": {"lower": bounds.lower, "estimate": bounds.estimate, "upper": bounds.upper},
        }),
        _ => json!({"events": list}),
    })
}
