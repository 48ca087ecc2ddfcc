//! What the fuzz target `records` and dp-text's test `records_fuzz_corpus` do with bytes.

mod case;

use std::collections::{HashMap, HashSet};
use std::path::Path;

use dp_text::records::{HeldOut, Records, RecordsError};
use serde_json::Value;

use case::Case;

/// Reads the data file that `bytes` stand for and panics where a promise of the reader does not hold. `false` if they
/// stand for none.
pub fn check(bytes: &[u8]) -> bool {
    let Ok(case) = Case::decode(bytes) else {
        return false;
    };
    let read = Records::read_from(Path::new(case.name), &case.bytes[..], case.user_field);
    match read {
        Ok(records) => {
            assert_is_the_file(&case, &records);
            split(records);
        }
        Err(error) => assert_is_at_fault(&case, &error),
    }
    true
}

fn is_json(case: &Case) -> bool {
    case.name.ends_with(".jsonl") || case.name.ends_with(".NDJSON")
}

/// The records are those that a slow reader of the whole file finds, each with its user.
fn assert_is_the_file(case: &Case, records: &Records) {
    let text = std::str::from_utf8(&case.bytes).expect("what was read is UTF-8");
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut blank = 0;
    let (mut texts, mut users) = (Vec::new(), Vec::new());
    let mut numbers = HashMap::new();
    for line in text.split_terminator('\n') {
        let line = line
            .strip_suffix('\r')
            .filter(|_| ends_a_line(text, line))
            .unwrap_or(line);
        if line.trim().is_empty() {
            blank += 1;
            continue;
        }
        let (record, user) = if is_json(case) {
            let mut object: Value = serde_json::from_str(line).expect("what was read is JSON");
            let user = case.user_field.map(|field| object[field].clone());
            let Value::String(record) = object["text"].take() else {
                panic!("a record that is no text");
            };
            (record, user)
        } else {
            (line.to_owned(), None)
        };
        if record.trim().is_empty() {
            blank += 1;
            continue;
        }
        texts.push(record);
        if let Some(user) = user {
            let next = numbers.len() as u32;
            users.push(*numbers.entry(user.to_string()).or_insert(next));
        }
    }
    assert_eq!(records.texts(), texts);
    assert_eq!(records.blank(), blank);
    assert!(records.len() >= 2);
    assert_eq!(records.user_ids(), case.user_field.map(|_| &users[..]));
    if let Some(known) = records.users() {
        let largest = (0..known.count as u32).map(|user| {
            let of_user = users.iter().filter(|&&other| other == user);
            of_user.count()
        });
        assert_eq!(known.count, numbers.len());
        assert_eq!(Some(known.most_records), largest.max());
    }
}

/// Whether a line break follows `line`, which is a part of `text`.
fn ends_a_line(text: &str, line: &str) -> bool {
    let end = line.as_ptr() as usize - text.as_ptr() as usize + line.len();
    text.as_bytes().get(end) == Some(&b'\n')
}

/// The error is true of the file and shows no more of it than a place, a field's name and a JSON type.
fn assert_is_at_fault(case: &Case, error: &RecordsError) {
    let lines = case.bytes.split(|byte| *byte == b'\n').count() as u64;
    let message = error.to_string();
    assert!(message.contains(case.name), "{message}");
    let line = match error {
        RecordsError::NotUtf8 { byte, line, .. } => {
            let valid = std::str::from_utf8(&case.bytes).expect_err("an error says so");
            // A line that is cut within a character is at fault where the character begins.
            assert_eq!(*byte, valid.valid_up_to() as u64);
            *line
        }
        RecordsError::NulByte { byte, line, .. } => {
            let first = case.bytes.iter().position(|&other| other == 0);
            assert_eq!(first, Some(*byte as usize));
            *line
        }
        RecordsError::OtherFormat { .. } => {
            // No name of these is of another format.
            let known: [&[u8]; 4] = [b"\xff\xfe", b"\xfe\xff", b"\x1f\x8b", b"PK\x03\x04"];
            assert!(known.iter().any(|first| case.bytes.starts_with(first)));
            1
        }
        RecordsError::JsonInText { line, .. } => {
            assert!(!is_json(case));
            *line
        }
        RecordsError::InvalidJson { line, .. }
        | RecordsError::NotAnObject { line, .. }
        | RecordsError::MissingField { line, .. }
        | RecordsError::WrongType { line, .. } => {
            assert!(is_json(case));
            *line
        }
        RecordsError::Empty { .. } | RecordsError::OneRecord { .. } => 1,
        RecordsError::UserFieldOfText { .. } => {
            assert!(!is_json(case) && case.user_field.is_some());
            1
        }
        other => panic!("{other}"),
    };
    assert!((1..=lines).contains(&line), "line {line} of {lines}");
    let known = message
        .replace(case.name, "")
        .replace(case.user_field.unwrap_or("text"), "");
    for word in String::from_utf8_lossy(&case.bytes).split_whitespace() {
        // Longer than any word of a message.
        assert!(word.len() < 24 || !known.contains(word), "{message}");
    }
}

/// The split loses nothing, keeps the order, and has no user and no text on both sides.
fn split(records: Records) {
    let (texts, users) = (
        records.texts().to_vec(),
        records.user_ids().map(<[u32]>::to_vec),
    );
    let Ok(split) = HeldOut::new(texts.len() as u64).split(records) else {
        return;
    };
    let sides = [&split.train, &split.held_out];
    assert!(sides.iter().all(|side| !side.is_empty()));
    assert_eq!(sides.map(Records::len).iter().sum::<usize>(), texts.len());
    // Equal texts of two users may be on different sides: each record goes with its user.
    let mut rest = sides.map(|side| {
        let users = side.user_ids().map(<[u32]>::to_vec);
        let texts = side.texts().iter().enumerate();
        let records = texts.map(move |(place, text)| (text, users.as_ref().map(|ids| ids[place])));
        records.peekable()
    });
    for (place, text) in texts.iter().enumerate() {
        let record = (text, users.as_ref().map(|ids| ids[place]));
        let [train, held_out] = &mut rest;
        let found = train
            .next_if_eq(&record)
            .or_else(|| held_out.next_if_eq(&record));
        assert!(found.is_some(), "a record is on neither side");
    }
    if users.is_some() {
        let ids =
            sides.map(|side| HashSet::<u32>::from_iter(side.user_ids().expect("users").to_vec()));
        assert!(ids[0].is_disjoint(&ids[1]), "a user on both sides");
    } else {
        let held_out: HashSet<_> = split.held_out.texts().iter().collect();
        let mut trained_on = split.train.texts().iter();
        assert!(
            !trained_on.any(|text| held_out.contains(text)),
            "a text on both sides"
        );
    }
}
