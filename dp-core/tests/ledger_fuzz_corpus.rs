//! The fuzz target `ledger` (`dp-core/fuzz`) on its seeds and on random bytes, without a fuzzer.

mod common;
#[path = "../fuzz/ledger/mod.rs"]
mod ledger;

use std::fs;
use std::path::Path;

use common::sized;

#[test]
fn the_seeds_hold() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/ledger");
    let mut decoded = 0;
    let mut seeds: Vec<_> = fs::read_dir(&folder)
        .expect("the folder of the seeds")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    seeds.sort();
    for path in seeds.into_iter().step_by(sized(1, 16)) {
        let bytes = fs::read(&path).expect("a seed");
        // Names the seed beside the panic.
        println!("{}", path.display());
        decoded += u32::from(ledger::check(&bytes));
    }
    assert!(
        decoded >= sized(20, 3),
        "{decoded} seeds stand for a ledger"
    );
}

const ROUNDS: u32 = sized(2000, 6);

#[test]
fn random_bytes_hold() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut decoded = 0;
    for round in 0..ROUNDS {
        let bytes: Vec<u8> = (0..400).map(|_| next(&mut state)).collect();
        println!("round {round}");
        decoded += u32::from(ledger::check(&bytes));
    }
    assert!(
        decoded > ROUNDS / 2,
        "{decoded} of {ROUNDS} stand for a ledger"
    );
}

/// One byte of a SplitMix64 generator.
fn next(state: &mut u64) -> u8 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) as u8
}
