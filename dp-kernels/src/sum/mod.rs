//! Weighted sums: `sum_b c_b * (gradient of example b)` of one layer, ADDED into the f32 accumulator of
//! the logical batch. They read the same `A` and `G` as the norms, in the type they are stored in.
//!
//! A dead example (factor 0) is skipped, not multiplied: its rows may hold NaN.

mod columns;
mod embedding;
mod linear;
mod position;

pub use columns::{weighted_sum_bias, weighted_sum_scale};
pub use embedding::weighted_sum_embedding;
pub use linear::weighted_sum_linear;
pub use position::weighted_sum_position;
