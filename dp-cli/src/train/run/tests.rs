//! A private step, looked into: whom it draws, what it charges, and what it releases.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use dp_burn::{AdamW, Tape, export};
use dp_core::accounting::Event;
use dp_core::noise::{Generator, Key, fill_gaussian};
use dp_engine::ledger::inspect;
use dp_text::rows::Rows;

use super::Run;
use crate::model::upload;
use crate::train::LEDGER;
use crate::train::optimizer::Optimizer;
use crate::train::tests::Small;

/// The records that `step` draws.
fn drawn(run: &mut Run<'_>, step: u64) -> Vec<u32> {
    let batch = run.batches.draw(step);
    batch
        .microbatches()
        .flat_map(|rows| rows.records.iter().flatten().copied())
        .collect()
}

/// The first step whose batch has such a size.
fn step_of_size(run: &mut Run<'_>, mut is_such: impl FnMut(usize) -> bool) -> u64 {
    (0..LAST)
        .find(|&step| is_such(run.batches.draw(step).len()))
        .expect("a batch of this size in 190 steps")
}

/// The run's last step, which is charged for its noise's key alone.
const LAST: u64 = 190;

/// Does `step` in the run's own way.
fn take(run: &mut Run<'_>, step: u64) {
    run.done = step;
    assert!(run.step().expect("a step"), "over budget");
}

/// The key of the run's noise, and the deviation of a step's. Charged as [`LAST`].
fn key(run: &mut Run<'_>) -> (Key, f32) {
    let guarantee = run.guarantee.as_mut().expect("a private run");
    let paid = guarantee.reserve(LAST).expect("a ledger");
    let (mut noise, _receipt) = guarantee
        .noise(paid.expect("within the budget"))
        .expect("this start's");
    let draw = noise.draw(Generator::ChaCha20);
    (draw.key.clone(), noise.std_f32())
}

/// Noise of a key, from ChaCha20 whatever the run draws from.
fn noise(len: usize, std: f32, key: &Key, step: u64, tensor: u32) -> Vec<f32> {
    let mut values = vec![0.0; len];
    fill_gaussian(&mut values, 0, std, key, Generator::ChaCha20, step, tensor).expect("valid");
    values
}

/// The first moments of the run's optimizer: a slice a parameter, in the order in which burn visits them.
fn first_moments(run: &Run<'_>) -> Vec<Vec<f32>> {
    let Optimizer::Private(optimizer) = &run.optimizer else {
        panic!("a private run has a private optimizer")
    };
    let model = run.model.as_ref().expect("a model");
    let state = optimizer.state(model).expect("readable").into_iter();
    state
        .filter(|tensor| tensor.name.starts_with("moment_1."))
        .map(|tensor| tensor.values)
        .collect()
}

/// Reads gradients in the order in which burn visits their parameters.
struct Values {
    gradients: GradientsParams,
    values: Vec<Vec<f32>>,
}

impl ModuleVisitor for Values {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let gradient = self
            .gradients
            .get::<D>(param.id)
            .expect("every parameter has a gradient");
        self.values
            .push(gradient.into_data().try_to_vec().expect("f32"));
    }
}

/// The gradient of one record, by an ordinary backward pass of its own.
fn gradient(run: &Run<'_>, record: u32) -> Vec<Vec<f32>> {
    let model = run.model.as_ref().expect("a model");
    let mut rows = Rows::new(1, run.sizes.context);
    rows.fill(&run.data.train, &[Some(record as usize)])
        .expect("a record");
    let mut tape = Tape::ordinary(&run.graph);
    let loss = model
        .losses(&upload(&rows, &[1.0], &run.graph), &mut tape)
        .sum();
    let mut values = Values {
        gradients: GradientsParams::from_grads(loss.backward(), model),
        values: Vec::new(),
    };
    model.visit(&mut values);
    values.values
}

/// What the batch of `step` adds up to, each gradient clipped on the host, a slice a parameter; and the norms before.
fn clipped_sum(run: &mut Run<'_>, step: u64) -> (Vec<Vec<f64>>, Vec<f64>) {
    let records = drawn(run, step);
    let run = &*run;
    let clip = f64::from(run.guarantee.as_ref().expect("a private run").clip());
    let parameters = export(run.model.as_ref().expect("a model")).expect("readable");
    let mut sum: Vec<Vec<f64>> = parameters
        .iter()
        .map(|tensor| vec![0.0; tensor.values.len()])
        .collect();
    let mut norms = Vec::new();
    for record in records {
        let gradient = gradient(run, record);
        let squares = gradient.iter().flatten().map(|x| f64::from(*x).powi(2));
        let norm = squares.sum::<f64>().sqrt();
        let factor = (clip / norm).min(1.0);
        let elements = sum.iter_mut().flatten().zip(gradient.iter().flatten());
        elements.for_each(|(sum, x)| *sum += factor * f64::from(*x));
        norms.push(norm);
    }
    (sum, norms)
}

/// Two steps whose batches are far from the size that is expected: by the size that was drawn either would be off by a third, and would tell it.
#[test]
fn a_step_is_the_clipped_sum_and_its_noise_over_the_expected_batch() {
    const BATCH: f64 = 6.0;
    let line = "--batch 6 --microbatch 4 --steps 200 --delta 1e-3 --clip 0.25";
    let small = Small::new(60, line);
    let mut run = small.run();
    let mut steps = [
        step_of_size(&mut run, |size| (1..=3).contains(&size)),
        step_of_size(&mut run, |size| size >= 9),
    ];
    steps.sort_unstable();
    let mut seen = Vec::new();
    for step in steps {
        let (sum, norms) = clipped_sum(&mut run, step);
        assert!(norms.iter().any(|norm| *norm > 0.25), "nothing is clipped");
        take(&mut run, step);
        seen.push((step, sum, first_moments(&run)));
    }

    let (key, std) = key(&mut run);
    let decay = f64::from(AdamW::default().beta_1);
    let zeros: Vec<Vec<f32>> = seen[0].2.iter().map(|x| vec![0.0; x.len()]).collect();
    let mut before = &zeros;
    for (step, sum, moments) in &seen {
        assert_eq!(sum.len(), moments.len());
        for (k, sum) in sum.iter().enumerate() {
            assert_eq!(sum.len(), moments[k].len());
            let noise = noise(sum.len(), std, &key, *step, k as u32);
            let mut worst = 0.0f64;
            for (i, sum) in sum.iter().enumerate() {
                // AdamW's first moment is decay m + (1 - decay) g.
                let kept = decay * f64::from(before[k][i]);
                let released = (f64::from(moments[k][i]) - kept) / (1.0 - decay) * BATCH;
                worst = worst.max((released - sum - f64::from(noise[i])).abs());
            }
            // The rounding of f32 sums and of noise that is as large as the clipping norm.
            assert!(worst <= 1e-4, "parameter {k} of step {step}: {worst}");
        }
        before = moments;
    }
}

/// A step that is skipped where nobody was drawn tells that nobody was.
#[test]
fn an_empty_batch_is_charged_and_released_as_noise() {
    let small = Small::new(60, "--batch 1 --microbatch 4 --steps 200 --delta 1e-3");
    let mut run = small.run();
    let step = step_of_size(&mut run, |size| size == 0);
    take(&mut run, step);
    let ledger = inspect(&small.args.out.join(LEDGER)).expect("a ledger");
    let state = ledger.summary.state;
    assert_eq!((state.reservations(), state.commits()), (1, 1));

    let moments = first_moments(&run);
    let (key, std) = key(&mut run);
    let share = 1.0 - AdamW::default().beta_1;
    for (k, moment) in moments.iter().enumerate() {
        let noise = noise(moment.len(), std, &key, step, k as u32);
        let pairs = moment.iter().zip(&noise);
        let worst = pairs.fold(0.0f32, |m, (x, noise)| m.max((x - share * noise).abs()));
        assert!(worst <= 1e-5 * std, "parameter {k}: {worst}");
    }
}

/// The rate that the accountant is told is the sampler's own, of records and of users.
#[test]
fn batches_have_the_rate_that_is_charged() {
    const DRAWS: u64 = 2000;
    let line = "--steps 5 --microbatch 8 --delta 1e-4 --batch";
    for small in [
        Small::new(1000, &format!("{line} 237")),
        Small::of_users(600, &format!("--records-per-user 2 {line} 150")),
    ] {
        let mut run = small.run();
        let guarantee = run.guarantee.as_mut().expect("a private run");
        let paid = guarantee.reserve(0).expect("a ledger");
        let charge = *paid.expect("within the budget").charge();
        let Event::PoissonGaussian { rate, .. } = charge.event else {
            panic!("{charge:?}")
        };
        let units = small.data.units() as f64;
        let sizes = (0..DRAWS).map(|step| run.batches.draw(step).len() as f64);
        let mean = sizes.sum::<f64>() / DRAWS as f64;
        // Six standard errors of a binomial size's mean: a run's key is another each time.
        let fits = |rate: f64| {
            let variance = units * rate * (1.0 - rate) / DRAWS as f64;
            (mean - units * rate).abs() < 6.0 * variance.sqrt()
        };
        assert!(fits(rate), "{mean} of {units} at {rate}");
        // Negative controls: a rate that is 3% off.
        assert!(!fits(0.97 * rate) && !fits(1.03 * rate), "{mean}");
    }
}

/// The sample is secret: nothing that a person says of a run decides it.
#[test]
fn two_starts_of_one_command_draw_different_batches() {
    let draws = || -> Vec<Vec<u32>> {
        let small = Small::new(60, "--batch 6 --steps 20 --delta 1e-3 --seed 3");
        let mut run = small.run();
        (0..20).map(|step| drawn(&mut run, step)).collect()
    };
    assert_ne!(draws(), draws());
}

/// Rows without a record have a gradient of zero, which is within every norm: counted, they would pull the norm down.
#[test]
fn padding_is_not_counted_for_the_clipping_norm() {
    let small = Small::new(
        60,
        "--batch 3 --microbatch 16 --steps 200 --delta 1e-3 --clip 1e-3 --clip-quantile 0.5 --clip-count-std 4",
    );
    let mut run = small.run();
    let step = step_of_size(&mut run, |size| (1..=6).contains(&size));
    let (_, norms) = clipped_sum(&mut run, step);
    let clip = |run: &Run<'_>| run.guarantee.as_ref().expect("a private run").clip();
    let before = clip(&run);
    // So that each record counts as one half below zero.
    assert!(norms.iter().all(|norm| *norm > 2.0 * f64::from(before)));
    let count = -0.5 * norms.len() as f32;
    take(&mut run, step);
    let after = clip(&run);

    let (key, _) = key(&mut run);
    // The counts' number is the last but one: no parameter has it.
    let drawn = noise(2, 4.0, &key, step, u32::MAX - 1)[0];
    let guarantee = run.guarantee.as_ref().expect("a private run");
    let policy = guarantee.plan().adaptive_clip().expect("a quantile");
    let off = |count: f32| (after / policy.next_clip(before, count + drawn) - 1.0).abs();
    assert!(off(count) < 1e-4, "{after} after {before}");
    // The negative control.
    let padding = 0.5 * (16 - norms.len()) as f32;
    assert!(off(count + padding) > 0.1, "{after} after {before}");
}

/// What a run says of its norms is of its shapes: said of what was computed, it would tell whether any batch had a record.
#[test]
fn what_is_said_of_norms_is_the_same_whatever_was_drawn() {
    for small in [
        Small::new(60, "--batch 6 --microbatch 4 --steps 200 --delta 1e-3"),
        Small::of_users(
            60,
            "--records-per-user 2 --batch 6 --microbatch 9 --steps 200 --delta 1e-3",
        ),
    ] {
        let mut run = small.run();
        let said = run.plans();
        // The shapes of Linears in a block, and the head's.
        assert_eq!(said.len(), 5, "{said:?}");
        let step = step_of_size(&mut run, |size| size > 0);
        take(&mut run, step);
        assert_eq!(run.plans(), said);
        let sums = run.sums.as_ref().expect("a private step");
        assert_eq!(sums.plans(), said);
    }
}
