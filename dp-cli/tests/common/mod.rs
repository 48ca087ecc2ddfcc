//! What several tests of training runs share.
#![allow(dead_code, reason = "each test takes its own part")]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

/// A folder with a file of records.
pub struct Place {
    folder: TempDir,
}

impl Place {
    pub fn new(records: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let text: String = (0..records)
            .map(|i| format!("record {i}: the note of a day in month {}\n", i % 12))
            .collect();
        fs::write(folder.path().join("notes.txt"), text).expect("a file");
        Self { folder }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A small private run, with more arguments behind.
    pub fn train(&self, out: &str, arguments: &[&str]) -> Command {
        let mut command = dpcube();
        command
            .args(["train", "--data"])
            .arg(self.path("notes.txt"))
            .arg("--out")
            .arg(self.path(out))
            .args(["--batch", "8", "--microbatch", "8"])
            .args(arguments);
        command
    }

    pub fn json(&self, name: &str) -> Value {
        let text = fs::read_to_string(self.path(name)).expect("a file");
        serde_json::from_str(&text).expect("JSON")
    }
}

pub fn dpcube() -> Command {
    Command::new(env!("CARGO_BIN_EXE_dpcube"))
}

pub fn run(command: &mut Command) -> Output {
    command.output().expect("the program starts")
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
pub fn assert_done(output: &Output) {
    assert!(output.status.success(), "{}", stderr(output));
}

/// Exit code 2 and a last line on stderr that says `named`; gives that line.
#[track_caller]
pub fn assert_refused(output: &Output, named: &str) {
    let text = stderr(output);
    let line = text.lines().last().unwrap_or_default();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(line.starts_with("dpcube: error: "), "{text}");
    assert!(line.contains(named), "{named:?} is not in {line:?}");
    assert_eq!(text.matches("dpcube: error").count(), 1, "{text}");
    assert!(!text.contains("panicked"), "{text}");
}
