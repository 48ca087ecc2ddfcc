//! Which of a user's records a step uses.

use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::noise::chacha::block_words;
use crate::noise::{Key, RESERVED_TENSOR};

/// Chooses at most so many of a user's records for a step, each set of them equally likely.
///
/// # Privacy
/// The choice is a function of the key, the step, the user's number and how many records the user has: of nothing that another user
/// brings. So it is part of what is computed of the user alone, and whatever it is, a user that is drawn adds one clipped vector. It
/// needs no secret for that; it comes from a secret key all the same.
///
/// # Stream
/// A key of its own is derived from the run's key with one ChaCha20 block, at the tensor number that noise may not use: words 12
/// to 15 are `[0, 2^32 - 1, "reco", "rds "]` (little-endian ASCII; the sampler has other words), and the block's words 0 to 7 are the
/// key. Under it, words 12 to 15 are `[user, block, step low, step high]`, and draw `i` takes words `2 (i % 8)` (low) and
/// `2 (i % 8) + 1` (high) of block `i / 8` as a 64-bit uniform `x`; a number below `n` is `floor(x n / 2^64)`.
///
/// # Precision
/// A number below `n` has a probability within `2^-64` of `1 / n`.
///
/// # References
/// Floyd's algorithm: Bentley and Floyd, "A sample of brilliance", Communications of the ACM 30 (1987).
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct RecordChoice {
    key: [u32; 8],
}

impl RecordChoice {
    /// The choices under the run's `key`.
    #[must_use]
    pub fn new(key: &Key) -> Self {
        let input = (
            0,
            RESERVED_TENSOR,
            u32::from_le_bytes(*b"reco"),
            u32::from_le_bytes(*b"rds "),
        );
        let mut block = block_words(key.words(), input);
        let mut words = [0; 8];
        words.copy_from_slice(&block[..8]);
        block.zeroize();
        Self { key: words }
    }

    /// Writes which of the `records` records of `user` the step uses into the front of `chosen`, ascending, and says how many: all of them,
    /// or as many as `chosen` holds.
    pub fn choose(&self, step: u64, user: u32, records: u32, chosen: &mut [u32]) -> usize {
        let room = u32::try_from(chosen.len()).unwrap_or(u32::MAX);
        if records <= room {
            for (place, record) in chosen.iter_mut().zip(0..records) {
                *place = record;
            }
            return records as usize;
        }
        let mut uniforms = Uniforms::new(&self.key, step, user);
        // Floyd: a number from 0 to `last`, or `last` itself where the number was taken before.
        for (known, last) in (records - room..records).enumerate() {
            let number = uniforms.below(u64::from(last) + 1) as u32;
            let (before, rest) = chosen.split_at_mut(known);
            if let Some(place) = rest.first_mut() {
                *place = if before.contains(&number) {
                    last
                } else {
                    number
                };
            }
        }
        chosen.sort_unstable();
        chosen.len()
    }
}

/// The 64-bit uniforms of one user at one step, in order.
struct Uniforms<'a> {
    key: &'a [u32; 8],
    step: u64,
    user: u32,
    drawn: u32,
    words: Words,
}

#[derive(Zeroize, ZeroizeOnDrop)]
struct Words([u32; 16]);

impl<'a> Uniforms<'a> {
    fn new(key: &'a [u32; 8], step: u64, user: u32) -> Self {
        Self {
            key,
            step,
            user,
            drawn: 0,
            words: Words([0; 16]),
        }
    }

    fn below(&mut self, n: u64) -> u64 {
        let (block, lane) = (self.drawn / 8, 2 * (self.drawn % 8) as usize);
        if lane == 0 {
            let input = (self.user, block, self.step as u32, (self.step >> 32) as u32);
            self.words = Words(block_words(self.key, input));
        }
        self.drawn += 1;
        let low = u64::from(self.words.0[lane]);
        let uniform = low | u64::from(self.words.0[lane + 1]) << 32;
        ((u128::from(uniform) * u128::from(n)) >> 64) as u64
    }
}
