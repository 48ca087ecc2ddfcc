//! How the norms of Linear layers are taken, and whose gradients are kept: as asked, or by what the device is measured to reach.

use dp_burn::ModelConfig;
use dp_kernels::{Backend, Ceilings, LayerPlan, LayerShape, LinearNorm, Planner};

use crate::args::{self, Settings};
use crate::error::Failure;
use crate::output::note;

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
    /// The choice changes time and memory and never the guarantee, whose share for rounding covers every way: a run that is resumed may
    /// choose otherwise.
    ///
    /// # Errors
    /// The device failed while it was measured.
    pub fn new(
        asked: args::Norms,
        memory_to_keep: u64,
        private: bool,
        backend: &Backend,
    ) -> Result<Self, Failure> {
        let (asked, planner) = match asked {
            args::Norms::Gram => (LinearNorm::Gram, Planner::by_rule()),
            args::Norms::Materialised => (LinearNorm::Materialised, Planner::by_rule()),
            args::Norms::Rule => (LinearNorm::Auto, Planner::by_rule()),
            args::Norms::Measured if !private => (LinearNorm::Auto, Planner::by_rule()),
            args::Norms::Measured => {
                let ceilings = Ceilings::measure(backend)?;
                note!("dpcube: the device {ceilings}");
                (LinearNorm::Auto, Planner::measured(ceilings))
            }
        };
        Ok(Self {
            planner: planner.with_memory_to_keep(memory_to_keep),
            asked,
        })
    }

    /// What is chosen for the Linears of a model of `sizes` where a microbatch has so many units of so many rows, each different choice once: that of the
    /// sums of every microbatch, since all have these shapes.
    pub fn plans(&self, sizes: &ModelConfig, units: usize, rows_of_unit: usize) -> Vec<LayerPlan> {
        let (d, hidden) = (sizes.width, sizes.hidden);
        let of_block = [(d, 3 * d), (d, d), (d, hidden), (hidden, d)];
        let of_blocks = std::iter::repeat_n(of_block, sizes.layers).flatten();
        // In the order of the forward pass: where memory is short, the first of equal layers is kept.
        let shapes: Vec<_> = of_blocks
            .chain([(d, sizes.vocabulary)])
            .map(|(inputs, outputs)| LayerShape {
                examples: units,
                tokens: rows_of_unit * sizes.context,
                inputs,
                outputs,
                element_bytes: size_of::<f32>(),
            })
            .collect();
        let mut once = Vec::new();
        for plan in self.planner.plan_step(&shapes, self.asked) {
            if !once.contains(&plan) {
                once.push(plan);
            }
        }
        once
    }
}

/// MiB in which gradients may be kept where nobody said how much: of a model that this program trains few layers want as much.
const KEEP_MEMORY: u64 = 256;

/// Bytes of --keep-memory.
///
/// # Errors
/// Memory beside a way that keeps nothing, or more of it than can be addressed.
pub fn memory_to_keep(settings: &Settings) -> Result<u64, Failure> {
    let keeps = matches!(settings.norms, args::Norms::Measured | args::Norms::Rule);
    let mib = match (settings.norms, settings.keep_memory) {
        (args::Norms::Measured, None) => KEEP_MEMORY,
        (_, None) => 0,
        (_, Some(mib)) => mib,
    };
    if mib > 0 && !keeps {
        let way = format!("{:?}", settings.norms).to_lowercase();
        return Err(Failure::new(format!(
            "--keep-memory {mib} has no use beside --norms {way}, by which no layer keeps its gradients: leave one of the two out"
        )));
    }
    mib.checked_mul(1 << 20).ok_or_else(|| {
        Failure::new(format!(
            "--keep-memory {mib} MiB is more than can be addressed: give what the device has to spare"
        ))
    })
}
