//! `cargo xtask mutants`: plants bugs in the kernels one at a time, and sees whether the tests find them.
//!
//! The bugs are planted in a copy of the tree in the target folder, never in the working tree. What only a CUDA device runs is built into programs
//! for a machine that has one. `docs/mutants.md` records what was seen.

mod list;
mod programs;
mod tree;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{Result, process, setup, workspace};
pub(crate) use programs::write as write_programs;
use tree::Tree;

/// One wrong line, and the test that must fail of it.
#[derive(Clone, Copy)]
struct Mutant {
    name: &'static str,
    /// From the root of the workspace.
    file: &'static str,
    /// Occurs exactly once in the file.
    old: &'static str,
    new: &'static str,
    test: Test,
}

/// A test that is expected to kill.
#[derive(Clone, Copy, PartialEq)]
enum Test {
    /// A check of the conformance suite, on the CPU backend.
    Conformance(&'static str),
    /// Likewise on the CUDA backend.
    Cuda(&'static str),
    /// File and name of another test, under a file name that no two crates have.
    File(&'static str, &'static str),
    /// A test inside the program, by its path.
    Program(&'static str),
}

impl Test {
    /// The test target, and the test in it.
    fn parts(self) -> (&'static str, &'static str) {
        match self {
            Self::Conformance(name) | Self::Cuda(name) => ("conformance", name),
            Self::File(file, name) => (file, name),
            Self::Program(name) => ("dpcube", name),
        }
    }
}

/// What became of a mutant.
enum Fate {
    Killed,
    Survived,
    DidNotBuild(String),
}

/// A kernel that a mutant sends round for ever is a find too.
const PATIENCE: Duration = Duration::from_secs(300);

impl Mutant {
    /// Whether only a CUDA device runs its code.
    fn is_for_cuda(&self) -> bool {
        matches!(self.test, Test::Cuda(_))
    }

    /// What `work` gives while the mutant is planted in `tree`.
    fn planted<T>(&self, tree: &Tree, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let path = tree.path(self.file);
        let source = fs::read_to_string(&path)?;
        fs::write(&path, source.replacen(self.old, self.new, 1))?;
        let done = work();
        fs::write(&path, source)?;
        done
    }
}

/// The mutants for a CUDA device or for the CPU whose names contain one of `names`: all of them, if there are none.
fn chosen(names: &[String], for_cuda: bool) -> Result<Vec<&'static Mutant>> {
    let of_device = |mutant: &&Mutant| mutant.is_for_cuda() == for_cuda;
    let chosen: Vec<&Mutant> = list::MUTANTS
        .iter()
        .filter(of_device)
        .filter(|mutant| names.is_empty() || names.iter().any(|name| mutant.name.contains(name)))
        .collect();
    if chosen.is_empty() {
        let all: Vec<&str> = list::MUTANTS
            .iter()
            .filter(of_device)
            .map(|mutant| mutant.name)
            .collect();
        return Err(format!("no mutant is called like {names:?}; all: {}", all.join(" ")).into());
    }
    check()?;
    Ok(chosen)
}

/// Applies the mutants of what the CPU runs, and fails where one survives.
pub(crate) fn run(names: &[String]) -> Result<()> {
    let chosen = chosen(names, false)?;
    let environment = setup::for_running()?;
    let tree = Tree::copied()?;
    control(&tree, &environment, &chosen)?;

    let mut failures = Vec::new();
    for mutant in &chosen {
        let started = Instant::now();
        let fate = mutant.planted(&tree, || fate(&tree, &environment, mutant.test));
        let (target, test) = mutant.test.parts();
        let word = match fate? {
            Fate::Killed => "killed",
            Fate::Survived => {
                failures.push(mutant.name);
                "SURVIVED"
            }
            Fate::DidNotBuild(errors) => {
                eprintln!("{errors}");
                failures.push(mutant.name);
                "did not build"
            }
        };
        let seconds = started.elapsed().as_secs();
        println!(
            "{word:13} {:40} {target}::{test} ({seconds} s)",
            mutant.name
        );
    }
    if failures.is_empty() {
        println!("mutants: {} planted, each killed", chosen.len());
        return Ok(());
    }
    let (count, of) = (failures.len(), chosen.len());
    Err(format!("{count} of {of} mutants not killed: {}", failures.join(" ")).into())
}

/// Fails where a mutant's text is not found exactly once in its file, or two have one name.
pub(crate) fn check() -> Result<()> {
    let mut wrong = Vec::new();
    for (place, mutant) in list::MUTANTS.iter().enumerate() {
        let source = fs::read_to_string(workspace::root().join(mutant.file)).unwrap_or_default();
        let found = source.matches(mutant.old).count();
        if found != 1 {
            wrong.push(format!(
                "mutant {}: {} has its text {found} times, not once",
                mutant.name, mutant.file
            ));
        }
        if list::MUTANTS[..place]
            .iter()
            .any(|other| other.name == mutant.name)
        {
            wrong.push(format!("mutant {}: the name is taken", mutant.name));
        }
    }
    if wrong.is_empty() {
        println!("mutants: {}, each text found once", list::MUTANTS.len());
        return Ok(());
    }
    wrong.push("bring xtask/src/mutants/list.rs in step with the sources".to_owned());
    Err(wrong.join("\n").into())
}

/// The tests that are to kill must pass while there is nothing to be killed.
fn control(tree: &Tree, environment: &setup::Environment, chosen: &[&Mutant]) -> Result<()> {
    let mut tests: Vec<Test> = Vec::new();
    for mutant in chosen {
        if !tests.contains(&mutant.test) {
            tests.push(mutant.test);
        }
    }
    for test in &tests {
        let (target, name) = test.parts();
        match fate(tree, environment, *test)? {
            Fate::Survived => {}
            Fate::Killed => {
                return Err(format!("{target}::{name} fails without any mutant").into());
            }
            Fate::DidNotBuild(errors) => return Err(errors.into()),
        }
    }
    println!("control: {} tests pass without a mutant", tests.len());
    Ok(())
}

/// Builds the test in the tree as it is: its program, or the compiler's errors.
fn build(
    tree: &Tree,
    environment: &setup::Environment,
    test: Test,
) -> Result<std::result::Result<PathBuf, String>> {
    let (target, _) = test.parts();
    let mut build = process::cargo();
    build.arg("test");
    match test {
        Test::Cuda(_) => build.args(["--locked", "--release", "--package", "dp-backend-cuda"]),
        // The same features without it, and one program less to build.
        _ => build
            .args(workspace::MAIN)
            .args(["--exclude", "dp-backend-wgpu"]),
    };
    let kind = match test {
        Test::Program(_) => "--bin",
        _ => "--test",
    };
    build
        .args([kind, target])
        .args(["--no-run", "--message-format", "json-render-diagnostics"])
        .current_dir(tree.root())
        .env("CARGO_TARGET_DIR", tree.target());
    let built = environment
        .apply(&mut build)
        .stdin(Stdio::null())
        .output()?;
    if !built.status.success() {
        return Ok(Err(String::from_utf8_lossy(&built.stderr).into_owned()));
    }
    let program = executable(&String::from_utf8(built.stdout)?, target)
        .ok_or_else(|| format!("cargo names no program of the test {target}"))?;
    Ok(Ok(program))
}

/// Builds the tree as it is and runs the test.
fn fate(tree: &Tree, environment: &setup::Environment, test: Test) -> Result<Fate> {
    let program = match build(tree, environment, test)? {
        Ok(program) => program,
        Err(errors) => return Ok(Fate::DidNotBuild(errors)),
    };
    let (target, name) = test.parts();
    let mut command = Command::new(&program);
    command
        .args(["--exact", name])
        .current_dir(tree.root())
        .env("DPCUBE_REQUIRE", "cpu");
    let log = tree.root().with_extension("log");
    let output = fs::File::create(&log)?;
    environment
        .apply(&mut command)
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output);
    let passed = passes(&mut command)?;
    // A name that no test has would let every mutant live, or every one die.
    if !fs::read_to_string(&log)?.contains("running 1 test") {
        return Err(format!("{target} has no test {name}").into());
    }
    Ok(if passed { Fate::Survived } else { Fate::Killed })
}

/// Whether the program succeeds, within [`PATIENCE`].
fn passes(command: &mut Command) -> Result<bool> {
    let mut child = command.spawn()?;
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.success());
        }
        if started.elapsed() > PATIENCE {
            child.kill()?;
            child.wait()?;
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The program of the test `target` among cargo's messages.
fn executable(messages: &str, target: &str) -> Option<PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == target)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_found_once() {
        check().unwrap();
    }

    #[test]
    fn every_mutant_changes_something() {
        for mutant in list::MUTANTS {
            assert_ne!(mutant.old, mutant.new, "{}", mutant.name);
        }
    }

    #[test]
    fn the_program_is_found_among_the_messages() {
        let messages = concat!(
            "{\"target\":{\"name\":\"noise\"},\"executable\":\"/n\"}\n",
            "not json\n",
            "{\"target\":{\"name\":\"clipping\"},\"executable\":null}\n",
            "{\"target\":{\"name\":\"clipping\"},\"executable\":\"/c\"}\n",
        );
        assert_eq!(executable(messages, "clipping"), Some(PathBuf::from("/c")));
        assert_eq!(executable(messages, "missing"), None);
    }
}
