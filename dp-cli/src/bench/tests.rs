//! Groups with planted faults, and runs that end early.

use std::cell::Cell;

use super::*;
use dp_bench::{BenchError, Buffer, Built, Check, Op, Pair, Place, read};

/// A group whose launches do their work twice before they are compared: sums and norms come out double.
struct Twice(Box<dyn Group>);

struct BuiltTwice(Box<dyn Built>);

impl Group for Twice {
    fn place(&self) -> &Place {
        self.0.place()
    }
    fn ops(&self) -> Vec<Op> {
        self.0.ops()
    }
    fn pairs(&self) -> Vec<Pair> {
        self.0.pairs()
    }
    fn buffers(&self) -> Vec<Buffer> {
        self.0.buffers()
    }
    fn build(&self, bench: &Bench, sets: usize) -> Result<Box<dyn Built>, BenchError> {
        Ok(Box::new(BuiltTwice(self.0.build(bench, sets)?)))
    }
}

impl Built for BuiltTwice {
    fn check(&self, bench: &Bench, op: usize) -> Result<Check, BenchError> {
        self.0.launch(bench, op, 0)?;
        self.0.check(bench, op)
    }
    fn launch(&self, bench: &Bench, op: usize, set: usize) -> Result<(), BenchError> {
        self.0.launch(bench, op, set)
    }
}

/// The group of the quick plan that has `words`.
fn group(words: &str) -> Box<dyn Group> {
    let groups = plan(Extent::Quick, &[FloatKind::F32], false).unwrap();
    let name = |group: &dyn Group| group.place().words(&group.ops()[0].name);
    groups
        .into_iter()
        .find(|group| name(&**group).contains(words))
        .unwrap()
}

/// Runs `groups` with a millisecond a row into a folder of its own.
fn run_groups(
    groups: &[Box<dyn Group>],
    filter: &str,
    stop: &dyn Fn() -> bool,
) -> (Outcome, Vec<Line>, Result<(), Failure>, String) {
    let bench = Bench::new(dp_backend_cpu::open().unwrap(), 1 << 30);
    let description = bench.backend.describe().clone();
    let header = Header {
        backend: description.backend.into(),
        device: description.device,
        driver: description.driver,
        version: VERSION.into(),
        commit: None,
        date: today(),
        note: Some("a <test>".into()),
        extent: "quick".into(),
        seconds_per_row: 1e-3,
        cache_bytes: 1 << 20,
        cache_told: false,
        memory_bytes: bench.memory,
        load_before: None,
        ceilings: DeviceCeilings {
            copy_bytes_per_s: 20e9,
            read_bytes_per_s: 20e9,
            gemm_flop_per_s: 1e12,
            gemm_half_flop_per_s: None,
        },
    };
    let settings = Settings {
        filter: Filter::new(filter),
        // Long enough that no launch of these groups is left out on a loaded machine.
        per_row: Duration::from_secs(600),
        samples: 3,
        deadline: None,
        command: "dpcube bench --device cpu".into(),
    };
    let folder = tempfile::tempdir().unwrap();
    let mut sink = Sink {
        json: folder.path().join("bench.jsonl"),
        page: folder.path().join("report.html"),
    };
    let outcome = measure(&bench, &header, groups, &settings, &mut sink, stop).unwrap();
    let page = fs::read_to_string(&sink.page).unwrap();
    let lines = read(&sink.json).unwrap();
    let verdict = verdict(&outcome, &sink.json);
    (outcome, lines, verdict, page)
}

/// Stops at the call after `calls`.
fn after(calls: usize) -> impl Fn() -> bool {
    let left = Cell::new(calls);
    move || match left.get() {
        0 => true,
        n => {
            left.set(n - 1);
            false
        }
    }
}

/// A step in f32 and one in bf16 are two figures, not one of both.
#[test]
fn element_types_are_not_mixed() {
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../benches/results/2026-11-27-h200-quick.jsonl"
    );
    let page = report::page(&read(Path::new(file)).unwrap()).unwrap();
    for name in [
        "gpt2-small f32 B 2 T 256",
        "gpt2-small bf16 B 2 T 256",
        "vit-b16 f32 B 2 T 197",
        "mlp-up in bf16, B 2",
    ] {
        assert!(page.contains(name), "{name}");
    }
    assert!(!page.contains("gpt2-small B 2 T 256"));
}

#[test]
fn a_wrong_result_is_a_row_without_time_and_exit_code_1() {
    let groups: Vec<Box<dyn Group>> = vec![Box::new(Twice(group("bias_norm_sq")))];
    let (outcome, lines, verdict, page) = run_groups(&groups, "bias_norm_sq", &|| false);
    assert_eq!(
        (outcome.rows, outcome.unverified, outcome.left_out),
        (1, 1, 0)
    );
    let Line::Row(row) = &lines[1] else {
        panic!("{lines:?}");
    };
    assert!(!row.verified.ok && row.time.is_none(), "{row:?}");
    // The norm of a doubled gradient would be four times as large; of a norm added twice it is double.
    assert!((row.verified.error.unwrap() - 1.0).abs() < 1e-3, "{row:?}");
    let failure = format!("{:?}", verdict.unwrap_err());
    assert!(
        failure.contains("code: 1") && failure.contains("1 of 1"),
        "{failure}"
    );
    let text = table::text(&lines);
    assert!(
        text.contains("NOT VERIFIED bias_norm_sq gpt2-small"),
        "{text}"
    );
    assert!(
        text.contains(&row.repeat) && !text.contains(" ms"),
        "{text}"
    );
    assert!(page.contains("Not verified: bias_norm_sq"), "{page}");
    assert!(page.contains("a &lt;test&gt;"), "the note is text: {page}");
}

/// The row of a whole layer stands on its parts: one that is wrong makes it wrong, and names it.
#[test]
fn a_layer_with_a_wrong_part_has_no_time() {
    let groups: Vec<Box<dyn Group>> = vec![Box::new(Twice(group("B 256 T 1 [1024, 1024]")))];
    let (outcome, lines, verdict, _) = run_groups(&groups, "linear_layer", &|| false);
    assert_eq!((outcome.rows, outcome.unverified), (1, 1));
    let Line::Row(row) = &lines[1] else {
        panic!("{lines:?}");
    };
    assert!(row.time.is_none(), "{row:?}");
    let what = &row.verified.what;
    assert!(
        what.contains("weighted_sum_linear") && what.contains("one token"),
        "{what}"
    );
    assert!(
        !what.contains("forward"),
        "products overwrite, and are right: {what}"
    );
    verdict.unwrap_err();
}

/// A run that is stopped keeps what it measured, says what it did not, and its file is a result.
#[test]
fn a_stopped_run_keeps_its_rows() {
    let groups = vec![group("clip_factors"), group("bias_norm_sq")];
    // The first group asks six times, with its three rounds; the stop comes while the second is verified.
    let (outcome, lines, verdict, _) = run_groups(&groups, "", &after(8));
    assert!(outcome.stopped);
    let rows = lines.iter().filter(|line| matches!(line, Line::Row(_)));
    let timed = |line: &&Line| matches!(line, Line::Row(row) if row.time.is_some());
    assert_eq!(rows.clone().count(), 2, "{lines:?}");
    assert_eq!(rows.filter(timed).count(), 2);
    let left_out = lines.iter().filter(|line| matches!(line, Line::LeftOut(_)));
    assert_eq!(
        left_out.count(),
        6,
        "every row of the second group is named"
    );
    let failure = format!("{:?}", verdict.unwrap_err());
    assert!(
        failure.contains("code: 130") && failure.contains("2 rows"),
        "{failure}"
    );
}

#[test]
fn nothing_measured_is_exit_code_2() {
    let groups = vec![group("clip_factors")];
    let (outcome, lines, verdict, _) = run_groups(&groups, "no such row", &|| false);
    assert_eq!((outcome.rows, lines.len()), (0, 1));
    let failure = format!("{:?}", verdict.unwrap_err());
    assert!(
        failure.contains("code: 2") && failure.contains("nothing was measured"),
        "{failure}"
    );
}
