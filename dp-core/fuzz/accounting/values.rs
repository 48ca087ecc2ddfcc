//! Numbers made of bytes: most are plausible, some are at the edge of a domain, a few are any bits at all.

use arbitrary::{Result, Unstructured};

/// A noise multiplier, a Laplace scale, a sensitivity.
pub(super) fn scale(u: &mut Unstructured<'_>) -> Result<f64> {
    const EDGES: [f64; 12] = [
        0.05,
        0.049_999_999_999_999,
        1e-9,
        1e9,
        1.000_001e9,
        1e12,
        1e-3,
        100.0,
        0.5,
        1.0,
        1e6,
        0.1,
    ];
    number(u, 0.05, 50.0, &EDGES)
}

/// A sampling rate, a delta: log-uniform above `least`.
pub(super) fn probability(u: &mut Unstructured<'_>, least: f64) -> Result<f64> {
    const EDGES: [f64; 12] = [
        1.0,
        1.0 - f64::EPSILON / 2.0,
        0.5,
        0.999,
        0.1,
        1.000_000_000_000_000_2,
        f64::MIN_POSITIVE,
        5e-324,
        1e-300,
        1e-30,
        1e-12,
        1e-6,
    ];
    number(u, least, 1.0, &EDGES)
}

/// An epsilon, or a zCDP parameter.
pub(super) fn epsilon(u: &mut Unstructured<'_>) -> Result<f64> {
    const EDGES: [f64; 12] = [
        0.0,
        1e4,
        1.000_1e4,
        1e9,
        1.000_001e9,
        1e12,
        1e-300,
        5e-324,
        1e-12,
        700.0,
        750.0,
        1.0,
    ];
    number(u, 1e-6, 1e3, &EDGES)
}

fn number(u: &mut Unstructured<'_>, least: f64, most: f64, edges: &[f64; 12]) -> Result<f64> {
    const NOWHERE: [f64; 4] = [0.0, -1.0, f64::NAN, f64::INFINITY];
    // A common case is what missing bytes give.
    Ok(match u.arbitrary::<u8>()? {
        // Log-uniform, both ends included.
        0..=191 => {
            let share = f64::from(u.arbitrary::<u16>()?) / f64::from(u16::MAX);
            (least * (most / least).powf(share)).clamp(least, most)
        }
        192..=239 => edges[usize::from(u.arbitrary::<u8>()?) % edges.len()],
        240..=247 => NOWHERE[usize::from(u.arbitrary::<u8>()?) % NOWHERE.len()],
        _ => f64::from_bits(u.arbitrary()?),
    })
}

/// How often an event happens.
pub(super) fn count(u: &mut Unstructured<'_>) -> Result<u64> {
    const EDGES: [u64; 6] = [0, 1 << 53, (1 << 53) + 1, u64::MAX, 1 << 32, 1 << 40];
    Ok(match u.arbitrary::<u8>()? {
        0..=63 => 1 + u64::from(u.arbitrary::<u8>()? % 8),
        64..=223 => {
            let power = u.arbitrary::<u8>()? % 24;
            (1 << power) + u64::from(u.arbitrary::<u8>()?)
        }
        _ => EDGES[usize::from(u.arbitrary::<u8>()?) % EDGES.len()],
    })
}

/// The size of a data set or of a batch.
pub(super) fn integer(u: &mut Unstructured<'_>) -> Result<u64> {
    const EDGES: [u64; 6] = [0, 1, 1 << 53, (1 << 53) + 1, u64::MAX, 2];
    Ok(match u.arbitrary::<u8>()? {
        0..=239 => {
            let power = u.arbitrary::<u8>()? % 40;
            (1 << power) + u64::from(u.arbitrary::<u16>()?) % (1 << power)
        }
        _ => EDGES[usize::from(u.arbitrary::<u8>()?) % EDGES.len()],
    })
}

/// A number of records, bins, epochs, steps or answers; `common` is the largest plausible one.
pub(super) fn small(u: &mut Unstructured<'_>, common: u32) -> Result<u32> {
    Ok(match u.arbitrary::<u8>()? {
        0..=127 => 1 + u32::from(u.arbitrary::<u8>()?) % 8,
        128..=239 => 1 + u.arbitrary::<u32>()? % common,
        _ => [
            0,
            1,
            common,
            common.saturating_add(1),
            u32::MAX,
            u32::MAX - 1,
        ][usize::from(u.arbitrary::<u8>()?) % 6],
    })
}
