//! Squared per-example gradient norms. Every launcher adds one layer's share into `norms_sq [B]`,
//! so that after the last layer it holds the squared norm of each example's whole gradient.
//!
//! `G` is the gradient of the SUM of the per-example losses with respect to a layer's output, `A`
//! the layer's input. No per-example weight gradient is written to memory but by [`keep_linear_gradients`], which is there for that.
//!
//! `norms_sq` is f64 where the inputs are f64, and f32 for any other inputs.

pub(crate) mod channels;
mod column_gradients;
pub(crate) mod columns;
pub(crate) mod conv;
mod embedding;
mod gradient;
mod gram;
mod kept;
mod linear;
mod lora;
mod materialised;
mod position;
mod tied;

pub use channels::{channel_bias_norm_sq, channel_scale_norm_sq};
pub use column_gradients::{bias_gradients, scale_and_bias_gradients};
pub use columns::{bias_norm_sq, scale_and_bias_norm_sq, scale_norm_sq};
pub use conv::conv_norm_sq;
pub use embedding::embedding_norm_sq;
pub use gradient::gradient_norm_sq;
pub use gram::{GRAM_FLOOR, GRAM_FLOOR_F64};
pub use kept::keep_linear_gradients;
pub use linear::{LinearNorm, linear_and_bias_norm_sq, linear_norm_sq};
pub use lora::{Lora, lora_norm_sq};
pub use position::position_norm_sq;
pub use tied::tied_norm_sq;
