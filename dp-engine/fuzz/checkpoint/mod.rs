//! What the fuzz target `checkpoint` and dp-engine's test `checkpoint_fuzz_corpus` do with bytes.

mod case;
mod folder;
mod json;
// The digests of the very crate, so that a manifest of any content can have a right one.
#[allow(dead_code)]
#[path = "../../src/fingerprint.rs"]
mod fingerprint;

use std::path::Path;

use arbitrary::Unstructured;
use dp_engine::checkpoint::{Checkpoint, CheckpointError, Dtype, Manifest, Tensor};
use serde_json::Value;

use case::Case;

/// Loads the folder that `bytes` stand for and panics where a promise of the loader does not hold. `false` if they
/// stand for none.
pub fn check(bytes: &[u8]) -> bool {
    let mut u = Unstructured::new(bytes);
    let Ok(case) = Case::decode(&mut u) else {
        return false;
    };
    let loaded = match &case {
        Case::Any { files } | Case::Edited { files, .. } => read(files),
        Case::OnDisk(on_disk) => {
            let place = folder::place();
            on_disk.write(place);
            load(place)
        }
    };
    match (&case, &loaded) {
        (Case::Edited { original, .. }, Ok((manifest, parts))) => {
            assert_eq!(
                *manifest, original.manifest,
                "an edit of the manifest was accepted"
            );
            for (part, original) in parts.iter().zip(&original.parts) {
                if let Ok(tensors) = part {
                    assert!(tensors == original, "an edit of a part was accepted");
                }
            }
        }
        (_, Ok((manifest, _))) => {
            if let (Ok(config), Ok(other)) = (json::value(&mut u), json::value(&mut u)) {
                changes_are_named(manifest, &config);
                changes_are_named(manifest, &other);
                changes_between(&config, &other);
            }
        }
        (_, Err(_)) => {}
    }
    true
}

type Parts = Vec<Result<Vec<Tensor<'static>>, CheckpointError>>;

/// As [`load`], of a folder that is not written anywhere.
fn read(files: &[(String, Vec<u8>)]) -> Result<(Manifest, Parts), CheckpointError> {
    let file = |name: &str| files.iter().find(|file| file.0 == name);
    let folder = Path::new("run/checkpoint");
    let missing = || CheckpointError::Missing {
        path: folder.to_path_buf(),
    };
    let (name, text) = file("manifest.json").ok_or_else(missing)?;
    let manifest = Manifest::read(&folder.join(name), text)
        .inspect_err(|error| is_named(error, name.as_ref()))?;
    let parts = manifest.parts.iter().map(|entry| {
        assert!(!entry.file.contains(['/', '\\']) && entry.file != "..");
        let (name, bytes) = file(&entry.file).ok_or_else(missing)?;
        let tensors = entry.read(&folder.join(name), bytes);
        match &tensors {
            Ok(tensors) => tensors.iter().for_each(fits),
            Err(error) => is_named(error, name.as_ref()),
        }
        tensors
    });
    let parts = parts.collect();
    Ok((manifest, parts))
}

/// The manifest and every part of it, each held to what is promised of any folder.
fn load(place: &Path) -> Result<(Manifest, Parts), CheckpointError> {
    let checkpoint = Checkpoint::load(place).inspect_err(|error| is_named(error, place))?;
    let manifest = checkpoint.manifest().clone();
    let parts = manifest.parts.iter().map(|entry| {
        assert!(!entry.file.contains(['/', '\\']) && entry.file != "..");
        let tensors = checkpoint.tensors(&entry.name);
        match &tensors {
            Ok(tensors) => tensors.iter().for_each(fits),
            Err(error) => is_named(error, place),
        }
        tensors
    });
    let parts = parts.collect();
    assert!(matches!(
        checkpoint.tensors("no such part"),
        Err(CheckpointError::NoPart { .. })
    ));
    Ok((manifest, parts))
}

fn is_named(error: &CheckpointError, place: &Path) {
    let name = place.file_name().expect("a name").to_string_lossy();
    let message = error.to_string();
    assert!(message.contains(&*name), "{message}");
}

/// A tensor has as many bytes as its type and shape call for.
fn fits(tensor: &Tensor<'_>) {
    let elements: u128 = tensor.shape.iter().map(|&d| d as u128).product();
    let bits = elements * tensor.dtype.bitsize() as u128;
    assert_eq!(tensor.bytes.len() as u128 * 8, bits, "{:?}", tensor.shape);
    let floats = tensor.to_f32();
    assert_eq!(floats.is_some(), tensor.dtype == Dtype::F32);
    assert!(floats.is_none_or(|floats| floats.len() as u128 == elements));
}

/// A run with another configuration is refused, and the refusal says what differs.
fn changes_are_named(manifest: &Manifest, config: &Value) {
    match manifest.check_same_run(config, &manifest.dataset) {
        Ok(()) => assert_eq!(
            fingerprint::config_fingerprint(config),
            manifest.config_fingerprint
        ),
        Err(CheckpointError::ConfigChanged { changes }) => {
            let is_whole =
                fingerprint::config_fingerprint(&manifest.config) == manifest.config_fingerprint;
            assert!(!changes.is_empty() || !is_whole, "nothing is named");
        }
        Err(other) => panic!("{other}"),
    }
}

/// Two configurations have the same fingerprint exactly where nothing differs between them.
fn changes_between(a: &Value, b: &Value) {
    let changes = dp_engine::checkpoint::ConfigChange::between(a, b);
    let same = fingerprint::config_fingerprint(a) == fingerprint::config_fingerprint(b);
    assert_eq!(changes.is_empty(), same, "{a} and {b}: {changes:?}");
    for change in changes {
        assert!(!change.to_string().is_empty());
    }
}
