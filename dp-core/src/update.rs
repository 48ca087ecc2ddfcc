//! Optimizer rules that the private update fuses with the noise: what they are given, and what is refused.
//!
//! All of it is post-processing of the noised sum: no number here can cost privacy. The rules themselves are in
//! [`noised_update`](crate::reference::noised_update) and in the kernel of that name.

use core::fmt;

/// How a parameter `p` moves by the gradient `g = (sum + noise) / expected batch`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum UpdateRule {
    /// Stochastic gradient descent: `g += decay p; m = momentum m + g; p -= rate m`, with Nesterov `p -= rate (g + momentum m)`.
    Sgd {
        /// Learning rate, per step.
        rate: f32,
        /// Momentum, in [0, 1); with 0 no moment is kept.
        momentum: f32,
        /// Whether the momentum looks ahead (Nesterov 1983, in Sutskever et al.'s form).
        nesterov: bool,
        /// Weight decay, added to the gradient.
        weight_decay: f32,
    },
    /// AdamW: `m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; p = (1 - rate decay) p - rate m' / (sqrt(v') + epsilon)`
    /// with `m' = m / (1 - b1^time)`, `v' = v / (1 - b2^time)` (Loshchilov and Hutter 1711.05101).
    AdamW {
        /// Learning rate, per step.
        rate: f32,
        /// Decay of the first moment, in [0, 1).
        beta_1: f32,
        /// Decay of the second moment, in [0, 1).
        beta_2: f32,
        /// Added to the root of the second moment, positive.
        epsilon: f32,
        /// Decoupled weight decay, times the learning rate at each step.
        weight_decay: f32,
        /// The number of this step, from 1.
        time: u64,
    },
}

impl UpdateRule {
    /// Plain gradient descent: no momentum, no decay.
    pub const fn sgd(rate: f32) -> Self {
        Self::Sgd {
            rate,
            momentum: 0.0,
            nesterov: false,
            weight_decay: 0.0,
        }
    }

    /// How many moments the rule keeps: buffers of the parameter's size that start as zeros.
    pub const fn moments(self) -> usize {
        match self {
            Self::Sgd { momentum: 0.0, .. } => 0,
            Self::Sgd { .. } => 1,
            Self::AdamW { .. } => 2,
        }
    }

    /// The numbers of this step, for a gradient that is to be divided by `expected_batch`.
    ///
    /// # Errors
    /// [`UpdateError`] with the number that is out of range.
    pub fn coefficients(self, expected_batch: f64) -> Result<Coefficients, UpdateError> {
        let scale = (1.0 / expected_batch) as f32;
        if !(expected_batch > 0.0 && scale > 0.0 && scale.is_finite()) {
            return Err(UpdateError::ExpectedBatch { expected_batch });
        }
        let check = |name, value: f32, valid: bool| {
            let refused = UpdateError::Number { name, value };
            if valid { Ok(()) } else { Err(refused) }
        };
        let fraction = |x: f32| (0.0..1.0).contains(&x);
        let finite = |x: f32| x >= 0.0 && x.is_finite();
        match self {
            Self::Sgd {
                rate,
                momentum,
                nesterov: _,
                weight_decay,
            } => {
                check("rate", rate, finite(rate))?;
                check("momentum", momentum, fraction(momentum))?;
                check("weight_decay", weight_decay, finite(weight_decay))?;
                Ok(Coefficients {
                    scale,
                    rate,
                    decay: weight_decay,
                    beta_1: momentum,
                    ..Coefficients::default()
                })
            }
            Self::AdamW {
                rate,
                beta_1,
                beta_2,
                epsilon,
                weight_decay,
                time,
            } => {
                check("rate", rate, finite(rate))?;
                check("beta_1", beta_1, fraction(beta_1))?;
                check("beta_2", beta_2, fraction(beta_2))?;
                check("epsilon", epsilon, finite(epsilon) && epsilon > 0.0)?;
                check("weight_decay", weight_decay, finite(weight_decay))?;
                if time == 0 {
                    return Err(UpdateError::Time);
                }
                let unbias = |beta: f32| 1.0 / (1.0 - libm::pow(f64::from(beta), time as f64));
                Ok(Coefficients {
                    scale,
                    rate,
                    decay: (1.0 - f64::from(rate) * f64::from(weight_decay)) as f32,
                    beta_1,
                    beta_2,
                    unbias_1: (f64::from(rate) * unbias(beta_1)) as f32,
                    unbias_2: unbias(beta_2) as f32,
                    epsilon,
                })
            }
        }
    }
}

/// What a kernel is handed of an [`UpdateRule`]; a number that the rule does not have is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Coefficients {
    /// `1 / expected batch`.
    pub scale: f32,
    /// Learning rate.
    pub rate: f32,
    /// SGD: weight decay. AdamW: what is kept of a weight, `1 - rate decay`.
    pub decay: f32,
    /// SGD: momentum. AdamW: decay of the first moment.
    pub beta_1: f32,
    /// Decay of the second moment.
    pub beta_2: f32,
    /// `rate / (1 - beta_1^time)`.
    pub unbias_1: f32,
    /// `1 / (1 - beta_2^time)`.
    pub unbias_2: f32,
    /// Added to the root of the second moment.
    pub epsilon: f32,
}

/// An update with a number out of range; nothing has been written.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum UpdateError {
    /// The expected batch size is not positive, or its inverse no f32.
    ExpectedBatch {
        /// The value given.
        expected_batch: f64,
    },
    /// A number of the rule is out of range or not a number.
    Number {
        /// Which one.
        name: &'static str,
        /// The value given.
        value: f32,
    },
    /// AdamW counts its steps from 1.
    Time,
}

impl fmt::Display for UpdateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::ExpectedBatch { expected_batch } => write!(
                f,
                "expected batch size {expected_batch} is not positive and finite (it is q N, a constant)"
            ),
            Self::Number { name, value } => {
                write!(f, "the update's {name} {value} is out of range")
            }
            Self::Time => write!(f, "AdamW counts its steps from 1, not from 0"),
        }
    }
}

impl core::error::Error for UpdateError {}
