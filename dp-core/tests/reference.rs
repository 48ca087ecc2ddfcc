//! The reference twins against per-example gradients formed one by one, and what must not leak
//! from one example into another.

mod common;

use common::sized;
use dp_core::clipping::{CLIP_SLACK, Clipping};
use dp_core::noise::philox::Philox4x32x10NotSecureRng;
use dp_core::noise::{Generator, Key, NoiseError, fill_gaussian};
use dp_core::reference::{
    LinearNorm, Operand, ReferenceError, Tensor3, Transposes, add_gaussian_noise, bias_norm_sq,
    channel_bias_norm_sq, channel_scale_norm_sq, clip_factors, embedding_norm_sq, gradient_norm_sq,
    linear_norm_sq, matmul, position_norm_sq, scale_norm_sq, tied_norm_sq, weighted_sum_bias,
    weighted_sum_channel_bias, weighted_sum_channel_scale, weighted_sum_embedding,
    weighted_sum_gradient, weighted_sum_linear, weighted_sum_position, weighted_sum_scale,
    weighted_sum_tied, zero_dead_rows,
};
use rand_core::{Rng, SeedableRng};

/// A layer's inputs and output gradients for a batch.
#[derive(Clone)]
struct Batch {
    shape: [usize; 4], // B, T, d, p
    a: Vec<f32>,
    g: Vec<f32>,
    xhat: Vec<f32>,
    delta: Vec<f32>,
    ids: Vec<u32>,
}

const VOCABULARY: usize = 5;

/// The layers that have a reference norm and a reference weighted sum.
#[derive(Clone, Copy, Debug)]
enum Layer {
    Linear,
    Bias,
    Embedding,
    Scale,
    Position,
    Tied,
    Given,
    ChannelBias,
    ChannelScale,
}

const LAYERS: [Layer; 9] = [
    Layer::Linear,
    Layer::Bias,
    Layer::Embedding,
    Layer::Scale,
    Layer::Position,
    Layer::Tied,
    Layer::Given,
    Layer::ChannelBias,
    Layer::ChannelScale,
];

impl Batch {
    fn random(shape: [usize; 4], seed: u64) -> Self {
        let [b, t, d, p] = shape;
        let mut rng = Philox4x32x10NotSecureRng::seed_from_u64(seed);
        let mut uniform = |n: usize| -> Vec<f32> {
            (0..n)
                .map(|_| (rng.next_u32() >> 8) as f32 / 8_388_608.0 - 1.0)
                .collect()
        };
        let (a, g, xhat) = (uniform(b * t * d), uniform(b * t * p), uniform(b * t * p));
        let ids = (0..b * t)
            .map(|_| rng.next_u32() % VOCABULARY as u32)
            .collect();
        let mut rng = Philox4x32x10NotSecureRng::seed_from_u64(!seed);
        let delta = (0..b * t * VOCABULARY)
            .map(|_| (rng.next_u32() >> 8) as f32 / 8_388_608.0 - 1.0)
            .collect();
        Self {
            shape,
            a,
            g,
            xhat,
            delta,
            ids,
        }
    }

    fn a(&self) -> Tensor3<'_> {
        let [b, t, d, _] = self.shape;
        Tensor3::new(&self.a, [b, t, d]).unwrap()
    }

    fn g(&self) -> Tensor3<'_> {
        let [b, t, _, p] = self.shape;
        Tensor3::new(&self.g, [b, t, p]).unwrap()
    }

    fn xhat(&self) -> Tensor3<'_> {
        let [b, t, _, p] = self.shape;
        Tensor3::new(&self.xhat, [b, t, p]).unwrap()
    }

    fn delta(&self) -> Tensor3<'_> {
        let [b, t, _, _] = self.shape;
        Tensor3::new(&self.delta, [b, t, VOCABULARY]).unwrap()
    }

    fn parameters(&self, layer: Layer) -> usize {
        let [_, t, d, p] = self.shape;
        match layer {
            Layer::Linear => d * p,
            Layer::Bias | Layer::Scale => p,
            Layer::Embedding | Layer::Tied => VOCABULARY * p,
            Layer::Position | Layer::Given => t * p,
            Layer::ChannelBias | Layer::ChannelScale => t,
        }
    }

    /// One example's gradient of one layer, straight from the definition.
    fn gradient(&self, layer: Layer, example: usize) -> Vec<f64> {
        let [_, tokens, d, p] = self.shape;
        let mut gradient = vec![0.0; self.parameters(layer)];
        for t in 0..tokens {
            let row = example * tokens + t;
            for j in 0..p {
                let g = f64::from(self.g[row * p + j]);
                match layer {
                    Layer::Linear => {
                        for i in 0..d {
                            gradient[i * p + j] += f64::from(self.a[row * d + i]) * g;
                        }
                    }
                    Layer::Bias => gradient[j] += g,
                    Layer::Scale => gradient[j] += f64::from(self.xhat[row * p + j]) * g,
                    Layer::Embedding => gradient[self.ids[row] as usize * p + j] += g,
                    Layer::Position | Layer::Given => gradient[t * p + j] += g,
                    Layer::Tied => {
                        gradient[self.ids[row] as usize * p + j] += g;
                        for v in 0..VOCABULARY {
                            let delta = f64::from(self.delta[row * VOCABULARY + v]);
                            gradient[v * p + j] += delta * f64::from(self.xhat[row * p + j]);
                        }
                    }
                    Layer::ChannelBias => gradient[t] += g,
                    Layer::ChannelScale => gradient[t] += f64::from(self.xhat[row * p + j]) * g,
                }
            }
        }
        gradient
    }

    fn add_norms(&self, layer: Layer, how: LinearNorm, norms_sq: &mut [f32]) {
        match layer {
            Layer::Linear => linear_norm_sq(self.a(), self.g(), norms_sq, how),
            Layer::Bias => bias_norm_sq(self.g(), norms_sq),
            Layer::Embedding => embedding_norm_sq(&self.ids, self.g(), norms_sq),
            Layer::Scale => scale_norm_sq(self.xhat(), self.g(), norms_sq),
            Layer::Position => position_norm_sq(self.g(), norms_sq),
            Layer::Tied => tied_norm_sq(&self.ids, self.g(), self.xhat(), self.delta(), norms_sq),
            Layer::Given => gradient_norm_sq(&self.g, norms_sq),
            Layer::ChannelBias => channel_bias_norm_sq(self.g(), norms_sq),
            Layer::ChannelScale => channel_scale_norm_sq(self.xhat(), self.g(), norms_sq),
        }
        .unwrap();
    }

    fn weighted_sum(&self, layer: Layer, factors: &[f32], out: &mut [f32]) {
        match layer {
            Layer::Linear => weighted_sum_linear(self.a(), self.g(), factors, out),
            Layer::Bias => weighted_sum_bias(self.g(), factors, out),
            Layer::Embedding => weighted_sum_embedding(&self.ids, self.g(), factors, out),
            Layer::Scale => weighted_sum_scale(self.xhat(), self.g(), factors, out),
            Layer::Position => weighted_sum_position(self.g(), factors, out),
            Layer::Tied => {
                weighted_sum_tied(&self.ids, self.g(), self.xhat(), self.delta(), factors, out)
            }
            Layer::Given => weighted_sum_gradient(&self.g, factors, out),
            Layer::ChannelBias => weighted_sum_channel_bias(self.g(), factors, out),
            Layer::ChannelScale => weighted_sum_channel_scale(self.xhat(), self.g(), factors, out),
        }
        .unwrap();
    }

    /// Norms of all layers, factors and sums: a whole private gradient without noise.
    fn private_sum(&self, mask: &[f32], clipping: Clipping) -> (Vec<f32>, Vec<f32>, Vec<Vec<f32>>) {
        let examples = self.shape[0];
        let mut norms_sq = vec![0.0; examples];
        for layer in LAYERS {
            self.add_norms(layer, LinearNorm::Gram, &mut norms_sq);
        }
        let mut factors = vec![f32::NAN; examples];
        clip_factors(&norms_sq, mask, &mut factors, clipping).unwrap();
        let sums = LAYERS.map(|layer| {
            let mut out = vec![0.0; self.parameters(layer)];
            self.weighted_sum(layer, &factors, &mut out);
            out
        });
        (norms_sq, factors, sums.to_vec())
    }
}

fn norm_sq(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum()
}

const SHAPES: [[usize; 4]; 4] = [
    [3, 1, 6, 5],
    [3, 7, 6, 5],
    [2, sized(64, 9), 8, 3],
    [2, 7, 1, 1],
];

#[test]
fn norms_are_those_of_the_gradients() {
    for (seed, shape) in SHAPES.into_iter().enumerate() {
        let batch = Batch::random(shape, seed as u64);
        for layer in LAYERS {
            for how in [LinearNorm::Gram, LinearNorm::Materialised] {
                // Added into what is there.
                let mut norms_sq = vec![0.25; shape[0]];
                batch.add_norms(layer, how, &mut norms_sq);
                for (example, got) in norms_sq.iter().enumerate() {
                    let want = 0.25 + norm_sq(&batch.gradient(layer, example));
                    let error = (f64::from(*got) / want - 1.0).abs();
                    assert!(error < 1e-6, "{layer:?} {how:?} {shape:?}: {got} {want}");
                }
            }
        }
    }
}

/// Where the head's gradient equals the embedding's, the norm of their sum is twice that of each: the two norms apart
/// make half of its square, and a factor of them would let the example through at 1.41 times the clipping norm.
#[test]
fn the_norms_of_tied_parts_do_not_add_up() {
    let mut batch = Batch::random([2, 7, 6, 5], 9);
    batch.xhat.clone_from(&batch.g);
    batch.delta.fill(0.0);
    for (row, id) in batch.ids.iter().enumerate() {
        batch.delta[row * VOCABULARY + *id as usize] = 1.0;
    }
    let (mut tied, mut apart) = ([0.0; 2], [0.0; 2]);
    batch.add_norms(Layer::Tied, LinearNorm::Gram, &mut tied);
    batch.add_norms(Layer::Embedding, LinearNorm::Gram, &mut apart);
    linear_norm_sq(
        batch.delta(),
        batch.xhat(),
        &mut apart,
        LinearNorm::Materialised,
    )
    .unwrap();
    for (tied, apart) in tied.iter().zip(apart) {
        assert!((tied / apart - 2.0).abs() < 1e-5, "{tied} {apart}");
    }
}

#[test]
fn weighted_sums_are_those_of_the_gradients() {
    for (seed, shape) in SHAPES.into_iter().enumerate() {
        let batch = Batch::random(shape, seed as u64);
        let factors: Vec<f32> = (0..shape[0]).map(|b| [0.5, 0.0, 0.31][b]).collect();
        for layer in LAYERS {
            let mut out = vec![1.0; batch.parameters(layer)];
            batch.weighted_sum(layer, &factors, &mut out);
            for (i, got) in out.iter().enumerate() {
                let term = |b: usize| f64::from(factors[b]) * batch.gradient(layer, b)[i];
                let want = 1.0 + (0..shape[0]).map(term).sum::<f64>();
                assert!(
                    (f64::from(*got) - want).abs() < 1e-5,
                    "{layer:?} {shape:?} {i}"
                );
            }
        }
    }
}

/// One example more or less moves the whole clipped sum, over all layers, by at most C.
#[test]
fn neighbouring_batches_differ_by_the_clipping_norm() {
    let cases = [(0.1f32, 1), (1.0, 2), (3.0, 3), (1e3, 4)];
    for (clip, seed) in cases.into_iter().take(sized(4, 1)) {
        for clipping in [
            Clipping::Flat { clip },
            Clipping::Automatic { clip, gamma: 0.01 },
        ] {
            let batch = Batch::random([4, 7, 6, 5], seed);
            let (_, factors, with) = batch.private_sum(&[1.0; 4], clipping);
            let (_, _, without) = batch.private_sum(&[1.0, 1.0, 0.0, 1.0], clipping);
            let moved: f64 = with
                .iter()
                .flatten()
                .zip(without.iter().flatten())
                .map(|(x, y)| (f64::from(*x) - f64::from(*y)).powi(2))
                .sum::<f64>()
                .sqrt();
            assert!(factors.iter().all(|factor| *factor > 0.0));
            // The f64 sums round once into f32: a little above the slack of the factor alone.
            let bound = f64::from(clip) * (1.0 + CLIP_SLACK) * (1.0 + 1e-5);
            assert!(
                moved <= bound && moved > 0.0,
                "{clipping:?}: {moved} > {bound}"
            );
            if clip < 1.0 {
                assert!(
                    moved > f64::from(clip) * 0.99,
                    "{clipping:?}: clipped to far less"
                );
            }
        }
    }
}

/// Changing example 1 leaves the others' norms and factors as they were, to the bit; so does a NaN
/// in it, which also removes it from the sum.
#[test]
fn an_example_touches_only_itself() {
    let clipping = Clipping::Flat { clip: 0.5 };
    let base = Batch::random([3, 7, 6, 5], 1);
    let (norms, factors, _) = base.private_sum(&[1.0; 3], clipping);
    let (_, _, without) = base.private_sum(&[1.0, 0.0, 1.0], clipping);
    let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();

    for poison in [0.123, 1e30, f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut changed = base.clone();
        let [_, t, d, p] = base.shape;
        changed.a[t * d + 3] = poison;
        changed.g[t * p + 4] = poison;
        changed.xhat[t * p] = poison;
        let (new_norms, new_factors, sums) = changed.private_sum(&[1.0; 3], clipping);
        for other in [0, 2] {
            assert_eq!(new_norms[other].to_bits(), norms[other].to_bits());
            assert_eq!(new_factors[other].to_bits(), factors[other].to_bits());
        }
        assert_ne!(new_norms[1].to_bits(), norms[1].to_bits());
        if poison.abs() > 1.0 || poison.is_nan() {
            assert_eq!(new_factors[1].to_bits(), 0, "{poison}");
            for (got, want) in sums.iter().zip(&without) {
                assert_eq!(bits(got), bits(want), "{poison}");
            }
        }
    }
}

#[test]
fn masked_and_dead_rows_are_zeroed_exactly() {
    let norms_sq = [4.0, 4.0, f32::NAN, f32::INFINITY, -1.0, 4.0, 4.0];
    let mask = [1.0, 0.0, 1.0, 1.0, 1.0, f32::NAN, 1.0];
    let mut factors = [f32::NAN; 7];
    clip_factors(&norms_sq, &mask, &mut factors, Clipping::Flat { clip: 1.0 }).unwrap();
    assert_eq!(
        factors.map(f32::to_bits),
        [0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.5f32].map(f32::to_bits)
    );

    let mut x = [f32::NAN; 14];
    x[0] = 2.0;
    x[13] = -3.0;
    zero_dead_rows(&mut x, &factors).unwrap();
    assert_eq!(x[0], 2.0);
    assert!(x[1].is_nan() && x[12].is_nan());
    assert!(x[2..12].iter().all(|x| x.to_bits() == 0));
    assert_eq!(x[13], -3.0);
    assert_eq!(zero_dead_rows::<f32>(&mut [], &[]), Ok(()));
}

#[test]
fn noise_is_added_where_it_belongs() {
    let key = Key::new([5; 8]);
    let mut noise = vec![0.0; 203];
    fill_gaussian(&mut noise, 31, 0.7, &key, Generator::ChaCha20, 2, 4).unwrap();
    let mut target: Vec<f32> = (0..203).map(|i| i as f32 / 7.0).collect();
    let want: Vec<f32> = target.iter().zip(&noise).map(|(x, z)| x + z).collect();
    add_gaussian_noise(&mut target, 31, 0.7, &key, Generator::ChaCha20, 2, 4).unwrap();
    assert_eq!(target, want);

    let refused = add_gaussian_noise(&mut target, 31, -1.0, &key, Generator::ChaCha20, 2, 4);
    let error = NoiseError::StandardDeviation { std: -1.0 };
    assert_eq!(refused, Err(ReferenceError::Noise(error)));
    assert_eq!(target, want);
}

#[test]
fn products_in_every_orientation() {
    let (m, k, n) = (3, 4, 2);
    let batch = Batch::random([2, m, k, n], 9);
    let lhs = batch.a();
    let rhs_data: Vec<f32> = batch
        .g
        .iter()
        .chain(&batch.xhat)
        .copied()
        .take(2 * k * n)
        .collect();
    let rhs = Tensor3::new(&rhs_data, [2, k, n]).unwrap();
    let transposed = |x: Tensor3<'_>| -> Vec<f32> {
        let [b, r, c] = x.shape();
        let index = |i: usize| (i / (r * c)) * r * c + (i % r) * c + (i % (r * c)) / r;
        (0..b * r * c).map(|i| x.data()[index(i)]).collect()
    };
    let mut want = vec![0.0; 2 * m * n];
    for (i, out) in want.iter_mut().enumerate() {
        let (b, row, column) = (i / (m * n), i / n % m, i % n);
        *out = (0..k)
            .map(|s| {
                f64::from(lhs.data()[(b * m + row) * k + s])
                    * f64::from(rhs.data()[(b * k + s) * n + column])
            })
            .sum::<f64>() as f32;
    }
    let (lhs_t, rhs_t) = (transposed(lhs), transposed(rhs));
    for (l, r) in [(false, false), (false, true), (true, false), (true, true)] {
        let left = if l {
            Tensor3::new(&lhs_t, [2, k, m]).unwrap()
        } else {
            lhs
        };
        let right = if r {
            Tensor3::new(&rhs_t, [2, n, k]).unwrap()
        } else {
            rhs
        };
        let mut out = vec![f32::NAN; 2 * m * n];
        matmul(left, right, &mut out, Transposes { lhs: l, rhs: r }).unwrap();
        assert_eq!(out, want, "{l} {r}");
    }

    // One right operand for the whole batch.
    let shared = Tensor3::new(&rhs_data[..k * n], [1, k, n]).unwrap();
    let mut out = vec![f32::NAN; 2 * m * n];
    matmul(lhs, shared, &mut out, Transposes::default()).unwrap();
    assert_eq!(out[..m * n], want[..m * n]);
}

#[test]
fn shapes_that_disagree_are_named() {
    let data = [1.0; 24];
    let tensor = |shape| Tensor3::new(&data[..shape_len(shape)], shape).unwrap();
    fn shape_len(shape: [usize; 3]) -> usize {
        shape.iter().product()
    }
    let length = |operand, expected, actual| {
        Err(ReferenceError::Length {
            operand,
            expected,
            actual,
        })
    };
    let axis = |operand, axis, expected, actual| {
        Err(ReferenceError::Axis {
            operand,
            axis,
            expected,
            actual,
        })
    };
    let (a, g) = (tensor([2, 3, 4]), tensor([2, 3, 2]));
    let short = tensor([2, 2, 2]);
    let how = LinearNorm::Gram;
    let mut two = [0.0; 2];
    let mut three = [0.0; 3];

    assert!(Tensor3::new(&data, [2, 3, 5]).is_err());
    let shape = [usize::MAX, 2, 1];
    assert_eq!(
        Tensor3::new(&data, shape).err(),
        Some(ReferenceError::TooLarge { shape })
    );

    assert_eq!(
        linear_norm_sq(a, short, &mut two, how),
        axis(Operand::Gradients, 1, 3, 2)
    );
    assert_eq!(
        linear_norm_sq(a, g, &mut three, how),
        length(Operand::Norms, 2, 3)
    );
    assert_eq!(bias_norm_sq(g, &mut three), length(Operand::Norms, 2, 3));
    assert_eq!(
        position_norm_sq(g, &mut three),
        length(Operand::Norms, 2, 3)
    );
    assert_eq!(
        scale_norm_sq(a, g, &mut two),
        axis(Operand::Gradients, 2, 4, 2)
    );
    assert_eq!(
        embedding_norm_sq(&[0; 5], g, &mut two),
        length(Operand::Ids, 6, 5)
    );
    assert_eq!(
        embedding_norm_sq(&[0; 6], g, &mut three),
        length(Operand::Norms, 2, 3)
    );

    let mut out = [0.0; 8];
    assert_eq!(
        weighted_sum_linear(a, short, &two, &mut out),
        axis(Operand::Gradients, 1, 3, 2)
    );
    assert_eq!(
        weighted_sum_linear(a, g, &three, &mut out),
        length(Operand::Factors, 2, 3)
    );
    assert_eq!(
        weighted_sum_linear(a, g, &two, &mut out[..7]),
        length(Operand::Out, 8, 7)
    );
    assert_eq!(
        weighted_sum_bias(g, &two, &mut out),
        length(Operand::Out, 2, 8)
    );
    assert_eq!(
        weighted_sum_scale(a, g, &two, &mut out),
        axis(Operand::Gradients, 2, 4, 2)
    );
    assert_eq!(
        weighted_sum_position(g, &two, &mut out),
        length(Operand::Out, 6, 8)
    );
    assert_eq!(
        weighted_sum_embedding(&[0; 6], g, &two, &mut out[..7]),
        length(Operand::Out, 6, 7)
    );
    assert_eq!(
        weighted_sum_embedding(&[0, 1, 2, 3, 4, 0], g, &two, &mut out),
        Err(ReferenceError::Token {
            id: 4,
            vocabulary: 4
        })
    );

    let clipping = Clipping::Flat { clip: 1.0 };
    assert_eq!(
        clip_factors(&[1.0; 2], &three, &mut two, clipping),
        length(Operand::Mask, 2, 3)
    );
    assert_eq!(
        clip_factors(&[1.0; 2], &[1.0; 2], &mut three, clipping),
        length(Operand::Factors, 2, 3)
    );
    assert_eq!(
        zero_dead_rows(&mut out, &three),
        length(Operand::Data, 6, 8)
    );

    let none = Transposes::default();
    assert_eq!(matmul(a, g, &mut out, none), axis(Operand::Right, 1, 4, 3));
    let one = tensor([1, 4, 2]);
    let three_batches = tensor([3, 4, 2]);
    assert_eq!(
        matmul(a, three_batches, &mut out, none),
        axis(Operand::Left, 0, 3, 2)
    );
    assert_eq!(matmul(a, one, &mut out, none), length(Operand::Out, 12, 8));
}
