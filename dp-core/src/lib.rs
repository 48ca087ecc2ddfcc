#![no_std]
//! x

pub mod clipping;
pub mod noise;
pub mod sampling;
