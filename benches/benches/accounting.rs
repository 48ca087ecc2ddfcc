//! How long the exact accountant takes, and how wide its answer is.
//!
//! ```sh
//! cargo bench -p dp-benches                  # every row
//! cargo bench -p dp-benches -- epsilon       # some of them
//! ```
//!
//! A time alone says little: an accountant can be quick by being vague. So each row first prints its answer and the
//! relative width of its bounds, `upper / lower - 1`, and Criterion's time follows.
//!
//! # Peers
//!
//! What other accountants took for three of the rows, in process, without import, on two shared cores of the kind of machine
//! that this project is developed on. These are quoted measurements of time -> answer; nothing here runs them again.
//!
//! | Row | dp_accounting, RDP | dp_accounting, PLD (h: discretisation) | prv_accountant (with its own error bound) |
//! |---|---|---|---|
//! | `epsilon/poisson 1e4 steps` (truth 6.90738...) | 21 ms -> 7.4141 | h 1e-4: 0.32 s -> 6.90742; h 1e-5: 4.1 s -> 6.907385; optimistic: 6.4074 | 0.18 s, ±0.1; 1.7 s, ±0.01; 28 s, ±0.0013 |
//! | `epsilon/poisson 1e6 steps` | 21 ms -> 156.67 | h 1e-4: 1.04 s -> 145.4978; h 1e-5: 31 s -> 145.49684 | 2.5 s, ±1; 349 s, ±0.033 |
//! | `sigma/poisson 5000 steps` | 0.38 s -> 0.58323 | 9.3 s -> 0.559534 | 9.4 s -> 0.5607; 134 s -> 0.55965 |
//!
//! The widths that compare with these: an upper bound alone (RDP) has none; dp_accounting's pessimistic and optimistic PLD at
//! h = 1e-4 are 6.90742 and 6.4074 in the first row, 8% apart.

use std::cell::Cell;
use std::hint::black_box;
use std::time::Duration;

use criterion::{
    BenchmarkGroup, Criterion, criterion_group, criterion_main, measurement::WallTime,
};
use dp_core::accounting::{AccountingError, Bounds, Event, calibrate_sigma, delta, epsilon};

const STEP: Event = Event::PoissonGaussian {
    rate: 0.01,
    sigma: 1.0,
};

fn epsilons(criterion: &mut Criterion) {
    let mut group = group(criterion, "epsilon");
    let ask = |events: &[(Event, u64)], target| epsilon(black_box(events), black_box(target));
    row(&mut group, "poisson 1e4 steps", || {
        ask(&[(STEP, 10_000)], 1e-6)
    });
    row(&mut group, "poisson 1e6 steps", || {
        ask(&[(STEP, 1_000_000)], 1e-6)
    });
    row(&mut group, "gaussian 100 steps", || {
        ask(&[(Event::Gaussian { sigma: 4.0 }, 100)], 1e-9)
    });
    row(&mut group, "mixed", || ask(&mixed(), 1e-6));
    group.finish();
}

fn deltas(criterion: &mut Criterion) {
    let mut group = group(criterion, "delta");
    let ask = |events: &[(Event, u64)], target| delta(black_box(events), black_box(target));
    row(&mut group, "poisson 1e4 steps", || {
        ask(&[(STEP, 10_000)], 5.0)
    });
    row(&mut group, "gaussian 100 steps", || {
        ask(&[(Event::Gaussian { sigma: 4.0 }, 100)], 10.0)
    });
    row(&mut group, "mixed", || ask(&mixed(), 5.0));
    group.finish();
}

/// A calibrated multiplier has no lower bound of its own; the width is that of the epsilon that it costs, and how far that
/// stays below the target is what the rounding up gives away.
fn sigmas(criterion: &mut Criterion) {
    const TARGET: f64 = 8.0;
    const DELTA: f64 = 1e-5;
    const RATE: f64 = 0.004;
    const STEPS: u64 = 5000;
    let mut group = group(criterion, "sigma");
    let ask = || {
        calibrate_sigma(
            black_box(TARGET),
            black_box(DELTA),
            black_box(RATE),
            black_box(STEPS),
        )
    };
    let said = Cell::new(false);
    group.bench_function("poisson 5000 steps", |bencher| {
        if !said.replace(true) {
            let sigma = ask().expect("the row is in the domain");
            let event = Event::PoissonGaussian { rate: RATE, sigma };
            let cost = epsilon(&[(event, STEPS)], DELTA).expect("the row is in the domain");
            println!(
                "\n  sigma {sigma}, which costs {}, {:.1e} below the target",
                shown(cost),
                TARGET - cost.upper
            );
        }
        bencher.iter(ask);
    });
    group.finish();
}

/// A run in phases: warm-up with less noise, the bulk, and full-batch sums at the end.
fn mixed() -> [(Event, u64); 3] {
    let warm_up = Event::PoissonGaussian {
        rate: 0.002,
        sigma: 0.8,
    };
    [
        (warm_up, 500),
        (STEP, 5000),
        (Event::Gaussian { sigma: 20.0 }, 10),
    ]
}

fn group<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group
        .sample_size(20)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3));
    group
}

/// Times a query; says its answer once, if the filter picks the row at all.
fn row(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    ask: impl Fn() -> Result<Bounds, AccountingError>,
) {
    let said = Cell::new(false);
    group.bench_function(name, |bencher| {
        if !said.replace(true) {
            println!("\n  {}", shown(ask().expect("the row is in the domain")));
        }
        bencher.iter(&ask);
    });
}

fn shown(bounds: Bounds) -> String {
    format!("{} (width {:.1e})", bounds.upper, bounds.relative_width())
}

criterion_group!(benches, epsilons, deltas, sigmas);
criterion_main!(benches);
