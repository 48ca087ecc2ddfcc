//! Ledgers of one data set add up; a copy does not count twice.

mod common;

use std::path::{Path, PathBuf};

use dp_core::accounting::Event;
use dp_core::ledger::{Charge, Header, Unit};
use dp_engine::keys::RunKeys;
use dp_engine::ledger::{LedgerContents, LedgerFile, inspect, spent_by_dataset};

use common::{BUDGET, CHARGE};

const OTHER: Charge = Charge {
    event: Event::PoissonGaussian {
        rate: 0.01,
        sigma: 50.0,
    },
    ..CHARGE
};

fn write(path: &Path, dataset: u8, config: u8, charges: &[Charge]) {
    let header = Header {
        dataset: [dataset; 32],
        config: [config; 32],
        unit: Unit::Record,
    };
    let process = RunKeys::generate().unwrap().process;
    let mut ledger = LedgerFile::create(path, &header, BUDGET, process).unwrap();
    for (step, charge) in charges.iter().enumerate() {
        let reservation = ledger.reserve(step as u64, *charge).unwrap();
        // Every other one is lost in a crash, and spent all the same.
        if step % 2 == 0 {
            ledger.commit(reservation).unwrap();
        }
    }
}

fn read(paths: &[PathBuf]) -> Vec<(PathBuf, LedgerContents)> {
    let read = |path: &PathBuf| (path.clone(), inspect(path).unwrap());
    paths.iter().map(read).collect()
}

#[test]
fn runs_on_one_data_set_compose() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    write(&at("training"), 1, 1, &[CHARGE, CHARGE, OTHER]);
    write(&at("elsewhere"), 2, 1, &[CHARGE]);
    write(&at("tuning"), 1, 2, &[OTHER, CHARGE]);
    let spends = spent_by_dataset(&read(&[at("training"), at("elsewhere"), at("tuning")]));

    assert_eq!(spends.len(), 2);
    assert_eq!(spends[0].dataset, [1; 32]);
    assert_eq!(spends[0].counted, [at("training"), at("tuning")]);
    assert_eq!(spends[0].events, [(CHARGE.event, 3), (OTHER.event, 2)]);
    assert_eq!(spends[1].events, [(CHARGE.event, 1)]);
    assert!(spends.iter().all(|spend| spend.copies.is_empty()));
}

/// A ledger of records and one of users on the same data set are two sums; so are two of different users.
#[test]
fn units_are_summed_apart() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let of = |most_records: u32, owner: u8| Unit::User {
        most_records: most_records.try_into().unwrap(),
        owners: [owner; 32],
    };
    let ledgers = [
        ("records", Unit::Record),
        ("users", of(4, 1)),
        ("others", of(4, 2)),
        ("few", of(1, 1)),
    ];
    for (name, unit) in ledgers {
        let header = Header {
            dataset: [1; 32],
            config: [1; 32],
            unit,
        };
        let process = RunKeys::generate().unwrap().process;
        let mut ledger = LedgerFile::create(&at(name), &header, BUDGET, process).unwrap();
        let _lost = ledger.reserve(0, CHARGE).unwrap();
    }
    let spends = spent_by_dataset(&read(&ledgers.map(|(name, _)| at(name))));
    let counted: Vec<_> = spends.iter().map(|spend| spend.counted.clone()).collect();
    assert_eq!(
        counted,
        [
            vec![at("records")],
            vec![at("users"), at("few")],
            vec![at("others")]
        ]
    );
    assert_eq!(spends[1].unit, of(4, 1));
    assert_eq!(spends[1].events, [(CHARGE.event, 2)]);
}

#[test]
fn a_copy_counts_once() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    write(&at("run"), 1, 1, &[CHARGE, CHARGE]);
    std::fs::copy(at("run"), at("backup")).unwrap();
    let header = Header {
        dataset: [1; 32],
        config: [1; 32],
        unit: Unit::Record,
    };
    // Both go on: the copy is no part of the run any more.
    let process = RunKeys::generate().unwrap().process;
    let (mut ledger, _) = LedgerFile::open(&at("run"), &header, BUDGET, process).unwrap();
    let _lost = ledger.reserve(2, CHARGE).unwrap();
    drop(ledger);
    std::fs::copy(at("run"), at("same")).unwrap();

    let spend = &spent_by_dataset(&read(&[at("backup"), at("run"), at("same")]))[0];
    assert_eq!(spend.counted, [at("run")]);
    assert_eq!(spend.copies, [at("backup"), at("same")]);
    assert_eq!(spend.events, [(CHARGE.event, 3)]);

    let process = RunKeys::generate().unwrap().process;
    let (mut fork, _) = LedgerFile::open(&at("backup"), &header, BUDGET, process).unwrap();
    let _lost = fork.reserve(2, CHARGE).unwrap();
    drop(fork);
    let spend = &spent_by_dataset(&read(&[at("backup"), at("run")]))[0];
    assert_eq!(spend.counted.len(), 2);
    // What both began with is counted with each of them: too much, never too little.
    assert_eq!(spend.events, [(CHARGE.event, 6)]);
}
