//! Asks the accountant about any run and looks for a panic, a NaN, bounds that contradict each other, or no answer in time.
//!
//! From the folder `dp-core`, for five minutes:
//!
//! ```sh
//! cargo install cargo-fuzz
//! mkdir -p fuzz/corpus/accounting
//! RUSTC_BOOTSTRAP=1 cargo fuzz run -s none accounting fuzz/corpus/accounting fuzz/seeds/accounting -- \
//!     -timeout=20 -max_len=256 -max_total_time=300
//! ```
//!
//! `RUSTC_BOOTSTRAP=1` lets the stable compiler take the coverage flags; with a nightly one it isn't needed. No sanitizer:
//! dp-core forbids unsafe code. A finding prints the run as Rust code, and `cargo fuzz tmin -s none accounting FILE` makes it
//! smaller. What was found and mended (`found_*`), and some of every event, is in `seeds/accounting`; dp-core's test
//! `accounting_fuzz_corpus` asks about those again on every machine.
#![no_main]

#[path = "../accounting/mod.rs"]
mod accounting;

use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|bytes: &[u8]| -> Corpus {
    if accounting::check(bytes) {
        Corpus::Keep
    } else {
        Corpus::Reject
    }
});
