//! Philox4x32-10: fast, well tested statistically, and **not secure**.
//!
//! Whoever sees enough of its output may learn its key and subtract the noise: a run that uses it
//! has no privacy guarantee against such an observer. It is here for speed comparisons and tests.
//!
//! # References
//! Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.

// The modules that `#[cube]` generates beside the functions carry no documentation.
#![cfg_attr(feature = "cube", allow(missing_docs))]

use core::convert::Infallible;
use core::fmt;

#[cfg(feature = "cube")]
use cubecl::prelude::*;
use rand_core::block::{BlockRng, Generator};
use rand_core::{SeedableRng, TryRng};

use super::chacha::Words4;
use super::words::{mul_hi, wrapping_add, wrapping_mul};

/// Philox4x32 with ten rounds: four words from a counter of four words and a key of two.
#[cfg_attr(feature = "cube", cube)]
pub fn philox4x32x10(counter: Words4, key_low: u32, key_high: u32) -> Words4 {
    let (c0, c1, c2, c3) = counter;
    let mut x0 = c0;
    let mut x1 = c1;
    let mut x2 = c2;
    let mut x3 = c3;
    let mut k0 = key_low;
    let mut k1 = key_high;
    for _ in 0..10u32 {
        let (y0, y1, y2, y3) = philox_round(x0, x1, x2, x3, k0, k1);
        x0 = y0;
        x1 = y1;
        x2 = y2;
        x3 = y3;
        k0 = wrapping_add(k0, 0x9e37_79b9u32);
        k1 = wrapping_add(k1, 0xbb67_ae85u32);
    }
    (x0, x1, x2, x3)
}

#[cfg_attr(feature = "cube", cube)]
fn philox_round(x0: u32, x1: u32, x2: u32, x3: u32, k0: u32, k1: u32) -> (u32, u32, u32, u32) {
    let high0 = mul_hi(x0, 0xd251_1f53u32);
    let low0 = wrapping_mul(x0, 0xd251_1f53u32);
    let high1 = mul_hi(x2, 0xcd9e_8d57u32);
    let low1 = wrapping_mul(x2, 0xcd9e_8d57u32);
    (high1 ^ x1 ^ k0, low1, high0 ^ x3 ^ k1, low0)
}

/// The Philox stream as a generator for `rand_core`, counting from zero. Not secure: it does not
/// implement `TryCryptoRng`.
#[derive(Clone)]
pub struct Philox4x32x10NotSecureRng(BlockRng<Blocks>);

impl SeedableRng for Philox4x32x10NotSecureRng {
    type Seed = [u8; 8];

    fn from_seed(seed: [u8; 8]) -> Self {
        let key = rand_core::utils::read_words(&seed);
        Self(BlockRng::new(Blocks { key, counter: 0 }))
    }
}

impl TryRng for Philox4x32x10NotSecureRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.0.next_word())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.0.next_u64_from_u32())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill_bytes(bytes);
        Ok(())
    }
}

impl fmt::Debug for Philox4x32x10NotSecureRng {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Philox4x32x10NotSecureRng { .. }")
    }
}

#[derive(Clone)]
struct Blocks {
    key: [u32; 2],
    counter: u64,
}

impl Generator for Blocks {
    type Output = [u32; 4];

    fn generate(&mut self, output: &mut [u32; 4]) {
        let counter = (self.counter as u32, (self.counter >> 32) as u32, 0, 0);
        *output = philox4x32x10(counter, self.key[0], self.key[1]).into();
        self.counter = self.counter.wrapping_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_core::Rng;

    /// The three `philox4x32 10` lines of Random123's `tests/kat_vectors`.
    #[test]
    fn known_answers_of_random123() {
        let f = u32::MAX;
        let pi = (0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344);
        assert_eq!(
            philox4x32x10((0, 0, 0, 0), 0, 0),
            (0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8)
        );
        assert_eq!(
            philox4x32x10((f, f, f, f), f, f),
            (0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd)
        );
        assert_eq!(
            philox4x32x10(pi, 0xa409_3822, 0x299f_31d0),
            (0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1)
        );
    }

    #[test]
    fn stream_counts_up_from_zero() {
        let mut rng = Philox4x32x10NotSecureRng::from_seed([0; 8]);
        assert_eq!(rng.next_u32(), 0x6627_e8d5);
        for _ in 0..3 {
            rng.next_u32();
        }
        assert_eq!(rng.next_u32(), philox4x32x10((1, 0, 0, 0), 0, 0).0);
    }
}
