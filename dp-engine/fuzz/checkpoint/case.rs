//! The folder of a checkpoint made of bytes, in one of five ways.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use arbitrary::{Result, Unstructured};
use dp_engine::checkpoint::{
    Checkpoint, CheckpointMeta, Dataset, Dtype, Manifest, Part, Tensor, save,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{fingerprint, folder, json};

const MANIFEST: &str = "manifest.json";

pub(super) enum Case {
    /// These files and no promise about them.
    Any { files: Vec<(String, Vec<u8>)> },
    /// A checkpoint that was saved, and what edits made of its files.
    Edited {
        original: &'static Original,
        files: Vec<(String, Vec<u8>)>,
    },
    /// Few, as a file takes as long as hundreds of the others.
    OnDisk(OnDisk),
}

pub(super) enum OnDisk {
    /// These files in its place.
    Current { files: Vec<(String, Vec<u8>)> },
    /// Nothing in its place, and these in the place of the former one.
    Former { files: Vec<(String, Vec<u8>)> },
    /// A file where the folder must be.
    File { bytes: Vec<u8> },
}

/// A checkpoint as `save` writes it.
pub(super) struct Original {
    pub files: Vec<(String, Vec<u8>)>,
    pub manifest: Manifest,
    pub parts: Vec<Vec<Tensor<'static>>>,
}

static ORIGINAL: LazyLock<Original> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let place = folder.path().join("original");
    let model = [
        Tensor::from_f32("weight", vec![2, 3], &[1.0, -2.0, 3.5, 0.0, 1e-9, 7.0]),
        Tensor {
            name: "ids".into(),
            dtype: Dtype::U16,
            shape: vec![3],
            bytes: vec![1, 0, 2, 0, 3, 0].into(),
        },
    ];
    let optimizer = [Tensor::from_f32("moment", vec![1], &[0.25])];
    let meta = CheckpointMeta {
        step: 17,
        config: json!({"lr": 0.001, "model": {"layers": 2, "tied": false}}),
        dataset: Dataset {
            fingerprint: [7; 32],
            records: 1000,
        },
        ledger: None,
        extra: json!([1, null]),
    };
    let parts = [("model", &model[..]), ("optimizer", &optimizer[..])];
    let parts = parts.map(|(name, tensors)| Part { name, tensors });
    save(&place, &meta, &parts).expect("a checkpoint");
    let checkpoint = Checkpoint::load(&place).expect("what was saved");
    let names = [MANIFEST, "model.safetensors", "optimizer.safetensors"];
    Original {
        files: names
            .map(|name| (name.to_owned(), fs::read(place.join(name)).expect("a file")))
            .to_vec(),
        manifest: checkpoint.manifest().clone(),
        parts: ["model", "optimizer"]
            .map(|part| checkpoint.tensors(part).expect("what was saved"))
            .to_vec(),
    }
});

impl Case {
    /// Bytes that are missing count as zeros.
    pub(super) fn decode(u: &mut Unstructured<'_>) -> Result<Self> {
        Ok(match u.arbitrary::<u8>()? {
            0 => Self::OnDisk(OnDisk::File { bytes: rest(u)? }),
            1 => Self::OnDisk(OnDisk::Former { files: edited(u)? }),
            2 => Self::OnDisk(OnDisk::Current { files: edited(u)? }),
            3..=31 => Self::Any {
                files: vec![(MANIFEST.to_owned(), rest(u)?)],
            },
            32..=95 => Self::Edited {
                original: &ORIGINAL,
                files: edited(u)?,
            },
            96..=159 => Self::Any {
                files: with_a_manifest_of_any_content(u)?,
            },
            _ => Self::Any {
                files: with_a_part_of_any_content(u)?,
            },
        })
    }
}

impl OnDisk {
    pub(super) fn write(&self, place: &Path) {
        let former = folder::beside(place, ".former");
        folder::remove(&former);
        match self {
            Self::Current { files } => folder::write(place, files),
            Self::Former { files } => {
                folder::remove(place);
                folder::write(&former, files);
            }
            Self::File { bytes } => {
                folder::remove(place);
                fs::write(place, bytes).expect("a file");
            }
        }
    }
}

fn rest(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    Ok(u.bytes(u.len())?.to_vec())
}

/// Some bytes replaced, cut, inserted; a file removed.
fn edited(u: &mut Unstructured<'_>) -> Result<Vec<(String, Vec<u8>)>> {
    let mut files = ORIGINAL.files.clone();
    for _ in 0..u.arbitrary::<u8>()? % 4 {
        let count = files.len();
        let which = usize::from(u.arbitrary::<u8>()?) % count;
        let bytes = &mut files[which].1;
        let at = usize::from(u.arbitrary::<u16>()?) % (bytes.len() + 1);
        match u.arbitrary::<u8>()? % 8 {
            0 => bytes.truncate(at),
            1 => {
                let length = usize::from(u.arbitrary::<u8>()?) % 24;
                let more = u.bytes(length.min(u.len()))?.to_vec();
                bytes.splice(at..at, more);
            }
            2 if count > 1 => {
                files.remove(which);
            }
            _ => {
                let value = u.arbitrary()?;
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = value;
                }
            }
        }
    }
    Ok(files)
}

/// Some fields of the manifest replaced or taken away, and its digest right again.
fn with_a_manifest_of_any_content(u: &mut Unstructured<'_>) -> Result<Vec<(String, Vec<u8>)>> {
    let mut files = ORIGINAL.files.clone();
    let mut manifest: Value = serde_json::from_slice(&files[0].1).expect("a manifest");
    for _ in 0..=u.arbitrary::<u8>()? % 3 {
        let Some(fields) = manifest.as_object_mut() else {
            break;
        };
        let key = json::key(u)?;
        match u.arbitrary::<u8>()? % 8 {
            0 => {
                fields.remove(&key);
            }
            1 => manifest = json::value(u)?,
            2 => {
                if let Some(Value::Object(inner)) = fields.get_mut(&key) {
                    inner.insert(json::key(u)?, json::value(u)?);
                }
            }
            3 => {
                if let Some(Value::Array(items)) = fields.get_mut(&key) {
                    let at = usize::from(u.arbitrary::<u8>()?) % (items.len() + 1);
                    match items.get_mut(at).and_then(Value::as_object_mut) {
                        Some(item) => {
                            item.insert(json::key(u)?, json::value(u)?);
                        }
                        None => items.push(json::value(u)?),
                    }
                }
            }
            _ => {
                fields.insert(key, json::value(u)?);
            }
        }
    }
    files[0].1 = sealed(manifest);
    Ok(files)
}

/// The model's file is any bytes, or a safetensors file with a header of any content, and the manifest has its digest.
fn with_a_part_of_any_content(u: &mut Unstructured<'_>) -> Result<Vec<(String, Vec<u8>)>> {
    let mut files = ORIGINAL.files.clone();
    let part = match u.arbitrary::<u8>()? % 4 {
        0 => rest(u)?,
        1 => {
            // The original's bytes, some of them others.
            let mut part = files[1].1.clone();
            for _ in 0..=u.arbitrary::<u8>()? % 4 {
                let at = usize::from(u.arbitrary::<u16>()?) % part.len();
                part[at] = u.arbitrary()?;
            }
            part
        }
        _ => tensors_of_any_header(u)?,
    };
    let mut manifest: Value = serde_json::from_slice(&files[0].1).expect("a manifest");
    manifest["parts"][0]["bytes"] = Value::from(part.len());
    let digest: [u8; 32] = Sha256::digest(&part).into();
    manifest["parts"][0]["sha256"] = Value::from(fingerprint::hex(&digest));
    files[1].1 = part;
    files[0].1 = sealed(manifest);
    Ok(files)
}

fn tensors_of_any_header(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    const TYPES: [&str; 8] = ["F32", "U16", "F64", "BF16", "BOOL", "F4", "F8_E4M3", "Q7"];
    let mut header = serde_json::Map::new();
    let mut end = 0u64;
    for tensor in 0..u.arbitrary::<u8>()? % 4 {
        let number = |u: &mut Unstructured<'_>| -> Result<u64> {
            Ok(match u.arbitrary::<u8>()? {
                byte if byte < 240 => u64::from(byte % 8),
                _ => u.arbitrary()?,
            })
        };
        let dimensions = u.arbitrary::<u8>()? % 4;
        let shape: Vec<u64> = (0..dimensions).map(|_| number(u)).collect::<Result<_>>()?;
        let start = match u.arbitrary::<u8>()? {
            byte if byte < 224 => end,
            _ => number(u)?,
        };
        let dtype = usize::from(u.arbitrary::<u8>()?) % TYPES.len();
        let bits = [32, 16, 64, 16, 8, 4, 8, 8][dtype];
        let elements = shape.iter().fold(1u64, |n, d| n.wrapping_mul(*d));
        end = match u.arbitrary::<u8>()? {
            byte if byte < 224 => start.wrapping_add(elements.wrapping_mul(bits) / 8),
            _ => number(u)?,
        };
        let mut entry =
            json!({"dtype": TYPES[dtype], "shape": shape, "data_offsets": [start, end]});
        if u.arbitrary::<u8>()? > 240 {
            entry[json::key(u)?] = json::value(u)?;
        }
        header.insert(format!("t{tensor}"), entry);
    }
    let text = Value::Object(header).to_string();
    let length = match u.arbitrary::<u8>()? {
        byte if byte < 240 => text.len() as u64,
        _ => u.arbitrary()?,
    };
    let data = match u.arbitrary::<u8>()? {
        byte if byte < 240 => end.min(4096) as usize,
        byte => usize::from(byte),
    };
    Ok([&length.to_le_bytes()[..], text.as_bytes(), &vec![0; data]].concat())
}

/// The manifest's text with its right digest in it; what is no object has none.
fn sealed(mut manifest: Value) -> Vec<u8> {
    if let Some(fields) = manifest.as_object_mut() {
        fields.remove("sha256");
        let digest = fingerprint::hex(&fingerprint::manifest_digest(&manifest));
        manifest["sha256"] = Value::from(digest);
    }
    manifest.to_string().into_bytes()
}
