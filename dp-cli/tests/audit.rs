//! `dpcube audit` as a person runs it, on the processor.

#![cfg(feature = "cpu")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

/// One program at a time: each keeps every core busy, and several of them wait for each other.
static TURN: Mutex<()> = Mutex::new(());

fn dpcube(args: &[&str]) -> Output {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut command = Command::new(env!("CARGO_BIN_EXE_dpcube"));
    command.args(args).output().expect("the program starts")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs `dpcube audit` with `--out` in `folder`; gives its line of JSON, and sees that there is a page.
fn audit(folder: &Path, args: &[&str]) -> Value {
    let out = folder.join("audit");
    let arguments = [&["audit"], args, &["--out", out.to_str().expect("a path")]].concat();
    let output = dpcube(&arguments);
    assert!(output.status.success(), "{}", stderr(&output));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("not covered by the epsilon"), "{said}");
    let page = fs::read_to_string(out.join("report.html")).expect("a page");
    assert!(page.contains("<svg") && page.contains("not covered by the epsilon"));
    let lines = fs::read_to_string(out.join("audit.jsonl")).expect("a file");
    assert_eq!(lines.lines().count(), 1);
    let line: Value = serde_json::from_str(&lines).expect("JSON");
    assert_eq!(line["covered_by_epsilon"], false);
    line
}

fn of(line: &Value, name: &str) -> f64 {
    line[name]
        .as_f64()
        .unwrap_or_else(|| panic!("{name} in {line}"))
}

/// The kernels' own step: a lower bound within a fifth of the claim, and never above it. The key comes from the seed.
#[test]
fn the_step_leaks_what_is_claimed_and_no_more() {
    let folder = tempfile::tempdir().expect("a folder");
    let args = ["step", "--sigma", "0.5", "--releases", "2000"];
    let line = audit(folder.path(), &args);
    let (lower, claimed) = (of(&line, "lower"), of(&line, "claimed"));
    println!("lower {lower}, claimed {claimed}");
    // The analytic Gaussian of mu 2 at delta 1e-5.
    assert!((claimed - 10.4).abs() < 0.5, "{claimed}");
    assert!(
        0.8 * claimed <= lower && lower <= claimed,
        "{lower} of {claimed}"
    );
    assert!(of(&line, "mu_lower") <= of(&line, "mu_claimed"));
}

/// One run at epsilon 4, with keys from the operating system: about 1.6, with a standard deviation near 0.11 in a simulation.
#[test]
fn one_run_at_epsilon_4_proves_more_than_1() {
    let folder = tempfile::tempdir().expect("a folder");
    let line = audit(folder.path(), &["run", "--epsilon", "4", "--seed", "7"]);
    let (lower, claimed) = (of(&line, "lower"), of(&line, "claimed"));
    println!(
        "lower {lower}, claimed {claimed}, accuracy {}",
        of(&line, "accuracy")
    );
    assert!(claimed <= 4.0 && claimed > 3.9, "{claimed}");
    assert!(lower > 1.0 && lower <= claimed, "{line}");
    assert!(
        of(&line, "accuracy") > 0.8,
        "it is a training that learns: {line}"
    );
}

/// A model that was trained for long on few records knows them and its canaries; trained privately it does not.
#[test]
fn membership_shows_without_privacy() {
    let folder = tempfile::tempdir().expect("a folder");
    let notes = folder.path().join("notes.txt");
    let mut state = 1_u32;
    let mut digit = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) % 10
    };
    let text: String = (0..120)
        .map(|_| {
            let code: String = (0..20).map(|_| digit().to_string()).collect();
            format!("note {code}\n")
        })
        .collect();
    fs::write(&notes, text).expect("a file");
    let path = |name: &str| {
        folder
            .path()
            .join(name)
            .to_str()
            .expect("a path")
            .to_owned()
    };
    let train = |out: &str, more: &[&str]| {
        let (data, out) = (path("notes.txt"), path(out));
        let common = [
            "train",
            "--data",
            &data,
            "--out",
            &out,
            "--batch",
            "32",
            "--steps",
            "100",
            "--canaries",
            "1",
        ];
        let output = dpcube(&[&common[..], more].concat());
        assert!(output.status.success(), "{}", stderr(&output));
    };
    train("plain", &["--non-private"]);
    train("private", &["--epsilon", "2", "--delta", "1e-3"]);
    let (private, plain) = (path("private"), path("plain"));
    let line = audit(
        folder.path(),
        &["model", "--model", &private, "--compare", &plain],
    );
    let models = line["models"].as_array().expect("two models");
    println!("{line:#}");
    let [private, plain] = [&models[0], &models[1]];
    assert!(of(plain, "auc_lower") > 0.6, "{plain}");
    assert!(of(private, "auc") < of(plain, "auc"), "{line:#}");
    assert!(of(private, "epsilon") <= 2.0 && plain["epsilon"].is_null());
    assert!(of(plain, "loss_of_members") < of(plain, "loss_of_others"));
    assert_eq!(plain["canaries"].as_array().expect("canaries").len(), 1);
    assert!(of(&plain["canaries"][0], "exposure") > 5.0, "{plain}");
    // The planted records are known by their places: they are no part of the members.
    assert!(of(plain, "members") as usize + of(plain, "others") as usize == 120);

    let other = path("other.txt");
    let text: String = (0..90).map(|i| format!("another {i}\n")).collect();
    fs::write(&other, text).expect("a file");
    refused(
        &[
            "audit",
            "model",
            "--model",
            &path("plain"),
            "--data",
            &other,
            "--out",
            &path("x"),
        ],
        "does not hold the records",
    );
}

fn refused(args: &[&str], named: &str) {
    let output = dpcube(args);
    let said = stderr(&output);
    let last = said.lines().last().unwrap_or_default();
    assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
    assert!(
        last.starts_with("dpcube: error: ") && last.contains(named),
        "{args:?}: {said}"
    );
}

#[test]
fn bad_arguments_are_refused() {
    let cases: &[(&[&str], &str)] = &[
        (&["step", "--confidence", "1"], "confidence is 1"),
        (&["step", "--releases", "10"], "--releases is 10"),
        (&["step", "--clip", "0"], "--clip is 0"),
        (&["step", "--sigma", "0"], "0"),
        (&["step", "--delta", "2"], "2"),
        (&["run", "--canaries", "3"], "--canaries is 3"),
        (&["run", "--guesses", "0.6"], "--guesses is 0.6"),
        (&["run", "--epsilon", "-1"], "epsilon is -1"),
        (&["run", "--steps", "0"], "steps"),
        (&["run", "--confidence", "nan"], "confidence is NaN"),
        (&["model", "--model", "no-such-folder"], "no-such-folder"),
        (
            &["model", "--model", "x", "--records", "0"],
            "--records is 0",
        ),
    ];
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("out");
    for (args, named) in cases {
        let out = out.to_str().expect("a path");
        refused(&[&["audit"], *args, &["--out", out]].concat(), named);
    }
    assert!(!out.exists());
}
