//! Taking results back from their file.

use std::path::{Path, PathBuf};

use crate::Line;

/// A file that holds no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// It can't be read.
    #[error("{path:?} cannot be read: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A line is none of a result.
    #[error("{path:?}, line {line}: {reason}; give a file that dpcube bench --json wrote")]
    Line {
        /// The file.
        path: PathBuf,
        /// Its number, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
}

/// The lines of `path`: a header first, then rows and what was left out. A last line that was cut short, as by a
/// power cut, is an error like any other.
///
/// # Errors
/// [`ReadError`] with the line.
pub fn read(path: &Path) -> Result<Vec<Line>, ReadError> {
    let text = std::fs::read_to_string(path).map_err(|source| ReadError::Io {
        path: path.to_owned(),
        source,
    })?;
    let refused = |line: usize, reason: String| ReadError::Line {
        path: path.to_owned(),
        line,
        reason,
    };
    let mut lines = Vec::new();
    for (index, text) in text.lines().enumerate() {
        let line = serde_json::from_str(text)
            .map_err(|error| refused(index + 1, format!("no line of a result ({error})")))?;
        match (&line, index) {
            (Line::Run(_), 0) => {}
            (Line::Run(_), _) => {
                return Err(refused(index + 1, "a second header".into()));
            }
            (_, 0) => return Err(refused(1, "a result begins with its header".into())),
            _ => {}
        }
        lines.push(line);
    }
    if lines.is_empty() {
        return Err(refused(1, "the file is empty".into()));
    }
    Ok(lines)
}
