//! What the private update must refuse, without touching its buffers.

use super::super::bench::{Bench, first_difference};
use super::super::{CheckError, Row};
use super::{ADAMW, draw, sgd};
use crate::{KernelError, Updated, noised_update};
use cubecl::std::tensor::TensorHandle;
use dp_core::noise::{Generator, Key};
use dp_core::update::UpdateRule;

pub(super) fn all(bench: &Bench) -> Result<Vec<Row>, CheckError> {
    let key = Key::new([1; 8]);
    let ones = |len: usize| bench.upload(&[len], &vec![1.0; len]);
    let (sum, parameter, moment, short) = (ones(4), ones(4), ones(4), ones(3));
    let ids = bench.upload_u32(&[4], &[1; 4]);
    let ask = |parameter, moments: &[&TensorHandle], copy, std, batch, rule| {
        let updated = Updated {
            sum: &sum,
            parameter,
            moments,
            copy,
        };
        let draw = draw(&key, Generator::ChaCha20, 0, std);
        noised_update(&bench.launch(), &updated, draw, batch, rule, true)
    };
    let two = [&moment, &moment];
    let plain = sgd(0.0, false);
    let time = UpdateRule::AdamW {
        rate: 0.1,
        beta_1: 0.9,
        beta_2: 0.9,
        epsilon: 1e-8,
        weight_decay: 0.0,
        time: 0,
    };
    let number = |answer| matches!(answer, Err(KernelError::Update { .. }));
    let moments = |answer| matches!(answer, Err(KernelError::Moments { .. }));
    let shape = |answer| matches!(answer, Err(KernelError::Shape { .. }));
    let answers = [
        (
            "a short parameter",
            shape(ask(&short, &[], None, 1.0, 1.0, plain)),
        ),
        (
            "a short moment",
            shape(ask(&parameter, &[&short], None, 1.0, 1.0, sgd(0.5, false))),
        ),
        (
            "a short copy",
            shape(ask(&parameter, &[], Some(&short), 1.0, 1.0, plain)),
        ),
        (
            "an integer copy",
            matches!(
                ask(&parameter, &[], Some(&ids), 1.0, 1.0, plain),
                Err(KernelError::ElementType { .. })
            ),
        ),
        (
            "a moment too many",
            moments(ask(&parameter, &two[..1], None, 1.0, 1.0, plain)),
        ),
        (
            "a moment too few",
            moments(ask(&parameter, &two[..1], None, 1.0, 1.0, ADAMW)),
        ),
        (
            "batch 0",
            number(ask(&parameter, &[], None, 1.0, 0.0, plain)),
        ),
        (
            "batch NaN",
            number(ask(&parameter, &[], None, 1.0, f64::NAN, plain)),
        ),
        (
            "momentum 1",
            number(ask(&parameter, &two[..1], None, 1.0, 1.0, sgd(1.0, false))),
        ),
        (
            "time 0",
            number(ask(&parameter, &two, None, 1.0, 1.0, time)),
        ),
        (
            "std -1",
            matches!(
                ask(&parameter, &[], None, -1.0, 1.0, plain),
                Err(KernelError::Noise { .. })
            ),
        ),
    ];
    let mut rows: Vec<Row> = answers
        .into_iter()
        .map(|(what, right)| {
            let failure = (!right).then(|| "another answer".to_owned());
            Row::holds(format!("refusal of {what}"), "f32", "", failure)
        })
        .collect();
    let left = [bench.download(&sum)?, bench.download(&parameter)?].concat();
    let failure = first_difference(&left, &[1.0; 8]);
    rows.push(Row::holds("refusals leave the update", "f32", "", failure));
    Ok(rows)
}
