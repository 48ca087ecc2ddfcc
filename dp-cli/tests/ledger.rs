//! `dpcube ledger` as a person or a script runs it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use dp_core::accounting::Event;
use dp_core::ledger::{Charge, Header, Unit};
use dp_engine::keys::RunKeys;
use dp_engine::ledger::{Budget, LedgerFile};
use serde_json::Value;
use tempfile::TempDir;

const CHARGE: Charge = Charge {
    event: Event::PoissonGaussian {
        rate: 0.01,
        sigma: 1.25,
    },
    clip: 0.5,
    eta: 1e-3,
    count: 1,
    counts: None,
};

fn dpcube(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dpcube"))
        .args(args)
        .output()
        .expect("dpcube runs")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

fn said(output: &Output) -> &str {
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

fn path(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// A run's folder with a ledger of that many steps.
fn run(folder: &TempDir, name: &str, dataset: u8, steps: u64) -> PathBuf {
    run_for(Unit::Record, folder, name, dataset, steps)
}

fn run_for(unit: Unit, folder: &TempDir, name: &str, dataset: u8, steps: u64) -> PathBuf {
    let run = folder.path().join(name);
    fs::create_dir(&run).unwrap();
    let header = Header {
        dataset: [dataset; 32],
        config: [7; 32],
        unit,
    };
    let budget = Budget {
        epsilon: 8.0,
        delta: 1e-5,
    };
    let process = RunKeys::generate().unwrap().process;
    let mut ledger = LedgerFile::create(&run.join("ledger.bin"), &header, budget, process).unwrap();
    for step in 0..steps {
        let reservation = ledger.reserve(step, CHARGE).unwrap();
        if step + 1 < steps {
            ledger.commit(reservation).unwrap();
        }
    }
    run
}

#[test]
fn runs_on_one_data_set_are_shown_together() {
    let folder = tempfile::tempdir().unwrap();
    let (training, tuning) = (
        run(&folder, "training", 1, 40),
        run(&folder, "tuning", 1, 20),
    );
    let output = dpcube(&[
        "ledger",
        "show",
        path(&training),
        path(&tuning),
        "--delta",
        "1e-5",
    ]);
    let shown = said(&output);
    for part in [
        "40 steps reserved",
        "39 of them confirmed",
        "40 steps of Poisson batches of rate 0.01, noise multiplier 1.25",
        "together  2 ledgers",
        "60 steps of Poisson",
        "at delta 1e-5",
    ] {
        assert!(shown.contains(part), "{part} not in\n{shown}");
    }
    assert!(!shown.contains("data sets"), "{shown}");
    let other = run(&folder, "other", 2, 5);
    let output = dpcube(&["ledger", "show", path(&training), path(&other)]);
    let shown = said(&output);
    assert!(
        shown.contains("of 2 data sets") && !shown.contains("together"),
        "{shown}"
    );

    let output = dpcube(&[
        "ledger",
        "show",
        path(&training),
        path(&tuning),
        "--delta",
        "1e-5",
        "--format",
        "json",
    ]);
    let value: Value = serde_json::from_str(said(&output)).unwrap();
    let upper = |spent: &Value| spent["epsilon"]["upper"].as_f64().unwrap();
    let alone = [0, 1].map(|i| upper(&value["ledgers"][i]["spent"]));
    let together = upper(&value["datasets"][0]["spent"]);
    assert!(together > alone[0] && alone[0] > alone[1], "{value}");
    assert_eq!(value["datasets"].as_array().unwrap().len(), 1);

    // The account of what is exported is the same.
    let events = folder.path().join("events.json");
    said(&dpcube(&[
        "ledger",
        "export",
        path(&training),
        "--format",
        "events",
        "--out",
        path(&events),
    ]));
    let output = dpcube(&[
        "account",
        "epsilon",
        "--events",
        path(&events),
        "--delta",
        "1e-5",
        "--format",
        "json",
    ]);
    let account: Value = serde_json::from_str(said(&output)).unwrap();
    let again = account["upper"].as_f64().unwrap();
    assert!(
        (again / alone[0] - 1.0).abs() < 1e-9,
        "{again} {}",
        alone[0]
    );
}

/// What can't be written is an error, a reader that has seen enough is none, and a name may be any that the system takes.
#[cfg(target_os = "linux")]
#[test]
fn answers_reach_a_pipe_a_full_disk_and_odd_names() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::process::Stdio;

    let folder = tempfile::tempdir().unwrap();
    let named = run(&folder, "run", 1, 400);
    let odd = folder.path().join(OsStr::from_bytes(b"run-\xe9"));
    fs::rename(&named, &odd).unwrap();
    let start = |arguments: &[&str], to: Stdio| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dpcube"));
        command.arg("ledger").args(arguments).arg(&odd);
        command.stdout(to).stderr(Stdio::piped()).spawn().unwrap()
    };
    for arguments in [
        &["export"][..],
        &["show"],
        &["verify"],
        &["show", "--format", "json"],
    ] {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let output = start(arguments, full.into()).wait_with_output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(
            said.contains("space") && !said.contains("panicked"),
            "{arguments:?}: {said}"
        );

        let mut closed = start(arguments, Stdio::piped());
        drop(closed.stdout.take());
        let output = closed.wait_with_output().unwrap();
        assert_eq!(
            output.status.code(),
            Some(0),
            "{arguments:?}: {}",
            text(&output.stderr)
        );
    }
    let output = start(&["show", "--format", "json"], Stdio::piped())
        .wait_with_output()
        .unwrap();
    let shown: Value = serde_json::from_str(said(&output)).unwrap();
    assert!(
        shown["ledgers"][0]["ledger"]
            .as_str()
            .unwrap()
            .contains("run-")
    );
}

/// Records and users of one data set: each ledger says for whom it is, and the two are not added up.
#[test]
fn units_are_told_and_not_added_up() {
    let folder = tempfile::tempdir().unwrap();
    let users = Unit::User {
        most_records: 4.try_into().unwrap(),
        owners: [0xA7; 32],
    };
    let records = run(&folder, "records", 1, 3);
    let (first, second) = (
        run_for(users, &folder, "first", 1, 5),
        run_for(users, &folder, "second", 1, 6),
    );
    let named = [path(&records), path(&first), path(&second)];
    let output = dpcube(&[&["ledger", "show"], &named[..]].concat());
    let shown = said(&output);
    for part in [
        "unit      one record",
        "unit      one user with all their records, of which a step uses at most 4 (users a7a7",
        "together  2 ledgers of the data set 0101",
        "for one user\n",
        "11 steps of Poisson",
        "are for different units",
    ] {
        assert!(shown.contains(part), "{part} not in\n{shown}");
    }
    assert!(
        !shown.contains("14 steps") && !shown.contains("together  3"),
        "{shown}"
    );

    let json = dpcube(&[&["ledger", "show", "--format", "json"], &named[..]].concat());
    let value: Value = serde_json::from_str(said(&json)).unwrap();
    assert_eq!(value["ledgers"][0]["unit"], "record");
    assert_eq!(value["ledgers"][1]["unit"]["user"]["most_records"], 4);
    let datasets = value["datasets"].as_array().unwrap();
    let counts: Vec<_> = datasets
        .iter()
        .map(|d| d["spent"]["events"][0]["steps"].clone())
        .collect();
    assert_eq!(counts, [3, 11]);
    assert_eq!(datasets[1]["unit"]["user"]["owners"], "a7".repeat(32));
}

#[test]
fn every_record_is_exported() {
    let folder = tempfile::tempdir().unwrap();
    let run = run(&folder, "run", 1, 3);
    let output = dpcube(&["ledger", "export", path(&run)]);
    let lines: Vec<Value> = said(&output)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let (head, lines) = lines.split_first().unwrap();
    let show = dpcube(&["ledger", "show", path(&run), "--format", "json"]);
    let shown: Value = serde_json::from_str(said(&show)).unwrap();
    assert_eq!(head["kind"], "header");
    for name in ["dataset", "config", "unit", "records", "head"] {
        assert!(!head[name].is_null(), "{name} of {head}");
        assert_eq!(head[name], shown["ledgers"][0][name], "{name}");
    }
    let kinds: Vec<&str> = lines
        .iter()
        .map(|line| line["kind"].as_str().unwrap())
        .collect();
    assert_eq!(
        kinds,
        ["start", "reserve", "commit", "reserve", "commit", "reserve"]
    );
    assert_eq!(lines[3]["step"], 1);
    assert_eq!(lines[3]["noise_std"], 1.25 * 0.5 * 1.001);
    assert_eq!(lines[4]["reservation"], 3);

    let output = dpcube(&["ledger", "export", path(&run), "--format", "csv"]);
    let csv: Vec<&str> = said(&output).lines().collect();
    assert_eq!(csv.len(), 7);
    let columns = csv[0].split(',').count();
    assert!(
        csv.iter().all(|line| line.split(',').count() == columns),
        "{csv:?}"
    );
    assert!(
        csv[2].starts_with("1,reserve,0,poisson,0.01,1.25,,0.5,0.001,1,"),
        "{}",
        csv[2]
    );
    assert!(csv[0].ends_with(",unit,most_records"), "{}", csv[0]);
    assert!(
        csv[1..].iter().all(|line| line.ends_with(",record,")),
        "{csv:?}"
    );
}

/// What was spent for a user is no figure for a record: every export says whose presence its events hide, and `account` holds to it.
#[test]
fn an_export_says_for_whom_it_holds() {
    let folder = tempfile::tempdir().unwrap();
    let of = |owners| Unit::User {
        most_records: 4.try_into().unwrap(),
        owners: [owners; 32],
    };
    let records = run(&folder, "records", 1, 3);
    let users = run_for(of(0xA7), &folder, "users", 1, 3);
    let others = run_for(of(0xB8), &folder, "others", 1, 3);

    let output = dpcube(&["ledger", "export", path(&users)]);
    let head: Value = serde_json::from_str(said(&output).lines().next().unwrap()).unwrap();
    assert_eq!(head["unit"]["user"]["most_records"], 4);
    assert_eq!(head["unit"]["user"]["owners"], "a7".repeat(32));
    let output = dpcube(&["ledger", "export", path(&users), "--format", "csv"]);
    let csv: Vec<&str> = said(&output).lines().skip(1).collect();
    assert!(csv.iter().all(|line| line.ends_with(",user,4")), "{csv:?}");

    let exported = |run: &Path| -> Vec<Value> {
        let output = dpcube(&["ledger", "export", path(run), "--format", "events"]);
        serde_json::from_str(said(&output)).unwrap()
    };
    let file = folder.path().join("events.json");
    let ask = |events: &[Value], query: &[&str]| {
        fs::write(&file, serde_json::to_string(events).unwrap()).unwrap();
        let rest = ["--events", path(&file), "--delta", "1e-5"];
        dpcube(&[&["account"][..], query, &rest].concat())
    };
    let one_user = "one user with all their records (of which a step uses at most 4)";
    let output = ask(&exported(&users), &["epsilon"]);
    let answer = said(&output);
    assert!(answer.contains(one_user), "{answer}");
    assert!(!answer.contains("one record"), "{answer}");
    // So do the steps that are left after them.
    let next = [
        "steps",
        "--epsilon",
        "8",
        "--sigma",
        "1.25",
        "--rate",
        "0.01",
    ];
    let output = ask(&exported(&users), &next);
    let answer = said(&output);
    assert!(
        answer.contains("more, rounded down") && answer.contains(one_user),
        "{answer}"
    );

    let output = ask(&exported(&records), &["epsilon"]);
    let answer = said(&output);
    assert!(answer.contains("one record more or less"), "{answer}");
    // A file that was exported before there were units: its events are of records.
    let mut old = exported(&records);
    assert_eq!(
        old[0].as_object_mut().unwrap().remove("unit").unwrap(),
        "record"
    );
    let output = ask(&old, &["epsilon"]);
    assert_eq!(said(&output), answer);

    let wider = |most: u32| {
        let mut events = exported(&users);
        events[0]["unit"]["user"]["most_records"] = most.into();
        events
    };
    let output = ask(&[exported(&users), wider(9)].concat(), &["epsilon"]);
    let answer = said(&output);
    assert!(answer.contains("a step uses at most 9"), "{answer}");

    let mut group = exported(&users);
    group[0]["group"] = 3.into();
    for (events, names) in [
        (
            [exported(&records), exported(&users)].concat(),
            ["event 2", "one user (users a7a7", "one record"],
        ),
        (
            [exported(&users), old].concat(),
            ["event 2", "one record", "no unit"],
        ),
        (
            [exported(&users), exported(&others)].concat(),
            ["event 2", "users b8b8", "users a7a7"],
        ),
        (group, ["event 1", "group 3", "users"]),
        (wider(0), ["event 1", "unit", "most_records"]),
    ] {
        let output = ask(&events, &["epsilon"]);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{error}");
        for name in names {
            assert!(error.contains(name), "{name} not in: {error}");
        }
    }
    let output = ask(&exported(&users), &[&next[..], &["--group", "3"]].concat());
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(
        error.contains("a group of 3 records") && error.contains("one user"),
        "{error}"
    );
}

#[test]
fn damage_is_named_by_its_byte_and_a_crash_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let (good, bad, torn) = (
        run(&folder, "good", 1, 3),
        run(&folder, "bad", 1, 3),
        run(&folder, "torn", 1, 3),
    );
    let file = bad.join("ledger.bin");
    let mut bytes = fs::read(&file).unwrap();
    let at = bytes.len() - 100;
    bytes[at] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let file = torn.join("ledger.bin");
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() - 1]).unwrap();

    let output = dpcube(&["ledger", "verify", path(&good), path(&torn)]);
    let shown = said(&output);
    assert!(
        shown
            .lines()
            .next()
            .unwrap()
            .ends_with("whole, 6 records, 3 steps reserved"),
        "{shown}"
    );
    assert!(
        shown.contains("5 records, 2 steps reserved; the last record"),
        "{shown}"
    );

    let output = dpcube(&["ledger", "verify", path(&good), path(&bad)]);
    assert_eq!(output.status.code(), Some(1));
    let shown = text(&output.stdout);
    assert!(
        shown.contains("good: whole") && shown.contains("bad: DAMAGED: byte "),
        "{shown}"
    );
    assert!(text(&output.stderr).contains("1 of 2 ledgers"));

    // What is damaged is not added up.
    let output = dpcube(&["ledger", "show", path(&good), path(&bad)]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output.stderr).contains("bad/ledger.bin"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn what_is_no_ledger_is_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("nowhere");
    for query in ["show", "verify", "export"] {
        let output = dpcube(&["ledger", query, path(&missing)]);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(
            error.contains("nowhere") && error.trim_end().lines().count() == 1,
            "{error}"
        );
    }
    let run = run(&folder, "run", 1, 1);
    let output = dpcube(&["ledger", "show", path(&run), "--delta", "2"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("delta 2"));
}
