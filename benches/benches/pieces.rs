//! The small pieces on the host: clip factors, generator blocks, bits to normals, sampling, discrete noise.
//!
//! ```sh
//! cargo bench -p dp-benches --bench pieces            # every row
//! cargo bench -p dp-benches --bench pieces -- block   # some of them
//! ```
//!
//! Throughput is in elements: factors, words, normals, records. One thread; what a device makes of the same lines
//! `dpcube bench` measures.

use std::hint::black_box;
use std::time::Duration;

use criterion::{
    BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime,
};
use dp_core::clipping::{automatic_factor, flat_factor};
use dp_core::noise::chacha::chacha20_block;
use dp_core::noise::normal::normal_pair;
use dp_core::noise::philox::philox4x32x10;
use dp_core::noise::{Generator, Key, fill_discrete_gaussian, fill_gaussian};
use dp_core::sampling::PoissonSampler;

/// Factors of one call.
const FACTORS: u32 = 1024;
/// Blocks of one call.
const BLOCKS: u32 = 1024;
/// Noise values of one call.
const VALUES: usize = 8192;
/// Records of one call.
const RECORDS: u64 = 100_000;

fn key() -> Key {
    Key::new([1, 2, 3, 4, 5, 6, 7, 8])
}

fn factors(criterion: &mut Criterion) {
    let mut group = group(criterion, "clip factor", u64::from(FACTORS));
    let norms: Vec<f32> = (0..FACTORS).map(|i| i as f32 * 0.01).collect();
    let sum = |factor: &dyn Fn(f32) -> f32| -> f32 {
        black_box(&norms).iter().map(|norm| factor(*norm)).sum()
    };
    group.bench_function("flat", |bencher| {
        bencher.iter(|| sum(&|norm| flat_factor(norm, 1.0)));
    });
    group.bench_function("automatic", |bencher| {
        bencher.iter(|| sum(&|norm| automatic_factor(norm, 1.0, 0.01)));
    });
    group.finish();
}

/// The words of a block that are not used are made all the same: the sum takes one of them.
fn blocks(criterion: &mut Criterion) {
    let mut chacha = group(criterion, "block chacha20, words", 16 * u64::from(BLOCKS));
    chacha.bench_function("chacha20", |bencher| {
        bencher.iter(|| {
            let (low, high) = black_box(((1, 2, 3, 4), (5, 6, 7, 8)));
            (0..BLOCKS).fold(0, |sum, block| {
                let (a, b, c, d) = chacha20_block(low, high, (block, 1, 2, 3));
                sum ^ a.0 ^ b.1 ^ c.2 ^ d.3
            })
        });
    });
    chacha.finish();
    let mut philox = group(criterion, "block philox, words", 4 * u64::from(BLOCKS));
    philox.bench_function("philox4x32-10", |bencher| {
        bencher.iter(|| {
            let (low, high) = black_box((1, 2));
            (0..BLOCKS).fold(0, |sum, block| {
                let (a, b, c, d) = philox4x32x10((block, 1, 2, 3), low, high);
                sum ^ a ^ b ^ c ^ d
            })
        });
    });
    philox.finish();
}

fn normals(criterion: &mut Criterion) {
    let mut pairs = group(criterion, "bits to normal", 2 * u64::from(BLOCKS));
    pairs.bench_function("pair", |bencher| {
        bencher.iter(|| {
            (0..BLOCKS).fold(0.0, |sum, i| {
                let bits = black_box(i).wrapping_mul(0x9E37_79B9);
                let (a, b) = normal_pair(bits, !bits, bits.rotate_left(7));
                sum + a + b
            })
        });
    });
    pairs.finish();
    let mut group = group(criterion, "noise", VALUES as u64);
    let mut out = vec![0.0; VALUES];
    for (name, generator) in [
        ("gaussian chacha20", Generator::ChaCha20),
        ("gaussian philox", Generator::Philox4x32x10NotSecure),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                fill_gaussian(&mut out, 0, 1.0, &key(), generator, 1, 0)
                    .expect("the row is in the domain");
                out[0]
            });
        });
    }
    let mut out = vec![0; VALUES];
    for (name, sigma) in [("discrete sigma 16", 16), ("discrete sigma 2^20", 1 << 20)] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                fill_discrete_gaussian(&mut out, 0, sigma, &key(), 1, 0)
                    .expect("the row is in the domain");
                out[0]
            });
        });
    }
    group.finish();
}

fn sampling(criterion: &mut Criterion) {
    let mut group = group(criterion, "poisson sampling, records", RECORDS);
    let sampler = PoissonSampler::new(0.01).expect("the row is in the domain");
    group.bench_function("rate 0.01", |bencher| {
        bencher.iter(|| {
            let mut inclusions = sampler.inclusions(&key(), black_box(7));
            (0..RECORDS)
                .filter(|record| inclusions.includes(*record))
                .count()
        });
    });
    group.finish();
}

fn group<'a>(
    criterion: &'a mut Criterion,
    name: &str,
    elements: u64,
) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group
        .sample_size(30)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .throughput(Throughput::Elements(elements));
    group
}

criterion_group!(benches, factors, blocks, normals, sampling);
criterion_main!(benches);
