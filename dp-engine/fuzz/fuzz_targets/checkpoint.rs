//! Loads any folder as a checkpoint and looks for a panic, damage that is accepted, or a changed setting that is not named.
//!
//! How to run it: docs/fuzzing.md. The seeds in `seeds/checkpoint` are asked about by dp-engine's test `checkpoint_fuzz_corpus`.
#![no_main]

#[path = "../checkpoint/mod.rs"]
mod checkpoint;

use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|bytes: &[u8]| -> Corpus {
    if checkpoint::check(bytes) {
        Corpus::Keep
    } else {
        Corpus::Reject
    }
});
