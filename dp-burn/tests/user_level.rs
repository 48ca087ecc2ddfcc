//! Private gradients of users: several rows as one example, against a loop over the users.

mod common;

use burn::optim::GradientsParams;
use burn::tensor::Device;
use common::{CONTEXT, Rows, VOCABULARY, cases, devices, keeps_all, model, relative, rows, values};
use dp_burn::{ModelConfig, PrivacyError, PrivateGradients, Tape, Transformer};
use dp_core::clipping::Clipping;
use dp_kernels::{LinearNorm, Planner};
use proptest::prelude::*;

const CLIP: f32 = 0.7;
/// Rows of a user.
const K: usize = 3;

/// Rows of users who have so many records each, the rest of their rows empty; each user's loss is the mean over their records.
fn users(records: &[usize]) -> Rows {
    let mut all = rows(records.len() * K);
    for (user, &records) in records.iter().enumerate() {
        for row in 0..K {
            let places = (user * K + row) * CONTEXT..(user * K + row + 1) * CONTEXT;
            let share = if row < records {
                1.0 / records as f32
            } else {
                0.0
            };
            all.weights[places]
                .iter_mut()
                .for_each(|weight| *weight *= share);
        }
    }
    all.mask = vec![1.0; records.len()];
    all
}

/// The rows of one user.
fn user(rows: &Rows, user: usize) -> Rows {
    let places = user * K * CONTEXT..(user + 1) * K * CONTEXT;
    Rows {
        ids: rows.ids[places.clone()].to_vec(),
        targets: rows.targets[places.clone()].to_vec(),
        weights: rows.weights[places].to_vec(),
        mask: rows.mask[user..=user].to_vec(),
    }
}

/// The private way, all users in one microbatch.
fn private(planner: Planner, model: &Transformer, device: &Device, rows: &Rows) -> Vec<Vec<f32>> {
    let clipping = Clipping::Flat { clip: CLIP };
    let mut sums = PrivateGradients::new(model, clipping)
        .planned(planner, LinearNorm::Auto)
        .with_rows_of_example(K);
    let batch = rows.upload(device);
    let mut tape = Tape::private(device);
    let losses = model.losses(&batch, &mut tape).sum();
    sums.add(tape, losses, batch.mask)
        .expect("every layer is private");
    values(model, &sums.without_noise_not_private(1.0))
}

/// One ordinary backward pass over all rows of a user: the gradients of their records, added up.
fn one(model: &Transformer, device: &Device, rows: &Rows) -> Vec<Vec<f32>> {
    let mut tape = Tape::ordinary(device);
    let loss = model.losses(&rows.upload(device), &mut tape).sum();
    values(model, &GradientsParams::from_grads(loss.backward(), model))
}

fn norm(gradient: &[Vec<f32>]) -> f64 {
    let squares = gradient.iter().flatten();
    squares
        .map(|&x| f64::from(x) * f64::from(x))
        .sum::<f64>()
        .sqrt()
}

#[test]
fn the_sum_is_that_of_a_loop_over_users() {
    for (name, device, planner) in cases() {
        let device = device.autodiff();
        let model = model(&device);
        let mut rows = users(&[3, 1, 2, 3, 2]);
        rows.mask[3] = 0.0;
        // One user's records are all the same: their gradients add up in full.
        for place in 0..2 * CONTEXT {
            let place = 6 * CONTEXT + place;
            rows.ids[place] = rows.ids[6 * CONTEXT + place % CONTEXT];
            rows.targets[place] = rows.targets[6 * CONTEXT + place % CONTEXT];
            rows.weights[place] = 0.5 / CONTEXT as f32;
        }

        let mut expected: Vec<Vec<f32>> = Vec::new();
        let mut clipped = 0;
        for u in [0, 1, 2, 4] {
            let gradient = one(&model, &device, &user(&rows, u));
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
        let actual = private(planner, &model, &device, &rows);
        assert_eq!(actual.len(), expected.len());
        for (k, (a, b)) in actual.iter().zip(&expected).enumerate() {
            let error = relative(a, b);
            assert!(error <= 2e-5, "{name}: parameter {k} is off by {error:e}");
        }
    }
}

/// Attention and positions stay within a row: what a user's other rows hold does not reach a record's loss.
#[test]
fn rows_of_a_user_do_not_meet_in_the_forward_pass() {
    for (name, device) in devices() {
        let device = device.autodiff();
        let model = model(&device);
        let rows = users(&[3]);
        let together = losses(&model, &device, &rows);
        for (b, losses_of_row) in together.chunks(CONTEXT).enumerate() {
            let mut alone = rows.clone();
            alone.mask = vec![1.0; K];
            let alone = losses(&model, &device, &alone.row(b));
            assert!(alone.iter().any(|&loss| loss > 0.0));
            for (a, b) in losses_of_row.iter().zip(alone) {
                assert!((a - b).abs() <= 1e-6, "{name}: {a} {b}");
            }
        }
    }
}

/// The weighted loss of each token.
fn losses(model: &Transformer, device: &Device, rows: &Rows) -> Vec<f32> {
    let losses = model.losses(&rows.upload(device), &mut Tape::private(device));
    losses.into_data().try_to_vec().expect("f32")
}

#[test]
fn a_user_does_not_move_their_neighbours() {
    for (name, device, planner) in cases() {
        let device = device.autodiff();
        let model = model(&device);
        let mut a = users(&[3, 2, 3]);
        a.mask = vec![0.0, 1.0, 0.0];
        let mut b = a.clone();
        for place in (0..K * CONTEXT).chain(2 * K * CONTEXT..3 * K * CONTEXT) {
            b.ids[place] = 3;
            b.targets[place] = 1;
        }
        assert_eq!(
            private(planner, &model, &device, &a),
            private(planner, &model, &device, &b),
            "{name}"
        );
    }
}

/// One bad number takes all rows of its user out, and nothing else.
#[test]
fn a_user_that_is_not_finite_contributes_exactly_zero() {
    for (name, device, planner) in cases() {
        let device = device.autodiff();
        let model = model(&device);
        let mut masked = users(&[3, 3, 2]);
        masked.mask[1] = 0.0;
        let without = private(planner, &model, &device, &masked);
        for (row, bad) in [(3, f32::NAN), (4, f32::INFINITY), (5, f32::MAX)] {
            let mut broken = users(&[3, 3, 2]);
            broken.weights[row * CONTEXT] = bad;
            let sums = private(planner, &model, &device, &broken);
            assert_eq!(sums, without, "{name}: {bad}");
        }
    }
}

#[test]
fn rows_that_are_no_whole_number_of_users_are_refused() {
    let Some((_, device)) = devices().into_iter().next() else {
        return;
    };
    let device = device.autodiff();
    let model = model(&device);
    let refused = |rows: &Rows| {
        let clipping = Clipping::Flat { clip: CLIP };
        let mut sums = PrivateGradients::new(&model, clipping).with_rows_of_example(K);
        let batch = rows.upload(&device);
        let mut tape = Tape::private(&device);
        let losses = model.losses(&batch, &mut tape).sum();
        sums.add(tape, losses, batch.mask).unwrap_err()
    };
    let error = refused(&rows(4));
    assert!(
        matches!(
            error,
            PrivacyError::RowsOfExample {
                rows: 4,
                of_example: 3
            }
        ),
        "{error}"
    );
    // A mask of rows in place of one of users.
    let error = refused(&rows(6));
    assert!(
        matches!(error, PrivacyError::Mask { mask: 6, rows: 2 }),
        "{error}"
    );
}

/// Numbers of a user's rows, alike or not.
#[derive(Debug, Clone)]
struct User {
    rows: Rows,
}

fn a_user() -> impl Strategy<Value = User> {
    let places = K * CONTEXT;
    let ids = prop::collection::vec(0..VOCABULARY as i32, places);
    let targets = prop::collection::vec(0..VOCABULARY as i32, places);
    let scale = prop::sample::select(vec![1e-3f32, 1.0, 30.0, 1e4]);
    (ids, targets, 1..=K, any::<bool>(), scale).prop_map(
        move |(ids, targets, records, alike, scale)| {
            // Records that are all the same add up in full: the products between them are most of the norm.
            let from = |values: &[i32]| -> Vec<i32> {
                let source = |at: usize| if alike { at % CONTEXT } else { at };
                (0..places).map(|at| values[source(at)]).collect()
            };
            let weight = |at: usize| if at / CONTEXT < records { scale } else { 0.0 };
            let rows = Rows {
                ids: from(&ids),
                targets: from(&targets),
                weights: (0..places).map(weight).collect(),
                mask: vec![1.0],
            };
            User { rows }
        },
    )
}

fn a_model() -> impl Strategy<Value = (ModelConfig, u64)> {
    let sizes = (1usize..3, 1usize..4, 1usize..5, 3usize..40, any::<u64>());
    sizes.prop_map(|(layers, heads, head, hidden, seed)| {
        let config = ModelConfig {
            vocabulary: VOCABULARY,
            context: CONTEXT,
            layers,
            width: heads * head * 4,
            heads,
            hidden,
        };
        (config, seed)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// One user alone never has more than the clipping norm, whatever the model and the records.
    #[test]
    fn one_user_never_adds_more_than_the_clipping_norm((config, seed) in a_model(), user in a_user()) {
        let Some((_, device)) = devices().into_iter().next() else {
            return Ok(());
        };
        let device = device.autodiff();
        let model = Transformer::new(&config, seed, &device);
        let gradient = norm(&one(&model, &device, &user.rows));
        for planner in [Planner::by_rule(), keeps_all()] {
            let sum = private(planner, &model, &device, &user.rows);
            let alone = norm(&sum);
            prop_assert!(alone <= f64::from(CLIP) * (1.0 + 1e-4), "a user adds {alone}");
            // Nor is a gradient above the norm cut to less.
            let expected = gradient.min(f64::from(CLIP));
            prop_assert!((alone / expected - 1.0).abs() < 1e-3, "{alone} of {gradient}");
        }
    }
}
