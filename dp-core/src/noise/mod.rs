//! Noise by coordinates: counter-based generators and the way from bits to normals.
//!
//! Element `i` of tensor `k` at step `s` under key `K` is a pure function of those four, so any
//! number of devices draws exactly what one device draws, and no generator state is kept. The
//! functions that make the bits and the normals are the ones that kernels call (feature `cube`).
//!
//! # Counter layout (frozen)
//! - ChaCha20: words 12 to 15 of the initial state are `[i / 8, k, s low, s high]`; element `i` has
//!   lane `i % 8` and takes words `4 (lane / 2) ..` of the block.
//! - Philox4x32-10: counter `[i / 2, k, s low, s high]`, key words 0 and 1; lane `i % 2`.
//!
//! Of its four words the first two (high, low) give the radius and the third the angle; an even
//! lane is `r cos`, an odd lane `r sin`. Tensor [`RESERVED_TENSOR`] is refused: the sampler
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
    GaussianDraw, Normals4, chacha20_normals, check_request, fill_gaussian, philox4x32x10_normals,
};
pub use hardened::{Hardened, HardenedDraw, HardenedError};
pub use key::Key;

/// The tensor number that noise may not use: other keys are derived there.
pub const RESERVED_TENSOR: u32 = u32::MAX;

/// The largest standard deviation accepted: 2^124, so that no noise value overflows.
pub const MAX_STD: f32 = f32::MAX / 16.0;

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

    /// Consecutive elements that one block of the generator makes.
    pub const fn elements_per_block(self) -> u64 {
        match self {
            Self::ChaCha20 => 8,
            Self::Philox4x32x10NotSecure => 2,
        }
    }

    /// Elements a tensor can have: 2^35 with ChaCha20, 2^33 with Philox.
    pub const fn max_elements(self) -> u64 {
        self.elements_per_block() << 32
    }
}
