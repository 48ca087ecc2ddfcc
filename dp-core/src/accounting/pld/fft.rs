//! Discrete Fourier transform of real data, in place, over slices of the caller's.
//!
//! The N reals are taken as N/2 complex numbers, transformed by radix 2, and untangled. A spectrum is stored as the
//! real parts of frequencies 0 and N/2, then (real, imaginary) of 1, 2, ... N/2 - 1.

/// Relative rounding of one butterfly, twiddle factor included: `8 u`, u = 2^-53.
const STAGE: f64 = 8.0 * 1.2e-16;

/// What every output of a transform is off by at most, relative to the sum of the inputs' absolute values.
///
/// An output is a sum of inputs times products of at most one twiddle a stage, so the error of each path is
/// `(1 + STAGE)^stages - 1`; two stages more are for untangling.
pub(super) fn rounding(len: usize) -> f64 {
    let stages = f64::from(len.max(2).ilog2()) + 2.0;
    1.01 * STAGE * stages
}

/// Fills `table` (as long as the data) with `cos, sin` of `2 pi k / len`, k below `len / 2`.
pub(super) fn twiddles(table: &mut [f64]) {
    let len = table.len();
    let unit = core::f64::consts::TAU / len as f64;
    let eighth = len / 8;
    for (k, pair) in table.chunks_exact_mut(2).enumerate() {
        // Arguments of at most pi/4, so that both are right to the last bit.
        let (cos, sin) = match k.checked_div(eighth.max(1)).unwrap_or(0) {
            _ if len < 8 => (libm::cos(unit * k as f64), libm::sin(unit * k as f64)),
            0 => (libm::cos(unit * k as f64), libm::sin(unit * k as f64)),
            1 | 2 => {
                let rest = unit * (k as f64 - len as f64 / 4.0);
                (-libm::sin(rest), libm::cos(rest))
            }
            _ => {
                let rest = unit * (len as f64 / 2.0 - k as f64);
                (-libm::cos(rest), libm::sin(rest))
            }
        };
        pair.copy_from_slice(&[cos, sin]);
    }
}

/// `X_k = sum_j x_j e^{-2 pi i j k / len}`; both slices have the same power of two, at least 4, as length.
pub(super) fn forward(data: &mut [f64], table: &[f64]) {
    complex(data, table, -1.0);
    untangle(data, table, -1.0);
    if let [first, second, ..] = data {
        (*first, *second) = (*first + *second, *first - *second);
    }
}

/// The inverse of [`forward`].
pub(super) fn inverse(data: &mut [f64], table: &[f64]) {
    untangle(data, table, 1.0);
    if let [first, second, ..] = data {
        (*first, *second) = (0.5 * (*first + *second), 0.5 * (*first - *second));
    }
    complex(data, table, 1.0);
    let scale = 2.0 / data.len() as f64;
    for x in data {
        *x *= scale;
    }
}

/// From the spectrum of `x_{2j} + i x_{2j+1}` to that of x (sign -1), or back (sign 1).
fn untangle(data: &mut [f64], table: &[f64], sign: f64) {
    let half = data.len() / 2;
    for k in 1..=half / 2 {
        let mirror = half - k;
        let (a_re, a_im) = (data[2 * k], data[2 * k + 1]);
        let (b_re, b_im) = (data[2 * mirror], data[2 * mirror + 1]);
        let (even_re, even_im) = (0.5 * (a_re + b_re), 0.5 * (a_im - b_im));
        let (odd_re, odd_im) = (0.5 * (a_re - b_re), 0.5 * (a_im + b_im));
        // Forward: even - i w odd, w = cos - i sin; back: even + i conj(w) odd.
        let (cos, sin) = (table[2 * k], table[2 * k + 1]);
        let (turn_re, turn_im) = if sign < 0.0 {
            (-sin, -cos)
        } else {
            (-sin, cos)
        };
        let twist_re = turn_re * odd_re - turn_im * odd_im;
        let twist_im = turn_re * odd_im + turn_im * odd_re;
        data[2 * k] = even_re + twist_re;
        data[2 * k + 1] = even_im + twist_im;
        data[2 * mirror] = even_re - twist_re;
        data[2 * mirror + 1] = twist_im - even_im;
    }
}

/// Unscaled complex transform of `data.len() / 2` numbers; `sign` is that of the exponent.
fn complex(data: &mut [f64], table: &[f64], sign: f64) {
    let len = data.len() / 2;
    if len < 2 {
        return;
    }
    reverse_bits(data, len);
    let mut size = 2;
    while size <= len {
        // The table is of len 2 `len`: one step at this size skips this many of its entries.
        let stride = 2 * len / size;
        for block in data.chunks_exact_mut(2 * size) {
            let (low, high) = block.split_at_mut(size);
            let turns = table.chunks_exact(2 * stride);
            for ((a, b), turn) in low
                .chunks_exact_mut(2)
                .zip(high.chunks_exact_mut(2))
                .zip(turns)
            {
                let (cos, sin) = (turn[0], sign * turn[1]);
                let re = cos * b[0] - sin * b[1];
                let im = cos * b[1] + sin * b[0];
                (b[0], b[1]) = (a[0] - re, a[1] - im);
                (a[0], a[1]) = (a[0] + re, a[1] + im);
            }
        }
        size *= 2;
    }
}

fn reverse_bits(data: &mut [f64], len: usize) {
    let shift = usize::BITS - len.ilog2();
    for k in 0..len {
        let other = k.reverse_bits() >> shift;
        if k < other {
            data.swap(2 * k, 2 * other);
            data.swap(2 * k + 1, 2 * other + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::{forward, inverse, rounding, twiddles};
    use crate::common::sized;
    use std::vec::Vec;

    fn sample(len: usize) -> Vec<f64> {
        (0..len)
            .map(|k| ((k * k * 7919 + 13 * k) % 1009) as f64 / 1009.0)
            .collect()
    }

    /// Every length up to 1024 against the definition, within the documented bound.
    #[test]
    fn agrees_with_the_definition() {
        for bits in 2..=sized(10, 6) {
            let len = 1usize << bits;
            let data = sample(len);
            let norm: f64 = data.iter().sum();
            let mut table = std::vec![0.0; len];
            twiddles(&mut table);
            let mut fast = data.clone();
            forward(&mut fast, &table);
            for k in 0..=len / 2 {
                let (mut re, mut im) = (0.0, 0.0);
                for (j, x) in data.iter().enumerate() {
                    let angle = -core::f64::consts::TAU * ((j * k) % len) as f64 / len as f64;
                    re += x * angle.cos();
                    im += x * angle.sin();
                }
                let got = match k {
                    0 => (fast[0], 0.0),
                    k if k == len / 2 => (fast[1], 0.0),
                    k => (fast[2 * k], fast[2 * k + 1]),
                };
                // The plain sum itself is off by up to len roundings.
                let room = norm * (rounding(len) + len as f64 * 2.3e-16);
                assert!((got.0 - re).abs() <= room, "{len} {k}: {got:?} {re}");
                assert!((got.1 - im).abs() <= room, "{len} {k}: {got:?} {im}");
            }
            inverse(&mut fast, &table);
            for (a, b) in fast.iter().zip(&data) {
                assert!((a - b).abs() <= 4.0 * rounding(len) * norm.max(1.0));
            }
        }
    }
}
