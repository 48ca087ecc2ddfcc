//! The held-out split: what it promises about each record.

use std::collections::BTreeSet;

use dp_text::canary::{canaries, plant};
use dp_text::records::{HeldOut, Records, Split, SplitError, Users};
use proptest::prelude::*;

fn split(texts: &[String], rule: HeldOut) -> Split {
    rule.split(Records::from_texts(texts.to_vec())).unwrap()
}

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|i| format!("record {i}")).collect()
}

#[test]
fn the_share_is_held_out_and_order_is_kept() {
    let texts = numbered(10_000);
    let split = split(&texts, HeldOut::new(1));
    // Binomial(10000, 0.05): 500 with standard deviation 22.
    assert!(
        (400..600).contains(&split.held_out.len()),
        "{}",
        split.held_out.len()
    );
    let held: BTreeSet<&String> = split.held_out.texts().iter().collect();
    let rest: Vec<String> = texts
        .iter()
        .filter(|text| !held.contains(text))
        .cloned()
        .collect();
    assert_eq!(split.train.texts(), rest);
}

#[test]
fn a_large_file_gives_about_the_most() {
    let held = split(&numbered(100_000), HeldOut::new(1)).held_out.len();
    // 2000 in 2^17, so 1526 with standard deviation 39.
    assert!((1350..1700).contains(&held), "{held}");
}

#[test]
fn another_seed_holds_out_others() {
    let texts = numbered(1000);
    assert_eq!(
        split(&texts, HeldOut::new(1)),
        split(&texts, HeldOut::new(1))
    );
    assert_ne!(
        split(&texts, HeldOut::new(1)),
        split(&texts, HeldOut::new(2))
    );
}

#[test]
fn fewer_than_two_records_cannot_be_split() {
    let one = HeldOut::new(1).split(Records::from_texts(numbered(1)));
    assert_eq!(one, Err(SplitError::TooFew { records: 1 }));
}

#[test]
fn all_of_one_user_is_on_one_side() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("u.jsonl");
    let lines = (0..600).map(|i| format!("{{\"text\":\"note {i}\",\"who\":{}}}\n", i % 60));
    std::fs::write(&path, lines.collect::<String>()).unwrap();
    let records = Records::read(&path, Some("who")).unwrap();
    let rule = HeldOut {
        share: 0.5,
        ..HeldOut::new(3)
    };
    let split = rule.split(records.clone()).unwrap();
    let side = |part: &Records| {
        part.user_ids()
            .unwrap()
            .iter()
            .copied()
            .collect::<BTreeSet<_>>()
    };
    assert!(side(&split.train).is_disjoint(&side(&split.held_out)));
    assert_eq!(
        split.train.users().unwrap().count + split.held_out.users().unwrap().count,
        60
    );
    assert_eq!(split.train.users().unwrap().most_records, 10);
    // Canaries are patients of their own, and of the training side only.
    let planted = plant(split.train, &canaries(3, 1).unwrap(), 16, 1).records;
    let before = 60 - split.held_out.users().unwrap().count;
    assert_eq!(
        planted.users(),
        Some(Users {
            count: before + 3,
            most_records: 16
        })
    );
    assert_eq!(planted.user_ids().unwrap().len(), planted.len());
}

#[test]
fn what_cannot_be_split_is_refused() {
    let all = HeldOut {
        share: 1.0,
        ..HeldOut::new(3)
    };
    let none = HeldOut {
        share: 0.0,
        ..HeldOut::new(3)
    };
    let records = Records::from_texts(numbered(5));
    assert_eq!(
        all.split(records.clone()),
        Err(SplitError::NothingToTrain { records: 5 })
    );
    let alone = none.split(records).unwrap().held_out;
    assert_eq!(alone.len(), 1);
    // Chosen by its hash, wherever it stands.
    let reversed = Records::from_texts(numbered(5).into_iter().rev().collect());
    assert_eq!(none.split(reversed).unwrap().held_out, alone);
    let users = with_users(&[("a".into(), 1), ("b".into(), 1), ("c".into(), 2)]);
    assert_eq!(
        none.split(users),
        Err(SplitError::NothingHeldOut { users: 2 })
    );
}

/// Where nothing falls to the held-out side, the one record that is held out must not be one that is trained on too.
#[test]
fn a_record_with_copies_is_not_held_out_alone() {
    let none = HeldOut {
        share: 0.0,
        ..HeldOut::new(3)
    };
    let split = |texts: &[String]| none.split(Records::from_texts(texts.to_vec()));
    let once = numbered(5);
    let twice = [once.clone(), once.clone()].concat();
    let error = SplitError::HeldOutHasCopies { records: 10 };
    assert_eq!(split(&twice), Err(error));
    let message = error.to_string();
    assert!(
        message.contains("10 records") && message.contains("--seed"),
        "{message}"
    );
    // Copies of the others are no reason.
    let alone = split(&once).unwrap().held_out.texts()[0].clone();
    let copied = once.iter().filter(|text| **text != alone).cloned();
    let texts: Vec<String> = once.iter().cloned().chain(copied).collect();
    let sides = split(&texts).unwrap();
    assert_eq!(sides.held_out.texts(), [alone]);
    assert_eq!(sides.train.len(), 8);
}

/// Records of numbered users, read from a file as the program does.
fn with_users<U: std::fmt::Display>(records: &[(String, U)]) -> Records {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("u.jsonl");
    let line = |(text, user): &(String, U)| format!("{{\"text\":\"{text}\",\"u\":{user}}}\n");
    std::fs::write(&path, records.iter().map(line).collect::<String>()).unwrap();
    Records::read(&path, Some("u")).unwrap()
}

/// Number of records that must be added or removed to make one training set of the other.
fn distance(a: &Records, b: &Records) -> usize {
    let (mut a, mut b) = (a.texts().to_vec(), b.texts().to_vec());
    a.retain(|text| match b.iter().position(|other| other == text) {
        Some(at) => {
            b.swap_remove(at);
            false
        }
        None => true,
    });
    a.len() + b.len()
}

/// The shipped rule on files so large that it holds out less than its share: with a threshold that followed the size, one record less, or one user with
/// half of all records, would move others across.
#[test]
fn the_threshold_of_a_large_file_is_its_neighbours() {
    let rule = HeldOut::new(0);
    let side = |records: Records| {
        let split = rule.split(records).unwrap();
        assert!((500..2500).contains(&split.held_out.len()));
        let texts = split.train.texts().iter().cloned();
        texts.collect::<std::collections::HashSet<String>>()
    };
    for count in [40_037, 50_000] {
        let (large, small) = (numbered(count), numbered(count - 1));
        let (large, small) = (
            side(Records::from_texts(large)),
            side(Records::from_texts(small)),
        );
        assert!(large.symmetric_difference(&small).count() <= 1, "{count}");
    }
    let one_each = |users: u32| (0..users).map(|user| (format!("r{user}"), user));
    let many = (0..20_000).map(|record| (format!("m{record}"), 40_000));
    let with = side(with_users(
        &one_each(40_000).chain(many).collect::<Vec<_>>(),
    ));
    let without = side(with_users(&one_each(40_000).collect::<Vec<_>>()));
    let mut moved = with.symmetric_difference(&without);
    assert!(moved.all(|text| text.starts_with('m')), "other users moved");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Neighbouring files give neighbouring training sets, small files and equal texts included:
    /// without this the guarantee of training would not be one about the file.
    #[test]
    fn one_record_more_changes_training_by_one_at_most(
        words in prop::collection::vec("[a-f]{1,2}", 2..30),
        added in "[a-f]{1,2}",
        seed in any::<u64>(),
        share in 0.0..1.0_f64,
    ) {
        let rule = HeldOut { share, about: usize::MAX, seed };
        let mut more = words.clone();
        more.push(added);
        let small = rule.split(Records::from_texts(words.clone()));
        let large = rule.split(Records::from_texts(more));
        let (Ok(small), Ok(large)) = (small, large) else { return Ok(()) };
        prop_assert!(!small.train.is_empty() && !small.held_out.is_empty());
        prop_assert_eq!(small.train.len() + small.held_out.len(), words.len());
        for side in [&small, &large] {
            let is_trained_on = |text: &String| side.train.texts().contains(text);
            prop_assert!(!side.held_out.texts().iter().any(is_trained_on), "{:?}", side);
        }
        prop_assert!(distance(&small.train, &large.train) <= 1, "{:?} {:?}", small, large);
    }

    /// The same for users: one user more changes training by that user's records at most.
    #[test]
    fn one_user_more_changes_training_by_that_user_at_most(
        records in prop::collection::vec(("[a-f]{1,2}", 0_u8..6), 2..20),
        added in prop::collection::vec("[a-f]{1,2}", 1..4),
        seed in any::<u64>(),
        share in 0.0..1.0_f64,
    ) {
        let rule = HeldOut { share, about: usize::MAX, seed };
        let mut more = records.clone();
        more.extend(added.iter().map(|text| (text.clone(), 9)));
        let small = rule.split(with_users(&records));
        let large = rule.split(with_users(&more));
        let (Ok(small), Ok(large)) = (small, large) else { return Ok(()) };
        let moved = distance(&small.train, &large.train);
        prop_assert!(moved == 0 || moved == added.len(), "{:?} {:?}", small, large);
    }
}
