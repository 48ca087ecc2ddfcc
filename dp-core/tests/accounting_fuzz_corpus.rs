//! The fuzz target `accounting` (`dp-core/fuzz`) on its seeds and on random bytes, without a fuzzer.

#[path = "../fuzz/accounting/mod.rs"]
mod accounting;
mod common;

use std::fs;
use std::path::Path;

use common::sized;

/// The seeds that Miri gets: the answers to the others take it many minutes.
const QUICK: [&str; 2] = ["approximate_19_0", "gaussian_0_0"];

#[test]
fn the_seeds_hold() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/accounting");
    let mut decoded = 0;
    for entry in fs::read_dir(&folder).expect("the folder of the seeds") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy();
        if cfg!(miri) && !QUICK.contains(&&*name) {
            continue;
        }
        let bytes = fs::read(&path).expect("a seed");
        // Names the seed beside the panic.
        println!("{}", path.display());
        decoded += u32::from(accounting::check(&bytes));
    }
    assert!(
        decoded >= sized(20, QUICK.len() as u32),
        "{decoded} seeds stand for a run"
    );
}

#[test]
#[cfg_attr(miri, ignore = "most of its runs take Miri many minutes")]
fn random_bytes_hold() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut decoded = 0;
    for round in 0..100 {
        let bytes: Vec<u8> = (0..96).map(|_| next(&mut state)).collect();
        println!("round {round}");
        decoded += u32::from(accounting::check(&bytes));
    }
    assert!(decoded > 50, "{decoded} of 100 stand for a run");
}

/// One byte of a SplitMix64 generator.
fn next(state: &mut u64) -> u8 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) as u8
}
