//! `dpcube ledger` of runs that have no ledger.

mod common;

use std::fs;

use common::{Place, assert_done, assert_refused, dpcube, run};

/// A run without privacy never had a ledger, which is no file that lacks; one that was private has lost it.
#[test]
fn a_run_without_a_ledger_says_why() {
    let place = Place::new(120);
    let plain = ["--non-private", "--steps", "1"];
    assert_done(&run(&mut place.train("plain", &plain)));
    let private = ["--steps", "1", "--delta", "1e-3"];
    assert_done(&run(&mut place.train("private", &private)));
    fs::remove_file(place.path("private/ledger.bin")).expect("a ledger");
    // By the checkpoint, and without it by what the run said at its end.
    for has_checkpoint in [true, false] {
        for (name, says) in [
            ("plain", "it was trained with --non-private"),
            ("private", "restore it from a backup"),
        ] {
            if !has_checkpoint {
                let checkpoint = place.path(name).join("checkpoint");
                fs::remove_dir_all(checkpoint).expect("a checkpoint");
            }
            for query in ["show", "verify", "export"] {
                let output = run(dpcube().args(["ledger", query]).arg(place.path(name)));
                assert_refused(&output, says);
                assert_refused(&output, name);
                assert!(output.stdout.is_empty(), "{output:?}");
            }
        }
    }
    // Of a folder without either nothing is known.
    fs::create_dir(place.path("empty")).expect("a folder");
    let output = run(dpcube().args(["ledger", "show"]).arg(place.path("empty")));
    assert_refused(&output, "cannot read the ledger");
}
