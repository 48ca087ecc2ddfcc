//! Release, optimizer and state: from a reservation to the next weights, and back from a checkpoint.

mod common;

use burn::module::Module;
use burn::optim::{AdamWConfig, GradientsParams, OptimizerRecord};
use common::{devices, model, rows, values};
use dp_burn::{PrivateGradients, StateError, Tape, Transformer, export, import};
use dp_core::accounting::Event;
use dp_core::clipping::Clipping;
use dp_core::ledger::{Charge, Header};
use dp_core::noise::{Generator, fill_gaussian};
use dp_engine::keys::RunKeys;
use dp_engine::ledger::{Budget, LedgerFile};

fn ledger(folder: &std::path::Path, keys: &RunKeys) -> LedgerFile {
    let header = Header {
        dataset: [1; 32],
        config: [2; 32],
    };
    let budget = Budget {
        epsilon: 100.0,
        delta: 1e-5,
    };
    LedgerFile::create(&folder.join("ledger"), &header, budget, keys.process).expect("a new ledger")
}

/// A batch of no examples is pure noise: that of the key, the step and the parameter's number.
#[test]
fn an_empty_batch_releases_the_noise_of_the_reserved_step() {
    for (name, device) in devices() {
        let device = device.autodiff();
        let model = model(&device);
        let folder = tempfile::tempdir().expect("a folder");
        let keys = RunKeys::generate().expect("keys");
        let mut ledger = ledger(folder.path(), &keys);
        let charge = Charge {
            event: Event::PoissonGaussian {
                rate: 0.1,
                sigma: 2.0,
            },
            clip: 0.5,
            eta: 0.25,
            count: 1,
        };
        let paid = ledger.reserve(7, charge).expect("within the budget");
        let noise = keys.noise.for_step(&paid).expect("this start's");
        assert_eq!(noise.std(), 1.25);
        let sums = PrivateGradients::new(&model, Clipping::Flat { clip: 0.5 });
        let gradients = sums
            .release(8.0, &noise, Generator::ChaCha20)
            .expect("a release");

        for (k, actual) in values(&model, &gradients).into_iter().enumerate() {
            let mut expected = vec![0.0f32; actual.len()];
            fill_gaussian(
                &mut expected,
                0,
                1.25,
                noise.key(),
                Generator::ChaCha20,
                7,
                k as u32,
            )
            .expect("valid");
            let worst = actual
                .iter()
                .zip(&expected)
                .fold(0.0f32, |m, (a, b)| m.max((a - b / 8.0).abs()));
            assert!(worst <= 1e-6, "{name}: parameter {k} is off by {worst}");
        }
        ledger.commit(paid).expect("the release is noted");
    }
}

#[test]
fn divisors_out_of_range_are_refused() {
    let Some((_, device)) = devices().into_iter().next() else {
        return;
    };
    let device = device.autodiff();
    let model = model(&device);
    let folder = tempfile::tempdir().expect("a folder");
    let keys = RunKeys::generate().expect("keys");
    let mut ledger = ledger(folder.path(), &keys);
    let charge = Charge {
        event: Event::Gaussian { sigma: 3.0 },
        clip: 1.0,
        eta: 0.0,
        count: 1,
    };
    let paid = ledger.reserve(0, charge).expect("within the budget");
    for divisor in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let sums = PrivateGradients::new(&model, Clipping::Flat { clip: 1.0 });
        let noise = keys.noise.for_step(&paid).expect("this start's");
        assert!(
            sums.release(divisor, &noise, Generator::ChaCha20).is_err(),
            "{divisor}"
        );
    }
}

fn trained(
    model: Transformer,
    optimizer: &mut burn::optim::ModuleOptimizer,
    device: &burn::tensor::Device,
) -> Transformer {
    let mut tape = Tape::ordinary(device);
    let loss = model.losses(&rows(4).upload(device), &mut tape).sum();
    let gradients = GradientsParams::from_grads(loss.backward(), &model);
    optimizer.step(0.01, model, gradients)
}

/// Saved after two steps and loaded into a fresh model: the third step gives the same weights.
#[test]
fn model_and_optimizer_come_back_from_their_bytes() {
    for (name, device) in devices() {
        let device = device.autodiff();
        let mut optimizer = AdamWConfig::new().init();
        let mut trained_model = model(&device);
        for _ in 0..2 {
            trained_model = trained(trained_model, &mut optimizer, &device);
        }
        let tensors = export(&trained_model).expect("readable");
        let bytes = optimizer.to_record().into_bytes().expect("writable");
        let expected = export(&trained(trained_model, &mut optimizer, &device)).expect("readable");

        let fresh = Transformer::new(&common::config(), 99, &device);
        let loaded = import(fresh, tensors).expect("the same sizes");
        let record = OptimizerRecord::from_bytes(bytes).expect("readable");
        let mut optimizer = AdamWConfig::new().init().load_record(record);
        let actual = export(&trained(loaded, &mut optimizer, &device)).expect("readable");
        assert_eq!(actual, expected, "{name}");
    }
}

#[test]
fn tensors_that_do_not_fit_are_named() {
    let Some((_, device)) = devices().into_iter().next() else {
        return;
    };
    let fresh = || Transformer::new(&common::config(), 1, &device);
    let tensors = export(&fresh()).expect("readable");
    assert_eq!(tensors.len(), 2 + 2 * 12 + 2 + 2);
    assert_eq!(tensors[0].name, "tokens.table");

    let missing = tensors[1..].to_vec();
    assert_eq!(
        import(fresh(), missing).unwrap_err(),
        StateError::Missing("tokens.table".into())
    );

    let mut wrong = tensors.clone();
    wrong[0].shape = vec![1, 2];
    assert!(matches!(
        import(fresh(), wrong).unwrap_err(),
        StateError::Shape { .. }
    ));

    let mut more = tensors;
    let mut extra = more[0].clone();
    extra.name = "other".into();
    more.push(extra);
    assert_eq!(
        import(fresh(), more).unwrap_err(),
        StateError::Unknown("other".into())
    );
}

#[test]
fn the_count_of_parameters_is_the_models() {
    let Some((_, device)) = devices().into_iter().next() else {
        return;
    };
    let config = common::config();
    assert_eq!(
        Transformer::new(&config, 1, &device).num_params(),
        config.parameters()
    );
}

/// Five steps with the same gradients: the fused kernel goes where burn's chain of operations goes.
#[test]
fn the_fused_adamw_is_burns() {
    for (name, device) in devices() {
        let device = device.autodiff();
        let (mut ours, mut theirs) = (model(&device), model(&device));
        let fused = dp_burn::AdamW {
            beta_1: 0.8,
            beta_2: 0.95,
            epsilon: 1e-6,
            weight_decay: 0.1,
        };
        let mut fused = burn::optim::ModuleOptimizer::from(fused);
        let chained = AdamWConfig::new().with_beta_1(0.8).with_beta_2(0.95);
        let mut chained = chained.with_epsilon(1e-6).with_weight_decay(0.1).init();
        for _ in 0..5 {
            theirs = trained(theirs, &mut chained, &device);
            ours = trained(ours, &mut fused, &device);
        }
        let (ours, theirs) = (
            export(&ours).expect("readable"),
            export(&theirs).expect("readable"),
        );
        for (a, b) in ours.iter().zip(&theirs) {
            let error = common::relative(&a.values, &b.values);
            assert!(error <= 1e-4, "{name}: {} is off by {error:e}", a.name);
        }
    }
}
