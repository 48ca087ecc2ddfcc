//! Reads any ledger and looks for a panic, an edit that is accepted, or an account that does not agree with the records.
//!
//! How to run it: docs/fuzzing.md. The seeds in `seeds/ledger` are asked about by dp-core's test `ledger_fuzz_corpus`.
#![no_main]

#[path = "../ledger/mod.rs"]
mod ledger;

use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|bytes: &[u8]| -> Corpus {
    if ledger::check(bytes) {
        Corpus::Keep
    } else {
        Corpus::Reject
    }
});
