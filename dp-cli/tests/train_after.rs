//! A run that comes after others on the same records.

mod common;

use common::{Place, assert_done, assert_refused, dpcube, run};
use serde_json::Value;

/// A tuning run, and one that comes after it: --epsilon is for both, and a resumed run must be given the same past.
#[test]
fn a_run_after_another_keeps_the_epsilon_of_both() {
    let place = Place::new(120);
    let small = ["--delta", "1e-3", "--epsilon"];
    let tuning = [&small[..], &["3", "--steps", "4"]].concat();
    assert_done(&run(&mut place.train("tuning", &tuning)));
    let tuning = place.path("tuning");
    let tuning = tuning.to_str().expect("UTF-8");
    let after = |out: &str, more: &[&str]| {
        let arguments = [&small[..], &["5", "--steps", "4"], more].concat();
        run(&mut place.train(out, &arguments))
    };
    let output = after("out", &["--after", tuning, tuning]);
    assert_done(&output);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("over this run and those before it"), "{said}");
    let privacy = place.json("out/train.json")["privacy"].clone();
    let number = |value: &Value| value.as_f64().expect("a number");
    let upper = number(&privacy["upper"]);
    assert!(upper <= 5.0 && upper > 4.9, "{privacy}");
    assert_eq!(privacy["before"]["events"][0]["count"], 4);
    assert!(number(&privacy["before"]["this_run"]) < upper, "{privacy}");

    // The ledgers say the same.
    let show = [
        "ledger", "show", "--delta", "1e-3", "--format", "json", tuning,
    ];
    let output = run(dpcube().args(show).arg(place.path("out")));
    assert_done(&output);
    let shown: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let together = &shown["datasets"][0]["spent"]["epsilon"]["upper"];
    assert!((number(together) - upper).abs() < 1e-9, "{shown}");

    assert_done(&after("out", &["--resume", "--after", tuning]));
    assert_refused(&after("out", &["--resume"]), "tuning");
    let own = place.path("out");
    let own = own.to_str().expect("UTF-8");
    assert_refused(
        &after("out", &["--resume", "--after", tuning, own]),
        "out/ledger.bin",
    );

    // Its own past is not in its ledger.
    assert_refused(&after("new", &["--after", own]), "came after");

    assert_refused(&after("new", &["--after", "nowhere"]), "nowhere");
    let spent = [&small[..], &["2", "--steps", "4", "--after", tuning]].concat();
    assert_refused(&run(&mut place.train("new", &spent)), "nothing is left");
    let other = after("new", &["--after", tuning, "--seed", "1"]);
    assert_refused(&other, "the data set");
    assert!(!place.path("new").exists());
}
