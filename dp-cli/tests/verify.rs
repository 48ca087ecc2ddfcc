//! `dpcube verify` as a person or a vendor runs it. Few checks, on the processor: the suites of the backends run them all.

use std::process::{Command, Output};

use serde_json::Value;

fn verify(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dpcube"))
        .arg("verify")
        .args(args)
        .output()
        .expect("dpcube runs")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

fn lines(args: &[&str]) -> Vec<Value> {
    let output = verify(args);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let lines = text(&output.stdout).lines();
    lines
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect()
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

#[test]
fn a_table_and_a_sum() {
    let folder = tempfile::tempdir().expect("a folder");
    let page = folder.path().join("conformance.md");
    let page_name = page.to_str().expect("UTF-8");
    let output = verify(&[
        "--device",
        "cpu",
        "--filter",
        "clip_factors",
        "--markdown",
        page_name,
    ]);
    let table = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    for part in [
        "cpu: ",
        "inputs f32 f16 bf16 f64; sums f32 f64; f64 everywhere;",
        "max error",
        "budget",
        "verdict",
        "clip_factors bound",
        "5 shapes",
        "1.0e-6",
        "pass",
        "cpu: 30 rows, 0 failed",
    ] {
        assert!(table.contains(part), "{part} not in:\n{table}");
    }
    assert!(!table.contains("FAIL"), "{table}");

    let page = std::fs::read_to_string(page).expect("the page");
    for part in [
        "## cpu",
        "| clip_factors | clip_factors bound | f32 | 5 shapes |",
        "| clip_factors | clip_factors bound | f64 | 5 shapes |",
        "commit ",
    ] {
        assert!(page.contains(part), "{part} not in:\n{page}");
    }
}

#[test]
fn lines_of_json_hold_every_row() {
    let lines = lines(&[
        "--device",
        "cpu",
        "--json",
        "--filter",
        "zero_dead_rows/f32",
    ]);
    assert_eq!(lines.len(), 6);
    for line in &lines {
        for field in ["device", "driver", "shape", "version"] {
            assert!(!line[field].as_str().expect(field).is_empty(), "{line}");
        }
        assert_eq!(line["backend"], "cpu");
        assert_eq!(line["check"], "zero_dead_rows");
        assert_eq!(
            (&line["op"], &line["dtype"]),
            (&"zero_dead_rows".into(), &"f32".into())
        );
        assert_eq!(
            (&line["verdict"], &line["budget"]),
            (&"pass".into(), &0.0.into())
        );
        assert!(
            line["max_error"].is_f64() && line.get("commit").is_some(),
            "{line}"
        );
    }
}

/// One seed gives the same errors to the last digit; another gives other ones, still within the budget.
#[test]
fn a_seed_repeats() {
    let errors = |seed: &str| -> Vec<f64> {
        let args = [
            "--device",
            "cpu",
            "--json",
            "--filter",
            "linear_sums/f32",
            "--seed",
            seed,
        ];
        let lines = lines(&args);
        lines
            .iter()
            .map(|line| line["max_error"].as_f64().expect("a number"))
            .collect()
    };
    let first = errors("5");
    assert!(first.iter().any(|error| *error > 0.0), "{first:?}");
    assert_eq!(first, errors("5"));
    assert_ne!(first, errors("6"));
}

#[test]
fn what_cannot_be_verified_is_told() {
    refused(
        &verify(&["--device", "gpu"]),
        &["gpu", "cpu, wgpu, cuda, all"],
    );
    refused(
        &verify(&["--filter", "no_such_check"]),
        &["no_such_check", "linear_norms", "refusals"],
    );
    refused(
        &verify(&["--device", "cpu", "--filter", "clip_factors/bf16"]),
        &["clip_factors/bf16", "clip_factors f32 Flat"],
    );
    if !cfg!(feature = "cuda") {
        refused(&verify(&["--device", "cuda"]), &["cuda", "--features cuda"]);
    }
}
