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
    // None of the devices has such rows.
    let output = verify(&["--device", "all", "--filter", "clip_factors/f128"]);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(output.stdout.is_empty(), "{}", text(&output.stdout));
    let last = error.lines().last().expect("a line");
    assert!(last.contains("clip_factors/f128"), "{error}");
    if !cfg!(feature = "cuda") {
        refused(&verify(&["--device", "cuda"]), &["cuda", "--features cuda"]);
    }
}

/// A device without the element type is skipped and says so; the others are verified.
#[test]
fn a_device_without_the_rows_does_not_end_the_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let page = folder.path().join("conformance.md");
    let output = verify(&[
        "--device",
        "all",
        "--filter",
        "clip_factors/f64",
        "--json",
        "--markdown",
        page.to_str().expect("UTF-8"),
    ]);
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{told}");
    let lines: Vec<Value> = text(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect();
    assert!(lines.iter().all(|line| line["dtype"] == "f64"), "{lines:?}");
    let page = std::fs::read_to_string(page).expect("the page");
    for backend in ["cpu", "wgpu", "cuda"] {
        let rows = lines.iter().filter(|line| line["backend"] == backend);
        let skipped = told.contains(&format!("SKIPPED {backend}: "));
        assert_eq!(rows.count() == 0, skipped, "{backend}: {told}");
        // On wgpu f64 is rare: the page says so as well.
        let lacks_rows = format!("{backend}: --filter");
        assert_eq!(
            told.contains(&format!("SKIPPED {lacks_rows}")),
            page.contains(&format!("- {lacks_rows}")),
            "{page}"
        );
    }
    assert!(lines.iter().any(|line| line["backend"] == "cpu"), "{told}");
}

/// A page that can't be written is told before anything is verified, and one that is there stays as it is until there is another.
#[test]
fn a_page_is_tried_before_the_work() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| {
        let path = folder.path().join(name);
        path.to_str().expect("UTF-8").to_owned()
    };
    let with = |filter: &str, page: &str| {
        let checks = ["--device", "cpu", "--filter", filter];
        verify(&[&checks[..], &["--markdown", page]].concat())
    };
    std::fs::create_dir(path("taken")).expect("a folder");
    for page in ["no/such/page.md", "taken"] {
        refused(&with("clip_factors", &path(page)), &[page, "--markdown"]);
    }

    std::fs::write(path("page.md"), "of last week").expect("a file");
    refused(&with("clip_factors/bf16", &path("page.md")), &["bf16"]);
    let kept = std::fs::read_to_string(path("page.md")).expect("the page");
    assert_eq!(kept, "of last week");
    refused(&with("clip_factors/bf16", &path("new.md")), &["bf16"]);
    let names = std::fs::read_dir(folder.path()).expect("the folder");
    assert_eq!(names.count(), 2, "something was left beside the page");
}
