//! `cargo xtask corpus`: the shipped text, made again from Debian's package `wordnet-base`.
//!
//! The rule is in `corpus/README.md` in words and here in code; a test holds the shipped file to
//! both. The package is not needed to build, to test or to train.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use crate::{Result, digest, process, workspace};

const PACKAGE: &str = "wordnet-base=1:3.0-37";
const PACKAGE_SHA256: &str = "61060d960f9ada8fa120872312eccd3ecebfbab8c4579e4f5a74e1cf67620752";
const FILES: [&str; 2] = ["data.noun", "data.verb"];

/// Longest and shortest record in bytes. 62 and two special tokens fill a context of 64.
const SHORTEST: usize = 30;
const LONGEST: usize = 62;

/// Definitions with these in them are left out: the text is shown in demonstrations.
const LEFT_OUT: [&str; 6] = [
    "slur",
    "offensive",
    "obscen",
    "vulgar",
    "disparag",
    "derogat",
];

/// Where the shipped corpus is.
pub(crate) fn path() -> PathBuf {
    workspace::root().join("corpus/wordnet.txt")
}

/// Writes the corpus again, from `deb` or from the package that `apt-get` downloads.
pub(crate) fn make(deb: Option<&Path>) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    let deb = match deb {
        Some(path) => std::path::absolute(path)?,
        None => downloaded(folder)?,
    };
    digest::verify(&deb, PACKAGE_SHA256)?;
    process::run(
        Command::new("dpkg-deb")
            .arg("-x")
            .arg(&deb)
            .arg(folder.join("tree")),
    )?;

    let mut records = Vec::new();
    for name in FILES {
        let file = folder.join("tree/usr/share/wordnet").join(name);
        records.extend(std::fs::read_to_string(&file)?.lines().filter_map(record));
    }
    let text = ordered(records);
    std::fs::write(path(), &text)?;
    println!(
        "{}: {} records, {} bytes, SHA-256 {}",
        path().display(),
        text.lines().count(),
        text.len(),
        digest::of_file(&path())?
    );
    Ok(())
}

fn downloaded(folder: &Path) -> Result<PathBuf> {
    process::run(
        Command::new("apt-get")
            .args(["download", PACKAGE])
            .current_dir(folder),
    )
    .map_err(|error| {
        format!(
            "{error}\nwordnet-base is a Debian package: run 'apt-get update', or pass --deb FILE"
        )
    })?;
    let deb = std::fs::read_dir(folder)?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"));
    Ok(deb.ok_or("apt-get download left no .deb file")?)
}

/// One record, `word: definition`, of one line of a WordNet data file; `None` where it is left out.
///
/// A line is `offset lex_filenum ss_type w_cnt word lex_id ... | gloss` (see wndb(5WN)), and a gloss
/// is definitions, then examples in quotes.
fn record(line: &str) -> Option<String> {
    let (synset, gloss) = line.split_once(" | ")?;
    let word = synset.split(' ').nth(4)?.replace('_', " ");
    let definition = gloss.trim().split("; \"").next()?.trim();

    let plain_word = word.starts_with(|c: char| c.is_ascii_lowercase())
        && word.ends_with(|c: char| c.is_ascii_lowercase())
        && word
            .chars()
            .all(|c| c.is_ascii_lowercase() || c == ' ' || c == '-');
    let plain_definition = definition
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || " ,;:()'/-".contains(c))
        && definition.ends_with(|c: char| c.is_ascii_alphanumeric() || c == ')')
        && definition.matches('(').count() == definition.matches(')').count();
    let left_out = LEFT_OUT.iter().any(|part| definition.contains(part));

    let record = format!("{word}: {definition}");
    let fits = (SHORTEST..=LONGEST).contains(&record.len());
    (plain_word && plain_definition && !left_out && fits).then_some(record)
}

/// Each record once, in the order of its SHA-256: any prefix is an even sample of the whole.
fn ordered(records: Vec<String>) -> String {
    let by_digest: BTreeMap<_, _> = records
        .into_iter()
        .map(|record| (Sha256::digest(record.as_bytes()), record))
        .collect();
    by_digest
        .into_values()
        .flat_map(|record| [record, "\n".into()])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_data_line() {
        let line = "04379243 06 n 02 table 0 board 1 001 @ 03405725 n 0000 | a piece of furniture \
                    having a smooth flat top; \"it was a sturdy table\"  ";
        let expected = "table: a piece of furniture having a smooth flat top";
        assert_eq!(record(line).as_deref(), Some(expected));
        assert_eq!(record(&line.replace("table 0", "Table 0")), None);
        assert_eq!(record(&line.replace("flat top", "vulgar top")), None);
        assert_eq!(record(&line.replace("having", "(having")), None);
        assert_eq!(
            record(&line.replace("a piece of furniture having a smooth ", "")),
            None
        );
        assert_eq!(
            record("  1 This software and database is being provided to you"),
            None
        );
    }

    #[test]
    fn order_is_by_digest_and_duplicates_go() {
        let text = ordered(vec!["b".into(), "a".into(), "b".into()]);
        // SHA-256 of "b" begins with 3e, of "a" with ca.
        assert_eq!(text, "b\na\n");
    }

    #[test]
    fn the_shipped_file_is_the_one_described() {
        let readme = std::fs::read_to_string(workspace::root().join("corpus/README.md")).unwrap();
        let digest = digest::of_file(&path()).unwrap();
        assert!(
            readme.contains(&digest),
            "corpus/README.md does not name SHA-256 {digest}"
        );
        assert!(readme.contains(PACKAGE_SHA256));

        let text = std::fs::read_to_string(path()).unwrap();
        let count = text.lines().count().to_string();
        assert!(
            readme.contains(&count),
            "corpus/README.md does not name {count} records"
        );
        assert!(
            text.lines()
                .all(|line| (SHORTEST..=LONGEST).contains(&line.len()))
        );
        assert_eq!(ordered(text.lines().map(String::from).collect()), text);
    }
}
