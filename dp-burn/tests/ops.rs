//! The fused operations against burn's own, value and gradient.

mod common;

use burn::tensor::activation::{gelu_approximate, log_softmax, softmax};
use burn::tensor::{DType, Device, Distribution, Int, Tensor, TensorData};
use common::{devices, relative};
use dp_burn::{causal_attention, cross_entropy, gelu};

/// Value of `f` and gradient of its weighted sum with respect to `x`.
fn both<const D: usize>(
    x: &Tensor<3>,
    weights: &Tensor<D>,
    f: impl Fn(Tensor<3>) -> Tensor<D>,
) -> (Vec<f32>, Vec<f32>) {
    let x = x.clone().require_grad();
    let y = f(x.clone());
    let gradients = (y.clone() * weights.clone()).sum().backward();
    let gradient = x.grad(&gradients).expect("x is tracked");
    (
        y.into_data().try_to_vec().expect("f32"),
        gradient.into_data().try_to_vec().expect("f32"),
    )
}

fn compare(name: &str, ours: (Vec<f32>, Vec<f32>), theirs: (Vec<f32>, Vec<f32>)) {
    let (value, gradient) = (relative(&ours.0, &theirs.0), relative(&ours.1, &theirs.1));
    assert!(value <= 1e-5, "{name}: value off by {value:e}");
    assert!(gradient <= 2e-5, "{name}: gradient off by {gradient:e}");
}

fn random<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), device)
}

/// Sizes that vectors fit and sizes that they don't.
const SHAPES: [[usize; 3]; 3] = [[2, 5, 48], [3, 8, 27], [1, 1, 96]];

#[test]
fn gelu_is_burns() {
    for (name, device) in devices() {
        let device = device.autodiff();
        for shape in SHAPES {
            let x = random(shape, &device) * 4.0;
            let w = random(shape, &device);
            compare(name, both(&x, &w, gelu), both(&x, &w, gelu_approximate));
        }
    }
}

/// Backward passes write over what they alone hold: not over what the caller keeps, nor over a gradient that another operation takes too.
#[test]
fn what_others_hold_is_not_written_over() {
    for (name, device) in devices() {
        let device = device.autodiff();
        let [b, t, v] = SHAPES[0];
        let x = random([b, t, v], &device);
        let w = random([b, t, v], &device);
        // The sum hands one gradient to both of its terms.
        let ours = both(&x, &w, |x| gelu(x.clone()) + gelu(x));
        let theirs = both(&x, &w, |x| {
            gelu_approximate(x.clone()) + gelu_approximate(x)
        });
        compare(name, ours, theirs);

        let n = b * t;
        let targets = Tensor::<1, Int>::zeros([n], &device);
        let weights = Tensor::<1>::ones([n], &device);
        let logits = random([n, v], &device).require_grad();
        let kept = logits.clone();
        let before: Vec<f32> = logits.to_data().try_to_vec().expect("f32");
        let gradients = cross_entropy(logits, targets, weights).sum().backward();
        assert!(kept.grad(&gradients).is_some());
        let after: Vec<f32> = kept.into_data().try_to_vec().expect("f32");
        assert_eq!(after, before, "{name}: the logits were written over");
    }
}

#[test]
fn attention_is_softmax_of_products() {
    for (name, device) in devices() {
        let device = device.autodiff();
        for ([b, t, packed], heads) in [([2, 5, 48], 4), ([3, 8, 27], 3), ([1, 1, 96], 2)] {
            let x = random([b, t, packed], &device);
            let d = packed / 3;
            let w = random([b, t, d], &device);
            let plain = |x: Tensor<3>| {
                let e = d / heads;
                let part = |i: usize| {
                    x.clone()
                        .slice([0..b, 0..t, i * d..(i + 1) * d])
                        .reshape([b, t, heads, e])
                        .swap_dims(1, 2)
                };
                // Products by broadcasting: burn's own matrix product takes minutes on the CPU runtime.
                let (q, k, v) = (part(0), part(1), part(2));
                let scores = (q.reshape([b, heads, t, 1, e]) * k.reshape([b, heads, 1, t, e]))
                    .sum_dim(4)
                    .reshape([b, heads, t, t])
                    / (e as f64).sqrt();
                let future = Tensor::<2>::ones([t, t], &device)
                    .triu(1)
                    .reshape([1, 1, t, t])
                    * -1e9;
                let p = softmax(scores + future, 3);
                (p.reshape([b, heads, t, t, 1]) * v.reshape([b, heads, 1, t, e]))
                    .sum_dim(3)
                    .reshape([b, heads, t, e])
                    .swap_dims(1, 2)
                    .reshape([b, t, d])
            };
            compare(
                name,
                both(&x, &w, |x| causal_attention(x, heads)),
                both(&x, &w, plain),
            );
        }
    }
}

#[test]
fn cross_entropy_is_the_log_softmax_of_the_target() {
    for (name, device) in devices() {
        let device = device.autodiff();
        for [b, t, v] in SHAPES {
            let x = random([b, t, v], &device) * 3.0;
            let n = b * t;
            let ids: Vec<i32> = (0..n).map(|i| ((i * 13 + 5) % v) as i32).collect();
            let targets = Tensor::<1, Int>::from_data(TensorData::new(ids, [n]), &device);
            let weights = Tensor::<1>::random([n], Distribution::Uniform(0.0, 1.0), &device);
            let outer = random([n], &device);
            let ours =
                |x: Tensor<3>| cross_entropy(x.reshape([n, v]), targets.clone(), weights.clone());
            let theirs = |x: Tensor<3>| {
                let p = log_softmax(x.reshape([n, v]), 1);
                p.gather(1, targets.clone().reshape([n, 1])).reshape([n]) * weights.clone() * -1.0
            };
            compare(name, both(&x, &outer, ours), both(&x, &outer, theirs));
        }
    }
}

#[test]
fn layer_norm_is_burns_formula() {
    for (name, device) in devices() {
        let device = device.autodiff();
        for [b, t, d] in SHAPES {
            let x = random([b, t, d], &device) * 2.0 + 0.5;
            let w = random([b, t, d], &device);
            let norm = dp_burn::LayerNorm {
                gain: burn::module::Param::from_tensor(random([d], &device)),
                bias: burn::module::Param::from_tensor(random([d], &device)),
            };
            let ours = |x: Tensor<3>| norm.forward(x, &mut dp_burn::Tape::ordinary(&device));
            let theirs = |x: Tensor<3>| {
                let centred = x.clone() - x.mean_dim(2);
                let variance = (centred.clone() * centred.clone()).mean_dim(2);
                let scaled = centred / (variance + f64::from(dp_burn::LayerNorm::EPSILON)).sqrt();
                scaled * norm.gain.val().reshape([1, 1, d]) + norm.bias.val().reshape([1, 1, d])
            };
            compare(name, both(&x, &w, ours), both(&x, &w, theirs));
        }
    }
}

/// Kernels read numbers of 32 bits: of others a row would be made of its neighbours.
#[test]
fn numbers_of_other_types_are_refused() {
    let Some((_, device)) = devices().into_iter().next() else {
        return;
    };
    let halves = Tensor::<3>::ones([2, 3, 4], &device).cast(DType::F16);
    refused("F16", || gelu(halves));
    let logits = || Tensor::<2>::ones([2, 4], &device);
    let weights = || Tensor::<1>::ones([2], &device);
    let long = Tensor::<1, Int>::zeros([2], &device).cast(DType::I64);
    refused("I64", || cross_entropy(logits(), long, weights()));
    let targets = |rows| Tensor::<1, Int>::zeros([rows], &device);
    refused("1 targets", || {
        cross_entropy(logits(), targets(1), weights())
    });
    let one = Tensor::<1>::ones([1], &device);
    refused("1 weights", || cross_entropy(logits(), targets(2), one));
}

fn refused<T>(word: &str, call: impl FnOnce() -> T) {
    let answer = std::panic::catch_unwind(std::panic::AssertUnwindSafe(call));
    let panic = answer.err().expect("it was taken");
    let said = panic.downcast_ref::<String>().expect("words");
    assert!(said.contains(word), "{said}");
}

/// A target that is no column stays within its own row, whose example is left out, and a row of weight 0 counts for nothing whatever it is.
#[test]
fn a_target_out_of_range_touches_no_other_row() {
    for (name, device) in devices() {
        let device = device.autodiff();
        // A vocabulary that vectors fit and one that they don't.
        for v in [16, 5] {
            let x = random([4, v], &device);
            let run = |targets: [i32; 4]| {
                let logits = x.clone().require_grad();
                let targets = Tensor::<1, Int>::from_data(TensorData::from(targets), &device);
                let weights =
                    Tensor::<1>::from_data(TensorData::from([1.0f32, 0.5, 0.0, 2.0]), &device);
                let loss = cross_entropy(logits.clone(), targets, weights);
                let gradients = loss.clone().sum().backward();
                let gradient = logits.grad(&gradients).expect("x is tracked");
                let read = |data: TensorData| data.try_to_vec::<f32>().expect("f32");
                (read(loss.into_data()), read(gradient.into_data()))
            };
            let (loss, gradient) = run([1, 2, 3, 4]);
            for bad in [v as i32, v as i32 + 3, -1, -100, i32::MAX, i32::MIN] {
                assert_eq!(
                    run([1, 2, bad, 4]),
                    (loss.clone(), gradient.clone()),
                    "{name}: {bad} of weight 0"
                );
                let (other_loss, other) = run([1, bad, 3, 4]);
                for row in 0..4 {
                    let part = row * v..(row + 1) * v;
                    if row == 1 {
                        assert!(other_loss[row].is_nan(), "{name}: {bad}");
                        assert!(other[part].iter().all(|x| x.is_nan()), "{name}: {bad}");
                    } else {
                        assert_eq!(other_loss[row], loss[row], "{name}: {bad}");
                        assert_eq!(other[part.clone()], gradient[part], "{name}: {bad}");
                    }
                }
            }
        }
    }
}
