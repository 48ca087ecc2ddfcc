//! Whether the noise is Gaussian, of the size asked for, and independent. Every test has a negative
//! control: an input that is slightly wrong and must fail.

use dp_core::noise::{Generator, Key, fill_gaussian};

const GENERATORS: [Generator; 2] = [Generator::ChaCha20, Generator::Philox4x32x10NotSecure];

fn key(seed: u32) -> Key {
    Key::new([
        seed,
        0x243f_6a88,
        0x85a3_08d3,
        0x1319_8a2e,
        0x0370_7344,
        0xa409_3822,
        0x299f_31d0,
        1,
    ])
}

fn draw(n: usize, first: u64, std: f32, generator: Generator, step: u64, tensor: u32) -> Vec<f32> {
    let mut out = vec![0.0; n];
    fill_gaussian(&mut out, first, std, &key(1), generator, step, tensor).unwrap();
    out
}

/// Mean and variance of 2^24 values against a standard deviation, within 4.42 standard errors.
fn has_moments(values: &[f32], sigma: f32, shift: f64) -> bool {
    assert_eq!(values.len(), 1 << 24);
    let n = values.len() as f64;
    let scaled = |x: &f32| f64::from(*x) / f64::from(sigma) + shift;
    let mean = values.iter().map(scaled).sum::<f64>() / n;
    let squares = values.iter().map(|x| scaled(x).powi(2)).sum::<f64>() / n;
    mean.abs() <= 1.08e-3 && (squares - mean * mean - 1.0).abs() <= 1.53e-3
}

#[test]
#[cfg_attr(miri, ignore = "statistics: its many draws are the test")]
fn mean_and_variance_are_those_asked_for() {
    const SIGMA: f32 = 0.8;
    for generator in GENERATORS {
        let at = |std: f32| draw(1 << 24, 0, std, generator, 7, 3);
        let values = at(SIGMA);
        assert!(has_moments(&values, SIGMA, 0.0), "{generator:?}");
        assert!(
            !has_moments(&values, SIGMA, 0.0025),
            "{generator:?}, shifted"
        );
        assert!(
            !has_moments(&at(SIGMA * 0.99), SIGMA, 0.0),
            "{generator:?}, 0.99"
        );
        assert!(
            !has_moments(&at(SIGMA * 1.01), SIGMA, 0.0),
            "{generator:?}, 1.01"
        );
    }
}

/// The Kolmogorov-Smirnov distance to the standard normal.
fn distance_to_normal(mut values: Vec<f32>) -> f64 {
    values.sort_by(f32::total_cmp);
    let n = values.len() as f64;
    let cdf = |x: f32| 0.5 * libm::erfc(-f64::from(x) / std::f64::consts::SQRT_2);
    let distance = |(i, x): (usize, &f32)| {
        let f = cdf(*x);
        (f - i as f64 / n).abs().max(((i + 1) as f64 / n - f).abs())
    };
    values.iter().enumerate().map(distance).fold(0.0, f64::max)
}

#[test]
#[cfg_attr(miri, ignore = "statistics: its many draws are the test")]
fn the_distribution_is_normal() {
    /// Exceeded with probability 1e-6 at n = 1e5.
    const LIMIT: f64 = 0.00852;
    for generator in GENERATORS {
        let values = draw(100_000, 12_345, 1.0, generator, 9, 0);
        let control =
            |f: fn(f32) -> f32| distance_to_normal(values.iter().map(|x| f(*x)).collect());
        // Too wide, too narrow, shifted; a Laplace-like and a clipped shape of about unit variance.
        assert!(control(|x| x * 1.05) > LIMIT);
        assert!(control(|x| x * 0.95) > LIMIT);
        assert!(control(|x| x + 0.03) > LIMIT);
        assert!(control(|x| x.signum() * x.abs().powf(1.2)) > LIMIT);
        assert!(control(|x| x.clamp(-1.5, 1.5)) > LIMIT);
        let distance = distance_to_normal(values);
        assert!(distance < LIMIT, "{generator:?}: {distance}");
    }
}

/// The tails, which a distance over the middle does not see: counts beyond 4 and 5 sigma.
#[test]
#[cfg_attr(miri, ignore = "statistics: its many draws are the test")]
fn the_tails_are_there() {
    const N: usize = 1 << 24;
    for generator in GENERATORS {
        let values = draw(N, 0, 1.0, generator, 1, 1);
        // Poisson counts: 5 standard deviations and a little for the discreteness.
        let count_fits = |scale: f32, limit: f32| {
            let expected = N as f64 * 0.5 * libm::erfc(f64::from(limit) / std::f64::consts::SQRT_2);
            let fits = |sign: f32| {
                let count = values.iter().filter(|x| **x * scale * sign > limit).count() as f64;
                (count - expected).abs() <= 5.0 * expected.sqrt() + 1.0
            };
            fits(1.0) && fits(-1.0)
        };
        assert!(
            count_fits(1.0, 4.0) && count_fits(1.0, 5.0),
            "{generator:?}"
        );
        assert!(
            !count_fits(0.9, 4.0) && !count_fits(1.1, 4.0),
            "{generator:?}, control"
        );
    }
}

fn correlation(x: &[f32], y: &[f32]) -> f64 {
    let mean = |v: &[f32]| v.iter().map(|x| f64::from(*x)).sum::<f64>() / v.len() as f64;
    let (mx, my) = (mean(x), mean(y));
    let (mut xy, mut xx, mut yy) = (0.0, 0.0, 0.0);
    for (x, y) in x.iter().zip(y) {
        let (x, y) = (f64::from(*x) - mx, f64::from(*y) - my);
        xy += x * y;
        xx += x * x;
        yy += y * y;
    }
    xy / (xx * yy).sqrt()
}

/// Values, squares (both numbers of a Box-Muller pair share a radius) and signs.
fn is_uncorrelated(x: &[f32], y: &[f32]) -> bool {
    let limit = 4.417 / (x.len() as f64).sqrt();
    let map = |v: &[f32], f: fn(f32) -> f32| v.iter().map(|x| f(*x)).collect::<Vec<_>>();
    let below = |f: fn(f32) -> f32| correlation(&map(x, f), &map(y, f)).abs() < limit;
    below(|x| x) && below(|x| x * x) && below(f32::signum)
}

#[test]
#[cfg_attr(miri, ignore = "statistics: its many draws are the test")]
fn tensors_steps_and_shards_are_uncorrelated() {
    const N: usize = 1 << 20;
    for generator in GENERATORS {
        let base = draw(N, 0, 1.0, generator, 5, 2);
        let others = [
            ("next tensor", draw(N, 0, 1.0, generator, 5, 3)),
            ("next step", draw(N, 0, 1.0, generator, 6, 2)),
            (
                "step 2^32 later",
                draw(N, 0, 1.0, generator, 5 + (1 << 32), 2),
            ),
            ("next shard", draw(N, N as u64, 1.0, generator, 5, 2)),
            (
                "tensor and step exchanged",
                draw(N, 0, 1.0, generator, 2, 5),
            ),
        ];
        for (what, other) in &others {
            assert!(is_uncorrelated(&base, other), "{generator:?}: {what}");
        }
        // Neighbours within a tensor, across pairs and across blocks.
        for lag in [1, 2, 3, 8] {
            assert!(
                is_uncorrelated(&base[lag..], &base[..N - lag]),
                "{generator:?}: lag {lag}"
            );
        }

        // Controls: shards that repeat, and one part in a hundred shared.
        assert!(!is_uncorrelated(&base, &base));
        let leaky: Vec<f32> = base
            .iter()
            .zip(&others[0].1)
            .map(|(x, y)| 0.01 * x + y)
            .collect();
        assert!(!is_uncorrelated(&base, &leaky), "{generator:?}, control");
        let shared_radius: Vec<f32> = base
            .iter()
            .zip(&others[0].1)
            .map(|(x, y)| x.abs() * y.signum())
            .collect();
        assert!(
            !is_uncorrelated(&base, &shared_radius),
            "{generator:?}, control"
        );
    }
}
