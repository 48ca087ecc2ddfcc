use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::error::CheckpointError;
use super::manifest::{CheckpointMeta, Manifest, PartEntry};
use super::places::{MANIFEST, Places, io_error};
use super::tensor::{Tensor, Viewed};
use crate::fs::sync_directory;

/// A tensor file to write.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a, 'b> {
    /// Name: lower-case letters, digits, `-` and `_`; the file is called after it.
    pub name: &'a str,
    /// Its tensors, with unique names.
    pub tensors: &'a [Tensor<'b>],
}

/// Writes a checkpoint, in the place of the former one if there is one.
///
/// The new one is written whole and brought to the disk beside its place first. Then the former is renamed to
/// `<name>.former`, the new takes its place, and the former is removed. A crash leaves one of the two whole, and
/// [`Checkpoint::load`](super::Checkpoint::load) finds it. One writer at a time: the ledger's lock sees to
/// that in a private run.
///
/// # Errors
/// [`CheckpointError::Stranger`] where the directory, or one of the two beside it, holds anything else than a
/// checkpoint; [`CheckpointError::Tensor`] for a name that is bad or twice there, or bytes that don't fit the shape;
/// [`CheckpointError::Io`]. The former checkpoint is still there then.
pub fn save(
    directory: &Path,
    meta: &CheckpointMeta,
    parts: &[Part<'_, '_>],
) -> Result<(), CheckpointError> {
    check(parts)?;
    let places = Places::of(directory)?;
    places.check_ours()?;
    places.settle()?;
    let written = write(&places.new, meta, parts);
    if written.is_err() {
        // A full disk is the likeliest cause: give the space back.
        let _ = fs::remove_dir_all(&places.new);
    }
    written?;
    places.swap()
}

fn write(
    directory: &Path,
    meta: &CheckpointMeta,
    parts: &[Part<'_, '_>],
) -> Result<(), CheckpointError> {
    fs::create_dir_all(directory)
        .map_err(|source| io_error("create the checkpoint", directory, source))?;
    let entries = parts.iter().map(|part| write_part(directory, part));
    let manifest = Manifest::new(meta, entries.collect::<Result<_, _>>()?);
    let path = directory.join(MANIFEST);
    let write_manifest = || {
        let mut text = serde_json::to_vec_pretty(&manifest.sealed()?)?;
        text.push(b'\n');
        let mut file = File::create(&path)?;
        file.write_all(&text)?;
        file.sync_all()
    };
    write_manifest().map_err(|source| io_error("write the manifest", &path, source))?;
    sync_directory(directory)
        .map_err(|source| io_error("write the directory to the disk", directory, source))
}

fn write_part(directory: &Path, part: &Part<'_, '_>) -> Result<PartEntry, CheckpointError> {
    let file = format!("{}.safetensors", part.name);
    let path = directory.join(&file);
    let views = part
        .tensors
        .iter()
        .map(|tensor| (tensor.name.as_str(), Viewed(tensor)));
    safetensors::serialize_to_file(views, None, &path).map_err(|error| match error {
        safetensors::SafeTensorError::IoError(source) => {
            io_error("write the tensors", &path, source)
        }
        other => CheckpointError::Tensor {
            name: part.name.to_string(),
            detail: other.to_string(),
        },
    })?;
    let sync_and_hash = || {
        // Windows flushes only what is open for writing.
        let mut written = OpenOptions::new().read(true).write(true).open(&path)?;
        written.sync_all()?;
        digest(&mut written)
    };
    let (bytes, sha256) =
        sync_and_hash().map_err(|source| io_error("write the tensors", &path, source))?;
    Ok(PartEntry {
        name: part.name.to_string(),
        file,
        bytes,
        sha256,
    })
}

/// Length and SHA-256 of what a reader yields.
pub(super) fn digest(reader: &mut impl Read) -> io::Result<(u64, [u8; 32])> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    let mut length = 0;
    loop {
        let read = reader.read(&mut buffer)?;
        if read == 0 {
            return Ok((length, hasher.finalize().into()));
        }
        hasher.update(&buffer[..read]);
        length += read as u64;
    }
}

fn check(parts: &[Part<'_, '_>]) -> Result<(), CheckpointError> {
    let fault = |name: &str, detail: String| CheckpointError::Tensor {
        name: name.to_string(),
        detail,
    };
    let mut names = HashSet::new();
    for part in parts {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
        if part.name.is_empty() || !part.name.chars().all(plain) {
            let detail = "a part's name takes lower-case letters, digits, - and _ only";
            return Err(fault(part.name, detail.to_string()));
        }
        if !names.insert(part.name) {
            return Err(fault(part.name, "two parts have this name".to_string()));
        }
        let mut tensors = HashSet::new();
        for tensor in part.tensors {
            if !tensors.insert(&tensor.name) {
                let detail = format!("two tensors of part \"{}\" have this name", part.name);
                return Err(fault(&tensor.name, detail));
            }
            if tensor.name == "__metadata__" {
                let detail = "safetensors keeps this name for itself";
                return Err(fault(&tensor.name, detail.to_string()));
            }
            if tensor.expected_bytes() != Some(tensor.bytes.len()) {
                let (bytes, shape) = (tensor.bytes.len(), &tensor.shape);
                let detail = format!("{bytes} bytes do not fit {:?} {shape:?}", tensor.dtype);
                return Err(fault(&tensor.name, detail));
            }
        }
    }
    Ok(())
}
