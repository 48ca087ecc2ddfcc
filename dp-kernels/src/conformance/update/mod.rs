//! The private update against the host's, and its noise against that of [`add_gaussian_noise`], to the bit.

mod refusals;

use super::bench::{Bench, first_difference, relative_error};
use super::data::Stream;
use super::{CheckError, Row};
use crate::{KernelError, Updated, add_gaussian_noise, noised_update, noised_updates};
use cubecl::ir::FloatKind;
use cubecl::std::tensor::TensorHandle;
use dp_core::noise::{GaussianDraw, Generator, Key};
use dp_core::reference::{self, Real};
use dp_core::update::UpdateRule;

/// A multiply-add contracted or not, a division and a root, relative to the largest element.
const BUDGET: f64 = 2e-6;
/// One rounding of a parameter to f16 or bf16, relative to its own size.
const HALF: [(FloatKind, f64); 2] = [(FloatKind::F16, 4.9e-4), (FloatKind::BF16, 3.92e-3)];
const BATCH: f64 = 37.0;

const fn sgd(momentum: f32, nesterov: bool) -> UpdateRule {
    UpdateRule::Sgd {
        rate: 0.5,
        momentum,
        nesterov,
        weight_decay: 0.01,
    }
}

const ADAMW: UpdateRule = UpdateRule::AdamW {
    rate: 0.01,
    beta_1: 0.9,
    beta_2: 0.95,
    epsilon: 1e-6,
    weight_decay: 0.1,
    time: 3,
};

const RULES: [UpdateRule; 4] = [sgd(0.0, false), sgd(0.9, false), sgd(0.9, true), ADAMW];

const GENERATORS: [Generator; 2] = [Generator::ChaCha20, Generator::Philox4x32x10NotSecure];

/// First element and length: a single one, less than a block, cut at both ends, more than a processor's vectors take,
/// whole vectors.
const RANGES: [(u64, usize); 6] = [
    (0, 1),
    (3, 2),
    (5, 1000),
    (16, 1024),
    ((1 << 32) - 9, 77),
    (16, 0),
];

/// A parameter's buffers on the host.
#[derive(Clone)]
struct State {
    sum: Vec<f64>,
    parameter: Vec<f64>,
    moment_1: Vec<f64>,
    moment_2: Vec<f64>,
}

impl State {
    fn new(bench: &Bench, len: usize) -> Self {
        let mut stream = Stream(len as u64 + 11);
        let mut numbers = |len: usize| -> Vec<f64> {
            let numbers = stream.numbers(len).into_iter();
            numbers.map(|x| bench.round_sum(x)).collect()
        };
        Self {
            sum: numbers(len)
                .iter()
                .map(|x| 20.0 * x)
                .map(|x| bench.round_sum(x))
                .collect(),
            parameter: numbers(len),
            moment_1: numbers(len),
            // Squares, and not near 0, where the quotient would amplify what a root may differ by.
            moment_2: numbers(len)
                .iter()
                .map(|x| bench.round_sum(0.1 + x * x))
                .collect(),
        }
    }

    fn slice(&self, from: usize, to: usize) -> Self {
        let cut = |x: &Vec<f64>| x[from..to].to_vec();
        Self {
            sum: cut(&self.sum),
            parameter: cut(&self.parameter),
            moment_1: cut(&self.moment_1),
            moment_2: cut(&self.moment_2),
        }
    }

    /// How far parameter and moments are from `want`'s, relative to the largest element.
    fn error(&self, want: &Self) -> f64 {
        relative_error(&self.parameter, &want.parameter)
            .max(relative_error(&self.moment_1, &want.moment_1))
            .max(relative_error(&self.moment_2, &want.moment_2))
    }

    fn joined(&self) -> Vec<f64> {
        let Self {
            sum,
            parameter,
            moment_1,
            moment_2,
        } = self;
        [&sum[..], parameter, moment_1, moment_2].concat()
    }
}

struct Call<'a> {
    draw: GaussianDraw<'a>,
    rule: UpdateRule,
    zero_sum: bool,
    copy: Option<&'a TensorHandle>,
}

/// The state after the kernel; moments that the rule does not keep as they were.
fn on_device(bench: &Bench, state: &State, call: &Call<'_>) -> Result<State, CheckError> {
    let len = state.sum.len();
    let [sum, parameter, m1, m2] = [
        &state.sum,
        &state.parameter,
        &state.moment_1,
        &state.moment_2,
    ]
    .map(|values| bench.upload_sums(&[len], values));
    let moments = [&m1, &m2];
    let updated = Updated {
        sum: &sum,
        parameter: &parameter,
        moments: &moments[..call.rule.moments()],
        copy: call.copy,
    };
    noised_update(
        &bench.launch(),
        &updated,
        again(&call.draw),
        BATCH,
        call.rule,
        call.zero_sum,
    )?;
    Ok(State {
        sum: bench.download_sums(&sum)?,
        parameter: bench.download_sums(&parameter)?,
        moment_1: bench.download_sums(&m1)?,
        moment_2: bench.download_sums(&m2)?,
    })
}

fn on_host(bench: &Bench, state: &State, call: &Call<'_>) -> Result<State, CheckError> {
    if bench.is_wide() {
        return updated_on_host(state, call, |x| x);
    }
    updated_on_host(state, call, |x| x as f32)
}

fn updated_on_host<R: Real>(
    state: &State,
    call: &Call<'_>,
    round: fn(f64) -> R,
) -> Result<State, CheckError> {
    let values = [
        &state.sum,
        &state.parameter,
        &state.moment_1,
        &state.moment_2,
    ];
    let mut values = values.map(|x| x.iter().map(|x| round(*x)).collect::<Vec<R>>());
    let [sum, parameter, moment_1, moment_2] = &mut values;
    let moments = call.rule.moments();
    let updated = reference::Updated {
        sum,
        parameter,
        moment_1: if moments > 0 { moment_1 } else { &mut [] },
        moment_2: if moments > 1 { moment_2 } else { &mut [] },
    };
    reference::noised_update(updated, &call.draw, BATCH, call.rule, call.zero_sum)
        .map_err(|error| CheckError::Reference(error.to_string()))?;
    let [sum, parameter, moment_1, moment_2] =
        values.map(|x| x.into_iter().map(R::widen).collect());
    Ok(State {
        sum,
        parameter,
        moment_1,
        moment_2,
    })
}

fn draw(key: &Key, generator: Generator, first_element: u64, std: f32) -> GaussianDraw<'_> {
    GaussianDraw {
        first_element,
        std,
        key,
        generator,
        step: (1 << 33) + 5,
        tensor: 6,
    }
}

/// The same draw once more: the suite compares what one draw makes of two buffers.
fn again<'a>(draw: &GaussianDraw<'a>) -> GaussianDraw<'a> {
    GaussianDraw { ..*draw }
}

/// Parameter and moments near the host's; the sum zeroed if asked, and otherwise its very bits.
pub(super) fn against_host(bench: &Bench) -> Result<Vec<Row>, CheckError> {
    let key = Key::new([3, 1, 4, 1, 5, 9, 2, 6]);
    let mut rows = Vec::new();
    for rule in RULES {
        for generator in GENERATORS {
            for (first, len) in RANGES {
                let state = State::new(bench, len);
                let zero_sum = first != 5;
                let call = |std| Call {
                    draw: draw(&key, generator, first, std),
                    rule,
                    zero_sum,
                    copy: None,
                };
                let (sums, shape) = (
                    bench.sum_name(),
                    format!("{} {generator:?} {first}+{len}", name(rule)),
                );
                let (got, want) = (
                    on_device(bench, &state, &call(3.0))?,
                    on_host(bench, &state, &call(3.0))?,
                );
                let error = got.error(&want);
                rows.push(Row::measured("noised_update", sums, &shape, error, BUDGET));
                let sum = first_difference(&got.sum, &want.sum);
                let what = if zero_sum { "zeroes" } else { "leaves" };
                rows.push(Row::holds(
                    format!("noised_update {what} the sum"),
                    sums,
                    &shape,
                    sum,
                ));
                // The noise differs by f32's last bits from the host's; without it the update is held to its own type.
                let got = on_device(bench, &state, &call(0.0))?;
                let error = got.error(&on_host(bench, &state, &call(0.0))?);
                let op = "noised_update without noise";
                rows.push(Row::measured(op, sums, shape, error, bench.budget(BUDGET)));
            }
        }
    }
    Ok(rows)
}

fn name(rule: UpdateRule) -> &'static str {
    match rule {
        UpdateRule::AdamW { .. } => "AdamW",
        UpdateRule::Sgd { momentum: 0.0, .. } => "SGD",
        UpdateRule::Sgd { nesterov: true, .. } => "SGD Nesterov",
        UpdateRule::Sgd { .. } => "SGD momentum",
    }
}

/// In one pass the bits that noise first and an update without noise after give; whole, and cut into shards. Another tensor's
/// number gives others.
pub(super) fn fused_is_separate(bench: &Bench) -> Result<Vec<Row>, CheckError> {
    let key = Key::new([2, 7, 1, 8, 2, 8, 1, 8]);
    let mut rows = Vec::new();
    // Odd, and in whole vectors until it is cut.
    for ((first, len), generator) in [(3, 901), (16, 1024)]
        .into_iter()
        .flat_map(|range| GENERATORS.map(|generator| (range, generator)))
    {
        let state = State::new(bench, len);
        for rule in RULES {
            let call = |first, std| Call {
                draw: draw(&key, generator, first, std),
                rule,
                zero_sum: true,
                copy: None,
            };
            let mut noised = state.clone();
            noised.sum = separate(bench, &state.sum, &call(first, 3.0).draw)?;
            let want = on_device(bench, &noised, &call(first, 0.0))?;
            let got = on_device(bench, &state, &call(first, 3.0))?;
            let shape = format!("{} {generator:?} {first}+{len}", name(rule));
            let failure = first_difference(&got.joined(), &want.joined());
            let op = "noised_update in one pass";
            rows.push(Row::holds(op, bench.sum_name(), &shape, failure));

            let mut joined = [const { Vec::new() }; 3];
            for ends in [0, 1, 200, 637, len].windows(2) {
                let part = state.slice(ends[0], ends[1]);
                let part = on_device(bench, &part, &call(first + ends[0] as u64, 3.0))?;
                for (all, more) in
                    joined
                        .iter_mut()
                        .zip([part.parameter, part.moment_1, part.moment_2])
                {
                    all.extend(more);
                }
            }
            let whole = [&got.parameter[..], &got.moment_1, &got.moment_2].concat();
            let failure = first_difference(&joined.concat(), &whole);
            let op = "noised_update shards";
            rows.push(Row::holds(op, bench.sum_name(), &shape, failure));

            let mut other = call(first, 3.0);
            other.draw.tensor += 1;
            let other = on_device(bench, &state, &other)?;
            let same = (0..len).filter(|&i| other.parameter[i] == got.parameter[i]);
            let same = same.count();
            let failure = (same > len / 20).then(|| format!("{same} of {len} elements agree"));
            let op = "noised_update of another tensor";
            rows.push(Row::holds(op, bench.sum_name(), shape, failure));
        }
    }
    Ok(rows)
}

/// Several parameters in one call: the bits of one call each, with a draw each; and one that is refused, or has no draw, leaves all.
pub(super) fn many(bench: &Bench) -> Result<Vec<Row>, CheckError> {
    let key = Key::new([3; 8]);
    let states = [300, 7, 1024].map(|len| State::new(bench, len));
    let draws = |count: u32| {
        (6..6 + count).map(|tensor| GaussianDraw {
            tensor,
            ..draw(&key, Generator::ChaCha20, 0, 3.0)
        })
    };
    let mut rows = Vec::new();
    for rule in RULES {
        let mut want = Vec::new();
        for (draw, state) in draws(3).zip(&states) {
            let call = Call {
                draw,
                rule,
                zero_sum: true,
                copy: None,
            };
            want.extend(on_device(bench, state, &call)?.joined());
        }
        let uploaded = states.each_ref().map(|state| {
            let State {
                sum,
                parameter,
                moment_1,
                moment_2,
            } = state;
            [sum, parameter, moment_1, moment_2].map(|x| bench.upload_sums(&[x.len()], x))
        });
        let moments = uploaded.each_ref().map(|[_, _, m1, m2]| [m1, m2]);
        let mut updated: Vec<Updated<'_>> = uploaded
            .iter()
            .zip(&moments)
            .map(|([sum, parameter, ..], moments)| Updated {
                sum,
                parameter,
                moments: &moments[..rule.moments()],
                copy: None,
            })
            .collect();

        let right = updated[2];
        updated[2].parameter = updated[0].parameter;
        let answer = noised_updates(&bench.launch(), &updated, draws(3), BATCH, rule, true);
        let before: Vec<f64> = states.iter().flat_map(State::joined).collect();
        let failure = match answer {
            Err(KernelError::Shape { .. }) => {
                first_difference(&downloaded(bench, &uploaded)?, &before)
            }
            other => Some(format!("answered {other:?}")),
        };
        updated[2] = right;
        let answer = noised_updates(&bench.launch(), &updated, draws(2), BATCH, rule, true);
        let without_a_draw = match answer {
            Err(KernelError::Draws {
                expected: 3,
                actual: 2,
                ..
            }) => first_difference(&downloaded(bench, &uploaded)?, &before),
            other => Some(format!("answered {other:?}")),
        };
        let failure = failure.or(without_a_draw);
        let op = "refusal of one of noised_updates";
        rows.push(Row::holds(op, bench.sum_name(), name(rule), failure));

        noised_updates(&bench.launch(), &updated, draws(4), BATCH, rule, true)?;
        let failure = first_difference(&downloaded(bench, &uploaded)?, &want);
        let op = "noised_updates";
        rows.push(Row::holds(op, bench.sum_name(), name(rule), failure));
    }
    Ok(rows)
}

fn downloaded(bench: &Bench, states: &[[TensorHandle; 4]]) -> Result<Vec<f64>, CheckError> {
    let mut values = Vec::new();
    for buffer in states.as_flattened() {
        values.extend(bench.download_sums(buffer)?);
    }
    Ok(values)
}

fn separate(bench: &Bench, sum: &[f64], draw: &GaussianDraw<'_>) -> Result<Vec<f64>, CheckError> {
    let target = bench.upload_sums(&[sum.len()], sum);
    add_gaussian_noise(&bench.launch(), &target, again(draw))?;
    bench.download_sums(&target)
}

/// The copy is the new parameter, rounded to the type of the inputs; and what is refused.
pub(super) fn copies(bench: &Bench) -> Result<Vec<Row>, CheckError> {
    let key = Key::new([1; 8]);
    let state = State::new(bench, 300);
    let copy = bench.upload_input(&[300], &[9.0; 300]);
    let call = Call {
        draw: draw(&key, Generator::ChaCha20, 3, 1.0),
        rule: ADAMW,
        zero_sum: true,
        copy: Some(&copy),
    };
    let after = on_device(bench, &state, &call)?;
    let got = bench.download_input(&copy)?;
    let error = got
        .iter()
        .zip(&after.parameter)
        .map(|(c, p)| (c / p - 1.0).abs())
        .fold(0.0, f64::max);
    let budget = HALF.iter().find(|(kind, _)| *kind == bench.input);
    let budget = budget.map_or(0.0, |(_, budget)| *budget);
    let op = "noised_update copy";
    let mut rows = vec![Row::measured(op, bench.input_name(), "300", error, budget)];
    rows.extend(refusals::all(bench)?);
    Ok(rows)
}
