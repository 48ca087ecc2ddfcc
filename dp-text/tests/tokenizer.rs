//! Tokenizers: nothing lost on the way there and back, no special token from text.

use dp_text::rows::Rows;
use dp_text::tokenizer::{Tokenizer, TokenizerError};
use proptest::prelude::*;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, TokenizerImpl};

/// A byte-level BPE in HuggingFace's format, trained here, with the given special tokens.
fn byte_level(specials: &[&str]) -> Vec<u8> {
    let mut trainer = BpeTrainer::builder()
        .vocab_size(400)
        .show_progress(false)
        .special_tokens(
            specials
                .iter()
                .map(|&name| AddedToken::from(name, true))
                .collect(),
        )
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .build();
    let mut tokenizer = TokenizerImpl::<
        BPE,
        tokenizers::NormalizerWrapper,
        ByteLevel,
        tokenizers::PostProcessorWrapper,
        ByteLevel,
    >::new(BPE::default());
    tokenizer.with_pre_tokenizer(Some(ByteLevel::new(false, true, true)));
    tokenizer.with_decoder(Some(ByteLevel::default()));
    let corpus = include_str!("tokenizer.rs").lines();
    tokenizer.train(&mut trainer, corpus).unwrap();
    tokenizer.to_string(false).unwrap().into_bytes()
}

fn json() -> Tokenizer {
    Tokenizer::from_json(&byte_level(&["<pad>", "<bos>", "<eos>"])).unwrap()
}

#[test]
fn bytes_are_bytes() {
    let tokenizer = Tokenizer::Bytes;
    assert_eq!(tokenizer.vocabulary(), 259);
    assert_eq!(tokenizer.encode("aé").unwrap(), [0x61, 0xc3, 0xa9]);
    assert_eq!(
        tokenizer.decode(&[257, 0x61, 0xc3, 258, 999]).unwrap(),
        "a\u{fffd}"
    );
}

#[test]
fn special_tokens_are_found_or_added() {
    let found = json().specials();
    assert_eq!((found.pad, found.bos, found.eos), (0, 1, 2));
    assert_eq!(json().vocabulary(), 400);
    // GPT-2's way: one token for both ends, none for padding.
    let gpt2 = Tokenizer::from_json(&byte_level(&["<|endoftext|>"])).unwrap();
    let added = gpt2.specials();
    assert_eq!((added.bos, added.eos, added.pad), (0, 0, 400));
    assert_eq!(gpt2.vocabulary(), 401);
}

#[test]
fn text_that_spells_a_special_token_stays_text() {
    for tokenizer in [json(), Tokenizer::Bytes] {
        let specials = tokenizer.specials();
        let text = "a <eos> b <bos><pad>";
        let ids = tokenizer.encode(text).unwrap();
        for special in [specials.pad, specials.bos, specials.eos] {
            assert!(!ids.contains(&special), "{ids:?}");
        }
        assert_eq!(tokenizer.decode(&ids).unwrap(), text);
        let ended = [&[specials.bos], &ids[..], &[specials.eos, specials.pad]].concat();
        assert_eq!(tokenizer.decode(&ended).unwrap(), text);
    }
}

/// Settings of the file that would cut, fill or randomise the ids behind our back.
#[test]
fn truncation_padding_and_dropout_of_the_file_are_off() {
    let mut file: serde_json::Value =
        serde_json::from_slice(&byte_level(&["<pad>", "<bos>", "<eos>"])).unwrap();
    file["truncation"] = serde_json::json!(
        {"max_length": 2, "stride": 0, "strategy": "LongestFirst", "direction": "Right"});
    file["padding"] = serde_json::json!({"strategy": {"Fixed": 50}, "direction": "Right",
        "pad_to_multiple_of": null, "pad_id": 0, "pad_type_id": 0, "pad_token": "<pad>"});
    file["model"]["dropout"] = serde_json::json!(0.9);
    let tokenizer = Tokenizer::from_json(file.to_string().as_bytes()).unwrap();
    let text = "the tokenizer is tokenizer";
    assert_eq!(
        tokenizer.encode(text).unwrap(),
        json().encode(text).unwrap()
    );
    assert_eq!(
        tokenizer.encode_all(&[text.into()]).unwrap(),
        [json().encode(text).unwrap()]
    );
}

#[test]
fn bad_files_are_one_line_errors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.json");
    let missing = Tokenizer::from_file(&path).unwrap_err();
    assert!(
        matches!(missing, TokenizerError::Unreadable { .. }),
        "{missing}"
    );
    std::fs::write(&path, "{}").unwrap();
    let invalid = Tokenizer::from_file(&path).unwrap_err();
    assert!(
        matches!(invalid, TokenizerError::InvalidFile { .. }),
        "{invalid}"
    );
    for error in [missing, invalid] {
        let message = error.to_string();
        assert!(
            message.contains("t.json") && !message.contains('\n'),
            "{message}"
        );
    }
}

#[test]
fn fingerprints_tell_files_apart() {
    let other = Tokenizer::from_json(&byte_level(&["<eos>", "<bos>", "<pad>"])).unwrap();
    assert_ne!(json().fingerprint(), other.fingerprint());
    assert_eq!(json().fingerprint(), json().fingerprint());
    assert_eq!(Tokenizer::Bytes.fingerprint(), "bytes");
}

/// The score of a code must count the tokens of the code and not those of the prefix.
#[test]
fn a_completion_starts_at_its_first_token() {
    let tokenizer = json();
    let canary = &dp_text::canary::canaries(1, 1).unwrap()[0];
    let mut rows = Rows::new(1, 64);
    rows.fill_completions(&tokenizer, &[canary.with_code(&canary.code)])
        .unwrap();
    let weighed: Vec<u32> = rows
        .targets
        .iter()
        .zip(&rows.weights)
        .filter(|(_, weight)| **weight == 1.0)
        .map(|(&id, _)| id as u32)
        .collect();
    assert_eq!(weighed.len(), rows.tokens);
    assert_eq!(
        tokenizer.decode(&weighed).unwrap(),
        format!(" {}", canary.code)
    );
}

proptest! {
    #[test]
    fn there_and_back(text in any::<String>()) {
        thread_local!(static JSON: Tokenizer = json());
        JSON.with(|json| {
            for tokenizer in [json, &Tokenizer::Bytes] {
                let ids = tokenizer.encode(&text).unwrap();
                assert!(ids.iter().all(|&id| (id as usize) < tokenizer.vocabulary()));
                assert_eq!(tokenizer.decode(&ids).unwrap(), text);
                assert_eq!(tokenizer.encode_all(std::slice::from_ref(&text)).unwrap(), [ids]);
            }
        });
    }
}
