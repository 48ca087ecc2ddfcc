//! The fuzz target `checkpoint` (`dp-engine/fuzz`) on its seeds and on random bytes, without a fuzzer.

#[path = "../fuzz/checkpoint/mod.rs"]
mod checkpoint;

use std::fs;
use std::path::Path;

#[test]
fn the_seeds_hold() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/checkpoint");
    let mut decoded = 0;
    for entry in fs::read_dir(&folder).expect("the folder of the seeds") {
        let path = entry.expect("an entry").path();
        let bytes = fs::read(&path).expect("a seed");
        // Names the seed beside the panic.
        println!("{}", path.display());
        decoded += u32::from(checkpoint::check(&bytes));
    }
    assert!(decoded >= 20, "{decoded} seeds stand for a folder");
}

#[test]
fn random_bytes_hold() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut decoded = 0;
    for round in 0..2000 {
        let bytes: Vec<u8> = (0..400).map(|_| next(&mut state)).collect();
        println!("round {round}");
        decoded += u32::from(checkpoint::check(&bytes));
    }
    assert!(decoded > 1000, "{decoded} of 2000 stand for a folder");
}

/// One byte of a SplitMix64 generator.
fn next(state: &mut u64) -> u8 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) as u8
}
