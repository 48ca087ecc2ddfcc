//! What private gradients, their release and the optimizer refuse, and what they leave behind then.

mod common;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use common::{RULE, add, devices, ledger, model, reserve, rows, values};
use dp_burn::{Init, Linear, PrivacyError, PrivateAdamW, PrivateGradients, Tape};
use dp_core::accounting::Event;
use dp_core::clipping::Clipping;
use dp_core::ledger::Charge;
use dp_core::noise::Generator;

const CLIPPING: Clipping = Clipping::Flat { clip: 0.5 };
const GENERATOR: Generator = Generator::ChaCha20;

/// Two layers, so that one can be moved without the other.
#[derive(Module, Debug)]
struct Two {
    body: Linear,
    head: Linear,
}

impl Two {
    fn new(device: &Device) -> Self {
        let init = &mut Init::new(5, device);
        Self {
            body: Linear::new(init, 3, 4, 0.5),
            head: Linear::new(init, 4, 2, 0.5),
        }
    }

    fn loss(&self, device: &Device, tape: &mut Tape) -> Tensor<1> {
        let x = Tensor::<3>::ones([2, 1, 3], device);
        self.head.forward(self.body.forward(x, tape), tape).sum()
    }

    fn add(&self, sums: &mut PrivateGradients, device: &Device) -> Result<(), PrivacyError> {
        let mut tape = Tape::private(device);
        let loss = self.loss(device, &mut tape);
        sums.add(tape, loss, Tensor::ones([2], device))
    }
}

/// A sum that a step passes by keeps its batch, and the next release would hold two with noise for one.
#[test]
fn a_part_of_the_module_is_not_stepped_alone() {
    for (name, device) in devices() {
        let device = device.autodiff();
        let folder = tempfile::tempdir().expect("a folder");
        let (mut ledger, key) = ledger(folder.path(), 100.0);
        let model = Two::new(&device);
        let mut sums = PrivateGradients::new(&model, CLIPPING);
        let mut optimizer = PrivateAdamW::new(RULE);
        model.add(&mut sums, &device).expect("a private pass");

        let paid = reserve(&mut ledger, 0, 1.0);
        let (noise, _receipt) = key.for_step(paid).expect("this start's");
        let refused = optimizer.step(0.01, model.head.clone(), &mut sums, 4.0, noise, GENERATOR);
        assert!(
            matches!(refused, Err(PrivacyError::Absent(id)) if id == model.body.weight.id),
            "{name}: {:?}",
            refused.err()
        );
        // The other way round: the sums of a part, and the whole module.
        let mut part = PrivateGradients::new(&model.head, CLIPPING);
        let paid = reserve(&mut ledger, 1, 1.0);
        let (noise, _receipt) = key.for_step(paid).expect("this start's");
        let refused = optimizer.step(0.01, model.clone(), &mut part, 4.0, noise, GENERATOR);
        assert!(
            matches!(refused, Err(PrivacyError::Unknown(id)) if id == model.body.weight.id),
            "{name}: {:?}",
            refused.err()
        );
        // Nothing was touched: the batch is there for the whole module's step.
        assert_eq!(optimizer.time(), 0, "{name}");
        let paid = reserve(&mut ledger, 2, 1.0);
        let (noise, _receipt) = key.for_step(paid).expect("this start's");
        let moved = optimizer
            .step(0.01, model, &mut sums, 4.0, noise, GENERATOR)
            .expect("the whole module");
        let left = values(&moved, &sums.without_noise_not_private(1.0));
        assert!(left.iter().flatten().all(|x| *x == 0.0), "{name}");
    }
}

/// After a step that failed on its way some sums are zeros and some are not.
#[test]
fn sums_of_a_step_that_failed_are_of_no_use() {
    let Some((_, device)) = devices().into_iter().next() else {
        return;
    };
    let device = device.autodiff();
    let folder = tempfile::tempdir().expect("a folder");
    let (mut ledger, key) = ledger(folder.path(), 100.0);
    let model = model(&device);
    let mut sums = PrivateGradients::new(&model, CLIPPING);
    let mut optimizer = PrivateAdamW::new(RULE);
    add(&mut sums, &model, &device);
    let mut step = |rate: f64, number, sums: &mut PrivateGradients| {
        let paid = reserve(&mut ledger, number, 1.0);
        let (noise, _receipt) = key.for_step(paid).expect("this start's");
        optimizer.step(rate, model.clone(), sums, 4.0, noise, GENERATOR)
    };
    let refused = step(f64::NAN, 0, &mut sums);
    assert!(
        matches!(refused, Err(PrivacyError::Kernel(_))),
        "{:?}",
        refused.err()
    );
    let refused = step(0.01, 1, &mut sums);
    assert!(
        matches!(refused, Err(PrivacyError::HalfDone)),
        "{:?}",
        refused.err()
    );
    let mut tape = Tape::private(&device);
    let batch = rows(2).upload(&device);
    let losses = model.losses(&batch, &mut tape).sum();
    let refused = sums.add(tape, losses, batch.mask);
    assert!(
        matches!(refused, Err(PrivacyError::HalfDone)),
        "{refused:?}"
    );
    let paid = reserve(&mut ledger, 2, 1.0);
    let (noise, _receipt) = key.for_step(paid).expect("this start's");
    let refused = sums.release(4.0, noise, GENERATOR);
    assert!(
        matches!(refused, Err(PrivacyError::HalfDone)),
        "{:?}",
        refused.err()
    );
}

/// Half of such a parameter's gradient would be dropped, since a private layer forms only its own.
#[test]
fn a_use_outside_the_layer_is_refused() {
    for (name, device) in devices() {
        let device = device.autodiff();
        let model = Two::new(&device);
        let mut sums = PrivateGradients::new(&model, CLIPPING);
        let mut tape = Tape::private(&device);
        let loss = model.loss(&device, &mut tape) + model.body.weight.val().sum();
        let refused = sums.add(tape, loss, Tensor::ones([2], &device));
        assert!(
            matches!(refused, Err(PrivacyError::Outside(id)) if id == model.body.weight.id),
            "{name}: {refused:?}"
        );
        model.add(&mut sums, &device).expect("nothing was touched");
    }
}

/// What is trained was fixed with the sums.
#[test]
fn layers_frozen_or_thawed_later_are_refused() {
    for (name, device) in devices() {
        let device = device.autodiff();
        let folder = tempfile::tempdir().expect("a folder");
        let (mut ledger, key) = ledger(folder.path(), 100.0);
        let whole = Two::new(&device);
        let frozen = Two {
            body: whole.body.clone().no_grad(),
            ..whole.clone()
        };
        let pairs = [(&whole, &frozen), (&frozen, &whole)];
        for (step, (before, after)) in (0..).zip(pairs) {
            let mut sums = PrivateGradients::new(before, CLIPPING);
            let refused = after.add(&mut sums, &device);
            assert!(
                matches!(refused, Err(PrivacyError::FrozenSince(id)) if id == whole.body.weight.id),
                "{name}: {refused:?}"
            );
            let paid = reserve(&mut ledger, step, 1.0);
            let (noise, _receipt) = key.for_step(paid).expect("this start's");
            let refused =
                PrivateAdamW::new(RULE).step(0.01, after.clone(), &mut sums, 4.0, noise, GENERATOR);
            assert!(
                matches!(refused, Err(PrivacyError::FrozenSince(id)) if id == whole.body.weight.id),
                "{name}: {:?}",
                refused.err()
            );
        }
    }
}

/// A clipping norm above the charged one is a noise multiplier below it.
#[test]
fn gradients_of_a_larger_norm_than_was_charged_are_not_released() {
    let Some((_, device)) = devices().into_iter().next() else {
        return;
    };
    let model = model(&device.autodiff());
    let folder = tempfile::tempdir().expect("a folder");
    let (mut ledger, key) = ledger(folder.path(), 100.0);
    let mut step = 0;
    let mut noise = |clip: f64| {
        let charge = Charge {
            event: Event::Gaussian { sigma: 3.0 },
            clip,
            eta: 0.0,
            count: 1,
            counts: None,
        };
        let paid = ledger.reserve(step, charge).expect("within the budget");
        step += 1;
        key.for_step(paid).expect("this start's").0
    };
    let sums = |clipping| PrivateGradients::new(&model, clipping);
    let flat = |clip| Clipping::Flat { clip };
    let automatic = Clipping::Automatic {
        clip: 1.0,
        gamma: 0.01,
    };
    for (charged, clipping) in [(0.1, flat(1.0)), (0.999_999, flat(1.0)), (0.5, automatic)] {
        let refused = sums(clipping).release(4.0, noise(charged), GENERATOR);
        assert!(
            matches!(refused, Err(PrivacyError::ChargedClip { .. })),
            "{clipping:?} for {charged}"
        );
        let (mut sums, mut optimizer) = (sums(clipping), PrivateAdamW::new(RULE));
        let noise = noise(charged);
        let refused = optimizer.step(0.01, model.clone(), &mut sums, 4.0, noise, GENERATOR);
        assert!(
            matches!(refused, Err(PrivacyError::ChargedClip { .. })),
            "the optimizer, {clipping:?} for {charged}"
        );
        assert_eq!(optimizer.time(), 0);
        let left = values(&model, &sums.without_noise_not_private(1.0));
        assert!(left.iter().flatten().all(|x| *x == 0.0), "noised");
    }
    // What a charge of 0.1 means is what a policy of 0.1 has, though the nearest f32 is above it.
    for (charged, clipping) in [(1.0, flat(1.0)), (2.0, flat(1.0)), (0.1, flat(0.1))] {
        let released = sums(clipping).release(4.0, noise(charged), GENERATOR);
        assert!(released.is_ok(), "{clipping:?} for {charged}");
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
    let (mut ledger, key) = ledger(folder.path(), 100.0);
    let charge = Charge {
        event: Event::Gaussian { sigma: 3.0 },
        clip: 1.0,
        eta: 0.0,
        count: 1,
        counts: None,
    };
    for (step, divisor) in (0..).zip([0.0, -1.0, f64::NAN, f64::INFINITY]) {
        let sums = PrivateGradients::new(&model, Clipping::Flat { clip: 1.0 });
        let paid = ledger.reserve(step, charge).expect("within the budget");
        let (noise, _receipt) = key.for_step(paid).expect("this start's");
        assert!(
            sums.release(divisor, noise, GENERATOR).is_err(),
            "{divisor}"
        );
    }
}
