//! `dpcube bench` as a vendor runs it, on the processor: few rows, and nothing about how long they take.

#![cfg(feature = "cpu")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dpcube"));
    command.arg("bench").args(args);
    command
}

fn bench(args: &[&str]) -> Output {
    command(args).output().unwrap()
}

fn words(output: &[u8]) -> String {
    String::from_utf8(output.to_vec()).unwrap()
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn rows(lines: &[Value]) -> Vec<&Value> {
    lines.iter().filter(|line| line["line"] == "row").collect()
}

/// One line on stderr that has all `parts`, and exit code 2.
fn refused(output: &Output, parts: &[&str]) {
    let said = words(&output.stderr);
    let last = said.lines().last().unwrap_or_default();
    assert_eq!(output.status.code(), Some(2), "{said}");
    for part in parts {
        assert!(last.contains(part), "{part:?} is not in {said}");
    }
}

/// Norms by each way, sums, products and their ratio, in one process; each row can be repeated alone.
#[test]
fn a_small_run_from_end_to_end() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let args = [
        "--quick",
        "--filter",
        "gpt2-small mlp-up f32 B 2 T 64",
        "--seconds-per-row",
        "600",
        "--samples",
        "3",
        "--note",
        "a test",
        "--out",
    ];
    let output = bench(&[&args[..], &[out.to_str().unwrap()]].concat());
    assert!(output.status.success(), "{}", words(&output.stderr));
    let lines = lines(&out.join("bench.jsonl"));
    assert_eq!(
        (&lines[0]["line"], &lines[0]["note"]),
        (&json!("run"), &json!("a test"))
    );
    for ceiling in ["copy_bytes_per_s", "read_bytes_per_s", "gemm_flop_per_s"] {
        assert!(
            lines[0]["ceilings"][ceiling].as_f64().unwrap() > 0.0,
            "{ceiling}"
        );
    }
    let rows = rows(&lines);
    let ops: Vec<&str> = rows.iter().map(|row| row["op"].as_str().unwrap()).collect();
    assert_eq!(
        ops,
        [
            "matmul forward",
            "matmul input gradient",
            "matmul weight gradient",
            "linear_norm_sq gram",
            "linear_norm_sq materialised",
            "weighted_sum_linear",
            "keep_linear_gradients",
            "weighted_sum_gradient kept",
            "linear_layer",
            "linear_layer kept",
        ]
    );
    for row in &rows {
        assert_eq!(row["verified"]["ok"], json!(true), "{row}");
        let time = &row["time"];
        let number = |name: &str| time[name].as_f64().unwrap();
        assert!(
            number("min") > 0.0 && number("min") <= number("median"),
            "{row}"
        );
        assert!(
            number("median") <= number("p95") && number("n") == 3.0,
            "{row}"
        );
        assert!(
            number("gflop_per_s") > 0.0 && number("percent_of_ceiling") > 0.0,
            "{row}"
        );
        for told in ["backend", "device", "driver", "dtype", "shape", "repeat"] {
            assert!(!row[told].as_str().unwrap().is_empty(), "{told} of {row}");
        }
        let has_ratio = ["weighted_sum_linear", "linear_layer", "linear_layer kept"]
            .contains(&row["op"].as_str().unwrap());
        assert_eq!(time["ratio"].is_f64(), has_ratio, "{row}");
    }
    // B 2 T 64 [768, 3072]: 2 B T d p, and A, G and a weight that is read and written.
    let sum = rows[5];
    assert_eq!(sum["flop"], json!(2 * 2 * 64 * 768 * 3072_u64));
    assert_eq!(
        sum["bytes"],
        json!(4 * 2 * 64 * (768 + 3072) + 4 * 2 + 8 * 768 * 3072)
    );
    let page = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("<svg") && page.contains("weighted_sum_linear"));
    assert!(!page.contains("http://") || page.contains("http://www.w3.org/2000/svg"));
    let table = words(&output.stdout);
    assert!(table.contains("ceilings measured in this run") && table.contains("gpt2-small mlp-up"));

    // The command of a row measures that row and no other.
    let repeat = rows[3]["repeat"].as_str().unwrap();
    assert_eq!(
        repeat,
        format!(
            "dpcube bench --device cpu --quick --seconds-per-row 600 --samples 3 --out '{}' --filter \
             'linear_norm_sq gram gpt2-small mlp-up f32 B 2 T 64 [768, 3072]'",
            out.join("row").display()
        )
    );
    let again = folder.path().join("again.jsonl");
    let program = env!("CARGO_BIN_EXE_dpcube");
    let line = repeat.replacen("dpcube", &format!("'{program}'"), 1);
    let line = format!("{line} --json '{}'", again.display());
    let output = Command::new("sh").args(["-c", &line]).output().unwrap();
    assert!(output.status.success(), "{}", words(&output.stderr));
    let lines = self::lines(&again);
    assert_eq!(self::rows(&lines).len(), 1);
    let kept = fs::read_to_string(out.join("report.html")).unwrap();
    assert_eq!(kept, page, "the row's page is in the place of all rows'");
    assert_eq!(lines[1]["op"], "linear_norm_sq gram");

    // And both results compare.
    let first = out.join("bench.jsonl");
    let output = bench(&["compare", first.to_str().unwrap(), again.to_str().unwrap()]);
    assert!(output.status.success(), "{}", words(&output.stderr));
    let text = words(&output.stdout);
    assert!(
        text.contains("1 rows in both") && text.contains("only in A: linear_layer"),
        "{text}"
    );
}

/// Rows that were measured before Ctrl-C are in the file, and the page is there.
#[cfg(unix)]
#[test]
fn an_interrupted_run_keeps_its_rows() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    let json = folder.path().join("bench.jsonl");
    let args = [
        "--quick",
        "--filter",
        "gpt2-small",
        "--seconds-per-row",
        "600",
        "--samples",
        "3",
        "--out",
        out,
    ];
    let mut child = command(&args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let started = Instant::now();
    let has_a_row =
        || fs::read_to_string(&json).is_ok_and(|text| text.contains("\"line\":\"row\""));
    while !has_a_row() {
        assert!(child.try_wait().unwrap().is_none(), "it ended before a row");
        assert!(started.elapsed() < Duration::from_secs(300), "no row came");
        std::thread::sleep(Duration::from_millis(5));
    }
    let pid = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &pid])
            .status()
            .unwrap()
            .success()
    );
    let ended = child.wait_with_output().unwrap();
    let said = words(&ended.stderr);
    assert_eq!(ended.status.code(), Some(130), "{said}");
    let lines = lines(&json);
    let kept = rows(&lines);
    assert!(!kept.is_empty() && kept.iter().all(|row| row["verified"]["ok"] == true));
    let left_out = lines.iter().filter(|line| line["line"] == "left_out");
    assert!(
        left_out.clone().count() > 0,
        "what was not measured is named"
    );
    assert!(
        said.contains(&format!("stopped; {} rows are in", kept.len())),
        "{said}"
    );
    assert!(folder.path().join("report.html").exists());
}

/// Little memory: no row fits, each says so, and that is no success.
#[test]
fn rows_that_do_not_fit_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    let filter = "gradient_norm_sq any all f32 [16, 1048576]";
    let output = bench(&[
        "--quick", "--memory", "0.02", "--filter", filter, "--out", out,
    ]);
    refused(&output, &["nothing was measured", "1 rows were left out"]);
    let lines = lines(&folder.path().join("bench.jsonl"));
    assert_eq!(lines[1]["words"], filter);
    assert!(
        lines[1]["why"]
            .as_str()
            .unwrap()
            .contains("0.07 GiB, more than the 0.02 GiB")
    );
}

#[test]
fn what_cannot_be_done_is_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    let with = |args: &[&str]| bench(&[args, &["--out", out]].concat());
    refused(
        &with(&["--filter", "no such row"]),
        &["no such row", "linear"],
    );
    refused(
        &with(&["--seconds-per-row", "-1"]),
        &["--seconds-per-row -1", "0.001"],
    );
    refused(&with(&["--memory", "0"]), &["--memory 0", "GiB"]);
    for samples in ["0", "2"] {
        let named = format!("--samples {samples}");
        let few = ["--quick", "--filter", "bias_norm_sq", "--samples", samples];
        refused(&with(&few), &[named.as_str(), "3 or more"]);
    }
    refused(&with(&["--device", "gpu"]), &["gpu"]);
    refused(&with(&["--dtype", "f8"]), &["f8"]);
    refused(&bench(&["--out", "/proc/none"]), &["/proc/none", "--out"]);
    refused(
        &with(&["--json", "/proc/none.jsonl"]),
        &["/proc/none.jsonl", "--json"],
    );
}

/// A file that is no result is refused by its line.
#[test]
fn compare_names_the_line_that_is_no_result() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let header = json!({
        "line": "run", "backend": "cpu", "device": "d", "driver": "r", "version": "0", "commit": null, "date": "2026-01-31",
        "note": null, "extent": "quick", "seconds_per_row": 1.0, "cache_bytes": 1, "cache_told": true, "memory_bytes": 1,
        "load_before": null,
        "ceilings": { "copy_bytes_per_s": 1.0, "read_bytes_per_s": 1.0, "gemm_flop_per_s": 1.0 },
    })
    .to_string();
    let good = write("good.jsonl", &format!("{header}\n"));
    let compare = |first: &str, second: &str| bench(&["compare", first, second]);
    refused(&compare(&good, &good), &["no timed row in common"]);
    let missing = folder.path().join("none.jsonl");
    refused(
        &compare(&good, missing.to_str().unwrap()),
        &["none.jsonl", "cannot be read"],
    );
    for (text, line) in [
        (String::new(), "line 1: the file is empty"),
        ("{}\n".into(), "line 1: no line of a result"),
        (
            format!("{header}\nnot json\n"),
            "line 2: no line of a result",
        ),
        (format!("{header}\n{header}\n"), "line 2: a second header"),
        (
            "{\"line\":\"left_out\",\"words\":\"w\",\"why\":\"y\"}\n".into(),
            "line 1: a result begins with its header",
        ),
        (
            format!("{header}\n{{\"line\":\"row\",\"op\":\"x\"}}\n"),
            "line 2: no line of a result",
        ),
    ] {
        let bad = write("bad.jsonl", &text);
        refused(
            &compare(&good, &bad),
            &["bad.jsonl", line, "dpcube bench --json"],
        );
        refused(&compare(&bad, &good), &["bad.jsonl", line]);
    }
}
