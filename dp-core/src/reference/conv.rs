//! Convolutions of one to three dimensions, channels first.

mod layout;
mod sums;

pub use layout::{ConvError, ConvLayout, ConvShape};
pub use sums::{conv_norm_sq, weighted_sum_conv};
