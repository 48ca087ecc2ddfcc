//! The ledger file: what is reserved is on the disk, what was spent is never forgotten, what is over is refused.

mod common;

use std::fs;
use std::path::Path;

use common::{BUDGET, CHARGE, HEADER, create, open, place, start, try_open};
use dp_core::accounting::{self, Event};
use dp_core::ledger::{Charge, Fault, HEADER_LEN, Header, OpenReservation, RECORD_LEN, Torn};
use dp_engine::ledger::{LedgerFile, LedgerFileError, Recovery, inspect};
use dp_engine::plan::{Plan, PlanRequest, PrivacyTarget, Unit};

fn run(path: &Path, steps: u64) -> LedgerFile {
    let (mut ledger, _keys) = create(path);
    for step in 0..steps {
        let reservation = ledger.reserve(step, CHARGE).unwrap();
        ledger.commit(reservation).unwrap();
    }
    ledger
}

fn message(error: &LedgerFileError, words: &[&str]) {
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "{text:?} does not say {word:?}");
    }
    assert!(!text.contains('\n'));
}

#[test]
fn spending_is_remembered_over_starts() {
    let (_directory, path) = place();
    drop(run(&path, 5));
    let (mut ledger, recovery) = open(&path);
    assert_eq!(
        recovery,
        Recovery {
            reservations: 5,
            ..Recovery::default()
        }
    );
    assert_eq!(ledger.spent(), [(CHARGE.event, 5)]);
    // A new start may do a step again, which is spent again.
    let reservation = ledger.reserve(4, CHARGE).unwrap();
    ledger.commit(reservation).unwrap();
    assert_eq!(ledger.spent(), [(CHARGE.event, 6)]);
    drop(ledger);
    let contents = inspect(&path).unwrap();
    assert_eq!(contents.spent, [(CHARGE.event, 6)]);
    assert_eq!(contents.records.len(), 2 + 2 * 6);
}

#[test]
fn epsilon_is_the_accountants() {
    let charge = Charge {
        event: Event::PoissonGaussian {
            rate: 0.02,
            sigma: 1.1,
        },
        count: 40,
        ..CHARGE
    };
    let (_directory, path) = place();
    let (mut ledger, _keys) = create(&path);
    drop(ledger.reserve(0, charge).unwrap());
    drop(ledger.reserve(1, charge).unwrap());
    let expected = accounting::epsilon(&[(charge.event, 80)], 1e-5).unwrap();
    assert_eq!(ledger.epsilon(1e-5).unwrap(), expected);
}

#[test]
fn nothing_spent_costs_nothing() {
    let (_directory, path) = place();
    let (ledger, _keys) = create(&path);
    assert_eq!(ledger.epsilon(1e-5).unwrap().upper, 0.0);
}

/// When `reserve` returns, another reader of the file sees the reservation.
#[test]
fn a_reservation_is_in_the_file_before_it_is_had() {
    let (_directory, path) = place();
    let (mut ledger, _keys) = create(&path);
    for step in 0..4 {
        let reservation = ledger.reserve(step, CHARGE).unwrap();
        let seen = inspect(&path).unwrap();
        assert_eq!(seen.summary.state.reservations(), step + 1);
        assert_eq!(seen.summary.state.open().unwrap().step, step);
        ledger.commit(reservation).unwrap();
    }
}

#[test]
fn a_reservation_without_commit_is_spent() {
    let (_directory, path) = place();
    let (mut ledger, _keys) = create(&path);
    drop(ledger.reserve(0, CHARGE).unwrap());
    assert_eq!(ledger.spent(), [(CHARGE.event, 1)]);
    drop(ledger);
    let (ledger, recovery) = open(&path);
    let left_open = Some(OpenReservation {
        sequence: 1,
        step: 0,
    });
    let expected = Recovery {
        unconfirmed: 1,
        reservations: 1,
        left_open,
        torn: None,
    };
    assert_eq!(recovery, expected);
    assert_eq!(ledger.spent(), [(CHARGE.event, 1)]);
}

#[test]
fn one_writer_at_a_time() {
    let (_directory, path) = place();
    let ledger = run(&path, 1);
    let before = fs::read(&path).unwrap();
    let error = try_open(&path).unwrap_err();
    assert!(matches!(error, LedgerFileError::Locked { .. }));
    message(&error, &["ledger.bin", "another process", "wait"]);
    assert_eq!(fs::read(&path).unwrap(), before);
    drop(ledger);
    open(&path);
}

#[test]
fn a_ledger_is_never_replaced() {
    let (_directory, path) = place();
    drop(run(&path, 1));
    let before = fs::read(&path).unwrap();
    let error = LedgerFile::create(&path, &HEADER, BUDGET, start()).unwrap_err();
    assert!(matches!(error, LedgerFileError::Exists { .. }));
    message(&error, &["ledger.bin", "resume"]);
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn another_data_set_or_configuration_is_refused_by_name() {
    let (_directory, path) = place();
    drop(run(&path, 1));
    let before = fs::read(&path).unwrap();
    let refused = |header: Header| LedgerFile::open(&path, &header, BUDGET, start()).unwrap_err();
    let error = refused(Header {
        dataset: [0xD6; 32],
        ..HEADER
    });
    assert!(matches!(error, LedgerFileError::OtherDataset { .. }));
    message(&error, &["data set", &"d5".repeat(32), &"d6".repeat(32)]);
    let users = Unit::User {
        most_records: 4.try_into().unwrap(),
        owners: [7; 32],
    };
    let error = refused(Header {
        unit: users,
        ..HEADER
    });
    message(&error, &["is for one record", "at most 4 records", "0707"]);
    assert!(matches!(error, LedgerFileError::OtherUnit { .. }));
    let error = refused(Header {
        config: [0xC1; 32],
        ..HEADER
    });
    assert!(matches!(error, LedgerFileError::OtherConfig { .. }));
    message(
        &error,
        &["configuration", &"c0".repeat(32), &"c1".repeat(32)],
    );
    assert_eq!(fs::read(&path).unwrap(), before);
}

/// Every state that a crash can leave between two calls: the file as it was before an append and any number of
/// the bytes that it would add.
#[test]
fn every_crash_during_an_append_is_recovered() {
    let (_directory, path) = place();
    drop(run(&path, 3));
    let bytes = fs::read(&path).unwrap();
    for length in HEADER_LEN..=bytes.len() {
        fs::write(&path, &bytes[..length]).unwrap();
        let whole = (length - HEADER_LEN) / RECORD_LEN;
        // Records: start, then reserve and commit in turn. A release follows its reservation.
        let reserved = (whole / 2) as u64;
        let (ledger, recovery) = open(&path);
        assert_eq!(recovery.reservations, reserved, "cut at {length}");
        let rest = (length - HEADER_LEN) % RECORD_LEN;
        let torn = Torn {
            offset: (length - rest) as u64,
            bytes: rest as u64,
        };
        assert_eq!(recovery.torn, (rest > 0).then_some(torn));
        assert_eq!(
            ledger.spent().iter().map(|spent| spent.1).sum::<u64>(),
            reserved
        );
        drop(ledger);
        // The tail is gone from the file, and the new start stands in its place.
        let mended = inspect(&path).unwrap();
        assert_eq!(mended.records.len(), whole + 1);
        assert_eq!(
            fs::read(&path).unwrap()[..length - rest],
            bytes[..length - rest]
        );
    }
}

#[test]
fn a_crash_during_creation_is_recovered_and_other_short_files_are_not() {
    let (_directory, path) = place();
    let header = HEADER.encode();
    for length in 0..HEADER_LEN {
        fs::write(&path, &header[..length]).unwrap();
        let (ledger, recovery) = open(&path);
        assert_eq!(recovery, Recovery::default());
        drop(ledger);
        assert_eq!(inspect(&path).unwrap().records.len(), 1);
    }
    fs::write(&path, &header[..20]).unwrap();
    let other = Header {
        dataset: [1; 32],
        ..HEADER
    };
    let error = LedgerFile::open(&path, &other, BUDGET, start()).unwrap_err();
    assert!(matches!(error, LedgerFileError::Corrupt { .. }));
    fs::write(&path, b"my thesis").unwrap();
    let error = try_open(&path).unwrap_err();
    message(&error, &["ledger.bin", "byte 9", "header is cut"]);
    assert_eq!(fs::read(&path).unwrap(), b"my thesis");
}

/// A crash may have left a header without a durable name, and reservations in a file that a power cut takes away count for nothing. Nobody sees an `fsync`
/// here but where it can't be done: `/proc` holds a name of the ledger, and refuses to bring its directories to a disk.
#[cfg(target_os = "linux")]
#[test]
fn the_name_of_a_ledger_that_is_gone_on_with_is_brought_to_the_disk() {
    use std::os::fd::AsRawFd;

    let (_directory, path) = place();
    drop(run(&path, 2));
    let before = fs::read(&path).unwrap();
    let directory = fs::File::open("/proc/self/fd").unwrap();
    assert!(directory.sync_all().is_err(), "this test sees nothing here");
    let file = fs::File::open(&path).unwrap();
    let name = format!("/proc/self/fd/{}", file.as_raw_fd());
    let error = try_open(Path::new(&name)).unwrap_err();
    message(&error, &["/proc/self/fd", "directory to the disk"]);
    // Nothing was written under a name that may not last.
    assert_eq!(fs::read(&path).unwrap(), before);
    open(&path);
}

#[test]
fn damage_is_refused_with_the_byte_and_left_as_it_is() {
    let (_directory, path) = place();
    drop(run(&path, 3));
    let mut bytes = fs::read(&path).unwrap();
    bytes[HEADER_LEN + 3 * RECORD_LEN + 32] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let error = try_open(&path).unwrap_err();
    message(&error, &["ledger.bin", "byte 512", "checksum", "backup"]);
    assert!(matches!(error, LedgerFileError::Corrupt { source, .. } if source.offset == 512));
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

/// The cap lets exactly those steps through that the accountant finds within the target, counting one by one.
#[test]
fn the_cap_is_the_accountants() {
    let target = PrivacyTarget {
        epsilon: 2.0,
        delta: 1e-6,
    };
    let charge = Charge {
        event: Event::PoissonGaussian {
            rate: 0.02,
            sigma: 1.1,
        },
        ..CHARGE
    };
    let upper = |steps| {
        accounting::epsilon(&[(charge.event, steps)], 1e-6)
            .unwrap()
            .upper
    };
    let allowed = (1..)
        .take_while(|&steps| upper(steps) <= 2.0)
        .last()
        .unwrap();
    assert!((50..5000).contains(&allowed), "{allowed}");

    let (_directory, path) = place();
    let mut ledger = LedgerFile::create(&path, &HEADER, target, start()).unwrap();
    for step in 0..allowed {
        let reservation = ledger.reserve(step, charge).unwrap();
        ledger.commit(reservation).unwrap();
    }
    let before = fs::read(&path).unwrap();
    for _ in 0..2 {
        let error = ledger.reserve(allowed, charge).unwrap_err();
        message(
            &error,
            &[&format!("step {allowed}"), "1e-6", "2.0", "refused"],
        );
        assert!(
            matches!(error, LedgerFileError::OverBudget { with_step, .. } if with_step == upper(allowed + 1))
        );
    }
    drop(ledger);
    assert_eq!(fs::read(&path).unwrap(), before);
    // Nor does a new start buy another step.
    let (mut ledger, _) = LedgerFile::open(&path, &HEADER, target, start()).unwrap();
    let error = ledger.reserve(allowed, charge).unwrap_err();
    assert!(matches!(error, LedgerFileError::OverBudget { .. }));
}

/// What is known about one event must not be used after another was spent.
#[test]
fn the_cap_counts_mixed_events() {
    let target = PrivacyTarget {
        epsilon: 3.0,
        delta: 1e-6,
    };
    let small = Charge {
        event: Event::PoissonGaussian {
            rate: 0.02,
            sigma: 1.1,
        },
        ..CHARGE
    };
    let large = Charge {
        event: Event::Gaussian { sigma: 6.0 },
        count: 2,
        ..CHARGE
    };
    let (_directory, path) = place();
    let mut ledger = LedgerFile::create(&path, &HEADER, target, start()).unwrap();
    let mut step = 0;
    let refusal = loop {
        let charge = if step % 7 == 3 { large } else { small };
        match ledger.reserve(step, charge) {
            Ok(reservation) => ledger.commit(reservation).unwrap(),
            Err(error) => break error,
        }
        assert!(
            ledger.epsilon(1e-6).unwrap().upper <= 3.0,
            "over budget at step {step}"
        );
        step += 1;
    };
    assert!(matches!(refusal, LedgerFileError::OverBudget { with_step, .. } if with_step > 3.0));
    assert!(step > 20);
}

#[test]
fn a_plan_is_allowed_all_its_steps_and_hardly_more() {
    let target = PrivacyTarget {
        epsilon: 1.5,
        delta: 1e-6,
    };
    let request = PlanRequest {
        target,
        unit: Unit::Record,
        units: 5000,
        batch: 64,
        steps: 300,
        clip: 1.0,
        eta: 1e-3,
    };
    let plan = Plan::new(&request).unwrap();
    let (_directory, path) = place();
    let mut ledger = LedgerFile::create(&path, &HEADER, target, start()).unwrap();
    let mut step = 0;
    while step < 400 {
        let Ok(reservation) = ledger.reserve(step, plan.charge()) else {
            break;
        };
        ledger.commit(reservation).unwrap();
        step += 1;
    }
    assert!((300..=302).contains(&step), "{step}");
}

#[test]
fn charges_and_steps_that_break_the_rules_are_refused() {
    let (_directory, path) = place();
    let (mut ledger, _keys) = create(&path);
    let reservation = ledger.reserve(9, CHARGE).unwrap();
    let before = fs::read(&path).unwrap();
    let error = ledger.reserve(9, CHARGE).unwrap_err();
    let fault = Fault::StepRepeated { step: 9, last: 9 };
    assert!(matches!(error, LedgerFileError::Protocol { fault: f, .. } if f == fault));
    for bad in [
        Charge { count: 0, ..CHARGE },
        Charge {
            clip: f64::NAN,
            ..CHARGE
        },
        Charge {
            event: Event::Gaussian { sigma: 0.0 },
            ..CHARGE
        },
    ] {
        let error = ledger.reserve(10, bad).unwrap_err();
        assert!(matches!(
            error,
            LedgerFileError::Protocol {
                fault: Fault::Invalid(_),
                ..
            }
        ));
    }
    // Too little noise for the accountant to speak of: nothing is allowed that has no figure.
    let event = Event::PoissonGaussian {
        rate: 0.5,
        sigma: 1e-6,
    };
    let error = ledger.reserve(10, Charge { event, ..CHARGE }).unwrap_err();
    assert!(matches!(
        error,
        LedgerFileError::Accounting { step: 10, .. }
    ));
    assert_eq!(fs::read(&path).unwrap(), before);
    ledger.commit(reservation).unwrap();
}

#[test]
fn a_reservation_belongs_to_its_ledger() {
    let (_directory, path) = place();
    let (_other_directory, other_path) = place();
    let mut ledger = LedgerFile::create(&path, &HEADER, BUDGET, start()).unwrap();
    let mut other = LedgerFile::create(&other_path, &HEADER, BUDGET, start()).unwrap();
    let reservation = ledger.reserve(0, CHARGE).unwrap();
    let _other = other.reserve(0, CHARGE).unwrap();
    let error = other.commit(reservation).unwrap_err();
    assert!(matches!(
        error,
        LedgerFileError::ForeignReservation { step: 0, .. }
    ));
    // One that a later reservation has superseded stays unconfirmed.
    let late = ledger.reserve(1, CHARGE).unwrap();
    let later = ledger.reserve(2, CHARGE).unwrap();
    let error = ledger.commit(late).unwrap_err();
    assert!(matches!(
        error,
        LedgerFileError::Protocol {
            fault: Fault::NotReserved { .. },
            ..
        }
    ));
    ledger.commit(later).unwrap();
    assert_eq!(
        (ledger.state().reservations(), ledger.state().commits()),
        (3, 1)
    );
}

#[test]
fn an_older_copy_in_its_place_is_found_out() {
    let (_directory, path) = place();
    let mut ledger = run(&path, 3);
    let head = ledger.head();
    ledger.require(&head).unwrap();
    let old = fs::read(&path).unwrap();
    let reservation = ledger.reserve(3, CHARGE).unwrap();
    ledger.commit(reservation).unwrap();
    ledger.require(&head).unwrap();
    let newer = ledger.head();
    drop(ledger);

    fs::write(&path, &old).unwrap();
    let (mut ledger, _) = open(&path);
    ledger.require(&head).unwrap();
    let error = ledger.require(&newer).unwrap_err();
    assert!(matches!(
        error,
        LedgerFileError::RolledBack {
            recorded: 9,
            found: 8,
            ..
        }
    ));
    message(&error, &["ledger.bin", "cut or replaced"]);
    // Nor does it help to fill the old copy up to the same number of records.
    for step in 3..9 {
        let reservation = ledger.reserve(step, CHARGE).unwrap();
        ledger.commit(reservation).unwrap();
    }
    let error = ledger.require(&newer).unwrap_err();
    assert!(matches!(error, LedgerFileError::RolledBack { .. }));
}

#[test]
fn a_ledger_changed_from_outside_releases_nothing_more() {
    let (_directory, path) = place();
    let mut ledger = run(&path, 2);
    let bytes = fs::read(&path).unwrap();
    let changed = |error: &LedgerFileError| matches!(error, LedgerFileError::ChangedOutside { .. });

    fs::write(&path, [&bytes[..], b"x"].concat()).unwrap();
    assert!(changed(&ledger.reserve(2, CHARGE).unwrap_err()));
    fs::write(&path, &bytes[..bytes.len() - RECORD_LEN]).unwrap();
    assert!(changed(&ledger.reserve(2, CHARGE).unwrap_err()));
    fs::write(&path, &bytes).unwrap();
    drop(ledger.reserve(2, CHARGE).unwrap());
    #[cfg(unix)]
    {
        fs::remove_file(&path).unwrap();
        let error = ledger.reserve(3, CHARGE).unwrap_err();
        assert!(changed(&error));
        message(&error, &["ledger.bin", "removed"]);
    }
}

#[test]
fn places_that_cannot_hold_a_ledger_are_named() {
    let (directory, path) = place();
    let missing = directory.path().join("nowhere").join("ledger.bin");
    let error = LedgerFile::create(&missing, &HEADER, BUDGET, start()).unwrap_err();
    message(&error, &["nowhere", "create the ledger", "check the path"]);
    let error = try_open(&path).unwrap_err();
    message(&error, &["ledger.bin", "open the ledger"]);
    fs::create_dir(&path).unwrap();
    assert!(matches!(
        try_open(&path).unwrap_err(),
        LedgerFileError::Io { .. }
    ));
    message(
        &inspect(&path).unwrap_err(),
        &["ledger.bin", "read the ledger"],
    );
}

/// A file-size limit stands for a full disk: the write stops in the middle of a record.
#[cfg(target_os = "linux")]
#[test]
fn a_write_that_stops_half_way_leaves_the_ledger_as_it_was() {
    let (_directory, path) = place();
    if let Ok(path) = std::env::var("DPCUBE_TEST_LIMITED_LEDGER") {
        write_until_full(Path::new(&path));
        return;
    }
    // The header, 27 records and 16 bytes of a reservation fit. The signal that comes with the limit is ignored, so
    // that the write fails with an error, as on a full disk.
    let test = "a_write_that_stops_half_way_leaves_the_ledger_as_it_was";
    let program = std::env::current_exe().unwrap();
    let mut shell = std::process::Command::new("sh");
    shell.args([
        "-c",
        "trap '' XFSZ; exec prlimit --fsize=3600 \"$0\" \"$@\"",
    ]);
    shell.arg(program).args(["--exact", test, "--nocapture"]);
    shell.env("DPCUBE_TEST_LIMITED_LEDGER", &path);
    let output = shell.output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    // The parent, without the limit, goes on where the child stopped.
    let (mut ledger, recovery) = open(&path);
    assert_eq!((recovery.torn, recovery.unconfirmed), (None, 0));
    let reservation = ledger.reserve(1000, CHARGE).unwrap();
    ledger.commit(reservation).unwrap();
}

#[cfg(target_os = "linux")]
fn write_until_full(path: &Path) {
    let (mut ledger, _keys) = create(path);
    let mut done = 0;
    let error = loop {
        let reservation = match ledger.reserve(done, CHARGE) {
            Ok(reservation) => reservation,
            Err(error) => break error,
        };
        ledger.commit(reservation).unwrap();
        done += 1;
    };
    assert_eq!(done, 13);
    message(&error, &["ledger.bin", "append", "choose another place"]);
    assert!(
        matches!(&error, LedgerFileError::Io { source, .. } if source.kind() == std::io::ErrorKind::FileTooLarge)
    );
    assert_eq!(ledger.state().reservations(), done);
    let seen = inspect(path).unwrap();
    assert_eq!(seen.summary.torn, None);
    assert_eq!(seen.summary.state, *ledger.state());
}
