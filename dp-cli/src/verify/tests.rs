//! What is told of rows made by hand.

use super::*;
use dp_kernels::conformance::Row;

fn tested(rows: Vec<Row>) -> Tested {
    let check = "linear_sums";
    let backend = dp_backend_cpu::open().unwrap();
    Tested {
        description: backend.describe().clone(),
        caps: backend.caps(),
        found: rows
            .into_iter()
            .map(|row| Found {
                check,
                row,
                stopped: false,
            })
            .collect(),
    }
}

fn good(shape: &str) -> Row {
    Row::measured("weighted_sum_linear", "bf16", shape, 2e-7, 1e-5)
}

fn bad(shape: &str) -> Row {
    Row::measured("weighted_sum_linear", "bf16", shape, f64::NAN, 1e-5)
}

#[test]
fn a_failed_row_is_exit_code_1() {
    assert!(verdict(&[tested(vec![good("B1"), good("B2")])]).is_ok());
    let failure = verdict(&[
        tested(vec![good("B1")]),
        tested(vec![good("B1"), bad("B2")]),
    ]);
    let failure = format!("{:?}", failure.unwrap_err());
    assert!(failure.contains("code: 1"), "{failure}");
    assert!(failure.contains("1 of 3 rows failed"), "{failure}");
}

#[test]
fn a_failed_row_is_seen_in_the_table_with_the_command_that_repeats_it() {
    let device = tested(vec![good("B1"), bad("it's B2"), good("B3")]);
    let text = table::text(&device, 7);
    let repeat = r"dpcube verify --device cpu --seed 7 --filter 'linear_sums/weighted_sum_linear bf16 it'\''s B2'";
    assert!(text.contains(repeat), "{text}");
    assert!(
        text.contains("FAIL (1)") && text.contains("3 shapes"),
        "{text}"
    );
    assert!(text.contains("NaN"), "the failed row is the worst: {text}");
    assert!(text.contains("cpu: 3 rows, 1 failed"), "{text}");
    assert!(!text.contains("pass"), "{text}");

    let lines = device.json_lines(7);
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let verdicts: Vec<&Value> = lines.iter().map(|line| &line["verdict"]).collect();
    assert_eq!(verdicts, ["pass", "fail", "pass"]);
    assert_eq!(lines[1]["repeat"], repeat);
    assert!(lines[1]["max_error"].is_null() && lines[0]["repeat"].is_null());

    let page = table::markdown(&[device], &["cuda: none | here".into()], 7, "2026-01-31");
    assert!(
        page.contains("| FAIL (1) |") && page.contains("- cuda: none"),
        "{page}"
    );
    assert!(
        page.contains("2026-01-31") && page.contains("seed 7"),
        "{page}"
    );
}

/// The command that repeats a row selects it alone, though others hold its words.
#[test]
fn a_row_is_selected_alone() {
    let device = tested(vec![good("B1"), good("B12"), bad("B2")]);
    let shapes = |filter: &str| -> Vec<String> {
        let rows = Filter::new(Some(filter)).rows(device.found.clone());
        rows.into_iter().map(|found| found.row.shape).collect()
    };
    assert_eq!(shapes("linear_sums/weighted_sum_linear bf16 B1"), ["B1"]);
    assert_eq!(shapes("linear_sums/B1"), ["B1", "B12"]);
    assert_eq!(shapes("linear_sums"), ["B1", "B12", "B2"]);
    assert!(shapes("linear_sums/f64").is_empty());
}

/// A check that stopped before the row that was asked for does not pass in silence.
#[test]
fn a_stopped_check_is_told_whatever_the_filter() {
    let mut device = tested(vec![
        good("B1"),
        Row::holds("linear_sums", "f16", "", Some("lost".into())),
    ]);
    device.found[1].stopped = true;
    for filter in [
        "linear_sums/bf16",
        "linear_sums/weighted_sum_linear bf16 B1",
        "linear_sums/none",
    ] {
        let rows = Filter::new(Some(filter)).rows(device.found.clone());
        assert!(rows.iter().any(|found| found.stopped), "{filter}");
    }
    let repeat = device.repeat(&device.found[1], 0);
    assert!(repeat.ends_with("--filter 'linear_sums'"), "{repeat}");
}
