//! Rows of fixed shape: shift, cut, padding and weights.

use dp_text::canary::Completion;
use dp_text::rows::{Encoded, Rows, RowsError};
use dp_text::tokenizer::Tokenizer;
use proptest::prelude::*;

const PAD: i32 = 256;
const BOS: i32 = 257;
const EOS: i32 = 258;

fn bytes(text: &str) -> Vec<i32> {
    text.bytes().map(i32::from).collect()
}

#[test]
fn a_short_record_ends_and_is_padded() {
    let texts = ["ab".into(), "abcde".into(), "abcdef".into(), "é!".into()];
    let encoded = Encoded::new(&Tokenizer::Bytes, &texts, 5).unwrap();
    assert_eq!(encoded.cut(), 1);
    assert_eq!(encoded.record(2).unwrap(), b"abcde".map(u32::from));
    assert_eq!((encoded.len(), encoded.record(4)), (4, None));
    let mut rows = Rows::new(6, 5);
    rows.fill(&encoded, &[Some(0), Some(1), Some(2), None, Some(3)])
        .unwrap();
    let row = |values: &[i32], i: usize| values[i * 5..(i + 1) * 5].to_vec();
    let (a, b) = (97, 98);
    assert_eq!(row(&rows.ids, 0), [BOS, a, b, PAD, PAD]);
    assert_eq!(row(&rows.targets, 0), [a, b, EOS, PAD, PAD]);
    assert_eq!(
        rows.weights[..5],
        [1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0, 0.0, 0.0]
    );
    // Exactly the context: nothing is cut, and there is no room for the end.
    assert_eq!(row(&rows.ids, 1), [&[BOS], &bytes("abcd")[..]].concat());
    assert_eq!(row(&rows.targets, 1), bytes("abcde"));
    assert_eq!(rows.weights[5..10], [0.2; 5]);
    // Longer: cut to the same.
    assert_eq!(row(&rows.targets, 2), bytes("abcde"));
    // No record, and a row behind the last one.
    for empty in [3, 5] {
        assert_eq!(row(&rows.ids, empty), [PAD; 5]);
        assert_eq!(rows.weights[empty * 5..(empty + 1) * 5], [0.0; 5]);
    }
    assert_eq!(row(&rows.targets, 4), [0xc3, 0xa9, 33, EOS, PAD]);
    assert_eq!(rows.tokens, 3 + 5 + 5 + 4);
    // Filling again leaves nothing of the old rows.
    rows.fill(&encoded, &[Some(0)]).unwrap();
    assert_eq!((row(&rows.ids, 1), rows.tokens), (vec![PAD; 5], 3));
    assert!(rows.weights[5..].iter().all(|&weight| weight == 0.0));
}

/// Of two rows of an owner, the weights of both add up to 1, and so do those of one; nobody's rows have none.
#[test]
fn rows_of_an_owner_count_as_one() {
    let texts = ["ab".into(), "abcd".into(), "".into()];
    let encoded = Encoded::new(&Tokenizer::Bytes, &texts, 5).unwrap();
    let mut rows = Rows::new(6, 5);
    let records = [Some(0), Some(1), Some(2), None];
    rows.fill(&encoded, &records).unwrap();
    let alone = rows.weights.clone();
    rows.average(1);
    assert_eq!(rows.weights, alone);
    rows.average(2);
    let sixth = 1.0 / 3.0 * 0.5;
    assert_eq!(rows.weights[..5], [sixth, sixth, sixth, 0.0, 0.0]);
    assert_eq!(rows.weights[5..10], [0.1; 5]);
    // An empty record has its end to learn.
    assert_eq!(rows.weights[10..15], [1.0, 0.0, 0.0, 0.0, 0.0]);
    assert!(rows.weights[15..].iter().all(|&weight| weight == 0.0));
}

#[test]
fn completions_weigh_their_own_tokens_only() {
    let completion = Completion {
        prefix: "has code".into(),
        text: " 12".into(),
    };
    let mut rows = Rows::new(2, 12);
    rows.fill_completions(&Tokenizer::Bytes, std::slice::from_ref(&completion))
        .unwrap();
    assert_eq!(
        rows.targets[..12],
        [&bytes("has code 12")[..], &[EOS]].concat()
    );
    let weights: Vec<usize> = (0..24).filter(|&i| rows.weights[i] != 0.0).collect();
    assert_eq!(weights, [8, 9, 10]);
    assert!(rows.weights[8..11].iter().all(|&weight| weight == 1.0));
    let error = Rows::new(2, 10)
        .fill_completions(&Tokenizer::Bytes, &[completion])
        .unwrap_err();
    assert!(
        matches!(
            error,
            RowsError::TooLong {
                tokens: 11,
                context: 10
            }
        ),
        "{error}"
    );
}

#[test]
fn what_does_not_fit_is_refused() {
    let encoded = Encoded::new(&Tokenizer::Bytes, &["a".into(), "b".into()], 4).unwrap();
    let error = Rows::new(2, 4).fill(&encoded, &[Some(2)]).unwrap_err();
    assert!(
        matches!(
            error,
            RowsError::NoSuchRecord {
                record: 2,
                records: 2
            }
        ),
        "{error}"
    );
    let error = Rows::new(1, 4)
        .fill(&encoded, &[Some(0), Some(1)])
        .unwrap_err();
    assert!(
        matches!(
            error,
            RowsError::TooManyRecords {
                records: 2,
                rows: 1
            }
        ),
        "{error}"
    );
    let error = Rows::new(1, 5).fill(&encoded, &[Some(0)]).unwrap_err();
    assert!(
        matches!(
            error,
            RowsError::OtherContext {
                encoded: 4,
                rows: 5
            }
        ),
        "{error}"
    );
}

proptest! {
    /// One record, one example: its weights sum to 1 whatever its length, and it reads its own
    /// text only.
    #[test]
    fn each_record_has_weight_one(texts in prop::collection::vec(".{1,40}", 1..8), context in 1..48_usize) {
        let encoded = Encoded::new(&Tokenizer::Bytes, &texts, context).unwrap();
        let mut rows = Rows::new(texts.len(), context);
        let all: Vec<_> = (0..texts.len()).map(Some).collect();
        rows.fill(&encoded, &all).unwrap();
        for (i, text) in texts.iter().enumerate() {
            let places = i * context..(i + 1) * context;
            let sum: f32 = rows.weights[places.clone()].iter().sum();
            prop_assert!((sum - 1.0).abs() < 1e-5);
            let mut whole = bytes(text);
            whole.push(EOS);
            whole.truncate(context);
            let row = &rows.targets[places.clone()];
            prop_assert_eq!(&row[..whole.len()], &whole[..]);
            prop_assert!(row[whole.len()..].iter().all(|&id| id == PAD));
            // The input is the target one step late.
            let ids = &rows.ids[places];
            prop_assert_eq!(ids[0], BOS);
            prop_assert_eq!(&ids[1..whole.len()], &whole[..whole.len() - 1]);
        }
        prop_assert_eq!(encoded.cut(), texts.iter().filter(|text| text.len() > context).count());
    }
}
