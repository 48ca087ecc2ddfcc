//! Batches of users: all of a user or nobody, at most so many records, and nobody's draw depends on another.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use dp_engine::batches::{BatchError, Batches, LogicalBatch};
use dp_engine::keys::RunKeys;
use dp_engine::users::Owners;
use proptest::prelude::*;

fn most(records: u32) -> NonZeroU32 {
    NonZeroU32::new(records).unwrap()
}

/// Batches of the users of these records, in microbatches of three users.
fn batches(user_of_record: &[u32], most_records: u32, rate: f64, seed: u64) -> Batches {
    let owners = Owners::new(user_of_record);
    Batches::seeded_users(owners, most(most_records), rate, 3, seed).unwrap()
}

/// The records used of each user that was drawn, by position among the drawn.
fn drawn(batch: LogicalBatch<'_>, most_records: usize) -> Vec<Vec<u32>> {
    let mut users = Vec::new();
    for microbatch in batch.microbatches() {
        assert_eq!(
            microbatch.records.len(),
            most_records * microbatch.mask.len()
        );
        let rows = microbatch.records.chunks(most_records);
        for (rows, &mask) in rows.zip(microbatch.mask) {
            let records: Vec<u32> = rows.iter().flatten().copied().collect();
            assert_eq!(mask, if records.is_empty() { 0.0 } else { 1.0 });
            // The rows without a record are behind those with one.
            assert!(rows[records.len()..].iter().all(Option::is_none));
            if mask == 1.0 {
                users.push(records);
            }
        }
    }
    assert_eq!(users.len(), batch.len());
    users
}

/// The same, by user.
fn by_user(users: &[Vec<u32>], user_of_record: &[u32]) -> BTreeMap<u32, Vec<u32>> {
    let owner = |records: &Vec<u32>| user_of_record[records[0] as usize];
    users
        .iter()
        .map(|records| (owner(records), records.clone()))
        .collect()
}

#[test]
fn users_are_numbered_as_they_appear() {
    let owners = Owners::new(&[40, 7, 40, 9, 7]);
    assert_eq!(owners.users(), 3);
    assert_eq!(owners.records_of(0), [0, 2]);
    assert_eq!(owners.records_of(1), [1, 4]);
    assert_eq!(owners.records_of(2), [3]);
    assert!(owners.records_of(3).is_empty());
    // The names are nothing, who shares a user is.
    assert_eq!(
        owners.fingerprint(),
        Owners::new(&[1, 2, 1, 3, 2]).fingerprint()
    );
    for other in [&[1, 2, 1, 3, 3][..], &[1, 2, 1, 3], &[1, 2, 1, 3, 2, 1]] {
        assert_ne!(owners.fingerprint(), Owners::new(other).fingerprint());
    }
}

proptest! {
    /// A user that is drawn is in with all their records, or with as many of them as may be, all their own; each user once.
    #[test]
    fn a_drawn_user_has_their_own_records(
        user_of_record in prop::collection::vec(0u32..12, 1..80),
        most_records in 1u32..6,
        rate in 0.05..1.0,
        seed: u64,
        step: u64,
    ) {
        let mut all = batches(&user_of_record, most_records, rate, seed);
        let users = drawn(all.draw(step), most_records as usize);
        let mut seen = Vec::new();
        for records in &users {
            let user = user_of_record[records[0] as usize];
            let theirs = user_of_record.iter().filter(|&&other| other == user).count();
            prop_assert_eq!(records.len(), theirs.min(most_records as usize));
            prop_assert!(records.iter().all(|&record| user_of_record[record as usize] == user));
            prop_assert!(records.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert!(!seen.contains(&user));
            seen.push(user);
        }
    }

    /// One user more or less, with however many records wherever they stand, leaves everybody else in or out, and with the same records:
    /// what adding or removing a user is about.
    #[test]
    fn a_neighbouring_data_set_draws_the_same_others(
        user_of_record in prop::collection::vec(0u32..8, 1..60),
        places in prop::collection::vec(any::<prop::sample::Index>(), 1..9),
        most_records in 1u32..4,
        rate in 0.05..1.0,
        seed: u64,
    ) {
        const NEW: u32 = 100;
        // Behind the first record of everybody else, so that the others keep their numbers.
        let is_first = |&at: &usize| !user_of_record[..at].contains(&user_of_record[at]);
        let settled = 1 + (0..user_of_record.len()).filter(is_first).max().unwrap();
        let mut with: Vec<u32> = user_of_record.clone();
        for place in places {
            with.insert(settled + place.index(with.len() - settled + 1), NEW);
        }
        // Where each record of `user_of_record` stands in `with`.
        let moved: Vec<u32> = (0..with.len() as u32).filter(|&at| with[at as usize] != NEW).collect();

        let mut one = batches(&user_of_record, most_records, rate, seed);
        let mut more = batches(&with, most_records, rate, seed);
        for step in 0..4 {
            let expected: Vec<Vec<u32>> = drawn(one.draw(step), most_records as usize)
                .into_iter()
                .map(|records| records.into_iter().map(|record| moved[record as usize]).collect())
                .collect();
            let mut found = by_user(&drawn(more.draw(step), most_records as usize), &with);
            found.remove(&NEW);
            prop_assert_eq!(found, by_user(&expected, &with));
        }
    }
}

/// Another record of a user changes what is used of them and of nobody else, wherever it stands; whether they are in stays.
#[test]
fn a_record_more_concerns_its_user_only() {
    const AT: u32 = 5;
    let before: Vec<u32> = (0..300).map(|record| record % 30).collect();
    let mut after = before.clone();
    // Before the first records of most others.
    after.insert(AT as usize, 4);
    let (mut one, mut more) = (batches(&before, 3, 0.5, 8), batches(&after, 3, 0.5, 8));
    let mut changed = 0;
    for step in 0..50 {
        let moved = |record: u32| record + u32::from(record >= AT);
        let records = drawn(one.draw(step), 3).into_iter();
        let records: Vec<Vec<u32>> = records
            .map(|records| records.into_iter().map(moved).collect())
            .collect();
        let mut a = by_user(&records, &after);
        let mut b = by_user(&drawn(more.draw(step), 3), &after);
        let (theirs, theirs_now) = (a.remove(&4), b.remove(&4));
        assert_eq!(theirs.is_some(), theirs_now.is_some());
        changed += u32::from(theirs != theirs_now);
        assert_eq!(a, b);
    }
    assert!(changed > 5, "{changed}");
}

/// Over many steps every record of a user is used, each as often as another.
#[test]
fn all_records_of_a_user_are_used_in_turn() {
    let user_of_record = [0, 1, 1, 1, 1, 1, 1, 1, 1, 0];
    let mut all = batches(&user_of_record, 2, 1.0, 5);
    let mut used = [0u32; 10];
    for step in 0..4000 {
        let users = drawn(all.draw(step), 2);
        users
            .iter()
            .flatten()
            .for_each(|&record| used[record as usize] += 1);
    }
    assert_eq!((used[0], used[9]), (4000, 4000));
    // 1000 expected, standard deviation 27.
    assert!(
        used[1..9].iter().all(|&times| (870..1130).contains(&times)),
        "{used:?}"
    );
}

#[test]
fn the_number_of_users_drawn_is_binomial_whatever_their_records() {
    // One user owns nine tenths of all records.
    let user_of_record: Vec<u32> = (0..4000)
        .map(|record| if record % 10 == 0 { 1 + record / 10 } else { 0 })
        .collect();
    let mut all = batches(&user_of_record, 4, 0.1, 3);
    let sizes: Vec<f64> = (0..2000).map(|step| all.draw(step).len() as f64).collect();
    let mean = sizes.iter().sum::<f64>() / 2000.0;
    let variance = sizes.iter().map(|size| (size - mean).powi(2)).sum::<f64>() / 1999.0;
    // 401 users: mean 40.1, variance 36.1.
    assert!((mean - 40.1).abs() < 0.6, "{mean}");
    assert!((variance / 36.09 - 1.0).abs() < 0.15, "{variance}");
}

#[test]
fn bad_requests_are_refused() {
    let refused = |users: &[u32], most_records, rate, size| {
        Batches::seeded_users(Owners::new(users), most(most_records), rate, size, 0).unwrap_err()
    };
    assert_eq!(refused(&[], 1, 0.5, 4), BatchError::Records { records: 0 });
    assert_eq!(refused(&[1], 1, 0.5, 0), BatchError::Microbatch);
    assert!(matches!(refused(&[1], 1, 2.0, 4), BatchError::Rate { .. }));
    let error = refused(&[1], 65_537, 0.5, 4);
    assert_eq!(
        error,
        BatchError::MostRecords {
            most_records: 65_537
        }
    );
    assert!(error.to_string().contains("65537") && error.to_string().contains("65536"));
}

#[test]
fn two_starts_draw_different_users() {
    let user_of_record: Vec<u32> = (0..10_000).collect();
    let draw = || {
        let keys = RunKeys::generate().unwrap();
        let owners = Owners::new(&user_of_record);
        let mut batches = Batches::private_users(owners, most(2), 0.1, 32, keys.sampling).unwrap();
        assert_eq!(batches.rows_of_unit(), 2);
        drawn(batches.draw(0), 2)
    };
    let (a, b) = (draw(), draw());
    let common = a.iter().filter(|user| b.contains(user)).count();
    assert!((50..150).contains(&common), "{common}");
}
