use std::borrow::Cow;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use serde_json::Value;

use super::error::CheckpointError;
use super::manifest::{Manifest, PartEntry, VERSION};
use super::places::{MANIFEST, Places, io_error};
use super::save::digest;
use super::tensor::Tensor;

/// Whether [`Checkpoint::load`] would find something at this place.
#[must_use]
pub fn exists(directory: &Path) -> bool {
    place(directory).is_ok()
}

/// A checkpoint whose manifest was read; its tensors are read and checked as they are asked for.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    directory: PathBuf,
    manifest: Manifest,
}

impl Checkpoint {
    /// Opens a checkpoint: the one at this place or, where a crash came between the two renames of
    /// [`save`](super::save), the former one.
    ///
    /// # Errors
    /// [`CheckpointError::Missing`], [`CheckpointError::Io`], [`CheckpointError::Manifest`] or
    /// [`CheckpointError::Version`].
    pub fn load(directory: &Path) -> Result<Self, CheckpointError> {
        let directory = place(directory)?;
        let path = directory.join(MANIFEST);
        let text =
            fs::read(&path).map_err(|source| io_error("read the manifest", &path, source))?;
        let manifest = Manifest::read(&path, &text)?;
        Ok(Self {
            directory,
            manifest,
        })
    }

    /// The manifest.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Reads a part and checks it against its digest.
    ///
    /// # Errors
    /// [`CheckpointError::NoPart`], [`CheckpointError::Io`] or [`CheckpointError::Part`].
    pub fn tensors(&self, part: &str) -> Result<Vec<Tensor<'static>>, CheckpointError> {
        let entry = self.manifest.parts.iter().find(|entry| entry.name == part);
        let entry = entry.ok_or_else(|| CheckpointError::NoPart {
            path: self.directory.clone(),
            part: part.to_string(),
        })?;
        let path = self.directory.join(&entry.file);
        let bytes =
            fs::read(&path).map_err(|source| io_error("read the tensors", &path, source))?;
        entry.read(&path, &bytes)
    }
}

impl Manifest {
    /// A manifest of its bytes, wherever they are kept; `path` is what an error calls them.
    ///
    /// # Errors
    /// [`CheckpointError::Manifest`] or [`CheckpointError::Version`].
    pub fn read(path: &Path, text: &[u8]) -> Result<Self, CheckpointError> {
        parse(path, text)
    }
}

impl PartEntry {
    /// The tensors of the part's bytes, wherever they are kept, checked against the digest; `path` is what an error calls them.
    ///
    /// # Errors
    /// [`CheckpointError::Part`].
    pub fn read(&self, path: &Path, bytes: &[u8]) -> Result<Vec<Tensor<'static>>, CheckpointError> {
        read_part(bytes, self).map_err(|detail| CheckpointError::Part {
            path: path.to_path_buf(),
            detail,
        })
    }
}

fn place(directory: &Path) -> Result<PathBuf, CheckpointError> {
    let Places {
        current, former, ..
    } = Places::of(directory)?;
    [current, former]
        .into_iter()
        .find(|place| place.join(MANIFEST).exists())
        .ok_or_else(|| CheckpointError::Missing {
            path: directory.to_path_buf(),
        })
}

fn parse(path: &Path, text: &[u8]) -> Result<Manifest, CheckpointError> {
    let damaged = |detail: String| CheckpointError::Manifest {
        path: path.to_path_buf(),
        detail,
    };
    // The version first: another one may have other fields.
    let value: Value = serde_json::from_slice(text).map_err(|error| damaged(error.to_string()))?;
    match value.get("version").and_then(Value::as_u64) {
        None => return Err(damaged("it has no version".to_string())),
        Some(found) if found != u64::from(VERSION) => {
            return Err(CheckpointError::Version {
                path: path.to_path_buf(),
                found,
            });
        }
        Some(_) => {}
    }
    let manifest = Manifest::unseal(value).map_err(damaged)?;
    // A manifest from elsewhere must not make us read outside its directory.
    if let Some(entry) = manifest.parts.iter().find(|e| !is_plain_name(&e.file)) {
        return Err(damaged(format!("\"{}\" is not a file name", entry.file)));
    }
    Ok(manifest)
}

fn is_plain_name(file: &str) -> bool {
    let mut components = Path::new(file).components();
    matches!(components.next(), Some(std::path::Component::Normal(_)))
        && components.next().is_none()
        && !file.contains(['/', '\\'])
}

fn read_part(bytes: &[u8], entry: &PartEntry) -> Result<Vec<Tensor<'static>>, String> {
    let hashed = digest(&mut io::Cursor::new(bytes)).map_err(|error| error.to_string())?;
    if hashed.0 != entry.bytes {
        return Err(format!("{} bytes instead of {}", hashed.0, entry.bytes));
    }
    if hashed.1 != entry.sha256 {
        return Err("its SHA-256 is not the manifest's".to_string());
    }
    let file = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    let mut tensors: Vec<_> = file
        .iter()
        .map(|(name, view)| Tensor {
            name: name.to_string(),
            dtype: view.dtype(),
            shape: view.shape().to_vec(),
            bytes: Cow::Owned(view.data().to_vec()),
        })
        .collect();
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(tensors)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::manifest::{CheckpointMeta, Dataset};
    use super::*;

    /// A manifest whose digest is right, made by hand to point elsewhere.
    #[test]
    fn a_manifest_cannot_point_out_of_its_directory() {
        let meta = CheckpointMeta {
            step: 1,
            config: json!({}),
            dataset: Dataset {
                fingerprint: [0; 32],
                records: 2,
            },
            ledger: None,
            extra: json!(null),
        };
        let read = |file: &str| {
            let entry = PartEntry {
                name: "model".into(),
                file: file.into(),
                bytes: 0,
                sha256: [0; 32],
            };
            let manifest = Manifest::new(&meta, vec![entry]);
            let text = manifest.sealed().unwrap().to_string();
            parse(Path::new("manifest.json"), text.as_bytes()).map(|read| read == manifest)
        };
        assert!(read("model.safetensors").unwrap());
        for bad in [
            "",
            ".",
            "..",
            "../model",
            "/etc/passwd",
            "a/b",
            "a\\b",
            "./model",
        ] {
            let error = read(bad).unwrap_err().to_string();
            assert!(error.contains("is not a file name"), "{bad}: {error}");
        }
    }
}
