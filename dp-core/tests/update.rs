//! The private update's twin: the noise it adds, the rules it applies, what it refuses.

use dp_core::noise::{GaussianDraw, Generator, Key, fill_gaussian};
use dp_core::reference::{ReferenceError, Updated, add_gaussian_noise, noised_update};
use dp_core::update::{UpdateError, UpdateRule};

const SGD: UpdateRule = UpdateRule::Sgd {
    rate: 1.0,
    momentum: 0.0,
    nesterov: false,
    weight_decay: 0.0,
};

fn draw(key: &Key, std: f32) -> GaussianDraw<'_> {
    GaussianDraw {
        first_element: 5,
        std,
        key,
        generator: Generator::ChaCha20,
        step: 9,
        tensor: 2,
    }
}

/// With rate 1 from weights of 0 the new weights are minus the released gradient: (sum + noise) / batch, the batch a constant.
#[test]
fn what_is_released_is_the_noised_mean() {
    let key = Key::new([4; 8]);
    for (sum, batch) in [(0.0f32, 1.0), (0.5, 8.0)] {
        let mut values = [sum; 40];
        let mut parameter = [0.0; 40];
        let updated = Updated {
            sum: &mut values,
            parameter: &mut parameter,
            moment_1: &mut [],
            moment_2: &mut [],
        };
        noised_update(updated, &draw(&key, 2.0), batch, SGD, true).unwrap();
        let mut noise = [0.0; 40];
        fill_gaussian(&mut noise, 5, 2.0, &key, Generator::ChaCha20, 9, 2).unwrap();
        assert_eq!(parameter, noise.map(|n| -(sum + n) / batch as f32));
        assert_eq!(values, [0.0; 40]);
    }
}

/// An f64 sum is noised as the f32 that it rounds to, with the bits that an f32 sum gets; the rest stays f64.
#[test]
fn f64_is_noised_in_f32_and_kept_otherwise() {
    let key = Key::new([4; 8]);
    let hair = 1.0 / (1u64 << 40) as f64;
    let narrow = [0.3f32; 40];
    let mut wide = narrow.map(|x| f64::from(x) + hair);

    let mut noised = narrow;
    add_gaussian_noise(&mut noised, 5, 2.0, &key, Generator::ChaCha20, 9, 2).unwrap();
    let mut wide_noised = wide;
    add_gaussian_noise(&mut wide_noised, 5, 2.0, &key, Generator::ChaCha20, 9, 2).unwrap();
    assert_eq!(wide_noised, noised.map(f64::from));

    let mut parameter = [1.0 + hair; 40];
    let updated = Updated {
        sum: &mut wide,
        parameter: &mut parameter,
        moment_1: &mut [],
        moment_2: &mut [],
    };
    noised_update(updated, &draw(&key, 2.0), 4.0, SGD, false).unwrap();
    assert_eq!(parameter, wide_noised.map(|x| 1.0 + hair - 0.25 * x));
}

/// Five steps of a rule over two weights, as PyTorch's documentation writes it, in f64.
fn by_the_book(rule: UpdateRule, gradients: &[[f64; 2]]) -> [f64; 2] {
    let (mut p, mut m, mut v) = ([1.0, -0.5], [0.0; 2], [0.0; 2]);
    for (step, gradient) in gradients.iter().enumerate() {
        for i in 0..2 {
            let g = gradient[i];
            match rule {
                UpdateRule::Sgd {
                    rate,
                    momentum,
                    nesterov,
                    weight_decay,
                } => {
                    let g = g + f64::from(weight_decay) * p[i];
                    m[i] = f64::from(momentum) * m[i] + g;
                    let along = if nesterov {
                        g + f64::from(momentum) * m[i]
                    } else {
                        m[i]
                    };
                    p[i] -= f64::from(rate) * along;
                }
                UpdateRule::AdamW {
                    rate,
                    beta_1,
                    beta_2,
                    epsilon,
                    weight_decay,
                    ..
                } => {
                    let [rate, b1, b2, e, d] =
                        [rate, beta_1, beta_2, epsilon, weight_decay].map(f64::from);
                    let t = step as i32 + 1;
                    p[i] -= rate * d * p[i];
                    m[i] = b1 * m[i] + (1.0 - b1) * g;
                    v[i] = b2 * v[i] + (1.0 - b2) * g * g;
                    let root = (v[i] / (1.0 - b2.powi(t))).sqrt();
                    p[i] -= rate * (m[i] / (1.0 - b1.powi(t))) / (root + e);
                }
            }
        }
    }
    p
}

#[test]
fn rules_are_those_of_the_book() {
    let key = Key::new([4; 8]);
    let sgd = |momentum, nesterov| UpdateRule::Sgd {
        rate: 0.3,
        momentum,
        nesterov,
        weight_decay: 0.05,
    };
    let adamw = |time| UpdateRule::AdamW {
        rate: 0.02,
        beta_1: 0.9,
        beta_2: 0.99,
        epsilon: 1e-3,
        weight_decay: 0.4,
        time,
    };
    let gradients: Vec<[f64; 2]> = (0..5)
        .map(|t| [0.25 * f64::from(t) - 0.5, 1.0 / f64::from(t + 1)])
        .collect();
    for rule in [sgd(0.0, false), sgd(0.8, false), sgd(0.8, true), adamw(1)] {
        let (mut p, mut m1, mut m2) = ([1.0f32, -0.5], [0.0f32; 2], [0.0f32; 2]);
        for (step, gradient) in gradients.iter().enumerate() {
            let mut sum = gradient.map(|g| (8.0 * g) as f32);
            let kept = rule.moments();
            let updated = Updated {
                sum: &mut sum,
                parameter: &mut p,
                moment_1: &mut m1[..if kept > 0 { 2 } else { 0 }],
                moment_2: &mut m2[..if kept > 1 { 2 } else { 0 }],
            };
            let rule = match rule {
                UpdateRule::AdamW { .. } => adamw(step as u64 + 1),
                sgd => sgd,
            };
            let before = sum_of(gradient);
            noised_update(updated, &draw(&key, 0.0), 8.0, rule, false).unwrap();
            assert_eq!(sum, before, "left as it was");
        }
        let want = by_the_book(rule, &gradients);
        for i in 0..2 {
            assert!(
                (f64::from(p[i]) - want[i]).abs() < 2e-6,
                "{rule:?}: {p:?} {want:?}"
            );
        }
    }
}

fn sum_of(gradient: &[f64; 2]) -> [f32; 2] {
    gradient.map(|g| (8.0 * g) as f32)
}

#[test]
fn refusals_leave_everything_alone() {
    let key = Key::new([4; 8]);
    let ask = |rule: UpdateRule, batch, std, moments: [usize; 2], parameters: usize| {
        let (mut sum, mut p) = ([1.0f32; 3], vec![1.0f32; parameters]);
        let (mut m1, mut m2) = (vec![1.0f32; moments[0]], vec![1.0f32; moments[1]]);
        let updated = Updated {
            sum: &mut sum,
            parameter: &mut p,
            moment_1: &mut m1,
            moment_2: &mut m2,
        };
        let answer = noised_update(updated, &draw(&key, std), batch, rule, true);
        assert!(answer.is_err());
        let all = [&sum[..], &p, &m1, &m2].concat();
        assert!(all.iter().all(|x| *x == 1.0));
        answer.unwrap_err()
    };
    for batch in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-60, 1e60] {
        assert!(matches!(
            ask(SGD, batch, 1.0, [0, 0], 3),
            ReferenceError::Update(UpdateError::ExpectedBatch { .. })
        ));
    }
    assert!(matches!(
        ask(SGD, 1.0, 1.0, [3, 0], 3),
        ReferenceError::Length { .. }
    ));
    assert!(matches!(
        ask(SGD, 1.0, 1.0, [0, 0], 2),
        ReferenceError::Length { .. }
    ));
    assert!(matches!(
        ask(SGD, 1.0, -1.0, [0, 0], 3),
        ReferenceError::Noise(_)
    ));

    let adamw = |beta_1, beta_2, epsilon, time| UpdateRule::AdamW {
        rate: 0.1,
        beta_1,
        beta_2,
        epsilon,
        weight_decay: 0.0,
        time,
    };
    let number = |name| {
        move |rule| match ask(rule, 1.0, 1.0, [3, 3], 3) {
            ReferenceError::Update(UpdateError::Number { name: got, .. }) => assert_eq!(got, name),
            other => panic!("{other}"),
        }
    };
    number("beta_1")(adamw(1.0, 0.9, 1e-8, 1));
    number("beta_2")(adamw(0.9, f32::NAN, 1e-8, 1));
    number("epsilon")(adamw(0.9, 0.9, 0.0, 1));
    assert_eq!(
        ask(adamw(0.9, 0.9, 1e-8, 0), 1.0, 1.0, [3, 3], 3),
        ReferenceError::Update(UpdateError::Time)
    );
    for (rate, momentum, weight_decay) in
        [(-0.1, 0.5, 0.0), (0.1, 1.0, 0.0), (0.1, 0.5, f32::INFINITY)]
    {
        let rule = UpdateRule::Sgd {
            rate,
            momentum,
            nesterov: true,
            weight_decay,
        };
        ask(rule, 1.0, 1.0, [3, 0], 3);
    }
}
