//! Poisson batches, cut into microbatches of fixed shape.

use std::fmt;
use std::num::NonZeroU32;

use dp_core::noise::Key;
use dp_core::sampling::{PoissonSampler, RecordChoice};
use sha2::{Digest, Sha256};

use crate::keys::SamplingKey;
use crate::users::Owners;

/// The most rows of a user, 2^16.
pub const MOST_RECORDS: u32 = 1 << 16;

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
    /// No records or users, or more than their numbers can tell apart.
    #[error("{records} records or users: between 1 and {} are supported", u32::MAX)]
    Records {
        /// The value given.
        records: u64,
    },
    /// More rows of a user than a microbatch could hold.
    #[error("{most_records} records of a user in a step: at most {MOST_RECORDS} are supported")]
    MostRecords {
        /// The value given.
        most_records: u32,
    },
    /// Microbatches of no rows.
    #[error("the microbatch size is 0: choose at least 1")]
    Microbatch,
}

/// Draws the logical batch of each step: every unit, a record or a user, is in with the sampling rate's probability, independently.
///
/// The size of a batch varies and can be 0. It is cut into microbatches of a fixed number of units; the rows that
/// are left over in the last one hold no record and have mask 0. Buffers are kept from step to step.
///
/// Where the unit is the user ([`Batches::private_users`]), each takes k consecutive rows. A user that is drawn is in with all their records,
/// or with k of them, which [`RecordChoice`] draws anew for each step; the rows of a user with fewer are left empty.
///
/// # Privacy
/// Amplification by sampling holds only while the sample is secret. A private run therefore draws from the
/// operating system's key ([`Batches::private`]), never from a seed that a person chose or that a report names;
/// `--seed` governs the order of data in a non-private run ([`Batches::seeded`]) and the initial weights. The
/// drawn size is private too: no average, log line or progress bar may show it.
///
/// Of users, the guarantee is for a user only if their k rows are clipped as one example.
pub struct Batches {
    sampler: PoissonSampler,
    key: Key,
    units: u32,
    users: Option<Users>,
    microbatch: usize,
    rows: Vec<Option<u32>>,
    mask: Vec<f32>,
}

/// What is drawn.
enum Units {
    Records(u64),
    Users(Owners, NonZeroU32),
}

/// What batches of users have besides.
struct Users {
    owners: Owners,
    choice: RecordChoice,
    /// Which of a user's records a step uses, as places among theirs: as long as the most that may be.
    chosen: Vec<u32>,
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
        Self::new(Units::Records(records), rate, microbatch, key.into_key())
    }

    /// Batches of a private run whose unit is the user, from this process start's secret sampling key: `microbatch` users of
    /// `most_records` rows each.
    ///
    /// # Errors
    /// As [`Batches::private`], of users; [`BatchError::MostRecords`] for more than [`MOST_RECORDS`] rows of each.
    pub fn private_users(
        owners: Owners,
        most_records: NonZeroU32,
        rate: f64,
        microbatch: usize,
        key: SamplingKey,
    ) -> Result<Self, BatchError> {
        let users = Units::Users(owners, most_records);
        Self::new(users, rate, microbatch, key.into_key())
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
        let key = key_of_seed(seed);
        Self::new(Units::Records(records), rate, microbatch, key)
    }

    /// Batches of users of a non-private run: the same distribution as [`Batches::private_users`], repeatable from a seed.
    ///
    /// # Errors
    /// As [`Batches::private_users`].
    ///
    /// # Privacy
    /// None: who knows the seed knows every batch.
    pub fn seeded_users(
        owners: Owners,
        most_records: NonZeroU32,
        rate: f64,
        microbatch: usize,
        seed: u64,
    ) -> Result<Self, BatchError> {
        let users = Units::Users(owners, most_records);
        Self::new(users, rate, microbatch, key_of_seed(seed))
    }

    fn new(units: Units, rate: f64, microbatch: usize, key: Key) -> Result<Self, BatchError> {
        let sampler = PoissonSampler::new(rate).map_err(|_| BatchError::Rate { rate })?;
        let (records, users) = match units {
            Units::Records(records) => (records, None),
            Units::Users(owners, most_records) if most_records.get() <= MOST_RECORDS => {
                let users = Users {
                    choice: RecordChoice::new(&key),
                    chosen: vec![0; most_records.get() as usize],
                    owners,
                };
                (users.owners.users() as u64, Some(users))
            }
            Units::Users(_, most_records) => {
                let most_records = most_records.get();
                return Err(BatchError::MostRecords { most_records });
            }
        };
        let count = u32::try_from(records).ok().filter(|&n| n > 0);
        let units = count.ok_or(BatchError::Records { records })?;
        if microbatch == 0 {
            return Err(BatchError::Microbatch);
        }
        // Eight standard deviations above the mean: steps don't allocate.
        let mean = f64::from(units) * rate;
        let room = (mean + 8.0 * mean.sqrt()).ceil().min(f64::from(units)) as usize;
        let room = room.saturating_add(microbatch);
        let rows_of_unit = users.as_ref().map_or(1, |users| users.chosen.len());
        Ok(Self {
            sampler,
            key,
            units,
            users,
            microbatch,
            rows: Vec::with_capacity(room.saturating_mul(rows_of_unit)),
            mask: Vec::with_capacity(room),
        })
    }

    /// Units of a microbatch, B.
    #[must_use]
    pub fn microbatch_size(&self) -> usize {
        self.microbatch
    }

    /// Rows of a unit, k: 1 where it is the record.
    #[must_use]
    pub fn rows_of_unit(&self) -> usize {
        self.users.as_ref().map_or(1, |users| users.chosen.len())
    }

    /// Draws the batch of `step`. The same step gives the same batch for as long as this value lives.
    pub fn draw(&mut self, step: u64) -> LogicalBatch<'_> {
        let rows_of_unit = self.rows_of_unit();
        self.rows.clear();
        let mut inclusions = self.sampler.inclusions(&self.key, step);
        let mut drawn = 0;
        for unit in (0..self.units).filter(|&unit| inclusions.includes(u64::from(unit))) {
            drawn += 1;
            match &mut self.users {
                None => self.rows.push(Some(unit)),
                Some(users) => {
                    self.rows.extend(users.records(step, unit).map(Some));
                    self.rows.resize(drawn * rows_of_unit, None);
                }
            }
        }
        let padded = drawn.next_multiple_of(self.microbatch);
        self.rows.resize(padded * rows_of_unit, None);
        self.mask.clear();
        self.mask.resize(drawn, 1.0);
        self.mask.resize(padded, 0.0);
        LogicalBatch {
            rows: &self.rows,
            mask: &self.mask,
            drawn,
            microbatch: self.microbatch,
            rows_of_unit,
        }
    }
}

impl Users {
    /// The records of `user` that the step uses.
    fn records(&mut self, step: u64, user: u32) -> impl Iterator<Item = u32> + '_ {
        let records = self.owners.records_of(user);
        let chosen = self
            .choice
            .choose(step, user, records.len() as u32, &mut self.chosen);
        self.chosen[..chosen]
            .iter()
            .map(|&place| records[place as usize])
    }
}

fn key_of_seed(seed: u64) -> Key {
    let digest: [u8; 32] = Sha256::new_with_prefix(SEED_DOMAIN)
        .chain_update(seed.to_le_bytes())
        .finalize()
        .into();
    let mut words = [0; 8];
    for (word, bytes) in words.iter_mut().zip(digest.as_chunks::<4>().0) {
        *word = u32::from_le_bytes(*bytes);
    }
    Key::new(words)
}

impl fmt::Debug for Batches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = if self.users.is_some() {
            "users"
        } else {
            "records"
        };
        write!(
            f,
            "Batches({} {unit}, microbatches of {}, secret key)",
            self.units, self.microbatch
        )
    }
}

/// The units drawn for one step.
#[derive(Clone, Copy, Debug)]
pub struct LogicalBatch<'a> {
    rows: &'a [Option<u32>],
    mask: &'a [f32],
    drawn: usize,
    microbatch: usize,
    rows_of_unit: usize,
}

impl<'a> LogicalBatch<'a> {
    /// Number of units drawn.
    ///
    /// # Privacy
    /// Private: neither divide by it nor show it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.drawn
    }

    /// Whether no unit was drawn. The step still releases pure noise and is still charged.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.drawn == 0
    }

    /// Microbatches in order; none for an empty batch.
    pub fn microbatches(&self) -> impl ExactSizeIterator<Item = Microbatch<'a>> + use<'a> {
        let (rows, mask) = (
            self.rows.chunks_exact(self.microbatch * self.rows_of_unit),
            self.mask.chunks_exact(self.microbatch),
        );
        rows.zip(mask)
            .map(|(records, mask)| Microbatch { records, mask })
    }
}

/// Rows of fixed number for the device: B units of k rows each; k is 1 where the unit is the record.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Microbatch<'a> {
    /// The record of each row, `[B k]`, those of a unit one after the other; `None` for a row of padding.
    pub records: &'a [Option<u32>],
    /// 1 for a unit that was drawn, 0 for padding: `[B]`.
    pub mask: &'a [f32],
}

impl Microbatch<'_> {
    /// The rows that hold a record, and which.
    pub fn present(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let rows = self.records.iter().enumerate();
        rows.filter_map(|(row, record)| record.map(|record| (row, record as usize)))
    }
}
