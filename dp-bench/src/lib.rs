//! The throughput suite: what the kernels of `dp-kernels` reach on a device, each row verified before it is timed.
//!
//! It names no runtime and no framework: whoever has a [`Backend`](dp_kernels::Backend) can run it. `dpcube bench` is
//! the program around it.
//!
//! 1. [`plan`](crate::plan()) lists [`Group`]s: launches over the same buffers, at the shapes of known models ([`models`]).
//! 2. [`run`] takes them one by one. A group's buffers are made, every launch is compared with an f64 result of the
//!    host, and those that are right are timed in turn, so that what slows the machine slows them all.
//! 3. Each gives a [`Row`], or a [`LeftOut`] that says why there is none. Rows are lines of JSON ([`Line`]) that
//!    [`read()`] takes back and [`compare()`] puts side by side.
//!
//! Transfers between host and device are never timed. What bytes and FLOP count is said at [`Cost`].

mod ceilings;
mod clock;
mod compare;
mod data;
mod device;
mod filter;
mod group;
mod line;
mod measure;
pub mod models;
mod ops;
mod plan;
mod read;
mod stats;
mod suite;

pub use ceilings::{Bound, DeviceCeilings};
pub use clock::Clock;
pub use compare::{Change, Comparison, compare};
pub use cubecl::ir::FloatKind;
pub use device::{Bench, BenchError};
pub use filter::Filter;
pub use group::{Buffer, Built, Check, Cost, Group, Op, Pair, Pick, Place};
pub use line::{Header, LeftOut, Line, Row, Time, Verified};
pub use plan::{Extent, plan};
pub use read::{ReadError, read};
pub use stats::Summary;
pub use suite::{Outcome, Settings, Watch, run};
