//! The ChaCha20 block function, the default source of noise bits.
//!
//! One source for the host and for kernels. Counter and nonce are four plain words, so that a
//! caller can spread its own coordinates over them (see [`crate::noise`] for the layout in use).
//!
//! # References
//! RFC 8439, ChaCha20 and Poly1305 for IETF Protocols, sections 2.1 to 2.3.

// The modules that `#[cube]` generates beside the functions carry no documentation.
#![cfg_attr(feature = "cube", allow(missing_docs))]
// CubeCL has no rotation; every compiler makes one of the two shifts.
#![allow(clippy::manual_rotate)]

use core::convert::Infallible;
use core::fmt;

#[cfg(feature = "cube")]
use cubecl::prelude::*;
use rand_core::block::{BlockRng, Generator};
use rand_core::{SeedableRng, TryCryptoRng, TryRng};
use zeroize::Zeroize;

use super::words::wrapping_add;

/// Four words: a quarter of a key, counter or block.
pub type Words4 = (u32, u32, u32, u32);

/// The ChaCha20 block function (RFC 8439, section 2.3).
///
/// `key_low` and `key_high` are words 4..8 and 8..12 of the initial state, `input` its words
/// 12..16: in the RFC's terms the block counter and the three words of the nonce. Returns the
/// 16 words of the block in order, four to a tuple.
#[cfg_attr(feature = "cube", cube)]
pub fn chacha20_block(
    key_low: Words4,
    key_high: Words4,
    input: Words4,
) -> (Words4, Words4, Words4, Words4) {
    let (k0, k1, k2, k3) = key_low;
    let (k4, k5, k6, k7) = key_high;
    let (i0, i1, i2, i3) = input;

    let mut a0 = 0x6170_7865u32;
    let mut a1 = 0x3320_646eu32;
    let mut a2 = 0x7962_2d32u32;
    let mut a3 = 0x6b20_6574u32;
    let mut b0 = k0;
    let mut b1 = k1;
    let mut b2 = k2;
    let mut b3 = k3;
    let mut c0 = k4;
    let mut c1 = k5;
    let mut c2 = k6;
    let mut c3 = k7;
    let mut d0 = i0;
    let mut d1 = i1;
    let mut d2 = i2;
    let mut d3 = i3;

    for _ in 0..10u32 {
        let (pa0, pb0, pc0, pd0) = quarter_round(a0, b0, c0, d0);
        let (pa1, pb1, pc1, pd1) = quarter_round(a1, b1, c1, d1);
        let (pa2, pb2, pc2, pd2) = quarter_round(a2, b2, c2, d2);
        let (pa3, pb3, pc3, pd3) = quarter_round(a3, b3, c3, d3);

        let (qa0, qb1, qc2, qd3) = quarter_round(pa0, pb1, pc2, pd3);
        let (qa1, qb2, qc3, qd0) = quarter_round(pa1, pb2, pc3, pd0);
        let (qa2, qb3, qc0, qd1) = quarter_round(pa2, pb3, pc0, pd1);
        let (qa3, qb0, qc1, qd2) = quarter_round(pa3, pb0, pc1, pd2);

        a0 = qa0;
        a1 = qa1;
        a2 = qa2;
        a3 = qa3;
        b0 = qb0;
        b1 = qb1;
        b2 = qb2;
        b3 = qb3;
        c0 = qc0;
        c1 = qc1;
        c2 = qc2;
        c3 = qc3;
        d0 = qd0;
        d1 = qd1;
        d2 = qd2;
        d3 = qd3;
    }

    (
        (
            wrapping_add(a0, 0x6170_7865u32),
            wrapping_add(a1, 0x3320_646eu32),
            wrapping_add(a2, 0x7962_2d32u32),
            wrapping_add(a3, 0x6b20_6574u32),
        ),
        (
            wrapping_add(b0, k0),
            wrapping_add(b1, k1),
            wrapping_add(b2, k2),
            wrapping_add(b3, k3),
        ),
        (
            wrapping_add(c0, k4),
            wrapping_add(c1, k5),
            wrapping_add(c2, k6),
            wrapping_add(c3, k7),
        ),
        (
            wrapping_add(d0, i0),
            wrapping_add(d1, i1),
            wrapping_add(d2, i2),
            wrapping_add(d3, i3),
        ),
    )
}

/// The ChaCha quarter round (RFC 8439, section 2.1).
#[cfg_attr(feature = "cube", cube)]
pub fn quarter_round(a: u32, b: u32, c: u32, d: u32) -> (u32, u32, u32, u32) {
    let a1 = wrapping_add(a, b);
    let d1 = rotate_left_16(d ^ a1);
    let c1 = wrapping_add(c, d1);
    let b1 = rotate_left_12(b ^ c1);
    let a2 = wrapping_add(a1, b1);
    let d2 = rotate_left_8(d1 ^ a2);
    let c2 = wrapping_add(c1, d2);
    let b2 = rotate_left_7(b1 ^ c2);
    (a2, b2, c2, d2)
}

#[cfg_attr(feature = "cube", cube)]
fn rotate_left_16(x: u32) -> u32 {
    (x << 16u32) | (x >> 16u32)
}

#[cfg_attr(feature = "cube", cube)]
fn rotate_left_12(x: u32) -> u32 {
    (x << 12u32) | (x >> 20u32)
}

#[cfg_attr(feature = "cube", cube)]
fn rotate_left_8(x: u32) -> u32 {
    (x << 8u32) | (x >> 24u32)
}

#[cfg_attr(feature = "cube", cube)]
fn rotate_left_7(x: u32) -> u32 {
    (x << 7u32) | (x >> 25u32)
}

/// The ChaCha20 key stream as a generator for `rand_core`: zero nonce, 64-bit block counter.
///
/// For whoever wants a stream rather than coordinates. Do not seed it with the words of a noise
/// [`Key`](crate::noise::Key): its blocks are those of tensors 0, 1, .. at step 0.
pub struct ChaCha20Rng(BlockRng<Blocks>);

impl SeedableRng for ChaCha20Rng {
    type Seed = [u8; 32];

    fn from_seed(mut seed: [u8; 32]) -> Self {
        let key = rand_core::utils::read_words(&seed);
        seed.zeroize();
        Self(BlockRng::new(Blocks { key, counter: 0 }))
    }
}

impl TryRng for ChaCha20Rng {
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

impl TryCryptoRng for ChaCha20Rng {}

impl fmt::Debug for ChaCha20Rng {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChaCha20Rng { .. }")
    }
}

struct Blocks {
    key: [u32; 8],
    counter: u64,
}

impl Generator for Blocks {
    type Output = [u32; 16];

    fn generate(&mut self, output: &mut [u32; 16]) {
        let counter = (self.counter as u32, (self.counter >> 32) as u32, 0, 0);
        *output = block_words(&self.key, counter);
        self.counter = self.counter.wrapping_add(1);
    }

    fn drop(&mut self, output: &mut [u32; 16]) {
        output.zeroize();
    }
}

impl Drop for Blocks {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

/// [`chacha20_block`] of a key in an array, as an array of its 16 words.
pub(crate) fn block_words(key: &[u32; 8], input: Words4) -> [u32; 16] {
    let [k0, k1, k2, k3, k4, k5, k6, k7] = *key;
    let (a, b, c, d) = chacha20_block((k0, k1, k2, k3), (k4, k5, k6, k7), input);
    [
        a.0, a.1, a.2, a.3, b.0, b.1, b.2, b.3, c.0, c.1, c.2, c.3, d.0, d.1, d.2, d.3,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_core::Rng;

    /// 00 01 02 .. 1f as little-endian words.
    const KEY: [u32; 8] = [
        0x0302_0100,
        0x0706_0504,
        0x0b0a_0908,
        0x0f0e_0d0c,
        0x1312_1110,
        0x1716_1514,
        0x1b1a_1918,
        0x1f1e_1d1c,
    ];

    #[test]
    fn quarter_round_of_rfc_8439_section_2_1_1() {
        assert_eq!(
            quarter_round(0x1111_1111, 0x0102_0304, 0x9b8d_6f43, 0x0123_4567),
            (0xea2a_92f4, 0xcb1c_f8ce, 0x4581_472e, 0x5881_c4bb)
        );
    }

    #[rustfmt::skip]
    #[test]
    fn block_of_rfc_8439_section_2_3_2() {
        let input = (1, 0x0900_0000, 0x4a00_0000, 0);
        let want = [
                0xe4e7_f110, 0x1559_3bd1, 0x1fdd_0f50, 0xc471_20a3, 0xc7f4_d1c7, 0x0368_c033, 0x9aaa_2204, 0x4e6c_d4c3,
                0x4664_82d2, 0x09aa_9f07, 0x05d7_c214, 0xa202_8bd9, 0xd19c_12b5, 0xb94e_16de, 0xe883_d0cb, 0x4e3c_50a2,
        ];
        assert_eq!(block_words(&KEY, input), want);
    }

    /// Key, counter and nonce words, and the block they give.
    type Case = ([u32; 8], Words4, [u32; 16]);

    #[rustfmt::skip]
    /// RFC 8439, appendix A.1, vectors 1 to 5 (the blocks repeated by OpenSSL 3).
    const APPENDIX_A_1: [Case; 5] = [
        (
            [0; 8],
            (0, 0, 0, 0),
            [
                0xade0_b876, 0x903d_f1a0, 0xe56a_5d40, 0x28bd_8653, 0xb819_d2bd, 0x1aed_8da0, 0xccef_36a8, 0xc70d_778b,
                0x7c59_41da, 0x8d48_5751, 0x3fe0_2477, 0x374a_d8b8, 0xf4b8_436a, 0x1ca1_1815, 0x69b6_87c3, 0x8665_eeb2,
            ],
        ),
        (
            [0; 8],
            (1, 0, 0, 0),
            [
                0xbee7_079f, 0x7a38_5155, 0x7c97_ba98, 0x0d08_2d73, 0xa029_0fcb, 0x6965_e348, 0x3e53_c612, 0xed7a_ee32,
                0x7621_b729, 0x434e_e69c, 0xb033_71d5, 0xd539_d874, 0x281f_ed31, 0x45fb_0a51, 0x1f0a_e1ac, 0x6f4d_794b,
            ],
        ),
        (
            [0, 0, 0, 0, 0, 0, 0, 0x0100_0000],
            (1, 0, 0, 0),
            [
                0x2452_eb3a, 0x9249_f8ec, 0x8d82_9d9b, 0xddd4_ceb1, 0xe825_2083, 0x6081_8b01, 0xf384_22b8, 0x5aaa_49c9,
                0xbb00_ca8e, 0xda3b_a7b4, 0xc4b5_92d1, 0xfdf2_732f, 0x4436_274e, 0x2561_b3c8, 0xebdd_4aa6, 0xa013_6c00,
            ],
        ),
        (
            [0xff00, 0, 0, 0, 0, 0, 0, 0],
            (2, 0, 0, 0),
            [
                0xfb4d_d572, 0x4bc4_2ef1, 0xdf92_2636, 0x327f_1394, 0xa78d_ea8f, 0x5e26_9039, 0xa1be_bbc1, 0xcaf0_9aae,
                0xa25a_b213, 0x48a6_b46c, 0x1b9d_9bcb, 0x092c_5be6, 0x546c_a624, 0x1bec_45d5, 0x87f4_7473, 0x96f0_992e,
            ],
        ),
        (
            [0; 8],
            (0, 0, 0, 0x0200_0000),
            [
                0x374d_c6c2, 0x3736_d58c, 0xb904_e24a, 0xcd3f_93ef, 0x8822_8b1a, 0x96a4_dfb3, 0x5b76_ab72, 0xc727_ee54,
                0x0e0e_978a, 0xf314_5c95, 0x1b74_8ea8, 0xf786_c297, 0x99c2_8f5f, 0x6283_14e8, 0x398a_19fa, 0x6ded_1b53,
            ],
        ),
    ];

    #[test]
    fn blocks_of_rfc_8439_appendix_a_1() {
        for (key, input, block) in APPENDIX_A_1 {
            assert_eq!(block_words(&key, input), block, "{key:x?} {input:x?}");
        }
    }

    #[test]
    fn stream_starts_with_the_zero_nonce_blocks_in_order() {
        let mut rng = ChaCha20Rng::from_seed([0; 32]);
        // RFC 8439, appendix A.1, vectors 1 and 2.
        assert_eq!(rng.next_u32(), 0xade0_b876);
        for _ in 0..15 {
            rng.next_u32();
        }
        assert_eq!(rng.next_u32(), 0xbee7_079f);
    }
}
