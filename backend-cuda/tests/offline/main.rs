//! Every kernel of dp-kernels, compiled for CUDA on a machine without a GPU: CubeCL to CUDA C++ to
//! NVRTC to PTX for sm_90a, which NVRTC assembles too: an instruction that there is not, inline or not, is an error.
//!
//! The conformance suite runs on a device that only records what it is asked to launch, with the
//! properties of an H100; what is compiled is what a GPU would be given, vector widths and all.

mod nvrtc;
mod recorder;

use dp_kernels::{
    Backend,
    conformance::{Bench, checks, skip_unless_required},
};
use recorder::{Machine, Recording};
use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

/// Kernels for processors are launched too, so that they are seen: nothing of the crate is left out.
#[test]
fn every_kernel_compiles_to_ptx() {
    let recordings = record();
    let recorded: BTreeSet<&str> = recordings.iter().map(|r| r.name.as_str()).collect();
    let source = kernels_in_source();
    let missing: Vec<&String> = source
        .iter()
        .filter(|name| !recorded.contains(name.as_str()))
        .collect();
    assert!(missing.is_empty(), "no check launches {missing:?}");

    let nvrtc = match nvrtc::Compiler::find() {
        Ok(nvrtc) => nvrtc,
        Err(why) => return skip_unless_required("nvrtc", &why),
    };
    let failed = compile_all(&nvrtc, &recordings);
    println!(
        "{} kernels of {} functions",
        recordings.len(),
        recorded.len()
    );
    assert!(
        failed.is_empty(),
        "{} of {} failed:\n{}",
        failed.len(),
        recordings.len(),
        failed.join("\n")
    );
    dp_kernels::conformance::report_run(
        "nvrtc",
        &format!("{} kernels to sm_90a", recordings.len()),
    );
}

fn record() -> Vec<Recording> {
    for machine in [Machine::Gpu, Machine::Processor] {
        let client = recorder::client(machine);
        let backend = Backend::new("recorder", "none".to_owned(), client);
        let benches = Bench::every_input(&backend);
        for (check, bench) in checks()
            .iter()
            .flat_map(|c| benches.iter().map(move |b| (c, b)))
        {
            // The numbers are nonsense, nothing runs; what counts is what is launched.
            let _rows = (check.run)(bench);
        }
    }
    recorder::take()
}

/// What is wrong with each kernel that doesn't compile, all threads at work.
fn compile_all(nvrtc: &nvrtc::Compiler, recordings: &[Recording]) -> Vec<String> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut failed = Vec::new();
        while let Some(recording) = recordings.get(next.fetch_add(1, Ordering::Relaxed)) {
            let source = recording.source.as_ref().map_err(Clone::clone);
            match source.and_then(|source| nvrtc.compile(source)) {
                Ok(ptx) if ptx.contains(".target sm_90a") && ptx.contains(".entry") => {}
                Ok(ptx) => failed.push(format!("{}: PTX without entry:\n{ptx}", recording.id)),
                Err(error) => failed.push(format!("{}: {error}", recording.id)),
            }
        }
        failed
    };
    let threads = thread::available_parallelism().map_or(1, Into::into);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let failures = workers.into_iter().map(|worker| worker.join());
        failures
            .flat_map(|failed| failed.expect("a worker only collects"))
            .collect()
    })
}

/// The names of all `#[cube(launch)]` functions in dp-kernels.
fn kernels_in_source() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dp-kernels/src");
    let mut names = BTreeSet::new();
    scan(&root, &mut names);
    assert!(
        names.len() > 10,
        "found only {names:?} in {}",
        root.display()
    );
    names
}

fn scan(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("the sources are beside this crate") {
        let path = entry.expect("a folder can be listed").path();
        if path.is_dir() {
            scan(&path, names);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = fs::read_to_string(&path).expect("a source file is text");
            let mut rest = text.as_str();
            while let Some(at) = rest.find("#[cube(launch") {
                rest = &rest[at + 1..];
                let function = rest.find(" fn ").map(|at| &rest[at + 4..]).unwrap_or("");
                let name: String = function
                    .chars()
                    .take_while(|c| c.is_alphanumeric() || *c == '_')
                    .collect();
                names.insert(name);
            }
        }
    }
}
