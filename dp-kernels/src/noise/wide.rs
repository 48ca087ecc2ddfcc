//! [`dp_core::noise`]'s ChaCha20, Philox and normals on vectors, a block in each lane: what a processor's vector
//! units need. The same operations in the same order, so the words are the same and the normals too, to
//! what contracting multiply and add can change; the conformance suite compares them.
//!
//! Where a processor has one operation for what a GPU must not be trusted with, that one is taken, and the bits stay: it converts
//! any word to the nearest float, multiplies words to 64 bits, and flips a sign. It takes a square root too, rounded to nearest where dp-core's
//! own is within 0.51 units of it: the two differ by a unit now and then.
//!
//! A ChaCha20 block takes 960 additions, exclusive ors and rotations, and makes 16 normals: a vector's lanes of them take as many vector
//! operations, more than the normals do. Further bits are made for all lanes where one of them needs some: once in 64 times with 16 lanes.

use cubecl::prelude::*;
use dp_core::noise::FURTHER;
use dp_core::noise::normal::SHORT;

/// 2^-33: what a word's half counts for.
const TWO_TO_MINUS_33: f32 = 1.164_153_2e-10;
/// The bits of `1f32`, of the float nearest to sqrt(1/2), and all of a mantissa.
const ONE: u32 = 0x3f80_0000;
const ROOT_OF_HALF: u32 = 0x3f35_04f3;
const MANTISSA: u32 = 0x007f_ffff;

/// The sixteen words of the ChaCha20 blocks of the given input words, lane by lane.
#[cube]
pub(super) fn chacha20_blocks<N: Size>(
    key: &Array<u32>,
    input: &Array<Vector<u32, N>>,
) -> Array<Vector<u32, N>> {
    let mut start = Array::<Vector<u32, N>>::new(16usize);
    start[0] = Vector::<u32, N>::new(0x6170_7865u32);
    start[1] = Vector::<u32, N>::new(0x3320_646eu32);
    start[2] = Vector::<u32, N>::new(0x7962_2d32u32);
    start[3] = Vector::<u32, N>::new(0x6b20_6574u32);
    #[unroll]
    for i in 0..8usize {
        start[4 + i] = Vector::<u32, N>::new(key[i]);
    }
    #[unroll]
    for i in 0..4usize {
        start[12 + i] = input[i];
    }

    let mut words = Array::<Vector<u32, N>>::new(16usize);
    #[unroll]
    for i in 0..16usize {
        words[i] = start[i];
    }
    for _ in 0..10u32 {
        #[unroll]
        for i in 0..4usize {
            quarter_round::<N>(&mut words, i, 4 + i, 8 + i, 12 + i);
        }
        #[unroll]
        for i in 0..4usize {
            quarter_round::<N>(
                &mut words,
                i,
                comptime!(4 + (i + 1) % 4),
                comptime!(8 + (i + 2) % 4),
                comptime!(12 + (i + 3) % 4),
            );
        }
    }
    #[unroll]
    for i in 0..16usize {
        words[i] += start[i];
    }
    words
}

#[cube]
fn quarter_round<N: Size>(
    words: &mut Array<Vector<u32, N>>,
    #[comptime] a: usize,
    #[comptime] b: usize,
    #[comptime] c: usize,
    #[comptime] d: usize,
) {
    words[a] = words[a] + words[b];
    words[d] = rotate::<N>(words[d] ^ words[a], 16u32);
    words[c] = words[c] + words[d];
    words[b] = rotate::<N>(words[b] ^ words[c], 12u32);
    words[a] = words[a] + words[b];
    words[d] = rotate::<N>(words[d] ^ words[a], 8u32);
    words[c] = words[c] + words[d];
    words[b] = rotate::<N>(words[b] ^ words[c], 7u32);
}

#[cube]
fn rotate<N: Size>(x: Vector<u32, N>, #[comptime] left: u32) -> Vector<u32, N> {
    (x << Vector::<u32, N>::new(left)) | (x >> Vector::<u32, N>::new(comptime!(32 - left)))
}

/// [`dp_core::noise::chacha20_normals`] of the given counters, lane by lane: normal `j` of the blocks in vector `j`.
#[cube]
pub(crate) fn chacha20_normals<N: Size>(
    counters: Vector<u32, N>,
    key: &Array<u32>,
    tensor: u32,
    step_low: u32,
    step_high: u32,
) -> Array<Vector<f32, N>> {
    let mut input = Array::<Vector<u32, N>>::new(4usize);
    input[0] = counters;
    input[1] = Vector::<u32, N>::new(tensor);
    input[2] = Vector::<u32, N>::new(step_low);
    input[3] = Vector::<u32, N>::new(step_high);
    let words = chacha20_blocks::<N>(key, &input);
    let mut uniforms = smaller_uniforms::<N>(&words, 8usize);
    if is_any_short::<N>(&words, 8usize) {
        input[0] = counters | int::<N>(FURTHER);
        let further = chacha20_blocks::<N>(key, &input);
        put_further::<N>(&mut uniforms, &words, &further, 8usize);
    }
    normals_of::<N>(&words, &uniforms, 8usize)
}

/// [`dp_core::noise::philox4x32x10_normals`] of the given counters, lane by lane: normal `j` of the blocks in vector `j`. Not secure.
#[cube]
pub(crate) fn philox_normals<N: Size>(
    counters: Vector<u32, N>,
    tensor: u32,
    step_low: u32,
    step_high: u32,
    key_low: u32,
    key_high: u32,
) -> Array<Vector<f32, N>> {
    let words = philox_blocks::<N>(counters, tensor, step_low, step_high, key_low, key_high);
    let mut uniforms = smaller_uniforms::<N>(&words, 2usize);
    if is_any_short::<N>(&words, 2usize) {
        let others = counters | int::<N>(FURTHER);
        let further = philox_blocks::<N>(others, tensor, step_low, step_high, key_low, key_high);
        put_further::<N>(&mut uniforms, &words, &further, 2usize);
    }
    normals_of::<N>(&words, &uniforms, 2usize)
}

/// The four words of the Philox4x32-10 blocks of the given counters, lane by lane.
#[cube]
fn philox_blocks<N: Size>(
    counters: Vector<u32, N>,
    tensor: u32,
    step_low: u32,
    step_high: u32,
    key_low: u32,
    key_high: u32,
) -> Array<Vector<u32, N>> {
    // A word in each lane of 64 bits, where a processor has the whole product; what is above the word is rubbish, and not read.
    let word = long::<N>(0xffff_ffffu32);
    let bits = long::<N>(32u32);
    let m0 = long::<N>(0xd251_1f53u32);
    let m1 = long::<N>(0xcd9e_8d57u32);
    let mut x0 = Vector::<u64, N>::cast_from(counters);
    let mut x1 = long::<N>(tensor);
    let mut x2 = long::<N>(step_low);
    let mut x3 = long::<N>(step_high);
    let mut k0 = long::<N>(key_low);
    let mut k1 = long::<N>(key_high);
    for _ in 0..10u32 {
        let product0 = (x0 & word) * m0;
        let product1 = (x2 & word) * m1;
        x0 = (product1 >> bits) ^ x1 ^ k0;
        x1 = product1;
        x2 = (product0 >> bits) ^ x3 ^ k1;
        x3 = product0;
        k0 += long::<N>(0x9e37_79b9u32);
        k1 += long::<N>(0xbb67_ae85u32);
    }
    let mut words = Array::<Vector<u32, N>>::new(4usize);
    words[0] = Vector::<u32, N>::cast_from(x0);
    words[1] = Vector::<u32, N>::cast_from(x1);
    words[2] = Vector::<u32, N>::cast_from(x2);
    words[3] = Vector::<u32, N>::cast_from(x3);
    words
}

/// The uniform of each pair's radius, or its complement where that is smaller, from the radius's word alone, which will do where
/// that is not short.
#[cube]
fn smaller_uniforms<N: Size>(
    words: &Array<Vector<u32, N>>,
    #[comptime] pairs: usize,
) -> Array<Vector<f32, N>> {
    let mut uniforms = Array::<Vector<f32, N>>::new(pairs);
    #[unroll]
    for i in 0..pairs {
        let high = words[2 * i];
        let n = ((high ^ complement::<N>(high)) << int::<N>(1u32)) | int::<N>(1u32);
        uniforms[i] = to_float::<N>(n) * float::<N>(TWO_TO_MINUS_33);
    }
    uniforms
}

/// Whether the word of a radius of any pair in any lane is short.
#[cube]
fn is_any_short<N: Size>(words: &Array<Vector<u32, N>>, #[comptime] pairs: usize) -> bool {
    let mut nearest = int::<N>(0x7fff_ffffu32);
    #[unroll]
    for i in 0..pairs {
        let high = words[2 * i];
        nearest = nearest.min(high ^ complement::<N>(high));
    }
    let lanes = N::value();
    let mut least = nearest.extract(0usize);
    #[unroll]
    for lane in 1..lanes {
        least = least.min(nearest.extract(lane));
    }
    least < SHORT
}

/// What [`smaller_uniforms`] gives, with the further bits of those radii whose word is short.
#[cube]
fn put_further<N: Size>(
    uniforms: &mut Array<Vector<f32, N>>,
    words: &Array<Vector<u32, N>>,
    further: &Array<Vector<u32, N>>,
    #[comptime] pairs: usize,
) {
    #[unroll]
    for i in 0..pairs {
        let high = words[2 * i];
        let mask = complement::<N>(high);
        let h = high ^ mask;
        let l = further[i] ^ mask;
        let n_high = (h << int::<N>(1u32)) | (l >> int::<N>(31u32));
        let n_low = (l << int::<N>(1u32)) | int::<N>(1u32);
        let is_low = n_high.equal(&int::<N>(0u32));
        let first = select_many(is_low, n_low, n_high);
        let second = select_many(is_low, int::<N>(0u32), n_low);
        let zeros = first.leading_zeros();
        let bits = (first << zeros) | ((second >> int::<N>(1u32)) >> (int::<N>(31u32) - zeros));
        let shift = zeros + select_many(is_low, int::<N>(32u32), int::<N>(0u32));
        let scale = bits_to_float::<N>((int::<N>(127u32) - shift) << int::<N>(23u32));
        let uniform = to_float::<N>(bits) * float::<N>(TWO_TO_MINUS_33) * scale;
        let is_short = h.less_than(&int::<N>(SHORT));
        uniforms[i] = select_many(is_short, uniform, uniforms[i]);
    }
}

/// All ones for the words of uniforms above one half, else zeros.
#[cube]
fn complement<N: Size>(high: Vector<u32, N>) -> Vector<u32, N> {
    let upper = high.greater_equal(&int::<N>(0x8000_0000u32));
    select_many(upper, int::<N>(0xffff_ffffu32), int::<N>(0u32))
}

/// The normals of a block's pairs, from its words and the [smaller uniforms](smaller_uniforms) of its radii.
#[cube]
fn normals_of<N: Size>(
    words: &Array<Vector<u32, N>>,
    uniforms: &Array<Vector<f32, N>>,
    #[comptime] pairs: usize,
) -> Array<Vector<f32, N>> {
    // Part by part for all pairs: a part is a chain of operations that wait for each other, and the pairs do not.
    let mut exponential = Array::<Vector<f32, N>>::new(pairs);
    let mut cosine = Array::<Vector<f32, N>>::new(pairs);
    let mut sine = Array::<Vector<f32, N>>::new(pairs);
    #[unroll]
    for i in 0..pairs {
        exponential[i] = minus_ln_uniform::<N>(words[2 * i], uniforms[i]);
    }
    #[unroll]
    for i in 0..pairs {
        let (c, s) = cos_sin_turn::<N>(words[2 * i + 1]);
        cosine[i] = c;
        sine[i] = s;
    }
    let mut normals = Array::<Vector<f32, N>>::new(comptime!(2 * pairs));
    #[unroll]
    for i in 0..pairs {
        let r = square_root_of_twice::<N>(exponential[i]);
        normals[2 * i] = r * cosine[i];
        normals[2 * i + 1] = r * sine[i];
    }
    normals
}

#[cube]
fn int<N: Size>(x: u32) -> Vector<u32, N> {
    Vector::<u32, N>::new(x)
}

#[cube]
fn long<N: Size>(x: u32) -> Vector<u64, N> {
    Vector::<u64, N>::new(u64::cast_from(x))
}

#[cube]
fn float<N: Size>(x: f32) -> Vector<f32, N> {
    Vector::<f32, N>::new(x)
}

#[cube]
fn to_float<N: Size>(x: Vector<u32, N>) -> Vector<f32, N> {
    Vector::<f32, N>::cast_from(x)
}

#[cube]
fn bits_to_float<N: Size>(x: Vector<u32, N>) -> Vector<f32, N> {
    Vector::<f32, N>::reinterpret(x)
}

#[cube]
fn float_to_bits<N: Size>(x: Vector<f32, N>) -> Vector<u32, N> {
    Vector::<u32, N>::reinterpret(x)
}

/// [`dp_core::noise::normal::minus_ln_uniform`], lane by lane, from the radius's word and its [smaller uniform](smaller_uniforms).
#[cube]
fn minus_ln_uniform<N: Size>(high: Vector<u32, N>, t: Vector<f32, N>) -> Vector<f32, N> {
    let upper = high.greater_equal(&int::<N>(0x8000_0000u32));
    let one = float::<N>(1.0f32);
    // Moving the root to where a mantissa begins, the exponent is e's.
    let moved = float_to_bits::<N>(t) + int::<N>(comptime!(ONE - ROOT_OF_HALF));
    let mantissa = (moved & int::<N>(MANTISSA)) + int::<N>(ROOT_OF_HALF);
    let f_of_u = bits_to_float::<N>(mantissa) - one;
    let e_of_u = int::<N>(127u32) - (moved >> int::<N>(23u32));
    let near_one = t.less_than(&float::<N>(0.292_893_23f32));
    let f_of_complement = select_many(near_one, float::<N>(0.0f32) - t, one - (t + t));
    let e_of_complement = select_many(near_one, int::<N>(0u32), int::<N>(1u32));
    let f = select_many(upper, f_of_complement, f_of_u);
    let e = to_float::<N>(select_many(upper, e_of_complement, e_of_u));

    let p = float::<N>(0.067_466_48f32);
    let p = p * f - float::<N>(0.116_756_55f32);
    let p = p * f + float::<N>(0.118_881_606f32);
    let p = p * f - float::<N>(0.124_055_885f32);
    let p = p * f + float::<N>(0.142_195_52f32);
    let p = p * f - float::<N>(0.166_679_96f32);
    let p = p * f + float::<N>(0.200_021_19f32);
    let p = p * f - float::<N>(0.250_000_1f32);
    let p = p * f + float::<N>(0.333_333_13f32);
    let square = f * f;
    let tail = (f * square) * p - float::<N>(0.5f32) * square - e * float::<N>(-2.121_944_4e-4f32);
    e * float::<N>(0.693_359_4f32) - (f + tail)
}

/// [`dp_core::noise::normal::cos_sin_turn`], lane by lane.
#[cube]
fn cos_sin_turn<N: Size>(w: Vector<u32, N>) -> (Vector<f32, N>, Vector<f32, N>) {
    let forward = ((w & int::<N>(0x1fff_ffffu32)) << int::<N>(1u32)) | int::<N>(1u32);
    let odd = (w & int::<N>(0x2000_0000u32)).not_equal(&int::<N>(0u32));
    let n = select_many(odd, int::<N>(0x4000_0000u32) - forward, forward);
    let x = to_float::<N>(n) * float::<N>(7.314_590_6e-10f32);

    let s = x * x;
    let p = float::<N>(-1.951_528_4e-4f32);
    let p = p * s + float::<N>(0.008_332_16f32);
    let p = p * s - float::<N>(0.166_666_55f32);
    let small = x + (x * s) * p;
    let q = float::<N>(2.443_315_9e-5f32);
    let q = q * s - float::<N>(0.001_388_731_6f32);
    let q = q * s + float::<N>(0.041_666_646f32);
    let large = (float::<N>(1.0f32) - float::<N>(0.5f32) * s) + (s * s) * q;

    // Bits of the octant, moved: an octant is 2^29. Neither number is zero, so flipping its sign bit is to subtract it from zero.
    let swap =
        ((w + int::<N>(0x2000_0000u32)) & int::<N>(0x4000_0000u32)).not_equal(&int::<N>(0u32));
    let cosine = select_many(swap, small, large);
    let sine = select_many(swap, large, small);
    let sign = int::<N>(0x8000_0000u32);
    (
        bits_to_float::<N>(float_to_bits::<N>(cosine) ^ ((w + int::<N>(0x4000_0000u32)) & sign)),
        bits_to_float::<N>(float_to_bits::<N>(sine) ^ (w & sign)),
    )
}

/// The square root of `2 half`, rounded to nearest, lane by lane: at most one unit from [`dp_core::noise::normal::square_root`].
#[cube]
fn square_root_of_twice<N: Size>(half: Vector<f32, N>) -> Vector<f32, N> {
    Vector::<f32, N>::sqrt(half + half)
}
