//! Discrete Gaussian noise, exactly: integers, comparisons of random bits with ratios of integers, and nothing else.
//!
//! The rejection sampler of Canonne, Kamath and Steinke for an integer parameter `sigma`. Element and attempt are coordinates
//! of the random stream, so an element that is rejected more often than another takes none of the other's bits, and shards of a
//! tensor draw what the whole draws. One source for the host and for kernels, which therefore agree in every bit.
//!
//! # Stream (frozen)
//! Two ChaCha20 blocks make the key of one tensor at one step: `[1, 2^32 - 1, "disc", "rete"]` under the run's key, then
//! `[0, tensor, step low, step high]` under the first eight words of that. Under the first eight words of the second, block `n` of
//! attempt `a` at element `i` has the input `[i, a, n, 0]`; its sixteen words are taken in order.
//!
//! # References
//! Canonne, Kamath and Steinke, "The discrete Gaussian for differential privacy", 2004.00010, algorithms 1 to 3.

// The modules that `#[cube]` generates beside the functions carry no documentation.
#![cfg_attr(feature = "cube", allow(missing_docs))]
// A kernel's conditions are nested where the second draws random bits.
#![allow(clippy::collapsible_if, clippy::assign_op_pattern)]

#[cfg(feature = "cube")]
use cubecl::prelude::*;

use super::chacha::{block_words, chacha20_block};
use super::words::{mul_hi, select, wrapping_add, wrapping_mul};
use super::{Key, NoiseError, RESERVED_TENSOR};

/// The largest parameter of discrete noise: 2^24.
pub const MAX_DISCRETE_SIGMA: u32 = 1 << 24;
/// No value is as far out as this many sigmas, which an exact sampler would reach with a probability below 2^-2900.
pub const DISCRETE_REACH: u32 = 64;
/// Elements that a tensor can have under discrete noise: 2^32.
pub const MAX_DISCRETE_ELEMENTS: u64 = 1 << 32;
/// Words of [`discrete_gaussian()`]'s state: 0 to 15 a block, 16 to 23 the tensor's key, then element, attempt, next block and how many of the
/// block's words are taken.
pub const DISCRETE_STATE: usize = 28;

/// Overwrites `out` with discrete Gaussian noise of parameter `sigma`: `Pr[x] ~ e^(-x^2 / (2 sigma^2))` over the integers, element `i`
/// of `out` being element `first_element + i` of the tensor.
///
/// Each value is a function of (key, step, tensor, element, sigma) alone, however the tensor is cut.
///
/// # Errors
/// [`NoiseError::DiscreteSigma`] unless `1 <= sigma <= MAX_DISCRETE_SIGMA`, [`NoiseError::DiscreteElements`] past
/// [`MAX_DISCRETE_ELEMENTS`], [`NoiseError::ReservedTensor`] for that tensor. `out` is then as it was.
///
/// # Privacy
/// Added to integers of L2 sensitivity `D` it is the discrete Gaussian mechanism of noise multiplier `sigma / D`; see
/// docs/proofs/discrete-noise.md for what that costs. For a vector it is neither
/// [`Event::DiscreteGaussian`](crate::accounting::Event::DiscreteGaussian), which is one coordinate's, nor quite
/// [`Event::Gaussian`](crate::accounting::Event::Gaussian), but
/// [`Event::ZeroConcentratedDp`](crate::accounting::Event::ZeroConcentratedDp) with `rho = D^2 / (2 sigma^2)`.
///
/// The time that a value takes depends on it (rejection), so who can time single elements learns of the noise.
///
/// # Precision
/// Exact for a uniform stream, but that values beyond [`DISCRETE_REACH`] sigma are drawn again: a total variation distance below
/// 2^-2900 for each element.
pub fn fill_discrete_gaussian(
    out: &mut [i32],
    first_element: u64,
    sigma: u32,
    key: &Key,
    step: u64,
    tensor: u32,
) -> Result<(), NoiseError> {
    check_discrete_request(first_element, out.len() as u64, sigma, tensor)?;
    let key = discrete_key(key, step, tensor);
    let mut state = [0; DISCRETE_STATE];
    for (i, value) in out.iter_mut().enumerate() {
        state[KEY..KEY + 8].copy_from_slice(key.words());
        *value = discrete_gaussian(&mut state, (first_element + i as u64) as u32, sigma);
    }
    zeroize::Zeroize::zeroize(&mut state);
    Ok(())
}

/// Refuses what [`fill_discrete_gaussian`] refuses; kernels that draw the same noise ask here first.
///
/// # Errors
/// As [`fill_discrete_gaussian`].
pub fn check_discrete_request(
    first_element: u64,
    len: u64,
    sigma: u32,
    tensor: u32,
) -> Result<(), NoiseError> {
    if !(1..=MAX_DISCRETE_SIGMA).contains(&sigma) {
        return Err(NoiseError::DiscreteSigma { sigma });
    }
    if tensor == RESERVED_TENSOR {
        return Err(NoiseError::ReservedTensor);
    }
    match first_element.checked_add(len) {
        Some(end) if end <= MAX_DISCRETE_ELEMENTS => Ok(()),
        _ => Err(NoiseError::DiscreteElements { first_element, len }),
    }
}

/// The key of one tensor's discrete noise at one step, to hand to a kernel.
pub fn discrete_key(key: &Key, step: u64, tensor: u32) -> Key {
    let ascii = |word: &[u8; 4]| u32::from_le_bytes(*word);
    let domain = (1, RESERVED_TENSOR, ascii(b"disc"), ascii(b"rete"));
    let domain = derived(key, domain);
    derived(&domain, (0, tensor, step as u32, (step >> 32) as u32))
}

fn derived(key: &Key, input: super::chacha::Words4) -> Key {
    let mut block = block_words(key.words(), input);
    let [k0, k1, k2, k3, k4, k5, k6, k7, ..] = block;
    zeroize::Zeroize::zeroize(&mut block);
    Key::new([k0, k1, k2, k3, k4, k5, k6, k7])
}

/// Where the key starts in the state; the block is before it.
const KEY: usize = 16;

/// One value: `state` holds the tensor's key in words 16 to 23, and is otherwise scratch.
///
/// `1 <= sigma <= MAX_DISCRETE_SIGMA`.
#[cfg_attr(feature = "cube", cube)]
pub fn discrete_gaussian(state: &mut [u32], element: u32, sigma: u32) -> i32 {
    state[24] = element;
    let mut attempt = 0u32;
    let mut value = 0i32;
    let mut searching = true;
    while searching {
        state[25] = attempt;
        state[26] = 0u32;
        state[27] = 16u32;
        let (accepted, drawn) = discrete_attempt(state, sigma);
        if accepted {
            value = drawn;
            searching = false;
        }
        attempt += 1u32;
    }
    value
}

/// One attempt at a value, as `(accepted, value)`: `state` holds key, element and attempt, and either no words or the attempt's first block.
///
/// [`discrete_gaussian()`] makes one after the other. An attempt is a function of key, element, attempt and sigma alone, so that who makes
/// several at once may.
#[cfg_attr(feature = "cube", cube)]
pub fn discrete_attempt(state: &mut [u32], sigma: u32) -> (bool, i32) {
    let (accepted, negative, quotient, rest) = laplace_attempt(state, sigma);
    let mut accepted = accepted;
    if accepted {
        accepted = gaussian_accepts(state, quotient, rest, sigma);
    }
    let magnitude = (rest + quotient * sigma) as i32;
    (accepted, select(negative, -magnitude, magnitude))
}

/// One attempt at the discrete Laplace law of scale `sigma`, as `(accepted, negative, quotient, rest)`: magnitude
/// `quotient sigma + rest`.
#[cfg_attr(feature = "cube", cube)]
fn laplace_attempt(state: &mut [u32], sigma: u32) -> (bool, bool, u32, u32) {
    // The least number of bits that hold sigma - 1.
    let mask = select(
        sigma == 1u32,
        0u32,
        0xffff_ffffu32 >> (((sigma - 1u32) | 1u32).leading_zeros()),
    );
    let rest = next_word(state) & mask;
    let mut accepted = rest < sigma;
    if accepted {
        accepted = bernoulli_exp(state, rest, sigma, false);
    }
    let mut quotient = 0u32;
    let mut negative = false;
    if accepted {
        let mut more = true;
        while more {
            more = bernoulli_exp(state, 1u32, 1u32, false);
            if more {
                quotient += 1u32;
                if quotient >= 64u32 {
                    more = false;
                }
            }
        }
        negative = next_word(state) & 1u32 == 1u32;
        let negative_zero = negative && rest == 0u32 && quotient == 0u32;
        accepted = quotient < 64u32 && !negative_zero;
    }
    (accepted, negative, quotient, rest)
}

/// True with the probability `exp(-(y - sigma)^2 / (2 sigma^2))` for `y = quotient sigma + rest`.
///
/// With `|y - sigma| = a sigma + r` the exponent is `a^2 / 2 + a r / sigma + (r / sigma)^2 / 2`: a factor for each term.
#[cfg_attr(feature = "cube", cube)]
fn gaussian_accepts(state: &mut [u32], quotient: u32, rest: u32, sigma: u32) -> bool {
    let inside = quotient == 0u32;
    let at_zero = inside && rest == 0u32;
    let beyond = select(inside, 1u32, quotient) - 1u32;
    let a = select(at_zero, 1u32, beyond);
    let r = select(inside && !at_zero, sigma - rest, rest);
    let mut accepted = true;
    let mut halves = a * a;
    while accepted && halves > 0u32 {
        accepted = bernoulli_exp(state, 1u32, 2u32, false);
        halves -= 1u32;
    }
    let mut crossed = a;
    while accepted && crossed > 0u32 {
        accepted = bernoulli_exp(state, r, sigma, false);
        crossed -= 1u32;
    }
    if accepted {
        accepted = bernoulli_exp(state, r, sigma, true);
    }
    accepted
}

/// True with the probability `exp(-x)`, `x = a / b`, or `x = (a / b)^2 / 2` if `half_square`; `a <= b < 2^31`.
///
/// Von Neumann's: draw events of probability `x / k` for `k = 1, 2, ..` until one fails; true if `k` is then odd.
#[cfg_attr(feature = "cube", cube)]
fn bernoulli_exp(state: &mut [u32], a: u32, b: u32, half_square: bool) -> bool {
    let mut k = 1u32;
    let mut going = true;
    while going {
        going = bernoulli(state, a, b);
        if going && half_square {
            going = bernoulli(state, a, b);
            if going {
                going = bernoulli(state, 1u32, 2u32);
            }
        }
        if going {
            going = bernoulli(state, 1u32, k);
        }
        if going {
            k += 1u32;
        }
    }
    k & 1u32 == 1u32
}

/// True with the probability `a / b`, `a <= b < 2^31`: a uniform number's digits in base 2^32 against those of the ratio, as many
/// as it takes to tell them apart.
#[cfg_attr(feature = "cube", cube)]
fn bernoulli(state: &mut [u32], a: u32, b: u32) -> bool {
    let mut outcome = a >= b;
    let mut rest = a;
    let mut undecided = a < b && a > 0u32;
    while undecided {
        let word = next_word(state);
        let (less, equal, next) = against_digit(word, rest, b);
        outcome = less;
        undecided = equal && next > 0u32;
        rest = next;
    }
    outcome
}

/// Whether `word` is less than the first digit of `a / b` in base 2^32, whether it is that digit, and then what is left for the next:
/// `2^32 a mod b`; for `a < b < 2^31`.
///
/// By the product `word b` against `2^32 a`: no division, which is 32 steps where there are words of 32 bits only.
#[cfg_attr(feature = "cube", cube)]
pub fn against_digit(word: u32, a: u32, b: u32) -> (bool, bool, u32) {
    let low = wrapping_mul(word, b);
    // 2^32 a - word b is 2^32 (a - over) + left.
    let over = mul_hi(word, b) + select(low > 0u32, 1u32, 0u32);
    let left = wrapping_add(low ^ 0xffff_ffffu32, 1u32);
    let equal = over == a && left < b;
    (over <= a && !equal, equal, left)
}

/// The next word of the attempt's stream.
#[cfg_attr(feature = "cube", cube)]
fn next_word(state: &mut [u32]) -> u32 {
    if state[27] == 16u32 {
        let low = (state[16], state[17], state[18], state[19]);
        let high = (state[20], state[21], state[22], state[23]);
        let (a, b, c, d) = chacha20_block(low, high, (state[24], state[25], state[26], 0u32));
        let (w0, w1, w2, w3) = a;
        let (w4, w5, w6, w7) = b;
        let (w8, w9, w10, w11) = c;
        let (w12, w13, w14, w15) = d;
        state[0] = w0;
        state[1] = w1;
        state[2] = w2;
        state[3] = w3;
        state[4] = w4;
        state[5] = w5;
        state[6] = w6;
        state[7] = w7;
        state[8] = w8;
        state[9] = w9;
        state[10] = w10;
        state[11] = w11;
        state[12] = w12;
        state[13] = w13;
        state[14] = w14;
        state[15] = w15;
        state[26] += 1u32;
        state[27] = 0u32;
    }
    let word = state[state[27] as usize];
    state[27] += 1u32;
    word
}
