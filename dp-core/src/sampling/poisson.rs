//! Poisson sampling: every record takes part independently, with the same probability.

use core::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::noise::chacha::block_words;
use crate::noise::{Key, RESERVED_TENSOR};

/// Includes each record in each step independently with probability `rate`.
///
/// A record is known by its identity, a number that stays with it: not by its position, so neither
/// the order of the data nor the presence of another record changes who takes part.
///
/// # Privacy
/// This is what the Poisson-subsampled Gaussian event accounts for, under add/remove adjacency
/// of one record. A shuffled or fixed-size batch is another mechanism and may not use that event.
/// The key must be secret: whoever knows it knows who took part.
///
/// # Stream
/// A sampling key is derived from the run's key with one ChaCha20 block, at the tensor number that
/// noise may not use: words 12 to 15 are `[0, 2^32 - 1, "samp", "ling"]` (little-endian ASCII), and
/// the block's words 0 to 7 are the sampling key. Under it, words 12 to 15 are `[(record / 8) low,
/// (record / 8) high, step low, step high]`, and record `r` takes words `2 (r % 8)` (low) and
/// `2 (r % 8) + 1` (high) as a 64-bit uniform.
///
/// # Precision
/// The uniform is compared with `floor(rate * 2^64)`: the probability is never above `rate`, and
/// below it by less than 2^-64.
///
/// # References
/// Chua et al., "How private are DP-SGD implementations?", 2403.17673.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PoissonSampler {
    rate: f64,
    threshold: Threshold,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Threshold {
    Everyone,
    Below(u64),
}

impl PoissonSampler {
    /// A sampler of the given rate.
    ///
    /// # Errors
    /// [`SamplingError::Rate`] unless `2^-64 <= rate <= 1`.
    pub fn new(rate: f64) -> Result<Self, SamplingError> {
        const TWO_64: f64 = 18_446_744_073_709_551_616.0;
        let threshold = if rate == 1.0 {
            Threshold::Everyone
        } else if rate < 1.0 && rate * TWO_64 >= 1.0 {
            // Exact: a power of two only moves the exponent, and the cast rounds down.
            Threshold::Below((rate * TWO_64) as u64)
        } else {
            return Err(SamplingError::Rate { rate });
        };
        Ok(Self { rate, threshold })
    }

    /// The sampling rate to account for.
    pub const fn rate(&self) -> f64 {
        self.rate
    }

    /// Whether a record takes part in a step.
    ///
    /// Derives the sampling key anew; [`Self::inclusions`] does it once for many records.
    pub fn includes(&self, key: &Key, step: u64, record: u64) -> bool {
        self.inclusions(key, step).includes(record)
    }

    /// The inclusions of one step, for many records.
    pub fn inclusions(&self, key: &Key, step: u64) -> Inclusions {
        Inclusions {
            threshold: self.threshold,
            key: sampling_key(key),
            step,
            group: 0,
            words: None,
        }
    }
}

/// Who takes part in one step. Asked in the order of record numbers, eight records cost one block.
pub struct Inclusions {
    threshold: Threshold,
    key: SamplingKey,
    step: u64,
    /// The group of eight records whose block `words` holds.
    group: u64,
    words: Option<SamplingWords>,
}

#[derive(Zeroize, ZeroizeOnDrop)]
struct SamplingKey([u32; 8]);

#[derive(Zeroize, ZeroizeOnDrop)]
struct SamplingWords([u32; 16]);

impl Inclusions {
    /// Whether a record takes part.
    pub fn includes(&mut self, record: u64) -> bool {
        match self.threshold {
            Threshold::Everyone => true,
            Threshold::Below(threshold) => self.uniform(record) < threshold,
        }
    }

    /// The record's 64 uniform bits at this step.
    fn uniform(&mut self, record: u64) -> u64 {
        let group = record / 8;
        if self.words.is_none() || self.group != group {
            let input = (
                group as u32,
                (group >> 32) as u32,
                self.step as u32,
                (self.step >> 32) as u32,
            );
            self.words = Some(SamplingWords(block_words(&self.key.0, input)));
            self.group = group;
        }
        let lane = 2 * (record % 8) as usize;
        match &self.words {
            Some(words) => u64::from(words.0[lane]) | u64::from(words.0[lane + 1]) << 32,
            // Not reached; a record that is left out is the safe answer.
            None => u64::MAX,
        }
    }
}

impl fmt::Debug for Inclusions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Inclusions {{ step: {}, .. }}", self.step)
    }
}

fn sampling_key(key: &Key) -> SamplingKey {
    let input = (
        0,
        RESERVED_TENSOR,
        u32::from_le_bytes(*b"samp"),
        u32::from_le_bytes(*b"ling"),
    );
    let block = SamplingWords(block_words(key.words(), input));
    let mut words = [0; 8];
    words.copy_from_slice(&block.0[..8]);
    SamplingKey(words)
}

/// A sampler that cannot be.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum SamplingError {
    /// The rate is not in `2^-64 ..= 1`.
    Rate {
        /// The value given.
        rate: f64,
    },
}

impl fmt::Display for SamplingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Rate { rate } = self;
        write!(f, "sampling rate {rate} is not above 0 and at most 1")
    }
}

impl core::error::Error for SamplingError {}
