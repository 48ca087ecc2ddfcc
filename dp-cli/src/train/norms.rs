//! How the norms of Linear layers are taken: as asked, or by what the device is measured to reach.

use dp_kernels::{Backend, Ceilings, LinearNorm, Planner};

use crate::args;
use crate::error::Failure;

/// The planner of a run, and what was asked of it.
#[derive(Clone, Copy, Debug)]
pub struct Norms {
    /// Chooses a layer's way.
    pub planner: Planner,
    /// Anything but `Auto` overrides it.
    pub asked: LinearNorm,
}

impl Norms {
    /// Measures the device where the choice needs it: about a second, once for each start.
    ///
    /// The choice changes time and never the guarantee, whose share for rounding covers either way: a run that is resumed may
    /// choose otherwise.
    ///
    /// # Errors
    /// The device failed while it was measured.
    pub fn new(asked: args::Norms, private: bool, backend: &Backend) -> Result<Self, Failure> {
        let (asked, planner) = match asked {
            args::Norms::Gram => (LinearNorm::Gram, Planner::by_rule()),
            args::Norms::Materialised => (LinearNorm::Materialised, Planner::by_rule()),
            args::Norms::Rule => (LinearNorm::Auto, Planner::by_rule()),
            args::Norms::Measured if !private => (LinearNorm::Auto, Planner::by_rule()),
            args::Norms::Measured => {
                let ceilings = Ceilings::measure(backend)?;
                eprintln!("dpcube: the device {ceilings}");
                (LinearNorm::Auto, Planner::measured(ceilings))
            }
        };
        Ok(Self { planner, asked })
    }
}
