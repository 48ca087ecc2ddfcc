//! The secret that noise and sampling derive from.

use core::fmt;

use rand_core::TryCryptoRng;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// A 256-bit key, wiped from memory when dropped and never shown by `Debug`.
///
/// # Privacy
/// Whoever knows the key can subtract the noise. Draw a new one from the operating system at every
/// start of a process, and write it nowhere: a resumed run that reuses a key repeats its noise.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Key([u32; 8]);

impl Key {
    /// A key from eight words: for known answers, or from a key-derivation function.
    pub const fn new(words: [u32; 8]) -> Self {
        Self(words)
    }

    /// Draws a key from a cryptographic generator, such as the operating system's.
    ///
    /// # Errors
    /// Whatever the generator answers.
    pub fn generate<R: TryCryptoRng + ?Sized>(rng: &mut R) -> Result<Self, R::Error> {
        let mut key = Self([0; 8]);
        for word in &mut key.0 {
            *word = rng.try_next_u32()?;
        }
        Ok(key)
    }

    /// The words, to hand them to a kernel. Leave no copy behind.
    pub const fn words(&self) -> &[u32; 8] {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key { .. }")
    }
}
