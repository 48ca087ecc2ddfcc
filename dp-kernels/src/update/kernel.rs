//! The kernel of the private update: one unit makes the noise of a few blocks and moves the elements that get it.

use crate::noise::wide;
use crate::reduce::row_of;
use cubecl::prelude::*;
use dp_core::noise::{chacha20_normals, philox4x32x10_normals};

/// Which of the kernel's forms is compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Form {
    /// ChaCha20, else Philox.
    pub(crate) chacha: bool,
    /// AdamW, else SGD.
    pub(crate) adamw: bool,
    /// SGD keeps a moment.
    pub(crate) momentum: bool,
    /// SGD looks ahead.
    pub(crate) nesterov: bool,
    /// The parameter is written once more, in another type.
    pub(crate) copy: bool,
    /// The sum becomes zeros.
    pub(crate) zero_sum: bool,
}

/// Which elements, and where their noise sits in the generator's counter.
#[derive(CubeType, CubeLaunch, Clone, Copy)]
pub(crate) struct Place {
    len: u32,
    blocks: u32,
    skip: u32,
    first_block: u32,
    tensor: u32,
    step_low: u32,
    step_high: u32,
}

/// The noise key.
#[derive(CubeType, CubeLaunch, Clone, Copy)]
pub(crate) struct KeyWords {
    k0: u32,
    k1: u32,
    k2: u32,
    k3: u32,
    k4: u32,
    k5: u32,
    k6: u32,
    k7: u32,
}

/// The numbers of this step: `dp_core::update::Coefficients` and the noise's standard deviation.
#[derive(CubeType, CubeLaunch, Clone, Copy)]
pub(crate) struct Numbers {
    std: f32,
    scale: f32,
    rate: f32,
    decay: f32,
    beta_1: f32,
    beta_2: f32,
    unbias_1: f32,
    unbias_2: f32,
    epsilon: f32,
}

/// One unit makes as many blocks as a vector has lanes; element `i` of the block in lane `l` is `per_block l + i` further on.
#[cube(launch)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn noised_update<H: Float, N: Size>(
    sum: &mut [f32],
    parameter: &mut [f32],
    moment_1: &mut [f32],
    moment_2: &mut [f32],
    copy: &mut [H],
    place: Place,
    key: KeyWords,
    numbers: Numbers,
    #[comptime] form: Form,
    #[define(H)] _copy_type: ElemType,
) {
    let width = N::value();
    let lanes = comptime!(width as u32);
    let per_block = comptime!(if form.chacha { 8u32 } else { 2u32 });
    let block = row_of(1u32) as u32 * lanes;
    if block < place.blocks {
        let normals = block_normals::<N>(&place, &key, block, form.chacha);
        let first = block * per_block;
        let whole = first >= place.skip && first - place.skip + lanes * per_block <= place.len;
        #[unroll]
        for i in 0..per_block {
            let mut s = Vector::<f32, N>::new(0.0f32);
            let mut p = Vector::<f32, N>::new(0.0f32);
            let mut m = Vector::<f32, N>::new(0.0f32);
            let mut v = Vector::<f32, N>::new(0.0f32);
            #[unroll]
            for lane in 0..lanes {
                let element = first + comptime!(per_block * lane + i);
                if whole || (element >= place.skip && element - place.skip < place.len) {
                    let at = (element - place.skip) as usize;
                    s.insert(comptime!(lane as usize), sum[at]);
                    p.insert(comptime!(lane as usize), parameter[at]);
                    if comptime!(form.momentum || form.adamw) {
                        m.insert(comptime!(lane as usize), moment_1[at]);
                    }
                    if comptime!(form.adamw) {
                        v.insert(comptime!(lane as usize), moment_2[at]);
                    }
                }
            }
            // The multiply-add of `add_gaussian_noise`, and so its bits.
            let std = Vector::<f32, N>::new(numbers.std);
            let noised = fma(normals[comptime!(i as usize)], std, s);
            let g = noised * Vector::<f32, N>::new(numbers.scale);
            let (p, m, v) = step::<N>(p, m, v, g, &numbers, form);
            #[unroll]
            for lane in 0..lanes {
                let element = first + comptime!(per_block * lane + i);
                if whole || (element >= place.skip && element - place.skip < place.len) {
                    let at = (element - place.skip) as usize;
                    let new = p.extract(comptime!(lane as usize));
                    parameter[at] = new;
                    if comptime!(form.momentum || form.adamw) {
                        moment_1[at] = m.extract(comptime!(lane as usize));
                    }
                    if comptime!(form.adamw) {
                        moment_2[at] = v.extract(comptime!(lane as usize));
                    }
                    if comptime!(form.copy) {
                        copy[at] = H::cast_from(new);
                    }
                    if comptime!(form.zero_sum) {
                        sum[at] = 0.0f32;
                    }
                }
            }
        }
    }
}

/// The parameter and its moments after the step, as `dp_core::reference::noised_update` has them.
#[cube]
fn step<N: Size>(
    p: Vector<f32, N>,
    m: Vector<f32, N>,
    v: Vector<f32, N>,
    g: Vector<f32, N>,
    c: &Numbers,
    #[comptime] form: Form,
) -> (Vector<f32, N>, Vector<f32, N>, Vector<f32, N>) {
    if comptime!(form.adamw) {
        let m = m * Vector::new(c.beta_1) + g * Vector::new(1.0f32 - c.beta_1);
        let v = v * Vector::new(c.beta_2) + g * g * Vector::new(1.0f32 - c.beta_2);
        let spread = Vector::<f32, N>::sqrt(v * Vector::new(c.unbias_2)) + Vector::new(c.epsilon);
        let p = p * Vector::new(c.decay) - m * Vector::new(c.unbias_1) / spread;
        (p, m, v)
    } else {
        let g = g + p * Vector::new(c.decay);
        if comptime!(form.momentum) {
            let m = m * Vector::new(c.beta_1) + g;
            if comptime!(form.nesterov) {
                let ahead = g + m * Vector::new(c.beta_1);
                (p - ahead * Vector::new(c.rate), m, v)
            } else {
                (p - m * Vector::new(c.rate), m, v)
            }
        } else {
            (p - g * Vector::new(c.rate), m, v)
        }
    }
}

/// The standard normals of the blocks from `block` on, one in each lane: element `i` of all of them in the array's place `i`.
#[cube]
fn block_normals<N: Size>(
    place: &Place,
    key: &KeyWords,
    block: u32,
    #[comptime] chacha: bool,
) -> Array<Vector<f32, N>> {
    let lanes = N::value();
    let counter = place.first_block + block;
    let mut normals = Array::<Vector<f32, N>>::new(8usize);
    if comptime!(chacha && lanes > 1) {
        let mut words = Array::<u32>::new(8usize);
        words[0] = key.k0;
        words[1] = key.k1;
        words[2] = key.k2;
        words[3] = key.k3;
        words[4] = key.k4;
        words[5] = key.k5;
        words[6] = key.k6;
        words[7] = key.k7;
        let mut counters = Vector::<u32, N>::new(counter);
        #[unroll]
        for lane in 0..lanes {
            counters.insert(lane, counter + comptime!(lane as u32));
        }
        let blocks = wide::chacha20_blocks::<N>(
            counters,
            &words,
            place.tensor,
            place.step_low,
            place.step_high,
        );
        #[unroll]
        for pair in 0..4usize {
            let (even, odd) = wide::normals::<N>(&blocks, pair);
            normals[2 * pair] = even;
            normals[2 * pair + 1] = odd;
        }
    } else {
        let input = (counter, place.tensor, place.step_low, place.step_high);
        if comptime!(chacha) {
            let low_key = (key.k0, key.k1, key.k2, key.k3);
            let high_key = (key.k4, key.k5, key.k6, key.k7);
            let (low, high) = chacha20_normals(low_key, high_key, input);
            let (n0, n1, n2, n3) = low;
            let (n4, n5, n6, n7) = high;
            normals[0] = Vector::<f32, N>::new(n0);
            normals[1] = Vector::<f32, N>::new(n1);
            normals[2] = Vector::<f32, N>::new(n2);
            normals[3] = Vector::<f32, N>::new(n3);
            normals[4] = Vector::<f32, N>::new(n4);
            normals[5] = Vector::<f32, N>::new(n5);
            normals[6] = Vector::<f32, N>::new(n6);
            normals[7] = Vector::<f32, N>::new(n7);
        } else {
            let (n0, n1) = philox4x32x10_normals(input, key.k0, key.k1);
            normals[0] = Vector::<f32, N>::new(n0);
            normals[1] = Vector::<f32, N>::new(n1);
        }
    }
    normals
}
