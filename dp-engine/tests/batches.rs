//! Batches: each record in or out on its own, every row of every microbatch accounted for.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use dp_engine::batches::{BatchError, Batches, LogicalBatch};
use dp_engine::keys::RunKeys;
use proptest::prelude::*;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: hands every call on to the system's allocator and only counts.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `alloc` above, that is from the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn drawn(batch: LogicalBatch<'_>) -> Vec<u32> {
    batch
        .microbatches()
        .flat_map(|rows| rows.records.iter().flatten().copied())
        .collect()
}

proptest! {
    #[test]
    fn microbatches_hold_each_drawn_record_once(
        records in 1u64..2000,
        rate in 0.0001..1.0,
        size in 1usize..40,
        seed: u64,
        step: u64,
    ) {
        let mut batches = Batches::seeded(records, rate, size, seed).unwrap();
        let batch = batches.draw(step);
        prop_assert_eq!(batch.microbatches().len(), batch.len().div_ceil(size));
        for rows in batch.microbatches() {
            prop_assert_eq!((rows.records.len(), rows.mask.len()), (size, size));
            for (record, mask) in rows.records.iter().zip(rows.mask) {
                prop_assert_eq!(*mask, if record.is_some() { 1.0 } else { 0.0 });
            }
        }
        // Only the last microbatch has padding, and never nothing but padding.
        let full = batch.microbatches().filter(|rows| !rows.mask.contains(&0.0)).count();
        prop_assert!(full + 1 >= batch.microbatches().len());
        prop_assert!(batch.microbatches().all(|rows| rows.mask.contains(&1.0)));
        let ids = drawn(batch);
        prop_assert_eq!(ids.len(), batch.len());
        prop_assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
        prop_assert!(ids.iter().all(|&id| u64::from(id) < records));
        // How a batch is cut does not change who is in it.
        let mut other = Batches::seeded(records, rate, size + 1, seed).unwrap();
        prop_assert_eq!(drawn(other.draw(step)), ids);
    }

    /// One record more or less leaves everybody else's place alone: what add/remove adjacency is about.
    #[test]
    fn a_neighbouring_data_set_draws_the_same_others(records in 1u64..500, rate in 0.01..1.0, seed: u64) {
        let mut one = Batches::seeded(records, rate, 8, seed).unwrap();
        let mut more = Batches::seeded(records + 1, rate, 8, seed).unwrap();
        for step in 0..4 {
            let mut with = drawn(more.draw(step));
            with.retain(|&id| u64::from(id) < records);
            prop_assert_eq!(drawn(one.draw(step)), with);
        }
    }
}

#[test]
fn a_seed_repeats_and_steps_and_seeds_differ() {
    let draw = |seed, step| drawn(Batches::seeded(10_000, 0.1, 32, seed).unwrap().draw(step));
    assert_eq!(draw(7, 3), draw(7, 3));
    assert_ne!(draw(7, 3), draw(7, 4));
    assert_ne!(draw(7, 3), draw(8, 3));
    // Value stability: a run without privacy is repeatable by its seed in later versions too.
    assert_eq!(draw(1, 0)[..6], FIRST_OF_SEED_1);
}

const FIRST_OF_SEED_1: [u32; 6] = [5, 6, 13, 20, 30, 39];

/// The sample of a private run comes from the operating system's key: two starts draw different batches.
#[test]
fn two_starts_draw_different_batches() {
    let draw = || {
        let keys = RunKeys::generate().unwrap();
        drawn(
            Batches::private(10_000, 0.1, 32, keys.sampling)
                .unwrap()
                .draw(0),
        )
    };
    let (a, b) = (draw(), draw());
    let common = a.iter().filter(|id| b.contains(id)).count();
    // Independent: 100 of 10,000 expected in both, standard deviation 10.
    assert!((50..150).contains(&common), "{common}");
}

#[test]
fn everybody_is_in_at_rate_one() {
    let mut batches = Batches::seeded(1000, 1.0, 64, 5).unwrap();
    assert_eq!(drawn(batches.draw(9)), (0..1000).collect::<Vec<_>>());
}

#[test]
fn an_empty_batch_has_no_microbatch() {
    let mut batches = Batches::seeded(10, 1e-9, 4, 5).unwrap();
    let batch = batches.draw(0);
    assert!(batch.is_empty());
    assert_eq!(batch.microbatches().len(), 0);
}

/// Whether sizes over 2,000 steps have the mean and the variance of Binomial(2000, `rate`), each within 4.5
/// standard errors.
fn sizes_fit(batches: &mut Batches, rate: f64) -> bool {
    let steps = 2000.0;
    let sizes: Vec<f64> = (0..2000)
        .map(|step| batches.draw(step).len() as f64)
        .collect();
    let mean = sizes.iter().sum::<f64>() / steps;
    let variance = sizes.iter().map(|size| (size - mean).powi(2)).sum::<f64>() / (steps - 1.0);
    let expected = 2000.0 * rate * (1.0 - rate);
    let mean_fits = (mean - 2000.0 * rate).abs() < 4.5 * (expected / steps).sqrt();
    let variance_fits = (variance / expected - 1.0).abs() < 4.5 * (2.0 / steps).sqrt();
    mean_fits && variance_fits
}

#[test]
fn sizes_are_binomial_and_the_test_can_fail() {
    let mut batches = Batches::seeded(2000, 0.05, 16, 11).unwrap();
    assert!(sizes_fit(&mut batches, 0.05));
    // Negative controls: a rate 3% off, and a batch of fixed size, which has no variance.
    assert!(!sizes_fit(&mut batches, 0.0515));
    let mut fixed = Batches::seeded(100, 1.0, 16, 11).unwrap();
    assert!(!sizes_fit(&mut fixed, 0.05));
}

#[test]
fn drawing_does_not_allocate() {
    let mut batches = Batches::seeded(50_000, 0.01, 32, 3).unwrap();
    let before = ALLOCATIONS.with(Cell::get);
    let mut rows = 0;
    for step in 0..500 {
        for microbatch in batches.draw(step).microbatches() {
            rows += microbatch.records.len();
        }
    }
    assert_eq!(ALLOCATIONS.with(Cell::get), before);
    assert!(rows > 200_000);
    // The counter counts.
    drop(vec![rows]);
    assert!(ALLOCATIONS.with(Cell::get) > before);
}

#[test]
fn bad_requests_are_refused() {
    let refused = |records, rate, size| Batches::seeded(records, rate, size, 0).unwrap_err();
    for rate in [0.0, -0.1, 1.1, f64::NAN, f64::INFINITY] {
        let error = refused(10, rate, 4);
        assert!(matches!(error, BatchError::Rate { .. }));
        assert!(error.to_string().contains(&rate.to_string()));
    }
    for records in [0, 1 << 32] {
        assert_eq!(refused(records, 0.5, 4), BatchError::Records { records });
    }
    assert_eq!(refused(10, 0.5, 0), BatchError::Microbatch);
}
