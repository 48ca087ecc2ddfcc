//! Whose each record is: what a run needs to know where the unit of privacy is the user.

use dp_core::ledger::Fingerprint;
use sha2::{Digest, Sha256};

const OWNERS_DOMAIN: &[u8] = b"dpcube owners of records v1\0";

/// Which records each user has.
///
/// Users are numbered from 0 in the order in which their first record stands; their names are not kept.
///
/// # Example
/// ```
/// use dp_engine::users::Owners;
///
/// let owners = Owners::new(&[7, 3, 7]);
/// assert_eq!((owners.users(), owners.records_of(0), owners.records_of(1)), (2, &[0, 2][..], &[1][..]));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owners {
    /// The records of user 0, of user 1, and so on, each user's ascending.
    records: Vec<u32>,
    /// Where each user's records end.
    ends: Vec<usize>,
    fingerprint: Fingerprint,
}

impl Owners {
    /// From the user of each record, by any numbers. Records beyond the first 2^32 - 1 are nobody's: [`Batches`](crate::batches::Batches)
    /// refuses so many.
    #[must_use]
    pub fn new(user_of_record: &[u32]) -> Self {
        let mut numbers = std::collections::HashMap::new();
        let mut hasher = Sha256::new_with_prefix(OWNERS_DOMAIN);
        let mut of_user: Vec<Vec<u32>> = Vec::new();
        for (record, user) in (0..u32::MAX).zip(user_of_record) {
            let number = *numbers.entry(*user).or_insert(of_user.len());
            hasher.update((number as u64).to_le_bytes());
            match of_user.get_mut(number) {
                Some(records) => records.push(record),
                None => of_user.push(vec![record]),
            }
        }
        hasher.update((user_of_record.len() as u64).to_le_bytes());
        let ends = of_user.iter().scan(0, |end, records| {
            *end += records.len();
            Some(*end)
        });
        Self {
            ends: ends.collect(),
            records: of_user.into_iter().flatten().collect(),
            fingerprint: hasher.finalize().into(),
        }
    }

    /// Number of users.
    #[must_use]
    pub fn users(&self) -> usize {
        self.ends.len()
    }

    /// The records of a user, ascending; none for a number that no user has.
    #[must_use]
    pub fn records_of(&self, user: u32) -> &[u32] {
        let at = user as usize;
        let Some(&end) = self.ends.get(at) else {
            return &[];
        };
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.records[start..end]
    }

    /// SHA-256 of whose each record is, in the order of the records: of the users' numbers, not of their names. Equal where the same
    /// records belong together.
    ///
    /// # Privacy
    /// Computed without noise, as a data set's fingerprint is: it confirms the guess of those who know the whole assignment, or all of it but one user's.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }
}
