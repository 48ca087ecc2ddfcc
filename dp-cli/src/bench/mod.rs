//! `dpcube bench`: the throughput suite on one device of this machine.
//!
//! Exit code 0 where every row that was measured is verified, 1 where one is not, 2 where nothing was measured, 130
//! where Ctrl-C stopped it; what was measured by then is kept.

mod args;
mod bounds;
mod compare;
mod plots;
mod report;
mod step;
mod system;
mod table;
mod watch;

#[cfg(all(test, feature = "cpu"))]
mod tests;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use dp_bench::{
    Bench, DeviceCeilings, Extent, Filter, Group, Header, Line, Outcome, Settings, plan,
};
use dp_burn::DeviceName;
use dp_kernels::Backend;

use crate::args::Device;
use crate::date::today;
use crate::error::Failure;
use crate::files::write_atomically;
use crate::interrupt::Interrupt;
use crate::output::{answer, note};
use crate::verify::{COMMIT, VERSION, open_one};
pub use args::BenchArgs;
use args::{BenchCommand, Dtype, FEWEST, SAMPLES};
use dp_bench::FloatKind;
use watch::Watcher;

/// When a quick run begins no further group: two minutes, less what one group and the report take.
const QUICK: Duration = Duration::from_secs(100);
/// Seconds of measuring for each row.
const PER_ROW: [(Extent, f64); 2] = [(Extent::Quick, 0.35), (Extent::Full, 1.0)];

/// Measures what is asked for, or shows results that are there.
///
/// # Errors
/// A number of the command line is out of range; the device can't be opened; the filter selects nothing; a file can't be
/// written; a row is not verified; nothing was measured; Ctrl-C.
pub fn run(args: &BenchArgs) -> Result<(), Failure> {
    match &args.command {
        Some(BenchCommand::Compare { first, second }) => return compare::run(first, second),
        Some(BenchCommand::Bounds { result }) => return bounds::run(result),
        None => {}
    }
    let began = Instant::now();
    let extent = if args.quick {
        Extent::Quick
    } else {
        Extent::Full
    };
    let per_row = seconds_per_row(args, extent)?;
    let samples = samples(args)?;
    let name = match args.device {
        Device::Cpu => DeviceName::Cpu,
        Device::Wgpu => DeviceName::Wgpu,
        Device::Cuda => DeviceName::Cuda,
    };
    let backend = open_one(name)?;
    let kinds = kinds(args, extent, &backend)?;
    // Whole steps first: what a run that ends early must not lack.
    let mut groups = step::groups(extent, name)?;
    groups.extend(plan(extent, &kinds, backend.tuning.matrix_units.is_some())?);
    check_filter(&args.filter, &groups)?;
    let bench = Bench::new(backend.clone(), memory(args, &backend)?);
    // Before anything is measured: a folder that can't be written would cost the whole run.
    let mut sink = Sink::new(args)?;
    let interrupt = Interrupt::install("finishing the samples of this group; its rows are kept")?;
    note!("{}", backend.describe());
    note!("measuring what the device reaches at best");
    let load_before = system::load();
    let header = Header {
        backend: backend.describe().backend.to_owned(),
        device: backend.describe().device.clone(),
        driver: backend.describe().driver.clone(),
        version: VERSION.to_owned(),
        commit: COMMIT.map(str::to_owned),
        date: today(),
        note: args.note.clone(),
        extent: extent.name().to_owned(),
        seconds_per_row: per_row.as_secs_f64(),
        cache_bytes: bench.cache().0,
        cache_told: bench.cache().1,
        memory_bytes: bench.memory,
        load_before,
        ceilings: DeviceCeilings::measure(&bench)?,
    };
    let settings = Settings {
        filter: Filter::new(args.filter.clone()),
        per_row,
        samples,
        deadline: args.quick.then(|| began + QUICK),
        command: command(args, &header),
    };
    let stop = || interrupt.requested();
    let outcome = measure(&bench, &header, &groups, &settings, &mut sink, &stop)?;
    verdict(&outcome, &sink.json)
}

/// Runs the suite, with every line written to the file as it comes; then the table and the page.
fn measure(
    bench: &Bench,
    header: &Header,
    groups: &[Box<dyn Group>],
    settings: &Settings,
    sink: &mut Sink,
    stop: &dyn Fn() -> bool,
) -> Result<Outcome, Failure> {
    let mut watcher = Watcher::new(sink.file()?, stop);
    dp_bench::Watch::line(&mut watcher, &Line::Run(header.clone()));
    let outcome = dp_bench::run(bench, header, groups, settings, &mut watcher);
    let lines = watcher.finish().map_err(|error| {
        Failure::new(format!(
            "{:?} cannot be written: {error}; choose another --json",
            sink.json
        ))
    })?;
    answer(table::text(&lines))?;
    let page = report::page(&lines)?;
    write_atomically(&sink.page, page.as_bytes()).map_err(|error| {
        Failure::new(format!(
            "{:?} cannot be written: {error}; choose another --out",
            sink.page
        ))
    })?;
    note!("{}\n{}", sink.json.display(), sink.page.display());
    Ok(outcome)
}

/// Where results go.
struct Sink {
    json: PathBuf,
    page: PathBuf,
}

impl Sink {
    fn new(args: &BenchArgs) -> Result<Self, Failure> {
        fs::create_dir_all(&args.out).map_err(|error| {
            Failure::new(format!(
                "{:?} cannot be made: {error}; choose another --out",
                args.out
            ))
        })?;
        let json = args
            .json
            .clone()
            .unwrap_or_else(|| args.out.join("bench.jsonl"));
        let sink = Self {
            json,
            page: args.out.join("report.html"),
        };
        // What is in it stays until there are rows to take its place.
        sink.open(fs::OpenOptions::new().create(true).append(true))?;
        Ok(sink)
    }

    /// The file of the rows, empty.
    fn file(&self) -> Result<fs::File, Failure> {
        self.open(
            fs::OpenOptions::new()
                .create(true)
                .write(true)
                .truncate(true),
        )
    }

    fn open(&self, options: &fs::OpenOptions) -> Result<fs::File, Failure> {
        options.open(&self.json).map_err(|error| {
            Failure::new(format!(
                "{:?} cannot be written: {error}; choose another --json",
                self.json
            ))
        })
    }
}

fn seconds_per_row(args: &BenchArgs, extent: Extent) -> Result<Duration, Failure> {
    let usual = PER_ROW.iter().find(|(of, _)| *of == extent);
    let seconds = args
        .seconds_per_row
        .unwrap_or_else(|| usual.map_or(1.0, |(_, seconds)| *seconds));
    if (1e-3..=3600.0).contains(&seconds) {
        return Ok(Duration::from_secs_f64(seconds));
    }
    Err(Failure::new(format!(
        "--seconds-per-row {seconds}: give 0.001 to 3600"
    )))
}

/// The most samples of a row, which takes three at least.
fn samples(args: &BenchArgs) -> Result<usize, Failure> {
    if args.samples >= FEWEST {
        return Ok(args.samples);
    }
    Err(Failure::new(format!(
        "--samples {}: give {FEWEST} or more",
        args.samples
    )))
}

/// The element types that are asked for, or those that the extent measures.
fn kinds(args: &BenchArgs, extent: Extent, backend: &Backend) -> Result<Vec<FloatKind>, Failure> {
    let has = backend.caps().inputs;
    let usual: &[Dtype] = match extent {
        Extent::Quick => &[Dtype::F32],
        Extent::Full => &[Dtype::F32, Dtype::Bf16],
    };
    let kind = |dtype: &Dtype| match dtype {
        Dtype::F32 => FloatKind::F32,
        Dtype::F16 => FloatKind::F16,
        Dtype::Bf16 => FloatKind::BF16,
    };
    if args.dtype.is_empty() {
        let kinds = usual.iter().map(kind);
        return Ok(kinds.filter(|kind| has.contains(kind)).collect());
    }
    let mut kinds = Vec::new();
    for dtype in &args.dtype {
        let kind = kind(dtype);
        if !has.contains(&kind) {
            return Err(Failure::new(format!(
                "--dtype {}: this device has no arithmetic on it; leave it out",
                dtype_name(*dtype)
            )));
        }
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    Ok(kinds)
}

fn dtype_name(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::F32 => "f32",
        Dtype::F16 => "f16",
        Dtype::Bf16 => "bf16",
    }
}

/// Bytes that the buffers of a group may take: what is asked for, or half of what is free.
fn memory(args: &BenchArgs, backend: &Backend) -> Result<u64, Failure> {
    const GIB: f64 = (1_u64 << 30) as f64;
    if let Some(gib) = args.memory {
        if (0.01..=1e6).contains(&gib) {
            return Ok((gib * GIB) as u64);
        }
        return Err(Failure::new(format!(
            "--memory {gib}: give 0.01 GiB or more"
        )));
    }
    let description = backend.describe();
    let free = match description.backend {
        "cpu" => system::memory_available(),
        _ => description.memory,
    };
    Ok(free.map_or(4 << 30, |bytes| bytes / 2))
}

fn check_filter(filter: &str, groups: &[Box<dyn Group>]) -> Result<(), Failure> {
    let mut words = Vec::new();
    for group in groups {
        let pairs = group.pairs().into_iter().map(|pair| pair.name);
        for name in group.ops().into_iter().map(|op| op.name).chain(pairs) {
            words.push(group.place().words(&name));
        }
    }
    if words.iter().any(|words| words.contains(filter)) {
        return Ok(());
    }
    let every = words.len().div_ceil(5).max(1);
    let some: Vec<String> = words
        .iter()
        .step_by(every)
        .map(|words| format!("{words:?}"))
        .collect();
    Err(Failure::new(format!(
        "--filter {filter:?}: no row has this in its words; they are such as {}",
        some.join(", ")
    )))
}

/// The command that measures a row of this run again, but for its filter.
fn command(args: &BenchArgs, header: &Header) -> String {
    let mut command = format!("dpcube bench --device {}", header.backend);
    if args.quick {
        command.push_str(" --quick");
    }
    if !args.dtype.is_empty() {
        let names: Vec<&str> = args.dtype.iter().map(|dtype| dtype_name(*dtype)).collect();
        command.push_str(&format!(" --dtype {}", names.join(",")));
    }
    if let Some(seconds) = args.seconds_per_row {
        command.push_str(&format!(" --seconds-per-row {seconds}"));
    }
    if args.samples != SAMPLES {
        command.push_str(&format!(" --samples {}", args.samples));
    }
    if let Some(gib) = args.memory {
        command.push_str(&format!(" --memory {gib}"));
    }
    // What is in --out stays.
    let out = args.out.join("row").display().to_string();
    command + &format!(" --out '{}'", out.replace('\'', r"'\''"))
}

fn verdict(outcome: &Outcome, json: &Path) -> Result<(), Failure> {
    let Outcome {
        rows,
        unverified,
        left_out,
        stopped,
    } = *outcome;
    if stopped {
        return Err(Failure::interrupted(format!(
            "stopped; {rows} rows are in {json:?}"
        )));
    }
    if unverified > 0 {
        return Err(Failure::unmet(format!(
            "{unverified} of {rows} rows are not verified and have no time; the command that repeats each stands beside it"
        )));
    }
    if rows == 0 {
        return Err(Failure::new(format!(
            "nothing was measured: {left_out} rows were left out, each with its reason in {json:?}"
        )));
    }
    Ok(())
}
