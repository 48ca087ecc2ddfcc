//! The caller's workspace: nothing is allocated, no bit depends on it or on what lay in it, and one that is too small is refused by name.

use super::bench::{Bench, first_difference};
use super::data::{Case, Host};
use super::ops::{NORMS, SUMS};
use super::oracle::Gradient;
use super::{CheckError, Row};
use crate::{
    KernelError, QuantileCounts, Transposes, Updated, Workspace, add_gaussian_noise, clip_factors,
    group_clip_factors, matmul, noised_update, release_hardened, zero_dead_rows,
};
use cubecl::MemoryPoolsReport;

use cubecl::std::tensor::TensorHandle;
use cubecl_environment::stream::StreamId;
use dp_core::clipping::{AdaptiveQuantile, Clipping, GroupClipping};
use dp_core::noise::{GaussianDraw, Generator, Hardened, HardenedDraw, Key};
use dp_core::update::UpdateRule;

/// A shape of several tiles, ragged; of a convolution only the examples count.
const CASE: Case = Case::new(3, 65, 20, 36, 40);

/// What lies in a workspace before a launch: NaN in every float type, and the word of a position outside.
const POISON: u32 = u32::MAX;

/// One launch, and the buffers that it writes for the caller: shape, and what is in them before.
struct Task {
    name: String,
    outs: Vec<(Vec<usize>, Vec<f64>)>,
    /// Whether the buffers are f32 always, and not of the type of the sums.
    f32_only: bool,
    launch: Box<Launching>,
}

type Launching = dyn Fn(&Bench, &[TensorHandle]) -> Result<(), KernelError>;

impl Task {
    fn new(
        name: impl Into<String>,
        outs: &[&[usize]],
        launch: impl Fn(&Bench, &[TensorHandle]) -> Result<(), KernelError> + 'static,
    ) -> Self {
        let start = |shape: &&[usize]| {
            let len = shape.iter().product();
            let values = (0..len).map(|i| (i % 7) as f64 * 0.25 + 0.5).collect();
            (shape.to_vec(), values)
        };
        Self {
            name: name.into(),
            outs: outs.iter().map(start).collect(),
            f32_only: false,
            launch: Box::new(launch),
        }
    }

    /// Launches it on fresh buffers; the launcher's answer, and what is in the buffers then.
    fn run(&self, bench: &Bench) -> Result<(Result<(), KernelError>, Vec<f64>), CheckError> {
        let outs: Vec<TensorHandle> = self
            .outs
            .iter()
            .map(|(shape, values)| match self.f32_only {
                true => bench.upload(shape, &narrow(values)),
                false => bench.upload_sums(shape, values),
            })
            .collect();
        let answer = (self.launch)(bench, &outs);
        let mut values = Vec::new();
        for out in &outs {
            match self.f32_only {
                true => values.extend(bench.download(out)?.into_iter().map(f64::from)),
                false => values.extend(bench.download_sums(out)?),
            }
        }
        Ok((answer, values))
    }

    /// What is in the buffers before.
    fn start(&self) -> Vec<f64> {
        let values = self.outs.iter().flat_map(|(_, values)| values);
        values.copied().collect()
    }
}

/// Every launcher, by every way that has intermediate results of its own.
pub(super) fn all(bench: &Bench) -> Result<Vec<Row>, CheckError> {
    let mut stream = unused_stream(bench)?;
    let mut rows = Vec::new();
    for task in tasks(bench)? {
        let failure = faults(bench, &task, stream)?;
        if failure.is_some() {
            stream = unused_stream(bench)?;
        }
        let op = format!("{} in a workspace", task.name);
        rows.push(Row::holds(op, bench.input_name(), "", failure));
    }
    Ok(rows)
}

/// Whether the pools of a stream never held memory. A runtime may make them with the stream's first launch, all empty.
fn never_held(pools: &[MemoryPoolsReport]) -> bool {
    pools.iter().all(|pools| {
        let all = pools.dynamic.iter();
        all.chain([&pools.persistent, &pools.dedicated])
            .all(|pool| pool.pages_peak == 0 && pool.usage.bytes_reserved == 0)
    })
}

/// A stream whose pools never held memory. There are fewer than ids, so that a new id may meet an old stream.
fn unused_stream(bench: &Bench) -> Result<StreamId, CheckError> {
    (0..256)
        .map(|_| StreamId::allocate())
        .find(|stream| never_held(&stream.executes(|| bench.pools())))
        .ok_or_else(|| CheckError::Device("every stream has held memory".to_owned()))
}

/// What is wrong with the task in a workspace, if anything is.
fn faults(bench: &Bench, task: &Task, unused: StreamId) -> Result<Option<String>, CheckError> {
    let (answer, want) = task.run(bench)?;
    answer?;
    let growing = bench
        .with_workspace(Workspace::growing())
        .with_data_on(StreamId::current());
    let (answer, got) = task.run(&growing)?;
    answer?;
    if let Some(difference) = first_difference(&got, &want) {
        return Ok(Some(format!("in a growing workspace {difference}")));
    }
    if let Some(fault) = second_run(&growing, task, &want, unused)? {
        return Ok(Some(fault));
    }
    match growing.workspace().map_or(0, Workspace::bytes) {
        0 => Ok(None),
        needed => in_buffers(bench, task, &want, needed),
    }
}

/// After the warm-up: the runtime is not asked for memory, and the bits stay.
///
/// A stream has pools of its own. On one that never held memory, with the inputs on another stream, any memory that is asked for shows, even
/// where it is given back at once.
fn second_run(
    warm: &Bench,
    task: &Task,
    want: &[f64],
    unused: StreamId,
) -> Result<Option<String>, CheckError> {
    let allocations = || warm.workspace().map_or(0, Workspace::allocations);
    let grown = allocations();
    let (answer, got, pools) = unused.executes(|| {
        let (answer, got) = task.run(warm)?;
        Ok::<_, CheckError>((answer, got, warm.pools()))
    })?;
    answer?;
    let grown = allocations() - grown;
    if grown > 0 {
        return Ok(Some(format!(
            "the workspace grew {grown} times after the warm-up"
        )));
    }
    if !never_held(&pools) {
        return Ok(Some(format!(
            "memory was asked for after the warm-up: pools {pools:?}"
        )));
    }
    let difference = first_difference(&got, want);
    Ok(difference.map(|difference| format!("run again {difference}")))
}

/// In a buffer of the caller's that holds nonsense, and in one that is a byte too small.
fn in_buffers(
    bench: &Bench,
    task: &Task,
    want: &[f64],
    needed: u64,
) -> Result<Option<String>, CheckError> {
    let nonsense = vec![POISON; needed.div_ceil(4) as usize];
    let buffer = bench.upload_u32(&[nonsense.len()], &nonsense);
    let exact = bench.with_workspace(Workspace::in_buffer(buffer.handle.clone()));
    let (answer, got) = task.run(&exact)?;
    answer?;
    if let Some(difference) = first_difference(&got, want) {
        return Ok(Some(format!("in a workspace of nonsense {difference}")));
    }

    let buffer = bench.upload_u32(&[nonsense.len()], &nonsense);
    let short = buffer.handle.clone().offset_end(1);
    let (answer, got) = task.run(&bench.with_workspace(Workspace::in_buffer(short)))?;
    match answer {
        Err(KernelError::WorkspaceTooSmall {
            needed: named,
            available,
            ..
        }) if named == needed && available == needed - 1 => {}
        other => return Ok(Some(format!("a byte too small: answered {other:?}"))),
    }
    if bench.download_u32(&buffer)? != nonsense {
        return Ok(Some(
            "a byte too small: the workspace was written".to_owned(),
        ));
    }
    let difference = first_difference(&got, &task.start());
    Ok(difference.map(|difference| format!("a byte too small: {difference}")))
}

fn narrow(values: &[f64]) -> Vec<f32> {
    values.iter().map(|v| *v as f32).collect()
}

fn tasks(bench: &Bench) -> Result<Vec<Task>, CheckError> {
    let mut tasks = Vec::new();
    for op in NORMS {
        let host = host(bench, op.gradient);
        let launch =
            move |bench: &Bench, outs: &[TensorHandle]| (op.launch)(bench, &host, &outs[0]);
        tasks.push(Task::new(op.name, &[&[CASE.b]], launch));
    }
    for op in SUMS {
        let host = host(bench, op.gradient);
        let shape = op.gradient.shape(CASE);
        let launch =
            move |bench: &Bench, outs: &[TensorHandle]| (op.launch)(bench, &host, &outs[0]);
        tasks.push(Task::new(op.name, &[&shape], launch));
    }
    tasks.extend(clipping()?);
    tasks.extend(release()?);
    tasks.push(Task::new(
        "matmul transposed",
        &[&[2, 24, 40]],
        |bench, outs| {
            let lhs = bench.upload_sums(&[2, 24, 60], &Host::new(CASE, 5).a[..2 * 24 * 60]);
            let rhs = bench.upload_sums(&[2, 40, 60], &Host::new(CASE, 6).g[..2 * 40 * 60]);
            let routine = bench.tuning().routine;
            matmul(
                &bench.launch(),
                &lhs,
                &rhs,
                &outs[0],
                Transposes::RHS,
                routine,
            )
        },
    ));
    Ok(tasks)
}

fn host(bench: &Bench, gradient: Gradient) -> Host {
    bench.host(CASE, gradient.shape(CASE).len() as u64)
}

/// Norms and a mask of four examples, and two groups' clipping norms.
const NORMS_SQ: [f64; 8] = [0.5, 4.0, 9.0, 0.0, 2.0, 1.0, 100.0, 0.25];
const MASK: [f32; 4] = [1.0, 1.0, 0.0, 1.0];
const CLIPS: [f32; 2] = [1.0, 0.75];

fn clipping() -> Result<Vec<Task>, CheckError> {
    let refused = |error: &dyn std::fmt::Display| CheckError::Reference(error.to_string());
    let policy = AdaptiveQuantile::new(0.5, 0.2, 0.75, 32.0, 2).map_err(|error| refused(&error))?;
    let groups = GroupClipping::flat(&CLIPS).map_err(|error| refused(&error))?;
    let on_device = |bench: &Bench| {
        let norms_sq = bench.upload_sums(&[2, 4], &NORMS_SQ);
        (norms_sq, bench.upload(&[4], &MASK))
    };
    Ok(vec![
        Task::new("clip_factors", &[&[4]], |bench, outs| {
            let norms_sq = bench.upload_sums(&[4], &NORMS_SQ[..4]);
            let mask = bench.upload(&[4], &MASK);
            let flat = Clipping::Flat { clip: 1.0 };
            clip_factors(&bench.launch(), &norms_sq, &mask, &outs[0], flat)
        }),
        Task::new("zero_dead_rows", &[&[4, 3]], |bench, outs| {
            let factors = bench.upload_sums(&[4], &MASK.map(f64::from));
            zero_dead_rows(&bench.launch(), &outs[0], &factors)
        }),
        Task::new("group_clip_factors", &[&[2, 4]], move |bench, outs| {
            let (norms_sq, mask) = on_device(bench);
            group_clip_factors(&bench.launch(), &norms_sq, &mask, &outs[0], groups)
        }),
        Task {
            // What the new counts are set to, before a microbatch is added.
            outs: vec![(vec![3], vec![0.0; 3])],
            f32_only: true,
            ..Task::new("QuantileCounts", &[], move |bench, outs| {
                let ((norms_sq, mask), launch) = (on_device(bench), &bench.launch());
                let mut counts = QuantileCounts::in_buffer(launch, policy, outs[0].clone())?;
                counts.add(launch, &norms_sq, &mask, &norms_sq, &CLIPS)?;
                let key = Key::new([7; 8]);
                counts.release(launch, draw(&key, 0, 1.0)).map(|_| ())
            })
        },
    ])
}

fn release() -> Result<Vec<Task>, CheckError> {
    let plan = Hardened::plan(1.0, 1.0, 0.0, 1, -10)
        .map_err(|error| CheckError::Reference(error.to_string()))?;
    let sgd = UpdateRule::Sgd {
        rate: 0.5,
        momentum: 0.0,
        nesterov: false,
        weight_decay: 0.01,
    };
    let adamw = UpdateRule::AdamW {
        rate: 0.01,
        beta_1: 0.9,
        beta_2: 0.95,
        epsilon: 1e-6,
        weight_decay: 0.1,
        time: 3,
    };
    let update = |name: &str, rule: UpdateRule| {
        Task::new(name, &[[1000].as_slice(); 4], move |bench, outs| {
            let key = Key::new([5; 8]);
            let moments = [&outs[2], &outs[3]];
            let updated = Updated {
                sum: &outs[0],
                parameter: &outs[1],
                moments: &moments[..rule.moments()],
                copy: None,
            };
            noised_update(
                &bench.launch(),
                &updated,
                draw(&key, 3, 0.5),
                37.0,
                rule,
                true,
            )
        })
    };
    Ok(vec![
        Task::new("add_gaussian_noise", &[&[1000]], |bench, outs| {
            let key = Key::new([1; 8]);
            add_gaussian_noise(&bench.launch(), &outs[0], draw(&key, 5, 1.5))
        }),
        Task::new("release_hardened", &[&[100]], move |bench, outs| {
            let key = Key::new([2; 8]);
            let draw = HardenedDraw {
                first_element: 5,
                plan,
                key: &key,
                step: 1,
                tensor: 0,
            };
            release_hardened(&bench.launch(), &outs[0], draw)
        }),
        update("noised_update SGD", sgd),
        update("noised_update AdamW", adamw),
    ])
}

fn draw(key: &Key, first_element: u64, std: f32) -> GaussianDraw<'_> {
    GaussianDraw {
        first_element,
        std,
        key,
        generator: Generator::ChaCha20,
        step: 1,
        tensor: 2,
    }
}
