//! `dpcube demo`: train twice with the same settings, without privacy and with it, and show what it bought.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use clap::Parser;

use crate::args::{Cli, DemoArgs};
use crate::error::Failure;
use crate::files;
use crate::interrupt::Interrupt;
use crate::output::{note, say};
use crate::report::{Report, RunSummary};
use crate::train::{self, LEDGER, SUMMARY};

/// The shipped records: dictionary entries, public text.
const CORPUS: &[u8] = include_bytes!("../../corpus/wordnet.txt");
/// Their copy in the demo's folder.
const RECORDS: &str = "records.txt";
/// Marks a folder as a demo's own, so that the next demo may clear it. It names the data where these were not the shipped records.
const MARK: &str = ".dpcube-demo";
/// The private run's folder.
const PRIVATE: &str = "private";
/// Folders of the two runs, in the order in which they are trained: the private one has more that can be refused.
const RUNS: [&str; 2] = [PRIVATE, "non-private"];
/// Files of a former demo beside them.
const REPORTS: [&str; 2] = ["report.html", "report.json"];

/// Trains both models, each in a process of its own so that its peak memory is its own, and writes the
/// report.
///
/// # Errors
/// An argument that no run takes, before anything of a former demo is removed; a run that failed, whose own line says why.
pub fn run(args: &DemoArgs) -> Result<(), Failure> {
    let out = &args.out;
    let data = args.data.clone();
    let data = data.unwrap_or_else(|| out.join(RECORDS));
    for name in RUNS {
        check_arguments(arguments(args, name, &data, &out.join(name)))?;
    }
    clear(out, args.data.as_deref())?;
    // Ctrl-C reaches the run as well, which then finishes its step: wait for it.
    let _interrupt = Interrupt::install("waiting for the run to finish its step")?;
    if args.data.is_none() {
        let records = first_lines(CORPUS, args.records);
        files::write_atomically(&data, records).map_err(|error| unwritable(&data, &error))?;
    }
    let mut summaries = Vec::new();
    for name in RUNS {
        note!("Training {name} ...");
        summaries.push(train_one(args, name, &data)?);
    }
    let (Some(non_private), Some(private)) = (summaries.pop(), summaries.pop()) else {
        return Err(Failure::new("a run left no summary"));
    };
    let report = Report::new(private, non_private)?;
    let page = report.write(out)?;
    say!("{}", report.text())?;
    say!("The report is in {}", page.display())?;
    Ok(())
}

/// What a run of these arguments would refuse before it reads a record.
fn check_arguments(arguments: Vec<OsString>) -> Result<(), Failure> {
    let program = std::iter::once(OsString::from("dpcube"));
    match Cli::try_parse_from(program.chain(arguments))?.command {
        crate::args::Command::Train(args) => train::check(&args),
        _ => Err(Failure::new("the demo's arguments are not those of a run")),
    }
}

/// The first `count` lines of `text`.
fn first_lines(text: &[u8], count: usize) -> &[u8] {
    let ends = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    let end = count
        .checked_sub(1)
        .and_then(|last| ends.map(|(at, _)| at + 1).nth(last));
    if count == 0 {
        &[]
    } else {
        &text[..end.unwrap_or(text.len())]
    }
}

/// Makes the folder, or removes what a former demo left in it, unless that is all that tells what was spent on somebody's records.
fn clear(out: &Path, data: Option<&Path>) -> Result<(), Failure> {
    let mark = out.join(MARK);
    let is_empty = fs::read_dir(out).map_or(true, |mut entries| entries.next().is_none());
    if !is_empty && !mark.exists() {
        return Err(Failure::new(format!(
            "--out {out:?} holds something that is not a demo's: choose a new or empty folder"
        )));
    }
    let former = fs::read_to_string(&mark).unwrap_or_default();
    let ledger = out.join(PRIVATE).join(LEDGER);
    if !former.is_empty() && ledger.exists() {
        return Err(Failure::new(format!(
            "--out {out:?} has the ledger of a private run on {former}, and a demo would remove it, which forgets what was spent on these records: \
             choose another --out, or move {ledger:?} to a place of its own first"
        )));
    }
    fs::create_dir_all(out).map_err(|error| unwritable(out, &error))?;
    let named = data.map(|data| data.display().to_string());
    fs::write(&mark, named.unwrap_or_default()).map_err(|error| unwritable(&mark, &error))?;
    for name in RUNS {
        let folder = out.join(name);
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(|error| unwritable(&folder, &error))?;
        }
    }
    for name in REPORTS {
        let file = out.join(name);
        if file.exists() {
            fs::remove_file(&file).map_err(|error| unwritable(&file, &error))?;
        }
    }
    Ok(())
}

fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!(
        "{path:?} cannot be written: {error}; choose another --out"
    ))
}

fn train_one(args: &DemoArgs, name: &str, data: &Path) -> Result<RunSummary, Failure> {
    let folder = args.out.join(name);
    let program = std::env::current_exe()?;
    let status = Command::new(program)
        .args(arguments(args, name, data, &folder))
        .status()?;
    check(name, status)?;
    let path = folder.join(SUMMARY);
    let text = fs::read_to_string(&path)
        .map_err(|error| Failure::new(format!("{path:?} cannot be read: {error}")))?;
    Ok(serde_json::from_str(&text)?)
}

fn check(name: &str, status: ExitStatus) -> Result<(), Failure> {
    match status.code() {
        Some(0) => Ok(()),
        Some(130) => Err(Failure::interrupted(format!(
            "the {name} run was stopped; run the demo again to start over"
        ))),
        _ => Err(Failure::new(format!("the {name} run failed ({status})"))),
    }
}

/// The same settings for both runs; the guarantee for the private one.
fn arguments(args: &DemoArgs, name: &str, data: &Path, folder: &Path) -> Vec<OsString> {
    let settings = &args.settings;
    let mut list: Vec<OsString> = vec!["train".into()];
    let mut option = |name: &str, value: OsString| list.extend([OsString::from(name), value]);
    option("--data", data.into());
    option("--out", folder.into());
    option(
        "--model",
        format!("{:?}", settings.model).to_lowercase().into(),
    );
    option(
        "--device",
        format!("{:?}", settings.device).to_lowercase().into(),
    );
    option("--steps", settings.steps.to_string().into());
    option("--batch", settings.batch.to_string().into());
    option("--microbatch", settings.microbatch.to_string().into());
    option(
        "--norms",
        format!("{:?}", settings.norms).to_lowercase().into(),
    );
    if let Some(mib) = settings.keep_memory {
        option("--keep-memory", mib.to_string().into());
    }
    option("--lr", settings.lr.to_string().into());
    option("--seed", settings.seed.to_string().into());
    option("--canaries", args.canaries.to_string().into());
    if let Some(tokenizer) = &settings.tokenizer {
        option("--tokenizer", PathBuf::from(tokenizer).into());
    }
    if name == PRIVATE {
        option("--clip", settings.clip.to_string().into());
        option("--epsilon", args.target.epsilon.to_string().into());
        if let Some(delta) = args.target.delta {
            option("--delta", format!("{delta:e}").into());
        }
    } else {
        list.push("--non-private".into());
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted() {
        let text = b"a\nbb\nccc\n";
        assert_eq!(first_lines(text, 0), b"");
        assert_eq!(first_lines(text, 1), b"a\n");
        assert_eq!(first_lines(text, 2), b"a\nbb\n");
        assert_eq!(first_lines(text, 4), text);
        assert_eq!(first_lines(b"a\nb", 2), b"a\nb");
    }
}
