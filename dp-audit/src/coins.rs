//! Fair coins.

use dp_core::noise::chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

/// `count` fair coins, the same for the same seed: which canaries of a one-run audit are in.
///
/// The bound of [`OneRun`](crate::OneRun) holds only where the scores know the coins from the audited mechanism's output alone: decide
/// the canaries and how to score before the coins, and keep the mechanism from the seed. Their stream has a name of its own, so that
/// whatever else is drawn from the same seed is independent of them.
#[must_use]
pub fn coins(count: usize, seed: u64) -> Vec<bool> {
    let mut key = [0; 32];
    key[..16].copy_from_slice(b"dp-audit coins 1");
    key[16..24].copy_from_slice(&seed.to_le_bytes());
    let mut random = ChaCha20Rng::from_seed(key);
    let mut flipped = Vec::with_capacity(count);
    while flipped.len() < count {
        let bits = random.next_u64();
        let left = (count - flipped.len()).min(64);
        flipped.extend((0..left).map(|bit| bits >> bit & 1 == 1));
    }
    flipped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coins_are_fair_and_repeat() {
        let flipped = coins(100_001, 3);
        assert_eq!(flipped.len(), 100_001);
        let heads = flipped.iter().filter(|&&coin| coin).count() as f64;
        // Five standard deviations of 158.
        assert!((heads - 50_000.5).abs() < 791.0, "{heads}");
        assert_eq!(coins(100, 3), flipped[..100]);
        assert_ne!(coins(100, 4), flipped[..100]);
    }
}
