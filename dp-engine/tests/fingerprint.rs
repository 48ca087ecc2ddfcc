//! Fingerprints tell apart what differs and nothing else.

use dp_engine::fingerprint::{
    DatasetHasher, config_fingerprint, dataset_fingerprint, from_hex, hex,
};
use proptest::prelude::*;
use serde_json::json;

#[test]
fn the_digest_is_frozen() {
    // Computed by an independent program (Python's hashlib): domain, length and bytes of each record, number.
    let digest = dataset_fingerprint(["first record", "", "third"]);
    assert_eq!(hex(&digest), DATASET);
    assert_eq!(
        hex(&config_fingerprint(
            &json!({"b": [1, 2.5, null], "a": "x\"y"})
        )),
        CONFIG
    );
}

const DATASET: &str = "b93e81771ff35af7223c69d3a8fb4372020475400c49c9a0d5ce537aa7fa9556";
const CONFIG: &str = "30646dd14b2d36a020e5c85b1d0ecc0ff0c1d3c61251562dfa59e462017b2b57";

#[test]
fn configurations_differ_by_value_not_by_order() {
    let one = config_fingerprint(&json!({"a": 1, "b": {"c": [1, 2], "d": "x"}}));
    let same = serde_json::from_str(r#"{ "b": {"d": "x", "c": [1, 2]}, "a": 1 }"#).unwrap();
    assert_eq!(config_fingerprint(&same), one);
    for other in [
        json!({"a": 2, "b": {"c": [1, 2], "d": "x"}}),
        json!({"a": 1, "b": {"c": [2, 1], "d": "x"}}),
        json!({"a": 1, "b": {"c": [1, 2]}, "d": "x"}),
        json!({"a": "1", "b": {"c": [1, 2], "d": "x"}}),
        json!({"a": 1, "b": {"c": [[1], 2], "d": "x"}}),
        json!(null),
    ] {
        assert_ne!(config_fingerprint(&other), one, "{other}");
    }
}

proptest! {
    #[test]
    fn data_sets_differ(a: Vec<Vec<u8>>, b: Vec<Vec<u8>>) {
        prop_assert_eq!(dataset_fingerprint(&a) == dataset_fingerprint(&b), a == b);
    }

    /// The same bytes, cut into records elsewhere.
    #[test]
    fn record_bounds_count(bytes in proptest::collection::vec(any::<u8>(), 2..40), cuts: (prop::sample::Index, prop::sample::Index)) {
        let cut = |at: prop::sample::Index| bytes.split_at(at.index(bytes.len() + 1));
        let ((a, b), (c, d)) = (cut(cuts.0), cut(cuts.1));
        prop_assert_eq!(dataset_fingerprint([a, b]) == dataset_fingerprint([c, d]), a == c);
    }

    #[test]
    fn hexadecimal_reads_back(bytes: [u8; 32]) {
        prop_assert_eq!(from_hex(&hex(&bytes)), Some(bytes));
    }
}

#[test]
fn only_lower_case_hexadecimal_of_the_right_length_is_read() {
    assert_eq!(from_hex("00ff"), Some([0, 255]));
    for bad in ["", "00f", "00ff0", "00fF", "+0ff", "0 ff", "zzzz", "é0f"] {
        assert_eq!(from_hex::<2>(bad), None, "{bad}");
    }
}

#[test]
fn the_hasher_counts() {
    let mut hasher = DatasetHasher::new();
    hasher.record(b"a");
    hasher.record(b"");
    assert_eq!(hasher.records(), 2);
    assert_eq!(hasher.finish(), dataset_fingerprint(["a", ""]));
}
