//! Private gradients against a loop over the examples, and what must not move them.

mod common;

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::Device;
use common::{Rows, cases, devices, keeps_all, model, relative, rows, values};
use dp_burn::profile::{Span, record};
use dp_burn::{PrivacyError, PrivateGradients, Tape, Transformer};
use dp_core::clipping::Clipping;
use dp_kernels::{LinearNorm, Planner};

const CLIP: f32 = 0.7;

/// The private way, in microbatches of the given sizes.
fn private(
    planner: Planner,
    model: &Transformer,
    device: &Device,
    parts: &[Rows],
) -> Vec<Vec<f32>> {
    let mut sums = PrivateGradients::new(model, Clipping::Flat { clip: CLIP })
        .planned(planner, LinearNorm::Auto);
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
    for (name, device, planner) in cases() {
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

        let actual = private(planner, &model, &device, &[rows]);
        assert_eq!(actual.len(), expected.len());
        for (k, (a, b)) in actual.iter().zip(&expected).enumerate() {
            let error = relative(a, b);
            assert!(error <= 2e-5, "{name}: parameter {k} is off by {error:e}");
        }
    }
}

/// With memory for the three that save the most for each byte, those and no other are kept: a block's projections and the head.
#[test]
fn each_layer_is_taken_as_it_was_planned() {
    for (name, device) in devices() {
        let device = device.autodiff();
        let model = model(&device);
        let kept = |bytes| {
            let planner = keeps_all().with_memory_to_keep(bytes);
            let mut sums = PrivateGradients::new(&model, Clipping::Flat { clip: CLIP })
                .planned(planner, LinearNorm::Auto);
            assert!(sums.plans().is_empty(), "{name}: nothing was met");
            let batch = rows(3).upload(&device);
            let mut tape = Tape::private(&device);
            let (_, spans) = record(|| {
                let losses = model.losses(&batch, &mut tape).sum();
                sums.add(tape, losses, batch.mask.clone())
                    .expect("it is private");
            });
            let kept = |span: &&Span| span.name == "linear kept";
            let shapes: Vec<_> = spans
                .iter()
                .filter(kept)
                .map(|span| span.shape.clone())
                .collect();
            let planned = sums
                .plans()
                .iter()
                .filter(|plan| plan.kept.is_some())
                .count();
            (shapes, planned)
        };
        let b_t_d_p = |d, p| vec![3, common::CONTEXT, d, p];
        let three = 3 * (2 * 24 * 24 + 24 * common::VOCABULARY as u64) * 4;
        let shapes = vec![
            b_t_d_p(24, 24),
            b_t_d_p(24, 24),
            b_t_d_p(24, common::VOCABULARY),
        ];
        assert_eq!(kept(0), (vec![], 0), "{name}");
        assert_eq!(kept(three), (shapes, 2), "{name}");
        assert_eq!(kept(u64::MAX).0.len(), 9, "{name}");
    }
}

#[test]
fn one_example_never_adds_more_than_the_clipping_norm() {
    for (name, device, planner) in cases() {
        let device = device.autodiff();
        let model = model(&device);
        let rows = rows(6);
        for b in 0..6 {
            let alone = norm(&private(planner, &model, &device, &[rows.row(b)]));
            assert!(
                alone <= f64::from(CLIP) * (1.0 + 1e-4),
                "{name}: example {b} adds {alone}"
            );
        }
    }
}

#[test]
fn cutting_the_batch_differently_changes_rounding_only() {
    for (name, device, planner) in cases() {
        let device = device.autodiff();
        let model = model(&device);
        let rows = rows(6);
        let whole = private(planner, &model, &device, std::slice::from_ref(&rows));
        let single: Vec<Rows> = (0..6).map(|b| rows.row(b)).collect();
        let cut = private(planner, &model, &device, &single);
        for (a, b) in whole.iter().zip(&cut) {
            let error = relative(a, b);
            assert!(error <= 1e-5, "{name}: {error:e}");
        }
    }
}

#[test]
fn an_example_does_not_move_its_neighbours() {
    for (name, device, planner) in cases() {
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
            private(planner, &model, &device, &[a]),
            private(planner, &model, &device, &[b]),
            "{name}"
        );
    }
}

#[test]
fn an_example_that_is_not_finite_contributes_exactly_zero() {
    for (name, device, planner) in cases() {
        let device = device.autodiff();
        let model = model(&device);
        let mut masked = rows(4);
        masked.mask[2] = 0.0;
        for bad in [f32::NAN, f32::INFINITY, f32::MAX] {
            let mut broken = rows(4);
            broken.weights[2 * common::CONTEXT] = bad;
            let sums = private(planner, &model, &device, &[broken]);
            assert!(
                sums.iter().flatten().all(|x| x.is_finite()),
                "{name}: {bad}"
            );
            assert_eq!(
                sums,
                private(planner, &model, &device, std::slice::from_ref(&masked)),
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
