//! Poisson batches, cut into microbatches of fixed shape.

use std::fmt;

use dp_core::noise::Key;
use dp_core::sampling::PoissonSampler;
use sha2::{Digest, Sha256};

use crate::keys::SamplingKey;

const SEED_DOMAIN: &[u8] = b"dpcube data order from a seed v1\0";

/// Why a batch stream cannot be made.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BatchError {
    /// The sampling rate is outside (0, 1].
    #[error(
        "the sampling rate is {rate}: it must be above 0 and at most 1; set the expected batch size between 1 and N"
    )]
    Rate {
        /// The value given.
        rate: f64,
    },
    /// No records, or more than record numbers can tell apart.
    #[error("{records} records: between 1 and {} are supported", u32::MAX)]
    Records {
        /// The value given.
        records: u64,
    },
    /// Microbatches of no rows.
    #[error("the microbatch size is 0: choose at least 1")]
    Microbatch,
}

/// Draws the logical batch of each step: every record is in with the sampling rate's probability, independently.
///
/// The size of a batch varies and can be 0. It is cut into microbatches of a fixed number of rows; the rows that
/// are left over in the last one hold no record and have mask 0. Buffers are kept from step to step.
///
/// # Privacy
/// Amplification by sampling holds only while the sample is secret. A private run therefore draws from the
/// operating system's key ([`Batches::private`]), never from a seed that a person chose or that a report names;
/// `--seed` governs the order of data in a non-private run ([`Batches::seeded`]) and the initial weights. The
/// drawn size is private too: no average, log line or progress bar may show it.
pub struct Batches {
    sampler: PoissonSampler,
    key: Key,
    records: u32,
    microbatch: usize,
    rows: Vec<Option<u32>>,
    mask: Vec<f32>,
}

impl Batches {
    /// Batches of a private run, from this process start's secret sampling key.
    ///
    /// # Errors
    /// [`BatchError`] for a rate outside (0, 1], no records or more than 2^32 - 1, or microbatches of 0 rows.
    pub fn private(
        records: u64,
        rate: f64,
        microbatch: usize,
        key: SamplingKey,
    ) -> Result<Self, BatchError> {
        Self::new(records, rate, microbatch, key.into_key())
    }

    /// Batches of a non-private run: the same distribution, repeatable from a seed.
    ///
    /// # Errors
    /// As [`Batches::private`].
    ///
    /// # Privacy
    /// None: who knows the seed knows every batch.
    pub fn seeded(
        records: u64,
        rate: f64,
        microbatch: usize,
        seed: u64,
    ) -> Result<Self, BatchError> {
        let digest: [u8; 32] = Sha256::new_with_prefix(SEED_DOMAIN)
            .chain_update(seed.to_le_bytes())
            .finalize()
            .into();
        let mut words = [0; 8];
        for (word, bytes) in words.iter_mut().zip(digest.as_chunks::<4>().0) {
            *word = u32::from_le_bytes(*bytes);
        }
        Self::new(records, rate, microbatch, Key::new(words))
    }

    fn new(records: u64, rate: f64, microbatch: usize, key: Key) -> Result<Self, BatchError> {
        let sampler = PoissonSampler::new(rate).map_err(|_| BatchError::Rate { rate })?;
        let count = u32::try_from(records).ok().filter(|&n| n > 0);
        let count = count.ok_or(BatchError::Records { records })?;
        if microbatch == 0 {
            return Err(BatchError::Microbatch);
        }
        // Eight standard deviations above the mean: steps don't allocate.
        let mean = f64::from(count) * rate;
        let room = (mean + 8.0 * mean.sqrt()).ceil().min(f64::from(count)) as usize;
        let room = room.saturating_add(microbatch);
        Ok(Self {
            sampler,
            key,
            records: count,
            microbatch,
            rows: Vec::with_capacity(room),
            mask: Vec::with_capacity(room),
        })
    }

    /// Rows of a microbatch.
    #[must_use]
    pub fn microbatch_size(&self) -> usize {
        self.microbatch
    }

    /// Draws the batch of `step`. The same step gives the same batch for as long as this value lives.
    pub fn draw(&mut self, step: u64) -> LogicalBatch<'_> {
        self.rows.clear();
        let mut inclusions = self.sampler.inclusions(&self.key, step);
        let is_in = |&record: &u32| inclusions.includes(u64::from(record));
        self.rows.extend((0..self.records).filter(is_in).map(Some));
        let drawn = self.rows.len();
        let padded = drawn.next_multiple_of(self.microbatch);
        self.rows.resize(padded, None);
        self.mask.clear();
        self.mask.resize(drawn, 1.0);
        self.mask.resize(padded, 0.0);
        LogicalBatch {
            rows: &self.rows,
            mask: &self.mask,
            drawn,
            microbatch: self.microbatch,
        }
    }
}

impl fmt::Debug for Batches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Batches({} records, microbatches of {}, secret key)",
            self.records, self.microbatch
        )
    }
}

/// The records drawn for one step.
#[derive(Clone, Copy, Debug)]
pub struct LogicalBatch<'a> {
    rows: &'a [Option<u32>],
    mask: &'a [f32],
    drawn: usize,
    microbatch: usize,
}

impl<'a> LogicalBatch<'a> {
    /// Number of records drawn.
    ///
    /// # Privacy
    /// Private: neither divide by it nor show it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.drawn
    }

    /// Whether no record was drawn. The step still releases pure noise and is still charged.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.drawn == 0
    }

    /// Microbatches in order; none for an empty batch.
    pub fn microbatches(&self) -> impl ExactSizeIterator<Item = Microbatch<'a>> + use<'a> {
        let (rows, mask) = (
            self.rows.chunks_exact(self.microbatch),
            self.mask.chunks_exact(self.microbatch),
        );
        rows.zip(mask)
            .map(|(records, mask)| Microbatch { records, mask })
    }
}

/// Rows of fixed number for the device.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Microbatch<'a> {
    /// The record of each row; `None` for a row of padding.
    pub records: &'a [Option<u32>],
    /// 1 for a row with a record, 0 for padding: `[B]`.
    pub mask: &'a [f32],
}

impl Microbatch<'_> {
    /// The rows that hold a record, and which.
    pub fn present(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let rows = self.records.iter().enumerate();
        rows.filter_map(|(row, record)| record.map(|record| (row, record as usize)))
    }
}
