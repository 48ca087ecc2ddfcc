//! The groups: what each launches, moves and computes, and how its result is checked.

mod channels;
mod clip;
mod columns;
mod conv;
mod embedding;
mod given;
mod linear;
mod lora;
mod noise;
mod products;
mod tied;
mod update;

pub(crate) use channels::Channels;
pub(crate) use clip::ClipFactors;
pub(crate) use columns::Columns;
pub(crate) use conv::Conv;
pub(crate) use embedding::Embedding;
pub(crate) use given::Given;
pub(crate) use linear::Linear;
pub(crate) use lora::LoraLayer;
pub(crate) use noise::Noise;
pub(crate) use tied::Tied;
pub(crate) use update::Update;

/// The largest error of a squared norm, relative to the largest.
const NORM_BUDGET: f64 = 2e-5;
/// The largest error of a sum's element, relative to the largest.
const SUM_BUDGET: f64 = 2e-5;

/// Seeds of the inputs: a group's results are the same on every device.
mod seed {
    pub(super) const A: u64 = 11;
    pub(super) const G: u64 = 12;
    pub(super) const WEIGHT: u64 = 13;
    pub(super) const FACTORS: u64 = 14;
    pub(super) const IDS: u64 = 15;
    pub(super) const STATE: u64 = 16;
}
