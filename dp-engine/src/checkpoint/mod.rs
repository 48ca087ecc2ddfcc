//! Checkpoints: what a resumed run needs, written so that a crash leaves the former one or the new one, whole.
//!
//! A checkpoint is a directory: `manifest.json` and, for each part (the model, the optimizer), one safetensors file
//! whose SHA-256 the manifest holds. [`save`] writes it beside its place and renames it in; [`Checkpoint::load`]
//! checks everything that it hands out.
//!
//! # Privacy
//! A checkpoint holds noised parameters and optimizer state, the position of the run and the head of its ledger;
//! never a key. Optimizer state of a private run is computed from noised gradients only, so it is covered by the
//! same guarantee.

mod error;
mod load;
mod manifest;
mod places;
mod save;
mod tensor;

pub use error::{CheckpointError, ConfigChange};
pub use load::{Checkpoint, exists};
pub use manifest::{CheckpointMeta, Dataset, LedgerHead, Manifest, PartEntry, VERSION};
pub use safetensors::Dtype;
pub use save::{Part, save};
pub use tensor::Tensor;
