//! A run whose unit of privacy is the user.

mod common;

use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use common::{Place, assert_done, assert_refused, dpcube, run, stderr};
use dp_core::ledger::Unit;
use serde_json::Value;

/// Records of users: `owners[i]` has record i.
fn jsonl(owners: &[usize]) -> String {
    let mut text = String::new();
    for (i, owner) in owners.iter().enumerate() {
        writeln!(
            text,
            "{{\"text\": \"note {i} of a day in month {}\", \"patient\": \"p{owner}\"}}",
            i % 12
        )
        .expect("a string");
    }
    text
}

/// A private run over that file; the last of the arguments win.
fn train(place: &Place, file: &str, out: &str, arguments: &[&str]) -> Command {
    let mut command = dpcube();
    command
        .args(["train", "--data"])
        .arg(place.path(file))
        .arg("--out")
        .arg(place.path(out))
        .args(["--user-field", "patient", "--delta", "1e-3"])
        .args(["--microbatch", "8", "--steps", "3", "--batch", "6"])
        .args(arguments);
    command
}

/// 60 users: user i has 1 + i % 7 records, in no order.
fn owners() -> Vec<usize> {
    let mut owners: Vec<usize> = (0..60)
        .flat_map(|user| std::iter::repeat_n(user, 1 + user % 7))
        .collect();
    owners.sort_by_key(|owner| owner * 37 % 60);
    owners
}

#[test]
fn a_run_of_users_says_so_everywhere() {
    let place = Place::new(2);
    fs::write(place.path("notes.jsonl"), jsonl(&owners())).expect("a file");
    let k = ["--records-per-user", "2"];
    let output = run(&mut train(&place, "notes.jsonl", "out", &k));
    assert_done(&output);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    for words in [
        "for one user with all their records (add or remove them)",
        "users is in a step with probability",
        "at most 2 records are used",
        "each user's gradient",
        "SHA-256 of whose each record is",
    ] {
        assert!(said.contains(words), "{words:?} is not in {said}");
    }
    assert!(!said.contains("for one record"), "{said}");
    assert!(stderr(&output).contains("the guarantee is for a user"));

    let summary = place.json("out/train.json");
    let privacy = &summary["privacy"];
    let users = summary["data"]["users"].as_u64().expect("a number");
    assert!((50..60).contains(&users), "{users}");
    assert_eq!(privacy["units"], users);
    assert_eq!(privacy["unit"]["user"]["most_records"], 2);
    let number = |name: &str| privacy[name].as_f64().expect(name);
    assert!((number("rate") - 6.0 / users as f64).abs() < 1e-12);
    assert!(number("upper") <= 8.0 && number("upper") > 7.9);
    assert_eq!(privacy["groups"], Value::Array(vec![]));
    // How many records one user has is in no file and on no console.
    assert!(summary["data"].get("most_records_of_a_user").is_none());

    let ledger = dp_engine::ledger::inspect(&place.path("out/ledger.bin")).expect("a ledger");
    let unit = ledger.summary.header.unit;
    assert!(matches!(unit, Unit::User { most_records, .. } if most_records.get() == 2));

    let output = run(dpcube().args(["ledger", "show"]).arg(place.path("out")));
    assert_done(&output);
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    let words = "unit      one user with all their records, of which a step uses at most 2";
    assert!(shown.contains(words), "{shown}");

    // The same run goes on, with as many records of a user and the same users only.
    let resume = |arguments: &[&str]| {
        let mut command = train(&place, "notes.jsonl", "out", &k);
        run(command.args(arguments).arg("--resume"))
    };
    assert_done(&resume(&[]));
    let mut command = train(&place, "notes.jsonl", "out", &["--resume"]);
    assert_refused(
        &run(command.args(["--records-per-user", "3"])),
        "users.most_records",
    );
    // Two patients who turn out to be one: the same texts, other users.
    let merged = jsonl(&owners()).replace("\"p10\"", "\"p11\"");
    fs::write(place.path("notes.jsonl"), merged).expect("a file");
    assert_refused(&resume(&[]), "users.owners");
}

/// Runs for the same users come after one another, however many of their records each uses.
#[test]
fn runs_of_the_same_users_add_up() {
    let place = Place::new(2);
    fs::write(place.path("notes.jsonl"), jsonl(&owners())).expect("a file");
    let first = ["--epsilon", "3"];
    assert_done(&run(&mut train(&place, "notes.jsonl", "first", &first)));
    let first = place.path("first");
    let first = first.to_str().expect("UTF-8");
    let second = [
        "--epsilon",
        "5",
        "--records-per-user",
        "1",
        "--after",
        first,
    ];
    let output = run(&mut train(&place, "notes.jsonl", "second", &second));
    assert_done(&output);
    let privacy = place.json("second/train.json")["privacy"].clone();
    // To the rounding a user is one example of all their rows: four have a larger share than one.
    let eta = |privacy: &Value| privacy["eta"].as_f64().expect("a number");
    let first = place.json("first/train.json")["privacy"].clone();
    assert!(eta(&first) > 1.5 * eta(&privacy), "{first} {privacy}");
    let upper = privacy["upper"].as_f64().expect("a number");
    assert!(upper <= 5.0 && upper > 4.9, "{privacy}");
    assert_eq!(
        privacy["before"]["ledgers"].as_array().map(Vec::len),
        Some(1)
    );
}

#[test]
fn bad_users_are_refused_before_anything_is_written() {
    let place = Place::new(2);
    let files = [
        ("notes.jsonl", jsonl(&owners())),
        ("one.jsonl", jsonl(&[3; 40])),
        ("two.jsonl", jsonl(&[3, 3, 3, 3, 3, 3, 5])),
        (
            "missing.jsonl",
            jsonl(&[1, 2, 3]) + "{\"text\": \"nobody's\"}\n",
        ),
        (
            "list.jsonl",
            jsonl(&[1, 2, 3]) + "{\"text\": \"two\", \"patient\": [1, 2]}\n",
        ),
    ];
    for (name, text) in &files {
        fs::write(place.path(name), text).expect("a file");
    }
    let cases: &[(&str, &[&str], &str)] = &[
        (
            "notes.jsonl",
            &["--records-per-user", "0"],
            "--records-per-user is 0",
        ),
        (
            "notes.jsonl",
            &["--records-per-user", "9"],
            "above the 8 rows of --microbatch",
        ),
        ("notes.jsonl", &["--records-per-user", "-1"], "-1"),
        ("one.jsonl", &[], "user"),
        ("two.jsonl", &[], "user"),
        ("missing.jsonl", &[], "line 4: no field \"patient\""),
        ("list.jsonl", &[], "line 4: field \"patient\" is a list"),
        ("notes.txt", &[], "plain text"),
    ];
    for (file, arguments, named) in cases {
        let output = run(&mut train(&place, file, "out", arguments));
        assert_refused(&output, named);
        assert!(!place.path("out").exists(), "{file} {arguments:?}");
    }
    let batch = |batch: &str| {
        let mut command = dpcube();
        command
            .args([
                "train",
                "--user-field",
                "patient",
                "--batch",
                batch,
                "--data",
            ])
            .arg(place.path("notes.jsonl"))
            .arg("--out")
            .arg(place.path("out"));
        run(&mut command)
    };
    // There are 240 records, but 60 users.
    assert_refused(&batch("61"), "training users");
    let mut command = dpcube();
    command
        .args(["train", "--records-per-user", "2", "--data"])
        .arg(place.path("notes.txt"))
        .arg("--out")
        .arg(place.path("out"));
    assert_refused(&run(&mut command), "--user-field");
}

/// One user with nearly all records, others with one each: nothing changes for them but how much of theirs is used.
#[test]
fn one_user_with_most_records_is_one_user() {
    let place = Place::new(2);
    let mut owners = vec![0; 400];
    owners.extend(1..40);
    fs::write(place.path("notes.jsonl"), jsonl(&owners)).expect("a file");
    // A seed that keeps the one in training.
    let output = run(&mut train(
        &place,
        "notes.jsonl",
        "out",
        &["--canaries", "1"],
    ));
    assert_done(&output);
    let summary = place.json("out/train.json");
    let users = summary["data"]["users"].as_u64().expect("a number");
    // The planted patient is a user too.
    assert!((30..=41).contains(&users), "{users}");
    assert_eq!(summary["privacy"]["units"], users);
    assert_eq!(summary["privacy"]["groups"], Value::Array(vec![]));
    assert!(summary["data"]["train_records"].as_u64().expect("a number") > 400);
}

#[test]
fn without_privacy_users_are_drawn_too() {
    let place = Place::new(2);
    fs::write(place.path("notes.jsonl"), jsonl(&owners())).expect("a file");
    let mut command = dpcube();
    command
        .args([
            "train",
            "--non-private",
            "--user-field",
            "patient",
            "--data",
        ])
        .arg(place.path("notes.jsonl"))
        .arg("--out")
        .arg(place.path("out"))
        .args(["--microbatch", "8", "--steps", "2", "--batch", "6"]);
    let output = run(&mut command);
    assert_done(&output);
    assert!(String::from_utf8_lossy(&output.stdout).contains("Trained without privacy"));
    let settings = place.json("out/train.json")["settings"].clone();
    assert!(
        settings
            .to_string()
            .contains("6 users expected, of each at most 4 records")
    );
}
