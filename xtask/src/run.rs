//! `cargo xtask run`: the demonstration.

use std::process::Command;

use crate::{Result, process, setup, workspace};

/// The variable of a build by which the program knows its commit, and names it in its results.
const COMMIT: &str = "DPCUBE_COMMIT";

/// Builds `dpcube` and runs `dpcube demo` with `arguments`.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let environment = setup::for_running()?;
    let mut build = process::cargo();
    build
        .arg("build")
        .args(workspace::MAIN)
        .args(["--bin", "dpcube"]);
    if let Some(commit) = commit() {
        println!("commit: {commit} ({COMMIT})");
        build.env(COMMIT, commit);
    }
    process::run(environment.apply(&mut build))?;
    let program = workspace::target_directory()?
        .join("release")
        .join(format!("dpcube{}", std::env::consts::EXE_SUFFIX));
    let mut demo = Command::new(program);
    demo.arg("demo")
        .args(arguments)
        .current_dir(workspace::root());
    process::run(environment.apply(&mut demo))
}

/// The commit that this tree is of; none where the caller names one already, or where git can't tell.
///
/// Cargo compiles the program anew whenever it changes, so builds for tests and checks go without.
fn commit() -> Option<String> {
    if std::env::var_os(COMMIT).is_some() {
        return None;
    }
    let git = |arguments: &[&str]| {
        let mut git = Command::new("git");
        process::output(git.args(arguments).current_dir(workspace::root())).ok()
    };
    let head = git(&["rev-parse", "--show-prefix", "HEAD"])?;
    let changes = git(&["status", "--porcelain"])?;
    named(&head, &changes)
}

/// The name of the commit. `head` is the folder of the workspace in its repository and the commit, one a line: a workspace that lies in a folder of
/// somebody else's repository is not of its commit.
fn named(head: &str, changes: &str) -> Option<String> {
    let (folder, commit) = head.split_once('\n')?;
    let dirty = if changes.trim().is_empty() {
        ""
    } else {
        "-dirty"
    };
    folder
        .trim()
        .is_empty()
        .then(|| format!("{}{dirty}", commit.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_named_with_what_was_changed_since() {
        let named = |head, changes| named(head, changes).unwrap_or_default();
        assert_eq!(named("\nab12\n", ""), "ab12");
        assert_eq!(named("\nab12\n", " M README.md\n"), "ab12-dirty");
        assert_eq!(named("\nab12\n", "?? new.rs\n"), "ab12-dirty");
    }

    #[test]
    fn another_repositorys_commit_is_not_ours() {
        assert_eq!(named("vendor/dpcube/\nab12\n", ""), None);
        assert_eq!(named("", ""), None);
    }
}
