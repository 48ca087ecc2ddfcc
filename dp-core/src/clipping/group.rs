//! A clipping norm for each group of parameters.

use super::{CLIP_SLACK, Clipping, ClippingError};

/// The most groups a policy may have: 2^16.
pub const MAX_GROUPS: usize = 1 << 16;

/// Clips each group of an example's gradient to a norm of its own: per layer where each layer is a group.
///
/// # Privacy
/// Under add/remove adjacency of one example the sum over all groups moves by at most
/// [`sensitivity`](Self::sensitivity)` (1 + 2^-20)` in L2 norm, the root of the sum of the groups' squared clipping norms:
/// noise for all groups is scaled to that. An example that is refused in one group is refused in all. The proof is in
/// docs/proofs/clipping-groups.md.
///
/// # References
/// McMahan, Ramage, Talwar and Zhang, "Learning differentially private recurrent language models", 1710.06963 (per layer);
/// Bu et al., 2206.07136 (automatic).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GroupClipping<'a> {
    clips: &'a [f32],
    gamma: Option<f32>,
}

impl<'a> GroupClipping<'a> {
    /// `min(1, clips[g] / |g_g|)` in group `g`.
    ///
    /// # Errors
    /// [`ClippingError::Groups`] unless there are 1 to [`MAX_GROUPS`] groups, [`ClippingError::Clip`] for a clipping norm
    /// that [`Clipping::validate`] refuses.
    pub fn flat(clips: &'a [f32]) -> Result<Self, ClippingError> {
        Self { clips, gamma: None }.validated()
    }

    /// `clips[g] / (|g_g| + gamma)` in group `g`: automatic clipping (AUTO-S).
    ///
    /// # Errors
    /// As [`flat`](Self::flat), and [`ClippingError::Gamma`].
    pub fn automatic(clips: &'a [f32], gamma: f32) -> Result<Self, ClippingError> {
        let gamma = Some(gamma);
        Self { clips, gamma }.validated()
    }

    fn validated(self) -> Result<Self, ClippingError> {
        let groups = self.clips.len();
        if !(1..=MAX_GROUPS).contains(&groups) {
            return Err(ClippingError::Groups { groups });
        }
        (0..groups).try_for_each(|group| self.group(group).validate())?;
        Ok(self)
    }

    /// The clipping norms, one for each group.
    pub const fn clips(&self) -> &'a [f32] {
        self.clips
    }

    /// The stability constant of automatic clipping; none where it is flat.
    pub const fn gamma(&self) -> Option<f32> {
        self.gamma
    }

    /// `sqrt(sum_g clips[g]^2)`: by how much one example moves the sum over all groups, up to
    /// [`CLIP_SLACK`].
    ///
    /// # Precision
    /// Rounded up.
    pub fn sensitivity(&self) -> f64 {
        let squares: f64 = self.clips.iter().map(|c| square(*c)).sum();
        // At most 2^16 roundings of 2^-53, and the root's.
        libm::sqrt(squares) * (1.0 + 1e-11)
    }

    /// The policy of one group; one that clips to 0 where there is no such group.
    pub(crate) fn group(&self, group: usize) -> Clipping {
        let clip = self.clips.get(group).copied().unwrap_or(0.0);
        match self.gamma {
            None => Clipping::Flat { clip },
            Some(gamma) => Clipping::Automatic { clip, gamma },
        }
    }
}

/// Cuts the clipping norm `total` into one for each group, in proportion to `weights`: `total w_g / |w|`.
///
/// Equal weights are the usual choice; the square root of a group's number of parameters is another. A group of weight
/// 0 would get a clipping norm of 0, which [`GroupClipping`] refuses.
///
/// # Errors
/// [`ClippingError::Groups`] where `weights` and `clips` differ in length or are empty, [`ClippingError::Weight`] for a weight
/// that is negative or not finite, or where all are 0. `clips` is then as it was.
///
/// # Privacy
/// [`GroupClipping::sensitivity`] of the result is at most `total`.
///
/// # Precision
/// Each clipping norm is rounded down, by at most 2^-22 of it.
pub fn split_clip(total: f32, weights: &[f32], clips: &mut [f32]) -> Result<(), ClippingError> {
    let groups = weights.len();
    if groups != clips.len() || !(1..=MAX_GROUPS).contains(&groups) {
        return Err(ClippingError::Groups { groups });
    }
    let refused = |weight: f32| !(weight >= 0.0 && weight.is_finite());
    if let Some(group) = weights.iter().position(|w| refused(*w)) {
        let weight = weights[group];
        return Err(ClippingError::Weight { group, weight });
    }
    let squares: f64 = weights.iter().map(|w| square(*w)).sum();
    if squares == 0.0 {
        let (group, weight) = (0, 0.0);
        return Err(ClippingError::Weight { group, weight });
    }
    // The rounding to f32 is 2^-24 of it, those of f64 are far below: the margin covers both.
    let scale = f64::from(total) / libm::sqrt(squares) * (1.0 - CLIP_SLACK / 6.0);
    for (clip, weight) in clips.iter_mut().zip(weights) {
        *clip = (f64::from(*weight) * scale) as f32;
    }
    Ok(())
}

fn square(x: f32) -> f64 {
    f64::from(x) * f64::from(x)
}
