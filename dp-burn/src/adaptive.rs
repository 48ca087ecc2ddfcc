//! A clipping norm that follows a quantile of the norms, inside the gradients that it clips.

use crate::error::PrivacyError;
use crate::kernels::settle;
use burn_cubecl::tensor::CubeTensor;
use cubecl::std::tensor::TensorHandle;
use dp_core::clipping::AdaptiveQuantile;
use dp_core::noise::Generator;
use dp_engine::keys::StepNoise;
use dp_kernels::{Launch, QuantileCounts};

/// The counts of a logical batch, which nobody can read before they are noised, and the policy that makes the next norm of them.
pub(crate) struct AdaptiveClip {
    policy: AdaptiveQuantile,
    counts: Counts,
}

enum Counts {
    /// Of the batch that is being added up.
    Private(QuantileCounts),
    /// Of the batch that was released, with their noise.
    Noised(TensorHandle),
    /// Their release failed.
    Lost,
}

impl AdaptiveClip {
    /// # Errors
    /// [`PrivacyError::Groups`] for a policy of several groups.
    pub(crate) fn new(launch: &Launch<'_>, policy: AdaptiveQuantile) -> Result<Self, PrivacyError> {
        if policy.groups() != 1 {
            return Err(PrivacyError::Groups(policy.groups()));
        }
        let counts = Counts::Private(QuantileCounts::new(launch, policy)?);
        Ok(Self { policy, counts })
    }

    /// Counts a microbatch's examples, as the clip factors left them: `norms_sq`, `mask` and `factors [B]`.
    ///
    /// # Errors
    /// [`PrivacyError::NextClip`] where the counts are released already, a kernel's refusal.
    pub(crate) fn add(
        &mut self,
        launch: &Launch<'_>,
        norms_sq: &CubeTensor,
        mask: &TensorHandle,
        factors: &CubeTensor,
        clip: f32,
    ) -> Result<(), PrivacyError> {
        let Counts::Private(counts) = &mut self.counts else {
            return Err(PrivacyError::NextClip);
        };
        let (norms, factors) = (one_group(norms_sq), one_group(factors));
        counts.add(launch, &norms, mask, &factors, &[clip])?;
        settle("quantile counts", norms_sq);
        Ok(())
    }

    /// Adds the noise that was charged for the counts.
    ///
    /// # Errors
    /// [`PrivacyError::Counts`] unless the step was charged with these counts, [`PrivacyError::NextClip`] where they are released already.
    pub(crate) fn release(
        &mut self,
        launch: &Launch<'_>,
        noise: &mut StepNoise<'_>,
        generator: Generator,
    ) -> Result<(), PrivacyError> {
        if !matches!(self.counts, Counts::Private(_)) {
            return Err(PrivacyError::NextClip);
        }
        let (charged, counted) = (noise.counts(), Some(self.policy.counts()));
        let refuse = PrivacyError::Counts { charged, counted };
        if charged != counted {
            return Err(refuse);
        }
        let draw = noise.draw_counts(generator).ok_or(refuse)?;
        if let Counts::Private(counts) = std::mem::replace(&mut self.counts, Counts::Lost) {
            self.counts = Counts::Noised(counts.release(launch, draw)?);
        }
        Ok(())
    }

    /// The clipping norm after `clip`, by the released counts; their buffer takes the counts of the next batch. Waits for the device.
    ///
    /// # Errors
    /// [`PrivacyError::NextClip`] where nothing was released since the last call, a device that fails.
    pub(crate) fn next_clip(
        &mut self,
        launch: &Launch<'_>,
        clip: f32,
    ) -> Result<f32, PrivacyError> {
        let Counts::Noised(noised) = &self.counts else {
            return Err(PrivacyError::NextClip);
        };
        let noised = noised.clone();
        let values = launch.read(&noised)?;
        self.counts = Counts::Private(QuantileCounts::in_buffer(launch, self.policy, noised)?);
        Ok(self.policy.next_clip(clip, values[0]))
    }
}

/// `[B]` as the one row of `[1, B]`; it shares the buffer.
fn one_group(tensor: &CubeTensor) -> TensorHandle {
    let TensorHandle { handle, dtype, .. } = tensor.clone().into();
    let examples = tensor.meta.shape().num_elements();
    TensorHandle::new_contiguous(vec![1, examples], handle, dtype)
}
