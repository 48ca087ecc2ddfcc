//! Files that are no lines of records: known by the ending of their name, or by their first bytes.

use std::path::Path;

const TABLE: &str =
    "convert it to one object like {\"text\": \"...\"} a line in a .jsonl file, a record each";
const DOCUMENT: &str = "save its text with one record a line, or as one object like {\"text\": \"...\"} a line in a .jsonl file";
const ARCHIVE: &str = "unpack it first";
const UTF_16: &str = "convert it, for example: iconv -f UTF-16 -t UTF-8";

/// What a file is, and the way out.
pub(super) struct Format {
    pub(super) name: &'static str,
    pub(super) way_out: &'static str,
}

/// By the ending of the name. Of a table, a document or an archive a line is no record, though many can be read as lines of text.
pub(super) fn of_name(path: &Path) -> Option<Format> {
    let ending = path.extension()?.to_str()?.to_ascii_lowercase();
    let (name, way_out) = match ending.as_str() {
        "csv" => ("CSV", TABLE),
        "tsv" => ("TSV", TABLE),
        "json" => ("JSON", TABLE),
        "parquet" => ("Parquet", TABLE),
        "xlsx" => ("an Excel sheet", TABLE),
        "pdf" => ("PDF", DOCUMENT),
        "docx" => ("a Word document", DOCUMENT),
        "gz" => ("gzip", ARCHIVE),
        "zip" => ("zip", ARCHIVE),
        "xz" => ("xz", ARCHIVE),
        "zst" => ("Zstandard", ARCHIVE),
        "bz2" => ("bzip2", ARCHIVE),
        _ => return None,
    };
    Some(Format { name, way_out })
}

/// By the first bytes, whatever the name says.
pub(super) fn of_bytes(bytes: &[u8]) -> Option<Format> {
    let known: [(&[u8], _, _); 4] = [
        (b"\xff\xfe", "UTF-16", UTF_16),
        (b"\xfe\xff", "UTF-16", UTF_16),
        (b"\x1f\x8b", "gzip", ARCHIVE),
        // With the next two bytes: a note may begin with these letters.
        (b"PK\x03\x04", "zip", ARCHIVE),
    ];
    let (_, name, way_out) = known
        .into_iter()
        .find(|(first, _, _)| bytes.starts_with(first))?;
    Some(Format { name, way_out })
}
