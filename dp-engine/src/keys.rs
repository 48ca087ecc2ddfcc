//! Secret keys of one process start.

use std::fmt;

use dp_core::ledger::ProcessId;
use dp_core::noise::{GaussianDraw, Generator, Key};
use zeroize::Zeroizing;

use crate::ledger::Reservation;

/// The operating system's generator failed, or a reservation came from elsewhere.
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
    /// Identity of this start, for the ledger; not a secret.
    pub process: ProcessId,
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
            process,
        })
    }
}

/// The key that noise is drawn from. It can be read only with a [`Reservation`] of the same process start.
///
/// ```
/// # use dp_engine::{keys::{KeyError, NoiseKey, StepNoise}, ledger::Reservation};
/// fn noise<'a>(key: &'a NoiseKey, paid: &'a Reservation) -> Result<StepNoise<'a>, KeyError> {
///     key.for_step(paid)
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
    /// What draws the noise of the reserved step.
    ///
    /// # Errors
    /// [`KeyError::OtherStart`] if the reservation was made under other keys.
    ///
    /// # Privacy
    /// A noised value needs this, this needs a reservation, and a reservation is durable: so nothing can be
    /// released that the ledger does not count.
    pub fn for_step<'a>(&'a self, reservation: &'a Reservation) -> Result<StepNoise<'a>, KeyError> {
        let step = reservation.step();
        if *reservation.process() != self.process {
            return Err(KeyError::OtherStart { step });
        }
        Ok(StepNoise {
            key: &self.key,
            step,
            std: reservation.charge().noise_std(),
        })
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

/// Everything that draws the noise of one reserved step.
#[derive(Clone, Copy)]
pub struct StepNoise<'a> {
    key: &'a Key,
    step: u64,
    std: f64,
}

impl<'a> StepNoise<'a> {
    /// The key.
    #[must_use]
    pub fn key(&self) -> &'a Key {
        self.key
    }

    /// What draws the noise of a whole tensor, by ChaCha20.
    ///
    /// # Privacy
    /// `tensor` must be a number of its own for each tensor that the step releases: two with one number get the same noise, which a
    /// difference takes away.
    #[must_use]
    pub fn draw(&self, tensor: u32) -> GaussianDraw<'a> {
        GaussianDraw {
            first_element: 0,
            std: self.std_f32(),
            key: self.key,
            generator: Generator::ChaCha20,
            step: self.step,
            tensor,
        }
    }

    /// The step, part of the noise counter.
    #[must_use]
    pub fn step(&self) -> u64 {
        self.step
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
            "StepNoise(step {}, std {}, secret key)",
            self.step, self.std
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
