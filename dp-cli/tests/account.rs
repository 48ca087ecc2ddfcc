//! `dpcube account` as a person or a script runs it.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn dpcube(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dpcube"))
        .arg("account")
        .args(args)
        .stdin(Stdio::null())
        .output()
        .expect("dpcube runs")
}

fn with_input(args: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_dpcube"))
        .arg("account")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("dpcube runs");
    child
        .stdin
        .take()
        .expect("stdin")
        .write_all(input)
        .expect("input");
    child.wait_with_output().expect("output")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("one JSON value")
}

/// Exit code 2, nothing on stdout, one line on stderr that names all of `names`.
fn refused(output: &Output, names: &[&str]) {
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(output.stdout.is_empty(), "{}", text(&output.stdout));
    assert_eq!(error.trim_end().lines().count(), 1, "{error}");
    for name in names {
        assert!(error.contains(name), "{name} not in: {error}");
    }
}

const RUN: [&str; 9] = [
    "epsilon", "--sigma", "1", "--rate", "0.01", "--steps", "10000", "--delta", "1e-6",
];

#[test]
fn epsilon_as_json_has_three_numbers_around_the_truth() {
    let answer = json(&dpcube(&[&RUN[..], &["--format", "json"]].concat()));
    let fields = answer.as_object().expect("object");
    assert_eq!(fields.len(), 3);
    let truth = 6.907_384_495;
    let [lower, estimate, upper] =
        ["lower", "epsilon", "upper"].map(|name| answer[name].as_f64().expect(name));
    assert!(lower <= estimate && estimate <= upper);
    assert!(
        (estimate - truth).abs() < 1e-8 && upper / lower - 1.0 < 1e-6,
        "{answer}"
    );
}

#[test]
fn epsilon_for_a_person_states_bounds_and_adjacency() {
    let output = dpcube(&RUN);
    let answer = text(&output.stdout);
    assert!(output.status.success());
    for part in [
        "epsilon",
        "6.9073844",
        "bounds",
        "add/remove",
        "10000 steps",
        "rate 0.01",
    ] {
        assert!(answer.contains(part), "{part} not in: {answer}");
    }
}

#[test]
fn the_full_batch_needs_no_rate() {
    let args = [
        "epsilon",
        "--sigma",
        "4",
        "--steps",
        "100",
        "--delta",
        "1e-9",
        "--sampler",
        "full",
        "--format",
        "json",
    ];
    let answer = json(&dpcube(&args));
    let epsilon = answer["epsilon"].as_f64().expect("epsilon");
    assert!((epsilon / 17.611_019_269_381_757 - 1.0).abs() < 1e-10);
    refused(
        &dpcube(&[&args[..], &["--rate", "0.5"]].concat()),
        &["0.5", "full"],
    );
}

#[test]
fn sigma_keeps_the_budget() {
    let args = [
        "sigma",
        "--epsilon",
        "8",
        "--rate",
        "0.004",
        "--steps",
        "5000",
        "--delta",
        "1e-5",
        "--format",
        "json",
    ];
    let answer = json(&dpcube(&args));
    assert_eq!(answer.as_object().expect("object").len(), 2);
    let sigma = answer["sigma"].as_f64().expect("sigma");
    assert!(answer["epsilon"].as_f64().expect("epsilon") <= 8.0);
    assert!((sigma / 0.559_53 - 1.0).abs() < 1e-4, "{sigma}");
    let again = sigma.to_string();
    let check = json(&dpcube(&[
        "epsilon", "--sigma", &again, "--rate", "0.004", "--steps", "5000", "--delta", "1e-5",
        "--format", "json",
    ]));
    assert!(check["upper"].as_f64().expect("upper") <= 8.0);
}

#[test]
fn a_batch_is_answered_in_order() {
    let input = br#"{"sigma": 2.0, "rate": 0.01, "steps": 8000, "delta": 1e-5}

{"steps": 100, "delta": 1e-9, "sigma": 4, "rate": 1}
"#;
    let output = with_input(&["--batch", "-"], input);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let answers: Vec<Value> = text(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(answers.len(), 2);
    for (answer, truth) in answers
        .iter()
        .zip([1.911_761_383_381_455, 17.611_019_269_381_757])
    {
        let epsilon = answer["epsilon"].as_f64().expect("epsilon");
        assert!((epsilon / truth - 1.0).abs() < 1e-9, "{answer}");
    }
    // A file gives the same bytes.
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("queries.jsonl");
    std::fs::write(&file, input).expect("file");
    let from_file = dpcube(&["--batch", file.to_str().expect("path")]);
    assert_eq!(from_file.stdout, output.stdout);
}

#[test]
fn a_bad_line_is_named_and_ends_the_batch() {
    let good = r#"{"sigma": 2, "rate": 0.01, "steps": 10, "delta": 1e-5}"#;
    for (bad, names) in [
        (
            r#"{"sigma": -2.5, "rate": 0.01, "steps": 10, "delta": 1e-5}"#,
            ["line 2", "-2.5"],
        ),
        (
            r#"{"sigma": 2, "rate": 0.01, "steps": 10}"#,
            ["line 2", "delta"],
        ),
        (
            r#"{"sigma": 2, "rate": 1.25, "steps": 10, "delta": 1e-5}"#,
            ["line 2", "1.25"],
        ),
        ("nonsense", ["line 2", "nonsense"]),
    ] {
        let output = with_input(
            &["--batch", "-"],
            format!("{good}\n{bad}\n{good}\n").as_bytes(),
        );
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert_eq!(
            text(&output.stdout).lines().count(),
            1,
            "one answer, then nothing"
        );
        assert!(names.iter().all(|name| error.contains(name)), "{error}");
        assert_eq!(error.trim_end().lines().count(), 1, "{error}");
    }
    let output = with_input(&["--batch", "-"], b"\xff\xfe\n");
    refused(&output, &["line 1", "UTF-8"]);
    refused(
        &dpcube(&["--batch", "/no/such/file.jsonl"]),
        &["/no/such/file.jsonl"],
    );
}

#[test]
fn values_without_an_answer_are_named() {
    let run = |sigma: &str, rate: &str, delta: &str| {
        dpcube(&[
            "epsilon", "--sigma", sigma, "--rate", rate, "--steps", "10", "--delta", delta,
        ])
    };
    refused(&run("-1", "0.1", "1e-5"), &["-1"]);
    refused(&run("NaN", "0.1", "1e-5"), &["NaN"]);
    refused(&run("1", "0", "1e-5"), &["rate 0"]);
    refused(&run("1", "1.5", "1e-5"), &["1.5"]);
    refused(&run("1", "0.1", "1"), &["delta 1"]);
    refused(&run("1", "0.1", "-0.5"), &["-0.5"]);
    refused(
        &dpcube(&[
            "sigma",
            "--epsilon",
            "0",
            "--rate",
            "0.1",
            "--steps",
            "10",
            "--delta",
            "1e-5",
        ]),
        &["epsilon 0"],
    );
    // The command line itself is clap's: exit code 2 too.
    for args in [&["epsilon"][..], &[], &["sigma", "--steps", "-4"]] {
        assert_eq!(dpcube(args).status.code(), Some(2), "{args:?}");
    }
}
