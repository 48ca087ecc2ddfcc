//! Who takes part in a step. The sampler and the accountant must agree: each sampler says which
//! event may account for it.

mod choice;
mod poisson;

pub use choice::RecordChoice;
pub use poisson::{Inclusions, PoissonSampler, SamplingError};
