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
        "{\"text\":\"c\",\"who\":\"7\"}\n{\"text\":\" \",\"who\":\"blank\"}\n{\"text\":\"d\",\"who\":\"7\"}\n"
    );
    let records = read("a.jsonl", lines.as_bytes(), Some("who")).unwrap();
    assert_eq!(
        records.users(),
        Some(Users {
            count: 2,
            most_records: 3
        })
    );
    assert_eq!(records.user_ids(), Some(&[0, 1, 0, 0][..]));
    // The number 7 is nobody's name.
    let lines = b"{\"text\":\"a\",\"who\":\"n7\"}\n{\"text\":\"b\",\"who\":7}\n";
    assert_eq!(
        read("a.jsonl", lines, Some("who"))
            .unwrap()
            .users()
            .unwrap()
            .count,
        2
    );
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
    let (error, _) = refusal("u.jsonl", b"{\"text\":\"a\",\"p\":1.5}\n", Some("p"));
    assert!(
        matches!(
            error,
            RecordsError::WrongType {
                found: "a fraction",
                ..
            }
        ),
        "{error}"
    );
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
