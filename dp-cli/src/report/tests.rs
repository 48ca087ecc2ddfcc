use dp_engine::report::{Adjacency, GroupStatement, PrivacyStatement, Sampler, Unit};

use super::number;
use super::*;

fn canary(index: usize, exposure: f64, recited: bool) -> CanaryResult {
    CanaryResult {
        prompt: format!("patient Marla Quint of {index} Birch Lane has code"),
        exposure,
        rank: (2048.0 / exposure.exp2()).round(),
        codes: 2048,
        recited,
        completion: if recited { " 483920" } else { " 1 <b>&\u{7}" }.into(),
    }
}

fn run(slope: f64, exposures: [f64; 4], recited: [bool; 4]) -> RunSummary {
    let loss = |step: u64| 1.6 + 3.9 * (-slope * step as f64 / 400.0).exp();
    RunSummary {
        settings: vec![
            Setting {
                name: "model".into(),
                value: "tiny".into(),
            },
            Setting {
                name: "learning rate".into(),
                value: "0.002".into(),
            },
        ],
        data: DataSummary {
            source: "corpus/wordnet.txt".into(),
            train_records: 21_373,
            held_out_records: 1123,
            cut_records: 640,
            ..DataSummary::default()
        },
        parameters: 462_592,
        steps: 400,
        held_out_loss: loss(400),
        held_out_curve: (0..=20)
            .map(|i| LossPoint {
                step: i * 20,
                loss: loss(i * 20),
            })
            .collect(),
        tokens_per_s: 21_345.6,
        step_seconds: 0.31,
        peak_memory_bytes: Some(734_003_200),
        canaries: (0..4)
            .map(|i| canary(i + 1, exposures[i], recited[i]))
            .collect(),
        privacy: None,
    }
}

fn privacy() -> PrivacySummary {
    let group = GroupStatement {
        name: "patient".into(),
        records: 16,
        epsilon: Some(31.4),
        delta: 1e-5,
        generic_epsilon: 127.75,
        generic_delta: 1.0,
    };
    let statement = PrivacyStatement {
        epsilon: 7.983_1,
        lower: 7.981_9,
        upper: 7.984_2,
        delta: 1e-5,
        sigma: 0.683,
        rate: 0.023_96,
        steps: 400,
        unconfirmed: 0,
        steps_planned: 400,
        clip: 1.0,
        adaptive_clip: None,
        eta: 0.000_976_562_5,
        target_epsilon: 8.0,
        unit: Unit::Record,
        adjacency: Adjacency::AddRemove,
        sampler: Sampler::Poisson,
        events: vec![],
        before: None,
        accountant: "exact, both directions".into(),
        rng: "ChaCha20 under a fresh key from the operating system".into(),
        without_noise: vec!["loss: on <held-out> records".into()],
        groups: vec![group],
        units: 21_373,
        records: 21_373,
        dataset: "00ff".into(),
        ledger_records: 802,
        ledger_digest: "ff00".into(),
        warnings: vec![],
    };
    let point = |i: u64| EpsilonPoint {
        step: i * 20,
        epsilon: 1.785_3 * (i as f64).sqrt(),
    };
    PrivacySummary {
        statement,
        epsilon_curve: (1..=20).map(point).collect(),
        clip_curve: vec![],
    }
}

fn sample() -> Report {
    let mut private = run(2.0, [0.4, 2.9, 1.1, 0.05], [false; 4]);
    private.step_seconds = 0.403;
    private.privacy = Some(privacy());
    let non_private = run(5.0, [11.0, 11.0, 8.2, 11.0], [true, true, false, true]);
    Report::new(private, non_private).unwrap()
}

/// The fields that readers of `report.json` rely on.
#[test]
fn the_json_has_the_fields_that_were_promised() {
    let json = serde_json::to_value(sample()).unwrap();
    for run in ["private", "non_private"] {
        assert!(json[run]["held_out_loss"].is_f64());
        assert!(json[run]["tokens_per_s"].is_f64());
        assert!(json[run]["peak_memory_bytes"].is_u64());
        assert_eq!(json[run]["canaries"].as_array().unwrap().len(), 4);
        assert!(json[run]["canaries"][0]["exposure"].is_f64());
        assert!(json[run]["canaries"][0]["recited"].is_boolean());
        assert!(json[run].get("privacy").is_none());
    }
    assert_eq!(json["step_time_ratio"], 0.403 / 0.31);
    for field in [
        "epsilon", "lower", "upper", "delta", "sigma", "rate", "clip",
    ] {
        assert!(json["privacy"][field].is_f64(), "{field}");
    }
    assert_eq!(json["privacy"]["steps"], 400);
    assert_eq!(json["privacy"]["upper"], 7.984_2);
}

#[test]
fn summaries_survive_json() {
    let report = sample();
    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
    // A run that diverged: NaN becomes null and comes back.
    let mut diverged = report.non_private.clone();
    diverged.held_out_loss = f64::NAN;
    diverged.held_out_curve[3].loss = f64::INFINITY;
    let json = serde_json::to_string(&diverged).unwrap();
    let back: RunSummary = serde_json::from_str(&json).unwrap();
    assert!(back.held_out_loss.is_nan() && back.held_out_curve[3].loss.is_nan());
    Report {
        non_private: diverged,
        ..report
    }
    .html()
    .unwrap();
}

#[test]
fn runs_that_cannot_be_compared_are_refused() {
    let Report {
        private,
        non_private,
        privacy,
        ..
    } = sample();
    let private = RunSummary {
        privacy: Some(privacy),
        ..private
    };
    let refused = |a: &RunSummary, b: &RunSummary| Report::new(a.clone(), b.clone()).unwrap_err();
    assert!(matches!(
        refused(&non_private, &non_private),
        ReportError::NotPrivate
    ));
    assert!(matches!(
        refused(&private, &private),
        ReportError::NotNonPrivate
    ));
    let mut other = non_private.clone();
    other.canaries[2].prompt = "another".into();
    assert!(matches!(
        refused(&private, &other),
        ReportError::OtherCanaries { .. }
    ));
    for seconds in [0.0, f64::NAN, f64::INFINITY, -1.0] {
        let other = RunSummary {
            step_seconds: seconds,
            ..non_private.clone()
        };
        assert!(matches!(
            refused(&private, &other),
            ReportError::NoStepTime { .. }
        ));
    }
}

#[test]
fn the_page_is_one_file_with_everything_in_it() {
    let page = sample().html().unwrap();
    for foreign in [
        "<script", "http:", "//", "@import", "url(", "<link", "<img", "src=",
    ] {
        let page = page.replace("http://www.w3.org/2000/svg", "");
        assert!(!page.contains(foreign), "{foreign}");
    }
    // The ink of the plots is that of the page, light or dark.
    assert!(page.contains("currentColor") && !page.contains("#010203") && !page.contains("NaN"));
    assert_eq!(page.matches("<svg").count(), 3);
    assert_eq!(page.matches("</svg>").count(), 3);
    for text in [
        "recites 3 of 4 planted codes; at epsilon 7.99 it recites 0",
        "<p>Not for other eyes: the losses, completions",
        "<dt>Not for other eyes</dt>\n<dd>the losses, completions",
        "<dt>Guarantee</dt>\n<dd>(7.9842, 1e-5)-differential privacy for one record",
        "<dd>Whatever anybody learns",
        "<dt>Sampler</dt>\n<dd>Poisson; each of 21373 records",
        "<dt>Computed from private records WITHOUT noise, outside the guarantee</dt>\n\
         <dd>- loss: on &lt;held-out&gt; records</dd>",
        "<dt>A patient with 16 records has a weaker guarantee</dt>\n<dd>epsilon 31.4000",
        "ChaCha20 under a fresh key",
        "1.3 times as long",
        "462,592",
        "700 MiB",
        "310 ms",
    ] {
        assert!(page.contains(text), "{text}");
    }
}

/// What a model generates is shown, never run.
#[test]
fn text_is_escaped() {
    let mut report = sample();
    report.private.canaries[0].completion = "</td><script>alert('\"&\u{1b}')</script>".into();
    report.statement[0] = "<i>a</i>: <i>b</i>".into();
    report.private.settings[0].value = "<i>tiny</i>".into();
    let page = report.html().unwrap();
    assert!(page.contains("&lt;script&gt;alert(&#39;&quot;&amp;\u{fffd}&#39;)&lt;/script&gt;"));
    assert!(!page.contains("<script") && !page.contains("<i>") && !page.contains('\u{1b}'));
}

/// Drawn from the values: another value gives another drawing, and none gives a sentence.
#[test]
fn plots_show_the_values() {
    let report = sample();
    let page = report.html().unwrap();
    let drawing = |page: &str, index: usize| {
        let drawn = page.split("<svg").nth(index).unwrap();
        drawn.split("</svg>").next().unwrap().to_owned()
    };
    let mut other = report.clone();
    other.private.canaries[1].exposure = 3.9;
    let changed = other.html().unwrap();
    assert_eq!(drawing(&page, 1), drawing(&changed, 1));
    assert_ne!(drawing(&page, 2), drawing(&changed, 2));
    other.non_private.canaries[0].exposure = 3.9;
    assert_ne!(drawing(&changed, 2), drawing(&other.html().unwrap(), 2));
    other.private.held_out_curve.clear();
    other.non_private.held_out_curve.clear();
    other.privacy.epsilon_curve.clear();
    let bare = other.html().unwrap();
    assert_eq!(bare.matches("There are no values to draw").count(), 2);
    assert_eq!(page.matches("There are no values to draw").count(), 0);
    // One point, and equal points, still have an axis.
    other
        .private
        .held_out_curve
        .push(LossPoint { step: 0, loss: 0.0 });
    other.privacy.epsilon_curve.push(EpsilonPoint {
        step: 0,
        epsilon: f64::INFINITY,
    });
    assert_eq!(
        other
            .html()
            .unwrap()
            .matches("There are no values to draw")
            .count(),
        1
    );
}

#[test]
fn a_run_without_canaries_says_so() {
    let mut report = sample();
    report.private.canaries.clear();
    report.non_private.canaries.clear();
    assert!(report.html().unwrap().contains("No canaries were planted"));
    assert!(report.text().contains("No canaries were planted"));
}

#[test]
fn the_terminal_gets_columns() {
    let text = sample().text();
    assert!(
        text.contains("codes recited                  3 of 4               0 of 4\n"),
        "{text}"
    );
    assert!(
        text.contains("exposure of canary 2           11.00 bits, recited  2.90 bits\n"),
        "{text}"
    );
    assert!(
        text.contains("\nGuarantee: (7.9842, 1e-5)-differential privacy"),
        "{text}"
    );
    assert!(
        text.contains("\n  - loss: on <held-out> records\n"),
        "{text}"
    );
}

#[test]
fn files_are_written_whole() {
    let folder = tempfile::tempdir().unwrap();
    let report = sample();
    let page = report.write(folder.path()).unwrap();
    assert_eq!(
        std::fs::read_to_string(&page).unwrap(),
        report.html().unwrap()
    );
    let json = std::fs::read_to_string(folder.path().join("report.json")).unwrap();
    assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    let nowhere = report.write(&folder.path().join("nowhere")).unwrap_err();
    assert!(
        matches!(&nowhere, ReportError::Write { .. }) && nowhere.to_string().contains("nowhere")
    );
}

/// A bound may be shown wider than it is, never tighter.
#[test]
fn bounds_round_outward() {
    for value in [
        7.981,
        7.98,
        8.0,
        1.1,
        0.29,
        1e-5,
        1.000_01e-5,
        0.099_99,
        127.2,
        999_999.5,
        3e7,
    ] {
        let shown: f64 = number::upper(value).replace(',', "").parse().unwrap();
        assert!(
            shown >= value && shown <= value * 1.011,
            "{value} as {shown}"
        );
    }
    assert_eq!(number::upper(7.981), "7.99");
    assert_eq!(number::upper(1.1), "1.10");
    assert_eq!(number::upper(1234.1), "1,235");
    assert_eq!(number::upper(1e-5), "1.00e-5");
    assert_eq!(number::upper(f64::INFINITY), "infinite");
}

#[test]
fn numbers_read_well() {
    let shown = [0.0, 1.3, 0.25, 123.45, 12_345.6, 1e9, 0.000_12, -4321.0].map(number::plain);
    assert_eq!(
        shown,
        [
            "0", "1.3", "0.25", "123.5", "12,346", "1.00e9", "1.20e-4", "-4,321"
        ]
    );
    assert_eq!(
        [0, 999, 1000, 1_234_567].map(number::count),
        ["0", "999", "1,000", "1,234,567"]
    );
    assert_eq!(number::bytes(Some(3 << 30)), "3.00 GiB");
    assert_eq!(number::bytes(None), "not known");
    assert_eq!([0.0123, 2.5].map(number::seconds), ["12.3 ms", "2.5 s"]);
}
