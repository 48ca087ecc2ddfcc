//! The whole training step, private and not, as groups of the suite.

use std::cell::RefCell;

use burn::tensor::Device;
use dp_bench::{Bench, BenchError, Buffer, Built, Check, Extent, Group, Op, Place};
use dp_bench_step::{StepError, Steps, Workload};
use dp_burn::DeviceName;
use dp_kernels::Planner;

use crate::error::Failure;

/// The steps of an extent, on this device.
///
/// # Errors
/// The device can't be opened.
pub fn groups(extent: Extent, device: DeviceName) -> Result<Vec<Box<dyn Group>>, Failure> {
    let workloads: &[Workload] = match extent {
        Extent::Quick => &[Workload::Mlp, Workload::Tiny],
        Extent::Full => &Workload::ALL,
    };
    let device = dp_burn::open(device)?;
    let group =
        |workload: &Workload| -> Box<dyn Group> { Box::new(Step::new(*workload, device.clone())) };
    Ok(workloads.iter().map(group).collect())
}

struct Step {
    place: Place,
    workload: Workload,
    device: Device,
}

const ORDINARY: usize = 0;
const PRIVATE: usize = 1;
/// The largest relative error of a gradient, and of a clipped norm.
const BUDGET: f64 = 1e-4;
/// f32 copies of each parameter on the device at most: two models with gradient and two moments, and an update's.
const COPIES: u64 = 10;

impl Step {
    fn new(workload: Workload, device: Device) -> Self {
        let (b, t) = (workload.examples(), workload.tokens());
        Self {
            place: Place {
                model: workload.name().to_owned(),
                layer: "step".to_owned(),
                dtype: "f32",
                shape: format!("B {b} T {t}, {} parameters", workload.parameters()),
                b: b as u64,
                t: t as u64,
                count: 0,
            },
            workload,
            device,
        }
    }
}

impl Group for Step {
    fn place(&self) -> &Place {
        &self.place
    }

    fn ops(&self) -> Vec<Op> {
        let parameters = self.workload.parameters() as u64;
        let flop = self.workload.product_flop();
        // AdamW reads gradient, parameter and two moments and writes three of them.
        let bytes = 7 * 4 * parameters;
        vec![
            Op::new("training_step ordinary", bytes, flop),
            Op {
                without_privacy: Some(ORDINARY),
                ..Op::new("training_step private", bytes, flop)
            },
        ]
    }

    fn buffers(&self) -> Vec<Buffer> {
        let parameters = self.workload.parameters() as u64;
        (0..COPIES)
            .map(|_| Buffer {
                elements: parameters,
                bytes: 4 * parameters,
            })
            .collect()
    }

    fn waits_itself(&self) -> bool {
        true
    }

    fn build(&self, _bench: &Bench, _sets: usize) -> Result<Box<dyn Built>, BenchError> {
        let steps = Steps::new(self.workload, &self.device, Planner::by_rule()).map_err(failed)?;
        Ok(Box::new(BuiltStep(RefCell::new(steps))))
    }
}

struct BuiltStep(RefCell<Steps>);

fn failed(error: StepError) -> BenchError {
    BenchError::Reference(error.to_string())
}

impl Built for BuiltStep {
    fn check(&self, bench: &Bench, op: usize) -> Result<Check, BenchError> {
        let found = self.0.borrow().check().map_err(failed)?;
        self.launch(bench, op, 0)?;
        let (error, what) = if op == PRIVATE {
            let what = "unclipped sums of all parameters against the ordinary gradients; \
                        one example's clipped norm against the clipping norm";
            (found.sum.max(found.clipped), what)
        } else {
            (
                found.sum,
                "the gradients of all parameters against the private sums, unclipped",
            )
        };
        Ok(Check {
            error,
            budget: BUDGET,
            what: what.to_owned(),
        })
    }

    fn launch(&self, _bench: &Bench, op: usize, _set: usize) -> Result<(), BenchError> {
        let mut steps = self.0.borrow_mut();
        let done = if op == PRIVATE {
            steps.private()
        } else {
            steps.ordinary()
        };
        done.map(|_| ()).map_err(failed)
    }
}
