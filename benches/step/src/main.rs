//! Times the training step, private and ordinary: `cargo run --release -p dp-bench-step -- small --profile`.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use burn::tensor::Device;
use clap::{Parser, ValueEnum};
#[cfg(feature = "cpu")]
use dp_bench_step::against_gemm;
use dp_bench_step::{Pair, Span, StepError, Steps, Workload, median, median_ratio};
use dp_burn::{DeviceError, DeviceName};
use dp_kernels::{Backend, Ceilings, Planner};

/// Times the training step, private and ordinary, in one process and interleaved.
#[derive(Parser)]
struct Args {
    /// Which to time: mlp, tiny, small, long, gpt2-small. The first three if none is named.
    workloads: Vec<String>,
    /// Pairs that are timed; two more warm up.
    #[arg(long, default_value_t = 20)]
    pairs: usize,
    /// Prints the time of each operation of both steps, the median over as many steps.
    #[arg(long)]
    profile: bool,
    /// Runs steps of one kind only and prints the most memory that the process took.
    #[arg(long)]
    memory_of: Option<Kind>,
    /// Times the Linears' products beside those of the `gemm` crate instead, as many rounds. On the processor only.
    #[arg(long, conflicts_with_all = ["profile", "memory_of"])]
    products: bool,
    /// MiB of the device in which the private step may keep the per-example gradients of Linears; the device is measured, and what was
    /// chosen is printed.
    #[arg(long, value_name = "MIB", default_value_t = 0)]
    keep_memory: u64,
    /// cpu, wgpu or cuda.
    #[arg(long, default_value = "cpu")]
    device: Name,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    Private,
    Ordinary,
}

#[derive(Clone, Copy, ValueEnum)]
enum Name {
    Cpu,
    Wgpu,
    Cuda,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("step: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), Box<dyn std::error::Error>> {
    let name = match args.device {
        Name::Cpu => DeviceName::Cpu,
        Name::Wgpu => DeviceName::Wgpu,
        Name::Cuda => DeviceName::Cuda,
    };
    if args.products {
        return products(name, &workloads(&args.workloads)?, args.pairs);
    }
    let (device, backend) = open(name)?;
    let planner = planner(args.keep_memory, &backend)?;
    for workload in workloads(&args.workloads)? {
        let mut steps = Steps::new(workload, &device, planner)?;
        if let Some(kind) = args.memory_of {
            memory(workload, &mut steps, kind, args.pairs)?;
        } else if args.profile {
            profile(workload, &mut steps, args.pairs)?;
        } else {
            row(workload, &steps.pairs(2, args.pairs)?);
        }
        if args.keep_memory > 0 {
            for plan in steps.plans() {
                println!("  {plan}");
            }
        }
    }
    Ok(())
}

/// By the rule, and with memory to keep gradients in by what the device is measured to reach.
fn planner(keep_memory: u64, backend: &Backend) -> Result<Planner, Box<dyn std::error::Error>> {
    if keep_memory == 0 {
        return Ok(Planner::by_rule());
    }
    let ceilings = Ceilings::measure(backend)?;
    println!("the device {ceilings}");
    let bytes = keep_memory.saturating_mul(1 << 20);
    Ok(Planner::measured(ceilings).with_memory_to_keep(bytes))
}

/// The device, probed first: burn panics where there is none.
fn open(name: DeviceName) -> Result<(Device, Backend), Box<dyn std::error::Error>> {
    let device = dp_burn::open(name)?;
    let backend = match name {
        #[cfg(feature = "cpu")]
        DeviceName::Cpu => dp_backend_cpu::open()?,
        #[cfg(feature = "wgpu")]
        DeviceName::Wgpu => dp_backend_wgpu::open()?,
        #[cfg(feature = "cuda")]
        DeviceName::Cuda => dp_backend_cuda::open()?,
        #[allow(unreachable_patterns)]
        name => return Err(DeviceError::NotBuilt(name).into()),
    };
    Ok((device, backend))
}

#[cfg(feature = "cpu")]
fn products(
    name: DeviceName,
    workloads: &[Workload],
    rounds: usize,
) -> Result<(), Box<dyn std::error::Error>> {
    if name != DeviceName::Cpu {
        return Err(
            "--products is for the processor, where the gemm crate runs: leave --device out".into(),
        );
    }
    let backend = dp_backend_cpu::open()?;
    for workload in workloads {
        println!("{workload}, {rounds} rounds: us by dp-kernels, by gemm, ratio, GFLOP/s of both");
        for row in against_gemm(&backend, *workload, rounds)? {
            let flop = 2.0 * row.shape.iter().product::<usize>() as f64;
            println!(
                "  {:<16} {:<20} {:9.1} {:9.1} {:6.2} {:6.0} {:6.0}",
                row.name,
                format!("{:?}", row.shape),
                1e6 * row.ours,
                1e6 * row.gemm,
                row.ratio,
                1e-9 * flop / row.ours,
                1e-9 * flop / row.gemm,
            );
        }
    }
    Ok(())
}

#[cfg(not(feature = "cpu"))]
fn products(_: DeviceName, _: &[Workload], _: usize) -> Result<(), Box<dyn std::error::Error>> {
    Err("--products needs the processor's backend, which this build is without: build it with the feature cpu".into())
}

fn workloads(names: &[String]) -> Result<Vec<Workload>, String> {
    if names.is_empty() {
        return Ok(vec![Workload::Mlp, Workload::Tiny, Workload::Small]);
    }
    let find = |name: &String| {
        let found = Workload::ALL.into_iter().find(|w| w.name() == name);
        found.ok_or_else(|| {
            let known = Workload::ALL.map(Workload::name).join(", ");
            format!("there is no workload {name:?}: choose from {known}")
        })
    };
    names.iter().map(find).collect()
}

fn row(workload: Workload, pairs: &[Pair]) {
    let wall = |of: fn(&Pair) -> f64| 1e3 * median(pairs.iter().map(of).collect());
    print!(
        "{workload:<11} {:>3} pairs: private {:8.2} ms, ordinary {:8.2} ms, ratio {:.3}",
        pairs.len(),
        wall(|pair| pair.private.wall),
        wall(|pair| pair.ordinary.wall),
        median_ratio(pairs, |timing| timing.wall),
    );
    let by_processor = median_ratio(pairs, |timing| timing.processor.unwrap_or(f64::NAN));
    if by_processor.is_finite() {
        print!(", by processor time {by_processor:.3}");
    }
    println!();
}

fn profile(workload: Workload, steps: &mut Steps, n: usize) -> Result<(), StepError> {
    steps.pairs(2, 0)?;
    let (mut private, mut ordinary) = (Vec::new(), Vec::new());
    for _ in 0..n {
        let (of_private, of_ordinary) = steps.profile()?;
        private.push(totals(&of_private));
        ordinary.push(totals(&of_ordinary));
    }
    for (kind, steps) in [("private", private), ("ordinary", ordinary)] {
        println!("{workload}, {kind} step, medians of {n} steps in ms (wall, processor):");
        let mut sums = [0.0, 0.0];
        let keys: BTreeSet<_> = steps.iter().flat_map(BTreeMap::keys).collect();
        for key @ (name, shape) in keys {
            let of_steps: Vec<_> = steps.iter().filter_map(|step| step.get(key)).collect();
            let times = [0, 1].map(|clock| {
                1e3 * median(of_steps.iter().map(|total| total.seconds[clock]).collect())
            });
            sums = [sums[0] + times[0], sums[1] + times[1]];
            println!(
                "  {name:<22} {:<22} {:>3} x {:9.3} {:9.3}",
                format!("{shape:?}"),
                of_steps[0].calls,
                times[0],
                times[1]
            );
        }
        println!("  {:<51} {:9.3} {:9.3}", "all", sums[0], sums[1]);
    }
    Ok(())
}

/// What one step's operations of one name and shape came to.
#[derive(Default)]
struct Total {
    calls: usize,
    /// By the clock on the wall, and on the processor.
    seconds: [f64; 2],
}

fn totals(spans: &[Span]) -> BTreeMap<(&'static str, Vec<usize>), Total> {
    let mut totals = BTreeMap::new();
    for span in spans {
        let total: &mut Total = totals.entry((span.name, span.shape.clone())).or_default();
        total.calls += 1;
        total.seconds[0] += span.took.wall;
        total.seconds[1] += span.took.processor.unwrap_or(f64::NAN);
    }
    totals
}

fn memory(workload: Workload, steps: &mut Steps, kind: Kind, n: usize) -> Result<(), StepError> {
    for _ in 0..n {
        match kind {
            Kind::Private => steps.private()?,
            Kind::Ordinary => steps.ordinary()?,
        };
    }
    let kind = match kind {
        Kind::Private => "private",
        Kind::Ordinary => "ordinary",
    };
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    println!(
        "{workload}, {n} {kind} steps: at most {} resident",
        line.map_or("an unknown amount", str::trim)
    );
    Ok(())
}
