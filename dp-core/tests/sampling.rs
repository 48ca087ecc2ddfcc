//! Poisson sampling: exact thresholds, the frozen stream, and statistics with negative controls.

mod common;

use common::sized;
use dp_core::noise::Key;
use dp_core::noise::philox::philox4x32x10;
use dp_core::sampling::{PoissonSampler, SamplingError};

const WORDS: [u32; 8] = [
    0x0302_0100,
    0x0706_0504,
    0x0b0a_0908,
    0x0f0e_0d0c,
    0x1312_1110,
    0x1716_1514,
    0x1b1a_1918,
    0x1f1e_1d1c,
];

/// Record, step, and the record's 64 uniform bits, made by OpenSSL's ChaCha20, not by this crate.
const STREAM: [(u64, u64, u64); 9] = [
    (0, 0x2_0000_0003, 0x9c93_57f8_57ec_4233),
    (1, 0x2_0000_0003, 0x417c_7501_ac36_d24b),
    (2, 0x2_0000_0003, 0xad98_7628_a45d_a0aa),
    (7, 0x2_0000_0003, 0x8963_9b63_a75a_8d9e),
    (8, 0x2_0000_0003, 0x74cb_a037_3236_1ed4),
    (9, 0x2_0000_0003, 0xd8f5_7192_ce76_9572),
    (12_345_678_901, 0x2_0000_0003, 0xa880_e13e_255d_2f92),
    (u64::MAX, 0x2_0000_0003, 0xab25_1557_725d_d899),
    (3, 4, 0x8de8_be87_f3c2_0b4c),
];

/// The rate just below and just above a uniform, 53 bits each, decide differently.
#[test]
fn the_stream_is_frozen() {
    let key = Key::new(WORDS);
    for (record, step, uniform) in STREAM {
        let rate = |bits: u64| bits as f64 / 2f64.powi(64);
        let below = PoissonSampler::new(rate(uniform & !0x7ff)).unwrap();
        let above = PoissonSampler::new(rate((uniform | 0x7ff) + 1)).unwrap();
        assert!(!below.includes(&key, step, record), "record {record}");
        assert!(above.includes(&key, step, record), "record {record}");
    }
}

/// A uniform equal to the threshold is out: the record at step 4 whose uniform is a 53-bit number.
#[test]
fn the_comparison_is_strict() {
    let (key, uniform) = (Key::new(WORDS), 0x6480_9f4f_667d_0000u64);
    let rate = uniform as f64 / 2f64.powi(64);
    let sampler = |rate| PoissonSampler::new(rate).unwrap();
    assert!(!sampler(rate).includes(&key, 4, 1887));
    assert!(sampler(rate.next_up()).includes(&key, 4, 1887));
}

#[test]
fn many_records_at_once_are_the_same_records() {
    let (key, sampler) = (Key::new(WORDS), PoissonSampler::new(0.3).unwrap());
    let mut inclusions = sampler.inclusions(&key, 11);
    // Forwards, backwards, and jumping between groups of eight.
    let records = sized(500, 50);
    let order = (0..records)
        .chain((0..records).rev())
        .chain((0..records).map(|i| i * 7919 % records));
    for record in order {
        assert_eq!(
            inclusions.includes(record),
            sampler.includes(&key, 11, record)
        );
    }
}

#[test]
fn the_ends_of_the_range() {
    let key = Key::new(WORDS);
    let everyone = PoissonSampler::new(1.0).unwrap();
    let records = sized(10_000, 50);
    assert!((0..records).all(|record| everyone.includes(&key, 3, record)));
    assert!(everyone.includes(&key, u64::MAX, u64::MAX));
    assert_eq!(everyone.rate(), 1.0);

    let tiny = PoissonSampler::new(2f64.powi(-64)).unwrap();
    assert!((0..records).all(|record| !tiny.includes(&key, 3, record)));
    let almost = PoissonSampler::new(1.0 - f64::EPSILON / 2.0).unwrap();
    assert!((0..records).all(|record| almost.includes(&key, 3, record)));

    for rate in [
        0.0,
        -0.0,
        -0.5,
        2f64.powi(-65),
        1.0 + f64::EPSILON,
        f64::INFINITY,
    ] {
        assert_eq!(PoissonSampler::new(rate), Err(SamplingError::Rate { rate }));
    }
    assert!(PoissonSampler::new(f64::NAN).is_err());
}

const RECORDS: usize = 2000;
const STEPS: usize = 2000;
const RATE: f64 = 0.05;

/// Who took part: `[step][record]`.
type Draws = Vec<Vec<bool>>;

/// What is wrong with the draws as Poisson sampling of rate `RATE`, each at 1e-6 either way.
fn complaints(draws: &Draws) -> Vec<&'static str> {
    // Bounds of a standard normal; a chi-square of k degrees is near normal for k = 2000.
    const SIGMAS: f64 = 4.9;
    let off =
        |value: f64, mean: f64, variance: f64| (value - mean).abs() > SIGMAS * variance.sqrt();
    let (n, t, q) = (RECORDS as f64, STEPS as f64, RATE);
    let of_steps: Vec<f64> = draws
        .iter()
        .map(|step| step.iter().filter(|x| **x).count() as f64)
        .collect();
    let of_records: Vec<f64> = (0..RECORDS)
        .map(|r| draws.iter().filter(|step| step[r]).count() as f64)
        .collect();
    let chi_square = |counts: &[f64], trials: f64| -> f64 {
        let square = |count: &f64| (count - trials * q).powi(2) / (trials * q * (1.0 - q));
        counts.iter().map(square).sum()
    };

    let mut found = Vec::new();
    let total: f64 = of_steps.iter().sum();
    if off(total, n * t * q, n * t * q * (1.0 - q)) {
        found.push("rate");
    }
    if off(chi_square(&of_records, t), n, 2.0 * n) {
        found.push("chi-square of the records' counts");
    }
    if off(chi_square(&of_steps, n), t, 2.0 * t) {
        found.push("chi-square of the batch sizes");
    }
    // A record in two steps in a row, and two neighbouring records in one step: rate squared. The
    // variance leaves room for the overlap of the pairs (at most three times, and q is small).
    let together = |a: usize, b: usize| -> f64 {
        let mut count = 0;
        for step in 0..STEPS - a {
            for record in 0..RECORDS - b {
                count += usize::from(draws[step][record] && draws[step + a][record + b]);
            }
        }
        count as f64
    };
    let variance = |pairs: f64| pairs * q * q * (1.0 - q * q + 2.0 * (q - q * q));
    for (lag, what) in [
        ((1, 0), "successive steps"),
        ((0, 1), "neighbouring records"),
    ] {
        let pairs = (t - lag.0 as f64) * (n - lag.1 as f64);
        if off(together(lag.0, lag.1), pairs * q * q, variance(pairs)) {
            found.push(what);
        }
    }
    found
}

fn poisson_draws(
    rate: f64,
    step_of: impl Fn(usize) -> u64,
    record_of: impl Fn(usize) -> u64,
) -> Draws {
    let (key, sampler) = (Key::new(WORDS), PoissonSampler::new(rate).unwrap());
    (0..STEPS)
        .map(|step| {
            let mut inclusions = sampler.inclusions(&key, step_of(step));
            (0..RECORDS)
                .map(|record| inclusions.includes(record_of(record)))
                .collect()
        })
        .collect()
}

#[test]
#[cfg_attr(miri, ignore = "statistics: its many draws are the test")]
fn draws_are_poisson() {
    let none: [&str; 0] = [];
    assert_eq!(
        complaints(&poisson_draws(RATE, |s| s as u64, |r| r as u64)),
        none
    );
    // Steps and records far apart, beyond 32 bits.
    let far = poisson_draws(RATE, |s| (s as u64) << 40, |r| (r as u64) << 50);
    assert_eq!(complaints(&far), none);
}

/// A random permutation of the records, by sorting on random words.
fn permutation(seed: u32) -> Vec<usize> {
    let mut order: Vec<usize> = (0..RECORDS).collect();
    order.sort_by_cached_key(|record| philox4x32x10((*record as u32, seed, 0, 0), 1, 2).0);
    order
}

#[test]
#[cfg_attr(miri, ignore = "statistics: its many draws are the test")]
fn a_shuffler_is_caught() {
    let batch = (RECORDS as f64 * RATE) as usize;
    let per_epoch = RECORDS / batch;
    let mut draws = vec![vec![false; RECORDS]; STEPS];
    for (step, included) in draws.iter_mut().enumerate() {
        let order = permutation((step / per_epoch) as u32);
        let start = step % per_epoch * batch;
        order[start..start + batch]
            .iter()
            .for_each(|record| included[*record] = true);
    }
    let found = complaints(&draws);
    assert!(
        found.contains(&"chi-square of the records' counts"),
        "{found:?}"
    );
    assert!(
        found.contains(&"chi-square of the batch sizes"),
        "{found:?}"
    );
}

#[test]
#[cfg_attr(miri, ignore = "statistics: its many draws are the test")]
fn a_fixed_size_sampler_is_caught() {
    let batch = (RECORDS as f64 * RATE) as usize;
    let mut draws = vec![vec![false; RECORDS]; STEPS];
    for (step, included) in draws.iter_mut().enumerate() {
        permutation(step as u32)[..batch]
            .iter()
            .for_each(|record| included[*record] = true);
    }
    assert_eq!(complaints(&draws), ["chi-square of the batch sizes"]);
}

#[test]
#[cfg_attr(miri, ignore = "statistics: its many draws are the test")]
fn a_wrong_rate_and_dependent_draws_are_caught() {
    let wrong = poisson_draws(RATE * 1.03, |s| s as u64, |r| r as u64);
    assert!(complaints(&wrong).contains(&"rate"));
    let repeated = poisson_draws(RATE, |s| (s / 2) as u64, |r| r as u64);
    assert!(complaints(&repeated).contains(&"successive steps"));
    let paired = poisson_draws(RATE, |s| s as u64, |r| (r / 2) as u64);
    assert!(complaints(&paired).contains(&"neighbouring records"));
}
