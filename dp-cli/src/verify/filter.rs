//! Which checks and rows `--filter` selects.

use dp_kernels::conformance::{Check, Row, checks};

use super::Found;
use crate::error::Failure;

/// `CHECK[/ROW]`: text that a check's name holds, and text that a row's words hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    check: String,
    row: String,
}

/// A row's words: launcher, element type, shape.
pub fn words(row: &Row) -> String {
    format!("{} {} {}", row.op, row.dtype, row.shape)
        .trim_end()
        .to_owned()
}

impl Filter {
    /// What `--filter` says; everything where it isn't given.
    pub fn new(text: Option<&str>) -> Self {
        let text = text.unwrap_or_default();
        let (check, row) = text.split_once('/').unwrap_or((text, ""));
        Self {
            check: check.to_owned(),
            row: row.to_owned(),
        }
    }

    /// The checks to run: the one of exactly this name, or all that have the text in their names.
    ///
    /// # Errors
    /// There is none.
    pub fn checks(&self) -> Result<Vec<&'static Check>, Failure> {
        let all = checks();
        if let Some(check) = all.iter().find(|check| check.name == self.check) {
            return Ok(vec![check]);
        }
        let chosen: Vec<&Check> = all
            .iter()
            .filter(|check| check.name.contains(&self.check))
            .collect();
        if chosen.is_empty() {
            let names: Vec<&str> = all.iter().map(|check| check.name).collect();
            return Err(Failure::new(format!(
                "--filter {:?}: no check has this in its name; there are {}",
                self.check,
                names.join(", ")
            )));
        }
        Ok(chosen)
    }

    /// The rows to tell: the one of exactly these words, or all that hold the text. That a check stopped is told
    /// always: the row that was asked for may be among the missing.
    pub fn rows(&self, found: Vec<Found>) -> Vec<Found> {
        let exact = found.iter().any(|found| words(&found.row) == self.row);
        found
            .into_iter()
            .filter(|found| {
                let words = words(&found.row);
                let chosen = if exact {
                    words == self.row
                } else {
                    words.contains(&self.row)
                };
                chosen || found.stopped
            })
            .collect()
    }

    /// Why no row is left of `found`.
    pub fn nothing(&self, found: &[Found]) -> String {
        let mut words: Vec<String> = found
            .iter()
            .map(|found| format!("{:?}", words(&found.row)))
            .collect();
        words.dedup();
        words.truncate(5);
        format!(
            "--filter {:?}: no row of its checks has this in its words; they are such as {}",
            format!("{}/{}", self.check, self.row),
            words.join(", ")
        )
    }
}
