use dp_core::ledger::{Fingerprint, Head};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::{CheckpointError, ConfigChange};
use crate::fingerprint::{config_fingerprint, hex, manifest_digest};

/// Version of the checkpoint format that this build writes, and the only one that it reads.
pub const VERSION: u32 = 1;

const DIGEST: &str = "sha256";

/// What the caller says about a checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckpointMeta {
    /// Steps done: the step to go on with.
    pub step: u64,
    /// The configuration, as an object of named values; a resumed run must have the same.
    pub config: Value,
    /// The data set; a resumed run must have the same.
    pub dataset: Dataset,
    /// The ledger as it was when the checkpoint was written; `None` for a run without privacy.
    pub ledger: Option<Head>,
    /// Whatever else the caller wants back: losses so far, seconds spent.
    pub extra: Value,
}

/// Which data set a run is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dataset {
    /// SHA-256 of the records.
    #[serde(with = "hex_digest")]
    pub fingerprint: Fingerprint,
    /// Number of records.
    pub records: u64,
}

/// `manifest.json`. In the file, the field `sha256` beside these holds the digest of all of them, so that a damaged
/// number is found out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of the format.
    pub version: u32,
    /// Steps done.
    pub step: u64,
    /// The configuration's values, to tell what changed.
    pub config: Value,
    /// SHA-256 of the configuration.
    #[serde(with = "hex_digest")]
    pub config_fingerprint: Fingerprint,
    /// The data set.
    pub dataset: Dataset,
    /// Head of the ledger.
    pub ledger: Option<LedgerHead>,
    /// The caller's own values.
    pub extra: Value,
    /// The tensor files.
    pub parts: Vec<PartEntry>,
}

/// Head of the ledger, as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerHead {
    /// Number of records.
    pub records: u64,
    /// Chain value.
    #[serde(with = "hex_digest")]
    pub digest: [u8; 32],
}

impl From<Head> for LedgerHead {
    fn from(Head { records, digest }: Head) -> Self {
        Self { records, digest }
    }
}

impl From<LedgerHead> for Head {
    fn from(LedgerHead { records, digest }: LedgerHead) -> Self {
        Self { records, digest }
    }
}

/// One tensor file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartEntry {
    /// Name of the part.
    pub name: String,
    /// File name within the checkpoint.
    pub file: String,
    /// Length in bytes.
    pub bytes: u64,
    /// SHA-256 of the file.
    #[serde(with = "hex_digest")]
    pub sha256: [u8; 32],
}

impl Manifest {
    pub(super) fn new(meta: &CheckpointMeta, parts: Vec<PartEntry>) -> Self {
        Self {
            version: VERSION,
            step: meta.step,
            config: meta.config.clone(),
            config_fingerprint: config_fingerprint(&meta.config),
            dataset: meta.dataset,
            ledger: meta.ledger.map(LedgerHead::from),
            extra: meta.extra.clone(),
            parts,
        }
    }

    /// The manifest as it is written, with its own digest.
    pub(super) fn sealed(&self) -> serde_json::Result<Value> {
        let mut value = serde_json::to_value(self)?;
        let digest = hex(&manifest_digest(&value));
        if let Value::Object(fields) = &mut value {
            fields.insert(DIGEST.to_string(), Value::from(digest));
        }
        Ok(value)
    }

    /// Reads what [`Manifest::sealed`] wrote, version checked; the error says what is wrong.
    pub(super) fn unseal(mut value: Value) -> Result<Self, String> {
        let fields = value.as_object_mut().ok_or("it is not a JSON object")?;
        let recorded = fields.remove(DIGEST).ok_or("it has no sha256")?;
        if recorded != hex(&manifest_digest(&value)) {
            return Err("its SHA-256 is not the one that it holds".to_string());
        }
        serde_json::from_value(value).map_err(|error| error.to_string())
    }

    /// Head of the ledger, to compare with
    /// [`LedgerFile::require`](crate::ledger::LedgerFile::require).
    #[must_use]
    pub fn ledger_head(&self) -> Option<Head> {
        self.ledger.map(Head::from)
    }

    /// Checks that a run may go on from here with this configuration and data set.
    ///
    /// # Errors
    /// [`CheckpointError::ConfigChanged`] with every value that changed, or [`CheckpointError::DatasetChanged`].
    pub fn check_same_run(&self, config: &Value, dataset: &Dataset) -> Result<(), CheckpointError> {
        if config_fingerprint(config) != self.config_fingerprint {
            let changes = ConfigChange::between(&self.config, config);
            return Err(CheckpointError::ConfigChanged { changes });
        }
        if *dataset != self.dataset {
            let (recorded, given) = (self.dataset, *dataset);
            return Err(CheckpointError::DatasetChanged { recorded, given });
        }
        Ok(())
    }
}

mod hex_digest {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::fingerprint::{from_hex, hex};

    pub fn serialize<S: Serializer>(digest: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex(digest))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
        let text = String::deserialize(deserializer)?;
        from_hex(&text).ok_or_else(|| D::Error::custom("a digest must be 64 hexadecimal digits"))
    }
}
