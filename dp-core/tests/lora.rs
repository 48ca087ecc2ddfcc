//! LoRA: norms and sums against differences of the layer itself.

use dp_core::reference::{ReferenceError, Tensor3, lora_norm_sq, weighted_sum_lora};

const B: usize = 2;
const T: usize = 3;
const D: usize = 4;
const R: usize = 2;
const P: usize = 5;
const SCALE: f64 = 0.5;

/// Eighths between -1 and 1: their products are exact.
fn eighths(n: usize, seed: u64) -> Vec<f64> {
    let mut state = seed;
    let mut next = || {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        ((state >> 33) % 17) as f64 / 8.0 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

/// A layer, its inputs, and the gradient of the loss at its output, which makes the loss linear in the output.
struct Layer {
    a: Vec<f64>,
    b: Vec<f64>,
    x: Vec<f64>,
    at_output: Vec<f64>,
}

impl Layer {
    fn new() -> Self {
        Self {
            a: eighths(D * R, 1),
            b: eighths(R * P, 2),
            x: eighths(B * T * D, 3),
            at_output: eighths(B * T * P, 4),
        }
    }

    /// The loss of one example, of what the two trained matrices add to the output: `<at_output, s (x A) B>`.
    fn loss(&self, example: usize, a: &[f64], b: &[f64]) -> f64 {
        let mut loss = 0.0;
        for row in example * T..(example + 1) * T {
            for j in 0..P {
                let mut y = 0.0;
                for k in 0..R {
                    let h: f64 = (0..D).map(|i| self.x[row * D + i] * a[i * R + k]).sum();
                    y += SCALE * h * b[k * P + j];
                }
                loss += self.at_output[row * P + j] * y;
            }
        }
        loss
    }

    /// An example's gradients. The loss is linear in each element, so that a difference is the derivative.
    fn gradients(&self, example: usize) -> [Vec<f64>; 2] {
        let loss = self.loss(example, &self.a, &self.b);
        let of_a = (0..D * R).map(|i| {
            let mut a = self.a.clone();
            a[i] += 1.0;
            self.loss(example, &a, &self.b) - loss
        });
        let of_b = (0..R * P).map(|i| {
            let mut b = self.b.clone();
            b[i] += 1.0;
            self.loss(example, &self.a, &b) - loss
        });
        [of_a.collect(), of_b.collect()]
    }

    /// `x`, `h`, `g` and `g_h` as a framework has them that scales before `B`, or after it.
    fn traced(&self, scale_first: bool) -> [Vec<f32>; 4] {
        let (before, after) = if scale_first {
            (SCALE, 1.0)
        } else {
            (1.0, SCALE)
        };
        let h = product(&self.x, &self.a, [B * T, D, R]);
        let h: Vec<f64> = h.iter().map(|h| before * h).collect();
        let g: Vec<f64> = self.at_output.iter().map(|g| after * g).collect();
        let transposed: Vec<f64> = (0..P * R).map(|at| self.b[at % R * P + at / R]).collect();
        let g_h = product(&g, &transposed, [B * T, P, R]);
        let g_h: Vec<f64> = g_h.iter().map(|g| before * g).collect();
        [self.x.clone(), h, g, g_h].map(|values| values.iter().map(|v| *v as f32).collect())
    }
}

/// `left [m, k]` by `right [k, n]`.
fn product(left: &[f64], right: &[f64], [m, k, n]: [usize; 3]) -> Vec<f64> {
    let element = |i: usize, j: usize| (0..k).map(|l| left[i * k + l] * right[l * n + j]).sum();
    (0..m * n).map(|at| element(at / n, at % n)).collect()
}

fn tensors(traced: &[Vec<f32>; 4]) -> [Tensor3<'_>; 4] {
    let [x, h, g, g_h] = traced;
    [
        Tensor3::new(x, [B, T, D]).unwrap(),
        Tensor3::new(h, [B, T, R]).unwrap(),
        Tensor3::new(g, [B, T, P]).unwrap(),
        Tensor3::new(g_h, [B, T, R]).unwrap(),
    ]
}

#[test]
fn norms_and_sums_are_those_of_the_layers_gradients() {
    let layer = Layer::new();
    let gradients: Vec<_> = (0..B).map(|example| layer.gradients(example)).collect();
    let factors = [0.75, 0.25];
    for scale_first in [true, false] {
        let traced = layer.traced(scale_first);
        let [x, h, g, g_h] = tensors(&traced);

        let mut norms_sq = [1.0; B];
        lora_norm_sq(x, h, g, g_h, &mut norms_sq).unwrap();
        for (got, [a, b]) in norms_sq.iter().zip(&gradients) {
            let want: f64 = 1.0 + a.iter().chain(b).map(|x| x * x).sum::<f64>();
            let error = (f64::from(*got) / want - 1.0).abs();
            assert!(error < 1e-6, "scale first {scale_first}: {got} {want}");
        }

        let (mut out_a, mut out_b) = ([1.0; D * R], [2.0; R * P]);
        weighted_sum_lora(x, h, g, g_h, &factors, &mut out_a, &mut out_b).unwrap();
        let want = |part: usize, i: usize| -> f64 {
            let of = |(c, example): (&f32, &[Vec<f64>; 2])| f64::from(*c) * example[part][i];
            factors.iter().zip(&gradients).map(of).sum()
        };
        for (i, got) in out_a.iter().enumerate() {
            assert!((f64::from(*got) - 1.0 - want(0, i)).abs() < 1e-5, "A {i}");
        }
        for (i, got) in out_b.iter().enumerate() {
            assert!((f64::from(*got) - 2.0 - want(1, i)).abs() < 1e-5, "B {i}");
        }
    }
}

#[test]
fn buffers_of_two_layers_are_refused_and_nothing_is_added() {
    let traced = Layer::new().traced(true);
    let [x, h, g, g_h] = tensors(&traced);
    let other = Tensor3::new(&traced[1], [B, R, T]).unwrap();
    let turned = Tensor3::new(&traced[2], [B, P, T]).unwrap();
    let mut norms_sq = [1.0; B];
    for answer in [
        lora_norm_sq(x, other, g, g_h, &mut norms_sq),
        lora_norm_sq(x, h, g, g, &mut norms_sq),
        lora_norm_sq(other, h, g, g_h, &mut norms_sq),
        lora_norm_sq(x, h, turned, g_h, &mut norms_sq),
    ] {
        let refused = matches!(answer, Err(ReferenceError::Axis { .. }));
        assert!(refused, "{answer:?}");
    }
    assert_eq!(norms_sq, [1.0; B]);

    let (mut out_a, mut out_b) = ([1.0; D * R], [2.0; R * P - 1]);
    let answer = weighted_sum_lora(x, h, g, g_h, &[1.0; B], &mut out_a, &mut out_b);
    assert!(
        matches!(answer, Err(ReferenceError::Length { .. })),
        "{answer:?}"
    );
    assert_eq!(out_a, [1.0; D * R]);
}
