//! Programs that hold a mutant each, for a machine with a CUDA device, which needs neither the sources nor a compiler then.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::tree::Tree;
use super::{Mutant, Test, build, chosen};
use crate::{Result, setup};

/// The program without a mutant.
const CONTROL: &str = "control";

/// Writes `folder`: a program for each of the mutants whose names contain one of `names`, one without any, and `run.sh`, which says whose tests
/// found them and fails where one didn't.
pub(crate) fn write(folder: &Path, names: &[String]) -> Result<()> {
    let chosen = chosen(names, true)?;
    let environment = setup::for_running()?;
    let tree = Tree::copied()?;
    fs::create_dir_all(folder)?;
    let save = |name: &str, test: Test| -> Result<()> {
        let program = build(&tree, &environment, test)?
            .map_err(|errors| format!("{name} did not build:\n{errors}"))?;
        fs::copy(program, folder.join(name))?;
        println!("{name}");
        Ok(())
    };
    save(CONTROL, chosen[0].test)?;
    for mutant in &chosen {
        mutant.planted(&tree, || save(mutant.name, mutant.test))?;
    }
    let script = folder.join("run.sh");
    fs::write(&script, script_of(&chosen))?;
    println!(
        "run `sh {}` on a machine with a CUDA device",
        script.display()
    );
    Ok(())
}

/// Tests that are to kill must pass while there is nothing to be killed, and find the device.
fn script_of(mutants: &[&Mutant]) -> String {
    let mut script = String::from(
        r#"# Written by `cargo xtask mutants --cuda`.
cd "$(dirname "$0")" || exit 1
export DPCUBE_REQUIRE=cuda
run() { timeout 300 "./$1" --exact "$2" >"$1.$2.log" 2>&1; }
control() { run control "$1" || { echo "$1 fails without any mutant: control.$1.log"; exit 1; }; }
failed=0
mutant() { if run "$1" "$2"; then echo "SURVIVED $1"; failed=1; else echo "killed   $1"; fi; }
"#,
    );
    let mut tests: Vec<&str> = mutants.iter().map(|mutant| mutant.test.parts().1).collect();
    tests.sort_unstable();
    tests.dedup();
    for test in tests {
        writeln!(script, "control {test}").expect("a string takes it");
    }
    for mutant in mutants {
        let (_, test) = mutant.test.parts();
        writeln!(script, "mutant {} {test}", mutant.name).expect("a string takes it");
    }
    script.push_str("exit $failed\n");
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every test is tried without a mutant first, once.
    #[test]
    fn the_script_tries_each_test_without_a_mutant() {
        let mutant = |name, test| Mutant {
            name,
            file: "",
            old: "",
            new: "",
            test: Test::Cuda(test),
        };
        let mutants = [
            mutant("a", "sums"),
            mutant("b", "norms"),
            mutant("c", "sums"),
        ];
        let script = script_of(&mutants.iter().collect::<Vec<_>>());
        let calls = "control norms\ncontrol sums\nmutant a sums\nmutant b norms\nmutant c sums\nexit $failed\n";
        assert!(script.ends_with(calls), "{script}");
    }
}
