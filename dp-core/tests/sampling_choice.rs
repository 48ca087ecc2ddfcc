//! Which of a user's records a step uses: the frozen stream, all sets alike, nothing of anybody else.

use dp_core::noise::Key;
use dp_core::sampling::RecordChoice;

const WORDS: [u32; 8] = [
    0x0302_0100,
    0x0706_0504,
    0x0b0a_0908,
    0x0f0e_0d0c,
    0x1312_1110,
    0x1716_1514,
    0x1b1a_1918,
    0x1f1e_1d1c,
];

fn choose(step: u64, user: u32, records: u32, most: usize) -> Vec<u32> {
    let mut chosen = vec![u32::MAX; most];
    let count = RecordChoice::new(&Key::new(WORDS)).choose(step, user, records, &mut chosen);
    assert!(chosen[count..].iter().all(|&place| place == u32::MAX));
    chosen.truncate(count);
    chosen
}

#[test]
fn at_most_so_many_each_once() {
    for records in [0, 1, 4, 5, 6, 40, 1000] {
        for most in [1, 5, 17] {
            let chosen = choose(3, 9, records, most);
            assert_eq!(chosen.len(), most.min(records as usize));
            assert!(
                chosen.windows(2).all(|pair| pair[0] < pair[1]),
                "{chosen:?}"
            );
            assert!(chosen.iter().all(|&record| record < records), "{chosen:?}");
        }
    }
    assert_eq!(choose(3, 9, 4, 5), [0, 1, 2, 3]);
    assert!(
        choose(3, 9, u32::MAX, 3)
            .iter()
            .all(|&record| record < u32::MAX)
    );
}

/// Made by an independent program (Python, with a ChaCha20 of its own).
#[test]
fn the_stream_is_frozen() {
    assert_eq!(choose(0x2_0000_0003, 5, 100, 4), FROZEN[0]);
    assert_eq!(choose(4, 0xffff_fffe, 3_000_000_000, 4), FROZEN[1]);
    // More than the eight uniforms of a block.
    assert_eq!(choose(7, 0, 40, 12)[..4], FROZEN[2]);
}

const FROZEN: [[u32; 4]; 3] = [
    [20, 65, 76, 82],
    [858831832, 1099138898, 2310509662, 2411439225],
    [3, 5, 9, 14],
];

/// Every pair of five records is as likely as another: chi-square over the ten pairs, 9 degrees of freedom; 33.7 has a chance of 1e-4.
fn chi_square(draws: impl Iterator<Item = Vec<u32>>) -> f64 {
    let mut counts = [[0u32; 5]; 5];
    let mut n = 0.0;
    for pair in draws {
        counts[pair[0] as usize][pair[1] as usize] += 1;
        n += 1.0;
    }
    let expected = n / 10.0;
    let pairs = (0..5).flat_map(|a| (a + 1..5).map(move |b| (a, b)));
    pairs
        .map(|(a, b)| (f64::from(counts[a][b]) - expected).powi(2) / expected)
        .sum()
}

#[test]
#[cfg_attr(miri, ignore = "statistics: its many draws are the test")]
fn every_set_is_as_likely_and_the_test_can_fail() {
    let over_steps = chi_square((0..20_000).map(|step| choose(step, 1, 5, 2)));
    assert!(over_steps < 33.7, "{over_steps}");
    let over_users = chi_square((0..20_000).map(|user| choose(1, user, 5, 2)));
    assert!(over_users < 33.7, "{over_users}");
    // Negative control: one set in fifty is replaced by the first two records.
    let biased = (0..20_000).map(|step| match step % 50 {
        0 => vec![0, 1],
        _ => choose(step, 1, 5, 2),
    });
    assert!(chi_square(biased) > 33.7);
}

#[test]
fn steps_users_and_keys_choose_apart() {
    let chosen = choose(1, 1, 1 << 30, 4);
    assert_eq!(choose(1, 1, 1 << 30, 4), chosen);
    assert_ne!(choose(2, 1, 1 << 30, 4), chosen);
    assert_ne!(choose(1 + (1 << 32), 1, 1 << 30, 4), chosen);
    assert_ne!(choose(1, 2, 1 << 30, 4), chosen);
    let mut other = [0; 4];
    let mut words = WORDS;
    words[7] ^= 1;
    RecordChoice::new(&Key::new(words)).choose(1, 1, 1 << 30, &mut other);
    assert_ne!(other[..], chosen);
}
