//! Whether the private gradients are right, on the very model and batch that is timed.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};
use dp_burn::{PrivateGradients, Tape};
use dp_core::clipping::{Clipping, MAX_CLIP};
use dp_kernels::{LinearNorm, Planner};

use crate::steps::{Loss, StepError};

/// What the private gradients were compared with. Both errors are relative.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepCheck {
    /// Unclipped, the private sum of each parameter against the ordinary gradient of the summed loss: the largest difference over
    /// the parameter's largest element.
    pub sum: f64,
    /// One example alone, clipped to half of its norm: how far its clipped gradient is from that. Every layer's norm is in it.
    pub clipped: f64,
}

/// Compares the gradients of `model` under `loss`, a batch of `examples`; the private ones are taken as `planner` says.
pub(crate) fn check<M: Module>(
    model: &M,
    loss: &Loss<M>,
    examples: usize,
    planner: Planner,
    device: &Device,
) -> Result<StepCheck, StepError> {
    let clipped = |mask: &[f32], clip| clipped(model, loss, mask, clip, planner, device);
    let all = vec![1.0; examples];
    let private = clipped(&all, MAX_CLIP)?;
    let mut tape = Tape::ordinary(device);
    let ordinary = (loss)(model, &mut tape).backward();
    let ordinary = values(model, &GradientsParams::from_grads(ordinary, model))?;
    let mut sum: f64 = 0.0;
    for (private, ordinary) in private.iter().zip(&ordinary) {
        sum = sum.max(difference(private, ordinary));
    }

    let mut one = vec![0.0; examples];
    one[examples / 2] = 1.0;
    let norm = norm(&clipped(&one, MAX_CLIP)?);
    let half = (norm / 2.0) as f32;
    let shorter = self::norm(&clipped(&one, half)?);
    let clipped = (shorter / f64::from(half) - 1.0).abs();
    Ok(StepCheck {
        sum,
        // Of a gradient of zeros, or one that is not finite, nothing is known.
        clipped: if clipped.is_nan() {
            f64::INFINITY
        } else {
            clipped
        },
    })
}

/// The clipped sum of the examples that `mask` leaves, without noise; a slice a parameter.
fn clipped<M: Module>(
    model: &M,
    loss: &Loss<M>,
    mask: &[f32],
    clip: f32,
    planner: Planner,
    device: &Device,
) -> Result<Vec<Vec<f32>>, StepError> {
    let mut sums =
        PrivateGradients::new(model, Clipping::Flat { clip }).planned(planner, LinearNorm::Auto);
    let mut tape = Tape::private(device);
    let loss = (loss)(model, &mut tape);
    let mask = TensorData::new(mask.to_vec(), [mask.len()]);
    sums.add(tape, loss, Tensor::from_data(mask, device))?;
    values(model, &sums.without_noise_not_private(1.0))
}

/// The gradients on the host, in the order of the model's parameters.
fn values<M: Module>(model: &M, gradients: &GradientsParams) -> Result<Vec<Vec<f32>>, StepError> {
    let mut reader = Reader {
        gradients,
        values: Vec::new(),
        failed: None,
    };
    model.visit(&mut reader);
    match reader.failed {
        Some(reason) => Err(StepError::Device(reason)),
        None => Ok(reader.values),
    }
}

struct Reader<'a> {
    gradients: &'a GradientsParams,
    values: Vec<Vec<f32>>,
    failed: Option<String>,
}

impl ModuleVisitor for Reader<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(gradient) = self.gradients.get::<D>(param.id) else {
            self.failed = Some(format!("parameter {} has no gradient", param.id));
            return;
        };
        match gradient.into_data().try_to_vec() {
            Ok(values) => self.values.push(values),
            Err(error) => self.failed = Some(format!("{error:?}")),
        }
    }
}

/// The largest difference over the largest element; infinite where one is not a number.
fn difference(got: &[f32], want: &[f32]) -> f64 {
    let scale = want.iter().map(|x| f64::from(x.abs())).fold(0.0, f64::max);
    let worst = got
        .iter()
        .zip(want)
        .map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs())
        .map(|error| if error.is_nan() { f64::INFINITY } else { error })
        .fold(0.0, f64::max);
    if worst == 0.0 { 0.0 } else { worst / scale }
}

fn norm(gradients: &[Vec<f32>]) -> f64 {
    let squares = gradients
        .iter()
        .flatten()
        .map(|x| f64::from(*x) * f64::from(*x));
    squares.sum::<f64>().sqrt()
}

#[cfg(all(test, feature = "cpu"))]
mod tests {
    use burn::tensor::Device;
    use dp_kernels::{Ceilings, Planner, Rates};

    use crate::{Steps, Workload};

    /// Keeps the gradients of every Linear with tokens.
    fn keeps_all() -> Planner {
        let slow_but_for_keeping = Rates {
            read_bytes: 1e12,
            keep_bytes: 1e12,
            gram_flop: 1.0,
            materialised_flop: 2.0,
            sum_flop: 1.0,
        };
        Planner::measured(Ceilings::new(slow_but_for_keeping).unwrap())
            .with_memory_to_keep(u64::MAX)
    }

    /// Before the first step and after a few: a wrong norm, sum or factor of any layer would show.
    #[test]
    fn the_private_gradients_are_right() {
        for (workload, planner) in [
            (Workload::Mlp, Planner::by_rule()),
            (Workload::Tiny, Planner::by_rule()),
            (Workload::Tiny, keeps_all()),
        ] {
            let mut steps = Steps::new(workload, &Device::cpu(), planner).unwrap();
            for _ in 0..2 {
                let found = steps.check().unwrap();
                assert!(
                    found.sum <= 1e-4 && found.clipped <= 1e-4,
                    "{workload}: {found:?}"
                );
                steps.private().unwrap();
            }
            let kept = steps.plans().iter().all(|plan| plan.kept.is_some());
            assert_eq!(kept, planner == keeps_all(), "{workload}");
        }
    }
}
