//! `dpcube ledger export`.

use std::fmt::Write as _;
use std::iter;

use dp_core::ledger::{Entry, Record, Unit};
use dp_engine::fingerprint::hex;
use dp_engine::ledger::LedgerContents;
use serde_json::{Value, json};

use super::{Export, ExportArgs, read, words};
use crate::error::Failure;
use crate::files;
use crate::output::{answer, note};

/// The columns of the CSV: the fields of the JSON lines of records, and the unit, which stands in a line of its own there.
const COLUMNS: [&str; 17] = [
    "record",
    "kind",
    "step",
    "sampler",
    "rate",
    "sigma",
    "group",
    "clip",
    "eta",
    "count",
    "noise_std",
    "count_groups",
    "count_std",
    "reservation",
    "process",
    "unit",
    "most_records",
];

pub fn run(args: &ExportArgs) -> Result<(), Failure> {
    let (path, contents) = read::one(&args.ledger)?;
    if let Some(torn) = &contents.summary.torn {
        note!("dpcube: warning: {}: {}", path.display(), words::torn(torn));
    }
    let text = match args.format {
        Export::Jsonl => lines(&contents),
        Export::Csv => csv(&contents),
        Export::Events => events(&contents)?,
    };
    match &args.out {
        None => {
            answer(text)?;
            Ok(())
        }
        Some(out) => files::write_atomically(out, text.as_bytes()).map_err(|error| {
            Failure::new(format!(
                "{out:?} cannot be written: {error}; make room, or choose another --out"
            ))
        }),
    }
}

fn lines(contents: &LedgerContents) -> String {
    let mut text = String::new();
    let records = contents.records.iter().map(fields);
    for line in iter::once(head(contents)).chain(records) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{line}");
    }
    text
}

/// What the records are about and how far they go: the first line.
fn head(contents: &LedgerContents) -> Value {
    let (header, state) = (&contents.summary.header, &contents.summary.state);
    json!({
        "kind": "header",
        "dataset": hex(&header.dataset),
        "config": hex(&header.config),
        "unit": words::unit_json(&header.unit),
        "records": contents.records.len(),
        "head": hex(&state.head().digest),
    })
}

fn csv(contents: &LedgerContents) -> String {
    let unit = &contents.summary.header.unit;
    let mut text = COLUMNS.join(",") + "\n";
    for record in &contents.records {
        let mut fields = fields(record);
        fields["unit"] = json!(unit.to_string());
        if let Unit::User { most_records, .. } = unit {
            fields["most_records"] = json!(most_records);
        }
        let cells = COLUMNS.map(|column| match &fields[column] {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        });
        text += &(cells.join(",") + "\n");
    }
    text
}

fn events(contents: &LedgerContents) -> Result<String, Failure> {
    let unit = &contents.summary.header.unit;
    let spent = contents.spent.iter();
    let list: Vec<Value> = spent
        .filter_map(|(event, count)| words::event_json(event, *count, unit))
        .collect();
    Ok(serde_json::to_string_pretty(&list)? + "\n")
}

/// A record's fields; those that its kind doesn't have are left out.
fn fields(record: &Record) -> Value {
    let mut fields = match &record.entry {
        Entry::Start { process } => json!({"kind": "start", "process": hex(process)}),
        Entry::Reserve { step, charge } => {
            let mut fields = words::mechanism_json(&charge.event).unwrap_or_default();
            fields["kind"] = json!("reserve");
            fields["step"] = json!(step);
            fields["clip"] = json!(charge.clip);
            fields["eta"] = json!(charge.eta);
            fields["count"] = json!(charge.count);
            fields["noise_std"] = json!(charge.noise_std());
            if let Some(counts) = charge.counts {
                fields["count_groups"] = json!(counts.groups());
                fields["count_std"] = json!(counts.std());
            }
            fields
        }
        Entry::Commit { step, reservation } => {
            json!({"kind": "commit", "step": step, "reservation": reservation})
        }
    };
    fields["record"] = json!(record.sequence);
    fields
}
