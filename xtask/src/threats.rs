//! Every test that docs/threat-model.md names must exist: a promise without its test is a wish.

use std::fs;

use crate::{Result, workspace};

/// Fails where a named test isn't there, and says which.
pub(crate) fn check() -> Result<()> {
    let root = workspace::root();
    let named = named(&fs::read_to_string(root.join("docs/threat-model.md"))?);
    let mut missing = Vec::new();
    for (file, test) in &named {
        let there = fs::read_to_string(root.join(file)).is_ok_and(|text| defines(&text, test));
        if !there {
            missing.push(format!(
                "docs/threat-model.md names {file}::{test}, which does not exist"
            ));
        }
    }
    if named.is_empty() {
        missing.push("docs/threat-model.md names no test".to_owned());
    }
    if missing.is_empty() {
        println!(
            "threat model: {} mentions of tests, every test exists",
            named.len()
        );
        return Ok(());
    }
    Err(missing.join("\n").into())
}

/// What stands in backticks as `file.rs::test`.
fn named(text: &str) -> Vec<(String, String)> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted
        .filter_map(|name| name.split_once(".rs::"))
        .map(|(file, test)| (format!("{file}.rs"), test.to_owned()))
        .collect()
}

/// Whether `text` has the function, marked as a test by the attributes right above it.
fn defines(text: &str, test: &str) -> bool {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let head = format!("fn {test}(");
    lines.iter().enumerate().any(|(at, line)| {
        let above = lines[..at].iter().rev();
        line.starts_with(&head)
            && above
                .take_while(|line| line.starts_with("#[") || line.starts_with("//"))
                .any(|line| *line == "#[test]")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_is_one_only_with_its_mark() {
        let text = "#[test]\nfn one() {\n}\nfn two(\n) {}\n/// #[test]\nfn three() {}";
        assert!(defines(text, "one") && !defines(text, "two"));
        assert!(!defines(text, "three") && !defines(text, "on") && !defines(text, "four"));
    }

    #[test]
    fn names_stand_in_backticks() {
        let found = named("x `a/b.rs::c`, `d.rs` and a/b.rs::e | `f.rs::g` |");
        let pairs = [("a/b.rs", "c"), ("f.rs", "g")];
        assert_eq!(found, pairs.map(|(a, b)| (a.to_owned(), b.to_owned())));
    }
}
