//! A clipping norm that follows a quantile: the counts are those of the examples' own norms, they leave with their noise only, and what they
//! cost was charged.

mod common;

use burn::optim::GradientsParams;
use burn::tensor::Device;
use common::{CONTEXT, Rows, devices, ledger, model, rows, values};
use dp_burn::{AdamW, PrivacyError, PrivateAdamW, PrivateGradients, Tape, Transformer};
use dp_core::accounting::Event;
use dp_core::clipping::{AdaptiveQuantile, Clipping, NoisedCounts};
use dp_core::ledger::Charge;
use dp_core::noise::{Generator, Key, fill_gaussian};
use dp_engine::keys::{NoiseKey, StepNoise};
use dp_engine::ledger::LedgerFile;

const GENERATOR: Generator = Generator::ChaCha20;
const STD: f32 = 0.5;
/// The noise of a whole step, below the counts' own multiplier of 1.
const CHARGE: Charge = Charge {
    event: Event::Gaussian { sigma: 0.6 },
    clip: 1.0,
    eta: 0.0,
    count: 1,
    counts: None,
};

/// One count moves the clipping norm by a factor of e^(1/2): one that is off by one is not overlooked.
fn policy() -> AdaptiveQuantile {
    AdaptiveQuantile::new(0.5, 5.0, STD, 10.0, 1).expect("in range")
}

fn charge(clip: f32) -> Charge {
    Charge {
        clip: clip.into(),
        counts: Some(policy().counts()),
        ..CHARGE
    }
}

/// A ledger and its key, with which steps are charged one after another.
struct Paid {
    _folder: tempfile::TempDir,
    ledger: LedgerFile,
    key: NoiseKey,
    steps: u64,
}

impl Paid {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (ledger, key) = ledger(folder.path(), 500.0);
        Self {
            _folder: folder,
            ledger,
            key,
            steps: 0,
        }
    }

    fn step(&mut self, charge: Charge) -> StepNoise<'_> {
        self.steps += 1;
        let paid = self
            .ledger
            .reserve(self.steps, charge)
            .expect("within the budget");
        self.key.for_step(paid).expect("this start's").0
    }
}

/// The key of a step's noise, of which the first tensor's number is used up.
fn key<'a>(noise: &mut StepNoise<'a>) -> &'a Key {
    noise.draw(GENERATOR).key
}

/// What a step's noise adds to its count.
fn noise_on_count(key: &Key, step: u64) -> f32 {
    let mut noise = [0.0; 2];
    fill_gaussian(&mut noise, 0, STD, key, GENERATOR, step, u32::MAX - 1).expect("valid");
    noise[0]
}

fn add(sums: &mut PrivateGradients, model: &Transformer, device: &Device, rows: &Rows) {
    try_add(sums, model, device, rows).expect("a private pass");
}

fn try_add(
    sums: &mut PrivateGradients,
    model: &Transformer,
    device: &Device,
    rows: &Rows,
) -> Result<(), PrivacyError> {
    let batch = rows.upload(device);
    let mut tape = Tape::private(device);
    let losses = model.losses(&batch, &mut tape).sum();
    sums.add(tape, losses, batch.mask)
}

/// The norm of the gradient of `rows` together, by an ordinary backward pass.
fn norm(model: &Transformer, device: &Device, rows: &Rows) -> f64 {
    let mut tape = Tape::ordinary(device);
    let loss = model.losses(&rows.upload(device), &mut tape).sum();
    let gradient = values(model, &GradientsParams::from_grads(loss.backward(), model));
    let squares = gradient.iter().flatten().map(|x| f64::from(*x).powi(2));
    squares.sum::<f64>().sqrt()
}

/// A clipping norm that some are below and some above, none within a hundredth, and the centred count of `norms`.
fn between(norms: &[f64]) -> (f32, f32) {
    let mut sorted = norms.to_vec();
    sorted.sort_by(f64::total_cmp);
    let gaps = sorted.windows(2);
    let widest = gaps.max_by(|a, b| (a[1] / a[0]).total_cmp(&(b[1] / b[0])));
    let [low, high] = widest.expect("several norms") else {
        panic!("a window has two")
    };
    assert!(high / low > 1.02, "{sorted:?}");
    let clip = (low * high).sqrt() as f32;
    let within = norms
        .iter()
        .filter(|norm| **norm <= f64::from(clip))
        .count();
    (clip, within as f32 - 0.5 * norms.len() as f32)
}

fn fresh(model: &Transformer, clip: f32) -> PrivateGradients {
    PrivateGradients::new(model, Clipping::Flat { clip })
        .with_adaptive_clip(policy())
        .expect("flat, one group")
}

#[track_caller]
fn assert_clip(actual: f32, before: f32, count: f32) {
    let expected = policy().next_clip(before, count);
    assert!(
        (actual / expected - 1.0).abs() < 1e-4,
        "{actual} for {expected} after {before}"
    );
}

/// Two microbatches with one masked example and one that is not finite, which add nothing; then a second batch, whose count begins at zero.
#[test]
fn the_next_clip_is_of_the_examples_own_norms() {
    for (name, device) in devices() {
        let device = device.autodiff();
        let model = model(&device);
        let all = rows(7);
        let norms: Vec<f64> = (0..7).map(|b| norm(&model, &device, &all.row(b))).collect();
        // Of the first five, 1 is masked and 3 broken.
        let counted = [norms[0], norms[2], norms[4], norms[5], norms[6]];
        let (clip, count) = between(&counted);
        let mut first = rows(5);
        first.mask[1] = 0.0;
        first.weights[3 * CONTEXT] = f32::NAN;
        let mut second = all.row(5);
        let last = all.row(6);
        second.ids.extend(&last.ids);
        second.targets.extend(&last.targets);
        second.weights.extend(&last.weights);
        second.mask.extend(&last.mask);

        let mut paid = Paid::new();
        let mut sums = fresh(&model, clip);
        assert_eq!(sums.clip(), clip);
        add(&mut sums, &model, &device, &first);
        add(&mut sums, &model, &device, &second);
        let mut noise = paid.step(charge(clip));
        let drawn = noise_on_count(key(&mut noise), 1);
        let mut optimizer = PrivateAdamW::new(AdamW::default());
        // A rate of zero leaves the model where it is.
        let model = optimizer
            .step(0.0, model, &mut sums, 4.0, noise, GENERATOR)
            .expect("charged as it is");
        let next = sums.next_clip().expect("released");
        assert_clip(next, clip, count + drawn);
        assert_eq!(sums.clip(), next, "{name}");

        // One example in the second batch: it is within the norm or above it.
        add(&mut sums, &model, &device, &last);
        let count = if norms[6] <= f64::from(next) {
            0.5
        } else {
            -0.5
        };
        let mut noise = paid.step(charge(next));
        let drawn = noise_on_count(key(&mut noise), 2);
        let (_, after) = sums
            .release_with_clip(4.0, noise, GENERATOR)
            .expect("charged as it is");
        // A norm that landed beside the example's own may fall either way.
        if (norms[6] / f64::from(next) - 1.0).abs() > 1e-3 {
            assert_clip(after, next, count + drawn);
        }
    }
}

/// A batch of nobody counts nobody, and its count is noise all the same.
#[test]
fn an_empty_batch_releases_the_counts_noise() {
    for (_, device) in devices() {
        let device = device.autodiff();
        let model = model(&device);
        let mut paid = Paid::new();
        let mut noise = paid.step(charge(0.75));
        let drawn = noise_on_count(key(&mut noise), 1);
        let released = fresh(&model, 0.75).release_with_clip(4.0, noise, GENERATOR);
        let (_, next) = released.expect("charged as it is");
        assert_clip(next, 0.75, drawn);
    }
}

/// Two rows are one user's: the norm that is counted is that of their gradients' sum.
#[test]
fn the_counts_of_users_are_of_users() {
    for (_, device) in devices() {
        let device = device.autodiff();
        let model = model(&device);
        let mut all = rows(8);
        let user = |u: usize| {
            let (mut user, other) = (all.row(2 * u), all.row(2 * u + 1));
            user.ids.extend(&other.ids);
            user.targets.extend(&other.targets);
            user.weights.extend(&other.weights);
            user.mask.extend(&other.mask);
            user
        };
        let norms: Vec<f64> = (0..4).map(|u| norm(&model, &device, &user(u))).collect();
        let (clip, count) = between(&norms);
        all.mask = vec![1.0; 4];
        let mut paid = Paid::new();
        let mut sums = fresh(&model, clip).with_rows_of_example(2);
        add(&mut sums, &model, &device, &all);
        let mut noise = paid.step(charge(clip));
        let drawn = noise_on_count(key(&mut noise), 1);
        let (_, next) = sums
            .release_with_clip(4.0, noise, GENERATOR)
            .expect("charged as it is");
        assert_clip(next, clip, count + drawn);
    }
}

/// Nothing leaves for which another thing was charged.
#[test]
fn a_step_that_was_charged_for_something_else_is_refused() {
    let Some((_, device)) = devices().into_iter().next() else {
        return;
    };
    let model = model(&device.autodiff());
    let mut paid = Paid::new();
    let other = NoisedCounts::new(1, STD * 2.0).ok();
    let forgotten = Charge {
        counts: None,
        ..charge(1.0)
    };
    let weaker = Charge {
        counts: other,
        ..charge(1.0)
    };
    for wrong in [forgotten, weaker] {
        let refused = fresh(&model, 1.0).release_with_clip(4.0, paid.step(wrong), GENERATOR);
        let Err(PrivacyError::Counts { charged, counted }) = refused else {
            panic!("released for {wrong:?}")
        };
        assert_eq!((charged, counted), (wrong.counts, Some(policy().counts())));
    }
    let plain = || PrivateGradients::new(&model, Clipping::Flat { clip: 1.0 });
    let refused = plain().release(4.0, paid.step(charge(1.0)), GENERATOR);
    assert!(
        matches!(refused, Err(PrivacyError::Counts { counted: None, .. })),
        "noise for counts that there aren't"
    );
    let refused = fresh(&model, 1.0).release_with_clip(4.0, paid.step(charge(0.99)), GENERATOR);
    let Err(error) = refused else {
        panic!("released for a smaller norm")
    };
    assert!(error.to_string().contains("charge the norm"), "{error}");
    let refused = fresh(&model, 1.0).release(4.0, paid.step(charge(1.0)), GENERATOR);
    assert!(matches!(refused, Err(PrivacyError::WithClip)));

    // The optimizer's own release asks the same.
    let mut optimizer = PrivateAdamW::new(AdamW::default());
    let before = values(&model, &plain().without_noise_not_private(1.0));
    let mut sums = fresh(&model, 1.0);
    let refused = optimizer.step(
        0.1,
        model.clone(),
        &mut sums,
        4.0,
        paid.step(forgotten),
        GENERATOR,
    );
    assert!(matches!(refused, Err(PrivacyError::Counts { .. })));
    assert_eq!(optimizer.time(), 0);
    let after = values(&model, &sums.without_noise_not_private(1.0));
    assert_eq!(before, after);
}

#[test]
fn counts_and_norms_take_turns() {
    let Some((_, device)) = devices().into_iter().next() else {
        return;
    };
    let device = device.autodiff();
    let model = model(&device);
    let clipping = Clipping::Automatic {
        clip: 1.0,
        gamma: 0.01,
    };
    let automatic = PrivateGradients::new(&model, clipping).with_adaptive_clip(policy());
    assert!(matches!(automatic, Err(PrivacyError::NotFlat)));
    let groups = AdaptiveQuantile::new(0.5, 0.2, 5.0, 10.0, 2).expect("in range");
    let flat = PrivateGradients::new(&model, Clipping::Flat { clip: 1.0 });
    let refused = flat.with_adaptive_clip(groups);
    assert!(matches!(refused, Err(PrivacyError::Groups(2))));

    let mut paid = Paid::new();
    let mut sums = fresh(&model, 1.0);
    assert!(matches!(sums.next_clip(), Err(PrivacyError::NextClip)));
    let mut optimizer = PrivateAdamW::new(AdamW::default());
    let noise = paid.step(charge(1.0));
    let model = optimizer
        .step(0.0, model, &mut sums, 4.0, noise, GENERATOR)
        .expect("charged as it is");
    let refused = try_add(&mut sums, &model, &device, &rows(2));
    assert!(matches!(refused, Err(PrivacyError::NextClip)));
    sums.next_clip().expect("released");
    assert!(matches!(sums.next_clip(), Err(PrivacyError::NextClip)));
}
