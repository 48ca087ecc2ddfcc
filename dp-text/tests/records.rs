//! Reading data files: what becomes a record, and what is refused and how.

use std::fs;

use dp_text::records::{Records, RecordsError, Users};

fn read(name: &str, bytes: &[u8], user_field: Option<&str>) -> Result<Records, RecordsError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    Records::read(&path, user_field)
}

/// The error of a file, after checking that it is one line and names the file.
fn refusal(name: &str, bytes: &[u8], user_field: Option<&str>) -> (RecordsError, String) {
    let error = read(name, bytes, user_field).unwrap_err();
    let message = error.to_string();
    assert!(
        !message.contains('\n') && message.contains(name),
        "{message}"
    );
    (error, message)
}

#[test]
fn plain_text_has_one_record_a_line() {
    let records = read("a.txt", b"one\n  two  \n\n \t\nthree", None).unwrap();
    assert_eq!(records.texts(), ["one", "  two  ", "three"]);
    assert_eq!(records.blank(), 2);
    assert_eq!(records.users(), None);
}

#[test]
fn byte_order_mark_and_crlf_are_taken_off() {
    let records = read("a.txt", b"\xef\xbb\xbfone\r\ntwo\rstill two\r\n\r\n", None).unwrap();
    assert_eq!(records.texts(), ["one", "two\rstill two"]);
    assert_eq!(records.blank(), 1);
}

#[test]
fn jsonl_has_one_object_a_line() {
    let lines = b"\xef\xbb\xbf{\"text\": \"one\\ntwo\", \"id\": 3}\r\n\n{\"text\": \" \"}\n{\"text\":\"b\"}\n";
    let records = read("a.JSONL", lines, None).unwrap();
    assert_eq!(records.texts(), ["one\ntwo", "b"]);
    assert_eq!(records.blank(), 2);
}

#[test]
fn users_are_counted() {
    let lines = concat!(
        "{\"text\":\"a\",\"who\":\"7\"}\n{\"text\":\"b\",\"who\":7}\n",
        "{\"text\":\"c\",\"who\":\"7\"}\n{\"text\":\" \",\"who\":\"blank\"}\n{\"text\":\"d\",\"who\":\"7\"}\n",
        "{\"text\":\"e\",\"who\":\"n7\"}\n"
    );
    let records = read("a.jsonl", lines.as_bytes(), Some("who")).unwrap();
    assert_eq!(
        records.users(),
        Some(Users {
            count: 2,
            most_records: 4
        })
    );
    // One person, whether the number is quoted or not.
    assert_eq!(records.user_ids(), Some(&[0, 0, 0, 0, 1][..]));
}

#[test]
fn what_is_not_there_or_not_a_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let missing = Records::read(&folder.path().join("no.txt"), None).unwrap_err();
    assert!(matches!(missing, RecordsError::Missing { .. }), "{missing}");
    assert!(missing.to_string().contains("no.txt"));
    let directory = Records::read(folder.path(), None).unwrap_err();
    assert!(
        matches!(directory, RecordsError::Directory { .. }),
        "{directory}"
    );
}

#[cfg(target_os = "linux")]
#[test]
fn a_file_that_cannot_be_read_is_refused() {
    // Reading address 0 of one's own memory fails for every user, root included.
    let error = Records::read(std::path::Path::new("/proc/self/mem"), None).unwrap_err();
    assert!(matches!(error, RecordsError::Unreadable { .. }), "{error}");
}

#[test]
fn empty_and_blank_files_are_refused() {
    assert!(matches!(
        refusal("e.txt", b"", None).0,
        RecordsError::Empty { blank: 0, .. }
    ));
    assert!(matches!(
        refusal("e.txt", b"\n \n", None).0,
        RecordsError::Empty { blank: 2, .. }
    ));
    assert!(matches!(
        refusal("e.jsonl", b"\n", None).0,
        RecordsError::Empty { blank: 1, .. }
    ));
}

#[test]
fn one_record_is_refused() {
    assert!(matches!(
        refusal("1.txt", b"\none\n", None).0,
        RecordsError::OneRecord { .. }
    ));
    assert!(matches!(
        refusal("1.jsonl", b"{\"text\":\"one\"}", None).0,
        RecordsError::OneRecord { .. }
    ));
}

#[test]
fn bytes_that_are_not_utf8_are_named_by_offset_and_line() {
    let (error, _) = refusal("l.txt", b"one\r\ntwo\nd\xe9j\xe0\n", None);
    let RecordsError::NotUtf8 { byte, line, .. } = error else {
        panic!("{error}")
    };
    assert_eq!((byte, line), (10, 3));
    // A character that the end of the file cuts.
    let (error, _) = refusal("l.txt", b"one\nd\xc3", None);
    assert!(
        matches!(
            error,
            RecordsError::NotUtf8 {
                byte: 5,
                line: 2,
                ..
            }
        ),
        "{error}"
    );
}

/// Read as text, a table has a record a line, whatever a record of it is: another unit of privacy than its owner thinks.
#[test]
fn files_whose_lines_are_no_records_are_refused() {
    let object = "one object like {\"text\": \"...\"} a line in a .jsonl file";
    for (name, format, way_out) in [
        ("a.csv", "CSV", object),
        ("a.TSV", "TSV", object),
        ("a.json", "JSON", object),
        ("a.parquet", "Parquet", object),
        ("a.xlsx", "an Excel sheet", object),
        ("a.pdf", "PDF", object),
        ("a.docx", "a Word document", object),
        ("a.jsonl.gz", "gzip", "unpack it first"),
        ("a.ZIP", "zip", "unpack it first"),
        ("a.xz", "xz", "unpack it first"),
        ("a.zst", "Zstandard", "unpack it first"),
        ("a.bz2", "bzip2", "unpack it first"),
    ] {
        for user_field in [None, Some("who")] {
            let (error, message) = refusal(name, b"id,note\n1,\"two\nlines\"\n", user_field);
            assert!(
                matches!(error, RecordsError::OtherFormat { format: other, .. } if other == format),
                "{error}"
            );
            assert!(message.contains(way_out), "{message}");
        }
    }
    // Whatever else is text.
    for name in ["a.csv.txt", "csv", "a.md", "a.log"] {
        assert_eq!(read(name, b"1,2\n3,4\n", None).unwrap().len(), 2, "{name}");
    }
}

#[test]
fn other_formats_are_known_by_their_first_bytes() {
    for (bytes, format, way_out) in [
        (
            &b"\xff\xfeo\0n\0e\0\n\0"[..],
            "UTF-16",
            "iconv -f UTF-16 -t UTF-8",
        ),
        (
            b"\xfe\xff\0o\0n\0e\0\n",
            "UTF-16",
            "iconv -f UTF-16 -t UTF-8",
        ),
        (b"\x1f\x8b\x08\0\n", "gzip", "unpack it first"),
        (b"PK\x03\x04\x0a\0", "zip", "unpack it first"),
    ] {
        for name in ["b.txt", "b.jsonl"] {
            let (error, message) = refusal(name, bytes, None);
            assert!(
                matches!(error, RecordsError::OtherFormat { format: other, .. } if other == format),
                "{error}"
            );
            assert!(message.contains(way_out), "{message}");
        }
    }
    assert_eq!(
        read("b.txt", b"PK of the drug\nnone\n", None)
            .unwrap()
            .len(),
        2
    );
}

#[test]
fn nul_bytes_are_named_by_offset_and_line() {
    for (bytes, at) in [
        (&b"one\nt\0w\0o\0\n\0"[..], (5, 2)),
        // Not UTF-8 either; this is the likelier cause.
        (b"\xe9\0\n\0", (1, 1)),
        (b"\xef\xbb\xbfone\0\ntwo\n", (6, 1)),
    ] {
        let (error, message) = refusal("n.txt", bytes, None);
        let RecordsError::NulByte { byte, line, .. } = error else {
            panic!("{error}")
        };
        assert_eq!((byte, line), at);
        assert!(message.contains("iconv -f UTF-16LE -t UTF-8"), "{message}");
    }
    let (error, _) = refusal("n.jsonl", b"{\0\"\0", None);
    assert!(
        matches!(
            error,
            RecordsError::NulByte {
                byte: 1,
                line: 1,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn json_in_plain_text_is_refused() {
    for bytes in [
        &b"\n{\"text\": \"Marla\"}\n{\"text\": \"Odo\"}\n"[..],
        b" \n [\"Marla\", \"Odo\"] \r\nand more\n",
    ] {
        let (error, message) = refusal("j.txt", bytes, None);
        assert!(
            matches!(error, RecordsError::JsonInText { line: 2, .. }),
            "{error}"
        );
        assert!(message.contains("rename the file to .jsonl"), "{message}");
        assert!(!message.contains("Marla"), "{message}");
    }
    // Notes that begin with a bracket, or lines of JSON among text.
    let text = b"[seen by Dr. A] no change\n{draft\n[1]\n{\"text\": \"a\"}\n";
    assert_eq!(read("j.txt", text, None).unwrap().len(), 4);
    assert_eq!(read("j.txt", b"12\n\"a\"\n", None).unwrap().len(), 2);
}

#[test]
fn bad_jsonl_lines_are_named() {
    let (error, _) = refusal("j.jsonl", b"{\"text\":\"a\"}\n\n{\"text\": secret}\n", None);
    assert!(
        matches!(
            error,
            RecordsError::InvalidJson {
                line: 3,
                column: 10,
                ..
            }
        ),
        "{error}"
    );
    let (error, _) = refusal("j.jsonl", b"[1]\n", None);
    assert!(matches!(
        error,
        RecordsError::NotAnObject {
            line: 1,
            found: "a list",
            ..
        }
    ));
    let (error, _) = refusal("j.jsonl", b"{\"text\":\"a\"}\n{\"txt\":\"b\"}\n", None);
    assert!(
        matches!(error, RecordsError::MissingField { line: 2, .. }),
        "{error}"
    );
    let (error, _) = refusal("j.jsonl", b"{\"text\":5}\n", None);
    assert!(matches!(
        error,
        RecordsError::WrongType {
            line: 1,
            found: "a number",
            ..
        }
    ));
}

#[test]
fn bad_user_fields_are_named() {
    let (_, message) = refusal("u.jsonl", b"{\"text\":\"a\"}\n", Some("patient"));
    assert!(
        message.contains("\"patient\"") && message.contains("line 1"),
        "{message}"
    );
    for number in ["1.5", "18446744073709551616"] {
        let line = format!("{{\"text\":\"a\",\"p\":{number}}}\n");
        let (error, _) = refusal("u.jsonl", line.as_bytes(), Some("p"));
        let found = "a fraction or a number beyond 64 bits";
        assert!(
            matches!(error, RecordsError::WrongType { found: other, .. } if other == found),
            "{error}"
        );
    }
    let (error, _) = refusal("u.txt", b"a\nb\n", Some("p"));
    assert!(
        matches!(error, RecordsError::UserFieldOfText { .. }),
        "{error}"
    );
}

/// Errors go to logs; records are about people.
#[test]
fn no_error_shows_a_record() {
    let secret = "Marla";
    for line in [
        "{\"text\": Marla}",
        "\"Marla\"",
        "{\"Marla\": \"Marla\"}",
        "{\"text\": [\"Marla\"]}",
        "{\"text\": \"Marla\"",
        "{\"text\": \"Marla\\x\"}",
    ] {
        let message = refusal("s.jsonl", format!("{line}\n{line}\n").as_bytes(), None).1;
        assert!(!message.contains(secret), "{message}");
    }
}
