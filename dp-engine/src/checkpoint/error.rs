use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::PathBuf;

use serde_json::Value;

use super::manifest::Dataset;
use crate::fingerprint::{config_fingerprint, hex};
use crate::fs::way_out;

/// Why a checkpoint cannot be written, read or resumed from. Each message names the file or value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// There is no checkpoint.
    #[error("{}: no checkpoint there; check the path, or start a new run", path.display())]
    Missing {
        /// The directory.
        path: PathBuf,
    },
    /// The place of the checkpoint holds something else, which writing it would delete.
    #[error(
        "{}: this is no part of a checkpoint, and writing one would delete it; choose another place or move it away",
        path.display()
    )]
    Stranger {
        /// What is there.
        path: PathBuf,
    },
    /// The system refused an operation.
    #[error("{}: cannot {action}: {source}; {}", path.display(), way_out(source))]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The manifest is not one.
    #[error("{}: the manifest is damaged ({detail}); restore the checkpoint from a backup", path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// A format that this build cannot read.
    #[error(
        "{}: checkpoint version {found} is not known here (this build reads version {}); use the build that wrote it",
        path.display(), super::VERSION
    )]
    Version {
        /// The manifest.
        path: PathBuf,
        /// Version found.
        found: u64,
    },
    /// A tensor file is not the one that the manifest describes.
    #[error("{}: the file is damaged ({detail}); restore the checkpoint from a backup", path.display())]
    Part {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// The checkpoint has no such part.
    #[error("{}: the checkpoint has no part \"{part}\"", path.display())]
    NoPart {
        /// The directory.
        path: PathBuf,
        /// Name asked for.
        part: String,
    },
    /// A tensor or part that cannot be written.
    #[error("tensor \"{name}\": {detail}")]
    Tensor {
        /// Name of the tensor or part.
        name: String,
        /// What is wrong.
        detail: String,
    },
    /// The configuration is not that of the checkpoint.
    #[error(
        "the settings differ from the checkpoint's: {}; restore them, or start a new run",
        list(changes)
    )]
    ConfigChanged {
        /// Every value that differs.
        changes: Vec<ConfigChange>,
    },
    /// The data set is not that of the checkpoint.
    #[error(
        "the data set differs from the checkpoint's: {} -> {}; give the original data, or start a new run",
        describe(recorded),
        describe(given)
    )]
    DatasetChanged {
        /// The checkpoint's.
        recorded: Dataset,
        /// The one given.
        given: Dataset,
    },
}

/// A setting that changed.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfigChange {
    /// Where it is in the configuration, with dots between the levels.
    pub setting: String,
    /// The checkpoint's value; `None` if it had no such setting.
    pub recorded: Option<Value>,
    /// The value given; `None` if there is none.
    pub given: Option<Value>,
}

impl ConfigChange {
    /// Every difference between two configurations, down to single values of nested objects.
    #[must_use]
    pub fn between(recorded: &Value, given: &Value) -> Vec<Self> {
        let mut changes = Vec::new();
        collect("", Some(recorded), Some(given), &mut changes);
        changes
    }
}

impl fmt::Display for ConfigChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |value: &Option<Value>| match value {
            Some(value) => value.to_string(),
            None => String::from("(none)"),
        };
        write!(
            f,
            "{}: {} -> {}",
            self.setting,
            show(&self.recorded),
            show(&self.given)
        )
    }
}

fn collect(
    at: &str,
    recorded: Option<&Value>,
    given: Option<&Value>,
    changes: &mut Vec<ConfigChange>,
) {
    if let (Some(Value::Object(a)), Some(Value::Object(b))) = (recorded, given) {
        let keys: BTreeSet<_> = a.keys().chain(b.keys()).collect();
        for key in keys {
            let at = if at.is_empty() {
                key.clone()
            } else {
                format!("{at}.{key}")
            };
            collect(&at, a.get(key), b.get(key), changes);
        }
    } else if recorded.map(config_fingerprint) != given.map(config_fingerprint) {
        // Not by `!=`, for which 0.0 and -0.0 are equal: what the fingerprint tells apart must be named.
        let setting = if at.is_empty() {
            String::from("configuration")
        } else {
            at.to_string()
        };
        changes.push(ConfigChange {
            setting,
            recorded: recorded.cloned(),
            given: given.cloned(),
        });
    }
}

fn list(changes: &[ConfigChange]) -> String {
    changes
        .iter()
        .map(ConfigChange::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

fn describe(dataset: &Dataset) -> String {
    format!(
        "{} records, SHA-256 {}",
        dataset.records,
        hex(&dataset.fingerprint)
    )
}
