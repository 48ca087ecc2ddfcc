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

fn number(answer: &Value, name: &str) -> f64 {
    answer[name]
        .as_f64()
        .unwrap_or_else(|| panic!("{name} in {answer}"))
}

/// A query in words, answered as JSON.
fn ask(line: &str) -> Value {
    let args: Vec<&str> = line.split_whitespace().collect();
    json(&dpcube(&[&args[..], &["--format", "json"]].concat()))
}

#[test]
fn delta_is_the_inverse_of_epsilon() {
    let run = "--sigma 1 --rate 0.01 --steps 10000";
    let epsilon = number(&ask(&format!("epsilon {run} --delta 1e-6")), "epsilon");
    let answer = ask(&format!("delta {run} --epsilon {epsilon}"));
    assert_eq!(answer.as_object().expect("object").len(), 3);
    assert!(number(&answer, "lower") <= 1e-6 * (1.0 + 1e-8));
    assert!(number(&answer, "upper") >= 1e-6 * (1.0 - 1e-8));
    assert!((number(&answer, "delta") / 1e-6 - 1.0).abs() < 1e-8);
}

#[test]
fn steps_and_rate_use_the_budget_up() {
    let answer = ask("steps --epsilon 8 --sigma 0.8 --rate 0.01 --delta 1e-6");
    let steps = answer["steps"].as_u64().expect("steps");
    let spent = |steps: u64| {
        let run = format!("epsilon --sigma 0.8 --rate 0.01 --steps {steps} --delta 1e-6");
        number(&ask(&run), "upper")
    };
    assert_eq!(spent(steps), number(&answer, "epsilon"));
    assert!(spent(steps) <= 8.0 && spent(steps + 1) > 8.0, "{answer}");

    let answer = ask("rate --epsilon 8 --sigma 0.8 --steps 1000 --delta 1e-6");
    let spent = |rate: f64| {
        let run = format!("epsilon --sigma 0.8 --rate {rate} --steps 1000 --delta 1e-6");
        number(&ask(&run), "upper")
    };
    let rate = number(&answer, "rate");
    assert!(
        spent(rate) <= 8.0 && spent(rate * (1.0 + 1e-6)) > 8.0,
        "{answer}"
    );
    // No rate is too large for a large budget, and none small enough where the noise is next to nothing.
    assert_eq!(
        number(
            &ask("rate --epsilon 99 --sigma 9 --steps 9 --delta 1e-6"),
            "rate"
        ),
        1.0
    );
}

#[test]
fn what_was_spent_leaves_fewer_steps() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("events.json");
    let path = file.to_str().expect("path");
    let spent = r#"[{"sampler": "poisson", "rate": 0.01, "sigma": 0.8, "count": 2000},
                    {"rate": 0.01, "sigma": 0.8, "count": 1000}]"#;
    std::fs::write(&file, spent).expect("file");
    let next = "--sigma 0.8 --rate 0.01 --delta 1e-6 --epsilon 8";
    let steps = |line: String| ask(&line)["steps"].as_u64().expect("steps");
    let all = steps(format!("steps {next}"));
    assert_eq!(steps(format!("steps {next} --events {path}")), all - 3000);
    // The mix costs what its sum does.
    let mixed = ask(&format!("epsilon --delta 1e-6 --events {path}"));
    let sum = ask("epsilon --delta 1e-6 --sigma 0.8 --rate 0.01 --steps 3000");
    assert!((number(&mixed, "epsilon") / number(&sum, "epsilon") - 1.0).abs() < 1e-9);
    // Each of the two says it all.
    let both = [
        "epsilon", "--delta", "1e-6", "--events", path, "--sigma", "1",
    ];
    refused(&dpcube(&both), &["--sigma", "--events"]);
    for (bad, names) in [
        (
            r#"[{"rate": 0.01, "sigma": 1, "count": 1}, {"rate": 2}]"#,
            ["event 2", "sigma"],
        ),
        (
            r#"[{"rate": 2, "sigma": 1, "count": 1}]"#,
            ["sampling rate 2", "give"],
        ),
        (r#"[{"mechanism": "magic"}]"#, ["event 1", "magic"]),
        (r#"[{"mechanism": "zcdp"}]"#, ["event 1", "rho"]),
        (
            r#"[{"rate": 0.01, "sigma": 1, "count": 9}, {"rate": 0.01, "sigma": 1, "group": 4, "count": 1}]"#,
            ["event 2", "a group of 4 records"],
        ),
        (
            r#"[{"rate": 0.01, "sigma": 1, "group": 4, "count": 1}, {"sampler": "full", "sigma": 9, "count": 1}]"#,
            ["event 2", "one record"],
        ),
        (r#"{"rate": 1}"#, ["array", "events.json"]),
        (r"[", ["JSON", "events.json"]),
    ] {
        std::fs::write(&file, bad).expect("file");
        refused(
            &dpcube(&["epsilon", "--delta", "1e-6", "--events", path]),
            &names,
        );
    }
    // What was spent for single records does not leave steps for groups, nor the other way round.
    std::fs::write(&file, spent).expect("file");
    let line = format!("steps {next} --group 4 --events {path}");
    let of_groups: Vec<&str> = line.split_whitespace().collect();
    refused(&dpcube(&of_groups), &["4 records", "don't add up"]);
    let groups = r#"[{"rate": 0.01, "sigma": 2, "group": 4, "count": 9},
                     {"mechanism": "approximate-dp", "epsilon": 0.1, "delta": 0},
                     {"rate": 0.02, "sigma": 2, "group": 4, "count": 9}]"#;
    std::fs::write(&file, groups).expect("file");
    let answer = ask(&format!("epsilon --delta 1e-6 --events {path}"));
    assert!(number(&answer, "epsilon") > 0.1, "{answer}");
    let missing = ["epsilon", "--delta", "1e-6", "--events", "/no/such.json"];
    refused(&dpcube(&missing), &["/no/such.json", "--events"]);
}

/// Each line is one mistake; the message names it and the way out.
#[test]
fn a_mechanism_that_is_not_whole_is_refused() {
    for (line, names) in [
        ("--rate 0.1 --steps 9", "--sampler poisson needs --sigma"),
        ("--rate 0.1 --sigma 1", "--sampler poisson needs --steps"),
        ("--sigma 1 --steps 9", "--sampler poisson needs --rate"),
        (
            "--sampler fixed-size --sigma 1 --steps 9 --population 10",
            "needs --batch-size",
        ),
        (
            "--sampler fixed-size --sigma 1 --steps 9 --population 10 --batch-size 2",
            "add-remove adjacency: give --adjacency replace-one",
        ),
        (
            "--sampler fixed-size --sigma 1 --steps 9 --population 10 --batch-size 2 --rate 0.1",
            "--rate does not go with --sampler fixed-size",
        ),
        (
            "--sampler truncated-poisson --sigma 1 --steps 9 --rate 0.1 --population 9",
            "needs --max-batch",
        ),
        (
            "--sampler balls-in-bins --sigma 1 --bins 9 --epochs 2 --steps 18",
            "--steps does not go with --sampler balls-in-bins",
        ),
        (
            "--sampler balls-in-bins --sigma 1 --bins 9",
            "needs --epochs",
        ),
        ("--sampler shuffle --sigma 1 --steps 9", "needs --epochs"),
        (
            "--sampler shuffle --sigma 1 --epochs 9",
            "--adjacency zero-out or replace-one",
        ),
        (
            "--sigma 1 --rate 0.1 --steps 9 --bins 4",
            "--bins does not go with --sampler poisson",
        ),
        (
            "--sigma 1 --rate 0.1 --steps 9 --group 4 --adjacency replace-one",
            "a group of 4 records",
        ),
        ("--sigma 1 --rate 0.1 --steps 9 --group 0", "group size 0"),
        (
            "--noise laplace --sampler shuffle --sigma 1 --epochs 9",
            "use poisson or full",
        ),
        (
            "--noise laplace --sigma 1 --rate 0.1 --steps 9 --group 2",
            "--group does not go with",
        ),
        (
            "--noise discrete-gaussian --sigma 1 --rate 0.1 --steps 9",
            "add --sampler full",
        ),
        (
            "--sensitivity 2 --sigma 1 --steps 9",
            "--steps does not go with --sensitivity",
        ),
        (
            "--sampler full --sigma 1 --steps 9 --rate 0.5",
            "0.5 contradicts --sampler full",
        ),
        (
            "--sampler random --sigma 1 --steps 9",
            "possible values: poisson, full",
        ),
    ] {
        let args: Vec<&str> = line.split_whitespace().collect();
        let all = [&["epsilon", "--delta", "1e-6"], &args[..]].concat();
        refused(&dpcube(&all), &[names]);
    }
    for (line, names) in [
        (
            "steps --epsilon 1 --delta 1e-6 --sensitivity 2 --sigma 1",
            "--sensitivity",
        ),
        (
            "rate --epsilon 1 --delta 1e-6 --sampler full --sigma 1 --steps 9",
            "poisson",
        ),
        (
            "rate --epsilon 0.5 --delta 1e-12 --sigma 0.06 --steps 1",
            "even sampling rate",
        ),
        (
            "sigma --epsilon 1 --delta 1e-6 --events f --rate 1 --steps 1",
            "--events",
        ),
        (
            "steps --epsilon -1 --delta 1e-6 --sigma 1 --rate 0.1",
            "epsilon -1",
        ),
        ("steps --epsilon 1 --delta 1e-6 --sigma 1 --rate 1.5", "1.5"),
        (
            "curve --delta 1e-6 --sigma 1 --rate 0.1 --steps 0",
            "--steps 0",
        ),
        (
            "curve --delta 1e-6 --sigma 1 --rate 0.1 --steps 9 --points 0",
            "--points 0",
        ),
        (
            "curve --delta 1e-6 --sigma 1,2,3,4,5,6,7,8 --rate 0.1 --steps 9",
            "8 values",
        ),
        ("curve --delta 1e-6 --sigma 1,-2 --rate 0.1 --steps 9", "-2"),
        (
            "explain --delta 1e-6 --sigma 1 --rate 0.1 --steps 9 --prior 1",
            "--prior 1",
        ),
        (
            "explain --delta 1e-6 --sigma 1 --rate 0.1 --steps 9 --records 0",
            "--records 0",
        ),
        (
            "explain --delta 1e-6 --sigma 1 --rate 0.1 --steps 9 --false-positives -1",
            "-1",
        ),
    ] {
        refused(
            &dpcube(&line.split_whitespace().collect::<Vec<_>>()),
            &[names],
        );
    }
}

#[test]
fn the_short_help_holds_what_most_need() {
    let short = dpcube(&["epsilon", "-h"]);
    let long = dpcube(&["epsilon", "--help"]);
    let (short, long) = (text(&short.stdout), text(&long.stdout));
    for flag in ["--sigma", "--rate", "--steps", "--delta"] {
        assert!(short.contains(flag) && long.contains(flag), "{flag}");
    }
    for flag in ["--sampler", "--bins", "--noise", "--events", "--adjacency"] {
        assert!(!short.contains(flag) && long.contains(flag), "{flag}");
    }
}

#[test]
fn a_batch_takes_every_query() {
    let input = br#"{"query": "epsilon", "sigma": 4, "steps": 100, "delta": 1e-9, "sampler": "full"}
{"query": "delta", "epsilon": 17.611019269381757, "sigma": 4, "rate": 1, "steps": 100}
{"query": "sigma", "epsilon": 8, "rate": 0.004, "steps": 5000, "delta": 1e-5}
{"query": "steps", "epsilon": 8, "sigma": 0.8, "rate": 0.01, "delta": 1e-6}
{"query": "steps", "epsilon": 8, "sigma": 0.8, "rate": 0.01, "delta": 1e-6, "events": [{"rate": 0.01, "sigma": 0.8, "count": 9}]}
{"events": [{"rate": 0.01, "sigma": 0.8, "count": 9}, {"sampler": "full", "sigma": 50, "count": 1}], "delta": 1e-6}
"#;
    let output = with_input(&["--batch", "-"], input);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let lines = text(&output.stdout).lines();
    let answers: Vec<Value> = lines
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let all = ask("steps --epsilon 8 --sigma 0.8 --rate 0.01 --delta 1e-6");
    assert!((number(&answers[0], "epsilon") / 17.611_019_269_381_757 - 1.0).abs() < 1e-9);
    assert!((number(&answers[1], "delta") / 1e-9 - 1.0).abs() < 1e-9);
    assert!((number(&answers[2], "sigma") / 0.559_53 - 1.0).abs() < 1e-4);
    assert_eq!(answers[3], all);
    assert_eq!(number(&answers[4], "steps"), number(&all, "steps") - 9.0);
    assert!(number(&answers[5], "upper") >= number(&answers[5], "lower"));
    assert_eq!(answers.len(), 6);
}

#[test]
fn a_comparison_has_every_engine() {
    let rows = ask("compare --sigma 1 --rate 0.01 --steps 10000 --delta 1e-6");
    let rows = rows.as_array().expect("array");
    let names: Vec<_> = rows
        .iter()
        .map(|row| row["engine"].as_str().expect("name"))
        .collect();
    assert_eq!(names[0], "exact");
    let truth = number(&rows[0], "upper");
    for row in rows {
        if row.get("error").is_none() {
            assert!(
                number(row, "lower") <= truth && number(row, "upper") >= truth * (1.0 - 1e-9),
                "{row}"
            );
            assert!(number(row, "seconds") > 0.0, "{row}");
        }
    }
    let output = dpcube(&[&["compare"], &RUN[1..]].concat());
    let answer = text(&output.stdout);
    assert!(names.iter().all(|name| answer.contains(name)), "{answer}");
    refused(
        &dpcube(&[
            "compare", "--sigma", "1", "--rate", "7", "--steps", "1", "--delta", "1e-6",
        ]),
        &["rate 7"],
    );
}

/// Four coordinates that move by 1 each move by 2 in L2 norm, and cost more than one coordinate that moves by 2: the pair is of one coordinate, and says so.
#[test]
fn a_discrete_gaussian_is_of_one_coordinate() {
    let line = "--noise discrete-gaussian --sampler full --sigma 1 --sensitivity 2 --steps 1";
    let pair = ask(&format!("delta --epsilon 6 {line}"));
    // By the sum over the integers, and by the convolution of four such sums, in Python.
    assert!((number(&pair, "delta") / 0.003_964_931 - 1.0).abs() < 1e-6);
    let vector = 0.007_945_068;
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("events.json");
    std::fs::write(&file, r#"[{"mechanism": "zcdp", "rho": 2, "count": 1}]"#).expect("file");
    let path = file.to_str().expect("path");
    let zcdp = ask(&format!("delta --epsilon 6 --events {path}"));
    assert!(number(&zcdp, "upper") >= vector, "{zcdp}");

    let help = dpcube(&["epsilon", "--help"]);
    // As wide as the terminal, so line by line it would not be found.
    let help: Vec<_> = text(&help.stdout).split_whitespace().collect();
    let help = help.join(" ");
    for words in [
        "discrete-gaussian is for one coordinate",
        "put it into --events as zcdp, with rho = L2^2 / (2 sigma^2)",
        "the whole number of grid steps by which one record moves one coordinate",
    ] {
        assert!(help.contains(words), "{words} not in: {help}");
    }
    for (steps, words) in [
        ("2", "a record moves one coordinate by up to 2 grid steps"),
        ("1", "a record moves one coordinate by up to 1 grid step,"),
    ] {
        let line = format!("delta --epsilon 6 {line}")
            .replace("--sensitivity 2", &format!("--sensitivity {steps}"));
        let output = dpcube(&line.split_whitespace().collect::<Vec<_>>());
        let answer = text(&output.stdout);
        assert!(answer.contains(words), "{words} not in: {answer}");
    }
}

/// Epsilon of full-batch Gaussian steps at delta 1e-6.
fn gaussian(sigma: f64, steps: u64) -> f64 {
    let run = format!("epsilon --sampler full --sigma {sigma} --steps {steps} --delta 1e-6");
    number(&ask(&run), "epsilon")
}

/// The mechanism's epsilon at delta 1e-6 has bounds around the truth, and not far around it.
fn near(line: &str, truth: f64) {
    let answer = ask(&format!("epsilon --delta 1e-6 {line}"));
    let (lower, upper) = (number(&answer, "lower"), number(&answer, "upper"));
    assert!(
        lower <= truth * (1.0 + 1e-6) && upper >= truth * (1.0 - 1e-6),
        "{line}: {answer}, not {truth}"
    );
    assert!(upper <= lower * 1.05, "{line}: {answer}");
}

/// Mechanisms whose cost is that of another.
#[test]
fn every_mechanism_reaches_the_accountant() {
    near("--sensitivity 3 --sigma 12", gaussian(4.0, 1));
    near(
        "--sensitivity 3 --sigma 12 --adjacency replace-one",
        gaussian(2.0, 1),
    );
    near(
        "--sampler shuffle --epochs 5 --sigma 3 --adjacency zero-out",
        gaussian(3.0, 5),
    );
    near(
        "--sampler shuffle --epochs 5 --sigma 3 --adjacency replace-one",
        gaussian(1.5, 5),
    );
    near(
        "--sampler balls-in-bins --bins 1 --epochs 5 --sigma 3",
        gaussian(3.0, 5),
    );
    near(
        "--sampler full --sigma 6 --steps 5 --group 2",
        gaussian(3.0, 5),
    );
    near(
        "--sigma 6 --rate 1 --steps 5 --adjacency replace-one",
        gaussian(3.0, 5),
    );
    let fixed = "--sampler fixed-size --population 50 --batch-size 50";
    near(
        &format!("{fixed} --sigma 6 --steps 5 --adjacency replace-one"),
        gaussian(3.0, 5),
    );
    // A cut that never happens.
    let poisson = number(
        &ask("epsilon --delta 1e-6 --sigma 2 --rate 0.1 --steps 9"),
        "epsilon",
    );
    let cut = "--sampler truncated-poisson --population 90 --max-batch 90";
    near(&format!("{cut} --sigma 2 --rate 0.1 --steps 9"), poisson);
}

/// Laplace and discrete noise, and samplers with a law of their own.
#[test]
fn other_laws_reach_the_accountant() {
    // Where delta at epsilon 1/scale is 0, one Laplace step: delta = 1 - e^((epsilon - 1/scale)/2).
    let laplace = 0.5 + 2.0 * (-1e-6_f64).ln_1p();
    near(
        "--noise laplace --sampler full --sigma 2 --steps 1",
        laplace,
    );
    near("--noise laplace --rate 1 --sigma 2 --steps 1", laplace);
    // A discrete Gaussian on a grid this fine is as good as a continuous one.
    near(
        "--noise discrete-gaussian --sampler full --sensitivity 100 --sigma 400 --steps 9",
        gaussian(4.0, 9),
    );
    near(
        "--noise discrete-gaussian --sampler full --sensitivity 200 --sigma 800 --steps 9",
        gaussian(4.0, 9),
    );
    for line in [
        "--noise discrete-laplace --sampler full --sigma 2 --steps 3",
        "--sampler fixed-size --population 500 --batch-size 5 --sigma 2 --steps 90 --adjacency replace-one",
        "--sampler truncated-poisson --population 500 --rate 0.01 --max-batch 9 --sigma 2 --steps 90",
        "--sampler balls-in-bins --bins 100 --epochs 3 --sigma 2",
        "--noise laplace --rate 0.1 --sigma 2 --steps 9",
        "--sigma 2 --rate 0.1 --steps 9 --adjacency zero-out",
        "--sigma 2 --rate 0.1 --steps 9 --adjacency replace-one",
        "--sigma 2 --rate 0.1 --steps 9 --group 3",
    ] {
        let answer = ask(&format!("epsilon --delta 1e-6 {line}"));
        assert!(number(&answer, "upper") > 0.0, "{line}: {answer}");
        assert!(number(&answer, "upper") < 50.0, "{line}: {answer}");
    }
}
