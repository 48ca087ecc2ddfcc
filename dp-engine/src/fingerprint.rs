//! Fingerprints: SHA-256 digests that say whether a data set or a configuration is still the same one.

use dp_core::ledger::Fingerprint;
use serde_json::Value;
use sha2::{Digest, Sha256};

const DATASET_DOMAIN: &[u8] = b"dpcube data set v1\0";
const CONFIG_DOMAIN: &[u8] = b"dpcube configuration v1\0";
const MANIFEST_DOMAIN: &[u8] = b"dpcube manifest v1\0";

/// Fingerprint of a data set, fed record by record.
///
/// The digest covers the records in order, each preceded by its length (`u64`, little-endian), and then their
/// number, so moving a byte from one record to the next changes it.
///
/// # Privacy
/// A fingerprint is computed from private records without noise. It reveals nothing to those who cannot guess
/// the whole data set, but confirms the guess of those who can: whoever has all records but one tests guesses of that one. Keep it from them.
///
/// # Example
/// ```
/// use dp_engine::fingerprint::dataset_fingerprint;
///
/// assert_ne!(dataset_fingerprint(["ab", "c"]), dataset_fingerprint(["a", "bc"]));
/// ```
#[derive(Clone, Debug)]
pub struct DatasetHasher {
    hasher: Sha256,
    records: u64,
}

impl DatasetHasher {
    /// An empty data set.
    #[must_use]
    pub fn new() -> Self {
        Self {
            hasher: Sha256::new_with_prefix(DATASET_DOMAIN),
            records: 0,
        }
    }

    /// Adds the next record.
    pub fn record(&mut self, bytes: &[u8]) {
        self.hasher.update((bytes.len() as u64).to_le_bytes());
        self.hasher.update(bytes);
        self.records += 1;
    }

    /// Number of records so far.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records
    }

    /// The fingerprint.
    #[must_use]
    pub fn finish(mut self) -> Fingerprint {
        self.hasher.update(self.records.to_le_bytes());
        self.hasher.finalize().into()
    }
}

impl Default for DatasetHasher {
    fn default() -> Self {
        Self::new()
    }
}

/// Fingerprint of records in order.
#[must_use]
pub fn dataset_fingerprint<R: AsRef<[u8]>>(records: impl IntoIterator<Item = R>) -> Fingerprint {
    let mut hasher = DatasetHasher::new();
    for record in records {
        hasher.record(record.as_ref());
    }
    hasher.finish()
}

/// Fingerprint of a configuration: equal for equal values, whatever the order of their keys.
#[must_use]
pub fn config_fingerprint(config: &Value) -> Fingerprint {
    canonical_digest(CONFIG_DOMAIN, config)
}

/// Digest of a checkpoint's manifest.
pub(crate) fn manifest_digest(manifest: &Value) -> Fingerprint {
    canonical_digest(MANIFEST_DOMAIN, manifest)
}

/// Lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes
        .iter()
        .fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
            // Writing to a String does not fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// Reads what [`hex`] wrote, or `None` for anything else.
#[must_use]
pub fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N
        || digits
            .iter()
            .any(|d| !matches!(d, b'0'..=b'9' | b'a'..=b'f'))
    {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let pair = std::str::from_utf8(pair).ok()?;
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(bytes)
}

fn canonical_digest(domain: &[u8], value: &Value) -> Fingerprint {
    let mut text = String::new();
    write_canonical(value, &mut text);
    Sha256::new_with_prefix(domain)
        .chain_update(text)
        .finalize()
        .into()
}

// serde_json sorts keys only while nobody in the build turns on its `preserve_order`, so sort here.
fn write_canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<_> = map.keys().collect();
            keys.sort();
            text.push('{');
            for key in keys {
                text.push_str(&Value::from(key.as_str()).to_string());
                text.push(':');
                write_canonical(&map[key], text);
                text.push(',');
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for item in items {
                write_canonical(item, text);
                text.push(',');
            }
            text.push(']');
        }
        scalar => text.push_str(&scalar.to_string()),
    }
}
