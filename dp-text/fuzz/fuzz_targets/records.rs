//! Reads any bytes as records and looks for a panic, a record that is lost, changed or split, or an error that shows one.
//!
//! How to run it: docs/fuzzing.md. The seeds in `seeds/records` are asked about by dp-text's test `records_fuzz_corpus`.
#![no_main]

#[path = "../records/mod.rs"]
mod records;

use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|bytes: &[u8]| -> Corpus {
    if records::check(bytes) {
        Corpus::Keep
    } else {
        Corpus::Reject
    }
});
