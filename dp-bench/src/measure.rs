//! One group: does it fit, is it right, how long does it take.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use crate::{
    Bench, BenchError, Built, Check, Clock, DeviceCeilings, Group, Op, Settings, Verified,
};

/// A sample lasts at least this long, so that a clock's grain and a wait don't show.
const SAMPLE: f64 = 2e-3;
/// The most launches in a sample.
const MOST_LAUNCHES: usize = 512;
/// Fewer samples than this are no row.
const FEWEST: usize = 3;
/// The most sets of buffers, where they are small.
const MOST_SETS: u64 = 64;
/// The working set, in last-level caches.
const CACHES: u64 = 4;
/// At most this much, whatever the cache: a virtual machine may be told of a whole host's, and filling gigabytes would take the time of the rows.
const MOST_WORKING_SET: u64 = 1 << 30;
/// Launches that every row has: one to verify, one to warm up, the fewest samples.
const LAUNCHES: f64 = 2.0 + FEWEST as f64;
/// A row that needs more than this many times its time is left out.
const PATIENCE: f64 = 8.0;

/// What is known of a group's ops.
pub(crate) struct Measurement {
    /// Of each op.
    pub ops: Vec<Found>,
    /// Bytes that the launches went round.
    pub working_set: u64,
    /// What timed them.
    pub clock: Clock,
}

/// What is known of one op.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Found {
    /// Nobody needs it.
    Unwanted,
    /// Not measured, and why.
    LeftOut(String),
    /// Its result is wrong, or there is none.
    Wrong(Verified),
    /// Its result is right.
    Right(Timed),
}

/// The samples of one op: number `i` of every op of the group was taken in round `i`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Timed {
    /// How it was verified.
    pub verified: Verified,
    /// Launches that a sample is the mean of.
    pub launches: usize,
    /// Seconds.
    pub times: Vec<f64>,
}

/// Measures the ops that are `needed`, and stops early where `stop` says so.
pub(crate) fn measure(
    bench: &Bench,
    ceilings: &DeviceCeilings,
    settings: &Settings,
    group: &dyn Group,
    needed: &[bool],
    stop: &dyn Fn() -> bool,
) -> Measurement {
    let ops = group.ops();
    let room = room(bench, group);
    let found = |(op, needed): (&Op, &bool)| match (needed, &room) {
        (false, _) => Found::Unwanted,
        (true, Err(why)) => Found::LeftOut(why.clone()),
        (true, Ok(_)) => match too_slow(op, ceilings, settings.per_row) {
            Some(why) => Found::LeftOut(why),
            None => Found::Wrong(Verified::nothing("not compared")),
        },
    };
    let mut measurement = Measurement {
        ops: ops.iter().zip(needed).map(found).collect(),
        working_set: 0,
        clock: Clock::Wall,
    };
    let pending = |measurement: &Measurement| {
        let wrong = |found: &Found| matches!(found, Found::Wrong(_));
        (0..needed.len())
            .filter(|op| wrong(&measurement.ops[*op]))
            .collect::<Vec<_>>()
    };
    let todo = pending(&measurement);
    let Ok(sets) = room else {
        return measurement;
    };
    if todo.is_empty() {
        return measurement;
    }
    measurement.working_set = sets as u64 * set_bytes(group);
    let built = match guarded(|| group.build(bench, sets)) {
        Ok(built) => built,
        Err(error) => {
            for op in todo {
                let what = format!("its buffers could not be made: {error}");
                measurement.ops[op] = Found::Wrong(Verified::nothing(what));
            }
            return measurement;
        }
    };
    for &op in &todo {
        measurement.ops[op] = if stop() {
            Found::LeftOut("the run was stopped".into())
        } else {
            verify(bench, &*built, op)
        };
    }
    let first = |found: &Found| matches!(found, Found::Right(_));
    let right = measurement.ops.iter().position(first);
    if let Some(op) = right.filter(|_| !group.waits_itself()) {
        let launch = || built.launch(bench, op, 0);
        match guarded(|| Clock::of(bench, launch)) {
            Ok(clock) => measurement.clock = clock,
            Err(error) => measurement.ops[op] = wrong(&error),
        }
    }
    let rounds = Rounds {
        bench,
        built: &*built,
        sets,
        settings,
        clock: measurement.clock,
    };
    rounds.run(&mut measurement.ops, stop);
    measurement
}

/// How many sets of buffers are made, or why there is no room for one.
fn room(bench: &Bench, group: &dyn Group) -> Result<usize, String> {
    let caps = bench.backend.caps();
    let set = set_bytes(group);
    if set > bench.memory {
        return Err(format!(
            "its buffers take {}, more than the {} that it may have",
            bytes(set),
            bytes(bench.memory)
        ));
    }
    for buffer in group.buffers() {
        if buffer.elements > caps.max_elements {
            return Err(format!(
                "a buffer has {} elements, the kernels index {}",
                buffer.elements, caps.max_elements
            ));
        }
        if buffer.bytes > caps.max_buffer {
            return Err(format!(
                "a buffer takes {}, the device allocates {} in one piece",
                bytes(buffer.bytes),
                bytes(caps.max_buffer)
            ));
        }
    }
    if group.waits_itself() {
        return Ok(1);
    }
    let wanted = (CACHES * bench.cache().0)
        .min(MOST_WORKING_SET)
        .div_ceil(set.max(1));
    let most = (bench.memory / set.max(1)).min(MOST_SETS);
    Ok(wanted.min(most).max(1) as usize)
}

fn set_bytes(group: &dyn Group) -> u64 {
    let buffers = group.buffers();
    let total = buffers.iter().map(|buffer| buffer.bytes);
    total.fold(0, u64::saturating_add)
}

fn bytes(count: u64) -> String {
    format!("{:.2} GiB", count as f64 / f64::from(1 << 30))
}

/// Why an op is too slow for its time, by the ceilings alone.
fn too_slow(op: &Op, ceilings: &DeviceCeilings, per_row: Duration) -> Option<String> {
    let (launch, _) = ceilings.least(&op.cost);
    (launch * LAUNCHES > PATIENCE * per_row.as_secs_f64()).then(|| {
        format!(
            "a launch takes at least {launch:.2} s by the ceilings; --seconds-per-row {:.0} has room for it",
            (launch * LAUNCHES / PATIENCE).ceil()
        )
    })
}

fn verify(bench: &Bench, built: &dyn Built, op: usize) -> Found {
    match guarded(|| built.check(bench, op)) {
        Ok(check) => {
            let verified = Verified::of(&check);
            if check.passed() {
                Found::Right(Timed {
                    verified,
                    launches: 1,
                    times: Vec::new(),
                })
            } else {
                Found::Wrong(verified)
            }
        }
        Err(error) => wrong(&error),
    }
}

fn wrong(error: &BenchError) -> Found {
    Found::Wrong(Verified::nothing(error.to_string()))
}

/// A panic of a launcher or a driver as an error: the other rows still run.
fn guarded<T>(run: impl FnOnce() -> Result<T, BenchError>) -> Result<T, BenchError> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let text = text.unwrap_or_else(|| "without a message".to_owned());
        Err(BenchError::Device(format!("with a panic: {text}")))
    })
}

/// The timing: every op once a round, so that what slows the machine slows them all.
struct Rounds<'a> {
    bench: &'a Bench,
    built: &'a dyn Built,
    sets: usize,
    settings: &'a Settings,
    clock: Clock,
}

impl Rounds<'_> {
    fn run(&self, ops: &mut [Found], stop: &dyn Fn() -> bool) {
        let right = |found: &Found| matches!(found, Found::Right(_));
        let mut active: Vec<usize> = (0..ops.len()).filter(|op| right(&ops[*op])).collect();
        active.retain(|op| self.warm(&mut ops[*op], *op));
        let time = self.settings.per_row * active.len() as u32;
        let start = Instant::now();
        for round in 0..self.settings.samples.max(FEWEST) {
            if stop() || (round >= FEWEST && start.elapsed() >= time) {
                break;
            }
            active.retain(|op| self.sample(&mut ops[*op], *op, round));
        }
        for found in ops {
            if let Found::Right(timed) = found
                && timed.times.len() < FEWEST
            {
                *found = Found::LeftOut("the run was stopped before it had three samples".into());
            }
        }
    }

    /// A launch that is not counted, and from its time how many make a sample. Whether the op goes on.
    fn warm(&self, found: &mut Found, op: usize) -> bool {
        let Found::Right(timed) = found else {
            return false;
        };
        let launch = || self.built.launch(self.bench, op, 0);
        let time = || guarded(|| self.clock.time(self.bench, launch));
        let too_long = |seconds: &f64| {
            seconds * FEWEST as f64 > PATIENCE * self.settings.per_row.as_secs_f64()
        };
        // Once more where it took too long: on a machine that is shared one launch says little.
        let first = time();
        let again = match &first {
            Ok(seconds) if too_long(seconds) => time().map(|second| second.min(*seconds)),
            _ => first,
        };
        match again {
            Ok(seconds) => {
                if too_long(&seconds) {
                    let needed = (seconds * FEWEST as f64 / PATIENCE).ceil();
                    *found = Found::LeftOut(format!(
                        "a launch took {seconds:.2} s; --seconds-per-row {needed:.0} has room for it"
                    ));
                    return false;
                }
                let launches = (SAMPLE / seconds.max(1e-9)).ceil() as usize;
                timed.launches = launches.clamp(1, MOST_LAUNCHES);
                true
            }
            Err(error) => {
                *found = wrong(&error);
                false
            }
        }
    }

    fn sample(&self, found: &mut Found, op: usize, round: usize) -> bool {
        let Found::Right(timed) = found else {
            return false;
        };
        let launches = timed.launches;
        let all = || {
            (0..launches).try_for_each(|launch| {
                let set = (round * launches + launch) % self.sets;
                self.built.launch(self.bench, op, set)
            })
        };
        match guarded(|| self.clock.time(self.bench, all)) {
            Ok(seconds) => {
                timed.times.push(seconds / launches as f64);
                true
            }
            Err(error) => {
                *found = wrong(&error);
                false
            }
        }
    }
}

impl Verified {
    /// Where nothing could be compared.
    pub(crate) fn nothing(what: impl Into<String>) -> Self {
        Self {
            ok: false,
            what: what.into(),
            error: None,
            budget: None,
        }
    }

    fn of(check: &Check) -> Self {
        Self {
            ok: check.passed(),
            what: check.what.clone(),
            error: check.error.is_finite().then_some(check.error),
            budget: Some(check.budget),
        }
    }
}
