//! Secret keys of one process start.

use std::fmt;

use dp_core::clipping::NoisedCounts;
use dp_core::ledger::ProcessId;
use dp_core::noise::{GaussianDraw, Generator, Hardened, HardenedDraw, Key, RESERVED_TENSOR};
use zeroize::Zeroizing;

use crate::ledger::{Receipt, Reservation};

/// The tensor number of a step's counts, which no parameter can have.
const COUNTS_TENSOR: u32 = RESERVED_TENSOR - 1;

/// The operating system's generator failed, or what was paid for is not what is asked for.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// No randomness could be had.
    #[error(
        "the operating system's random generator failed ({source}): a private run cannot go on without it; check \
         that the machine or container offers one"
    )]
    NoRandomness {
        /// What the system said.
        source: getrandom::Error,
    },
    /// The reservation was made by another process start, which had other keys.
    #[error(
        "step {step} was reserved by another process start: its noise must come from the keys that the ledger was \
         opened with"
    )]
    OtherStart {
        /// Step of the reservation.
        step: u64,
    },
    /// A hardened plan has less noise than the step was charged for.
    #[error(
        "a hardened plan of noise multiplier {multiplier} and deviation {std}, where the step was charged for \
         {charged_multiplier} and {charged_std}: plan for the charge's noise multiplier and a sensitivity of clip (1 + eta)"
    )]
    WeakPlan {
        /// The plan's noise multiplier.
        multiplier: f64,
        /// Its noise's parameter, in the sum's unit.
        std: f64,
        /// The charge's noise multiplier.
        charged_multiplier: f64,
        /// Its standard deviation.
        charged_std: f64,
    },
}

/// The secrets of one process start: two independent keys from the operating system, and a public identity.
///
/// # Privacy
/// Drawn anew at every start, never written anywhere, wiped on drop. So a resumed run repeats neither noise nor
/// sample, whatever step it resumes from. The two keys are independent: who learns the sample by some leak
/// learns nothing of the noise.
#[derive(Debug)]
pub struct RunKeys {
    /// Key of the noise; opened by a [`Reservation`] only.
    pub noise: NoiseKey,
    /// Key of the Poisson sample.
    pub sampling: SamplingKey,
    /// Identity of this start, for its ledger.
    pub process: ProcessStart,
}

/// Identity of a process start, not a secret, and the right to open one ledger.
///
/// # Privacy
/// Two ledgers under one start's keys would each reserve the same steps, and their noise would be the same. So
/// [`LedgerFile::create`](crate::ledger::LedgerFile::create) and [`open`](crate::ledger::LedgerFile::open) take it by value.
///
/// ```compile_fail,E0382
/// # use dp_core::ledger::Header;
/// # use dp_engine::{keys::{KeyError, RunKeys}, ledger::{Budget, LedgerFile}};
/// # fn two(header: &Header, budget: Budget) -> Result<(), KeyError> {
/// let keys = RunKeys::generate()?;
/// LedgerFile::create("one".as_ref(), header, budget, keys.process).unwrap();
/// LedgerFile::create("two".as_ref(), header, budget, keys.process).unwrap(); // moved by the first
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ProcessStart(ProcessId);

impl ProcessStart {
    /// The identity, as the ledger notes it.
    #[must_use]
    pub fn id(&self) -> &ProcessId {
        &self.0
    }
}

impl RunKeys {
    /// Draws the keys of this process start.
    ///
    /// # Errors
    /// [`KeyError::NoRandomness`].
    pub fn generate() -> Result<Self, KeyError> {
        let mut process = [0; 16];
        getrandom::fill(&mut process).map_err(|source| KeyError::NoRandomness { source })?;
        Ok(Self {
            noise: NoiseKey {
                key: random_key()?,
                process,
            },
            sampling: SamplingKey { key: random_key()? },
            process: ProcessStart(process),
        })
    }
}

/// The key that noise is drawn from. It can be read only with a [`Reservation`] of the same process start.
///
/// ```
/// # use dp_engine::{keys::{KeyError, NoiseKey, StepNoise}, ledger::Reservation};
/// fn noise(key: &NoiseKey, paid: Reservation) -> Result<StepNoise<'_>, KeyError> {
///     let (noise, _receipt) = key.for_step(paid)?;
///     Ok(noise)
/// }
/// ```
/// ```compile_fail,E0616
/// # use dp_engine::keys::NoiseKey;
/// fn unpaid(key: &NoiseKey) -> &dp_core::noise::Key {
///     &key.key // private
/// }
/// ```
pub struct NoiseKey {
    key: Key,
    process: ProcessId,
}

impl NoiseKey {
    /// What draws the noise of the reserved step, and what is left of the reservation, for
    /// [`LedgerFile::commit`](crate::ledger::LedgerFile::commit).
    ///
    /// # Errors
    /// [`KeyError::OtherStart`] if the reservation was made under other keys. It stays spent then.
    ///
    /// # Privacy
    /// A noised value needs this, this uses up a reservation, and a reservation is durable: so nothing can be
    /// released that the ledger does not count, nor twice.
    pub fn for_step(&self, paid: Reservation) -> Result<(StepNoise<'_>, Receipt), KeyError> {
        let step = paid.step();
        if *paid.process() != self.process {
            return Err(KeyError::OtherStart { step });
        }
        let charge = paid.charge();
        let noise = StepNoise {
            key: &self.key,
            step,
            clip: charge.clip,
            multiplier: charge.noise_multiplier(),
            std: charge.noise_std(),
            tensor: 0,
            counts: charge.counts,
        };
        Ok((noise, paid.into()))
    }
}

impl fmt::Debug for NoiseKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NoiseKey(secret)")
    }
}

/// The key that the Poisson sample is drawn from.
pub struct SamplingKey {
    key: Key,
}

impl SamplingKey {
    pub(crate) fn into_key(self) -> Key {
        self.key
    }
}

impl fmt::Debug for SamplingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SamplingKey(secret)")
    }
}

/// Everything that draws the noise of one reserved step, once.
///
/// # Privacy
/// A release takes it by value, so a step has one; and it numbers the tensors itself, so no two of them get the same noise, which a
/// difference would take away. The counts that the step was charged with have a number of their own and one draw, of their own deviation.
///
/// ```compile_fail,E0382
/// # use dp_engine::keys::StepNoise;
/// fn twice(release: impl Fn(StepNoise<'_>), noise: StepNoise<'_>) {
///     release(noise);
///     release(noise); // moved by the first
/// }
/// ```
/// ```compile_fail,E0599
/// # use dp_engine::keys::StepNoise;
/// fn copied<'a>(noise: &StepNoise<'a>) -> StepNoise<'a> {
///     StepNoise::clone(noise) // there is one
/// }
/// ```
#[must_use = "a release needs it"]
pub struct StepNoise<'a> {
    key: &'a Key,
    step: u64,
    clip: f64,
    multiplier: f64,
    std: f64,
    /// Number of the next tensor.
    tensor: u32,
    /// What was charged with the sum and has no noise yet.
    counts: Option<NoisedCounts>,
}

impl<'a> StepNoise<'a> {
    /// The noise of the next tensor, the whole of it: tensors are numbered from 0 in the order of the calls.
    ///
    /// [`Generator::ChaCha20`] is the one for private data. After 2^32 - 2 tensors every draw has the reserved number, which whatever noises a
    /// release refuses.
    pub fn draw(&mut self, generator: Generator) -> GaussianDraw<'a> {
        GaussianDraw {
            first_element: 0,
            std: self.std_f32(),
            key: self.key,
            generator,
            step: self.step,
            tensor: self.next_tensor(),
        }
    }

    /// The hardened mode's noise of the next tensor, the whole of it, by `plan`, which is that of the whole release: numbered as with
    /// [`draw`](Self::draw), in one row.
    ///
    /// # Errors
    /// [`KeyError::WeakPlan`] if `plan` has a smaller noise multiplier than the step was charged for, relative to its own sensitivity, or less noise. No
    /// number is used up then.
    ///
    /// # Privacy
    /// The charge's Gaussian event is the release's up to [`Hardened::distance_from_gaussian`], for sums of examples that were clipped to
    /// [`Hardened::clip`] and have no more elements than were planned for.
    ///
    /// **The run's delta is larger than its statement says.** After `steps` hardened steps, those of earlier runs that count included, what holds at the
    /// stated epsilon is the stated delta plus `(1 + e^epsilon) plan.distance_from_gaussian(steps)`, that is
    /// `(1 + e^epsilon) steps sqrt(elements) / (12 sigma^2)`, sigma in grid steps (docs/proofs/discrete-noise.md). Neither the ledger's cap nor the
    /// privacy statement adds that term: both have the delta of the charge's event. Who promises delta must make the run's
    /// [`Plan`](crate::plan::Plan) with a delta that is smaller by the term.
    ///
    /// **The clipping norm is the hardened plan's.** Examples must be clipped to [`Hardened::clip`], and not to [`clip`](Self::clip), the charge's, which
    /// leaves no room for the grid's rounding. Nothing here sees what they were clipped to.
    pub fn draw_hardened(&mut self, plan: Hardened) -> Result<HardenedDraw<'a>, KeyError> {
        let (multiplier, std) = (plan.noise_multiplier(), plan.std());
        if !(multiplier >= self.multiplier && std >= self.std) {
            return Err(KeyError::WeakPlan {
                multiplier,
                std,
                charged_multiplier: self.multiplier,
                charged_std: self.std,
            });
        }
        Ok(HardenedDraw {
            first_element: 0,
            plan,
            key: self.key,
            step: self.step,
            tensor: self.next_tensor(),
        })
    }

    fn next_tensor(&mut self) -> u32 {
        let tensor = self.tensor;
        self.tensor = tensor.saturating_add(1);
        if tensor < COUNTS_TENSOR {
            tensor
        } else {
            RESERVED_TENSOR
        }
    }

    /// The noise of the counts that the step was charged with, once: `None` where it was charged for a sum alone, and from the second call on.
    ///
    /// Its standard deviation is that of the charge's [`counts`](dp_core::ledger::Charge::counts), and its tensor number one that
    /// [`draw`](Self::draw) never gives.
    ///
    /// # Privacy
    /// The counts must be of the batch whose sum this step's other noise is for: the charge is for both together
    /// (docs/proofs/clipping-quantile.md).
    pub fn draw_counts(&mut self, generator: Generator) -> Option<GaussianDraw<'a>> {
        let counts = self.counts.take()?;
        Some(GaussianDraw {
            first_element: 0,
            std: counts.std(),
            key: self.key,
            generator,
            step: self.step,
            tensor: COUNTS_TENSOR,
        })
    }

    /// The noise of all tensors that are left, one by one as [`draw`](Self::draw) gives it: without an end, for a launcher that takes as many as
    /// there are tensors.
    pub fn draws(mut self, generator: Generator) -> impl Iterator<Item = GaussianDraw<'a>> {
        std::iter::repeat_with(move || self.draw(generator))
    }

    /// The step, part of the noise counter.
    #[must_use]
    pub fn step(&self) -> u64 {
        self.step
    }

    /// The clipping norm that the step was charged for.
    #[must_use]
    pub fn clip(&self) -> f64 {
        self.clip
    }

    /// The counts that the step was charged with and whose noise was not drawn yet.
    #[must_use]
    pub fn counts(&self) -> Option<NoisedCounts> {
        self.counts
    }

    /// Standard deviation on each coordinate of the clipped sum.
    #[must_use]
    pub fn std(&self) -> f64 {
        self.std
    }

    /// [`StepNoise::std`] rounded up to f32.
    #[must_use]
    pub fn std_f32(&self) -> f32 {
        let nearest = self.std as f32;
        if f64::from(nearest) < self.std {
            nearest.next_up()
        } else {
            nearest
        }
    }
}

impl fmt::Debug for StepNoise<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "StepNoise(step {}, std {}, tensor {}, secret key)",
            self.step, self.std, self.tensor
        )
    }
}

fn random_key() -> Result<Key, KeyError> {
    let mut bytes = Zeroizing::new([0u8; 32]);
    getrandom::fill(bytes.as_mut_slice()).map_err(|source| KeyError::NoRandomness { source })?;
    let mut words = Zeroizing::new([0u32; 8]);
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<4>().0) {
        *word = u32::from_le_bytes(*bytes);
    }
    Ok(Key::new(*words))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However many parameters there are, none has the number of the counts.
    #[test]
    fn the_counts_number_is_no_parameters() {
        let key = Key::new([7; 8]);
        let mut noise = StepNoise {
            key: &key,
            step: 0,
            clip: 1.0,
            multiplier: 1.0,
            std: 1.0,
            tensor: u32::MAX - 3,
            counts: NoisedCounts::new(1, 5.0).ok(),
        };
        let numbers = [(); 5].map(|()| noise.draw(Generator::ChaCha20).tensor);
        let reserved = u32::MAX;
        assert_eq!(
            numbers,
            [reserved - 3, reserved - 2, reserved, reserved, reserved]
        );
        let counts = noise.draw_counts(Generator::ChaCha20).unwrap();
        assert_eq!((counts.tensor, counts.std), (reserved - 1, 5.0));
    }
}
