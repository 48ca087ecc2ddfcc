//! Private gradients against a loop over the examples, and what must not move them.

mod common;

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::Device;
use common::{Rows, devices, model, relative, rows, values};
use dp_burn::{PrivacyError, PrivateGradients, Tape, Transformer};
use dp_core::clipping::Clipping;

const CLIP: f32 = 0.7;

/// The private way, in microbatches of the given sizes.
fn private(model: &Transformer, device: &Device, parts: &[Rows]) -> Vec<Vec<f32>> {
    let mut sums = PrivateGradients::new(model, Clipping::Flat { clip: CLIP });
    for part in parts {
        let batch = part.upload(device);
        let mut tape = Tape::private(device);
        let losses = model.losses(&batch, &mut tape).sum();
        sums.add(tape, losses, batch.mask)
            .expect("every layer is private");
    }
    values(model, &sums.without_noise_not_private(1.0))
}

/// One ordinary backward pass for one example.
fn one(model: &Transformer, device: &Device, row: &Rows) -> Vec<Vec<f32>> {
    let mut tape = Tape::ordinary(device);
    let loss = model.losses(&row.upload(device), &mut tape).sum();
    values(model, &GradientsParams::from_grads(loss.backward(), model))
}

fn norm(gradient: &[Vec<f32>]) -> f64 {
    gradient
        .iter()
        .flatten()
        .map(|&x| f64::from(x) * f64::from(x))
        .sum::<f64>()
        .sqrt()
}

#[test]
fn the_sum_is_that_of_a_loop_over_examples() {
    for (name, device) in devices() {
        let device = device.autodiff();
        let model = model(&device);
        let mut rows = rows(5);
        rows.mask[3] = 0.0;

        let mut expected: Vec<Vec<f32>> = Vec::new();
        let mut clipped = 0;
        for b in [0, 1, 2, 4] {
            let gradient = one(&model, &device, &rows.row(b));
            let factor = (f64::from(CLIP) / norm(&gradient)).min(1.0);
            clipped += usize::from(factor < 1.0);
            for (k, values) in gradient.into_iter().enumerate() {
                let scaled = values.iter().map(|&x| (f64::from(x) * factor) as f32);
                match expected.get_mut(k) {
                    None => expected.push(scaled.collect()),
                    Some(sum) => sum.iter_mut().zip(scaled).for_each(|(s, x)| *s += x),
                }
            }
        }
        assert!((1..=4).contains(&clipped), "{name}: {clipped} of 4 clipped");

        let actual = private(&model, &device, &[rows]);
        assert_eq!(actual.len(), expected.len());
        for (k, (a, b)) in actual.iter().zip(&expected).enumerate() {
            let error = relative(a, b);
            assert!(error <= 2e-5, "{name}: parameter {k} is off by {error:e}");
        }
    }
}

#[test]
fn one_example_never_adds_more_than_the_clipping_norm() {
    for (name, device) in devices() {
        let device = device.autodiff();
        let model = model(&device);
        let rows = rows(6);
        for b in 0..6 {
            let alone = norm(&private(&model, &device, &[rows.row(b)]));
            assert!(
                alone <= f64::from(CLIP) * (1.0 + 1e-4),
                "{name}: example {b} adds {alone}"
            );
        }
    }
}

#[test]
fn cutting_the_batch_differently_changes_rounding_only() {
    for (name, device) in devices() {
        let device = device.autodiff();
        let model = model(&device);
        let rows = rows(6);
        let whole = private(&model, &device, std::slice::from_ref(&rows));
        let single: Vec<Rows> = (0..6).map(|b| rows.row(b)).collect();
        let cut = private(&model, &device, &single);
        for (a, b) in whole.iter().zip(&cut) {
            let error = relative(a, b);
            assert!(error <= 1e-5, "{name}: {error:e}");
        }
    }
}

#[test]
fn an_example_does_not_move_its_neighbours() {
    for (name, device) in devices() {
        let device = device.autodiff();
        let model = model(&device);
        // Only example 1 counts; what its neighbours hold must not change one bit of it.
        let mut a = rows(4);
        a.mask = vec![0.0, 1.0, 0.0, 0.0];
        let mut b = a.clone();
        for t in 0..common::CONTEXT {
            b.ids[t] = 3;
            b.targets[t] = 1;
            b.ids[3 * common::CONTEXT + t] = 8;
        }
        assert_eq!(
            private(&model, &device, &[a]),
            private(&model, &device, &[b]),
            "{name}"
        );
    }
}

#[test]
fn an_example_that_is_not_finite_contributes_exactly_zero() {
    for (name, device) in devices() {
        let device = device.autodiff();
        let model = model(&device);
        let mut masked = rows(4);
        masked.mask[2] = 0.0;
        for bad in [f32::NAN, f32::INFINITY, f32::MAX] {
            let mut broken = rows(4);
            broken.weights[2 * common::CONTEXT] = bad;
            let sums = private(&model, &device, &[broken]);
            assert!(
                sums.iter().flatten().all(|x| x.is_finite()),
                "{name}: {bad}"
            );
            assert_eq!(
                sums,
                private(&model, &device, std::slice::from_ref(&masked)),
                "{name}: {bad}"
            );
        }
    }
}

#[test]
fn a_parameter_outside_the_tape_is_refused() {
    let Some((_, device)) = devices().into_iter().next() else {
        return;
    };
    let device = device.autodiff();
    let model = model(&device);
    let batch = rows(2).upload(&device);

    // Another model's parameters have the same ids: a second pass on one tape uses each twice.
    let mut tape = Tape::private(&device);
    let losses = model.losses(&batch, &mut tape).sum() + model.losses(&batch, &mut tape).sum();
    let mut sums = PrivateGradients::new(&model, Clipping::Flat { clip: CLIP });
    let error = sums.add(tape, losses, batch.mask.clone()).unwrap_err();
    assert!(matches!(error, PrivacyError::Shared(_)), "{error}");

    // A module with one parameter more than the forward pass used.
    #[derive(Module, Debug)]
    struct Wider {
        inner: Transformer,
        extra: dp_burn::LayerNorm,
    }
    let mut init = dp_burn::Init::new(1, &device);
    for _ in 0..100 {
        init.constant(1, 0.0);
    }
    let wider = Wider {
        inner: model.clone(),
        extra: dp_burn::LayerNorm::new(&mut init, 4),
    };
    let mut tape = Tape::private(&device);
    let losses = wider.inner.losses(&batch, &mut tape).sum();
    let mut sums = PrivateGradients::new(&wider, Clipping::Flat { clip: CLIP });
    let error = sums.add(tape, losses, batch.mask.clone()).unwrap_err();
    assert!(matches!(error, PrivacyError::Uncovered(_)), "{error}");

    let mut sums = PrivateGradients::new(&model, Clipping::Flat { clip: CLIP });
    let tape = Tape::ordinary(&device);
    let error = sums
        .add(tape, batch.weights.clone().sum(), batch.mask.clone())
        .unwrap_err();
    assert!(matches!(error, PrivacyError::EmptyTape), "{error}");

    let mut tape = Tape::private(&device);
    let losses = model.losses(&batch, &mut tape).sum();
    let mut sums = PrivateGradients::new(&model, Clipping::Flat { clip: CLIP });
    let short = rows(1).upload(&device).mask;
    let error = sums.add(tape, losses, short).unwrap_err();
    assert!(
        matches!(error, PrivacyError::Mask { mask: 1, rows: 2 }),
        "{error}"
    );
}
