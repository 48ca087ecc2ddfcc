//! The corpus and the tokenizer that the repository ships, as the program uses them.

use std::path::{Path, PathBuf};

use dp_text::canary::{canaries, keeps_codes, plant};
use dp_text::records::{HeldOut, Records};
use dp_text::rows::{Encoded, Rows};
use dp_text::tokenizer::Tokenizer;

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../corpus")
        .join(name)
}

fn corpus() -> Records {
    Records::read(&shipped("wordnet.txt"), None).unwrap()
}

fn tokenizer() -> Tokenizer {
    Tokenizer::from_file(&shipped("tokenizer-4096.json")).unwrap()
}

#[test]
fn the_tokenizer_has_its_vocabulary_and_special_tokens() {
    let tokenizer = tokenizer();
    assert_eq!(tokenizer.vocabulary(), 4096);
    let specials = tokenizer.specials();
    assert_eq!((specials.pad, specials.bos, specials.eos), (0, 1, 2));
}

#[test]
fn every_record_comes_back_as_it_was() {
    let (corpus, tokenizer) = (corpus(), tokenizer());
    assert!(corpus.len() > 10_000);
    assert_eq!(corpus.blank(), 0);
    for (ids, text) in tokenizer
        .encode_all(corpus.texts())
        .unwrap()
        .iter()
        .zip(corpus.texts())
    {
        assert_eq!(&tokenizer.decode(ids).unwrap(), text);
    }
}

/// The way of the data, end to end: no held-out record in training, no canary held out, and a
/// canary whole in its row under both tokenizers.
#[test]
fn canaries_reach_training_whole() {
    let split = HeldOut::new(1).split(corpus()).unwrap();
    let held_out: std::collections::HashSet<&String> = split.held_out.texts().iter().collect();
    assert!(
        split
            .train
            .texts()
            .iter()
            .all(|text| !held_out.contains(text))
    );
    let patients = canaries(8, 1).unwrap();
    assert!(
        patients
            .iter()
            .all(|canary| !held_out.contains(&canary.text()))
    );
    let planted = plant(split.train.clone(), &patients, 16, 1);
    for tokenizer in [Tokenizer::Bytes, tokenizer()] {
        assert!(keeps_codes(&tokenizer, &patients));
        let encoded = Encoded::new(&tokenizer, planted.records.texts(), 64).unwrap();
        let mut rows = Rows::new(16, 64);
        for (canary, places) in patients.iter().zip(&planted.places) {
            let places: Vec<_> = places.iter().copied().map(Some).collect();
            rows.fill(&encoded, &places).unwrap();
            let targets: Vec<u32> = rows.targets[15 * 64..]
                .iter()
                .map(|&id| id as u32)
                .collect();
            assert_eq!(tokenizer.decode(&targets).unwrap(), canary.text());
            rows.fill_completions(&tokenizer, &[canary.with_code("000000")])
                .unwrap();
            // Seven bytes, or at least one token and fewer than that.
            assert!((1..=7).contains(&rows.tokens), "{}", rows.tokens);
        }
    }
}
