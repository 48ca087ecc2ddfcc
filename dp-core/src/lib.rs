#![no_std]
//! x

pub mod accounting;
pub mod clipping;
pub mod ledger;
pub mod noise;
pub mod sampling;
pub mod reference;
pub mod sensitivity;
