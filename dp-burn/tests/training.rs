//! Release, optimizer and state: from a reservation to the next weights, and back from a checkpoint.

mod common;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::{AdamWConfig, GradientsParams, OptimizerRecord};
use burn::tensor::{Tensor, TensorData};
use common::{RULE, add, devices, ledger, model, reserve, rows, values};
use dp_burn::{
    PrivacyError, PrivateAdamW, PrivateGradients, StateError, Tape, Transformer, export, import,
};
use dp_core::accounting::Event;
use dp_core::clipping::Clipping;
use dp_core::ledger::Charge;
use dp_core::noise::{GaussianDraw, Generator, fill_gaussian};

/// A batch of no examples is pure noise: that of the key, the step and the parameter's number.
#[test]
fn an_empty_batch_releases_the_noise_of_the_reserved_step() {
    for (name, device) in devices() {
        let device = device.autodiff();
        let model = model(&device);
        let folder = tempfile::tempdir().expect("a folder");
        let (mut ledger, key) = ledger(folder.path(), 100.0);
        let charge = Charge {
            event: Event::PoissonGaussian {
                rate: 0.1,
                sigma: 2.0,
            },
            clip: 0.5,
            eta: 0.25,
            count: 1,
            counts: None,
        };
        let paid = ledger.reserve(7, charge).expect("within the budget");
        let (mut noise, receipt) = key.for_step(paid).expect("this start's");
        assert_eq!(noise.std(), 1.25);
        // Number 0 is used up by this; the parameters have those from 1 on.
        let key = noise.draw(Generator::ChaCha20).key;
        let sums = PrivateGradients::new(&model, Clipping::Flat { clip: 0.5 });
        let gradients = sums
            .release(8.0, noise, Generator::ChaCha20)
            .expect("a release");

        for (k, actual) in values(&model, &gradients).into_iter().enumerate() {
            let mut expected = vec![0.0f32; actual.len()];
            fill_gaussian(
                &mut expected,
                0,
                1.25,
                key,
                Generator::ChaCha20,
                7,
                k as u32 + 1,
            )
            .expect("valid");
            let worst = actual
                .iter()
                .zip(&expected)
                .fold(0.0f32, |m, (a, b)| m.max((a - b / 8.0).abs()));
            assert!(worst <= 1e-6, "{name}: parameter {k} is off by {worst}");
        }
        ledger.commit(receipt).expect("the release is noted");
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

/// The smallest noise multiplier that there is, as good as none.
const FAINT: f64 = 1e-9;

/// Adds noise to gradients on the host: parameter k, in the order of visits, has tensor number k + 1.
struct Noised<'a> {
    gradients: GradientsParams,
    draw: GaussianDraw<'a>,
    divisor: f32,
    parameters: u32,
}

impl ModuleVisitor for Noised<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.parameters += 1;
        let gradient = self
            .gradients
            .remove::<D>(param.id)
            .expect("every parameter has one");
        let (shape, device) = (gradient.shape(), gradient.device());
        let mut noise = vec![0.0; shape.num_elements()];
        let GaussianDraw {
            std,
            key,
            generator,
            step,
            ..
        } = self.draw;
        fill_gaussian(&mut noise, 0, std, key, generator, step, self.parameters).expect("valid");
        noise.iter_mut().for_each(|x| *x /= self.divisor);
        let noise = Tensor::from_data(TensorData::new(noise, shape), &device);
        self.gradients.register(param.id, gradient + noise);
    }
}

/// Three steps: the pass that draws the noise goes where release, division and AdamW go one after the other, and leaves
/// the sums at zero.
#[test]
fn the_private_optimizer_is_release_and_adamw() {
    for (name, device) in devices() {
        let device = device.autodiff();
        let folder = tempfile::tempdir().expect("a folder");
        let (mut ledger, key) = ledger(folder.path(), 100.0);
        let clipping = Clipping::Flat { clip: 0.5 };

        let (mut ours, mut theirs) = (model(&device), model(&device));
        let mut private = PrivateAdamW::new(RULE);
        let mut ordinary = burn::optim::ModuleOptimizer::from(RULE);
        let mut sums = PrivateGradients::new(&ours, clipping);
        for step in 0..3 {
            add(&mut sums, &ours, &device);
            let generator = Generator::ChaCha20;
            let paid = reserve(&mut ledger, step, 0.5);
            let (mut noise, _receipt) = key.for_step(paid).expect("this start's");
            // Number 0 is used up by this; the parameters have those from 1 on.
            let draw = noise.draw(generator);
            ours = private
                .step(0.01, ours, &mut sums, 4.0, noise, generator)
                .expect("a step");
            let mut once = PrivateGradients::new(&theirs, clipping);
            add(&mut once, &theirs, &device);
            let mut noised = Noised {
                gradients: once.without_noise_not_private(4.0),
                draw,
                divisor: 4.0,
                parameters: 0,
            };
            theirs.visit(&mut noised);
            theirs = ordinary.step(0.01, theirs, noised.gradients);
        }
        assert_eq!(private.time(), 3);
        let both = [&ours, &theirs].map(|model| export(model).expect("readable"));
        for (a, b) in both[0].iter().zip(&both[1]) {
            let error = common::relative(&a.values, &b.values);
            assert!(error <= 1e-5, "{name}: {} is off by {error}", a.name);
        }
        let left = values(&ours, &sums.without_noise_not_private(1.0));
        assert!(left.iter().flatten().all(|x| *x == 0.0), "{name}");
    }
}

/// Neither clip, sum, noise nor update has a part of a layer that is frozen.
#[test]
fn frozen_layers_are_left_alone() {
    for (name, device) in devices() {
        let device = device.autodiff();
        let folder = tempfile::tempdir().expect("a folder");
        let (mut ledger, key) = ledger(folder.path(), 100.0);
        let whole = model(&device);
        // The embedding and the last layer norm.
        let parts = ["tokens", "norm"];
        let is_frozen = |name: &str| parts.contains(&name.split('.').next().unwrap_or_default());
        let frozen = freeze(whole.clone(), &is_frozen);
        let before = export(&frozen).expect("readable");

        // Unclipped, the sums of the others are those of the whole model; clipped, they are as long as the norm lets them be.
        let sum = |model: &Transformer, clip, batch: &common::Rows| {
            let mut sums = PrivateGradients::new(model, Clipping::Flat { clip });
            let batch = batch.upload(&device);
            let mut tape = Tape::private(&device);
            let losses = model.losses(&batch, &mut tape).sum();
            sums.add(tape, losses, batch.mask).expect("a private pass");
            sums.without_noise_not_private(1.0)
        };
        let (all, some) = (sum(&whole, 1e6, &rows(4)), sum(&frozen, 1e6, &rows(4)));
        assert!(some.len() < all.len(), "{name}");
        let clipped = sum(&frozen, 1e-3, &rows(1));
        let mut found = Found {
            length: 0.0,
            all,
            some,
            clipped,
        };
        frozen.visit(&mut found);
        assert!(
            (found.length.sqrt() / 1e-3 - 1.0).abs() < 1e-4,
            "{name}: {}",
            found.length
        );

        let mut sums = PrivateGradients::new(&frozen, Clipping::Flat { clip: 0.5 });
        let mut optimizer = PrivateAdamW::new(RULE);
        add(&mut sums, &frozen, &device);
        let (noise, _receipt) = key
            .for_step(reserve(&mut ledger, 0, 0.5))
            .expect("this start's");
        let moved = optimizer
            .step(0.01, frozen, &mut sums, 4.0, noise, Generator::ChaCha20)
            .expect("a step");
        let after = export(&moved).expect("readable");
        for (a, b) in before.iter().zip(&after) {
            assert_eq!(
                a.values == b.values,
                is_frozen(&a.name),
                "{name}: {}",
                a.name
            );
        }
        let state = optimizer.state(&moved).expect("readable");
        let of_frozen = state
            .iter()
            .filter(|t| is_frozen(t.name.split_once('.').expect("a prefix").1));
        assert!(
            of_frozen.flat_map(|t| &t.values).all(|x| *x == 0.0),
            "{name}"
        );

        // Half a layer.
        let gain = freeze(whole, &|name| name == "norm.gain");
        let mut sums = PrivateGradients::new(&gain, Clipping::Flat { clip: 0.5 });
        let batch = rows(4).upload(&device);
        let mut tape = Tape::private(&device);
        let losses = gain.losses(&batch, &mut tape).sum();
        let refused = sums.add(tape, losses, batch.mask);
        assert!(
            matches!(refused, Err(PrivacyError::PartlyFrozen(_))),
            "{name}: {refused:?}"
        );
    }
}

/// The model with the parameters that `is_frozen` names without gradients.
fn freeze(model: Transformer, is_frozen: &dyn Fn(&str) -> bool) -> Transformer {
    let mut names = export(&model)
        .expect("readable")
        .into_iter()
        .map(|tensor| tensor.name);
    let mut freezing = Freezing(
        names
            .by_ref()
            .map(|name| is_frozen(&name))
            .collect::<Vec<_>>()
            .into_iter(),
    );
    model.map(&mut freezing)
}

struct Freezing(std::vec::IntoIter<bool>);

impl ModuleMapper for Freezing {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let is_frozen = self.0.next().expect("a name for each");
        if is_frozen {
            param.set_require_grad(false)
        } else {
            param
        }
    }
}

/// What the sums of a model with frozen layers have.
struct Found {
    length: f64,
    all: GradientsParams,
    some: GradientsParams,
    clipped: GradientsParams,
}

impl ModuleVisitor for Found {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let read = |gradients: &GradientsParams| {
            let gradient = gradients.get::<D>(param.id)?;
            gradient.into_data().try_to_vec::<f32>().ok()
        };
        let is_frozen = !param.val().is_require_grad();
        let (some, clipped) = (read(&self.some), read(&self.clipped));
        assert_eq!((some.is_none(), clipped.is_none()), (is_frozen, is_frozen));
        if let (Some(some), Some(clipped)) = (some, clipped) {
            assert_eq!(Some(some), read(&self.all));
            self.length += clipped.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
        }
    }
}

/// Saved after two steps and loaded again: the state is the same to the bit, and the third step gives the same weights, to its faint noise.
#[test]
fn the_private_optimizer_comes_back_from_its_state() {
    for (name, device) in devices() {
        let device = device.autodiff();
        let folder = tempfile::tempdir().expect("a folder");
        let (mut ledger, key) = ledger(folder.path(), 1e30);
        let mut steps = 0;
        let mut step = |optimizer: &mut PrivateAdamW, model: Transformer| {
            let mut sums = PrivateGradients::new(&model, Clipping::Flat { clip: 0.5 });
            add(&mut sums, &model, &device);
            let paid = reserve(&mut ledger, steps, FAINT);
            let (noise, _receipt) = key.for_step(paid).expect("this start's");
            steps += 1;
            optimizer
                .step(0.01, model, &mut sums, 4.0, noise, Generator::ChaCha20)
                .expect("a step")
        };
        let mut optimizer = PrivateAdamW::new(RULE);
        let mut trained = model(&device);
        for _ in 0..2 {
            trained = step(&mut optimizer, trained);
        }
        let weights = export(&trained).expect("readable");
        let state = optimizer.state(&trained).expect("readable");
        assert_eq!(state.len(), 2 * weights.len());
        let expected = export(&step(&mut optimizer, trained)).expect("readable");

        let fresh = import(model(&device), weights).expect("the same sizes");
        let fresh_optimizer = || PrivateAdamW::new(RULE);
        let mut loaded = fresh_optimizer()
            .load(&fresh, 2, state.clone())
            .expect("the same sizes");
        let missing = fresh_optimizer().load(&fresh, 2, state[1..].to_vec());
        assert!(
            matches!(missing, Err(StateError::Missing(_))),
            "{name}: a moment is missing"
        );
        assert_eq!(loaded.state(&fresh).expect("readable"), state, "{name}");
        let third = export(&step(&mut loaded, fresh)).expect("readable");
        for (a, b) in third.iter().zip(&expected) {
            let error = common::relative(&a.values, &b.values);
            assert!(error <= 1e-4, "{name}: {} is off by {error:e}", a.name);
        }
    }
}
