//! Which records are held out of training.

use super::{Records, UserTable};
use crate::seeded;

/// The rule that holds records out of training, for the held-out loss.
///
/// A record decides for itself, by a hash of the seed and its text: equal texts fall on the same
/// side, so a held-out record has no copy in the training data. Where users are known, the hash
/// is of the user, and all records of a user fall on the same side; equal texts of two users may
/// fall on both.
///
/// # Privacy
/// The guarantee covers the training records; the loss on held-out records is released without
/// noise. Because no record's side depends on another record, adding or removing one record (or one user) changes the training data by at
/// most that one. The threshold of a large file depends on the number of records, or of users, rounded up to a power of two: that number is public, as it is
/// in the sampling rate, and only a file that passes a power of two has another threshold than its neighbour.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HeldOut {
    /// Share of the records to hold out, 0 to 1.
    pub share: f64,
    /// The share is lowered so that about this many records, or users, are held out of a large file: half of them to all.
    pub about: usize,
    /// Seed of the hash.
    pub seed: u64,
}

/// Records in two parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// The records to train on; never empty.
    pub train: Records,
    /// The records to measure on; never empty.
    pub held_out: Records,
}

/// Why records could not be split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SplitError {
    /// Fewer than two records.
    #[error("{records} records cannot be split into training and held-out records; it takes 2")]
    TooFew {
        /// Number of records.
        records: usize,
    },
    /// Chance, or equal records, left nothing to train on.
    #[error(
        "all {records} records fall to the held-out side, because they are few, equal or of one \
         user; use more records or another --seed"
    )]
    NothingToTrain {
        /// Number of records.
        records: usize,
    },
    /// Nothing fell to the held-out side, and the record that would be held out has copies, which would be trained on.
    #[error(
        "none of {records} records falls to the held-out side, and the one that would be held out has copies in the data, which would \
         be trained on; remove the copies, use more records or another --seed"
    )]
    HeldOutHasCopies {
        /// Number of records.
        records: usize,
    },
    /// No user fell to the held-out side.
    #[error("none of {users} users falls to the held-out side; use more users or another --seed")]
    NothingHeldOut {
        /// Number of users.
        users: usize,
    },
}

impl HeldOut {
    /// 5% of the records or users, or 1000 to 2000 of a larger file.
    pub fn new(seed: u64) -> Self {
        Self {
            share: 0.05,
            about: 2000,
            seed,
        }
    }

    /// Splits `records`, keeping their order in each part.
    ///
    /// Where no record falls to the held-out side, the one with the smallest hash is held out,
    /// which keeps the promise about neighbours. No such rule does where that record has copies,
    /// where nothing is left to train on, or where users are split: then there is an error.
    ///
    /// # Errors
    /// [`SplitError`], for a handful of records or users only.
    pub fn split(&self, records: Records) -> Result<Split, SplitError> {
        if records.len() < 2 {
            return Err(SplitError::TooFew {
                records: records.len(),
            });
        }
        let held = self.held(&records)?;
        let mut split = Split {
            train: records.like(),
            held_out: records.like(),
        };
        split.train.blank = records.blank;
        let users = records
            .users
            .map(|users| users.of_record)
            .unwrap_or_default();
        for (index, text) in records.texts.into_iter().enumerate() {
            let part = if held[index] {
                &mut split.held_out
            } else {
                &mut split.train
            };
            part.texts.push(text);
            if let (Some(table), Some(&user)) = (&mut part.users, users.get(index)) {
                table.of_record.push(user);
            }
        }
        Ok(split)
    }

    /// For each record, whether it is held out.
    fn held(&self, records: &Records) -> Result<Vec<bool>, SplitError> {
        let count = records.len();
        // One more or less must not move the threshold, which would move other records across; a user is one, however many their records.
        let units = records.users().map_or(count, |users| users.count);
        let share = self
            .share
            .clamp(0.0, 1.0)
            .min(self.about as f64 / units.next_power_of_two() as f64);
        // 2^64 * share, rounded down; the cast saturates.
        let threshold = (share * 18_446_744_073_709_551_616.0) as u64;
        let hash = |unit: &String| seeded::hash("held-out", self.seed, unit.as_bytes());
        let hashes: Vec<u64> = match &records.users {
            None => records.texts.iter().map(hash).collect(),
            Some(users) => {
                let of_user: Vec<u64> = users.names.iter().map(hash).collect();
                users
                    .of_record
                    .iter()
                    .map(|&user| of_user[user as usize])
                    .collect()
            }
        };
        let mut held: Vec<bool> = hashes.iter().map(|&hash| hash < threshold).collect();
        if !held.contains(&true) {
            if let Some(users) = records.users() {
                return Err(SplitError::NothingHeldOut { users: users.count });
            }
            let smallest = (0..count).min_by_key(|&record| hashes[record]);
            let text = smallest.map(|record| &records.texts[record]);
            let copies = records.texts.iter().filter(|&other| Some(other) == text);
            // One of them alone would be held out with its copies in training; all of them would move at once for one record added.
            if copies.count() > 1 {
                return Err(SplitError::HeldOutHasCopies { records: count });
            }
            held = (0..count).map(|record| Some(record) == smallest).collect();
        }
        match held.contains(&false) {
            true => Ok(held),
            false => Err(SplitError::NothingToTrain { records: count }),
        }
    }
}

impl Records {
    /// No records, with the same knowledge of users.
    fn like(&self) -> Self {
        let users = self.users.as_ref();
        Self {
            users: users.map(|users| UserTable {
                names: users.names.clone(),
                ..UserTable::default()
            }),
            ..Self::default()
        }
    }
}
