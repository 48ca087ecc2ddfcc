//! Noise by coordinates: counter-based generators and the way from bits to normals.
//!
//! Element `i` of tensor `k` at step `s` under key `K` is a pure function of those four, so any
//! number of devices draws exactly what one device draws, and no generator state is kept. The
//! functions that make the bits and the normals are the ones that kernels call (feature `cube`).
//!
//! # Counter layout (frozen)
//! A block of a generator makes `n` normals, and [`BLOCKS_OF_GROUP`] blocks the elements of a group: with `i % (16 n) = 16 j + l`,
//! element `i` is normal `j` of block `b = 16 (i / (16 n)) + l`. So neighbours come from neighbouring blocks, which are what a processor's
//! lanes and a GPU's units make side by side, and they lie in memory as they are made.
//! - ChaCha20, `n = 16`: words 12 to 15 of the initial state are `[b, k, s low, s high]`.
//! - Philox4x32-10, `n = 4`: counter `[b, k, s low, s high]`, key words 0 and 1.
//!
//! Pair `p` of a block takes its word `2 p` for the radius and `2 p + 1` for the angle; normal `2 p` is `r cos`, `2 p + 1` is `r sin`.
//! `b` is below 2^31. A radius whose word is [`short`](normal::is_short()), one in 8192, takes 32 further bits: word `p` of the block `b + 2^31`, which is
//! made for nothing else. Tensor [`RESERVED_TENSOR`] is refused: the sampler
//! ([`crate::sampling`]) and [`discrete`] noise derive their own keys there.

pub mod chacha;
pub mod discrete;
pub mod hardened;
pub mod normal;
pub mod philox;
pub mod words;

mod error;
mod gaussian;
mod key;

pub use discrete::fill_discrete_gaussian;
pub use error::NoiseError;
pub use gaussian::{
    EightPairs, GaussianDraw, NormalPair, chacha20_normals, check_request, fill_gaussian,
    philox4x32x10_normals,
};
pub use hardened::{Hardened, HardenedDraw, HardenedError};
pub use key::Key;

/// The tensor number that noise may not use: other keys are derived there.
pub const RESERVED_TENSOR: u32 = u32::MAX;

/// The largest standard deviation accepted: 2^124, so that no noise value overflows.
pub const MAX_STD: f32 = f32::MAX / 16.0;

/// Blocks whose normals lie side by side: 16, the widest vector of a processor, so that what it makes at once is one piece of memory, and whole
/// sectors for the units of a GPU that work in step.
pub const BLOCKS_OF_GROUP: u64 = 16;

/// The bit of a block's number that its further bits have, and no block of normals.
pub const FURTHER: u32 = 1 << 31;

/// Normals of a block, of the generator that makes the most.
const MOST_NORMALS: usize = Generator::ChaCha20.normals_per_block() as usize;

/// Where the noise bits come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Generator {
    /// ChaCha20 (RFC 8439), the default.
    #[default]
    ChaCha20,
    /// Philox4x32-10: fast, and not secure. Its noise can be predicted from its noise.
    Philox4x32x10NotSecure,
}

impl Generator {
    /// Whether noise from this generator can stand behind a privacy guarantee.
    pub const fn is_secure(self) -> bool {
        match self {
            Self::ChaCha20 => true,
            Self::Philox4x32x10NotSecure => false,
        }
    }

    /// Normals that one block of the generator makes.
    pub const fn normals_per_block(self) -> u64 {
        match self {
            Self::ChaCha20 => 16,
            Self::Philox4x32x10NotSecure => 4,
        }
    }

    /// Consecutive elements that a group of [`BLOCKS_OF_GROUP`] blocks makes.
    pub const fn elements_per_group(self) -> u64 {
        self.normals_per_block() * BLOCKS_OF_GROUP
    }

    /// Elements a tensor can have: 2^35 with ChaCha20, 2^33 with Philox.
    pub const fn max_elements(self) -> u64 {
        self.normals_per_block() << 31
    }
}
