//! Reading a file line by line, so that a large one is never held twice.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::Path;

use serde_json::Value;

use super::format::{self, Format};
use super::{Records, RecordsError, UserTable};

pub(super) fn file(path: &Path, user_field: Option<&str>) -> Result<Records, RecordsError> {
    lines(path, open(path)?, user_field)
}

pub(super) fn lines(
    path: &Path,
    lines: impl BufRead,
    user_field: Option<&str>,
) -> Result<Records, RecordsError> {
    if let Some(format) = format::of_name(path) {
        return Err(other_format(path, format));
    }
    let json = path.extension().is_some_and(|extension| {
        extension.eq_ignore_ascii_case("jsonl") || extension.eq_ignore_ascii_case("ndjson")
    });
    if let (false, Some(field)) = (json, user_field) {
        return Err(RecordsError::UserFieldOfText {
            path: path.into(),
            field: field.into(),
        });
    }
    let mut reader = Reader {
        path,
        lines,
        line: 0,
        byte: 0,
    };
    let mut records = Records::default();
    let mut users = UserTable::default();
    let mut numbers = HashMap::new();
    while let Some(line) = reader.next()? {
        let (text, user) = match json && !is_blank(&line) {
            true => reader.object(&line, user_field)?,
            false => (line, None),
        };
        if is_blank(&text) {
            records.blank += 1;
            continue;
        }
        if !json && records.is_empty() && is_json(&text) {
            return Err(RecordsError::JsonInText {
                path: path.into(),
                line: reader.line,
            });
        }
        records.texts.push(text);
        if let Some(user) = user {
            let number = match numbers.get(&user) {
                Some(&number) => number,
                None => reader.new_user(user, &mut numbers, &mut users.names)?,
            };
            users.of_record.push(number);
        }
    }
    records.users = user_field.map(|_| users);
    match records.len() {
        0 => Err(RecordsError::Empty {
            path: path.into(),
            blank: records.blank,
        }),
        1 => Err(RecordsError::OneRecord { path: path.into() }),
        _ => Ok(records),
    }
}

fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}

/// Whether a whole line is a JSON object or list. One that only begins like that, such as a remark in brackets, is text.
fn is_json(line: &str) -> bool {
    line.trim_start().starts_with(['{', '[']) && serde_json::from_str::<Value>(line).is_ok()
}

fn other_format(path: &Path, format: Format) -> RecordsError {
    RecordsError::OtherFormat {
        path: path.into(),
        format: format.name,
        way_out: format.way_out,
    }
}

fn open(path: &Path) -> Result<BufReader<File>, RecordsError> {
    let refused = |source: std::io::Error| match source.kind() {
        ErrorKind::NotFound => RecordsError::Missing { path: path.into() },
        _ => RecordsError::Unreadable {
            path: path.into(),
            source,
        },
    };
    if fs::metadata(path).map_err(refused)?.is_dir() {
        return Err(RecordsError::Directory { path: path.into() });
    }
    Ok(BufReader::new(File::open(path).map_err(refused)?))
}

struct Reader<'a, B> {
    path: &'a Path,
    lines: B,
    /// Number of the last line read, from 1.
    line: u64,
    /// Offset of the end of the last line read.
    byte: u64,
}

impl<B: BufRead> Reader<'_, B> {
    /// The next line without its end, or `None` at the end of the file.
    fn next(&mut self) -> Result<Option<String>, RecordsError> {
        let mut bytes = Vec::new();
        let start = self.byte;
        let read = self.lines.read_until(b'\n', &mut bytes).map_err(|source| {
            RecordsError::Unreadable {
                path: self.path.into(),
                source,
            }
        })?;
        if read == 0 {
            return Ok(None);
        }
        self.line += 1;
        self.byte += read as u64;
        if self.line == 1
            && let Some(format) = format::of_bytes(&bytes)
        {
            return Err(other_format(self.path, format));
        }
        // Before UTF-8: of UTF-16 either may be wrong, and this one tells more.
        if let Some(at) = bytes.iter().position(|&byte| byte == 0) {
            return Err(RecordsError::NulByte {
                path: self.path.into(),
                byte: start + at as u64,
                line: self.line,
            });
        }
        let mut text = String::from_utf8(bytes).map_err(|error| RecordsError::NotUtf8 {
            path: self.path.into(),
            byte: start + error.utf8_error().valid_up_to() as u64,
            line: self.line,
        })?;
        if text.ends_with('\n') {
            text.pop();
            if text.ends_with('\r') {
                text.pop();
            }
        }
        if self.line == 1 && text.starts_with('\u{feff}') {
            text.remove(0);
        }
        Ok(Some(text))
    }

    /// The text and the user of one `.jsonl` line.
    fn object(
        &self,
        line: &str,
        user_field: Option<&str>,
    ) -> Result<(String, Option<String>), RecordsError> {
        let value: Value =
            serde_json::from_str(line).map_err(|error| RecordsError::InvalidJson {
                path: self.path.into(),
                line: self.line,
                column: error.column(),
            })?;
        let Value::Object(mut object) = value else {
            return Err(RecordsError::NotAnObject {
                path: self.path.into(),
                line: self.line,
                found: type_name(&value),
            });
        };
        let user = match user_field {
            None => None,
            // A string and a number of the same digits are one user: two people taken for one have the guarantee still, one
            // taken for two has not. The letter keeps them apart from canaries.
            Some(field) => Some(match object.get(field) {
                Some(Value::String(user)) => format!("s{user}"),
                Some(Value::Number(user)) if user.is_u64() || user.is_i64() => format!("s{user}"),
                other => return Err(self.field(field, other, "a string or a whole number")),
            }),
        };
        match object.remove("text") {
            Some(Value::String(text)) => Ok((text, user)),
            other => Err(self.field("text", other.as_ref(), "a string")),
        }
    }

    fn field(&self, field: &str, found: Option<&Value>, wanted: &'static str) -> RecordsError {
        let (path, line, field) = (self.path.into(), self.line, field.into());
        match found {
            None => RecordsError::MissingField { path, line, field },
            Some(value) => RecordsError::WrongType {
                path,
                line,
                field,
                found: type_name(value),
                wanted,
            },
        }
    }

    fn new_user(
        &self,
        name: String,
        numbers: &mut HashMap<String, u32>,
        names: &mut Vec<String>,
    ) -> Result<u32, RecordsError> {
        let number = u32::try_from(names.len()).map_err(|_| RecordsError::TooManyUsers {
            path: self.path.into(),
            line: self.line,
        })?;
        names.push(name.clone());
        numbers.insert(name, number);
        Ok(number)
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(number) if number.is_f64() => "a fraction or a number beyond 64 bits",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
