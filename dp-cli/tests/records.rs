//! The program on a person's own files: those that are no records, a tokenizer that loses codes, and audits far from the data.

#![cfg(feature = "cpu")]

mod common;

use std::fs;
use std::path::Path;

use common::{Place, assert_done, assert_refused, dpcube, run};

#[test]
fn files_that_are_no_records_are_refused_before_anything_is_written() {
    let place = Place::new(2);
    let object = "one object like {\"text\": \"...\"} a line in a .jsonl file";
    let cases: [(&str, &[u8], &str); 6] = [
        ("notes.csv", b"id,note\n1,\"two\nlines\"\n", object),
        ("pretty.json", b"[\n{\"text\": \"a\"}\n]\n", object),
        ("notes.jsonl.gz", b"\x1f\x8b\x08\0", "unpack it first"),
        (
            "wide.txt",
            b"\xff\xfea\0\n\0b\0\n\0",
            "iconv -f UTF-16 -t UTF-8",
        ),
        ("unmarked.txt", b"a\0\n\0b\0\n\0", "byte 1 (line 1)"),
        (
            "objects.txt",
            b"{\"text\": \"a\"}\n{\"text\": \"b\"}\n",
            "rename the file to .jsonl",
        ),
    ];
    for (name, bytes, named) in cases {
        let path = place.path(name);
        fs::write(&path, bytes).expect("a file");
        let mut command = dpcube();
        command
            .args(["train", "--batch", "1", "--steps", "1", "--data"])
            .arg(&path)
            .arg("--out")
            .arg(place.path("out"));
        let output = run(&mut command);
        assert_refused(&output, name);
        assert_refused(&output, named);
        assert!(!place.path("out").exists(), "{name} left something behind");
    }
}

#[test]
fn canaries_that_could_tell_nothing_are_refused() {
    let place = Place::new(60);
    let words = r#"{
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": {"[UNK]": 0, "record": 1, "note": 2}, "unk_token": "[UNK]"}
    }"#;
    fs::write(place.path("words.json"), words).expect("a file");
    let words = place.path("words.json");
    let words = words.to_str().expect("UTF-8");
    let train = |arguments: &[&str]| {
        let given = ["--non-private", "--steps", "1", "--tokenizer", words];
        run(&mut place.train("out", &[&given[..], arguments].concat()))
    };
    let output = train(&["--canaries", "1"]);
    assert_refused(&output, "words.json");
    assert_refused(&output, "leave out --canaries");
    let output = train(&["--canaries", "600"]);
    assert_refused(&output, "--canaries is 600: plant at most 576");
    assert!(!place.path("out").exists());
    // The negative control: without canaries nothing is wrong with it.
    assert_done(&train(&[]));
}

#[test]
fn an_audit_needs_the_records_of_its_models() {
    let place = Place::new(120);
    let root = place.path("");
    for (out, seed) in [("first", "0"), ("second", "1")] {
        let mut command = dpcube();
        command
            .args(["train", "--data", "notes.txt", "--out", out, "--seed", seed])
            .args(["--non-private", "--steps", "1"])
            .args(["--batch", "8", "--microbatch", "8"])
            .current_dir(&root);
        assert_done(&run(&mut command));
    }
    let elsewhere = place.path("elsewhere");
    fs::create_dir(&elsewhere).expect("a folder");
    let audit = |folder: &Path, arguments: &[&str]| {
        let mut command = dpcube();
        command
            .args(["audit", "model", "--out", "audit"])
            .args(arguments)
            .current_dir(folder);
        run(&mut command)
    };
    let output = audit(&elsewhere, &["--model", "../first"]);
    assert_refused(&output, "\"notes.txt\"");
    assert_refused(&output, "name it by --data");
    let named = ["--model", "../first", "--data", "../notes.txt"];
    assert_done(&audit(&elsewhere, &named));

    let output = audit(&root, &["--model", "first", "--compare", "second"]);
    assert_refused(&output, "trained on other records");
    assert_refused(&output, "\"second\"");
    assert_refused(&output, "\"first\"");
    // The negative control: a model beside itself.
    assert_done(&audit(&root, &["--model", "first", "--compare", "first"]));
}
