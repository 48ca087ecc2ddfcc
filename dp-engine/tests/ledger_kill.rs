//! Kill -9 around appends: what the ledger recovers is never less than what was released, and at most one
//! reservation more for each kill. And the order of system calls that makes this hold when the power fails too.
#![cfg(unix)]

mod common;

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::Child;
use std::time::Duration;

use common::{BUDGET, CHARGE, HEADER, child, create, place};
use dp_core::ledger::{Entry, ProcessId};
use dp_engine::keys::RunKeys;
use dp_engine::ledger::{LedgerContents, LedgerFile, inspect};

/// 1,000 kills in all. A ledger is read after each kill of its own, so many short ledgers take less time than a long one.
const LEDGERS: usize = 10;
const KILLS: usize = 100;
const RELEASE: u64 = 24;

/// What the child does until it is killed: reserve, release, commit, without end.
///
/// A release is [`RELEASE`] bytes at the end of a file, in one system call: the process start and the step. Which order it keeps is told by
/// the environment, so that the test can be seen to find the wrong one. In the wrong order it stays between the
/// two until it is killed: the reservation takes microseconds, and a kill that must land there by chance may miss.
#[test]
fn child_releases_until_killed() {
    let Ok(path) = std::env::var("DPCUBE_TEST_KILLED_LEDGER") else {
        return;
    };
    let release_first = std::env::var("DPCUBE_TEST_ORDER").as_deref() == Ok("release first");
    let path = Path::new(&path);
    let keys = RunKeys::generate().unwrap();
    let start = *keys.process.id();
    let release = |step: u64| [&start[..], &step.to_le_bytes()].concat();
    let mut ledger = if path.exists() {
        LedgerFile::open(path, &HEADER, BUDGET, keys.process)
            .unwrap()
            .0
    } else {
        LedgerFile::create(path, &HEADER, BUDGET, keys.process).unwrap()
    };
    let releases = path.with_file_name("releases");
    let mut releases = OpenOptions::new()
        .create(true)
        .append(true)
        .open(releases)
        .unwrap();
    for step in 0u64.. {
        if release_first {
            releases.write_all(&release(step)).unwrap();
            std::thread::sleep(Duration::from_secs(60));
        }
        let reservation = ledger.reserve(step, CHARGE).unwrap();
        let (_noise, receipt) = keys.noise.for_step(reservation).unwrap();
        if !release_first {
            releases.write_all(&release(step)).unwrap();
        }
        ledger.commit(receipt).unwrap();
    }
}

/// Starts a child, waits for its first release where `from_release` says so, and kills it after `delay`. Returns the reservations then in
/// the ledger and the releases, both over all children so far.
fn kill_one(path: &Path, order: &str, from_release: bool, delay: Duration) -> (u64, u64) {
    let releases = path.with_file_name("releases");
    let count = || fs::metadata(&releases).map_or(0, |metadata| metadata.len() / RELEASE);
    let before = count();
    let variables = [
        ("DPCUBE_TEST_KILLED_LEDGER", path.to_str().unwrap()),
        ("DPCUBE_TEST_ORDER", order),
    ];
    let mut running = child("child_releases_until_killed", &variables)
        .spawn()
        .unwrap();
    while from_release && count() == before {
        assert!(running.try_wait().unwrap().is_none(), "the child gave up");
        std::thread::sleep(Duration::from_micros(100));
    }
    std::thread::sleep(delay);
    kill(&mut running);
    assert_eq!(fs::metadata(&releases).unwrap().len() % RELEASE, 0);
    (inspect(path).unwrap().summary.state.reservations(), count())
}

/// SIGKILL: the process gets no chance to tidy up.
fn kill(child: &mut Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Delays that land all over a step of a few hundred microseconds, without a pattern.
fn delay(i: usize) -> Duration {
    Duration::from_micros((i as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 51)
}

#[test]
fn killed_at_any_point_the_ledger_counts_every_release() {
    let unreleased: u64 = std::thread::scope(|scope| {
        let half = |first: usize| {
            scope.spawn(move || {
                (first..LEDGERS)
                    .step_by(2)
                    .map(killed_again_and_again)
                    .sum()
            })
        };
        let halves = [half(0), half(1)];
        halves.map(|half| half.join().unwrap()).iter().sum::<u64>()
    });
    println!(
        "{unreleased} of {} kills came between a reservation and its release",
        LEDGERS * KILLS
    );
    // Otherwise the kills missed what they are for.
    assert!(unreleased > 0);
}

/// Kills [`KILLS`] children on one ledger. Returns how many reservations have no release in the end.
fn killed_again_and_again(place_in_all: usize) -> u64 {
    let (_directory, path) = place();
    let mut over = 0;
    for i in 0..KILLS {
        // Every fourth is killed somewhere between its own start and its first steps, once there is a ledger to find again.
        let from_release = i % 4 != 1;
        let delay = delay(place_in_all * KILLS + i);
        let (reserved, released) = kill_one(&path, "reserve first", from_release, delay);
        let kills = i as u64 + 1;
        assert!(
            reserved >= released,
            "after {kills} kills {released} releases, {reserved} reserved"
        );
        // At most one more than before, for this kill.
        assert!(
            reserved - released <= over + 1,
            "after {kills} kills {released} releases, {reserved} reserved, {over} over before"
        );
        over = reserved - released;
    }
    let contents = inspect(&path).unwrap();
    let starts = contents.summary.state.starts();
    assert!((KILLS as u64 * 3 / 4..=KILLS as u64).contains(&starts));
    let spent: u64 = contents.spent.iter().map(|spent| spent.1).sum();
    assert_eq!(spent, contents.summary.state.reservations());
    each_release_has_its_reservation(&path, &contents);
    over
}

/// Step by step: in each start, the released steps are the reserved ones, but for at most the last.
fn each_release_has_its_reservation(path: &Path, contents: &LedgerContents) {
    let bytes = fs::read(path.with_file_name("releases")).unwrap();
    let mut released: HashMap<&[u8], Vec<u64>> = HashMap::new();
    for release in bytes.chunks_exact(RELEASE as usize) {
        let (start, step) = release.split_at(16);
        let step = u64::from_le_bytes(step.try_into().unwrap());
        released.entry(start).or_default().push(step);
    }
    let mut reserved: Vec<(ProcessId, Vec<u64>)> = Vec::new();
    for record in &contents.records {
        match record.entry {
            Entry::Start { process } => reserved.push((process, Vec::new())),
            Entry::Reserve { step, .. } => reserved.last_mut().unwrap().1.push(step),
            Entry::Commit { .. } => {}
        }
    }
    for (start, reserved) in reserved {
        let released = released.remove(&start[..]).unwrap_or_default();
        assert!(reserved.starts_with(&released));
        assert!(reserved.len() - released.len() <= 1);
    }
    assert!(
        released.is_empty(),
        "a start released that reserved nothing"
    );
}

/// Negative control: a program that releases before it reserves is found out by the very same check.
#[test]
fn releasing_before_reserving_is_found_out() {
    let (_directory, path) = place();
    let (reserved, released) = kill_one(&path, "release first", true, delay(0));
    assert_eq!((reserved, released), (0, 1));
}

/// Reserves, releases and commits one step.
#[test]
fn child_releases_once() {
    let Ok(path) = std::env::var("DPCUBE_TEST_TRACED_LEDGER") else {
        return;
    };
    let path = Path::new(&path);
    let (mut ledger, _keys) = create(path);
    let reservation = ledger.reserve(0, CHARGE).unwrap();
    fs::write(path.with_file_name("releases"), "RELEASED").unwrap();
    ledger.commit(reservation).unwrap();
    ledger.sync().unwrap();
}

/// A killed process leaves its writes to the system; a power cut does not. So look at the system calls.
#[cfg(target_os = "linux")]
#[test]
fn a_reservation_waits_for_the_disk() {
    let (directory, path) = place();
    let trace = directory.path().join("trace");
    let mut strace = std::process::Command::new("strace");
    strace.args(["-f", "-qq", "-e", "trace=write,fsync,fdatasync", "-o"]);
    strace.arg(&trace).arg(std::env::current_exe().unwrap());
    strace.args(["--exact", "child_releases_once", "--test-threads", "1"]);
    strace.stdout(std::process::Stdio::null());
    let status = strace.env("DPCUBE_TEST_TRACED_LEDGER", &path).status();
    if !status.is_ok_and(|status| status.success()) {
        eprintln!(
            "SKIPPED a_reservation_waits_for_the_disk: strace is missing or may not trace here"
        );
        return;
    }
    let text = fs::read_to_string(&trace).unwrap();
    let call = |line: &str| {
        let (name, rest) = line.split_once(' ')?.1.trim().split_once('(')?;
        assert!(!rest.ends_with("= -1"), "{line}");
        Some(match name {
            "write" if rest.contains("\"DPLEDGER") => "header",
            "write" if rest.contains("\"RELEASED") => "release",
            "write" if rest.contains("\"\\1\\0\\0\\0") => "start",
            "write" if rest.contains("\"\\2\\1\\0\\0") => "reserve",
            "write" if rest.contains("\"\\3\\0\\0\\0") => "commit",
            "fsync" | "fdatasync" => "sync",
            _ => return None,
        })
    };
    let calls: Vec<_> = text.lines().filter_map(call).collect();
    // An empty file, the header and the directory that names it are brought to the disk; then each record.
    let expected = [
        "sync", "header", "sync", "sync", "start", "sync", "reserve", "sync", "release", "commit",
        "sync",
    ];
    assert_eq!(calls, expected, "{text}");
}
