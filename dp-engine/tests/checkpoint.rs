//! Checkpoints: whole or not at all, damage found and named, a changed run refused.

mod common;

use std::borrow::Cow;
use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use dp_core::ledger::Head;
use dp_engine::checkpoint::{
    Checkpoint, CheckpointError, CheckpointMeta, ConfigChange, Dataset, Dtype, Part, Tensor,
    exists, save,
};
use serde_json::{Value, json};
use tempfile::TempDir;

const DATASET: Dataset = Dataset {
    fingerprint: [0xD5; 32],
    records: 1000,
};

fn meta(step: u64) -> CheckpointMeta {
    CheckpointMeta {
        step,
        config: json!({"model": {"layers": 2, "width": 128}, "clip": 1.0, "seed": 7}),
        dataset: DATASET,
        ledger: Some(Head {
            records: 3 * step,
            digest: [step as u8; 32],
        }),
        extra: json!({"losses": [2.5, 0.1, -0.0, 1e-300], "seconds": 12.75}),
    }
}

fn model(step: u64) -> Vec<Tensor<'static>> {
    let values = [
        f32::MIN_POSITIVE / 2.0,
        -0.0,
        3.5,
        f32::MAX,
        step as f32,
        1e-20,
    ];
    vec![
        Tensor::from_f32("block.0.weight", vec![2, 3], &values),
        Tensor::from_f32("bias", vec![], &[0.25]),
        Tensor::from_f32("nothing", vec![0, 4], &[]),
        Tensor {
            name: "half".into(),
            dtype: Dtype::BF16,
            shape: vec![2],
            bytes: Cow::Borrowed(&[1, 2, 3, 4]),
        },
    ]
}

fn optimizer(step: u64) -> Vec<Tensor<'static>> {
    vec![Tensor::from_f32(
        "moment",
        vec![3],
        &[step as f32, 1.0, 2.0],
    )]
}

fn save_step(directory: &Path, step: u64) -> Result<(), CheckpointError> {
    let (model, optimizer) = (model(step), optimizer(step));
    let parts = [
        Part {
            name: "model",
            tensors: &model,
        },
        Part {
            name: "optimizer",
            tensors: &optimizer,
        },
    ];
    save(directory, &meta(step), &parts)
}

fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("checkpoint");
    (directory, path)
}

fn sorted(mut tensors: Vec<Tensor<'static>>) -> Vec<Tensor<'static>> {
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    tensors
}

/// Loads all of a checkpoint and checks that it is the whole of one step.
fn load_step(directory: &Path) -> u64 {
    let checkpoint = Checkpoint::load(directory).unwrap();
    let step = checkpoint.manifest().step;
    assert_eq!(checkpoint.tensors("model").unwrap(), sorted(model(step)));
    assert_eq!(checkpoint.tensors("optimizer").unwrap(), optimizer(step));
    assert_eq!(checkpoint.manifest().ledger_head(), meta(step).ledger);
    assert_eq!(checkpoint.manifest().extra, meta(step).extra);
    checkpoint
        .manifest()
        .check_same_run(&meta(step).config, &DATASET)
        .unwrap();
    step
}

fn message(error: &CheckpointError, words: &[&str]) {
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "{text:?} does not say {word:?}");
    }
    assert!(!text.contains('\n'));
}

#[test]
fn what_is_saved_is_loaded() {
    let (directory, path) = place();
    assert!(!exists(&path));
    for step in [0, 1, 77] {
        save_step(&path, step).unwrap();
        assert!(exists(&path));
        assert_eq!(load_step(&path), step);
    }
    // Nothing is left beside it.
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    let tensors = Checkpoint::load(&path).unwrap().tensors("model").unwrap();
    let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect::<Vec<_>>();
    let weight = tensors
        .iter()
        .find(|tensor| tensor.name == "block.0.weight")
        .unwrap();
    let expected = [f32::MIN_POSITIVE / 2.0, -0.0, 3.5, f32::MAX, 77.0, 1e-20];
    assert_eq!(bits(weight.to_f32().unwrap()), bits(expected.to_vec()));
    assert_eq!(
        tensors
            .iter()
            .find(|tensor| tensor.name == "half")
            .unwrap()
            .to_f32(),
        None
    );
}

#[test]
fn a_run_without_privacy_has_no_ledger() {
    let (_directory, path) = place();
    save(
        &path,
        &CheckpointMeta {
            ledger: None,
            ..meta(1)
        },
        &[],
    )
    .unwrap();
    assert_eq!(
        Checkpoint::load(&path).unwrap().manifest().ledger_head(),
        None
    );
}

#[test]
fn what_is_missing_is_named() {
    let (_directory, path) = place();
    let error = Checkpoint::load(&path).unwrap_err();
    assert!(matches!(error, CheckpointError::Missing { .. }));
    message(&error, &["checkpoint", "no checkpoint there"]);
    save_step(&path, 1).unwrap();
    let error = Checkpoint::load(&path)
        .unwrap()
        .tensors("tokenizer")
        .unwrap_err();
    message(&error, &["checkpoint", "\"tokenizer\""]);
    fs::remove_file(path.join("model.safetensors")).unwrap();
    let checkpoint = Checkpoint::load(&path).unwrap();
    message(
        &checkpoint.tensors("model").unwrap_err(),
        &["model.safetensors", "read the tensors"],
    );
    checkpoint.tensors("optimizer").unwrap();
}

/// Every bit of every file: the damage is found, or it changed nothing (white space of the manifest).
#[test]
fn every_flipped_bit_is_found_or_harmless() {
    let (_directory, path) = place();
    save_step(&path, 5).unwrap();
    let good = Checkpoint::load(&path).unwrap().manifest().clone();
    for file in [
        "manifest.json",
        "model.safetensors",
        "optimizer.safetensors",
    ] {
        let bytes = fs::read(path.join(file)).unwrap();
        let mut harmless = 0;
        for bit in 0..bytes.len() * 8 {
            put_byte(&path.join(file), bit / 8, bytes[bit / 8] ^ (1 << (bit % 8)));
            let loaded = Checkpoint::load(&path).and_then(|checkpoint| {
                checkpoint.tensors("model")?;
                checkpoint.tensors("optimizer")?;
                Ok(checkpoint)
            });
            match loaded {
                Err(error) => message(&error, &[file]),
                Ok(checkpoint) => {
                    assert_eq!(*checkpoint.manifest(), good, "{file}, bit {bit}");
                    harmless += 1;
                }
            }
            put_byte(&path.join(file), bit / 8, bytes[bit / 8]);
        }
        assert_eq!(fs::read(path.join(file)).unwrap(), bytes);
        assert!(
            harmless == 0 || file == "manifest.json",
            "{harmless} in {file}"
        );
    }
    assert_eq!(load_step(&path), 5);
}

/// Writes one byte of a file in place.
fn put_byte(path: &Path, at: usize, value: u8) {
    let mut file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(at as u64)).unwrap();
    file.write_all(&[value]).unwrap();
}

#[test]
fn every_truncation_is_found() {
    let (_directory, path) = place();
    save_step(&path, 5).unwrap();
    for file in ["manifest.json", "model.safetensors"] {
        let bytes = fs::read(path.join(file)).unwrap();
        // The manifest's last byte is a line end, which is no loss.
        for length in (0..bytes.len() - 1).rev() {
            let shortened = fs::OpenOptions::new()
                .write(true)
                .open(path.join(file))
                .unwrap();
            shortened.set_len(length as u64).unwrap();
            let error = Checkpoint::load(&path)
                .and_then(|c| c.tensors("model"))
                .unwrap_err();
            message(&error, &[file]);
        }
        fs::write(path.join(file), &bytes).unwrap();
    }
}

#[test]
fn a_manifest_of_another_version_or_from_elsewhere_is_refused() {
    let (_directory, path) = place();
    save_step(&path, 5).unwrap();
    let manifest = path.join("manifest.json");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replace("\"version\": 1", "\"version\": 2")).unwrap();
    let error = Checkpoint::load(&path).unwrap_err();
    assert!(matches!(error, CheckpointError::Version { found: 2, .. }));
    message(&error, &["manifest.json", "version 2"]);
    fs::write(
        &manifest,
        text.replace("\"model.safetensors\"", "\"../model.safetensors\""),
    )
    .unwrap();
    message(&Checkpoint::load(&path).unwrap_err(), &["manifest.json"]);
}

#[test]
fn tensors_that_cannot_be_written_are_refused_and_the_former_stays() {
    let (directory, path) = place();
    save_step(&path, 1).unwrap();
    let one = |name: &str, shape: Vec<usize>| Tensor::from_f32(name, shape, &[1.0, 2.0]);
    let refused = |name: &str, tensors: &[Tensor<'_>], words: &[&str]| {
        let error = save(&path, &meta(2), &[Part { name, tensors }]).unwrap_err();
        assert!(matches!(error, CheckpointError::Tensor { .. }));
        message(&error, words);
    };
    refused("model", &[one("a", vec![3])], &["\"a\"", "8 bytes", "[3]"]);
    refused(
        "model",
        &[one("a", vec![usize::MAX, usize::MAX])],
        &["\"a\""],
    );
    refused(
        "model",
        &[one("a", vec![2]), one("a", vec![2])],
        &["\"a\"", "two tensors"],
    );
    refused("model", &[one("__metadata__", vec![2])], &["__metadata__"]);
    for name in ["", "../model", "Model", "a/b", "a.b"] {
        refused(name, &[], &["part's name"]);
    }
    let tensors = [one("a", vec![2])];
    let part = Part {
        name: "model",
        tensors: &tensors,
    };
    message(
        &save(&path, &meta(2), &[part, part]).unwrap_err(),
        &["two parts"],
    );
    assert_eq!(load_step(&path), 1);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

/// A checkpoint replaces its directory, so it must never be aimed at one that holds anything else.
#[test]
fn what_is_no_checkpoint_is_never_deleted() {
    let (directory, path) = place();
    let refused = |at: &Path, stranger: &Path| {
        let error = save_step(at, 2).unwrap_err();
        assert!(matches!(error, CheckpointError::Stranger { .. }));
        message(
            &error,
            &[stranger.to_str().unwrap(), "choose another place"],
        );
        assert!(stranger.exists());
    };
    for name in ["ledger.bin", "notes.txt", "manifest.json.bak"] {
        save_step(&path, 1).unwrap();
        fs::write(path.join(name), "x").unwrap();
        refused(&path, &path.join(name));
        fs::remove_file(path.join(name)).unwrap();
    }
    fs::create_dir(path.join("model.safetensors.safetensors")).unwrap();
    refused(&path, &path.join("model.safetensors.safetensors"));
    fs::remove_dir(path.join("model.safetensors.safetensors")).unwrap();
    for suffix in [".new", ".former"] {
        let beside = path.with_file_name(format!("checkpoint{suffix}"));
        fs::create_dir(&beside).unwrap();
        fs::write(beside.join("thesis.tex"), "x").unwrap();
        refused(&path, &beside.join("thesis.tex"));
        fs::remove_dir_all(&beside).unwrap();
    }
    let file = directory.path().join("file");
    fs::write(&file, "x").unwrap();
    refused(&file, &file);
    assert_eq!(load_step(&path), 1);
}

/// The places that a crash can leave: a half-written new one; the former one set aside and the new not yet in
/// its place; the new in its place and the former not yet gone.
#[test]
fn every_crash_between_renames_is_recovered() {
    let beside = |path: &Path, suffix: &str| path.with_file_name(format!("checkpoint{suffix}"));
    let (directory, path) = place();
    let only_one = || fs::read_dir(directory.path()).unwrap().count() == 1;

    save_step(&path, 1).unwrap();
    fs::create_dir(beside(&path, ".new")).unwrap();
    fs::write(beside(&path, ".new").join("manifest.json"), "{").unwrap();
    assert_eq!(load_step(&path), 1);
    save_step(&path, 2).unwrap();
    assert!(load_step(&path) == 2 && only_one());

    fs::rename(&path, beside(&path, ".former")).unwrap();
    assert!(exists(&path));
    assert_eq!(load_step(&path), 2);
    save_step(&path, 3).unwrap();
    assert!(load_step(&path) == 3 && only_one());

    fs::rename(&path, beside(&path, ".former")).unwrap();
    save_step(&beside(&path, ".new"), 4).unwrap();
    assert_eq!(load_step(&path), 3);
    save_step(&path, 5).unwrap();
    assert!(load_step(&path) == 5 && only_one());

    save_step(&beside(&path, ".former"), 4).unwrap();
    assert_eq!(load_step(&path), 5);
    save_step(&path, 6).unwrap();
    assert!(load_step(&path) == 6 && only_one());
}

/// Saves until it is killed; tells the step of each save that returned.
#[test]
fn child_saves_until_killed() {
    let Ok(path) = std::env::var("DPCUBE_TEST_KILLED_CHECKPOINT") else {
        return;
    };
    let path = Path::new(&path);
    let first = if exists(path) { load_step(path) + 1 } else { 0 };
    for step in first.. {
        save_step(path, step).unwrap();
        fs::write(path.with_file_name("done"), step.to_string()).unwrap();
    }
}

#[cfg(unix)]
#[test]
fn killed_at_any_point_a_whole_checkpoint_is_left() {
    let (_directory, path) = place();
    let done = path.with_file_name("done");
    let last = || {
        fs::read_to_string(&done)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    for i in 0..50u64 {
        let before = last();
        let variables = [("DPCUBE_TEST_KILLED_CHECKPOINT", path.to_str().unwrap())];
        let mut running = common::child("child_saves_until_killed", &variables)
            .spawn()
            .unwrap();
        while last().is_none() || last() == before {
            assert!(running.try_wait().unwrap().is_none(), "the child gave up");
            std::thread::sleep(std::time::Duration::from_micros(100));
        }
        let delay = i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 49;
        std::thread::sleep(std::time::Duration::from_micros(delay));
        running.kill().unwrap();
        running.wait().unwrap();
        let step = load_step(&path);
        // The child may have been killed while it told its last step.
        assert!(
            last().is_none_or(|told| step == told || step == told + 1),
            "{step} {:?}",
            last()
        );
        if last().is_none() {
            fs::write(&done, step.to_string()).unwrap();
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_leaves_the_former_checkpoint() {
    let (directory, path) = place();
    if let Ok(path) = std::env::var("DPCUBE_TEST_LIMITED_CHECKPOINT") {
        let path = Path::new(&path);
        let large = [Tensor::from_f32("large", vec![4096], &[0.5; 4096])];
        let parts = [Part {
            name: "model",
            tensors: &large,
        }];
        let error = save(path, &meta(2), &parts).unwrap_err();
        message(
            &error,
            &[
                "checkpoint.new",
                "model.safetensors",
                "choose another place",
            ],
        );
        return;
    }
    save_step(&path, 1).unwrap();
    let test = "a_full_disk_leaves_the_former_checkpoint";
    let fill = || {
        let mut shell = std::process::Command::new("sh");
        shell.args([
            "-c",
            "trap '' XFSZ; exec prlimit --fsize=9000 \"$0\" \"$@\"",
        ]);
        shell
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"]);
        let output = shell
            .env("DPCUBE_TEST_LIMITED_CHECKPOINT", &path)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert_eq!(load_step(&path), 1);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    };
    fill();
    // Nor is it lost where an earlier crash had left it set aside.
    fs::rename(&path, path.with_file_name("checkpoint.former")).unwrap();
    fill();
}

#[test]
fn a_changed_run_is_refused_naming_what_changed() {
    let (_directory, path) = place();
    save_step(&path, 5).unwrap();
    let checkpoint = Checkpoint::load(&path).unwrap();
    let same =
        |config: &Value, dataset: &Dataset| checkpoint.manifest().check_same_run(config, dataset);
    // Another order of keys is no change.
    let config = json!({"seed": 7, "clip": 1.0, "model": {"width": 128, "layers": 2}});
    same(&config, &DATASET).unwrap();

    let config = json!({"model": {"layers": 3, "width": 128}, "clip": 0.5, "steps": 10});
    let error = same(&config, &DATASET).unwrap_err();
    message(
        &error,
        &[
            "clip: 1.0 -> 0.5",
            "model.layers: 2 -> 3",
            "seed: 7 -> (none)",
            "steps: (none) -> 10",
        ],
    );
    assert!(!error.to_string().contains("width"));
    let CheckpointError::ConfigChanged { changes } = error else {
        panic!("{error}")
    };
    assert_eq!(changes.len(), 4);
    let clip = ConfigChange {
        setting: "clip".into(),
        recorded: Some(json!(1.0)),
        given: Some(json!(0.5)),
    };
    assert_eq!(changes[0], clip);

    // Equal as numbers, but not in the fingerprint: it has a name all the same.
    let changes = ConfigChange::between(&json!({"rate": 0.0}), &json!({"rate": -0.0}));
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].to_string(), "rate: 0.0 -> -0.0");

    let error = same(
        &meta(5).config,
        &Dataset {
            records: 999,
            fingerprint: [0xAA; 32],
        },
    )
    .unwrap_err();
    assert!(matches!(error, CheckpointError::DatasetChanged { .. }));
    message(
        &error,
        &[
            "1000 records",
            "999 records",
            &"d5".repeat(32),
            &"aa".repeat(32),
        ],
    );
}
