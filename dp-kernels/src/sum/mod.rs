//! Weighted sums: `sum_b c_b * (gradient of example b)` of one layer, ADDED into the accumulator of
//! the logical batch: f64 where the inputs are f64, f32 for any other inputs, and the factors likewise.
//! They read the same `A` and `G` as the norms, in the type they are stored in.
//!
//! A dead example (factor 0) is skipped, not multiplied: its rows may hold NaN.

mod channels;
mod columns;
mod conv;
mod embedding;
mod gradient;
mod linear;
mod lora;
mod position;
mod tied;

pub use channels::{weighted_sum_channel_bias, weighted_sum_channel_scale};
pub use columns::{weighted_sum_bias, weighted_sum_scale};
pub use conv::weighted_sum_conv;
pub use embedding::weighted_sum_embedding;
pub use gradient::weighted_sum_gradient;
pub use linear::weighted_sum_linear;
pub use lora::weighted_sum_lora;
pub use position::weighted_sum_position;
pub use tied::weighted_sum_tied;
