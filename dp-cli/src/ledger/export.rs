//! `dpcube ledger export`.

use std::fmt::Write as _;

use dp_core::ledger::{Entry, Record};
use dp_engine::fingerprint::hex;
use dp_engine::ledger::LedgerContents;
use serde_json::{Value, json};

use super::{Export, ExportArgs, read, words};
use crate::error::Failure;
use crate::files;
use crate::output::{answer, note};

/// The columns of the CSV, which are the fields of the JSON lines.
const COLUMNS: [&str; 15] = [
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
];

pub fn run(args: &ExportArgs) -> Result<(), Failure> {
    let (path, contents) = read::one(&args.ledger)?;
    if let Some(torn) = &contents.summary.torn {
        note!("dpcube: warning: {}: {}", path.display(), words::torn(torn));
    }
    let text = match args.format {
        Export::Jsonl => lines(&contents.records),
        Export::Csv => csv(&contents.records),
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

fn lines(records: &[Record]) -> String {
    let mut text = String::new();
    for record in records {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}", fields(record));
    }
    text
}

fn csv(records: &[Record]) -> String {
    let mut text = COLUMNS.join(",") + "\n";
    for record in records {
        let fields = fields(record);
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
    let spent = contents.spent.iter();
    let list: Vec<Value> = spent
        .filter_map(|(event, count)| words::event_json(event, *count))
        .collect();
    Ok(serde_json::to_string_pretty(&list)? + "\n")
}

/// A record's fields; those that its kind doesn't have are left out.
fn fields(record: &Record) -> Value {
    let mut fields = match &record.entry {
        Entry::Start { process } => json!({"kind": "start", "process": hex(process)}),
        Entry::Reserve { step, charge } => {
            let mut fields = words::event_json(&charge.event, charge.count).unwrap_or_default();
            if let Some(map) = fields.as_object_mut() {
                map.remove("steps");
            }
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
