//! Training with a clipping norm that follows a quantile: planned, charged, told, and taken up again.

mod common;

use std::fs;
use std::io::Read;
use std::process::{Command, Stdio};

use common::{Place, assert_done, assert_refused, dpcube, run, stderr};
use dp_core::accounting::{self, Event};
use dp_core::ledger::{Charge, Entry};
use dp_engine::checkpoint::Checkpoint;
use dp_engine::ledger::inspect;
use serde_json::Value;

const QUANTILE: [&str; 6] = [
    "--clip-quantile",
    "0.5",
    "--clip-count-std",
    "4",
    "--clip",
    "0.05",
];

fn arguments<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["--epsilon", "8", "--delta", "1e-3"], &QUANTILE[..], more].concat()
}

/// The charges of a run's ledger, in order.
fn charges(place: &Place, out: &str) -> Vec<Charge> {
    let contents = inspect(&place.path(out).join("ledger.bin")).expect("a ledger");
    let records = contents.records.iter();
    let charges = records.filter_map(|record| match record.entry {
        Entry::Reserve { charge, .. } => Some(charge),
        _ => None,
    });
    charges.collect()
}

fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

/// What the ledger says that was released, step by step, comes to no more than the report promises.
#[test]
fn a_run_with_a_moving_clip_is_charged_for_its_counts() {
    let place = Place::new(120);
    let output = run(&mut place.train("out", &arguments(&["--steps", "30"])));
    assert_done(&output);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    for words in [
        "C began at 0.05 and follows quantile 0.5",
        "deviation 4; together",
        "The clipping norm ended at",
    ] {
        assert!(said.contains(words), "{said}\ndoes not say {words:?}");
    }
    let progress = stderr(&output);
    assert!(progress.contains(", clip "), "{progress}");

    let privacy = place.json("out/train.json")["privacy"].clone();
    let charges = charges(&place, "out");
    assert_eq!(charges.len(), 30);
    // Each step's own noises, combined by theorem 1 of Andrew et al.
    let released: Vec<(Event, u64)> = charges
        .iter()
        .map(|charge| {
            let counts = charge.counts.expect("a charge for counts");
            assert_eq!((counts.groups(), counts.std()), (1, 4.0));
            let sum = charge.clip * (1.0 + charge.eta) / charge.noise_std();
            let sigma = 1.0 / sum.hypot(0.5 / f64::from(counts.std()));
            assert!((sigma / number(&privacy["sigma"]) - 1.0).abs() < 1e-12);
            let rate = number(&privacy["rate"]);
            (
                Event::PoissonGaussian {
                    rate,
                    sigma: sigma * (1.0 - 1e-12),
                },
                1,
            )
        })
        .collect();
    let spent = accounting::epsilon(&[(released[0].0, 30)], 1e-3).expect("a figure");
    assert!(spent.lower <= 8.0 && number(&privacy["upper"]) <= 8.0);
    assert!((spent.upper - number(&privacy["upper"])).abs() < 1e-6);
    // Without the counts' part the sum's noise alone would be too much for what it hides.
    assert!(number(&privacy["adaptive_clip"]["sum_sigma"]) > number(&privacy["sigma"]));

    // The norm begins as asked and moves at every step; the report shows those of the ledger.
    assert_eq!(charges[0].clip, f64::from(0.05f32));
    assert!(charges.windows(2).all(|pair| pair[0].clip != pair[1].clip));
    let curve = privacy["clip_curve"].as_array().expect("a curve").clone();
    for point in &curve[..curve.len() - 1] {
        let step = point["step"].as_u64().expect("a step") as usize;
        assert_eq!(number(&point["clip"]), charges[step].clip, "step {step}");
    }
    // Far below every norm at first, so it grows.
    assert!(number(&curve[curve.len() - 1]["clip"]) > 0.05);

    let mut export = dpcube();
    export
        .args(["ledger", "export", "--format", "csv"])
        .arg(place.path("out"));
    let csv = String::from_utf8_lossy(&run(&mut export).stdout).into_owned();
    let columns: Vec<&str> = csv.lines().next().expect("a head").split(',').collect();
    let row: Vec<&str> = csv.lines().nth(2).expect("a step").split(',').collect();
    let cell = |name| {
        row[columns
            .iter()
            .position(|column| *column == name)
            .expect(name)]
    };
    assert_eq!((cell("count_groups"), cell("count_std")), ("1", "4.0"));
}

/// Stopped after some steps and taken up again: the next step is charged at the norm that the checkpoint holds, and no other settings are taken.
#[test]
fn a_resumed_run_goes_on_with_the_clip_it_had() {
    let place = Place::new(120);
    let long = arguments(&["--steps", "60", "--checkpoint-every", "5"]);
    let mut child = place
        .train("out", &long)
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("starts");
    // The ledger has a few steps by then.
    while charges_so_far(&place) < 8 {
        let ended = child.try_wait().expect("a child");
        assert!(ended.is_none(), "ended before its eighth step: {ended:?}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let interrupt = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(interrupt.expect("kill runs").success());
    let mut rest = String::new();
    let mut pipe = child.stderr.take().expect("a pipe");
    pipe.read_to_string(&mut rest).expect("readable");
    assert_eq!(child.wait().expect("ends").code(), Some(130), "{rest}");

    let checkpoint = Checkpoint::load(&place.path("out/checkpoint")).expect("one");
    let manifest = checkpoint.manifest();
    let done = manifest.step as usize;
    let stored = number(&manifest.extra["clip"]);
    let before = charges(&place, "out");
    assert_eq!(before.len(), done);
    assert!(stored != before[done - 1].clip && stored != before[0].clip);
    assert_eq!(f64::from(stored as f32), stored);

    for (changed, named) in [
        (
            ["--clip-quantile", "0.6"],
            "privacy.clip_quantile: 0.5 -> 0.6",
        ),
        (
            ["--clip-count-std", "5"],
            "privacy.clip_count_std: 4.0 -> 5.0",
        ),
    ] {
        let at = long
            .iter()
            .position(|word| *word == changed[0])
            .expect("given");
        let mut other = long.clone();
        other[at + 1] = changed[1];
        assert_refused(&run(place.train("out", &other).arg("--resume")), named);
    }
    let rate = [&long[..], &["--clip-rate", "0.3"]].concat();
    let named = "privacy.clip_rate: 0.2 -> 0.3";
    assert_refused(&run(place.train("out", &rate).arg("--resume")), named);
    let mut fixed = long.clone();
    fixed.drain(4..8);
    let named = "privacy.clip_quantile: 0.5 -> (none)";
    assert_refused(&run(place.train("out", &fixed).arg("--resume")), named);

    assert_done(&run(place.train("out", &long).arg("--resume")));
    let charged = charges(&place, "out");
    assert_eq!(charged.len(), 60);
    assert_eq!(charged[done].clip, stored);
    assert!(charged.iter().all(|charge| charge.counts.is_some()));
    assert!(number(&place.json("out/train.json")["privacy"]["upper"]) <= 8.0);
}

fn charges_so_far(place: &Place) -> u64 {
    let contents = inspect(&place.path("out/ledger.bin"));
    contents.map_or(0, |contents| contents.summary.state.reservations())
}

/// The count is of users where they are the unit.
#[test]
fn a_run_of_users_counts_users() {
    let place = Place::new(2);
    let records = (0..180).map(|i| {
        format!(
            "{{\"text\": \"note {i} of a day\", \"patient\": \"p{}\"}}\n",
            i % 60
        )
    });
    fs::write(place.path("notes.jsonl"), records.collect::<String>()).expect("a file");
    let mut command = dpcube();
    command
        .args(["train", "--data"])
        .arg(place.path("notes.jsonl"))
        .arg("--out")
        .arg(place.path("out"))
        .args(["--user-field", "patient", "--records-per-user", "2"])
        .args(["--batch", "8", "--microbatch", "8", "--steps", "4"])
        .args(arguments(&[]));
    let output = run(&mut command);
    assert_done(&output);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        said.contains("How many users of the step are within C"),
        "{said}"
    );
    let charges = charges(&place, "out");
    assert!(charges.iter().all(|charge| charge.counts.is_some()));
    assert!(charges.windows(2).all(|pair| pair[0].clip != pair[1].clip));
}

#[test]
fn bad_settings_of_a_moving_clip_are_refused_before_anything_is_written() {
    let place = Place::new(60);
    let cases: &[(&[&str], &str)] = &[
        (&["--clip-quantile", "0"], "--clip-quantile is 0"),
        (&["--clip-quantile", "1"], "--clip-quantile is 1"),
        (&["--clip-quantile", "nan"], "--clip-quantile is NaN"),
        (
            &["--clip-quantile", "0.5", "--clip-rate", "0"],
            "--clip-rate is 0",
        ),
        (
            &["--clip-quantile", "0.5", "--clip-rate", "11"],
            "--clip-rate is 11",
        ),
        (
            &["--clip-quantile", "0.5", "--clip-count-std", "-2"],
            "--clip-count-std is -2",
        ),
        (
            &["--clip-quantile", "0.5", "--clip-count-std", "inf"],
            "--clip-count-std is inf",
        ),
        // A batch of 8 has 0.4 by default, which is less than the whole step's noise.
        (
            &["--clip-quantile", "0.5", "--epsilon", "1"],
            "--clip-count-std: noise of standard deviation 0.4",
        ),
        (&["--clip-rate", "0.3"], "--clip-quantile"),
        (&["--clip-count-std", "3"], "--clip-quantile"),
        (
            &["--clip-quantile", "0.5", "--non-private"],
            "--non-private",
        ),
    ];
    for (arguments, named) in cases {
        let delta: &[&str] = if arguments.contains(&"--non-private") {
            &[]
        } else {
            &["--delta", "1e-3"]
        };
        let all = [&["--steps", "2"], delta, arguments].concat();
        assert_refused(&run(&mut place.train("out", &all)), named);
        assert!(
            !place.path("out").exists(),
            "{arguments:?} left something behind"
        );
    }
}
