#![no_std]
// The expansions that CubeCL generates for kernels are not ours to forbid.
#![cfg_attr(not(feature = "cube"), forbid(unsafe_code))]
//! Differential-privacy primitives for training, without std, without an allocator, without unsafe code.
//!
//! - [`accounting`]: what a run spends, exactly, with bounds; which noise a budget needs.
//! - [`clipping`]: the factor that bounds what one example adds.
//! - [`noise`]: Gaussian noise by coordinates, from ChaCha20 or Philox; discrete Gaussian noise, exactly.
//! - [`sampling`]: Poisson inclusion of each record by itself.
//! - [`sensitivity`]: what f32 rounding adds to the sensitivity of a sum.
//! - [`update`]: the optimizer rules that are fused with the noise.
//! - [`ledger`]: the record format of what was spent, and its reserve/commit state machine.
//! - [`mod@reference`]: a plain twin of every kernel, the oracle of the backends' tests.
//!
//! With the feature `cube` the functions that kernels share expand in CubeCL too; on the host nothing changes.

pub mod accounting;
pub mod clipping;
#[cfg(test)]
#[path = "../tests/common/mod.rs"]
mod common;
pub mod ledger;
pub mod noise;
mod real;
pub mod reference;
pub mod sampling;
pub mod sensitivity;
pub mod update;
