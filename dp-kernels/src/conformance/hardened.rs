//! The hardened release against the host's: equal bits.

use super::bench::{Bench, first_difference};
use super::data::Stream;
use super::{CheckError, Row};
use crate::{KernelError, release_hardened};
use dp_core::noise::{Hardened, HardenedDraw, Key};
use dp_core::reference;

/// Sensitivity, grid exponent, first element, how many, step, tensor.
const DRAWS: [(f64, i32, u64, usize, u64, u32); 6] = [
    (1.0, -20, 0, 1000, 0, 0),
    (0.37, -18, 5, 257, 1 << 33, 7),
    (3.0, 1, (1 << 32) - 40, 40, u64::MAX, u32::MAX - 1),
    (1e4, -8, 3, 64, 2, 1),
    (50.0, 0, 1, 2, 2, 1),
    (1.0, -4, 9, 0, 2, 1),
];

pub(super) fn against_host(bench: &Bench) -> Result<Vec<Row>, CheckError> {
    let key = Key::new([8, 6, 7, 5, 3, 0, 9, 1]);
    let mut rows = Vec::new();
    for (sensitivity, exponent, first, len, step, tensor) in DRAWS {
        let plan = Hardened::plan(1.1, sensitivity, 0.0, 1, exponent)
            .map_err(|error| CheckError::Reference(error.to_string()))?;
        let sum = sums(len, plan.grid(), bench.is_wide());
        let draw = |first_element| HardenedDraw {
            first_element,
            plan,
            key: &key,
            step,
            tensor,
        };
        let mut want = sum.clone();
        let refused = |error: reference::ReferenceError| CheckError::Reference(error.to_string());
        if bench.is_wide() {
            reference::release_hardened(&mut want, &draw(first)).map_err(refused)?;
        } else {
            let mut narrow: Vec<f32> = want.iter().map(|x| *x as f32).collect();
            reference::release_hardened(&mut narrow, &draw(first)).map_err(refused)?;
            want = narrow.into_iter().map(f64::from).collect();
        }
        let release = |values: &[f64], first| {
            let target = bench.upload_sums(&[values.len()], values);
            release_hardened(&bench.launch(), &target, draw(first))?;
            bench.download_sums(&target)
        };
        let got = release(&sum, first)?;
        let shape = format!(
            "sigma {} {first}+{len} step {step} tensor {tensor}",
            plan.sigma()
        );
        let dtype = bench.sum_name();
        let failure = first_difference(&got, &want);
        rows.push(Row::holds("release_hardened", dtype, &shape, failure));

        let cut = len / 3;
        let mut joined = release(&sum[..cut], first)?;
        joined.extend(release(&sum[cut..], first + cut as u64)?);
        let failure = first_difference(&joined, &got);
        rows.push(Row::holds("release_hardened shards", dtype, shape, failure));
    }
    rows.push(refusal(bench, &key)?);
    Ok(rows)
}

/// Sums near halves of a step, of all sizes, beyond the cut-off, and no number at all; where they are `wide`, halves that rounding to f32 makes of
/// what is below them, and numbers beyond f32.
fn sums(len: usize, grid: f32, wide: bool) -> Vec<f64> {
    let mut stream = Stream(len as u64);
    let grid = f64::from(grid);
    let specials = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0];
    (0..len)
        .map(|i| {
            let value = match i % 8 {
                0 => grid * (i as f64 - 0.5),
                1 => -grid * (i as f64 + 0.5),
                2 => 10f64.powf(50.0 * stream.unit() - 25.0),
                3 => specials[i / 8 % 4],
                4 => f64::from(f32::from_bits((grid as f32 * 0.5).to_bits() - 1)),
                5 if wide => grid * (i as f64 + 0.5 - 1e-12),
                6 if wide => 10f64.powf(300.0 * stream.unit()) * (stream.unit() - 0.5),
                _ => (stream.unit() - 0.5) * 1000.0 * grid,
            };
            if wide { value } else { f64::from(value as f32) }
        })
        .collect()
}

fn refusal(bench: &Bench, key: &Key) -> Result<Row, CheckError> {
    let plan = Hardened::plan(1.0, 1.0, 0.0, 1, -10)
        .map_err(|error| CheckError::Reference(error.to_string()))?;
    let target = bench.upload_sums(&[3], &[1.0; 3]);
    let ask = |first_element, tensor| {
        let draw = HardenedDraw {
            first_element,
            plan,
            key,
            step: 0,
            tensor,
        };
        release_hardened(&bench.launch(), &target, draw)
    };
    let answers = [ask((1 << 32) - 2, 0), ask(0, u32::MAX)];
    let right = |answer: &Result<(), KernelError>| matches!(answer, Err(KernelError::Noise { .. }));
    let failure = (!answers.iter().all(right)).then(|| format!("{answers:?}"));
    let untouched = first_difference(&bench.download_sums(&target)?, &[1.0; 3]);
    let op = "refusal of release_hardened";
    Ok(Row::holds(op, bench.sum_name(), "", failure.or(untouched)))
}
