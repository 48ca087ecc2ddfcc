//! Everything that bears privacy has a proof note: what has a section `# Privacy` in its documentation must be named by a note.
//!
//! A note names what it is about in a paragraph of its own, that begins with `Functions:`, each name in backticks: `function`, `Type`,
//! `Type::function`. A type's note is about its functions too, unless they have a section of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::{Result, notes, workspace};

const SECTION: &str = "# Privacy";
const HEAD: &str = "Functions:";

/// Fails where something that bears privacy has no note, or a note names what isn't there.
pub(crate) fn check() -> Result<()> {
    let root = workspace::root();
    let mut faults = Vec::new();

    let mut items = BTreeMap::new();
    for file in notes::texts(root)? {
        let shown = file.strip_prefix(root).unwrap_or(&file);
        if is_library(shown) {
            for item in public_items(&fs::read_to_string(&file)?) {
                items
                    .entry(item.name)
                    .or_insert_with(Vec::new)
                    .push((shown.display().to_string(), item.bears_privacy));
            }
        }
    }
    let mut proven = BTreeSet::new();
    for note in notes::texts(&root.join("docs/proofs"))? {
        let shown = note
            .strip_prefix(root)
            .unwrap_or(&note)
            .display()
            .to_string();
        let names = named(&fs::read_to_string(&note)?);
        if names.is_empty() {
            faults.push(format!(
                "{shown} has no paragraph that begins with `{HEAD}`"
            ));
        }
        for name in names {
            if !items.contains_key(&name) {
                faults.push(format!(
                    "{shown} names `{name}`, which no crate makes public"
                ));
            }
            proven.insert(name);
        }
    }
    let mut bearing = 0;
    for (name, places) in &items {
        for (file, _) in places.iter().filter(|(_, bears_privacy)| *bears_privacy) {
            bearing += 1;
            if !proven.contains(name) {
                faults.push(format!(
                    "{file}: `{name}` bears privacy (its documentation has a section `{SECTION}`) and no note in docs/proofs \
                     names it: write one, or add it to the paragraph `{HEAD}` of the note that proves it"
                ));
            }
        }
    }
    if faults.is_empty() {
        println!("proofs: {bearing} public items bear privacy, each has its note");
        return Ok(());
    }
    Err(faults.join("\n").into())
}

/// A source of a crate that others build on; tests, benches and this program promise nothing.
fn is_library(file: &Path) -> bool {
    let first = file.iter().next().unwrap_or_default().to_string_lossy();
    let in_crate = (first.starts_with("dp-") || first.starts_with("backend-")) && first != "dp-cli";
    in_crate
        && file.iter().nth(1).is_some_and(|folder| folder == "src")
        && file.extension().is_some_and(|extension| extension == "rs")
}

struct Item {
    /// `function`, `Type` or `Type::function`.
    name: String,
    bears_privacy: bool,
}

/// The public functions, methods and types of a source that rustfmt has laid out.
fn public_items(source: &str) -> Vec<Item> {
    let mut items = Vec::new();
    let mut owner = None;
    let mut bears_privacy = false;
    for line in source.lines() {
        if line.starts_with("impl") {
            owner = implemented(line);
        } else if line.starts_with('}') {
            owner = None;
        }
        let text = line.trim_start();
        if let Some(documentation) = text.strip_prefix("///") {
            bears_privacy |= documentation.trim() == SECTION;
            continue;
        }
        if text.starts_with("#[") || text.starts_with("//") {
            continue;
        }
        if let Some(name) = public_name(text) {
            let owner = owner.as_deref().filter(|_| text.len() < line.len());
            let name = owner.map_or(name.to_owned(), |owner| format!("{owner}::{name}"));
            items.push(Item {
                name,
                bears_privacy,
            });
        }
        // The rest of an attribute that takes several lines stands between documentation and item.
        if !text.starts_with(')') {
            bears_privacy = false;
        }
    }
    items
}

/// The type of `impl<'a> Trait for Type<'a> {`.
fn implemented(line: &str) -> Option<String> {
    let rest = line.strip_prefix("impl")?;
    let rest = match rest.strip_prefix('<') {
        Some(parameters) => {
            let mut depth = 1;
            let end = parameters.find(|c| {
                depth += i32::from(c == '<') - i32::from(c == '>');
                depth == 0
            })?;
            &parameters[end + 1..]
        }
        None => rest,
    };
    let of = rest.rsplit(" for ").next()?.trim();
    let name: String = of
        .chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect();
    (!name.is_empty()).then_some(name)
}

/// The name in `pub fn name(`, `pub struct Name`, and so on.
fn public_name(text: &str) -> Option<&str> {
    let text = text.strip_prefix("pub ")?;
    let text = text.strip_prefix("const ").unwrap_or(text);
    let kinds = ["fn ", "struct ", "enum ", "trait "];
    let name = kinds.iter().find_map(|kind| text.strip_prefix(kind))?;
    let end = name.find(|c: char| !(c.is_alphanumeric() || c == '_'));
    Some(&name[..end.unwrap_or(name.len())])
}

/// The names in the paragraph `Functions:` of a note.
fn named(note: &str) -> Vec<String> {
    let paragraphs = note.split("\n\n");
    paragraphs
        .map(str::trim)
        .filter(|paragraph| paragraph.starts_with(HEAD))
        .flat_map(|paragraph| paragraph.split('`').skip(1).step_by(2))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_bears_privacy() {
        let source = "/// A.\n///\n/// # Privacy\n/// B.\n#[must_use]\npub fn one(x: u8) {\n}\n\n/// A.\npub fn two() {}\n\
                      /// # Privacy\npub struct Three<'a> {\n    four: u8,\n}\n\nimpl<T: Into<u8>> Three<T> {\n    /// # Privacy\n    \
                      pub const fn five(&self) {}\n}\n\nimpl Iterator for Three<'_> {\n    /// # Privacy\n    fn six() {}\n}\n\n\
                      fn seven() {}\n";
        let items = public_items(source);
        let found: Vec<_> = items
            .iter()
            .map(|item| (item.name.as_str(), item.bears_privacy))
            .collect();
        assert_eq!(
            found,
            [
                ("one", true),
                ("two", false),
                ("Three", true),
                ("Three::five", true)
            ]
        );
    }

    #[test]
    fn a_note_names_its_functions_in_one_paragraph() {
        let note = "# Title of `x`\n\nFunctions: `a`, `B::c`,\n`D`.\n\nCode: `e`.\n";
        assert_eq!(named(note), ["a", "B::c", "D"]);
        assert!(named("# `x`\n").is_empty());
    }

    #[test]
    fn tests_and_programs_are_no_library() {
        let library = |file| is_library(Path::new(file));
        assert!(library("dp-core/src/noise/key.rs") && library("backend-cpu/src/lib.rs"));
        assert!(!library("dp-core/tests/noise.rs") && !library("dp-cli/src/main.rs"));
        assert!(!library("xtask/src/main.rs") && !library("docs/x.md"));
    }
}
