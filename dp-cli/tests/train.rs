//! The program as a person runs it: training, its bad inputs, its interruptions, and what it leaves behind.

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use dp_engine::checkpoint::Checkpoint;

use common::{Place, assert_done, assert_refused, dpcube, run, stderr};

#[test]
fn bad_arguments_are_refused_before_anything_is_written() {
    let place = Place::new(60);
    let cases: &[(&[&str], &str)] = &[
        (&["--epsilon", "0"], "epsilon is 0"),
        (&["--epsilon", "-3"], "epsilon is -3"),
        (&["--epsilon", "nan"], "epsilon is NaN"),
        (&["--delta", "1"], "delta is 1"),
        (&["--delta", "0"], "delta is 0"),
        (&["--batch", "61"], "--batch is 61"),
        (&["--batch", "0"], "--batch is 0"),
        (&["--clip", "0"], "--clip is 0"),
        (&["--clip", "-1"], "--clip is -1"),
        (&["--steps", "0"], "--steps is 0"),
        (&["--lr", "0"], "--lr is 0"),
        (&["--microbatch", "0"], "--microbatch is 0"),
        (&["--checkpoint-every", "0"], "--checkpoint-every is 0"),
        (&["--epsilon", "1e-12", "--delta", "1e-30"], "epsilon"),
        (&["--device", "cuda"], "cuda"),
        (&["--tokenizer", "no-such-file.json"], "no-such-file.json"),
        (&["--resume"], "checkpoint"),
        (&["--user-field", "patient"], "patient"),
        (&["--canaries", "1000000"], "1000000"),
    ];
    for (arguments, named) in cases {
        let mut command = place.train("out", &["--steps", "1"]);
        // The last of two settings would be refused as given twice; these replace the small run's own.
        let given: Vec<_> = command.get_args().map(|a| a.to_owned()).collect();
        let mut kept = Vec::new();
        let mut skip = false;
        for argument in given {
            let is_replaced = arguments
                .iter()
                .any(|a| a.starts_with("--") && argument == *a);
            if !skip && !is_replaced {
                kept.push(argument);
            }
            skip = is_replaced;
        }
        command = dpcube();
        command.args(kept).args(*arguments);
        let output = run(&mut command);
        assert_refused(&output, named);
        assert!(
            !place.path("out").exists(),
            "{arguments:?} left something behind"
        );
    }
}

#[test]
fn bad_files_are_refused_before_anything_is_written() {
    let place = Place::new(3);
    let cases: &[(&str, Option<&[u8]>, &str)] = &[
        ("missing.txt", None, "missing.txt"),
        ("empty.txt", Some(b""), "empty.txt"),
        ("blank.txt", Some(b"\n\n  \n"), "blank.txt"),
        ("one.txt", Some(b"only this\n"), "one.txt"),
        ("latin.txt", Some(b"first\nsecond \xe9t\xe9\n"), "latin.txt"),
        (
            "bad.jsonl",
            Some(b"{\"text\": \"a\"}\n{\"text\": 3}\n"),
            "bad.jsonl",
        ),
        (
            "broken.jsonl",
            Some(b"{\"text\": \"a\"}\n{\"text\": \n"),
            "broken.jsonl",
        ),
    ];
    for (name, bytes, named) in cases {
        let path = place.path(name);
        if let Some(bytes) = bytes {
            fs::write(&path, bytes).expect("a file");
        }
        let mut command = dpcube();
        command
            .args(["train", "--batch", "1", "--steps", "1", "--data"])
            .arg(&path)
            .arg("--out")
            .arg(place.path("out"));
        assert_refused(&run(&mut command), named);
        assert!(!place.path("out").exists(), "{name} left something behind");
    }
}

#[test]
fn a_private_run_leaves_a_model_a_ledger_and_its_guarantee() {
    let place = Place::new(120);
    let arguments = [
        "--steps",
        "3",
        "--epsilon",
        "8",
        "--delta",
        "1e-3",
        "--canaries",
        "1",
    ];
    let output = run(&mut place.train("out", &arguments));
    assert_done(&output);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("differential privacy"), "{said}");
    // How the norms are taken is told at the end, as it would be after empty batches alone: which batches had a record is private.
    let watched = stderr(&output);
    let place_of = |word: &str| {
        watched
            .find(word)
            .unwrap_or_else(|| panic!("no {word:?} in {watched}"))
    };
    assert!(
        place_of("norm of a Linear") > place_of("step 3 of 3"),
        "{watched}"
    );

    let summary = place.json("out/train.json");
    let privacy = &summary["privacy"];
    assert_eq!(
        (&privacy["steps"], &privacy["unconfirmed"]),
        (&3.into(), &0.into())
    );
    let rng = privacy["rng"].as_str().expect("a name").to_lowercase();
    assert!(
        rng.contains("chacha20") && !rng.contains("not secure"),
        "{rng}"
    );
    let listed = privacy["without_noise"].to_string();
    assert!(
        listed.contains("fingerprint") && listed.contains("peak memory"),
        "{listed}"
    );
    let number = |name: &str| privacy[name].as_f64().expect(name);
    assert!(number("upper") <= 8.0 && number("lower") <= number("upper"));
    assert!(
        (number("rate") - 8.0 / summary["data"]["train_records"].as_f64().unwrap()).abs() < 1e-12
    );
    assert_eq!(privacy["groups"][0]["records"], 16);
    assert!(privacy["groups"][0]["epsilon"].as_f64().unwrap() > number("upper"));
    assert_eq!(summary["canaries"].as_array().map(Vec::len), Some(1));

    let ledger = dp_engine::ledger::inspect(&place.path("out/ledger.bin")).expect("a ledger");
    assert_eq!(ledger.summary.state.reservations(), 3);

    let generate = |prompt: &str| {
        let mut command = dpcube();
        command
            .args([
                "generate",
                "--max-tokens",
                "4",
                "--prompt",
                prompt,
                "--model",
            ])
            .arg(place.path("out"));
        run(&mut command)
    };
    let output = generate("record 5");
    assert_done(&output);
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("record 5"));
    assert_refused(&generate(&"long ".repeat(50)), "250 tokens");
    let another = concat!(env!("CARGO_MANIFEST_DIR"), "/../corpus/tokenizer-4096.json");
    fs::copy(another, place.path("out/tokenizer.json")).expect("a tokenizer");
    assert_refused(&generate("record 5"), "trained with tokenizer bytes");
    fs::remove_file(place.path("out/tokenizer.json")).expect("removed");

    assert_refused(
        &run(&mut place.train("out", &arguments)),
        "holds another run",
    );
    let mut changed = arguments;
    changed[1] = "4";
    let mut command = place.train("out", &changed);
    assert_refused(&run(command.arg("--resume")), "steps");

    let text: String = (0..120).map(|i| format!("other record {i}\n")).collect();
    fs::write(place.path("notes.txt"), text).expect("a file");
    let mut command = place.train("out", &arguments);
    assert_refused(&run(command.arg("--resume")), "data");
}

/// More than a third of these batches draw nobody: one that was skipped, neither noised nor charged, would tell that nobody was drawn.
#[test]
fn steps_that_draw_nobody_are_charged_and_released() {
    let place = Place::new(60);
    let mut command = dpcube();
    command
        .args(["train", "--data"])
        .arg(place.path("notes.txt"))
        .arg("--out")
        .arg(place.path("out"))
        .args(["--batch", "1", "--microbatch", "2", "--steps", "40"])
        .args(["--delta", "1e-3", "--norms", "rule"]);
    assert_done(&run(&mut command));
    let ledger = dp_engine::ledger::inspect(&place.path("out/ledger.bin")).expect("a ledger");
    let state = ledger.summary.state;
    assert_eq!((state.reservations(), state.commits()), (40, 40));
    let privacy = place.json("out/train.json")["privacy"].clone();
    assert_eq!(
        (&privacy["steps"], &privacy["unconfirmed"]),
        (&40.into(), &0.into())
    );
}

/// The way of the Linears' norms is chosen by a measurement, or as a person says; it is told once for each shape.
#[test]
fn how_norms_are_taken_is_told_once() {
    let place = Place::new(60);
    let said = |out: &str, arguments: &[&str]| {
        let steps = ["--steps", "3", "--delta", "1e-3"];
        let output = run(&mut place.train(out, &[&steps, arguments].concat()));
        assert_done(&output);
        stderr(&output)
    };
    let measured = said("measured", &[]);
    assert_eq!(
        measured.matches("the device reads").count(),
        1,
        "{measured}"
    );
    // The tiny model has five shapes of Linears.
    assert_eq!(
        measured.matches("by measured ceilings").count(),
        5,
        "{measured}"
    );

    let asked = said("asked", &["--norms", "materialised"]);
    assert_eq!(
        asked.matches("Materialised, as asked").count(),
        5,
        "{asked}"
    );
    assert!(!asked.contains("the device reads"), "{asked}");

    // With a context of 64 products of tokens are few: by the rule nothing is worth its memory.
    let rule = said("rule", &["--norms", "rule", "--keep-memory", "64"]);
    assert_eq!(rule.matches("nothing measured").count(), 5, "{rule}");
    assert!(!rule.contains("kept"), "{rule}");
}

#[test]
fn memory_for_gradients_that_no_way_keeps_is_refused() {
    let place = Place::new(60);
    let arguments = ["--norms", "gram", "--keep-memory", "64"];
    assert_refused(
        &run(&mut place.train("out", &arguments)),
        "--keep-memory 64",
    );
    let most = u64::MAX.to_string();
    let arguments = ["--keep-memory", most.as_str()];
    assert_refused(&run(&mut place.train("out", &arguments)), &most);
    assert!(!place.path("out").exists(), "something was written");
}

#[test]
fn a_folder_with_something_else_in_it_is_left_alone() {
    let place = Place::new(60);
    fs::create_dir(place.path("out")).expect("a folder");
    fs::write(place.path("out/thesis.txt"), "mine").expect("a file");
    assert_refused(
        &run(&mut place.train("out", &["--steps", "1"])),
        "is not empty",
    );
    assert_eq!(
        fs::read_dir(place.path("out")).expect("a folder").count(),
        1
    );
}

/// Waits until the child has written a line with `word` on stderr.
fn wait_for(child: &mut Child, word: &str) -> BufReader<std::process::ChildStderr> {
    let mut lines = BufReader::new(child.stderr.take().expect("a pipe"));
    let mut line = String::new();
    while !line.contains(word) {
        line.clear();
        assert_ne!(
            lines.read_line(&mut line).expect("readable"),
            0,
            "ended before {word:?}"
        );
    }
    lines
}

fn signal(child: &Child, name: &str) {
    let status = Command::new("kill")
        .args([name, &child.id().to_string()])
        .status();
    assert!(status.expect("kill runs").success());
}

const LONG: [&str; 8] = [
    "--steps",
    "60",
    "--epsilon",
    "8",
    "--delta",
    "1e-3",
    "--checkpoint-every",
    "5",
];

#[test]
fn ctrl_c_finishes_the_step_and_the_run_goes_on() {
    let place = Place::new(120);
    let mut child = place
        .train("out", &LONG)
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("starts");
    let mut lines = wait_for(&mut child, "step 1 of");
    signal(&child, "-INT");
    let mut rest = String::new();
    lines.read_to_string(&mut rest).expect("readable");
    assert_eq!(child.wait().expect("ends").code(), Some(130), "{rest}");
    assert!(rest.contains("--resume goes on"), "{rest}");
    assert!(!place.path("out/train.json").exists());

    let mut command = place.train("out", &LONG);
    assert_done(&run(command.arg("--resume")));
    let summary = place.json("out/train.json");
    assert_eq!(summary["steps"], 60);
    assert_eq!(summary["privacy"]["steps"], 60);
}

/// Weights without privacy beside the ledger of a private run would be taken for private.
#[test]
fn two_runs_do_not_share_a_folder() {
    let place = Place::new(120);
    let plain = ["--non-private", "--steps", "60", "--checkpoint-every", "60"];
    let mut child = place
        .train("out", &plain)
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("starts");
    let mut lines = wait_for(&mut child, "step 1 of");
    assert_refused(&run(&mut place.train("out", &LONG)), "is in use");
    assert!(!place.path("out/ledger.bin").exists());
    signal(&child, "-KILL");
    child.wait().expect("ends");
    lines.read_to_string(&mut String::new()).expect("readable");
    // Nothing was written yet, so that the folder is free again.
    let private = ["--steps", "2", "--epsilon", "8", "--delta", "1e-3"];
    assert_done(&run(&mut place.train("out", &private)));

    assert_done(&run(
        &mut place.train("plain", &["--non-private", "--steps", "2"])
    ));
    fs::remove_dir_all(place.path("out/checkpoint")).expect("removed");
    fs::rename(place.path("plain/checkpoint"), place.path("out/checkpoint")).expect("moved");
    let output = run(dpcube().args(["ledger", "verify"]).arg(place.path("out")));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("without a ledger"));
}

/// Without noise a run is a function of its seed: interrupted and taken up again it ends with the very weights of one that was let run. So
/// step counter, the optimizer's moments and the place in the batches' stream all came back.
#[test]
fn a_resumed_run_ends_where_one_that_was_let_run_does() {
    let place = Place::new(120);
    let arguments = ["--non-private", "--steps", "40", "--checkpoint-every", "7"];
    assert_done(&run(&mut place.train("whole", &arguments)));

    let mut child = place
        .train("broken", &arguments)
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("starts");
    let mut lines = wait_for(&mut child, "step 1 of");
    signal(&child, "-INT");
    lines.read_to_string(&mut String::new()).expect("readable");
    assert_eq!(child.wait().expect("ends").code(), Some(130));
    let load = |run: &str| {
        let checkpoint = Checkpoint::load(&place.path(run).join("checkpoint")).expect("one");
        let model = checkpoint.tensors("model").expect("tensors");
        (checkpoint.manifest().step, model)
    };
    let (step, at_the_break) = load("broken");
    assert!((1..40).contains(&step), "{step}");
    assert_done(&run(place.train("broken", &arguments).arg("--resume")));

    let (whole, broken) = (load("whole"), load("broken"));
    assert_eq!((whole.0, broken.0), (40, 40));
    assert!(whole.1 == broken.1, "weights differ");
    // The negative control: the steps after the break changed them.
    assert!(at_the_break != whole.1);
}

/// After a kill the steps since the last checkpoint are lost and spent: the run ends early, never over budget. Where there was no other one yet, that
/// is the one of step 0: without it the only ways on would be ways to forget what was spent.
#[test]
fn a_killed_run_never_spends_twice() {
    for first in [0, 5] {
        a_run_killed_after(first);
    }
}

fn a_run_killed_after(first: u64) {
    let place = Place::new(120);
    let mut child = place
        .train("out", &LONG)
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("starts");
    let lines = wait_for(&mut child, "step 1 of");
    let done = || Checkpoint::load(&place.path("out/checkpoint")).map(|c| c.manifest().step);
    while done().ok() < Some(first) {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    signal(&child, "-KILL");
    child.wait().expect("ends");
    drop(lines);

    let before = reservations(&place.path("out/ledger.bin"));
    let output = run(place.train("out", &LONG).arg("--resume"));
    assert_done(&output);
    let summary = place.json("out/train.json");
    let (steps, spent) = (
        summary["steps"].as_u64().unwrap(),
        summary["privacy"]["steps"].as_u64().unwrap(),
    );
    assert!(
        before >= first.max(1) && spent <= 60 && steps <= spent,
        "{before}, {steps}, {spent}"
    );
    assert_eq!(spent, reservations(&place.path("out/ledger.bin")));
    assert!(summary["privacy"]["upper"].as_f64().unwrap() <= 8.0);
    // Where the budget ended it, its last step is measured by all records, once.
    for curve in [
        &summary["held_out_curve"],
        &summary["privacy"]["epsilon_curve"],
    ] {
        let points = curve.as_array().expect("points").iter();
        let at: Vec<u64> = points
            .map(|point| point["step"].as_u64().expect("a step"))
            .collect();
        assert!(at.windows(2).all(|two| two[0] < two[1]), "{at:?}");
        assert_eq!(at.last(), Some(&steps));
    }
    a_ledger_that_was_cut_is_found_out(&place);
}

/// Cut between two records a ledger is whole in itself; the checkpoint saw more of it.
fn a_ledger_that_was_cut_is_found_out(place: &Place) {
    let verify = || run(dpcube().args(["ledger", "verify"]).arg(place.path("out")));
    let output = verify();
    assert_done(&output);
    assert!(String::from_utf8_lossy(&output.stdout).contains("that the checkpoint saw"));
    let ledger = place.path("out/ledger.bin");
    let bytes = fs::read(&ledger).expect("a ledger");
    let shorter = dp_core::ledger::HEADER_LEN + 5 * dp_core::ledger::RECORD_LEN;
    fs::write(&ledger, &bytes[..shorter]).expect("a ledger");
    let output = verify();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("cut or replaced"));
    let resumed = run(place.train("out", &LONG).arg("--resume"));
    assert_refused(&resumed, "cut or replaced");
    assert_eq!(fs::read(&ledger).expect("a ledger"), bytes[..shorter]);
}

fn reservations(path: &Path) -> u64 {
    dp_engine::ledger::inspect(path)
        .expect("a ledger")
        .summary
        .state
        .reservations()
}

/// A disk that takes no more: the system refuses to let any file grow beyond 64 KiB.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_told_and_nothing_is_half_written() {
    let place = Place::new(60);
    let command = place.train("out", &["--steps", "1"]);
    let mut limited = Command::new("sh");
    limited
        .args(["-c", "trap '' XFSZ; ulimit -f 128; exec \"$0\" \"$@\""])
        .arg(command.get_program())
        .args(command.get_args());
    let output = run(&mut limited);
    assert_refused(&output, "checkpoint");
    assert!(!place.path("out/checkpoint").exists() && !place.path("out/train.json").exists());
}

#[test]
fn the_demo_trains_both_ways_and_reports() {
    let place = Place::new(120);
    let demo = |more: &[&str]| {
        let mut command = dpcube();
        command
            .args([
                "demo",
                "--steps",
                "2",
                "--batch",
                "8",
                "--canaries",
                "2",
                "--delta",
                "1e-3",
                "--data",
            ])
            .arg(place.path("notes.txt"))
            .arg("--out")
            .arg(place.path("demo"))
            .args(more);
        run(&mut command)
    };
    assert_done(&demo(&[]));
    // A second one would remove the only record of what the first spent on these notes.
    let ledger = place.path("demo/private/ledger.bin");
    let spent = fs::read(&ledger).expect("a ledger");
    assert_refused(&demo(&[]), "notes.txt");
    assert_eq!(fs::read(&ledger).expect("a ledger"), spent);
    fs::rename(&ledger, place.path("spent.bin")).expect("moved");
    // What no run takes is refused before the former demo is removed.
    assert_refused(&demo(&["--epsilon", "0"]), "--epsilon is 0.0");
    assert_refused(&demo(&["--clip", "1e300"]), "--clip is 1e300");
    assert!(place.path("demo/report.html").exists() && place.path("demo/private").exists());
    assert_done(&demo(&[]));

    let report = place.json("demo/report.json");
    for side in ["private", "non_private"] {
        for field in ["held_out_loss", "tokens_per_s", "peak_memory_bytes"] {
            assert!(
                report[side][field].as_f64().is_some_and(|x| x > 0.0),
                "{side}.{field}"
            );
        }
        let canaries = report[side]["canaries"].as_array().expect("canaries");
        assert_eq!(canaries.len(), 2);
        assert!(
            canaries
                .iter()
                .all(|c| c["exposure"].is_number() && c["recited"].is_boolean())
        );
    }
    assert!(report["step_time_ratio"].as_f64().is_some_and(|x| x > 0.0));
    for field in [
        "epsilon", "lower", "upper", "delta", "sigma", "rate", "steps", "clip",
    ] {
        assert!(report["privacy"][field].is_number(), "privacy.{field}");
    }
    let page = fs::read_to_string(place.path("demo/report.html")).expect("a page");
    assert!(page.contains("<svg") && page.contains("Epsilon") || page.contains("epsilon"));
    for fetched in ["src=\"http", "href=\"http", "<script", "@import", "url("] {
        assert!(!page.contains(fetched), "the page has {fetched}");
    }

    fs::create_dir(place.path("other")).expect("a folder");
    fs::write(place.path("other/mine.txt"), "mine").expect("a file");
    let output = run(dpcube().args(["demo", "--out"]).arg(place.path("other")));
    assert_refused(&output, "not a demo's");
}
