//! Records, and whose they are: a record, or a user with all their records, is the unit of privacy.

mod error;
mod format;
mod read;
mod split;

pub use error::RecordsError;
pub use split::{HeldOut, Split, SplitError};

use std::io::BufRead;
use std::path::Path;

use crate::canary::Canary;

/// The records of a data file, in the order of its lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    texts: Vec<String>,
    users: Option<UserTable>,
    blank: usize,
}

/// Whose record each one is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct UserTable {
    /// For each record, the place of its user in `names`.
    of_record: Vec<u32>,
    /// Distinct users in order of appearance, each with a letter for its kind in front.
    names: Vec<String>,
}

/// How many users the records belong to. Known only where a user field was named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Users {
    /// Number of distinct users.
    pub count: usize,
    /// The largest number of records of one user: the group size `k` to which a guarantee per
    /// record weakens when it is read as one per user. It tells of that user alone, so show it to nobody.
    pub most_records: usize,
}

impl Records {
    /// Reads `path`: `.jsonl` (or `.ndjson`) has one object a line with the string field `text`;
    /// any other name is plain text with one record a line, unless it is that of a table, a document or an archive (`.csv`, `.json`,
    /// `.gz` and the like), of which a line is no record.
    ///
    /// `user_field` names a field of the `.jsonl` objects (a string or a whole number) that says
    /// whose record it is. A byte order mark and CRLF line ends are taken off; blank lines are
    /// skipped and counted; the text is not changed otherwise.
    ///
    /// # Errors
    /// Each names the path, and the line or byte where there is one: see [`RecordsError`]. No
    /// error shows the text of a record.
    pub fn read(path: &Path, user_field: Option<&str>) -> Result<Self, RecordsError> {
        read::file(path, user_field)
    }

    /// As [`Records::read`], of lines that don't come from a file: `path` decides on the format, and errors call them so.
    ///
    /// # Errors
    /// As [`Records::read`].
    pub fn read_from(
        path: &Path,
        lines: impl BufRead,
        user_field: Option<&str>,
    ) -> Result<Self, RecordsError> {
        read::lines(path, lines, user_field)
    }

    /// Records from texts that are already in memory.
    pub fn from_texts(texts: Vec<String>) -> Self {
        Self {
            texts,
            ..Self::default()
        }
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.texts.len()
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// The texts, in order.
    pub fn texts(&self) -> &[String] {
        &self.texts
    }

    /// Number of blank lines that were skipped.
    pub fn blank(&self) -> usize {
        self.blank
    }

    /// The user of each record, numbered from 0 in order of appearance, or `None` where no user
    /// field was named.
    pub fn user_ids(&self) -> Option<&[u32]> {
        self.users.as_ref().map(|users| users.of_record.as_slice())
    }

    /// Number of users and the largest number of records of one of them.
    pub fn users(&self) -> Option<Users> {
        let table = self.users.as_ref()?;
        let mut records = vec![0_usize; table.names.len()];
        for &user in &table.of_record {
            if let Some(count) = records.get_mut(user as usize) {
                *count += 1;
            }
        }
        Some(Users {
            count: records.iter().filter(|&&count| count > 0).count(),
            most_records: records.into_iter().max().unwrap_or(0),
        })
    }

    /// These records with canaries among them: `owner` says for each place of the result which
    /// canary stands there, and `None` takes the next record.
    pub(crate) fn interleave(self, canaries: &[Canary], owner: &[Option<usize>]) -> Self {
        let mut texts = Vec::with_capacity(owner.len());
        let mut given = self.texts.into_iter();
        for place in owner {
            texts.extend(match place {
                Some(canary) => canaries.get(*canary).map(Canary::text),
                None => given.next(),
            });
        }
        let users = self.users.map(|mut users| {
            let first = users.names.len() as u32;
            // The letter keeps an invented patient apart from any user of the file.
            users
                .names
                .extend((0..canaries.len()).map(|canary| format!("c{canary}")));
            let mut given = std::mem::take(&mut users.of_record).into_iter();
            for place in owner {
                users.of_record.extend(match place {
                    Some(canary) => Some(first + *canary as u32),
                    None => given.next(),
                });
            }
            users
        });
        Self {
            texts,
            users,
            blank: self.blank,
        }
    }
}
