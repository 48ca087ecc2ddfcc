//! A small run to look into, and what is fixed before its first step: the rounding's share, the generator, what the statement lists, and
//! which records the held-out loss is of.

use std::ffi::OsString;
use std::fs;

use burn::tensor::Device;
use clap::Parser;
use dp_burn::{ModelConfig, Transformer};
use dp_core::noise::Generator;
use dp_engine::ledger::PriorSpend;
use dp_engine::plan::Plan;
use dp_kernels::Backend;
use dp_text::records::{HeldOut, Records, Split};
use dp_text::tokenizer::Tokenizer;
use serde_json::Value;
use tempfile::TempDir;

use super::data::Data;
use super::norms::Norms;
use super::private::{self, Guarantee};
use super::run::Run;
use super::{measure, settings};
use crate::args::{self, Cli, Command, TrainArgs};
use crate::device;
use crate::model::{self, Reader};

/// Records in a folder of their own, a command line, and a model of one small block for them.
pub(super) struct Small {
    _folder: TempDir,
    pub(super) args: TrainArgs,
    pub(super) data: Data,
    pub(super) sizes: ModelConfig,
    tokenizer: Tokenizer,
    device: Device,
    backend: Backend,
}

impl Small {
    /// So many records of plain text; `line` is what `dpcube train` is told beside data, --out and --norms.
    pub(super) fn new(records: usize, line: &str) -> Self {
        Self::of("notes.txt", &plain(records), line)
    }

    /// So many users of two records each.
    pub(super) fn of_users(users: usize, line: &str) -> Self {
        let record = |i: usize| {
            let user = i % users;
            format!("{{\"text\": \"note {i} of a day\", \"patient\": \"p{user}\"}}\n")
        };
        let text: String = (0..2 * users).map(record).collect();
        Self::of(
            "notes.jsonl",
            &text,
            &format!("--user-field patient {line}"),
        )
    }

    fn of(file: &str, text: &str, line: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (data, out) = (folder.path().join(file), folder.path().join("out"));
        fs::write(&data, text).unwrap();
        // By the rule nothing is measured first.
        let head = ["dpcube", "train", "--norms", "rule"].map(OsString::from);
        let files: [OsString; 4] = ["--data".into(), data.into(), "--out".into(), out.into()];
        let line = line.split_whitespace().map(OsString::from);
        let words: Vec<OsString> = head.into_iter().chain(files).chain(line).collect();
        let Command::Train(args) = Cli::try_parse_from(words).unwrap().command else {
            panic!("a line of dpcube train")
        };
        let tokenizer = Tokenizer::Bytes;
        let sizes = ModelConfig {
            vocabulary: 320,
            context: 24,
            layers: 1,
            width: 16,
            heads: 2,
            hidden: 32,
        };
        let data = Data::prepare(&args, &tokenizer, sizes.context).unwrap();
        let (device, backend) = device::open(args::Device::Cpu).unwrap();
        Self {
            _folder: folder,
            args,
            data,
            sizes,
            tokenizer,
            device,
            backend,
        }
    }

    /// The plan of the run, for a model of these sizes.
    fn plan(&self, sizes: &ModelConfig) -> Plan {
        let (prior, tuning) = (PriorSpend::default(), &self.backend.tuning);
        let plan = private::plan(&self.args, &self.data, prior, sizes, tuning).unwrap();
        plan.expect("a private run")
    }

    /// The guarantee of the run at its start, and the run's configuration. Its folder holds one.
    fn guarantee(&self) -> (Guarantee, Value) {
        let plan = self.plan(&self.sizes);
        let unit = self.data.unit();
        let config = settings::config(&self.args, unit, &self.sizes, &self.tokenizer, Some(&plan));
        fs::create_dir(&self.args.out).unwrap();
        let guarantee = Guarantee::open(plan, &self.args, &config, &self.data, None).unwrap();
        (guarantee, config)
    }

    /// The run at its start, as `dpcube train` makes it.
    pub(super) fn run(&self) -> Run<'_> {
        let (guarantee, config) = self.guarantee();
        let norms = Norms::new(self.args.settings.norms, 0, true, &self.backend).unwrap();
        let graph = self.device.clone().autodiff();
        let model = Transformer::new(&self.sizes, self.args.settings.seed, &graph);
        Run::new(
            &self.args,
            config,
            &self.data,
            &self.tokenizer,
            self.sizes.clone(),
            model,
            graph,
            Some(guarantee),
            norms,
        )
        .unwrap()
    }

    /// The loss of the untrained model on all held-out records.
    fn held_out_loss(&self) -> f64 {
        let reader = Reader {
            model: Transformer::new(&self.sizes, self.args.settings.seed, &self.device),
            config: self.sizes.clone(),
            tokenizer: &self.tokenizer,
            device: self.device.clone(),
        };
        measure::held_out_loss(&reader, &self.data, usize::MAX).unwrap()
    }
}

/// A record a line; they differ before they are cut to the context.
fn plain(records: usize) -> String {
    let record = |i: usize| format!("record {i}: the note of a day in month {}\n", i % 12);
    (0..records).map(record).collect()
}

/// `eta` of docs/proofs/sensitivity.md, in its symbols.
fn eta(n: u64, sum_depth: u64, norm_depth: u64, k: f64) -> f64 {
    let u = 2f64.powi(-24);
    let gamma = |depth: u64| depth as f64 * u / (1.0 - depth as f64 * u);
    let s = 2f64.powi(-20);
    let e = gamma(norm_depth);
    let by_elements = (1.0 + s) / (1.0 - e).sqrt() + e * k;
    let by_gram = (((1.0 + s).powi(2) + e * k * k) / (1.0 - e)).sqrt();
    let sum = (2.0 * n as f64 - 1.0) * gamma(sum_depth) * k;
    by_elements.max(by_gram) * (1.0 + sum) - 1.0
}

/// What the noise of a run allows for rounding: the proof's formula, with numbers that were worked out by hand from the sizes.
///
/// Of a batch b at most n = b + ceil(8 sqrt(b)) + 16 are in a sum, in m microbatches of B. K is the root of an example's T tokens. On a
/// processor a term goes through T + B m + m + 1 roundings of a sum. The longest way into a norm is that of the positions' squares: context
/// times width, the widest part of the model, and 16 for each block and for the two ends.
#[test]
fn the_share_for_rounding_is_that_of_the_proof() {
    struct Case {
        small: Small,
        n: u64,
        sum_depth: u64,
        norm_depth: u64,
        tokens: f64,
    }
    let every_record = Small::new(300, "--steps 3 --delta 1e-9 --batch 8 --microbatch 8");
    let all = every_record.data.units();
    let cases = [
        // tiny: n = 8 + 23 + 16, m = 6; a norm 64 * 128 + 512 + 16 * 4.
        Case {
            small: Small::new(300, "--steps 3 --delta 1e-3 --batch 8 --microbatch 8"),
            n: 47,
            sum_depth: 64 + 48 + 6 + 1,
            norm_depth: 8768,
            tokens: 64.0,
        },
        // small: n = 100 + 80 + 16, m = 7; a norm 128 * 256 + 1024 + 16 * 6.
        Case {
            small: Small::new(
                300,
                "--model small --steps 100 --delta 1e-3 --batch 100 --microbatch 32",
            ),
            n: 196,
            sum_depth: 128 + 224 + 7 + 1,
            norm_depth: 33_888,
            tokens: 128.0,
        },
        // Three rows of a user are one example of 192 tokens, two users a microbatch: n = 6 + 20 + 16, m = 21. Before all else two additions over the rows.
        Case {
            small: Small::of_users(
                100,
                "--records-per-user 3 --steps 3 --delta 1e-3 --batch 6 --microbatch 8",
            ),
            n: 42,
            sum_depth: 192 + 42 + 21 + 1 + 2,
            norm_depth: 8768 + 2,
            tokens: 192.0,
        },
        // 1e-14 a step, the chance of a larger batch than n, is not small beside this delta: n is all records.
        Case {
            small: every_record,
            n: all,
            sum_depth: 64 + 9 * all.div_ceil(8) + 1,
            norm_depth: 8768,
            tokens: 64.0,
        },
    ];
    for case in cases {
        let Case {
            small,
            n,
            sum_depth,
            norm_depth,
            tokens,
        } = case;
        let k = tokens.sqrt();
        let sizes = model::config(small.args.settings.model, &small.tokenizer);
        let actual = small.plan(&sizes).request().eta;
        let expected = eta(n, sum_depth, norm_depth, k);
        assert!(
            (actual / expected - 1.0).abs() < 1e-9,
            "{actual} for {expected}, {:?}",
            small.args.settings
        );
        // It has to matter: a tenth less of any number shows.
        let less = [
            eta(n * 9 / 10, sum_depth, norm_depth, k),
            eta(n, sum_depth * 9 / 10, norm_depth, k),
            eta(n, sum_depth, norm_depth * 9 / 10, k),
            eta(n, sum_depth, norm_depth, 0.9 * k),
        ];
        assert!(less.iter().all(|less| *less < 0.995 * actual), "{less:?}");
    }
}

/// Noise of a generator that can be predicted protects nobody, and a statement must not call it another.
#[test]
fn the_statement_names_the_generator() {
    let small = Small::new(60, "--batch 6 --steps 3 --delta 1e-3");
    let rng = small.guarantee().0.statement().unwrap().rng;
    assert!(rng.contains("ChaCha20"), "{rng}");
    assert!(!rng.to_lowercase().contains("not secure"), "{rng}");
    let other = private::in_words(Generator::Philox4x32x10NotSecure);
    assert!(
        other.contains("Philox") && other.contains("NOT SECURE") && !other.contains("ChaCha20"),
        "{other}"
    );
}

#[test]
fn the_statement_lists_what_leaves_without_noise() {
    let line = "--batch 6 --steps 3 --delta 1e-3";
    for (small, whose) in [
        (Small::new(60, line), "test guesses of that one"),
        (Small::of_users(60, line), "and of whose each is"),
    ] {
        let listed = small.guarantee().0.statement().unwrap().without_noise;
        assert!(listed[0].contains("SHA-256 of all training records"));
        assert!(listed[0].contains(whose), "{listed:?}");
        for words in [
            "longer than the context",
            "held-out loss",
            "canaries",
            "the time of each step",
            "the peak memory",
        ] {
            let naming = listed.iter().filter(|item| item.contains(words));
            assert_eq!(naming.count(), 1, "{words:?} in {listed:?}");
        }
    }
}

/// A loss on records that were trained on would leave without noise, outside of everything that is promised.
#[test]
fn the_held_out_loss_is_of_held_out_records() {
    let texts: Vec<String> = plain(60).lines().map(str::to_owned).collect();
    let sides = split(&texts);
    // The first of either side: whatever is measured begins with it.
    let trained = replaced(&texts, &sides.train.texts()[0], |other| {
        other.held_out == sides.held_out
    });
    let held_out = replaced(&texts, &sides.held_out.texts()[0], |other| {
        other.train == sides.train
    });
    let [base, trained, held_out] = [texts, trained, held_out]
        .map(|texts| Small::of("notes.txt", &(texts.join("\n") + "\n"), "--batch 6"));
    assert!(base.data.train != trained.data.train);
    assert!(base.data.train == held_out.data.train);
    let loss = base.held_out_loss();
    assert!(loss.is_finite());
    assert_eq!(trained.held_out_loss().to_bits(), loss.to_bits());
    assert_ne!(held_out.held_out_loss().to_bits(), loss.to_bits());
}

/// The sides of records, as a run with the default seed splits them.
fn split(texts: &[String]) -> Split {
    let records = Records::from_texts(texts.to_vec());
    HeldOut::new(0).split(records).unwrap()
}

/// The texts with another one in the place of `text`, of which the sides are such.
fn replaced(texts: &[String], text: &str, are_such: impl Fn(&Split) -> bool) -> Vec<String> {
    let at = texts.iter().position(|other| other == text).unwrap();
    let mut candidates = (0..1000).map(|i| {
        let mut other = texts.to_vec();
        other[at] = format!("{i}, another one");
        other
    });
    let found = candidates.find(|other| are_such(&split(other)));
    found.expect("one in twenty is held out")
}
