//! The kernel of the private update: one unit makes the noise of a few blocks and moves the elements that get it.

use crate::noise::{GROUP, KeyWords, Place, first_of, per_block, unit_normals, vector_of};
use crate::reduce::row_of;
use cubecl::prelude::*;

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

/// Elements that a GPU's unit loads before it stores the first of them, which no compiler moves a load over: a block's all, of ChaCha20's sixteen,
/// take so many registers that fewer units run beside each other.
const BATCH: usize = 4;

/// One unit makes as many blocks as `N` has lanes, and moves their elements by vectors of `V`.
///
/// `V` divides the length, where the tensor starts in its first group, and `N`: a vector is inside or outside
/// as a whole.
#[cube(launch)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn noised_update<E: Float, H: Float, N: Size, V: Size>(
    sum: &mut [Vector<E, V>],
    parameter: &mut [Vector<E, V>],
    moment_1: &mut [Vector<E, V>],
    moment_2: &mut [Vector<E, V>],
    copy: &mut [Vector<H, V>],
    place: Place,
    key: KeyWords,
    numbers: Numbers,
    #[comptime] form: Form,
    #[define(E)] _dtype: ElemType,
    #[define(H)] _copy_type: ElemType,
) {
    let lanes = N::value();
    let width = V::value();
    let vectors = comptime!(lanes / width);
    let block = row_of(1u32) as u32 * comptime!(lanes as u32);
    if block < place.blocks {
        let normals = unit_normals::<N>(&place, &key, block, form.chacha);
        let first = first_of(block, form.chacha);
        // From the unit's first element to its last.
        let reach = comptime!((GROUP * (per_block(form.chacha) - 1) + lanes) as u32);
        let is_whole = first >= place.skip && first - place.skip + reach <= place.len;
        if comptime!(lanes == 1).runtime() && is_whole {
            let start = (first - place.skip) as usize;
            #[unroll]
            for batch in 0..comptime!(per_block(form.chacha) / BATCH) {
                let mut before = Array::<Vector<E, V>>::new(comptime!(4 * BATCH));
                #[unroll]
                for j in 0..BATCH {
                    let at = start + comptime!(GROUP * (batch * BATCH + j));
                    let (p, m, v) = read::<E, V>(parameter, moment_1, moment_2, at, form);
                    before[4 * j] = sum[at];
                    before[4 * j + 1] = p;
                    before[4 * j + 2] = m;
                    before[4 * j + 3] = v;
                }
                #[unroll]
                for j in 0..BATCH {
                    let normal = vector_of::<N, V>(&normals, comptime!(batch * BATCH + j), 0usize);
                    let g = noised::<E, V>(before[4 * j], normal, &numbers);
                    let (p, m, v) = (before[4 * j + 1], before[4 * j + 2], before[4 * j + 3]);
                    let (p, m, v) = step::<E, V>(p, m, v, g, &numbers, form);
                    let at = start + comptime!(GROUP * (batch * BATCH + j));
                    write::<E, H, V>(sum, parameter, moment_1, moment_2, copy, at, p, m, v, form);
                }
            }
        } else if comptime!(lanes > 1).runtime() && is_whole {
            // No vector has to ask whether it is inside.
            let start = ((first - place.skip) / comptime!(width as u32)) as usize;
            for j in 0..comptime!(per_block(form.chacha)) {
                #[unroll]
                for i in 0..vectors {
                    let at = start + j * comptime!(GROUP / width) + i;
                    let normal = vector_of::<N, V>(&normals, j, i);
                    let g = noised::<E, V>(sum[at], normal, &numbers);
                    let (p, m, v) = read::<E, V>(parameter, moment_1, moment_2, at, form);
                    let (p, m, v) = step::<E, V>(p, m, v, g, &numbers, form);
                    write::<E, H, V>(sum, parameter, moment_1, moment_2, copy, at, p, m, v, form);
                }
            }
        } else {
            #[unroll(lanes == 1)]
            for j in 0..comptime!(per_block(form.chacha)) {
                #[unroll]
                for i in 0..vectors {
                    let element =
                        first + j as u32 * comptime!(GROUP as u32) + comptime!((width * i) as u32);
                    if element >= place.skip && element - place.skip < place.len {
                        let at = ((element - place.skip) / comptime!(width as u32)) as usize;
                        let normal = vector_of::<N, V>(&normals, j, i);
                        let g = noised::<E, V>(sum[at], normal, &numbers);
                        let (p, m, v) = read::<E, V>(parameter, moment_1, moment_2, at, form);
                        let (p, m, v) = step::<E, V>(p, m, v, g, &numbers, form);
                        write::<E, H, V>(
                            sum, parameter, moment_1, moment_2, copy, at, p, m, v, form,
                        );
                    }
                }
            }
        }
    }
}

/// A parameter and the moments that the step has, zeros for others.
#[cube]
fn read<E: Float, V: Size>(
    parameter: &mut [Vector<E, V>],
    moment_1: &mut [Vector<E, V>],
    moment_2: &mut [Vector<E, V>],
    at: usize,
    #[comptime] form: Form,
) -> (Vector<E, V>, Vector<E, V>, Vector<E, V>) {
    let mut m = Vector::<E, V>::new(E::new(0.0));
    let mut v = Vector::<E, V>::new(E::new(0.0));
    if comptime!(form.momentum || form.adamw) {
        m = moment_1[at];
    }
    if comptime!(form.adamw) {
        v = moment_2[at];
    }
    (parameter[at], m, v)
}

/// Puts them back where [`read`] has them from, with all that goes with it.
#[cube]
#[allow(clippy::too_many_arguments)]
fn write<E: Float, H: Float, V: Size>(
    sum: &mut [Vector<E, V>],
    parameter: &mut [Vector<E, V>],
    moment_1: &mut [Vector<E, V>],
    moment_2: &mut [Vector<E, V>],
    copy: &mut [Vector<H, V>],
    at: usize,
    p: Vector<E, V>,
    m: Vector<E, V>,
    v: Vector<E, V>,
    #[comptime] form: Form,
) {
    parameter[at] = p;
    if comptime!(form.momentum || form.adamw) {
        moment_1[at] = m;
    }
    if comptime!(form.adamw) {
        moment_2[at] = v;
    }
    if comptime!(form.copy) {
        copy[at] = Vector::<H, V>::cast_from(p);
    }
    if comptime!(form.zero_sum) {
        sum[at] = Vector::<E, V>::new(E::new(0.0));
    }
}

/// The noised sum of a parameter's gradients as the step takes it.
#[cube]
fn noised<E: Float, V: Size>(
    sum: Vector<E, V>,
    normal: Vector<f32, V>,
    numbers: &Numbers,
) -> Vector<E, V> {
    // The multiply-add of `add_gaussian_noise`, in f32 as there, and so its bits.
    let exact = Vector::<f32, V>::cast_from(sum);
    let noised = fma(normal, Vector::<f32, V>::new(numbers.std), exact);
    let scale = Vector::<E, V>::new(E::cast_from(numbers.scale));
    Vector::<E, V>::cast_from(noised) * scale
}

/// The parameter and its moments after the step, as `dp_core::reference::noised_update` has them.
///
/// Every product that is added to something is in an explicit multiply-add: left to a compiler, some vectors would be contracted and others
/// not, and a shard would differ from the whole in its last bits.
#[cube]
fn step<E: Float, N: Size>(
    p: Vector<E, N>,
    m: Vector<E, N>,
    v: Vector<E, N>,
    g: Vector<E, N>,
    c: &Numbers,
    #[comptime] form: Form,
) -> (Vector<E, N>, Vector<E, N>, Vector<E, N>) {
    if comptime!(form.adamw) {
        let beta_1 = Vector::<E, N>::new(E::cast_from(c.beta_1));
        let beta_2 = Vector::<E, N>::new(E::cast_from(c.beta_2));
        let m = fma(
            m,
            beta_1,
            g * Vector::new(E::new(1.0) - E::cast_from(c.beta_1)),
        );
        let v = fma(
            v,
            beta_2,
            g * g * Vector::new(E::new(1.0) - E::cast_from(c.beta_2)),
        );
        let spread = Vector::<E, N>::sqrt(v * Vector::new(E::cast_from(c.unbias_2)))
            + Vector::new(E::cast_from(c.epsilon));
        let move_by = m * Vector::new(E::cast_from(c.unbias_1)) / spread;
        let decay = Vector::<E, N>::new(E::cast_from(c.decay));
        (fma(p, decay, Vector::new(E::new(0.0)) - move_by), m, v)
    } else {
        let back = Vector::<E, N>::new(E::new(0.0) - E::cast_from(c.rate));
        let beta_1 = Vector::<E, N>::new(E::cast_from(c.beta_1));
        let g = fma(p, Vector::<E, N>::new(E::cast_from(c.decay)), g);
        if comptime!(form.momentum) {
            let m = fma(m, beta_1, g);
            if comptime!(form.nesterov) {
                (fma(fma(m, beta_1, g), back, p), m, v)
            } else {
                (fma(m, back, p), m, v)
            }
        } else {
            (fma(g, back, p), m, v)
        }
    }
}
