//! Why a data file could not be read.

use std::path::PathBuf;

/// Why a data file could not be read: one line that names the file, the place and the way out.
///
/// # Privacy
/// Records are about people, and error messages end up in logs: no variant carries the text of a
/// record.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordsError {
    /// There is no such file.
    #[error("data file {path:?} does not exist; check the path")]
    Missing {
        /// The file asked for.
        path: PathBuf,
    },
    /// The path is a directory.
    #[error("data file {path:?} is a directory; name one text or .jsonl file in it")]
    Directory {
        /// The path asked for.
        path: PathBuf,
    },
    /// The operating system refused to open or read it.
    #[error("data file {path:?} cannot be read: {source}")]
    Unreadable {
        /// The file asked for.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The file holds no byte, or blank lines only.
    #[error(
        "data file {path:?} is empty ({blank} blank lines); it needs one record a line, at least 2"
    )]
    Empty {
        /// The file.
        path: PathBuf,
        /// Number of blank lines seen.
        blank: usize,
    },
    /// One record cannot be split into training and held-out data, and no batch can be sampled.
    #[error("data file {path:?} holds only 1 record; it needs one record a line, at least 2")]
    OneRecord {
        /// The file.
        path: PathBuf,
    },
    /// A byte sequence that is not UTF-8.
    #[error(
        "data file {path:?} is not UTF-8 at byte {byte} (line {line}); \
         convert it, for example: iconv -f LATIN1 -t UTF-8"
    )]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// Offset of the first bad byte from the start of the file, from 0.
        byte: u64,
        /// Line, from 1.
        line: u64,
    },
    /// A byte of value 0, which no text has.
    #[error(
        "data file {path:?} has a NUL byte at byte {byte} (line {line}), which no text has; if it is UTF-16 without a byte \
         order mark, convert it: iconv -f UTF-16LE -t UTF-8"
    )]
    NulByte {
        /// The file.
        path: PathBuf,
        /// Offset of the byte from the start of the file, from 0.
        byte: u64,
        /// Line, from 1.
        line: u64,
    },
    /// A format whose lines are not records, by the file's name or its first bytes: read as lines it would have another unit of privacy.
    #[error("data file {path:?} is {format}, which cannot be read as records: {way_out}")]
    OtherFormat {
        /// The file.
        path: PathBuf,
        /// What it is.
        format: &'static str,
        /// What to do with it.
        way_out: &'static str,
    },
    /// Plain text whose first line is JSON.
    #[error(
        "data file {path:?} is read as plain text, and line {line} is a JSON object or list; rename the file to .jsonl if each line is \
         one object like {{\"text\": \"...\"}}, and convert it to that otherwise"
    )]
    JsonInText {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: u64,
    },
    /// A line of a `.jsonl` file that is not JSON.
    #[error(
        "data file {path:?}, line {line}, column {column}: invalid JSON; each line must be one object like {{\"text\": \"...\"}}"
    )]
    InvalidJson {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: u64,
        /// Column, from 1.
        column: usize,
    },
    /// A line of a `.jsonl` file that is JSON but not an object.
    #[error(
        "data file {path:?}, line {line}: {found} where an object like {{\"text\": \"...\"}} must be"
    )]
    NotAnObject {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: u64,
        /// The JSON type found.
        found: &'static str,
    },
    /// An object without the field.
    #[error("data file {path:?}, line {line}: no field {field:?}; every line must have it")]
    MissingField {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: u64,
        /// The field looked for.
        field: String,
    },
    /// A field of the wrong type.
    #[error("data file {path:?}, line {line}: field {field:?} is {found}; it must be {wanted}")]
    WrongType {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: u64,
        /// The field.
        field: String,
        /// The JSON type found.
        found: &'static str,
        /// The JSON types allowed.
        wanted: &'static str,
    },
    /// A user field was named for plain text.
    #[error(
        "data file {path:?} is plain text and has no field {field:?}; a user field needs a .jsonl file"
    )]
    UserFieldOfText {
        /// The file.
        path: PathBuf,
        /// The field asked for.
        field: String,
    },
    /// More users than a `u32` counts.
    #[error("data file {path:?}, line {line}: more than {max} users", max = u32::MAX)]
    TooManyUsers {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: u64,
    },
}
