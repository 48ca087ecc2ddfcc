//! The copy of the tree that mutants are planted in.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Result, process, workspace};

/// A copy of the working tree, with a target folder of its own: cargo tells sources by their times and would
/// take a mutant's library for the tree's.
pub(super) struct Tree {
    folder: PathBuf,
}

impl Tree {
    /// Copies what git knows or would add; files that are there already with the same contents are left alone, so
    /// that little is built again.
    pub(super) fn copied() -> Result<Self> {
        let tree = Self {
            folder: workspace::target_directory()?.join("mutants"),
        };
        let mut git = Command::new("git");
        git.current_dir(workspace::root()).args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ]);
        let listed = process::output(&mut git)?;
        let wanted: BTreeSet<PathBuf> = listed
            .split('\0')
            .filter(|name| !name.is_empty())
            .map(PathBuf::from)
            .filter(|name| workspace::root().join(name).is_file())
            .collect();
        fs::create_dir_all(tree.root())?;
        remove_others(&tree.root(), &tree.root(), &wanted)?;
        for name in &wanted {
            let (from, to) = (workspace::root().join(name), tree.root().join(name));
            let contents = fs::read(&from)?;
            if fs::read(&to).is_ok_and(|old| old == contents) {
                continue;
            }
            if let Some(folder) = to.parent() {
                fs::create_dir_all(folder)?;
            }
            fs::write(&to, contents)?;
        }
        Ok(tree)
    }

    pub(super) fn root(&self) -> PathBuf {
        self.folder.join("tree")
    }

    pub(super) fn target(&self) -> PathBuf {
        self.folder.join("build")
    }

    pub(super) fn path(&self, file: &str) -> PathBuf {
        self.root().join(file)
    }
}

/// Removes files that the working tree no longer has.
fn remove_others(root: &Path, folder: &Path, wanted: &BTreeSet<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            remove_others(root, &path, wanted)?;
        } else if !wanted.contains(path.strip_prefix(root)?) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}
