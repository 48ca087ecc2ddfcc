//! The training step, private and ordinary, in one process and interleaved.
//!
//! ```no_run
//! use burn::tensor::Device;
//! use dp_bench_step::{Steps, Workload, median_ratio};
//! use dp_kernels::Planner;
//!
//! let mut steps = Steps::new(Workload::Tiny, &Device::cpu(), Planner::by_rule())?;
//! let pairs = steps.pairs(2, 20)?;
//! println!("private / ordinary {:.3}", median_ratio(&pairs, |timing| timing.wall));
//! # Ok::<(), dp_bench_step::StepError>(())
//! ```
//!
//! Both steps use the same layers, the same device, the same optimizer (AdamW). The ordinary one forms one summed
//! weight gradient for each layer and nothing per sample. The private one clips, sums, adds ChaCha20 noise and
//! divides. Left out of both is what the device takes no part in: sampling, upload, the ledger's two fsyncs.

mod check;
mod mlp;
mod products;
mod steps;
mod time;
mod workload;

pub use check::StepCheck;
pub use dp_burn::profile::{Span, Timing};
pub use products::{ProductError, ProductRow, against_gemm};
pub use steps::{StepError, Steps};
pub use time::{Pair, median, median_ratio};
pub use workload::Workload;
