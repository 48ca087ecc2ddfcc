//! Canaries: inventing, planting, and the exposure that fake models of known memory must show.

use std::collections::BTreeSet;
use std::convert::Infallible;

use dp_text::canary::{
    Canary, Completion, Exposure, ExposureError, MOST_CANARIES, canaries, exposure, keeps_codes,
    mean_exposure_of_ignorance, plant,
};
use dp_text::records::Records;
use dp_text::tokenizer::Tokenizer;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

fn measure(canary: &Canary, random: usize, score: impl Fn(&Completion) -> f64) -> Exposure {
    exposure(canary, random, 5, |all| {
        Ok::<_, Infallible>(all.iter().map(score).collect())
    })
    .unwrap()
}

/// The score of a model that knows nothing: a hash of the text.
fn ignorant(completion: &Completion) -> f64 {
    let digest = Sha256::digest(format!("{}{}", completion.prefix, completion.text));
    f64::from(u32::from_le_bytes([
        digest[0], digest[1], digest[2], digest[3],
    ]))
}

#[test]
fn canaries_are_distinct_short_and_repeatable() {
    let all = canaries(MOST_CANARIES, 7).unwrap();
    let set = |part: fn(&Canary) -> String| all.iter().map(part).collect::<BTreeSet<_>>().len();
    let name = |canary: &Canary| canary.prefix.split(" of ").next().unwrap().to_owned();
    assert_eq!(set(name), all.len());
    assert_eq!(set(|canary| canary.code.clone()), all.len());
    for canary in &all {
        assert!(canary.text().len() <= 60, "{}", canary.text());
        assert!(canary.code.len() == 6 && canary.code.bytes().all(|byte| byte.is_ascii_digit()));
        let with_own = canary.with_code(&canary.code);
        assert_eq!(with_own.prefix + &with_own.text, canary.text());
    }
    assert_eq!(canaries(8, 7).unwrap(), canaries(8, 7).unwrap());
    assert_ne!(canaries(8, 7).unwrap(), canaries(8, 8).unwrap());
    assert_eq!(
        canaries(MOST_CANARIES + 1, 7).unwrap_err().asked,
        MOST_CANARIES + 1
    );
}

#[test]
fn planting_adds_every_copy_and_loses_nothing() {
    let texts: Vec<String> = (0..500).map(|i| format!("record {i}")).collect();
    let patients = canaries(8, 1).unwrap();
    let planted = plant(Records::from_texts(texts.clone()), &patients, 16, 2);
    assert_eq!(planted.records.len(), 500 + 8 * 16);
    for (canary, places) in patients.iter().zip(&planted.places) {
        assert_eq!(places.len(), 16);
        assert!(places.is_sorted());
        assert!(
            places
                .iter()
                .all(|&place| planted.records.texts()[place] == canary.text())
        );
    }
    let taken: BTreeSet<usize> = planted.places.concat().into_iter().collect();
    let rest = (0..planted.records.len()).filter(|place| !taken.contains(place));
    assert!(rest.map(|place| &planted.records.texts()[place]).eq(&texts));
    // Spread over the file: all four quarters hold some.
    let quarters: BTreeSet<usize> = taken.iter().map(|place| place * 4 / 628).collect();
    assert_eq!(quarters.len(), 4);
    assert_eq!(
        plant(Records::from_texts(texts.clone()), &patients, 16, 2),
        planted
    );
    assert_ne!(
        plant(Records::from_texts(texts.clone()), &patients, 16, 3),
        planted
    );
    assert_eq!(
        plant(Records::from_texts(texts.clone()), &[], 16, 3)
            .records
            .texts(),
        texts
    );
    assert_eq!(
        plant(Records::from_texts(texts.clone()), &patients, 0, 3)
            .records
            .texts(),
        texts
    );
}

#[test]
fn a_model_that_knows_has_rank_one() {
    for canary in canaries(8, 3).unwrap() {
        let code = format!(" {}", canary.code);
        let got = measure(&canary, 2047, |candidate| {
            f64::from(u8::from(candidate.text == code))
        });
        assert_eq!(
            got,
            Exposure {
                rank: 1.0,
                codes: 2048,
                exposure: 11.0
            }
        );
        let inverted = measure(&canary, 2047, |c| -f64::from(u8::from(c.text == code)));
        assert_eq!(
            inverted,
            Exposure {
                rank: 2048.0,
                codes: 2048,
                exposure: 0.0
            }
        );
    }
}

/// Under a uniform rank exposure is close to exponential with mean and standard deviation 1.44
/// bits, so the mean of 576 lies within 4 * 1.44 / 24 = 0.24 of it.
#[test]
fn a_model_that_knows_nothing_has_the_mean_exposure_of_ignorance() {
    let wanted = mean_exposure_of_ignorance(512);
    assert!(
        (wanted - 1.0 / std::f64::consts::LN_2).abs() < 0.02,
        "{wanted}"
    );
    assert!((mean_exposure_of_ignorance(2) - 0.5).abs() < 1e-15);
    let all = canaries(MOST_CANARIES, 11).unwrap();
    let mean = |score: &dyn Fn(&Canary, &Completion) -> f64| {
        let sum: f64 = all
            .iter()
            .map(|canary| measure(canary, 511, |c| score(canary, c)).exposure)
            .sum();
        sum / all.len() as f64
    };
    let ignorance = mean(&|_, completion| ignorant(completion));
    assert!((ignorance - wanted).abs() < 0.24, "{ignorance}");
    // Negative control: a model that leans towards the true code by a tenth of the range.
    let leaning = mean(&|canary, completion| {
        let known = completion.text.ends_with(&canary.code);
        ignorant(completion)
            + if known {
                0.1 * f64::from(u32::MAX)
            } else {
                0.0
            }
    });
    assert!(leaning - wanted > 0.24, "{leaning}");
}

#[test]
fn equal_scores_share_their_ranks() {
    let canary = &canaries(1, 3).unwrap()[0];
    let constant = measure(canary, 99, |_| -3.0);
    assert_eq!(constant.rank, 50.5);
    // Minus infinity is a score: an impossible code is the least likely one.
    assert_eq!(measure(canary, 99, |_| f64::NEG_INFINITY).rank, 50.5);
    // Half of the codes tie with the true one from above: even codes score 1.
    let even = |completion: &Completion| completion.text.ends_with(['0', '2', '4', '6', '8']);
    let got = measure(canary, 999, |c| f64::from(u8::from(even(c))));
    let truth_even = even(&canary.with_code(&canary.code));
    assert!(
        if truth_even {
            got.rank < 350.0
        } else {
            got.rank > 650.0
        },
        "{got:?}"
    );
}

#[test]
fn candidates_are_the_truth_and_distinct_others() {
    let patients = canaries(2, 3).unwrap();
    let candidates = |canary: &Canary, seed| {
        let mut seen = Vec::new();
        let scored = exposure(canary, 2047, seed, |all| {
            seen = all.to_vec();
            Ok::<_, Infallible>(vec![0.0; all.len()])
        });
        scored.unwrap();
        seen
    };
    let first = candidates(&patients[0], 1);
    assert_eq!(first[0], patients[0].with_code(&patients[0].code));
    let texts: BTreeSet<&str> = first
        .iter()
        .map(|candidate| candidate.text.as_str())
        .collect();
    assert_eq!(texts.len(), 2048);
    assert!(
        first
            .iter()
            .all(|candidate| candidate.prefix == patients[0].prefix)
    );
    assert_eq!(first, candidates(&patients[0], 1));
    assert_ne!(first[1..], candidates(&patients[0], 2)[1..]);
    assert_ne!(first[1].text, candidates(&patients[1], 1)[1].text);
}

/// Ranked among every code there is, the true one counts once.
#[test]
fn the_truth_is_not_among_the_others() {
    let canary = &canaries(1, 3).unwrap()[0];
    let code = format!(" {}", canary.code);
    let got = measure(canary, 999_999, |c| f64::from(u8::from(c.text == code)));
    assert_eq!((got.rank, got.codes), (1.0, 1_000_000));
}

#[test]
fn broken_scorers_are_errors() {
    let canary = &canaries(1, 3).unwrap()[0];
    let scored = |scores: Vec<f64>| exposure(canary, 3, 1, |_| Ok::<_, Infallible>(scores));
    let nan = scored(vec![0.0, 1.0, f64::NAN, 0.0]).unwrap_err();
    assert!(
        matches!(nan, ExposureError::NotANumber { candidate: 2 }),
        "{nan}"
    );
    let count = scored(vec![0.0; 3]).unwrap_err();
    assert!(
        matches!(
            count,
            ExposureError::Count {
                candidates: 4,
                scores: 3
            }
        ),
        "{count}"
    );
    let failed = exposure(canary, 3, 1, |_| Err("device lost")).unwrap_err();
    assert!(matches!(failed, ExposureError::Scorer("device lost")));
    for asked in [0, 1_000_000] {
        let error = exposure(canary, asked, 1, |_| Ok::<_, Infallible>(vec![])).unwrap_err();
        assert!(
            matches!(error, ExposureError::RandomCodes { .. }),
            "{error}"
        );
    }
}

#[test]
fn reciting_is_the_six_digits_and_no_more() {
    let canary = Canary {
        prefix: "patient A has code".into(),
        code: "048392".into(),
    };
    for yes in [" 048392", "048392", " 048392.", " 048392 and", "048392\n"] {
        assert!(canary.recited_by(yes), "{yes:?}");
    }
    for no in ["", " 04839", " 0483921", " 48392", "x048392", " 048393"] {
        assert!(!canary.recited_by(no), "{no:?}");
    }
}

/// A tokenizer of a model, what cuts words before it, and what puts tokens together behind it.
fn tokenizer(model: Value, cut: Value, decoder: Value) -> Tokenizer {
    let file = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": cut, "post_processor": null, "decoder": decoder, "model": model,
    });
    Tokenizer::from_json(file.to_string().as_bytes()).unwrap()
}

/// A tokenizer of single characters, without an unknown token: it leaves out those it lacks.
fn characters(lacks: &str, decoder: Value) -> Tokenizer {
    let known = (' '..='~').filter(|character| !lacks.contains(*character));
    let vocabulary: Map<String, Value> = known
        .enumerate()
        .map(|(id, character)| (character.to_string(), id.into()))
        .collect();
    let model = json!({"type": "BPE", "vocab": vocabulary, "merges": []});
    tokenizer(model, Value::Null, decoder)
}

/// With a tokenizer that has one token for all codes, or none, a model that knows them by heart would seem to know nothing.
#[test]
fn tokenizers_that_lose_codes_are_found_out() {
    let patients = canaries(3, 1).unwrap();
    let whole = json!({"type": "Fuse"});
    assert!(keeps_codes(&Tokenizer::Bytes, &patients));
    assert!(keeps_codes(&characters("", whole.clone()), &patients));

    let words = json!({"type": "WordLevel", "vocab": {"[UNK]": 0, "patient": 1, "code": 2}, "unk_token": "[UNK]"});
    let words = tokenizer(words, json!({"type": "Whitespace"}), Value::Null);
    let text = |code: &str| patients[0].prefix.clone() + " " + code;
    assert_eq!(
        words.encode(&text("000000")).unwrap(),
        words.encode(&text("123456")).unwrap()
    );
    for lossy in [
        words,
        characters("0123456789", whole.clone()),
        // One digit that no code of these patients need have.
        characters("7", whole),
        // Digits come back, with blanks between them: no code would ever be recited.
        characters("", Value::Null),
    ] {
        assert!(!keeps_codes(&lossy, &patients));
        assert!(keeps_codes(&lossy, &[]));
    }
}
