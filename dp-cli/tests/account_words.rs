//! `dpcube account curve` and `explain`: what is drawn and said is what the accountant answers.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn dpcube(line: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dpcube"))
        .arg("account")
        .args(line.split_whitespace())
        .output()
        .expect("dpcube runs")
}

fn said(line: &str) -> String {
    let output = dpcube(line);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {error}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn json(line: &str) -> Value {
    serde_json::from_str(&said(&format!("{line} --format json"))).expect("JSON")
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("folder");
    let mut names: Vec<_> = entries
        .map(|entry| {
            entry
                .expect("entry")
                .file_name()
                .into_string()
                .expect("name")
        })
        .collect();
    names.sort();
    names
}

const CURVES: &str = "curve --sigma 0.9,1.5 --sigma 3 --rate 0.02 --steps 900 --delta 1e-7";

#[test]
fn a_curve_is_what_single_queries_answer() {
    let folder = tempfile::tempdir().expect("folder");
    let (csv, svg) = (folder.path().join("c.csv"), folder.path().join("c.svg"));
    let (csv_path, svg_path) = (csv.display(), svg.display());
    let out = said(&format!(
        "{CURVES} --points 3 --csv {csv_path} --svg {svg_path}"
    ));
    assert!(out.contains("c.csv") && out.contains("c.svg"), "{out}");
    assert_eq!(names(folder.path()), ["c.csv", "c.svg"]);
    let text = fs::read_to_string(&csv).expect("csv");
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("sigma,steps,lower,upper"));
    let mut expected = Vec::new();
    for sigma in ["0.9", "1.5", "3"] {
        for steps in ["300", "600", "900"] {
            expected.push((sigma, steps));
        }
    }
    for (line, (sigma, steps)) in lines.by_ref().zip(expected.iter().copied()) {
        let run = format!("epsilon --sigma {sigma} --rate 0.02 --steps {steps} --delta 1e-7");
        let answer = json(&run);
        let row = format!("{sigma},{steps},{},{}", answer["lower"], answer["upper"]);
        assert_eq!(line, row);
    }
    assert_eq!(text.lines().count(), 1 + expected.len());
    let svg = fs::read_to_string(&svg).expect("svg");
    for part in [
        "<svg",
        "</svg>",
        "training steps",
        "epsilon at delta 1e-7 (upper bound)",
        "sigma 0.9",
        "sigma 1.5",
        "sigma 3",
    ] {
        assert!(svg.contains(part), "{part}");
    }
    // A curve has a point for each of its three values, and a short line beside its name.
    let lines: Vec<_> = svg
        .match_indices("<polyline")
        .map(|(start, _)| &svg[start..])
        .collect();
    let lines = lines
        .iter()
        .filter_map(|rest| rest.split("points=\"").nth(1)?.split('"').next());
    let three = lines.filter(|points| points.split_whitespace().count() == 3);
    assert_eq!(three.count(), 3);
    // The same numbers as JSON and, rounded up, as a table.
    let points = json(&format!("{CURVES} --points 3"));
    assert_eq!(points.as_array().expect("array").len(), 9);
    let table = said(&format!("{CURVES} --points 3"));
    let row = table
        .lines()
        .find(|line| line.trim_start().starts_with("900"))
        .expect("row");
    let cells: Vec<f64> = row
        .split_whitespace()
        .map(|cell| cell.parse().expect("number"))
        .collect();
    for (cell, point) in cells[1..].iter().zip([2, 5, 8]) {
        let upper = points[point]["upper"].as_f64().expect("upper");
        assert!(
            *cell >= upper && *cell < upper * 1.0002,
            "{cell} for {upper}"
        );
    }
}

#[test]
fn logarithmic_axes_have_steps_by_a_factor() {
    let points = json("curve --log --points 4 --sigma 2 --rate 0.02 --steps 1000 --delta 1e-7");
    let steps: Vec<_> = points
        .as_array()
        .expect("array")
        .iter()
        .map(|p| p["steps"].as_u64())
        .collect();
    assert_eq!(steps, [Some(1), Some(10), Some(100), Some(1000)]);
    let folder = tempfile::tempdir().expect("folder");
    let svg = folder.path().join("log.svg");
    said(&format!(
        "curve --log --sigma 2,40 --rate 0.02 --steps 1000 --delta 1e-7 --svg {}",
        svg.display()
    ));
    let svg = fs::read_to_string(&svg).expect("svg");
    // Powers of ten stand equally far apart.
    let place = |label: &str| -> f64 {
        let end = svg
            .find(&format!(">\n{label}\n"))
            .unwrap_or_else(|| panic!("{label}"));
        let start = svg[..end].rfind("x=\"").expect("x") + 3;
        svg[start..]
            .split('"')
            .next()
            .expect("x")
            .parse()
            .expect("number")
    };
    let (ten, hundred, thousand) = (place("10"), place("100"), place("1000"));
    assert!(
        (2.0 * hundred - ten - thousand).abs() < 20.0,
        "{ten} {hundred} {thousand}"
    );
}

#[test]
fn what_cannot_be_written_leaves_nothing() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("no/such/c.svg");
    let output = dpcube(&format!("{CURVES} --svg {}", path.display()));
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("no/such/c.svg"), "{error}");
    // A bad value comes before any file.
    let path = folder.path().join("c.csv");
    let output = dpcube(&format!("{CURVES} --sigma -1 --csv {}", path.display()));
    assert_eq!(output.status.code(), Some(2));
    assert!(names(folder.path()).is_empty());
}

/// The numbers in a text, in order.
fn numbers(text: &str) -> Vec<f64> {
    let part = |c: char| !(c.is_ascii_digit() || ".e-".contains(c));
    let words = text
        .split(part)
        .map(|word| word.trim_matches(|c: char| !c.is_ascii_digit()));
    words.filter_map(|word| word.parse().ok()).collect()
}

/// What stands after `head`, up to the first number's end.
fn after(text: &str, head: &str) -> f64 {
    let rest = text
        .split_once(head)
        .unwrap_or_else(|| panic!("{head} not in: {text}"))
        .1;
    *numbers(rest).first().expect("number")
}

/// `shown` is `truth` rounded up, by less than `unit`.
fn rounded_up(shown: f64, truth: f64, unit: f64) {
    assert!(
        shown >= truth * (1.0 - 1e-12) && shown < truth + unit,
        "{shown} for {truth}"
    );
}

#[test]
fn the_words_carry_the_numbers() {
    let run = "--sigma 1.1 --rate 0.01 --steps 3000";
    let text = said(&format!(
        "explain {run} --delta 1e-6 --records 60000 --prior 0.2 --false-positives 0.01"
    ));
    let epsilon = json(&format!("epsilon {run} --delta 1e-6"))["upper"]
        .as_f64()
        .expect("epsilon");
    let delta_at = |epsilon: f64| {
        json(&format!("delta {run} --epsilon {epsilon}"))["upper"]
            .as_f64()
            .expect("delta")
    };
    let shown = after(&text, "private with epsilon");
    rounded_up(shown, epsilon, 0.001);
    assert_eq!(after(&text, "and delta"), 1e-6);
    assert_eq!(after(&text, "at most e^"), shown);
    rounded_up(after(&text, "by a factor of at most"), shown.exp(), 0.011);
    // Total variation is delta at epsilon 0.
    let advantage = after(&text, "that of false positives by at most");
    rounded_up(advantage, 100.0 * delta_at(0.0), 0.11);
    // Every epsilon gives a bound on the true positives; the text has about the least.
    assert_eq!(after(&text, "with a false positive rate of"), 1.0);
    let true_positives = after(&text, "has a true positive rate of at most");
    let bound = |epsilon: f64| 100.0 * (epsilon.exp() * 0.01 + delta_at(epsilon));
    let least = (0..=30)
        .map(|i| bound(f64::from(i) * 0.1))
        .fold(f64::INFINITY, f64::min);
    assert!(
        true_positives <= least + 0.011 && true_positives > 0.98 * least,
        "{true_positives} {least}"
    );
    // Bayes, at odds that the loss exceeds with probability delta at most: more than e^epsilon, and no more than twice e^epsilon at half of
    // delta, since delta(e) >= Pr[L > e'] (1 - e^(e - e')).
    assert_eq!(after(&text, "a belief of"), 20.0);
    let half = json(&format!("epsilon {run} --delta 5e-7"))["upper"]
        .as_f64()
        .expect("epsilon");
    let belief = |odds: f64| 100.0 * odds / (1.0 + odds);
    let shown = after(&text, "in the right answer becomes at most");
    let most = belief(0.25 * 2.0 * half.exp());
    assert!(
        shown > belief(0.25 * epsilon.exp()) && shown < most + 0.1,
        "{shown} {most}"
    );
    assert!(text.contains("except with probability delta"), "{text}");
    rounded_up(after(&text, "delta times their number is"), 0.06, 0.001);
    for part in [
        "add/remove adjacency",
        "3000 steps",
        "well below one",
        "usual bands",
    ] {
        assert!(text.contains(part), "{part}");
    }
}

#[test]
fn the_bands_follow_epsilon() {
    for (sigma, words) in [
        ("9", "is strong."),
        ("1.6", "is strong, and within what is customary"),
        ("1.25", "is within what is customary for regulated data"),
        ("1.05", "is more than what is customary"),
        ("0.8", "is what industry practice takes"),
        ("0.5", "is weak"),
    ] {
        let text = said(&format!(
            "explain --sigma {sigma} --rate 0.01 --steps 3000 --delta 1e-6"
        ));
        assert!(text.contains(words), "{text}");
        assert_eq!(text.lines().count(), 1, "one paragraph");
    }
    let few = said("explain --sigma 1 --rate 0.1 --steps 9 --delta 1e-3 --records 500");
    assert!(few.contains("not well below"), "{few}");
    let many = said("explain --sigma 1 --rate 0.1 --steps 9 --delta 1e-3 --records 5000");
    assert!(many.contains("no protection"), "{many}");
    let group = said("explain --sigma 9 --rate 0.1 --steps 9 --delta 1e-3 --group 3");
    assert!(group.contains("all records of one person"), "{group}");
    assert_eq!(
        json("explain --sigma 9 --rate 0.1 --steps 9 --delta 1e-3")["band"],
        "strong"
    );
}

#[test]
fn the_words_name_the_relation() {
    let run = "explain --sampler full --sigma 9 --steps 2 --delta 1e-6";
    for (relation, words) in [
        ("add-remove", "whether a given record was in the data"),
        ("zero-out", "whether a given record contributed"),
        ("replace-one", "which of two given records was in the data"),
    ] {
        let text = said(&format!("{run} --adjacency {relation}"));
        assert!(text.contains(words), "{text}");
        // A replacement moves the sum twice as far.
        let sigma = if relation == "replace-one" { 4.5 } else { 9.0 };
        let same = format!("epsilon --sampler full --sigma {sigma} --steps 2 --delta 1e-6");
        let epsilon = json(&same)["upper"].as_f64().expect("epsilon");
        rounded_up(after(&text, "private with epsilon"), epsilon, 0.001);
    }
}

/// Events that say that they hide a user are explained as that.
#[test]
fn the_words_name_the_unit() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("events.json");
    let unit = r#"{"user": {"most_records": 4}}"#;
    let event = format!(r#"[{{"sampler": "full", "sigma": 9, "steps": 2, "unit": {unit}}}]"#);
    fs::write(&file, event).expect("file");
    let run = format!("explain --events {} --delta 1e-6", file.display());
    for (relation, words) in [
        (
            "add-remove",
            "whether a given user's records were in the data",
        ),
        ("zero-out", "whether a given user's records contributed"),
        ("replace-one", "which of two given users was in the data"),
    ] {
        let text = said(&format!("{run} --adjacency {relation}"));
        assert!(text.contains(words), "{text}");
        assert!(text.contains("one over the number of users"), "{text}");
        assert!(!text.contains("one record"), "{text}");
    }
    let text = said(&format!("{run} --records 500"));
    assert!(text.contains("for each of the 500 users"), "{text}");
}
