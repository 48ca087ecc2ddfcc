//! AdamW, fused.

use crate::kernels::adamw::{Coefficients, Updated, step};
use crate::ops::{plain, wrap};
use burn::optim::{AdaptiveMomentumState, LearningRate, Optimizer};
use burn::tensor::{Device, Tensor};

/// AdamW (Loshchilov and Hutter 1711.05101) with one kernel a parameter, where burn's own takes a dozen
/// element-wise operations. Its state is that of burn's, and it goes wherever a burn optimizer goes:
/// `ModuleOptimizer::from(AdamW::default())`.
#[derive(Debug, Clone, PartialEq)]
pub struct AdamW {
    /// Decay of the first moment.
    pub beta_1: f32,
    /// Decay of the second moment. 0.99 suits runs of a few hundred steps.
    pub beta_2: f32,
    /// Added to the root of the second moment.
    pub epsilon: f32,
    /// Decoupled weight decay, times the learning rate at each step.
    pub weight_decay: f32,
}

impl Default for AdamW {
    fn default() -> Self {
        Self {
            beta_1: 0.9,
            beta_2: 0.999,
            epsilon: 1e-8,
            weight_decay: 1e-4,
        }
    }
}

impl Optimizer for AdamW {
    type State<const D: usize> = AdaptiveMomentumState<D>;

    fn step<const D: usize>(
        &self,
        rate: LearningRate,
        tensor: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        let (time, moment_1, moment_2) = match state {
            Some(state) => (state.time + 1, state.moment_1, state.moment_2),
            None => (1, gradient.zeros_like(), gradient.zeros_like()),
        };
        let unbias = |beta: f32| 1.0 / (1.0 - f64::from(beta).powf(time as f64));
        let coefficients = Coefficients {
            rate: rate as f32,
            decay: (rate * f64::from(self.weight_decay)) as f32,
            beta_1: self.beta_1,
            beta_2: self.beta_2,
            unbias_1: unbias(self.beta_1) as f32,
            unbias_2: unbias(self.beta_2) as f32,
            epsilon: self.epsilon,
        };
        let moved = Updated {
            parameter: plain(tensor),
            moment_1: plain(moment_1),
            moment_2: plain(moment_2),
        };
        let moved = step(moved, &plain(gradient), &coefficients);
        let state = AdaptiveMomentumState::new(time, wrap(moved.moment_1), wrap(moved.moment_2));
        (wrap(moved.parameter), Some(state))
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        state.to_device(device)
    }
}
