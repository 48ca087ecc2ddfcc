//! Private layers and private gradients for [burn].
//!
//! # The way of one microbatch
//!
//! 1. A [`Tape`] is handed through the forward pass. Every private layer notes its input there and
//!    leaves a *tap* on its output.
//! 2. [`PrivateGradients::add`] runs the backward pass. The layers form no weight gradient: the taps
//!    catch G, the gradient of the loss with respect to each layer's output.
//! 3. From the inputs and G come the squared norm of each example's whole gradient, the clip factors,
//!    and the factor-weighted sum, added into f32 accumulators. No per-example weight gradient is
//!    ever stored, and nothing per-example leaves the device.
//! 4. After the last microbatch [`PrivateGradients::release`] adds the noise, divides by the expected
//!    batch size and gives [`GradientsParams`](burn::optim::GradientsParams), which any burn optimizer takes.
//!
//! With an ordinary tape the same layers form ordinary gradients: what the non-private run measures.

mod adaptive;
mod device;
mod error;
mod gradients;
mod kernels;
mod layers;
mod model;
mod ops;
mod optimizer;
mod private_optimizer;
pub mod profile;
mod state;
mod tape;
mod traced;

pub use device::{DeviceError, DeviceName, open};
pub use error::PrivacyError;
pub use gradients::PrivateGradients;
pub use layers::{Embedding, Init, LayerNorm, Linear, Position};
pub use model::{Batch, ModelConfig, Transformer};
pub use ops::{causal_attention, cross_entropy, gelu};
pub use optimizer::AdamW;
pub use private_optimizer::PrivateAdamW;
pub use state::{NamedTensor, StateError, export, import};
pub use tape::Tape;
