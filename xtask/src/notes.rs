//! Every proof note that a source or a document points to must exist.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{Result, workspace};

/// Fails where a mention of a proof note leads nowhere, and says where it is.
pub(crate) fn check() -> Result<()> {
    let root = workspace::root();
    let mut missing = Vec::new();
    let mut known = 0;
    for file in texts(root)? {
        for note in mentions(&fs::read_to_string(&file)?) {
            if root.join("docs/proofs").join(&note).exists() {
                known += 1;
            } else {
                let file = file
                    .strip_prefix(root)
                    .unwrap_or(&file)
                    .display()
                    .to_string();
                missing.push(format!(
                    "{file} points to docs/proofs/{note}, which does not exist"
                ));
            }
        }
    }
    if missing.is_empty() {
        println!("proof notes: {known} mentions, every note exists");
        return Ok(());
    }
    Err(missing.join("\n").into())
}

/// Sources and documents of the workspace.
pub(crate) fn texts(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            if !name.starts_with('.') && name != "target" && name != "runs" {
                found.extend(texts(&path)?);
            }
        } else if name.ends_with(".rs") || name.ends_with(".md") {
            found.push(path);
        }
    }
    Ok(found)
}

/// The names of the notes that a text mentions: lower-case words that end in `.md`.
fn mentions(text: &str) -> Vec<String> {
    let folder = concat!("proofs", "/");
    let in_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-.".contains(c);
    text.match_indices(folder)
        .filter_map(|(at, _)| {
            let rest = &text[at + folder.len()..];
            let name = &rest[..rest.find(|c| !in_name(c)).unwrap_or(rest.len())];
            name.find(".md")
                .filter(|&stem| stem > 0)
                .map(|stem| name[..stem + 3].to_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_mentions() {
        let folder = concat!("docs/", "proofs/");
        let text =
            format!("See `{folder}flat-clip.md`.\n[x]({folder}noise_2.md#y), {folder}NAME.md");
        assert_eq!(mentions(&text), ["flat-clip.md", "noise_2.md"]);
        assert!(mentions(folder).is_empty());
    }
}
